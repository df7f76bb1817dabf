"""Events become facts: each with a key, never changed again, and what listeners could not take of them is kept.

Two things that older versions did in place become facts of their own: a bounce that a better rule took back (its row
was renamed) is a bounce again, taken back by a second row with the same moment; and what a person ignored in an
envelope, which left no trace, is told with the time its delivery was last changed. What cannot be known any more
(whether it was a bounce or a complaint that was taken back) follows from the cause that was noted.

Notifications that never heard of their mail, because a worker died between two commits, are brought up to it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
changes_rows = ("events",)
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COMPLAINTS = ("feedback", "complaint", "abuse")


def upgrade() -> None:
    with op.batch_alter_table("events", recreate="never") as table:
        table.add_column(sa.Column("key", sa.String(64)))
        table.add_column(sa.Column("undoes", BigId))
    op.drop_index("ix_events_message_id", table_name="events", if_exists=True)
    partial = "recipient IS NOT NULL"
    op.create_index(
        "ix_events_message_id",
        "events",
        ["message_id"],
        sqlite_where=sa.text(partial),
        postgresql_where=sa.text(partial),
    )
    op.create_table(
        "owed",
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("listener", sa.String(40), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_owed_event_id_events", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id", "listener", name="pk_owed"),
    )
    _split_taken_back(op.get_bind())
    _tell_ignored(op.get_bind())
    _catch_up(op.get_bind())
    for column, unique in (("key", True), ("undoes", False)):
        told = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_events_{column}", "events", [column], unique=unique, sqlite_where=told, postgresql_where=told
        )


def _split_taken_back(connection: sa.Connection) -> None:
    """A row renamed in place becomes the bounce (or complaint) it was, and the fact that it was wrong."""
    e = sa.table("events", *(sa.column(c) for c in ("id", "at", "kind", "mail_id", "message_id", "recipient")))
    full = sa.table(
        "events",
        sa.column("id", BigId),
        sa.column("at"),
        sa.column("kind"),
        sa.column("mail_id"),
        sa.column("message_id"),
        sa.column("recipient"),
        sa.column("server_key"),
        sa.column("data", sa.JSON),
        sa.column("key"),
        sa.column("undoes"),
    )
    rows = connection.execute(sa.select(full).where(full.c.kind == "bounced_in_error").order_by(full.c.id)).all()
    for row in rows:
        reason = (row.data or {}).get("reason")
        was = "complained" if reason in COMPLAINTS else "bounced"
        connection.execute(sa.update(e).where(e.c.id == row.id).values(kind=was))
        values = {name: getattr(row, name) for name in ("at", "mail_id", "message_id", "recipient", "server_key")}
        data = {"was": was, "reason": reason, "migrated": True}
        kind = "complained_in_error" if was == "complained" else "bounced_in_error"
        connection.execute(sa.insert(full).values(**values, kind=kind, data=data, key=f"u:{row.id}", undoes=row.id))


def _tell_ignored(connection: sa.Connection) -> None:
    """Deliveries that a person ignored, told in one statement."""
    connection.execute(
        sa.text(
            "INSERT INTO events (at, kind, mail_id, message_id, recipient, data, key) "
            "SELECT d.updated_at, 'ignored', d.mail_id, m.message_id, d.recipient, :data, "
            "'i:' || d.mail_id || '.' || d.id "
            "FROM deliveries d JOIN mails m ON m.id = d.mail_id WHERE d.state = 'ignored'"
        ).bindparams(sa.bindparam("data", {"migrated": True}, sa.JSON))
    )


def _catch_up(connection: sa.Connection) -> None:
    """Notifications still *ready* whose recipient's outcome is known."""
    n = sa.table("notifications", *(sa.column(c) for c in ("mail_id", "address", "state", "failure_type", "reason")))
    d = sa.table("deliveries", *(sa.column(c) for c in ("mail_id", "normalised", "state", "failure_type", "reply")))
    same = sa.and_(d.c.mail_id == n.c.mail_id, d.c.normalised == n.c.address)
    why = sa.select(sa.func.max(d.c.failure_type)).where(same).scalar_subquery()
    words = sa.select(sa.func.max(d.c.reply)).where(same).scalar_subquery()
    for state, mark in (("failed", "exception"), ("bounced", "bounce"), ("sent", "sent")):
        told = {"failure_type": why, "reason": words} if state != "sent" else {}
        behind = sa.and_(n.c.state == "ready", sa.exists().where(same, d.c.state == state))
        connection.execute(sa.update(n).where(behind).values(state=mark, **told))
    connection.execute(
        sa.text(
            "UPDATE notifications SET state = 'sent' WHERE state = 'ready' AND mail_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM mails m WHERE m.id = notifications.mail_id) "
            "AND EXISTS (SELECT 1 FROM events e WHERE e.mail_id = notifications.mail_id AND e.kind = 'sent' "
            "AND lower(e.recipient) = notifications.address)"
        )
    )
