"""People can be forgotten, sendings are counted by the hour they left, and no number of a mail is given away twice.

Attempts outlive their mails. The daily counters go: a return was counted on the day of its report there. The counters
by hour are folded from the facts: each recipient of a mail stands in one outcome, in the hour it was first handed over.

``forgotten`` holds the pseudonyms of those who were forgotten. A fact's key never holds an address any more: the short
ones that did are kept as digests, like the long ones. SQLite gives numbers of mails and attempts away once only
(``AUTOINCREMENT``), beginning after every number that the facts speak of.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections import Counter
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
changes_rows = ("tallies", "counts")
_NAMES = ("mails", "attempts", "events")


def upgrade() -> None:
    op.create_table(
        "forgotten",
        sa.Column("pseudonym", sa.String(320), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_forgotten"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _once_only()
    else:
        op.drop_constraint("fk_attempts_mail_id_mails", "attempts", type_="foreignkey")
    _digest_keys(connection)
    with op.batch_alter_table("events", recreate="never") as table:
        table.add_column(sa.Column("left_at", sa.DateTime(timezone=True)))
    _date_returns(connection)
    op.drop_table("tallies")
    op.create_table(
        "counts",
        sa.Column("hour", sa.String(13), nullable=False),
        sa.Column("server_key", sa.String(100), nullable=False),
        sa.Column("sender_domain", sa.String(253), nullable=False),
        sa.Column("recipient_domain", sa.String(253), nullable=False),
        sa.Column("mail_class", sa.String(20), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            *("hour", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome"), name="pk_counts"
        ),
        sqlite_with_rowid=False,
    )
    _count(connection)


def _once_only() -> None:
    once = {"sqlite_autoincrement": True}
    with op.batch_alter_table("mails", recreate="always", table_kwargs=once):
        pass
    with op.batch_alter_table("attempts", recreate="always", table_kwargs=once) as table:
        table.drop_constraint("fk_attempts_mail_id_mails", type_="foreignkey")
    connection = op.get_bind()
    mails, attempts, events = (sa.table(name, sa.column("id"), sa.column("mail_id")) for name in _NAMES)
    for name, columns in (("mails", (mails.c.id, events.c.mail_id)), ("attempts", (attempts.c.id,))):
        top = max(connection.execute(sa.select(sa.func.max(column))).scalar() or 0 for column in columns)
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
        put = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)")
        connection.execute(put, {"name": name, "seq": int(top)})


def _digest_keys(connection: sa.Connection) -> None:
    e = sa.table("events", sa.column("id"), sa.column("key"))
    rows = connection.execute(sa.select(e.c.id, e.c.key).where(e.c.key.like("%@%"))).all()
    for number, key in rows:
        digest = base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()[:12]).decode()
        new = f"{key.partition(':')[0]}:{digest}"
        connection.execute(sa.update(e).where(e.c.id == number).values(key=new))


E = sa.table(
    "events",
    *(sa.column(name) for name in ("id", "kind", "mail_id", "recipient", "server_key", "undoes")),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("left_at", sa.DateTime(timezone=True)),
    sa.column("data", sa.JSON),
)
BEFORE_RECIPIENT = frozenset({"connect", "ehlo", "starttls", "auth", "mail", "local"})
RETURNS = ("bounced", "complained", "bounced_in_error", "complained_in_error")


def _date_returns(connection: sa.Connection) -> None:
    """When what came back was first handed over."""
    first = E.alias("first")
    left = sa.select(sa.func.min(first.c.at)).where(
        first.c.mail_id == E.c.mail_id,
        first.c.recipient == E.c.recipient,
        first.c.kind.in_(["sent", "failed", "unknown"]),
        first.c.id < E.c.id,
    )
    connection.execute(sa.update(E).where(E.c.kind.in_(RETURNS)).values(left_at=left.scalar_subquery()))


def _count(connection: sa.Connection) -> None:
    """Fold the facts of each mail's recipients, and count what they come to."""
    born: dict[int, tuple[str, str]] = {}
    same: dict[tuple[str, str], tuple[str, str]] = {}
    domain, klass = E.c.data["domain"].as_string(), E.c.data["class"].as_string()
    rows = connection.execute(sa.select(E.c.mail_id, domain, klass).where(E.c.kind == "submitted"))
    for mail_id, sender, mail_class in rows:
        pair = (sender or "", mail_class or "transactional")
        born[mail_id] = same.setdefault(pair, pair)
    counted: Counter[tuple[str, ...]] = Counter()

    def put(at: datetime, server: str | None, mail_id: int, recipient: str, outcome: str, step: int = 1) -> None:
        sender, mail_class = born.get(mail_id, ("", "transactional"))
        moment = at if at.tzinfo is None else at.astimezone(UTC)
        place = (moment.strftime("%Y-%m-%dT%H"), server or "", sender, recipient.rpartition("@")[2].lower(), mail_class)
        counted[(*place, outcome)] += step

    stage = sa.case((E.c.kind == "failed", E.c.data["stage"].as_string()), else_=None)
    columns = (E.c.mail_id, E.c.id, E.c.kind, E.c.recipient, E.c.at, E.c.left_at, E.c.server_key, E.c.undoes, stage)
    told = sa.select(*columns).where(
        E.c.kind.in_(["sent", "failed", "unknown", "deferred", *RETURNS]),
        E.c.mail_id.is_not(None),
        E.c.recipient.is_not(None),
    )
    stream = connection.execute(told.order_by(E.c.mail_id, E.c.id).execution_options(yield_per=10_000))
    for mail_id, group in itertools.groupby(stream, key=lambda row: row[0]):
        facts = list(group)
        undone = {row[7] for row in facts}
        found: dict[str, tuple[datetime, str | None, str]] = {}
        for _, number, kind, recipient, at, left_at, server, _, failed_at in facts:
            if kind in ("deferred", "complained", "complained_in_error"):
                back = kind == "complained_in_error"
                put(left_at or at, server, mail_id, recipient, "complained" if back else kind, -1 if back else 1)
                continue
            if number in undone or kind == "bounced_in_error":
                continue
            before = found.get(recipient)
            if kind == "unknown" and before and before[2] == "sent":
                continue
            outcome = "undelivered" if kind == "failed" and failed_at in BEFORE_RECIPIENT else kind
            carried = before[1] if before and outcome == "bounced" else server
            found[recipient] = (before[0] if before else at, carried, outcome)
        for recipient, (at, server, outcome) in found.items():
            put(at, server, mail_id, recipient, outcome)
    columns_of = ("hour", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome", "count")
    table = sa.table("counts", *(sa.column(name) for name in columns_of))
    rows_of = [dict(zip(columns_of, (*key, number), strict=True)) for key, number in sorted(counted.items()) if number]
    for at_row in range(0, len(rows_of), 5_000):
        connection.execute(sa.insert(table), rows_of[at_row : at_row + 5_000])
