"""The intake: accounts mail is fetched from, one row for each mail that was seen, and its bytes until they may go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    zone = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("inbound_log", recreate="never") as table:
        table.add_column(sa.Column("digest", sa.String(64)))
    op.create_index("ix_inbound_log_message_id", "inbound_log", ["message_id"])
    op.create_table(
        "intake_accounts",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("created_at", zone, nullable=False),
        sa.Column("confirmed_at", zone),
        sa.Column("checked_at", zone),
        sa.Column("arrived_at", zone),
        sa.Column("error", sa.Text),
        sa.Column("error_at", zone),
        sa.PrimaryKeyConstraint("key", name="pk_intake_accounts"),
    )
    op.create_table(
        "intake_folders",
        sa.Column("account", sa.String(100), nullable=False),
        sa.Column("folder", sa.String(500), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger, nullable=False),
        sa.Column("opened_at", zone, nullable=False),
        sa.Column("checked_at", zone),
        sa.Column("missing", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("account", "folder", "uidvalidity", name="pk_intake_folders"),
    )
    op.create_table(
        "intake",
        sa.Column("id", big, primary_key=True),
        sa.Column("account", sa.String(100), nullable=False),
        sa.Column("folder", sa.String(500), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger, nullable=False),
        sa.Column("uid", sa.String(100), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("decision", sa.String(30)),
        sa.Column("reason", sa.Text),
        sa.Column("message_id", sa.String(998)),
        sa.Column("digest", sa.String(64)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sender", sa.String(320)),
        sa.Column("recipients", sa.Text),
        sa.Column("given", sa.JSON),
        sa.Column("seen_at", zone, nullable=False),
        sa.Column("done_at", zone),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("again", sa.Integer, nullable=False, server_default="0"),
        sa.Column("log_id", big),
        sa.Column("notices", sa.JSON),
        sa.UniqueConstraint("account", "folder", "uidvalidity", "uid", name="uq_intake_place"),
    )
    op.create_index("ix_intake_digest", "intake", ["digest"])
    open_ = sa.text("state IN ('waiting', 'shelved')")
    op.create_index("ix_intake_open", "intake", ["state"], sqlite_where=open_, postgresql_where=open_)
    op.create_table(
        "intake_raw",
        sa.Column("intake_id", big, sa.ForeignKey("intake.id", ondelete="CASCADE"), nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("intake_id", name="pk_intake_raw"),
    )
