"""Receives the activation mails of a provider that wants technical addresses verified, and puts everything back.

Some providers verify each sender address by a link they mail to it. The technical addresses never create records, so
for that time the alias domain's bounce and catchall names step aside (``temp-bounce``, ``temp-catchall``) and the three
addresses become aliases that create leads. Live mail is not harmed: outgoing mail goes on with the live names, answers
go on finding their threads, and what reads as a report is one. What has to be restored is in the store before anything
is changed, so a helper that was killed half-way is noticed, and restored on confirmation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import NotFound, StateConflict
from ..model.setup import VERIFYING
from ..ports import Clock
from ..store import schema
from ..store.database import dialect_insert, explained, reading
from ..store.setup import put_parameter
from . import store as repo
from .addresses import PURPOSE

GUIDE = PURPOSE
MODEL = "lead"
_LINK = re.compile(r"https?://[^\s\"'<>\\]{4,2000}")
_MARK = {"purpose": GUIDE}


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail that came to one of the addresses: its record, sender, subject and the links in it."""

    record: int
    sender: str | None
    subject: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A verification under way (or left half-way): the domain, and the names to put back."""

    domain: str
    bounce: str
    catchall: str
    local_parts: tuple[str, ...]


class SenderVerification:
    """The helper for one alias domain: :meth:`begin`, :meth:`arrived`, :meth:`restore`."""

    def __init__(self, engine: Engine, domain: str, *, clock: Clock) -> None:
        self._engine, self._domain, self._clock = engine, domain.lower(), clock

    def begin(self) -> Waiting:
        """Make the three temporary aliases. Raises :class:`StateConflict` when one is already under way."""
        d = schema.alias_domains
        with explained("preparing the verification"), self._engine.begin() as connection:
            if _pending(connection, self._domain):
                raise StateConflict(
                    f"A verification for {self._domain} is already under way.",
                    code="state.verification_pending",
                    facts={"domain": self._domain},
                    fix="Finish it (restore), then begin again.",
                )
            row = connection.execute(sa.select(d).where(d.c.name == self._domain)).first()
            if row is None:
                raise NotFound(f"There is no alias domain {self._domain!r}.", facts={"domain": self._domain})
            default = row.default_from if row.default_from and "@" not in row.default_from else None
            parts = tuple(dict.fromkeys(p for p in (default, row.bounce_alias, row.catchall_alias) if p))
            waiting = Waiting(self._domain, row.bounce_alias, row.catchall_alias, parts)
            answers = {"bounce": waiting.bounce, "catchall": waiting.catchall, "parts": list(parts)}
            connection.execute(
                dialect_insert(self._engine)(schema.guide_answers)
                .values(
                    guide=GUIDE,
                    subject=self._domain,
                    step="restore",
                    answers=answers,
                    state="waiting",
                    at=self._clock.now(),
                )
                .on_conflict_do_update(
                    index_elements=["guide", "subject", "step"], set_={"answers": answers, "state": "waiting"}
                )
            )
            connection.execute(
                sa.update(d)
                .where(d.c.id == row.id)
                .values(bounce_alias=f"temp-{row.bounce_alias}", catchall_alias=f"temp-{row.catchall_alias}")
            )
            live = f"{self._domain}:{waiting.bounce}:{waiting.catchall}"
            put_parameter(connection, VERIFYING, live)  # outgoing mail must not carry the temporary names
            for part in parts:
                repo.add_alias(
                    connection, part, MODEL, domain_id=row.id, settings={"policy": "everyone", "defaults": dict(_MARK)}
                )
        return waiting

    def arrived(self) -> list[Arrived]:
        """What came to the addresses so far, with the links to press."""
        m = schema.messages
        with explained("reading what arrived"), reading(self._engine) as connection:
            found = []
            for record_id in repo.records_of(connection, MODEL):
                values = connection.execute(
                    sa.select(schema.records.c["values"]).where(schema.records.c.id == record_id)
                ).scalar()
                if (values or {}).get("purpose") != GUIDE:
                    continue
                for row in connection.execute(sa.select(m).where(m.c.record_id == record_id).order_by(m.c.id)):
                    links = tuple(dict.fromkeys(_LINK.findall(row.body or "")))
                    found.append(Arrived(record_id, row.author_email, row.subject or "", links))
        return found

    def restore(self) -> Waiting:
        """Remove the temporary aliases and put the names back. Raises :class:`NotFound` when nothing is pending."""
        d, a = schema.alias_domains, schema.aliases
        with explained("restoring the alias domain"), self._engine.begin() as connection:
            waiting = _pending(connection, self._domain)
            if waiting is None:
                raise NotFound(f"No verification is pending for {self._domain!r}.", facts={"domain": self._domain})
            key = connection.execute(sa.select(d.c.id).where(d.c.name == self._domain)).scalar_one()
            connection.execute(
                sa.delete(a).where(a.c.alias_domain_id == key, a.c.model == MODEL, a.c.local.in_(waiting.local_parts))
            )
            connection.execute(
                sa.update(d).where(d.c.id == key).values(bounce_alias=waiting.bounce, catchall_alias=waiting.catchall)
            )
            put_parameter(connection, VERIFYING, None)
            connection.execute(
                sa.delete(schema.guide_answers).where(
                    schema.guide_answers.c.guide == GUIDE, schema.guide_answers.c.subject == self._domain
                )
            )
        return waiting


def pending(engine: Engine) -> list[Waiting]:
    """Verifications that were begun and not restored, to be reported at the next start."""
    g = schema.guide_answers
    with explained("looking for pending verifications"), reading(engine) as connection:
        names = [row[0] for row in connection.execute(sa.select(g.c.subject).where(g.c.guide == GUIDE))]
        return [found for name in names if (found := _pending(connection, str(name)))]


def _pending(connection: Connection, domain: str) -> Waiting | None:
    g = schema.guide_answers
    answers = connection.execute(
        sa.select(g.c.answers).where(g.c.guide == GUIDE, g.c.subject == domain, g.c.step == "restore")
    ).scalar()
    if not answers:
        return None
    return Waiting(domain, answers["bounce"], answers["catchall"], tuple(answers["parts"]))
