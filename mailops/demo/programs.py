"""The demonstration's programs: a web shop and a monitor hand mail over by SMTP, each with a login of its own.

The listener is the one of ``mailops serve``. One of the shop's customers is gone, so that a program hears of it.
"""

from __future__ import annotations

import secrets
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage

from ..ops import Ops
from ..queue.worker import RunReport
from ..serve import make_server


@dataclass(frozen=True, slots=True)
class Program:
    """A program that sends: its login, whom it writes as, and to whom."""

    login: str
    company: str
    sender: str
    subject: str
    to: tuple[str, ...]
    per_minute: int | None = None


PROGRAMS = (
    Program(
        "webshop",
        "northwind",
        "orders@northwind.example",
        "Your order {n} was taken",
        (
            "nora.berg12@bigmail.example",
            "felix.ito3@webpost.example",
            "gone.kim.evans7@bigmail.example",
            "carla.costa44@fabrikam.example",
            "hiro.dupont9@contoso.example",
        ),
    ),
    Program("monitor", "tools", "alarm@tools.example", "Disk {n} is 90 % full", ("ann@contoso.example",) * 2, 30),
)


def hand_over(ops: Ops) -> tuple[int, RunReport]:
    """Make the logins, hand the programs' mails over, and send them; how many there were, and what the run did."""
    handed = 0
    keys = {one.login: secrets.token_urlsafe(18) for one in PROGRAMS}
    for one in PROGRAMS:
        mine = (f"@{one.sender.partition('@')[2]}",)
        ops.logins.add(one.login, keys[one.login], setup=ops.setup, company=one.company, senders=mine,
                       messages_per_minute=one.per_minute)  # fmt: skip
    with make_server(ops, host="127.0.0.1", port=0) as server:
        for one in PROGRAMS:
            with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
                client.login(one.login, keys[one.login])
                for number, to in enumerate(one.to, start=1):
                    client.send_message(_mail(one, number, to))
                    handed += 1
    return handed, ops.queue.run()  # what was refused is told to its program in the same run


def _mail(program: Program, number: int, to: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = program.sender, to
    mail["Subject"] = program.subject.format(n=number)
    mail.set_content("This is a message from a program; answers to it are read.\n")
    return mail
