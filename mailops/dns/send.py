"""One send, explained: what a receiver would make of mail from this From, this bounce address and this address.

SPF is evaluated for the bounce domain, the given signatures stand for DKIM, DMARC is judged by both generations where
the public suffix list is installed, and the policy's effect is simulated, also for a policy that is only considered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MissingExtra
from .dmarc import DmarcOutcome, Identity, Impact, Method, compare, evaluate, simulate
from .dmarc_record import Policy
from .psl import installed
from .resolver import Asker
from .spf import SpfOutcome, check_host


@dataclass(frozen=True, slots=True)
class SendExplanation:
    """The whole answer. ``older`` is the RFC 7489 view (None without the suffix list)."""

    spf: SpfOutcome
    dmarc: DmarcOutcome
    older: DmarcOutcome | None
    disagreements: tuple[str, ...]
    impact: Impact
    what_if: dict[str, Impact]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "spf": self.spf.as_dict(),
            "dmarc": self.dmarc.as_dict(),
            "rfc7489": self.older.as_dict() if self.older else None,
            "disagreements": list(self.disagreements),
            "outcome": self.impact.outcome,
            "reason": self.impact.reason,
            "what_if": {policy: impact.outcome for policy, impact in self.what_if.items()},
        }


async def explain_send(
    resolver: Asker, *, from_address: str, bounce_address: str, ip: str, helo: str = "", signed_by: Sequence[str] = ()
) -> SendExplanation:
    """Explain a send from ``ip``. ``signed_by`` are the d= domains whose signatures verify."""
    from_domain = from_address.rpartition("@")[2]
    spf = await check_host(resolver, ip, bounce_address, helo or bounce_address.rpartition("@")[2])
    identity = Identity(spf.domain, str(spf.result)) if spf.domain else None
    dkim = [Identity(domain, "pass") for domain in signed_by]
    older: DmarcOutcome | None = None
    notes: tuple[str, ...] = ()
    try:
        suffixes = installed()
    except MissingExtra:
        outcome = await evaluate(resolver, from_domain, identity, dkim, method=Method.TREEWALK)
    else:
        outcome, older, notes = await compare(resolver, from_domain, identity, dkim, suffixes)
    what_if = {str(policy): simulate(outcome, policy) for policy in Policy}
    return SendExplanation(spf, outcome, older, notes, simulate(outcome), what_if)
