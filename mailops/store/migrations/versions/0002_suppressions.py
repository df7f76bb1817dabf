"""Suppressed addresses, events of provider webhooks seen once, and what a report's row knows more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    connection = op.get_bind()
    present = set(sa.inspect(connection).get_table_names())
    known = {column["name"] for column in sa.inspect(connection).get_columns("bounces")}
    if "normalised" not in known:
        op.add_column("bounces", sa.Column("normalised", sa.String(length=320), nullable=True))
        op.add_column("bounces", sa.Column("source", sa.String(length=40), nullable=True))
        op.add_column("bounces", sa.Column("rule", sa.String(length=200), nullable=True))
        op.create_index("ix_bounces_normalised", "bounces", ["normalised"], unique=False)
        bounces = sa.table("bounces", sa.column("recipient"), sa.column("normalised"), sa.column("source"))
        connection.execute(sa.update(bounces).values(normalised=sa.func.lower(bounces.c.recipient), source="report"))
    if "suppressions" not in present:
        op.create_table(
            "suppressions",
            sa.Column("id", BIG, autoincrement=True, nullable=False),
            sa.Column("address", sa.String(length=320), nullable=False),
            sa.Column("scope", sa.String(length=20), nullable=False),
            sa.Column("state", sa.String(length=20), nullable=False),
            sa.Column("source", sa.String(length=40), nullable=False),
            sa.Column("reason", sa.String(length=40), nullable=False),
            sa.Column("why", sa.Text(), nullable=False),
            sa.Column("hard", sa.Boolean(), nullable=False),
            sa.Column("since", MOMENT, nullable=False),
            sa.Column("until", MOMENT, nullable=True),
            sa.Column("bounce_id", BIG, nullable=True),
            sa.Column("actor", sa.String(length=100), nullable=False),
            sa.Column("changed_at", MOMENT, nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
        )
        op.create_index("ix_suppressions_address_state", "suppressions", ["address", "state"], unique=False)
    if "webhook_events" not in present:
        op.create_table(
            "webhook_events",
            sa.Column("provider", sa.String(length=40), nullable=False),
            sa.Column("event_id", sa.String(length=200), nullable=False),
            sa.Column("at", MOMENT, nullable=False),
            sa.Column("kind", sa.String(length=40), nullable=False),
            sa.PrimaryKeyConstraint("provider", "event_id", name=op.f("pk_webhook_events")),
        )
