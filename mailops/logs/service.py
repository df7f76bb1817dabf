"""Logs as one object to hold: take them, follow one, and ask what they tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import InputRefused
from ..ledger import Book
from ..model.setup import Hosting
from ..model.text import counted
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from . import reports, store
from .files import find, follow, lines_of, stamps_of
from .join import Joiner
from .lines import Line, Seen, Stamps, read
from .quick import join_lines
from .taking import Taken, Taker


@dataclass(frozen=True, slots=True)
class Read:
    """What taking logs did: the files in the order in which they were read, the lines, and what they came to."""

    files: tuple[str, ...]
    seen: Seen
    taken: Taken = field(default_factory=Taken)

    @property
    def says(self) -> str:
        """It in a sentence."""
        s, t = self.seen, self.taken
        return (
            f"{counted(len(self.files), 'file')}, {counted(s.lines, 'line')}: {counted(t.mails, 'mail')} new,"
            f" {counted(t.answers, 'answer')}, {counted(t.refusals, 'refusal')}, {counted(t.facts, 'fact')} new."
            f" Not used: {counted(s.broken, 'line')} broken, {s.foreign:,} of other programs, {s.unknown:,} not"
            f" understood; {counted(t.unjoined, 'answer')} without a Message-ID."
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that holds what was looked for."""

    at: datetime
    file: str
    host: str
    program: str
    text: str


class Logs:
    """Logs of Postfix and Odoo. ``zone`` names the zone of stamps that have none, such as Europe/Berlin; default: that
    of this machine."""

    def __init__(self, engine: Engine, *, book: Book, clock: Clock, hosting: Hosting = Hosting.ON_PREMISE) -> None:
        self._engine, self._book, self._clock, self._hosting = engine, book, clock, hosting

    def take(
        self,
        *paths: str | Path,
        zone: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Read:
        """Put what files and folders tell into the store, the oldest file first; again changes nothing. ``progress``
        hears how many lines were taken. Raises :class:`InputRefused` for what cannot be read."""
        where = zone_named(zone)
        sources = find(paths, zone=where)
        seen = Seen()
        taker = Taker(self._engine, self._book, Joiner(seen))
        done = 0
        for source in sources:
            number, stamps = 0, stamps_of(source.path, where)
            for number in taker.take(lines_of(source.path), stamps, now=self._clock.now()):
                if progress is not None:
                    progress(done + number)
            done += number
        return Read(tuple(str(source.path) for source in sources), seen, taker.taken)

    def follow(
        self,
        path: str | Path,
        *,
        zone: str | None = None,
        stop: Callable[[], bool] = lambda: False,
        pause: float = 0.5,
        progress: Callable[[Read], None] | None = None,
    ) -> Read:
        """Take a log as it is written, from where the last run stopped, over rotation and truncation, until ``stop``
        says so. What was taken and how far are one commit, so an end at any moment loses and doubles nothing."""
        file = Path(path).expanduser().absolute()
        where = zone_named(zone)
        with explained("reading how far a log was taken"), reading(self._engine) as connection:
            place = store.place_of(connection, file)
        taker = Taker(self._engine, self._book)
        found = Read((str(file),), taker.joiner.seen, taker.taken)
        for lines, whole in follow(file, place=place, stop=stop, pause=pause):
            if not lines:
                continue
            now = self._clock.now()
            for _ in join_lines(taker.joiner, lines, Stamps(zone=where, reference=now)):
                pass
            taker.commit(now=now, also=lambda connection, r=whole, n=now: store.keep_place(connection, file, r, n))
            if progress is not None:
                progress(found)
        return found

    def search(self, text: str, *paths: str | Path, zone: str | None = None) -> Iterator[Hit]:
        """Lines that hold a text, such as a Message-ID, in order of time over all files, compressed ones too; nothing
        is kept. As ``grep`` and ``zgrep`` over the folder, in one order."""
        where = zone_named(zone)
        hits = []
        for source in find(paths, zone=where):
            for line in read(lines_of(source.path), stamps_of(source.path, where)):
                if text in line.text:
                    hits.append((line, source.path.name))
        hits.sort(key=lambda hit: hit[0].at)
        for line, name in hits:
            yield _hit(line, name)

    def refused(self, since: datetime | None = None) -> list[reports.Refused]:
        """Refused incoming mail per day and reason, with the answer that was given."""
        return reports.refused(self._engine, since=since)

    def senders(self, since: datetime | None = None) -> list[reports.Outside]:
        """Who hands mail to a server past mailops, and by which sign-in."""
        return reports.senders(self._engine, since=since)

    def advice(self, since: datetime | None = None) -> Sequence[str]:
        """What to do about refused incoming mail, by where the database lives."""
        with explained("looking whether a log was taken"), reading(self._engine) as connection:
            g, e = schema.log_mails, schema.events
            seen = connection.execute(sa.select(g.c.id).limit(1)).first() is not None
            seen = (
                seen
                or connection.execute(sa.select(e.c.id).where(e.c.kind == "turned_away").limit(1)).first() is not None
            )
        return reports.advice(self._hosting, reports.recurring(self._engine, since=since), seen=seen)


def _hit(line: Line, file: str) -> Hit:
    return Hit(store.moment(line.at), file, line.host, line.name, line.text)


def zone_named(name: str | None) -> tzinfo | None:
    """A zone by its name. Raises :class:`InputRefused`."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputRefused(
            f"There is no time zone {name!r}.",
            code="input.zone",
            facts={"zone": name},
            fix="Write it as in the IANA database: Europe/Berlin, America/New_York, UTC.",
        ) from error
