"""``mailops sql``: questions of one's own, over views that are documented, hold no secrets and change nothing.

A question runs in SQLite, over a read-only connection to the store's own file; of PostgreSQL the views that it names
are read first, in one read-only transaction, into a database in memory. Either way an authorizer lets through only
``SELECT``, over the views and no other table, and functions that compute: no ATTACH, no PRAGMA, no extension, no file.
(SQLite, *Compile-Time Authorization Callbacks*.) It ends after :data:`SECONDS` and gives at most :data:`ROWS` rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Engine

from ..errors import InputRefused
from ..store import schema
from ..store.database import explained, reading

SECONDS, ROWS = 30.0, 100_000
m, d, e, a, b, s, t = (
    schema.mails, schema.deliveries, schema.events, schema.attempts, schema.bounces, schema.suppressions, schema.counts
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A view, its columns with their meaning and unit, and what it is made of."""

    name: str
    what: str
    columns: dict[str, str]
    query: sa.Select[Any]


def _view(name: str, what: str, *columns: tuple[Any, str]) -> View:
    query = sa.select(*(column for column, _ in columns))
    return View(name, what, {column.name: meaning for column, meaning in columns}, query)


VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        _view(
            "mails", "Mails in the queue and those kept since; one row a mail.",
            (m.c.id, "number"), (m.c.message_id, "Message-ID"), (m.c.state, "outgoing, sent, failed, cancelled"),
            (m.c.mail_class, "transactional or mass"), (m.c.header_from, "From, as handed in"),
            (m.c.sender_domain, "its domain"), (m.c.subject, "null when its kind's days are over"),
            (m.c.size, "octets"), (m.c.origin, "who made it: api, cli, smtp, thread"),
            (m.c.created_at, "handed in, UTC"), (m.c.due_at, "next attempt, UTC"), (m.c.finished_at, "done, UTC"),
            (m.c.attempts, "how often it was tried"), (m.c.server_key, "server of the last attempt"),
            (m.c.failure_type, "kind of failure"), (m.c.failure_reason, "what went wrong"),
        ),
        _view(
            "recipients", "Recipients of those mails, one row a recipient.",
            (d.c.mail_id, "number of the mail"), (d.c.recipient, "address, or the name of one forgotten"),
            (d.c.domain, "its domain"), (d.c.state, "pending, accepted, failed, bounced, …"), (d.c.code, "SMTP code"),
            (d.c.enhanced, "enhanced status (RFC 3463)"), (d.c.reply, "the server's words"),
            (d.c.reason, "cause"), (d.c.updated_at, "UTC"),
        ),
        _view(
            "facts", "Everything that became of mails, oldest first; outlives them.",
            (e.c.id, "number"), (e.c.at, "UTC"), (e.c.kind, "submitted, sent, deferred, failed, bounced, …"),
            (e.c.mail_id, "number of the mail"), (e.c.recipient, "address, or the name of one forgotten"),
            (e.c.server_key, "server"), (e.c.actor, "who did it"), (e.c.left_at, "of a return: its mail left, UTC"),
            (e.c.undoes, "number of the fact that it takes back"),
            (e.c.data["reason"].as_string().label("reason"), "cause"),
            (e.c.data["code"].as_integer().label("code"), "SMTP code"),
        ),
        _view(
            "attempts", "Attempts to send, one row each; outlive their mails.",
            (a.c.id, "number"), (a.c.mail_id, "number of the mail"), (a.c.worker, "who tried"),
            (a.c.server_key, "server"), (a.c.started_at, "UTC"), (a.c.finished_at, "UTC; null = open"),
            (a.c.outcome, "sent, partial, deferred, failed, unknown"),
        ),
        _view(
            "counts", "Sendings by the hour they left: what every rate is made of.",
            (t.c.hour, "UTC, 2026-01-31T14"), (t.c.server_key, "server"), (t.c.sender_domain, "domain of the From"),
            (t.c.recipient_domain, "domain of the recipient"), (t.c.mail_class, "transactional or mass"),
            (t.c.outcome, "sent, failed, bounced, undelivered, unknown; deferred and complained beside them"),
            (t.c["count"], "sendings"),
        ),
        _view(
            "reports", "Reports that came back, one row for each recipient they speak of.",
            (b.c.id, "number"), (b.c.received_at, "UTC"), (b.c.kind, "failed, delayed, delivered, …"),
            (b.c.recipient, "address, or the name of one forgotten"), (b.c.status, "RFC 3463"),
            (b.c.reason, "cause"),
            (b.c.hard, "1 = for good"), (b.c.mail_id, "number of the mail, if it is known"),
            (b.c.source, "how it came"),
        ),
        _view(
            "suppressions", "Who gets no campaigns or no mail.",
            (s.c.address, "address, or the name of one forgotten"), (s.c.scope, "campaigns or all"),
            (s.c.state, "active, proposed, undone"), (s.c.reason, "cause"), (s.c.why, "the decision in words"),
            (s.c.since, "UTC"), (s.c.until, "UTC; null = until undone"),
        ),
    )
}  # fmt: skip
_TABLES = frozenset(table.name for table in (m, d, e, a, b, s, t))
_SELECTS = {sqlite3.SQLITE_SELECT, getattr(sqlite3, "SQLITE_RECURSIVE", 33)}
_HARMFUL = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zeroblob", "randomblob"})


