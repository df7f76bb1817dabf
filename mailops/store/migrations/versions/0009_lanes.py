"""Lanes: which server a mail waits for, in which order, and what holds it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("mails", recreate="never") as table:
        table.add_column(sa.Column("lane", sa.String(100), nullable=False, server_default=""))
        table.add_column(sa.Column("rank", sa.SmallInteger, nullable=False, server_default="1"))
    op.execute(
        "UPDATE mails SET rank = CASE WHEN mail_class = 'mass' AND attempts = 0 THEN 4 WHEN mail_class = 'mass' THEN 2 "
        "WHEN origin LIKE '%, urgent' THEN 0 ELSE 1 END WHERE state = 'outgoing'"
    )
    waiting = sa.text("state = 'outgoing'")
    op.create_index(
        "ix_mails_lane",
        "mails",
        ["lane", "rank", "due_at", "id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.drop_index("ix_mails_queue", "mails")  # the lanes' one has the due times of what waits
    op.create_index("ix_mails_state", "mails", ["state"])
    op.drop_index("ix_mails_lease", "mails")
    held = sa.text("lease_owner IS NOT NULL")
    op.create_index("ix_mails_lease", "mails", ["lease_owner"], sqlite_where=held, postgresql_where=held)
    op.drop_index("ix_attempts_open", "attempts")
    is_open = sa.text("outcome IS NULL")
    op.create_index("ix_attempts_open", "attempts", ["worker"], sqlite_where=is_open, postgresql_where=is_open)
    op.execute(
        "UPDATE servers SET max_sessions = 0 WHERE max_sessions = 1"
    )  # nobody could choose it: as the provider says
    zone = sa.DateTime(timezone=True)
    op.create_table(
        "holds",
        sa.Column("domain", sa.String(253), nullable=False),
        sa.Column("until", zone, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("actor", sa.String(100)),
        sa.Column("created_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("domain", name="pk_holds"),
    )
    op.create_table(
        "job_times",
        sa.Column("job", sa.String(40), nullable=False),
        sa.Column("last_at", zone, nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_job_times"),
    )
