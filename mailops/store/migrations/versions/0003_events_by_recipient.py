"""Events are found by recipient, so that a report without a Message-ID costs a look-up and no scan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "ix_events_recipient",
        "events",
        [sa.text("lower(recipient)"), "at"],
        sqlite_where=sa.text("recipient IS NOT NULL"),
        postgresql_where=sa.text("recipient IS NOT NULL"),
        if_not_exists=True,
    )
