"""The round-trip probe: a mail goes out, its answer and its bounce come back, and each leg is timed.

::

    out     an entry of the probe's record, to the catchall address      until it has come in again
    reply   an answer to it, to the Reply-To it had, through the server  until it stands on the record
    bounce  a mail to an address that nobody has                         until its report has come in

So everything is used that real mail uses: the outgoing server, the MX of the alias domain, its redirections or
mailboxes, the gateway. One record is kept for all probes. Legs are timed by what the store noted, not by when
it was looked at; what the outgoing server refuses at once counts as told at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError
from ..model.mail import Submission
from ..model.setup import AliasDomain, Setup
from ..model.verdict import Verdict, VerdictState
from ..ports import Clock
from ..queue.compose import make_message_id
from ..store import schema
from ..store.database import explained, reading
from ..threads import store as repo
from ..threads.service import Entry, Posted, Threads
from .values import Kind

NAME = "mailops round-trip probe"
LEGS = ("out", "reply", "bounce")
PASSED, FAILED, LATE = "passed", "failed", "late"
PAUSE = 1.0
LOOKS = {
    "out": "Read the trace of the mail (mailops trace), then the redirection or mailbox of the catchall address.",
    "reply": "Read what became of it: mailops inbound log; the Reply-To must lead to the catchall address or an alias.",
    "bounce": "Read whether mail to unknown addresses is refused at the domain's mail server (a mailbox that takes "
    "everything bounces nothing), and whether the bounce address comes in.",
}  # fmt: skip
i, d, f = schema.inbound_log, schema.deliveries, schema.events


@dataclass(frozen=True, slots=True)
class Leg:
    """One way: ``state`` passed, failed (told why) or late (nothing by the end of the patience); ``seconds`` from its
    beginning to what ended it."""

    leg: str
    state: str
    seconds: float | None
    words: str

    @property
    def look(self) -> str:
        """Where to look; empty for one that came back."""
        return "" if self.state == PASSED else LOOKS[self.leg]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe found. ``record`` holds its entries."""

    domain: str
    record: int
    began: datetime
    legs: tuple[Leg, ...]

    @property
    def passed(self) -> bool:
        """Whether every leg came to its end."""
        return all(one.state == PASSED for one in self.legs)

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it."""
        legs = [
            {"leg": x.leg, "state": x.state, "seconds": x.seconds, "words": x.words, "look": x.look} for x in self.legs
        ]
        return {
            "passed": self.passed,
            "domain": self.domain,
            "record": self.record,
            "began": self.began.isoformat(),
            "legs": legs,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a leg: since when it is under way, when it ended, and how."""

    began: datetime | None = None
    ended: datetime | None = None
    failed: bool = False
    words: str = ""


def leg_of(name: str, seen: Seen, now: datetime) -> Leg:
    """A leg at the end of the patience."""
    if seen.began is None:
        return Leg(name, LATE, None, "It did not begin: the mail it answers has not come in.")
    if seen.ended is None:
        return Leg(name, LATE, None, f"Nothing came back for {(now - seen.began).total_seconds():.0f} seconds.")
    seconds = round(max(0.0, (seen.ended - seen.began).total_seconds()), 3)
    return Leg(name, FAILED if seen.failed else PASSED, seconds, seen.words)


def verdicts(found: Probe, now: datetime) -> list[Verdict]:
    """A verdict for each leg."""
    return [
        Verdict(
            check=f"inbound.probe_{one.leg}",
            subject=found.domain,
            state=VerdictState.PASSED if one.state == PASSED else VerdictState.FAILED,
            title=f"Round-trip probe: {one.leg}",
            found=f"{one.words} ({one.seconds:g} s)" if one.seconds is not None else one.words,
            expected="It comes back",
            fix=one.look,
            code="" if one.state == PASSED else f"inbound.probe_{one.leg}",
            at=now,
        )
        for one in found.legs
    ]


