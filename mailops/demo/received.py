"""What comes back to the demonstration: tickets, real answers, a robot that answers for ever, a made-up token, and a
mail whose handling is broken off three times and lies on the shelf. It comes by SMTP, as by an MX record."""

from __future__ import annotations

import smtplib
from collections import Counter
from contextlib import suppress
from email.message import EmailMessage
from io import BytesIO
from zlib import crc32

from ..inbound.shelf import Shelved
from ..ops import Ops
from ..queue.worker import RunReport
from ..threads.service import Entry

CUSTOMERS = ("ines.costa", "jonas.berg", "kim.ito")
DOMAIN = "bigmail.example"
ROBOT = 25
"""How often the robot answers; the gateway takes fewer."""
BROKEN = "My order (never handled to its end)"


def receive(ops: Ops) -> tuple[list[str], RunReport]:
    """Play it; what happened, line by line, and the run that took our side's mails out."""
    ops.save_alias("support", "ticket", domain="tools.example")
    ann = ops.threads.add_contact("Tim Turner", "tim@tools.example", is_user=True, notify_by="inbox")
    known = {one.id for one in ops.inbound.log(limit=10_000)[0]}
    with ops.mx() as door:
        tickets = []
        for number, who in enumerate(CUSTOMERS):
            hand_over(door.port, written(who, "support@tools.example", f"The drill stands still ({number})"))
            tickets.append(ops.desk.records(model="ticket", limit=1)[0][0].id)
        asked = []
        for ticket, who in zip(tickets, CUSTOMERS, strict=True):
            customer = ops.threads.add_contact(who, f"{who}@{DOMAIN}")
            ops.threads.follow(ticket, customer)
            ops.threads.follow(ticket, ann)
            entry = Entry("Which one of ours is it?", author_email="Tim Turner <tim@tools.example>")
            asked.append(ops.threads.post(ticket, entry))
        report = ops.queue.run()
        for who, post in zip(CUSTOMERS[:2], asked, strict=False):
            hand_over(door.port, written(who, "support@tools.example", "Re: The drill", post.message_id))
        robot, answered = CUSTOMERS[2], asked[2].message_id
        for number in range(ROBOT):
            hand_over(door.port, written(robot, "support@tools.example", f"Out of office {number}", answered, True))
        hand_over(door.port, written("mallory", "support+r1-1-000000000000000000000000@tools.example", "Let me in"))
    shelved = broken_off(ops)
    lines = [one for one in ops.inbound.log(limit=10_000)[0] if one.id not in known]
    kinds = Counter(one.decision for one in lines)
    return [
        f"{len(tickets)} customers write to support@tools.example: tickets. Two answer, and their answers are on them.",
        f"A robot answers {ROBOT} times: {kinds['loop_blocked']} of them are dropped. A made-up token opens no record.",
        f"One mail could not be processed and lies on the shelf: {shelved.reason} (notebook inbox)",
    ], report


def written(who: str, to: str, subject: str, answers: str = "", automatic: bool = False) -> EmailMessage:
    """A mail of a customer."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"{who}@{DOMAIN}", to, subject
    mail["Message-ID"] = f"<{hash_of(who, subject, to):x}@{DOMAIN}>"
    if answers:
        mail["In-Reply-To"] = answers
    if automatic:
        mail["Auto-Submitted"] = "auto-replied"
    mail.set_content("Number 7 of the drills.\n\n> Which one of ours is it?\n" if answers else "It makes no sound.\n")
    return mail


def hash_of(*parts: str) -> int:
    """A number made of these words, the same in every run."""
    return crc32("\n".join(parts).encode())


def hand_over(port: int, mail: EmailMessage) -> None:
    """As another mail server does; what is refused is refused."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        try:
            client.send_message(mail)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
            return


def broken_off(ops: Ops) -> Shelved:
    """Take a mail in and break off three times before it is decided, as a machine does that is switched off. The next
    run lets it be: it goes to the shelf and holds up nobody."""
    raw = written(CUSTOMERS[0], "support@tools.example", BROKEN).as_bytes()
    before = ops.intake.on_step
    try:
        for last in ("stored", "taken up", "taken up"):

            def stop(step: str, last: str = last) -> None:
                if step == last:
                    raise KeyboardInterrupt

            ops.intake.on_step = stop
            with suppress(KeyboardInterrupt):
                ops.ingest(stream=BytesIO(raw))
    finally:
        ops.intake.on_step = before
    ops.ingest(stream=BytesIO(raw))
    return next(one for one in ops.shelf.mails() if one.subject == BROKEN)
