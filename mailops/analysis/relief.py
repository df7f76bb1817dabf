"""What the daily limit is spared when users read their notifications in the app instead of by email (LIM-09)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..model.address import normalise
from ..model.text import counted
from ..store import schema
from ..store.database import explained, reading
from .sql import Period

n, c, m = schema.notifications, schema.contacts, schema.messages
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class UserMails:
    """A user who is notified by email, with the mails that this made in the time looked at."""

    address: str
    name: str
    mails: int


@dataclass(frozen=True, slots=True)
class Relief:
    """What a switch would spare, by what was: ``users`` who would switch (the most mails first), ``all_mails`` that
    notifications made in ``days`` (for everybody), the daily ``limit`` (None: none holds)."""

    users: tuple[UserMails, ...]
    all_mails: int
    days: float
    limit: int | None

    @property
    def mails(self) -> int:
        """Mails that those who switch got in that time."""
        return sum(one.mails for one in self.users)

    @property
    def a_day(self) -> float:
        return self.mails / self.days

    @property
    def sentence(self) -> str:
        if not self.users:
            return "Nobody who is a user was notified by email in this time: a switch spares nothing."
        share = f", {self.a_day / self.limit:.0%} of the daily limit of {self.limit}" if self.limit else ""
        who = counted(len(self.users), "user reads", "users read")
        return (
            f"If {who} notifications in the app, {self.a_day:.1f} mails a day less leave{share}: {self.mails:,} of the "
            f"{counted(self.all_mails, 'notification')} that left by email in {self.days:.0f} days."
        )


def relief(
    engine: Engine, period: Period, now: datetime, *, users: Collection[str] | int | None, limit: int | None
) -> Relief:
    """What would be spared: ``users`` are addresses, or so many of those who get most (None: all). A notification by
    email counts as one mail, since each that leaves does (LIM-08)."""
    with explained("counting notifications"), reading(engine) as connection:
        by_mail = (n.c.channel == "email", n.c.mail_id.is_not(None), *period.moments(m.c.created_at))
        joined = sa.join(n, m, m.c.id == n.c.message_id)
        all_mails, first = connection.execute(
            sa.select(sa.func.count(), sa.func.min(m.c.created_at, type_=m.c.created_at.type))
            .select_from(joined)
            .where(*by_mail)
        ).one()
        number = sa.func.count()
        query = (
            sa.select(c.c.email, c.c.name, number)
            .select_from(joined.join(c, c.c.id == n.c.contact_id))
            .where(*by_mail, c.c.is_user, c.c.active, c.c.notify_by == "email")
            .group_by(c.c.id, c.c.email, c.c.name)
            .order_by(number.desc(), c.c.email)
        )
        found = [UserMails(str(email or ""), str(name), int(mails)) for email, name, mails in connection.execute(query)]
    if isinstance(users, int):
        found = found[:users]
    elif users is not None:
        wanted = {normalise(one) for one in users}
        found = [one for one in found if normalise(one.address) in wanted]
    begin = max(filter(None, (period.start, first)), default=now)
    return Relief(tuple(found), int(all_mails), max((now - begin) / DAY, 1.0), limit)
