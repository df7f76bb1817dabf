"""The answers of earlier checks, and what changed between two of them.

A snapshot is a verdict of the check ``dns.report`` with the whole report as evidence, kept outside any run, so that a
run's own count of checks stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..dns.domain_model import DomainReport
from ..errors import NotFound
from ..model.verdict import Verdict
from ..store import schema
from ..store.database import explained, reading
from ..store.runs import record_verdict
from .values import state_of

CHECK = "dns.report"
t = schema.verdicts


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One earlier check of a domain. ``report`` is :meth:`DomainReport.as_dict`."""

    domain: str
    at: datetime
    state: str
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One line between two dates. ``kind``: ``gone`` (a finding that is no more), ``new`` (a finding that was not
    there) or ``record`` (what DNS answers has changed)."""

    kind: str
    check: str
    subject: str
    before: str
    after: str


def keep(engine: Engine, report: DomainReport, at: datetime) -> None:
    """Store a report."""
    from ..secrets import redact_value

    title = "every check passed" if report.green else "not everything is in order"
    evidence = redact_value(report.as_dict())
    record_verdict(engine, "", Verdict(CHECK, report.setup.name, state_of(report), title, evidence=evidence, at=at))


def snapshots(engine: Engine, domain: str, *, limit: int = 50) -> tuple[Snapshot, ...]:
    """The checks of a domain, newest first."""
    query = (
        sa.select(t)
        .where(t.c.check == CHECK, t.c.subject == domain)
        .order_by(t.c.at.desc(), t.c.id.desc())
        .limit(limit)
    )
    with explained("reading the history of a domain"), reading(engine) as connection:
        rows = connection.execute(query).all()
    return tuple(Snapshot(row.subject, row.at, row.state, dict(row.evidence or {})) for row in rows)


def known_domains(engine: Engine) -> tuple[str, ...]:
    """Every domain of which a check is kept."""
    query = sa.select(t.c.subject).where(t.c.check == CHECK).distinct()
    with explained("reading the history of domains"), reading(engine) as connection:
        return tuple(connection.execute(query).scalars())


def at_or_before(engine: Engine, domain: str, moment: datetime | None, *, skip: int = 0) -> Snapshot:
    """The newest snapshot not later than ``moment`` (None = now). Raises :class:`NotFound` when there is none."""
    query = sa.select(t).where(t.c.check == CHECK, t.c.subject == domain)
    if moment is not None:
        query = query.where(t.c.at <= moment)
    query = query.order_by(t.c.at.desc(), t.c.id.desc()).offset(skip).limit(1)
    with explained("reading the history of a domain"), reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        raise NotFound(
            f"No earlier check of {domain} is kept for that time.",
            code="dns.no_history",
            facts={"domain": domain, "until": moment.isoformat() if moment else "now"},
            fix=f"Run `mailops domain check {domain}`: every check is kept, and `mailops domain history` lists them.",
        )
    return Snapshot(row.subject, row.at, row.state, dict(row.evidence or {}))


def differences(older: Snapshot, newer: Snapshot) -> tuple[Difference, ...]:
    """What changed: findings gone, findings new, records answered differently."""
    old, new = _findings(older), _findings(newer)
    out = [Difference("gone", *key[:2], line, "") for key, line in old.items() if key not in new]
    out += [Difference("new", *key[:2], "", line) for key, line in new.items() if key not in old]
    was, now = _records(older), _records(newer)
    for place in sorted(was.keys() | now.keys()):
        if was.get(place, "") != now.get(place, ""):
            out.append(Difference("record", *place, was.get(place, ""), now.get(place, "")))
    return tuple(out)


def _findings(snapshot: Snapshot) -> dict[tuple[str, str, str], str]:
    return {
        (row["check"], row["subject"], row["code"]): f"{row['state']}: {row['title']}"
        for row in snapshot.report.get("results", ())
        if row["state"] in ("failed", "warning", "unknown")
    }


def _records(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    out: dict[tuple[str, str], str] = {}
    for row in snapshot.report.get("results", ()):
        out.setdefault((row["check"], row["subject"]), row["found"])
    return out
