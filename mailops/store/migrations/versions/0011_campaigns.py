"""Campaigns, with one row for each recipient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    zone = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "campaigns",
        sa.Column("id", big, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sender", sa.String(320), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("html", sa.Text),
        sa.Column("server", sa.String(100)),
        sa.Column("company", sa.String(100)),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("created_at", zone, nullable=False),
        sa.Column("scheduled_at", zone),
        sa.Column("started_at", zone),
        sa.Column("progress_at", zone),
        sa.Column("finished_at", zone),
        sa.Column("trouble", sa.Text),
        sa.UniqueConstraint("key", name="uq_campaigns_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "campaign_recipients",
        sa.Column("campaign_id", big, sa.ForeignKey("campaigns.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", big, nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("normalised", sa.String(320)),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("mail_id", big),
        sa.PrimaryKeyConstraint("campaign_id", "number", name="pk_campaign_recipients"),
        sa.UniqueConstraint("campaign_id", "normalised", name="uq_campaign_recipients_campaign_id_normalised"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_campaign_recipients_state", "campaign_recipients", ["campaign_id", "state", "number"])
