"""Past mail that an alias took by its local part alone, on a domain that is not ours: what
``mail.catchall.domain.allowed`` would have kept out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..model.alias import Alias
from ..model.setup import AliasDomain
from .values import Kind, LogLine


@dataclass(frozen=True, slots=True)
class Foreign:
    """A mail of the log that came in by an address of another domain."""

    line: int
    sender: str | None
    address: str
    alias: str
    subject: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Such mails, newest first, and the value that would keep them out."""

    mails: tuple[Foreign, ...]
    value: str

    @property
    def command(self) -> str:
        return f"mailops company parameter mail.catchall.domain.allowed {self.value}"


def foreign(lines: Iterable[LogLine], aliases: Sequence[Alias], domains: Sequence[AliasDomain]) -> Proposal:
    """What of these lines made or changed a record although no address in it is one of ours."""
    whole = {a.address.lower() for a in aliases if a.address}
    by_local = {a.local.lower(): a for a in aliases if a.any_domain}
    ours = {d.name.lower() for d in domains}
    found = []
    for line in lines:
        if line.decision not in (Kind.CREATE, Kind.UPDATE):
            continue
        people = [address.strip().lower() for address in line.recipients.split(",")]
        if whole & set(people):
            continue
        hit = next((a for a in people if a.partition("@")[0] in by_local and a.rpartition("@")[2] not in ours), None)
        if hit is not None:
            found.append(Foreign(line.id, line.sender, hit, by_local[hit.partition("@")[0]].local, line.subject))
    return Proposal(tuple(found), ",".join(sorted(ours)))
