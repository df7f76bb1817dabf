"""The relay: who handed a mail over, where its reports go, and what became of its signatures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("mails", recreate="never") as table:
        table.add_column(sa.Column("bounces", sa.String(10)))
        table.add_column(sa.Column("login", sa.String(320)))
        table.add_column(sa.Column("peer", sa.String(64)))
        table.add_column(sa.Column("sent_signature", sa.Text))
    told = sa.text("login IS NOT NULL")
    op.create_index("ix_mails_login", "mails", ["login"], sqlite_where=told, postgresql_where=told)
    refused = sa.text("state IN ('failed', 'bounced')")
    op.create_index("ix_deliveries_refused", "deliveries", ["mail_id"], sqlite_where=refused, postgresql_where=refused)
    zone = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "dkim_keys",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("selector", sa.String(63), nullable=False),
        sa.Column("reference", sa.String(500), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("created_at", zone, nullable=False),
        sa.Column("changed_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("domain", "selector", name="pk_dkim_keys"),
    )
    op.create_table(
        "logins",
        sa.Column("login", sa.String(320), nullable=False),
        sa.Column("password", sa.String(500), nullable=False),
        sa.Column("company", sa.String(100)),
        sa.Column("senders", sa.JSON, nullable=False),
        sa.Column("bounces", sa.String(10)),
        sa.Column("reports", sa.Boolean, nullable=False),
        sa.Column("messages_per_minute", sa.Integer),
        sa.Column("created_at", zone, nullable=False),
        sa.Column("changed_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("login", name="pk_logins"),
    )
    op.create_table(
        "reports",
        sa.Column("mail_id", big, nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("login", sa.String(320)),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("code", sa.Integer),
        sa.Column("status", sa.String(20)),
        sa.Column("reply", sa.Text),
        sa.Column("at", zone, nullable=False),
        sa.Column("told_at", zone),
        sa.Column("report_id", big),
        sa.PrimaryKeyConstraint("mail_id", "recipient", name="pk_reports"),
    )
    op.create_index("ix_reports_state", "reports", ["state", "at"])
    op.create_index("ix_reports_address_told", "reports", ["address", "told_at"])
