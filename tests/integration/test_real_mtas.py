"""Mail that Postfix, Exim and OpenSMTPD of Debian could not deliver comes back as their own reports, and is understood.

::

    mailops queue ── SMTP ──► mail server under test ── SMTP ──► scripted peers that refuse
                                    │ writes a bounce to the envelope sender
                                    └── SMTP ──► mailbox of the bounce address ──► bounces.take, or the gateway ──► judged

Each server runs once for the module, in a cell of its own (see ``realservers_kit``). All mails go through that one start;
each test takes in what came back for its own mail. What is expected is what the refusing side said; where a mail server
passes on less than that, the expectation names it.
"""

from __future__ import annotations

import contextlib
import random
import re
import smtplib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from furnish import furnish
from peers import missing
from realservers_kit import Relay, free_ports, relay

from mailops import Ops
from mailops.inbound.values import Kind
from mailops.model.reasons import plain
from mailops.model.states import DeliveryState
from mailops.testing import DnsServer, Rule, SmtpServer, defer, refuse
from mailops.testing.smtp_core import EXTENSIONS
from mailops.threads.envelope import Mark
from mailops.threads.service import Entry
from mailops.workspace import init

LIFETIME = 6  # seconds until a mail server gives up
BACK_SECONDS = 45.0
pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Fate:
    """What is to be understood of one refused recipient; ``at`` has what else holds for a mail server.

    ``waits``: refused for now, so a warning comes first and the bounce later.
    """

    reason: str
    hard: bool
    status: str
    waits: bool = False
    at: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def by(self, mta: str) -> Fate:
        values: dict[str, Any] = {"reason": self.reason, "hard": self.hard, "status": self.status, "waits": self.waits}
        return Fate(**{**values, **self.at.get(mta, {})})


@dataclass(frozen=True)
class Case:
    """One mail: its recipients with what becomes of them (None: it arrives). ``gateway``: the road it comes back on."""

    name: str
    to: Mapping[str, Fate | None]
    text: str = "Hello"
    gateway: bool = False


# Exim and OpenSMTPD name no status where they speak for themselves, and say of mail given up only that it was.
BARE: dict[str, Any] = {"status": "5.0.0"}
GIVEN_UP: dict[str, dict[str, Any]] = {
    "exim": {**BARE, "reason": "expired"},
    "opensmtpd": {"status": "4.4.7", "reason": "expired"},
}

NULL_MX = {"exim": BARE, "opensmtpd": {**GIVEN_UP["opensmtpd"], "hard": False, "waits": True}}
SHUT_DOOR = {**GIVEN_UP, "exim": {**BARE, "hard": False, "waits": False}}

