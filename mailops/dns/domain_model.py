"""What is asked of a domain, and what comes back: the set-up to check, each result with its change, the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..model.verdict import Verdict, VerdictState
from .names import is_below, normalise
from .psl import likely_zone
from .records import Change, ZoneRecord, short_name

HOSTED_SUFFIX = "odoo.com"
NO_PROMISE = "A pass is no promise: receivers apply rules of their own and may still file mail as spam."


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that mailops itself signs a domain's mail with. ``state``: active, next (waits for its record) or former;
    ``public_key`` as in ``p=`` (RFC 6376 §3.6.1)."""

    selector: str
    public_key: str
    state: str = "active"


@dataclass(frozen=True, slots=True)
class SendingSetup:
    """Who sends for a domain. ``bounce_domain`` is the alias domain (reverse-path), by default the domain itself.

    ``service`` is a key of :data:`mailops.providers.records.SENDERS` (``odoo`` = the hosted server, ``mailjet`` or
    ``external:mailjet``, ...), several with commas (``odoo,google``), or empty for an own server, then ``selectors``
    and ``spf_terms`` say what is expected; ``own_hosts`` are the hosts of such servers, ``own_keys`` the keys that
    mailops signs with. ``volume`` = messages a day to one receiver (None = no bulk rules).
    """

    domain: str
    bounce_domain: str = ""
    hosting: str = "online"
    service: str = "odoo"
    database: str = ""
    selectors: tuple[str, ...] = ()
    spf_terms: tuple[str, ...] = ()
    report_to: str = ""
    sample_ips: tuple[str, ...] = ()
    own_hosts: tuple[str, ...] = ()
    volume: int | None = None
    own_keys: tuple[SigningKey, ...] = ()

    @property
    def name(self) -> str:
        return normalise(self.domain)

    @property
    def bounce(self) -> str:
        return normalise(self.bounce_domain) if self.bounce_domain else self.name

    @property
    def services(self) -> tuple[str, ...]:
        """The keys of all services that send, in order."""
        return tuple(
            dict.fromkeys(key for part in self.service.split(",") if (key := part.strip().removeprefix("external:")))
        )

    @property
    def service_key(self) -> str:
        """The services in one text."""
        return ",".join(self.services)

    @property
    def managed(self) -> bool:
        """A hosted default subdomain: its DNS is kept by the host."""
        return self.name == HOSTED_SUFFIX or self.name.endswith("." + HOSTED_SUFFIX)

    @property
    def own_subdomain(self) -> bool:
        """Whether a hosted subdomain is that of the database that sends, as far as it is known."""
        own = f"{self.database}.{HOSTED_SUFFIX}".lower()
        return self.hosting != "on_premise" and (not self.database or f".{self.name}".endswith(f".{own}"))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: the verdict, the change that mends it (already proved where ``proved``), and why none is offered."""

    verdict: Verdict
    change: Change | None = None
    proved: bool = False
    withheld: str = ""

    @property
    def code(self) -> str:
        return self.verdict.code

    @property
    def state(self) -> VerdictState:
        return self.verdict.state


@dataclass(frozen=True, slots=True)
class DomainReport:
    """All results of one domain, who was asked, and the lines that belong under it.

    ``zones`` are the zones the domain and its changes are in, ``beside`` the records that stand at the names of the
    changes and stay, ``appends_domain`` says whether the DNS panel adds the domain to a name (None: not known).
    """

    setup: SendingSetup
    results: tuple[CheckResult, ...]
    asked_of: str = ""
    notes: tuple[str, ...] = ()
    guides: tuple[tuple[str, str, str], ...] = ()
    dns_host: str = ""
    zones: tuple[str, ...] = ()
    beside: tuple[ZoneRecord, ...] = ()
    appends_domain: bool | None = None

    def zone_of(self, name: str) -> str:
        """The zone a name is in: the nearest of the zones found above it, else the likely one."""
        wanted = normalise(name)
        above = [zone for zone in self.zones if is_below(wanted, zone) or wanted == zone]
        return max(above, key=len) if above else likely_zone(self.setup.name)

    @property
    def green(self) -> bool:
        """Nothing failed, warned or stayed unknown."""
        return all(result.state in (VerdictState.PASSED, VerdictState.SKIPPED) for result in self.results)

    @property
    def absent(self) -> bool:
        """Whether DNS does not know the domain at all."""
        return any(result.code == "domain.absent" for result in self.results)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The proved changes, each once."""
        return tuple(result.change for result in self.results if result.change is not None and result.proved)

    def confirmed(self, losses: bool) -> tuple[Change, ...]:
        """The changes that may be handed on: those that lose nothing of the owner's, and with ``losses`` all."""
        return tuple(change for change in self.changes if losses or not change.loses)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: what the command line prints, the store keeps, and two dates are compared by."""
        return {
            "domain": self.setup.name,
            "service": self.setup.service_key,
            "asked_of": self.asked_of,
            "dns_host": self.dns_host,
            "zone": self.zone_of(self.setup.name),
            "appends_domain": self.appends_domain,
            "green": self.green,
            "notes": list(self.notes),
            "guides": [list(guide) for guide in self.guides],
            "results": [
                {
                    "check": one.verdict.check,
                    "subject": one.verdict.subject,
                    "state": str(one.state),
                    "code": one.code,
                    "title": one.verdict.title,
                    "found": one.verdict.found,
                    "expected": one.verdict.expected,
                    "fix": one.verdict.fix,
                    "publish": _lines(one.change.publish) if one.change is not None and one.proved else [],
                    "hosts": self._hosts(one.change.publish) if one.change is not None and one.proved else [],
                    "remove": _lines(one.change.remove) if one.change is not None and one.proved else [],
                    "loses": list(one.change.loses) if one.change is not None and one.proved else [],
                    "confirm": bool(one.change is not None and one.proved and one.change.loses),
                    "choices": list(one.change.choices) if one.change is not None and one.proved else [],
                    "withheld": one.withheld,
                    "evidence": one.verdict.evidence,
                }
                for one in self.results
            ],
        }

    def _hosts(self, records: Iterable[ZoneRecord]) -> list[dict[str, str]]:
        """The names to type: ``short`` where the panel appends the domain, ``full`` where it does not."""
        return [{"short": short_name(one.name, self.zone_of(one.name)), "full": one.name} for one in records]

    def result(self, check: str) -> CheckResult:
        """The first result of a check (``spf``, ``dkim``, ``dmarc``, ...)."""
        return next(result for result in self.results if result.verdict.check == check)

    def codes(self) -> set[str]:
        return {result.code for result in self.results}


def _lines(records: Iterable[ZoneRecord]) -> list[dict[str, str]]:
    return [{"name": record.name, "type": record.type, "value": record.value} for record in records]


def verdict(
    check: str,
    subject: str,
    state: VerdictState,
    code: str,
    title: str,
    *,
    found: str = "",
    expected: str = "",
    fix: str = "",
    evidence: dict[str, Any] | None = None,
    change: Change | None = None,
) -> CheckResult:
    """A result in one call."""
    return CheckResult(Verdict(check, subject, state, title, found, expected, fix, code, evidence or {}), change)
