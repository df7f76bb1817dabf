"""A month of mail, day by day, as two small companies write it. Chance has a fixed seed: every run is the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..model.mail import Submission
from ..model.setup import MailClass
from ..model.states import DeliveryState, MailState
from ..ops import Ops
from ..queue.filters import QueueFilter
from ..queue.worker import RunReport
from ..testing import ManualClock
from .world import World

DAYS = 30
DOMAINS = (
    *("bigmail.example",) * 9,
    *("webpost.example",) * 7,
    *("careful.example",) * 4,
    *("contoso.example",) * 4,
    *("fabrikam.example",) * 3,
    *("strict.example",) * 2,
    "slow.example",
)
FIRST = (
    "anna",
    "ben",
    "carla",
    "david",
    "elif",
    "felix",
    "grace",
    "hiro",
    "ines",
    "jonas",
    "kim",
    "lea",
    "milan",
    "nora",
)
LAST = ("ahmed", "berg", "costa", "dupont", "evans", "fischer", "garcia", "hansen", "ito", "jones", "keller", "lopez")
STAFF = (
    ("Ann Archer", "ann@northwind.example", "northwind"),
    ("Bob Baker", "bob@northwind.example", "northwind"),
    ("Sales", "sales@northwind.example", "northwind"),
    ("Sales", "sales@northwind.example", "northwind"),
    ("Tim Turner", "tim@tools.example", "tools"),
    ("Support", "support@tools.example", "tools"),
    ("Carol Clerk", "carol@partner-firm.example", "northwind"),  # no server of her own: notification address
)
KINDS = (
    ("Your invoice INV/{n:05d}", "Please find your invoice over {amount} EUR. It is due in 14 days."),
    ("Quotation S{n:05d}", "Here is the quotation you asked for. It holds until the end of next week."),
    ("Re: Ticket #{n}", "We looked into it: the part is on its way to you."),
    ("Delivery of order S{n:05d}", "Your parcel left our house today."),
    ("Reset your password", "Use the link in your account within one hour."),
)


@dataclass(slots=True)
class Played:
    """What the month came to."""

    submitted: int = 0
    sent: int = 0
    failed: int = 0
    deferred: int = 0
    reports: int = 0
    matched: int = 0

    def add(self, report: RunReport) -> None:
        """Add a queue run."""
        self.sent += report.sent
        self.failed += report.failed
        self.deferred += report.deferred + report.unknown


@dataclass(frozen=True, slots=True)
class Unsent:
    """Why mails did not leave: ``refused`` by the other side for good, ``given_up`` after it had put them off for too
    long, ``left_out`` because their addressee is suppressed."""

    refused: int
    given_up: int
    left_out: int


def unsent(ops: Ops) -> Unsent:
    """Count what failed by what the other side had said last."""
    refused = given_up = left_out = 0
    for mail in ops.queue.page(QueueFilter(state=MailState.FAILED), limit=10_000).mails:
        for delivery in mail.deliveries:
            if delivery.state is not DeliveryState.FAILED:
                continue  # it had left, and came back
            if delivery.code is None:
                left_out += 1  # nobody was asked
            elif delivery.code >= 500:
                refused += 1
            else:
                given_up += 1
    return Unsent(refused, given_up, left_out)


def play(ops: Ops, world: World, clock: ManualClock) -> Iterator[Played]:
    """Play the month; yields the figures after each day."""
    chance = random.Random(17)
    played = Played()
    customers = [_customer(chance) for _ in range(700)]
    readers = [_customer(chance, careless=True) for _ in range(450)]
    for day in range(DAYS):
        mails = list(_daily(chance, customers, clock.now()))
        if day % 7 == 2:
            mails += _newsletter(readers, day // 7 + 1)
        half = len(mails) // 2
        for part in (mails[:half], mails[half:]):
            played.submitted += sum(1 for _ in ops.queue.submit_many(part))
            played.add(ops.queue.run())
            clock.advance(6 * 3600)
            played.add(ops.queue.run())  # what was put off this morning
        for raw in world.reports():
            taken = ops.bounces.take(raw)
            played.reports += 1
            played.matched += taken.matched
        clock.advance(12 * 3600)
        yield played


def _customer(chance: random.Random, *, careless: bool = False) -> str:
    name = f"{chance.choice(FIRST)}.{chance.choice(LAST)}{chance.randrange(1, 99)}"
    domain = chance.choice(DOMAINS)
    luck = chance.random() / (4 if careless else 1)
    if luck < 0.008:
        return f"gone.{name}@{domain}"
    if luck < 0.012:
        return f"{name}@closed-shop.example"
    if luck < 0.018:
        return f"full.{name}@{domain}"
    if luck < 0.026:
        return f"left.{name}@{domain}"
    if luck < 0.030:
        return f"quota.{name}@{domain}"
    return f"{name}@{domain}"


def _daily(chance: random.Random, customers: list[str], now: datetime) -> Iterator[Submission]:
    busy = 0.3 if now.weekday() >= 5 else 1.0
    for _ in range(int(chance.randrange(90, 140) * busy)):
        name, address, company = chance.choice(STAFF)
        subject, text = chance.choice(KINDS)
        number = chance.randrange(1, 99_999)
        yield Submission(
            sender=f"{name} <{address}>",
            to=(chance.choice(customers),),
            subject=subject.format(n=number),
            text=f"Hello,\n\n{text.format(amount=chance.randrange(20, 900))}\n\n{name}\n",
            company=company,
            auto_delete=chance.random() < 0.3,
        )


def _newsletter(readers: list[str], issue: int) -> Iterator[Submission]:
    for reader in readers:
        yield Submission(
            sender="Northwind News <hello@news.northwind.example>",
            to=(reader,),
            subject=f"Northwind News {issue}: what is new in the shop",
            html=f"<h1>Issue {issue}</h1><p>New tools, new teas, and a word from the workshop.</p>",
            text="New tools, new teas, and a word from the workshop.",
            headers=(("List-Unsubscribe", "<mailto:unsubscribe@news.northwind.example>"), ("Precedence", "list")),
            mail_class=MailClass.MASS,
            server="newsletter",
            company="northwind",
        )


def start_of_month(now: datetime) -> datetime:
    """Where the month begins, so that it ends now."""
    return now - timedelta(days=DAYS)