@dataclass(frozen=True, slots=True)
class Found:
    """A question's answer. ``more`` says that rows were left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False

    def as_dicts(self) -> list[dict[str, Any]]:
        """One object a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def ask(engine: Engine, text: str, *, seconds: float = SECONDS, rows: int = ROWS) -> Found:
    """Answer one SELECT over :data:`VIEWS`. Raises :class:`InputRefused`: ``sql.refused`` for what is not allowed,
    ``sql.wrong`` for what cannot be read, ``sql.slow`` after ``seconds``."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    with explained("opening the store for a question"):
        connection, secret = _file(Path(file)) if file else _memory(engine, text)
    with closing(connection):
        ends = monotonic() + seconds
        connection.set_authorizer(_rules(secret))
        connection.set_progress_handler(lambda: monotonic() > ends, 10_000)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000_000)
        try:
            answer = connection.execute(text)
            if answer.description is None:
                raise _refused("this is no SELECT")
            got = answer.fetchmany(rows + 1)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise _explained(error, seconds) from error
        return Found(tuple(column[0] for column in answer.description), tuple(got[:rows]), len(got) > rows)


def _file(path: Path) -> tuple[sqlite3.Connection, str]:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    secret = f"v{token_hex(16)}_"
    for view in VIEWS.values():
        words = view.query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        connection.execute(f"CREATE TEMP VIEW {secret}{view.name} AS {_of_main(str(words))}")
        connection.execute(f"CREATE TEMP VIEW {view.name} AS SELECT * FROM {secret}{view.name}")  # noqa: S608
    return connection, secret


def _of_main(words: str) -> str:
    """A view is named like its table, so the table is named with its database."""
    return re.sub(r"\bFROM (\w+)", r"FROM main.\1", words)


def _memory(engine: Engine, text: str) -> tuple[sqlite3.Connection, str]:
    """The views that a question names, read in one transaction that cannot write."""
    named = [view for view in VIEWS.values() if re.search(rf"\b{view.name}\b", text, re.IGNORECASE)]
    memory = sqlite3.connect(":memory:")
    for view in VIEWS.values():
        memory.execute(f"CREATE TABLE {view.name} ({', '.join(view.columns)})")
    with reading(engine) as connection:
        for view in named:
            words = view.query.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
            marks = ", ".join("?" * len(view.columns))
            into = f"INSERT INTO {view.name} VALUES ({marks})"  # noqa: S608
            for row in connection.execute(sa.text(str(words))):
                memory.execute(into, [_plain(value) for value in row])
    memory.commit()
    memory.execute("PRAGMA query_only = 1")
    return memory, ""


def _plain(value: Any) -> Any:
    """A value as SQLite keeps it; moments as the store of SQLite writes them."""
    return value.replace(tzinfo=None).isoformat(" ", "microseconds") if isinstance(value, datetime) else value


def _rules(secret: str) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """SQLite's question about each thing that a statement does. Computing is fine; a column is read of a view, or
    of a table by the inner view, whose name nobody can guess: a common table expression may take that of an outer."""

    def allowed(action: int, first: str | None, second: str | None, database: str | None, inside: str | None) -> int:
        if action in _SELECTS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").lower() in _HARMFUL else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            if not secret and first in VIEWS:
                return sqlite3.SQLITE_OK
            if secret and database != "main" and (first in VIEWS or (first or "").startswith(secret)):
                return sqlite3.SQLITE_OK
            if secret and database == "main" and (inside or "").startswith(secret):
                return sqlite3.SQLITE_OK
            if not first or database is None:  # of the question's own making
                return sqlite3.SQLITE_OK
            if first in _TABLES and not second:  # the rows of a view are counted, and nothing of them is read
                return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return allowed


def _refused(why: str) -> InputRefused:
    return InputRefused(
        f"This question is not answered: {why}.",
        code="sql.refused",
        facts={"views": sorted(VIEWS)},
        fix="Write one SELECT over the views: mailops sql --views lists them with their columns.",
    )


def _explained(error: Exception, seconds: float) -> InputRefused:
    words = str(error)
    if "not authorized" in words or "prohibited" in words or "one statement" in words or "readonly" in words:
        return _refused(words)
    if "interrupted" in words:
        return InputRefused(
            f"The question took longer than {seconds:.0f} seconds.",
            code="sql.slow",
            facts={"seconds": seconds},
            fix="Ask about fewer days, or group by a column of the view counts.",
        )
    return InputRefused(
        f"The question cannot be read: {words}.",
        code="sql.wrong",
        facts={"error": words[:300]},
        fix="Write SQL as SQLite has it; mailops sql --views lists the views with their columns.",
    )
