"""Limits: what left by account, what people set, and servers that are held."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    zone = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "lane_holds",
        sa.Column("lane", sa.String(100), nullable=False),
        sa.Column("until", zone, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("actor", sa.String(100)),
        sa.Column("created_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("lane", name="pk_lane_holds"),
    )
    op.create_table(
        "limit_uses",
        sa.Column("id", big, primary_key=True, autoincrement=True),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("taken_at", zone, nullable=False),
        sa.Column("closed_at", zone),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("recipients", sa.Integer, nullable=False),
    )
    op.create_index("ix_limit_uses_account_closed_at", "limit_uses", ["account", "closed_at"])
    op.create_table(
        "server_limits",
        sa.Column("server_key", sa.String(100), nullable=False),
        sa.Column("of", sa.String(20), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("changed_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("server_key", "of", "seconds", name="pk_server_limits"),
    )
