"""What the reader is told of us, from a workspace's set-up: domains, bounce addresses, hosts, and whom a tag means.

Every road hands the same names to the reader (:class:`Knowing`): command, gateway, webhooks, reading again. What the
delivering side knows beside the message, the envelope recipient, is noted in it as a mail server does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..model.address import parse_first
from ..model.setup import FORMER, AliasDomain, former_addresses
from ..store import schema
from ..store.database import explained, reading
from .reading.entities import about_us, entities
from .reading.ours import Ours
from .reading.reader import parse
from .reading.report import RecipientResult, Report

e = schema.events
MOST = 50
"""Recipients of a mail up to which a tag names them."""
_NUMBER = re.compile(r"(\d{1,18})(?:-.*)?\Z")


def own_names(connection: Connection, hosted: AliasDomain | None = None) -> Ours:
    """The names of a workspace: its alias domains and the hosted one with their bounce addresses (those that were given
    up are still read), and the hosts of its outgoing servers."""
    a, s, p = schema.alias_domains, schema.servers, schema.parameters
    rows = [(str(r.name), r.bounce_alias) for r in connection.execute(sa.select(a.c.name, a.c.bounce_alias))]
    rows += [(hosted.name, hosted.bounce_address.partition("@")[0])] if hosted and hosted.bounce_address else []
    said = connection.execute(sa.select(p.c.value).where(p.c.key == FORMER)).scalar()
    former = [one.bounce_address for one in former_addresses(said) if one.bounce_address]
    hosts = connection.execute(sa.select(s.c.host).where(s.c.host != "")).scalars()
    return Ours.of(
        {
            "domains": [name for name, _ in rows],
            "bounce_addresses": [*(f"{local}@{name}" for name, local in rows if local), *former],
            "hosts": [str(host) for host in hosts],
        }
    )


class Knowing:
    """The reader with the names of a workspace, read when it was made."""

    def __init__(self, engine: Engine, hosted: AliasDomain | None, keys: Sequence[bytes]) -> None:
        self._engine = engine
        with explained("reading the names that are ours"), reading(engine) as connection:
            names = own_names(connection, hosted)
        self.ours = replace(names, keys=tuple(keys), recipients_of=self._recipients_of)

    def __call__(self, raw: bytes) -> Report:
        return parse(raw, ours=self.ours)

    def _recipients_of(self, tag: str) -> Sequence[str]:
        """Whom the mail went to that a tag of ours names; nobody where it went to too many."""
        found = _NUMBER.match(tag)
        if found is None:
            return ()
        accepted = (e.c.mail_id == int(found[1]), e.c.kind.in_(("sent", "unknown")), e.c.recipient.is_not(None))
        with explained("reading a mail's recipients"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(e.c.recipient).where(*accepted).distinct().limit(MOST + 1)).scalars()
            people = [str(one) for one in rows]
        return people if len(people) <= MOST else ()


def aware(result: RecipientResult, words: str, ours: Ours) -> RecipientResult:
    """A result that did not come from the reader (a provider's event), unless the name in its verdict is one of ours.
    ``words`` are those that decided."""
    names = entities([result.recipient], ours.bounce_addresses, ours.domains, ours.hosts, ours.ips)
    turned = about_us(result.diagnostic, words, result.reason, names)
    if turned is None:
        return result
    return replace(result, reason=turned[0], hard=False, rule="name:ours", evidence=turned[1])


def delivered(raw: bytes, address: str | None) -> bytes:
    """The message with the envelope recipient noted in its head, where it is not there yet."""
    parsed = parse_first(address) if address else None
    if parsed is None or not parsed.domain or not parsed.spec.isprintable():
        return raw
    line = b"Delivered-To: " + parsed.spec.encode() + b"\r\n"
    mbox, rest = raw.split(b"\n", 1) if raw.startswith(b"From ") and b"\n" in raw else (b"", raw)
    return raw if line in raw[:6_000] else (mbox + b"\n" if mbox else b"") + line + rest
