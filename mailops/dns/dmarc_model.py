"""The values of a DMARC evaluation: what was looked at, what applies, how each identifier aligns, what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .answer import Answer
from .dmarc_record import DmarcRecord, Policy


class Method(StrEnum):
    """How the organizational domain is found."""

    TREEWALK = "treewalk"  # RFC 9989
    PSL = "psl"  # RFC 7489


class DmarcResult(StrEnum):
    """The outcome for one mail; NONE = no policy applies."""

    PASS = "pass"  # noqa: S105  # a result, no password
    FAIL = "fail"
    NONE = "none"
    TEMPERROR = "temperror"


@dataclass(frozen=True, slots=True)
class Identity:
    """A domain that SPF or DKIM spoke about, and what it said (``pass``, ``fail``, ``softfail``, ...)."""

    domain: str
    result: str

    @property
    def passed(self) -> bool:
        return self.result.lower() == "pass"


@dataclass(frozen=True, slots=True)
class Look:
    """One name looked at: the answer, and the record there, where exactly one was left."""

    domain: str
    answer: Answer
    record: DmarcRecord | None
    records: int

    @property
    def query(self) -> str:
        return self.answer.name


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk up the tree from ``start`` and the organizational domain it found. ``unknown`` = a step gave no answer."""

    start: str
    looks: tuple[Look, ...]
    org_domain: str
    reason: str
    unknown: bool = False

    @property
    def queries(self) -> tuple[str, ...]:
        return tuple(look.query for look in self.looks)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The record that applies to a From domain; ``record`` None with ``unknown`` False = there is none."""

    from_domain: str
    method: Method
    record: DmarcRecord | None
    policy_domain: str | None
    org_domain: str
    policy: Policy | None
    policy_tag: str
    policy_applied: Policy | None
    exists: bool | None
    unknown: bool
    reason: str
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Alignment:
    """One identifier held against the From domain, explained."""

    mechanism: str
    domain: str
    result: str
    mode: str
    aligned: bool
    reason: str
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class DmarcOutcome:
    """What a receiver makes of one mail."""

    result: DmarcResult
    discovery: Discovery
    alignments: tuple[Alignment, ...]
    reason: str

    @property
    def spf_aligned(self) -> bool:
        return any(a.aligned for a in self.alignments if a.mechanism == "spf")

    @property
    def dkim_aligned(self) -> bool:
        return any(a.aligned for a in self.alignments if a.mechanism == "dkim")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready evidence."""
        found = self.discovery
        return {
            "result": str(self.result),
            "method": str(found.method),
            "from_domain": found.from_domain,
            "policy_domain": found.policy_domain,
            "policy": None if found.policy is None else str(found.policy),
            "policy_tag": found.policy_tag,
            "policy_applied": None if found.policy_applied is None else str(found.policy_applied),
            "org_domain": found.org_domain,
            "spf_aligned": self.spf_aligned,
            "dkim_aligned": self.dkim_aligned,
            "record": found.record.text if found.record else None,
            "reason": self.reason,
            "alignment": [
                {"mechanism": a.mechanism, "domain": a.domain, "result": a.result, "mode": a.mode,
                 "aligned": a.aligned, "reason": a.reason}
                for a in self.alignments
            ],
            "asked": [look.answer.as_dict() for look in found.looks],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Impact:
    """What happens to a mail: ``outcome`` is ``delivered``, ``quarantined`` or ``refused`` by policy alone."""

    outcome: str
    reported: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ReportDestination:
    """Whether an outside address may be sent reports (RFC 9990 section 4). ``query`` None = no permission needed."""

    uri: str
    host: str
    query: str | None
    authorized: bool
    unknown: bool
    reason: str