class Prober:
    """Sends probes. ``submit`` hands a mail to the queue and gives its id; ``drive`` gets mail out and in, as a run of
    the queue (of these mails) and of the mailboxes does; ``rest`` waits for some seconds."""

    def __init__(
        self,
        engine: Engine,
        threads: Threads,
        clock: Clock,
        *,
        setup: Callable[[], Setup],
        submit: Callable[[Submission], int],
        drive: Callable[[list[int]], object],
        rest: Callable[[float], object],
    ) -> None:
        self._engine, self._threads, self._clock, self._setup = engine, threads, clock, setup
        self._submit, self._drive, self._rest = submit, drive, rest

    def run(self, *, domain: str | None = None, nobody: str | None = None, patience: float = 120.0) -> Probe:
        """One round. ``domain``: an alias domain (default: the first); ``nobody``: an address that bounces (default:
        one that is made up, at the domain); ``patience``: seconds for all of it.

        Raises :class:`ConfigError` ``inbound.probe`` where no alias domain has a catchall and a bounce address, and
        what handing a mail over raises.
        """
        place = self._domain(domain)
        mark = secrets.token_hex(6)
        began = self._clock.now()
        contact, record = self._contact(str(place.catchall_address)), self._record()
        text = f"This is the round-trip probe {mark} of mailops. It needs no answer."
        out = self._threads.post(record, Entry(text, subject=f"{NAME} {mark}", addressed=(contact,)))
        lost = nobody or f"mailops-probe-{mark}@{place.name}"
        bounce = self._send(place, lost, f"{NAME} {mark} (bounce)", text)
        mails, seen = [*out.mails, bounce], {"out": Seen(began), "reply": Seen(), "bounce": Seen(began)}
        answer = None
        until = self._clock.monotonic() + patience
        while True:
            self._drive(mails)
            seen["out"] = self._out(out, seen["out"])
            seen["bounce"] = self._returned(bounce, seen["bounce"])
            if answer is None and seen["out"].ended is not None and not seen["out"].failed:
                answer = make_message_id(place.name)
                seen["reply"] = Seen(self._clock.now())
                mails.append(self._answer(place, out, answer, f"Re: {NAME} {mark}", text))
                continue
            if answer is not None:
                seen["reply"] = self._replied(record, answer, mails[-1], seen["reply"])
            open_ = [one for name, one in seen.items() if one.ended is None and not self._never(name, seen)]
            if not open_ or self._clock.monotonic() >= until:
                break
            self._rest(min(PAUSE, max(0.0, until - self._clock.monotonic())))
        now = self._clock.now()
        return Probe(place.name, record, began, tuple(leg_of(name, seen[name], now) for name in LEGS))

    @staticmethod
    def _never(name: str, seen: dict[str, Seen]) -> bool:
        """Whether a leg cannot begin any more."""
        return name == "reply" and seen["reply"].began is None and seen["out"].failed

    # --- sending ------------------------------------------------------------------------------------------------------

    def _domain(self, name: str | None) -> AliasDomain:
        setup = self._setup()
        found = next((one for one in setup.alias_domains if name is None or one.name == name.strip().lower()), None)
        if found is None or not found.catchall_address or not found.bounce_address:
            raise ConfigError(
                "A probe needs an alias domain with a catchall and a bounce address.",
                code="inbound.probe",
                facts={"domain": name, "known": [one.name for one in setup.alias_domains]},
                fix="Name one of the alias domains (--domain), or set one up (notebook setup).",
            )
        return found

    def _contact(self, address: str) -> int:
        with explained("looking for the probe's contact"), reading(self._engine) as connection:
            found = [one.id for one in repo.contacts_at(connection, address) if one.name == NAME]
        return found[0] if found else self._threads.add_contact(NAME, address)

    def _record(self) -> int:
        r = schema.records
        with explained("looking for the probe's record"), reading(self._engine) as connection:
            found = connection.execute(sa.select(r.c.id).where(r.c.name == NAME).order_by(r.c.id)).scalar()
        return int(found) if found is not None else self._threads.create_record("ticket", NAME)

    def _send(self, place: AliasDomain, to: str, subject: str, text: str, **more: Any) -> int:
        sender = place.notification_address or place.catchall_address
        return self._submit(Submission(sender=sender, to=(to,), subject=subject, text=text, origin="probe", **more))

    def _answer(self, place: AliasDomain, out: Posted, answer: str, subject: str, text: str) -> int:
        """The answer of somebody who reads the mail that went out."""
        with explained("reading the probe's mail"), reading(self._engine) as connection:
            template = self._threads.template(connection, out.id, self._setup())
        to = template.reply_to or str(place.catchall_address)
        chain = {"message_id": answer, "in_reply_to": out.message_id, "references": (out.message_id,)}
        return self._send(place, to, subject, text, **chain)

    # --- looking ------------------------------------------------------------------------------------------------------

    def _out(self, out: Posted, seen: Seen) -> Seen:
        if seen.ended is not None:
            return seen
        line = self._line(out.message_id)
        if line is not None:
            return Seen(seen.began, line.at, words="It went out and came in again.")
        failed = next((one for mail in out.mails if (one := self._refused(mail)) is not None), None)
        if failed is not None:
            return Seen(seen.began, failed.updated_at, True, f"It did not go out: {failed.reply or failed.reason}")
        told = [one for one in self._threads.notifications(out.id) if one.state in repo.FAILED]
        if told:
            return Seen(seen.began, self._clock.now(), True, f"It did not go out: {told[0].reason}")
        return seen

    def _replied(self, record: int, answer: str, mail: int, seen: Seen) -> Seen:
        if seen.ended is not None:
            return seen
        line = self._line(answer)
        if line is None:
            failed = self._refused(mail)
            if failed is None:
                return seen
            return Seen(seen.began, failed.updated_at, True, f"It did not go out: {failed.reply or failed.reason}")
        here = line.decision == Kind.REPLY and record in (line.data or {}).get("records", ())
        words = "It came in and stands on the record." if here else f"It came in and was no reply: {line.reason}"
        return Seen(seen.began, line.at, not here, words)

    def _returned(self, mail: int, seen: Seen) -> Seen:
        if seen.ended is not None:
            return seen
        with explained("looking for the probe's report"), reading(self._engine) as connection:
            query = sa.select(f.c.at).where(f.c.mail_id == mail, f.c.kind == "bounced").order_by(f.c.id)
            at = connection.execute(query).scalar()
        if at is not None:
            return Seen(seen.began, at, words="Its report came in and was tied to it.")
        failed = self._refused(mail)
        if failed is None:
            return seen
        words = f"Told at once, by the server it was handed to: {failed.reply or failed.reason}"
        return Seen(seen.began, failed.updated_at, words=words)

    def _line(self, message_id: str) -> Any:
        query = sa.select(i.c.at, i.c.decision, i.c.reason, i.c.data).where(i.c.message_id == message_id)
        with explained("looking for the probe"), reading(self._engine) as connection:
            return connection.execute(query.order_by(i.c.id)).first()

    def _refused(self, mail: int) -> Any:
        """The delivery of a mail that the outgoing server refused."""
        query = sa.select(d.c.reply, d.c.reason, d.c.updated_at).where(d.c.mail_id == mail, d.c.state == "failed")
        with explained("looking for the probe"), reading(self._engine) as connection:
            return connection.execute(query.limit(1)).first()