GONE, FULL = Fate("userunknown", True, "5.1.1"), Fate("mailboxfull", False, "5.2.2")
SCRIPT: list[Rule] = [
    refuse("gone*@*", 550, "5.1.1", "The email account that you tried to reach does not exist"),
    refuse("moved@*", 550, "5.1.1", "No mailbox here by that name\nAsk postmaster@away.example"),
    refuse("full*@*", 552, "5.2.2", "The email account that you tried to reach is over quota"),
    defer("nearly-full@*", 452, "4.2.2", "Mailbox full"),
    defer("grey@*", 450, "4.7.1", "Greylisted, please try again later"),
    refuse("disabled@*", 550, "5.2.1", "The email account that you tried to reach is disabled"),
    refuse(
        "listed@*", 554, "5.7.1", "Service unavailable; Client host [192.0.2.7] blocked using zen.blocklist.example"
    ),
    refuse("relay@*", 554, "5.7.1", "Relay access denied"),
    refuse("spam@*", 550, "5.7.1", "Message rejected as spam by content filtering", step="body"),
    refuse("policy@*", 550, "5.7.1", "Message rejected due to local policy", step="body"),
    refuse("dmarc@*", 550, "5.7.26", "Not accepted due to the DMARC policy of acme.example", step="body"),
    refuse("mute@*", 550, None, "", step="body"),
]
OLD_SCRIPT = [
    refuse("gone@*", 550, None, "No such user here"),
    refuse("full@*", 552, None, "Requested mail action aborted: exceeded storage allocation"),
]
CASES = [
    Case("gone", {"gone@away.example": GONE}),
    Case("gone-two-lines", {"moved@away.example": GONE}),
    Case("gone-old-server", {"gone@old.example": Fate("userunknown", True, "5.0.0")}, gateway=True),
    Case("full", {"full@away.example": FULL}, gateway=True),
    Case("full-old-server", {"full@old.example": Fate("mailboxfull", False, "5.0.0")}),
    Case(
        "full-for-now",
        {"nearly-full@away.example": Fate("mailboxfull", False, "4.2.2", True, {**GIVEN_UP, "exim": BARE})},
    ),
    Case("greylisted", {"grey@away.example": Fate("onhold", False, "4.7.1", True, GIVEN_UP)}, gateway=True),
    Case("disabled", {"disabled@away.example": Fate("suspend", False, "5.2.1")}),
    Case("listed", {"listed@away.example": Fate("blocked", False, "5.7.1")}),
    Case("relay-denied", {"relay@away.example": Fate("norelaying", False, "5.7.1")}),
    Case("spam", {"spam@away.example": Fate("spamdetected", False, "5.7.1")}),
    Case("policy", {"policy@away.example": Fate("policyviolation", False, "5.7.1")}),
    Case("dmarc", {"dmarc@away.example": Fate("authfailure", False, "5.7.26")}),
    Case("no-such-domain", {"who@nowhere.example": Fate("hostunknown", True, "5.4.4", at={"exim": BARE})}),
    Case("null-mx", {"who@null.example": Fate("notaccept", True, "5.1.0", at=NULL_MX)}),
    Case("shut-door", {"who@door.example": Fate("blocked", False, "4.0.0", True, SHUT_DOOR)}),
    Case("nobody-answers", {"who@dead.example": Fate("networkerror", False, "4.4.1", True, GIVEN_UP)}),
    Case("too-big", {"who@small.example": Fate("mesgtoobig", False, "5.3.4")}, text="All of it. " * 800),
    Case("one-of-three", {"ok-a@away.example": None, "gone-b@away.example": GONE, "ok-c@away.example": None}),
    Case("two-reasons", {"gone-d@away.example": GONE, "full-e@away.example": FULL}),
    Case("mute", {"mute@away.example": Fate("onhold", False, "5.0.0")}),
    Case("arrives", {"ok@away.example": None}),
]


@dataclass
class World:
    """A workspace whose mail goes through one real mail server, and everything that came back."""

    mta: Relay
    ops: Ops
    home: SmtpServer
    mails: dict[str, int]
    named: dict[int, str]  # Message-IDs; the queue forgets mails of threads when they are sent
    letter: int  # an entry of a thread that went to two people
    letters: dict[str, int]  # its mails by address

    def reports(self, mail_id: int) -> list[bytes]:
        """What came back for a mail, oldest first."""
        return [m.data for m in self.home.messages if self.named[mail_id].encode() in m.data]

    def about(self, mail_id: int, address: str) -> list[bytes]:
        """Those of them that speak of a recipient, whatever they say."""
        line = re.compile(rf"(?im)^Final-Recipient: rfc822; ?{re.escape(address)}\r?$".encode())
        return [raw for raw in self.reports(mail_id) if line.search(raw)]

    def wait(self, wanted: list[tuple[int, str, int]]) -> None:
        """Wait until so many reports are there for each mail and recipient."""
        end = time.monotonic() + BACK_SECONDS
        while left := [(to, n) for mail_id, to, n in wanted if len(self.about(mail_id, to)) < n]:
            if time.monotonic() > end:
                pytest.fail(f"{self.mta.name} sent no report for {left}: {self.mta.log()}")
            time.sleep(0.05)

    def state(self, mail_id: int, address: str) -> DeliveryState:
        return next(d.state for d in self.ops.queue.mail(mail_id).deliveries if d.recipient == address)


