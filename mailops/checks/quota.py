"""The request for a higher daily limit, with what support weighs (LIM-04), filled in from what is known here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model.alias import Alias
from ..model.setup import Setup

WANTED = ("spf", "dkim", "dmarc")


@dataclass(frozen=True, slots=True)
class AliasState:
    """An alias in use: whether its domain is your own, and what its records are, as checked (empty: not looked at)."""

    address: str
    own_domain: bool
    records: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class QuotaRequest:
    """What support weighs. ``bounce_rate`` is a share (None: nothing left yet) of ``addressed``; ``missing`` are what
    only a person can say."""

    database: str
    limit: int | None
    wanted: int
    users: int | None
    apps: tuple[str, ...]
    bounce_rate: float | None
    addressed: int
    aliases: tuple[AliasState, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name, value in (("--users", self.users), ("--app", self.apps)) if not value)

    @property
    def text(self) -> str:
        """The request as it is sent."""
        rate = "no mail has left yet" if self.bounce_rate is None else f"{self.bounce_rate:.2%} of {self.addressed:,}"
        lines = [
            f"Please raise the daily limit of outgoing mails of the database {self.database} "
            f"from {self.limit if self.limit is not None else 'its present figure'} to {self.wanted} a day.",
            "",
            f"Number of users: {self.users if self.users else '(please fill in)'}",
            f"Apps installed: {', '.join(self.apps) or '(please fill in)'}",
            f"Bounce rate of the last 30 days: {rate}",
            "Aliases:",
        ]
        for one in self.aliases:
            domain = "own domain" if one.own_domain else "the hosted domain"
            records = ", ".join(f"{name.upper()} {state}" for name, state in one.records.items())
            lines.append(f"- {one.address}: {domain}{f'; {records}' if records else '; records not looked at'}")
        return "\n".join(lines if self.aliases else [*lines[:-1], "Aliases: none"])


def request_of(
    setup: Setup,
    *,
    limit: int | None,
    wanted: int,
    users: int | None,
    apps: Sequence[str],
    rates: Iterable[Mapping[str, Any]],
    aliases: Iterable[Alias],
    records: Mapping[str, Mapping[str, str]],
) -> QuotaRequest:
    """The request; ``rates`` is the row of all mail, ``records`` what was found of each domain."""
    row = next(iter(rates), None)
    addressed = int(row["addressed"]) if row else 0
    hosted = setup.profile.hosted_domain.lower()
    states = tuple(
        AliasState(one.address, one.domain.lower() != hosted, records.get(one.domain.lower(), {}))
        for one in aliases
        if one.address and one.domain
    )
    return QuotaRequest(
        setup.profile.database,
        limit,
        wanted,
        users,
        tuple(apps),
        float(row["rate"]) if row and addressed else None,
        addressed,
        states,
    )
