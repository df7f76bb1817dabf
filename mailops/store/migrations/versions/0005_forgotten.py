"""People can be forgotten, attempts outlive their mails, and no number is given away twice.

``forgotten`` holds the pseudonyms of those who were forgotten. A fact's key never holds an address any more: the short
ones that did are kept as digests, like the long ones. SQLite gives numbers of mails and attempts away once only
(``AUTOINCREMENT``), beginning after every number that the facts speak of.
"""

from __future__ import annotations

import base64
import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
_NAMES = ("mails", "attempts", "events")


def upgrade() -> None:
    op.create_table(
        "forgotten",
        sa.Column("pseudonym", sa.String(320), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_forgotten"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _once_only()
    else:
        op.drop_constraint("fk_attempts_mail_id_mails", "attempts", type_="foreignkey")
    _digest_keys(connection)


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
