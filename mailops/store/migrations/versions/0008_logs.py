"""Logs: the stays of mails in queues that logs told of, and how far growing files were read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    zone = sa.DateTime(timezone=True)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "log_mails",
        sa.Column("id", big, nullable=False, autoincrement=True),
        sa.Column("host", sa.String(100), nullable=False),
        sa.Column("instance", sa.String(100), nullable=False),
        sa.Column("queue_id", sa.String(100), nullable=False),
        sa.Column("first_at", zone, nullable=False),
        sa.Column("last_at", zone, nullable=False),
        sa.Column("done_at", zone),
        sa.Column("began", sa.Boolean, nullable=False),
        sa.Column("mail_id", big, nullable=False),
        sa.Column("message_id", sa.String(998)),
        sa.Column("sender", sa.String(320)),
        sa.Column("client", sa.String(300)),
        sa.Column("login", sa.String(320)),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("notice_of", sa.String(100)),
        sa.PrimaryKeyConstraint("id", name="pk_log_mails"),
    )
    op.create_index("ix_log_mails_queue", "log_mails", ["queue_id", "first_at", "host", "instance"], unique=True)
    op.create_index("ix_log_mails_mail_id", "log_mails", ["mail_id"])
    op.create_index("ix_log_mails_message_id", "log_mails", ["message_id"])
    op.create_index("ix_log_mails_last_at", "log_mails", ["last_at"])
    named = sa.text("sender IS NOT NULL")
    op.create_index(
        "ix_log_mails_sender", "log_mails", [sa.text("lower(sender)"), "last_at"], sqlite_where=named,
        postgresql_where=named,
    )  # fmt: skip
    op.create_table(
        "log_files",
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("device", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.String(20), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at", zone, nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_log_files"),
    )
