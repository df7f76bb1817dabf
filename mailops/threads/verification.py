"""Receives the activation mails of a provider that wants technical addresses verified, and puts everything back.

Some providers verify each sender address by a link they mail to it. The technical addresses never create records, so
for that time the alias domain's bounce and catchall names step aside (``temp-bounce``, ``temp-catchall``) and the three
addresses become aliases that create leads. Live mail is not harmed: outgoing mail goes on with the live names, answers
go on finding their threads, and what reads as a report is one. What has to be restored is in the store before anything
is changed, so a helper that was killed half-way is noticed, and restored on confirmation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..errors import NotFound, StateConflict
from ..model.setup import VERIFYING, verifying
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from ..store.setup import put_parameter, rename_technical
from . import store as repo
from .addresses import PURPOSE

p = schema.parameters
MODEL = "lead"
_LINK = re.compile(r"https?://[^\s\"'<>\\]{4,2000}")


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
            put_parameter(connection, f"{VERIFYING}.{self._domain}", json.dumps(answers))
            rename_technical(connection, row.id, f"temp-{row.bounce_alias}", f"temp-{row.catchall_alias}")
            # outgoing mail must not carry the temporary names
            _say_live(connection, self._domain, (waiting.bounce, waiting.catchall))
            for part in parts:
                repo.add_alias(
                    connection,
                    part,
                    MODEL,
                    domain_id=row.id,
                    settings={"policy": "everyone", "defaults": {"purpose": PURPOSE, "domain": self._domain}},
                )
        return waiting

    def arrived(self) -> list[Arrived]:
        """What came to the domain's addresses so far, with the links to press."""
        m = schema.messages
        with explained("reading what arrived"), reading(self._engine) as connection:
            found = []
            for record_id in repo.records_of(connection, MODEL):
                values = connection.execute(
                    sa.select(schema.records.c["values"]).where(schema.records.c.id == record_id)
                ).scalar()
                mark = values or {}
                if mark.get("purpose") != PURPOSE or mark.get("domain", self._domain) != self._domain:
                    continue
                for row in connection.execute(sa.select(m).where(m.c.record_id == record_id).order_by(m.c.id)):
                    links = tuple(dict.fromkeys(_LINK.findall(row.body or "")))
                    found.append(Arrived(record_id, row.author_email, row.subject or "", links))
        return found

    def restore(self) -> Waiting:
        """Remove the temporary aliases and put the names back. Raises :class:`NotFound` when nothing is pending."""
        d = schema.alias_domains
        with explained("restoring the alias domain"), self._engine.begin() as connection:
            waiting = _pending(connection, self._domain)
            if waiting is None:
                raise NotFound(f"No verification is pending for {self._domain!r}.", facts={"domain": self._domain})
            key = connection.execute(sa.select(d.c.id).where(d.c.name == self._domain)).scalar_one()
            repo.remove_aliases(connection, key, MODEL, waiting.local_parts)
            rename_technical(connection, key, waiting.bounce, waiting.catchall)
            _say_live(connection, self._domain, None)
            put_parameter(connection, f"{VERIFYING}.{self._domain}", None)
        return waiting


def pending(engine: Engine) -> list[Waiting]:
    """Verifications that were begun and not restored, to be reported at the next start."""
    head = f"{VERIFYING}."
    with explained("looking for pending verifications"), reading(engine) as connection:
        keys = connection.execute(sa.select(p.c.key).where(p.c.key.startswith(head, autoescape=True))).scalars()
        return [found for key in list(keys) if (found := _pending(connection, key.removeprefix(head)))]


def _say_live(connection: Connection, domain: str, names: tuple[str, str] | None) -> None:
    """Keep the names that a domain's mail goes on with; None: the ones of its record again."""
    live = verifying(connection.execute(sa.select(p.c.value).where(p.c.key == VERIFYING)).scalar())
    live = {known: pair for known, pair in live.items() if known != domain} | ({domain: names} if names else {})
    words = " ".join(f"{known}:{bounce}:{catchall}" for known, (bounce, catchall) in live.items())
    put_parameter(connection, VERIFYING, words or None)


def _pending(connection: Connection, domain: str) -> Waiting | None:
    kept = connection.execute(sa.select(p.c.value).where(p.c.key == f"{VERIFYING}.{domain}")).scalar()
    if not kept:
        return None
    answers = json.loads(kept)
    return Waiting(domain, answers["bounce"], answers["catchall"], tuple(answers["parts"]))