@pytest.fixture(scope="module", params=["postfix", "exim", "opensmtpd"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        plain = EXTENSIONS - {"DSN"}  # so that the mail server reports itself what it handed on
        servers = {
            "acme.example": SmtpServer(),
            "away.example": SmtpServer(SCRIPT, extensions=plain),
            "old.example": SmtpServer(OLD_SCRIPT, extensions=plain - {"ENHANCEDSTATUSCODES"}),
            "small.example": SmtpServer(max_size=4000),
            "door.example": SmtpServer([refuse(None, 554, None, "No SMTP service here", step="connect", close=True)]),
        }
        routes = {"dead.example": ("127.0.0.9", free_ports(1)[0])}
        for number, (domain, server) in enumerate(servers.items(), 1):
            server.host = f"127.0.0.{number}"  # a mail server that meets trouble shuns the address, not the port
            routes[domain] = (server.host, stack.enter_context(server).port)
        mta = stack.enter_context(relay(request.param, routes, stack.enter_context(name_server()), LIFETIME))
        ops = Ops.open(init(tmp_path_factory.mktemp(mta.name) / "workspace"))
        stack.callback(ops.close)
        furnish(ops, mta, timeout=20.0)
        mails = {
            case.name: ops.send(sender="Ann <ann@acme.example>", to=list(case.to), subject=case.name, text=case.text)
            for case in CASES
        }
        record = ops.threads.create_record("ticket", "The printer")
        for name, address in (("Ann", "ok@away.example"), ("Ben", "ben@nowhere.example")):
            ops.threads.follow(record, ops.threads.add_contact(name, address))
        letter = ops.threads.post(record, Entry("We look at it.", author_email="Tom <tom@acme.example>")).id
        letters = {n.address or "": n.mail_id or 0 for n in ops.threads.notifications(letter)}
        named = {m: ops.queue.mail(m).message_id for m in (*mails.values(), *letters.values())}
        asked = ops.queue.raw(mails["arrives"])
        assert ops.queue.run().sent == len(named)
        ops.return_paths.sign()
        mails["signed"] = ops.send(
            sender="ann@acme.example", to=["gone-s@away.example"], subject="signed", text="Hello"
        )
        named[mails["signed"]] = ops.queue.mail(mails["signed"]).message_id
        assert ops.queue.run().sent == 1
        found = World(mta, ops, servers["acme.example"], mails, named, letter, letters)
        with smtplib.SMTP("127.0.0.1", mta.port, timeout=20) as client:  # mailops itself never asks for this
            client.sendmail("bounce@acme.example", ["ok@away.example"], asked, rcpt_options=["NOTIFY=SUCCESS,FAILURE"])
        fates = [(mails[c.name], to, fate.by(mta.name)) for c in CASES for to, fate in c.to.items() if fate]
        wanted = [(mail_id, to, 2 if fate.waits else 1) for mail_id, to, fate in fates]
        wanted += [(mails["arrives"], "ok@away.example", 1), (mails["signed"], "gone-s@away.example", 1)]
        wanted += [(letters["ben@nowhere.example"], "ben@nowhere.example", 1)]
        found.wait(wanted)
        yield found


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """A name server on port 53 of some address of the loopback network (resolv.conf names no ports); its address."""
    trouble = ""
    for _ in range(20):
        address = "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))
        server = DnsServer({"null.example": ["MX 0 ."]}, host=address, port=53)
        try:
            server.start()
        except OSError as error:
            trouble = str(error)
            continue
        try:
            yield address
        finally:
            server.stop()
        return
    missing("mtas", f"nothing can listen on port 53 of the loopback network: {trouble}")


def take(world: World, raw: bytes, gateway: bool) -> None:
    """Take a report in as a customer's set-up would: by hand, or with everything else that arrives."""
    if gateway:
        assert world.ops.inbound.receive(raw).kind is Kind.BOUNCE
    else:
        assert world.ops.bounces.take(raw).matched


@pytest.mark.req("IN-17", "IN-20", "ERR-01", "QUE-02")
@pytest.mark.parametrize("case", [c for c in CASES if any(c.to.values())], ids=lambda c: c.name)
def test_a_refused_mail_comes_back_and_is_understood(world: World, case: Case, request: pytest.FixtureRequest) -> None:
    ops, mta, mail_id = world.ops, world.mta.name, world.mails[case.name]
    fates = {to: fate.by(mta) for to, fate in case.to.items() if fate}
    assert {world.state(mail_id, to) for to in case.to} == {DeliveryState.SENT}
    if any(fate.waits for fate in fates.values()):
        warning, *rest = world.reports(mail_id)
        report = ops.bounces.parse(warning)
        assert report.kind == "delayed"
        assert "Please note" not in report.results[0].diagnostic  # what the mail server says to everybody
        assert ops.bounces.take(warning).matched == 1
        assert {world.state(mail_id, to) for to in case.to} == {DeliveryState.SENT}  # the other side still tries
    else:
        rest = world.reports(mail_id)
    for raw in rest:
        report = ops.bounces.parse(raw)
        assert report.kind == "bounce" or b"Envelope expired" in raw
        assert set(report.recipients) <= set(fates)
        take(world, raw, case.gateway)

    rows, mail = ops.bounces.recent(), ops.queue.mail(mail_id)
    rows = rows[(rows["mail_id"] == mail_id) & (rows["kind"] == "bounce")]
    assert sorted(rows["recipient"]) == sorted(fates)
    for row in rows.to_dict("records"):
        fate = fates[row["recipient"]]
        assert (row["reason"], bool(row["hard"])) == (fate.reason, fate.hard), row
        assert row["status"] in statuses(mta, fate), row
        alone = ("message-id+recipient", 1.0)  # another recipient of the mail could have written it, where there is one
        told = alone if len(mail.deliveries) == 1 else ("message-id+recipient of several", 0.85)
        assert (row["matched_by"], row["confidence"]) == told
        assert ops.bounces.raw(row["id"]) in rest
    for delivery in ops.queue.mail(mail_id).deliveries:
        refused = fates.get(delivery.recipient)
        listed = ops.suppressions.find(delivery.recipient)
        if refused is None:
            assert (delivery.state, listed) == (DeliveryState.SENT, None)
            continue
        assert (delivery.state, delivery.reason) == (DeliveryState.BOUNCED, refused.reason)
        assert delivery.reply
        assert ops.queue.history(mail_id)[-1].kind == "bounced"
        if refused.hard:
            assert listed is not None
            state = "active" if len(mail.deliveries) == 1 else "proposed"
            assert (listed.state, listed.scope, listed.reason) == (state, "campaigns", refused.reason)
        else:
            assert listed is None
        assert any(
            (word, domain) == (refused.reason, delivery.recipient.rpartition("@")[2])
            for word, domain, _ in ops.queue.causes()
        )
        assert refused.reason in set(ops.analysis.causes()["reason"])


def statuses(mta: str, fate: Fate) -> set[str]:
    """The codes that stand in the report. OpenSMTPD writes x.0.0 into the field, and the other side's code in words."""
    return {fate.status, f"{fate.status[0]}.0.0"} if mta == "opensmtpd" else {fate.status}


def test_a_report_that_it_arrived_changes_nothing(world: World) -> None:
    mail_id = world.mails["arrives"]
    (raw,) = world.reports(mail_id)
    taken = world.ops.bounces.take(raw)
    assert (taken.report.kind, taken.report.recipients) == ("success-dsn", ("ok@away.example",))
    assert [(m.by, m.confidence) for m in taken.matches] == [("message-id+recipient", 1.0)]
    assert world.state(mail_id, "ok@away.example") is DeliveryState.SENT
    assert world.ops.suppressions.find("ok@away.example") is None


@pytest.mark.req("IN-17", "IN-19", "IN-20", "QUE-01", "QUE-02", "QUE-03")
def test_an_entry_of_a_thread_turns_red_and_says_why(world: World) -> None:
    ops = world.ops
    assert ops.envelopes.of(world.letter).mark is Mark.WHITE
    before = ops.envelopes.failures()
    (raw,) = world.reports(world.letters["ben@nowhere.example"])
    assert ops.inbound.receive(raw).kind is Kind.BOUNCE
    envelope = ops.envelopes.of(world.letter)
    assert envelope.mark is Mark.RED
    ann, ben = sorted(envelope.lines, key=lambda line: line.contact)
    assert (ann.state, ann.failed) == ("sent", False)
    assert (ben.state, ben.reason, ben.raw) == ("bounce", plain("hostunknown"), raw)
    assert re.search("not found|unrouteable|does not exist", ben.details or "", re.I)
    assert ops.envelopes.failures() == before + 1


def test_the_same_report_counts_once_on_both_roads(world: World) -> None:
    (raw,) = world.reports(world.mails["gone"])
    world.ops.bounces.take(raw)
    many = len(world.ops.bounces.recent())
    assert world.ops.bounces.take(raw).repeated
    assert world.ops.inbound.receive(raw).kind in (Kind.BOUNCE, Kind.DUPLICATE)
    assert len(world.ops.bounces.recent()) == many


@pytest.mark.req("IN-14")
def test_a_signed_return_path_comes_back_whole(world: World) -> None:
    ops, mail_id = world.ops, world.mails["signed"]
    (report,) = [m for m in world.home.messages if world.named[mail_id].encode() in m.data]
    assert report.envelope_from == ""
    assert [to.partition("-")[0] for to in report.recipients] == [f"bounce+{mail_id}"]
    before = ops.return_paths.state()
    assert ops.inbound.receive(report.data).kind is Kind.BOUNCE
    after = ops.return_paths.state()
    assert (after.proven, after.unproven) == (before.proven + 1, before.unproven)
    assert world.state(mail_id, "gone-s@away.example") is DeliveryState.BOUNCED
