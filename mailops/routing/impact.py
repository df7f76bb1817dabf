"""What changing the technical addresses of an alias domain does to mail that is already out (OUT-49, IN-12, IN-13).

Mails sent earlier keep the old addresses: an answer to an old catchall name is lost unless the old name stays as an
alias or is redirected. The change is therefore shown first and needs a confirmation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..model.address import normalise
from ..model.setup import AliasDomain
from ..model.text import counted
from ..model.verdict import Finding, Severity

PATH = ("Settings", "Technical", "Email: Alias Domains")
_ROLES = (
    ("bounce", "Bounce Alias", "delivery errors of"),
    ("catchall", "Catchall Alias", "replies to"),
    ("default_from", "Default From Alias", "replies to the sender of"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One address that changes, and how many sent mails still point at the old one."""

    field: str
    label: str
    old: str
    new: str | None
    sent: int
    loses: str

    def text(self) -> str:
        return (
            f"{self.label}: {self.old} becomes {self.new or 'empty'}. {counted(self.sent, 'sent mail')} still "
            f"{'points' if self.sent == 1 else 'point'} at "
            f"{self.old}; {self.loses} these are lost unless the old name is kept or redirected."
        )


@dataclass(frozen=True, slots=True)
class Impact:
    """The report before saving. ``keep`` are the old addresses to offer as aliases (or to redirect)."""

    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def needs_confirmation(self) -> bool:
        return bool(self.changes or self.findings)

    @property
    def keep(self) -> tuple[str, ...]:
        return tuple(change.old for change in self.changes)

    def confirmation(self) -> str:
        """The question to confirm; empty when nothing changes."""
        if not self.needs_confirmation:
            return ""
        lines = [change.text() for change in self.changes]
        lines += [f"{finding.message} {finding.fix}" for finding in self.findings]
        if self.changes:
            lines.append("Changing these names is generally not recommended. Change them and keep the old names?")
        return "\n".join(lines)


def change_impact(old: AliasDomain | None, new: AliasDomain, sent: Mapping[str, int] | None = None) -> Impact:
    """What saving ``new`` over ``old`` (None: a new record) does. ``sent`` counts mails by the address they carry."""
    counts = {normalise(address): number for address, number in (sent or {}).items()}
    findings = complete_default_from_findings(new)
    if old is None:
        return Impact((), tuple(findings))
    changes = []
    for (field, label, loses), before, after in zip(_ROLES, _addresses(old), _addresses(new), strict=True):
        if before and (after is None or normalise(before) != normalise(after)):
            changes.append(Change(field, label, before, after, counts.get(normalise(before), 0), loses))
    if old.complete_default_from == new.complete_default_from:
        findings = []
    return Impact(tuple(changes), tuple(findings))


def _addresses(domain: AliasDomain) -> tuple[str | None, str | None, str | None]:
    return domain.bounce_address, domain.catchall_address, domain.notification_address


def complete_default_from_findings(domain: AliasDomain) -> list[Finding]:
    """A complete address as Default From Alias overwrites every sender: say so before saving (OUT-51, OUT-55)."""
    address = domain.complete_default_from
    if address is None:
        return []
    return [
        Finding(
            "alias_domain.complete_default_from",
            Severity.WARNING,
            f"The Default From Alias {address} is a complete address: it overwrites the From of all outgoing mail, "
            "even where a server's FROM filter holds the sender; only mail with a server set on it, and mass mail "
            "through a Dedicated Server, keeps its own.",
            "Give only the local part to use it where no server fits the sender.",
            {"default_from": address, "domain": domain.name},
        )
    ]
