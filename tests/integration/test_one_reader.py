"""One reader of bounces: the same report by ``bounces take``, by the gateway and by webhook leaves the same rows."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.inbound.values import Kind
from mailops.model.setup import AliasDomain, Company, Encryption, Server
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, build_dsn
from mailops.threads.aliases import save_alias
from mailops.threads.envelope import Mark
from mailops.threads.service import Entry
from mailops.webhooks.service import Webhooks

MAIL = "<offer.1@acme.example>"
PEOPLE = ("ann@people.test", "ben@people.test")
# of each table, what no road may change; rows are compared in any order
STATE: dict[str, tuple[str, ...]] = {
    "mails": ("message_id", "state", "failure_type", "failure_reason"),
    "deliveries": ("recipient", "state", "failure_type", "reason", "enhanced", "reply", "stage"),
    "events": ("kind", "mail_id", "message_id", "recipient", "server_key", "data"),
    "counts": ("hour", "server_key", "sender_domain", "recipient_domain", "mail_class", "outcome", "count"),
    "suppressions": ("address", "scope", "state", "reason", "why", "hard"),
    "notifications": ("address", "state", "failure_type", "reason"),
    "contacts": ("email_normalised", "bounce_count"),
    "records": ("name", "values"),
}
BOUNCES = ("kind", "recipient", "normalised", "status", "reason", "hard", "diagnostic", "mail_id", "matched_by")


def _said(cell: object) -> object:
    """A cell without the road a fact came by."""
    return {k: v for k, v in cell.items() if k not in ("source", "bounce")} if isinstance(cell, dict) else cell


class Play:
    """A record with two followers who got a mail each, in a workspace of its own."""

    def __init__(self, ops: Ops, smtp: SmtpServer) -> None:
        self.ops = ops
        furnish(ops, smtp)
        record = ops.threads.create_record("lead", "Pump", email="val@people.test")
        for address in PEOPLE:
            ops.threads.follow(record, ops.threads.add_contact(address, address))
        entry = Entry("An offer.", message_id=MAIL, author_email="Tom <tom@acme.example>")
        self.message = ops.threads.post(record, entry).id
        ops.queue.run()
        self.originals = {m.recipients[0]: bytes(m.data) for m in smtp.messages}
        smtp.clear()
        ops.clock.advance(600)  # type: ignore[attr-defined]  # the tests' own clock

    def rows(self, *more: str) -> dict[str, list[str]]:
        with self.ops.engine.connect() as connection:
            found = {name: self._rows(connection, name, columns) for name, columns in STATE.items()}
            return {**found, **{name: self._rows(connection, name, BOUNCES) for name in more}}

    @staticmethod
    def _rows(connection: sa.Connection, name: str, columns: tuple[str, ...]) -> list[str]:
        """Rows without who told it; that a report fits no mail of ours is a fact, and changes nothing."""
        table = schema.metadata.tables[name]
        rows = connection.execute(sa.select(*(table.c[column] for column in columns)))
        told = [tuple(_said(cell) for cell in row) for row in rows if name != "events" or row[0] != "reported"]
        return sorted(map(repr, told))

    @property
    def mark(self) -> Mark:
        return self.ops.envelopes.of(self.message).mark

    def bounces(self) -> dict[str, int]:
        with self.ops.engine.connect() as connection:
            return {r.email_normalised: r.bounce_count for r in connection.execute(sa.select(schema.contacts))}

    def kinds(self) -> list[tuple[str, str | None]]:
        return sorted((r["kind"], r["recipient"]) for r in self.ops.bounces.recent().to_dict("records"))


@pytest.fixture
def play(ops_factory: Callable[..., Ops]) -> Iterator[Callable[[str], Play]]:
    with SmtpServer() as smtp:
        yield lambda name: Play(ops_factory(name, clock=ManualClock()), smtp)


@pytest.fixture
def one(ops_on: Callable[..., Ops]) -> Iterator[Play]:
    """One play, on each of the two databases."""
    with SmtpServer() as smtp:
        yield Play(ops_on(clock=ManualClock()), smtp)


def dsn(action: str, status: str, text: str, who: str = PEOPLE[0], original: bytes | None = None, **more: Any) -> bytes:
    head = original or f"From: Tom <tom@acme.example>\r\nMessage-ID: {MAIL}\r\n\r\nHi\r\n".encode()
    return build_dsn(head, who, status, text, "mx.people.test", action, to="bounce@acme.example", **more)


def mixed(*blocks: tuple[str, str, str]) -> bytes:
    """A report with a block for each (recipient, action, status)."""
    raw = dsn("failed", "5.0.0", "x")
    said = "".join(
        f"Final-Recipient: rfc822; {who}\r\nAction: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {status} said\r\n\r\n"
        for who, action, status in blocks
    )
    start, end = raw.index(b"Original-Recipient:"), raw.index(b"--=_report", raw.index(b"Diagnostic-Code:"))
    return raw[:start] + said.encode() + raw[end:]


def receipt(disposition: str = "manual-action/MDN-sent-manually; displayed", who: str = PEOPLE[0]) -> bytes:
    return (
        f"From: {who}\r\nTo: tom@acme.example\r\nSubject: Read: Pump\r\nMessage-ID: <r@people.test>\r\n"
        f"In-Reply-To: {MAIL}\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nYour message was displayed.\r\n"
        "--b\r\nContent-Type: message/disposition-notification\r\n\r\nReporting-UA: client.test\r\n"
        f"Final-Recipient: rfc822; {who}\r\nOriginal-Message-ID: {MAIL}\r\nDisposition: {disposition}\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {MAIL}\r\nTo: {who}\r\n\r\n--b--\r\n"
    ).encode()


def unknown_enclosed(header: str = "In-Reply-To", value: str = MAIL) -> bytes:
    """A report that encloses a mail that a relay gave another Message-ID."""
    raw = dsn("failed", "5.1.1", "550 5.1.1 no such user", original=b"Message-ID: <relay.9@else.test>\r\n\r\nHi\r\n")
    return f"{header}: {value}\r\n".encode() + raw


REPORTS: dict[str, bytes] = {
    "failed": dsn("failed", "5.1.1", "550 5.1.1 no such user"),
    "soft": dsn("failed", "4.2.2", "452 4.2.2 mailbox full"),
    "delayed": dsn("delayed", "4.4.1", "451 4.4.1 later"),
    "delivered": dsn("delivered", "2.0.0", "250 ok"),
    "relayed": dsn("relayed", "2.0.0", "250 ok"),
    "read receipt": receipt(),
    "deleted unread": receipt("automatic-action/MDN-sent-automatically; deleted"),
    "arrived and failed": mixed((PEOPLE[0], "delivered", "2.0.0"), (PEOPLE[1], "failed", "5.1.1")),
    "failed and delayed": mixed((PEOPLE[0], "failed", "5.1.1"), (PEOPLE[1], "delayed", "4.4.1")),
    "two failed": mixed((PEOPLE[0], "failed", "5.1.1"), (PEOPLE[1], "failed", "5.2.2")),
    "unknown enclosed id": unknown_enclosed(),
    "known reference": unknown_enclosed("References", f"<x@else.test> {MAIL} <y@else.test>"),
    "names nobody": dsn("failed", "5.1.1", "550 no").replace(PEOPLE[0].encode(), b""),
    "not ours": dsn("failed", "5.1.1", "550 no", "else@people.test", b"Message-ID: <9@else.test>\r\n\r\nHi\r\n"),
    "unreadable": f"From: MAILER-DAEMON@mx.test\r\nTo: bounce@acme.example\r\nReferences: {MAIL}\r\n\r\n".encode(),
}


@pytest.mark.req("IN-17", "QUE-01")
@pytest.mark.parametrize("name", REPORTS)
def test_the_gateway_and_bounces_take_leave_the_same_rows(play: Callable[[str], Play], name: str) -> None:
    by_hand, by_gateway = play("hand"), play("gateway")
    untouched = by_hand.rows()
    by_hand.ops.bounces.take(REPORTS[name])
    assert by_gateway.ops.inbound.receive(REPORTS[name]).kind is Kind.BOUNCE
    assert by_hand.rows("bounces") == by_gateway.rows("bounces")
    assert by_hand.kinds(), "kept and shown"
    kept_only = ("delayed", "delivered", "relayed", "read receipt", "deleted unread", "not ours")
    assert (by_hand.rows() == untouched) is (name in kept_only)
    for other in (by_hand, by_gateway):  # the same bytes by the other road change nothing
        before = other.rows("bounces")
        other.ops.inbound.receive(REPORTS[name])
        other.ops.bounces.take(REPORTS[name])
        assert other.rows("bounces") == before


def mailgun(ops: Ops, severity: str, text: str, status: str, who: str = PEOPLE[0]) -> None:
    ops.set_parameter("mailops.webhook.mailgun.key", "env:MAILGUN_KEY")
    stamp = str(int(ops.clock.now().timestamp()))
    token = hashlib.sha256(who.encode()).hexdigest()
    proof = hmac.new(b"signing-key", f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    event = {
        "event": "failed",
        "id": f"{who}/{severity}",
        "severity": severity,
        "recipient": who,
        "message": {"headers": {"message-id": MAIL}},
        "delivery-status": {"message": text, "enhanced-code": status},
    }
    body = {"signature": {"timestamp": stamp, "token": token, "signature": proof}, "event-data": event}
    Webhooks(ops).receive("mailgun", {}, json.dumps(body).encode())


@pytest.mark.parametrize(("name", "severity", "text", "status", "who"), [
    ("failed", "permanent", "550 5.1.1 no such user", "5.1.1", PEOPLE[:1]),
    ("delayed", "temporary", "451 4.4.1 later", "4.4.1", PEOPLE[:1]),
])  # fmt: skip
def test_a_webhook_leaves_the_same_rows(
    play: Callable[[str], Play],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    severity: str,
    text: str,
    status: str,
    who: tuple[str, ...],
) -> None:
    monkeypatch.setenv("MAILGUN_KEY", "signing-key")
    by_gateway, by_webhook = play("gateway"), play("webhook")
    by_gateway.ops.inbound.receive(REPORTS[name])
    for person in who:
        mailgun(by_webhook.ops, severity, text, status, person)
    assert by_gateway.rows() == by_webhook.rows()
    mailgun(by_gateway.ops, severity, text, status)  # the provider and the other server tell of one event
    by_webhook.ops.inbound.receive(REPORTS[name])
    assert by_gateway.rows() == by_webhook.rows()
    assert sum(by_gateway.bounces().values()) == (1 if severity == "permanent" else 0)


# --- what a report says -----------------------------------------------------------------------------------------------


@pytest.mark.req("IN-17", "IN-18")
@pytest.mark.parametrize(("name", "red", "counted"), [
    ("failed", True, (1, 0)),
    ("soft", True, (1, 0)),
    ("delayed", False, (0, 0)),
    ("delivered", False, (0, 0)),
    ("relayed", False, (0, 0)),
    ("read receipt", False, (0, 0)),
    ("deleted unread", False, (0, 0)),
    ("arrived and failed", True, (0, 1)),
    ("failed and delayed", True, (1, 0)),
    ("two failed", True, (1, 1)),
    ("unknown enclosed id", True, (1, 0)),
    ("known reference", True, (1, 0)),
    ("names nobody", True, (0, 0)),
    ("not ours", False, (0, 0)),
    ("unreadable", True, (0, 0)),
])  # fmt: skip
def test_only_what_failed_is_red_and_counts_each_block_for_its_own(
    one: Play, name: str, red: bool, counted: tuple[int, int]
) -> None:
    one.ops.inbound.receive(REPORTS[name])
    assert (one.mark is Mark.RED) is red
    assert tuple(one.bounces()[address] for address in PEOPLE) == counted
    lines = {line.address: line.state for line in one.ops.envelopes.of(one.message).lines}
    if sum(counted):
        assert [lines[address] == "bounce" for address in PEOPLE] == [bool(n) for n in counted]


@pytest.mark.req("IN-18")
@pytest.mark.parametrize("body", ["", "zzz qqq\r\n", "Sorry.\r\n"])
@pytest.mark.parametrize("road", ["take", "receive"])
def test_what_cannot_be_read_failed_without_a_reason_by_both_faces(one: Play, road: str, body: str) -> None:
    raw = REPORTS["unreadable"] + body.encode()
    one.ops.bounces.take(raw) if road == "take" else one.ops.inbound.receive(raw)
    lines = one.ops.envelopes.of(one.message).lines
    assert [(line.state, line.reason, line.raw) for line in lines] == [("bounce", "no error", raw)] * 2


def test_the_newest_known_of_the_references_is_meant_and_in_reply_to_comes_first(play: Callable[[str], Play]) -> None:
    given = play("one")
    ops = given.ops
    for number in (2, 3):
        ops.send(sender="tom@acme.example", to=PEOPLE[0], subject="More", headers=[], text=str(number))
    ops.queue.run()
    with ops.engine.connect() as connection:
        second, third = (
            r.message_id
            for r in connection.execute(
                sa.select(schema.mails).order_by(schema.mails.c.id).where(schema.mails.c.subject == "More")
            )
        )
    chain = " ".join(
        [f"<{n}@else.test>" for n in range(9)] + [third, second] + [f"<{n}@unknown.test>" for n in range(9)]
    )
    (tied,) = ops.bounces.take(unknown_enclosed("References", chain)).matches
    assert tied.candidate is not None
    assert tied.candidate.message_id == third
    both = unknown_enclosed("References", chain).replace(
        b"References", f"In-Reply-To: {second}\r\nReferences".encode(), 1
    )
    (tied,) = ops.bounces.take(both).matches
    assert tied.candidate is not None
    assert tied.candidate.message_id == second


# --- every address that mail was sent from ----------------------------------------------------------------------------


def plain_report(to: str, path: str = "<>") -> bytes:
    return (
        f"Return-Path: {path}\r\nFrom: Post <postmaster@people.test>\r\nTo: {to}\r\nSubject: About your mail\r\n"
        f"Message-ID: <plain@people.test>\r\nReferences: {MAIL}\r\n\r\nIt is like that.\r\n"
    ).encode()


@pytest.mark.parametrize("to", ["bounce@acme.example", "bounce+12-tag@acme.example", "notifications@acme.example",
                                "jo@acme.example", "jo+7-tag@acme.example", "former@acme.example"])  # fmt: skip
def test_each_address_mail_was_sent_from_takes_reports_with_the_null_return_path(
    play: Callable[[str], Play], to: str
) -> None:
    given = play("one")
    given.ops.save_server(Server("jo", "Jo", "127.0.0.1", 9, Encryption.NONE, from_filter="jo@acme.example"))
    given.ops.send(sender="tom@acme.example", to=PEOPLE[0], subject="More", text="Hi")
    given.ops.queue.run()
    with given.ops.engine.begin() as connection:  # as it was sent under another set-up
        connection.execute(sa.update(schema.mails).values(sent_envelope="Former@acme.example"))
    assert given.ops.inbound.receive(plain_report(to)).kind is Kind.BOUNCE
    assert given.mark is Mark.RED


def test_with_another_return_path_or_address_it_is_a_mail_like_any(play: Callable[[str], Play]) -> None:
    given = play("one")
    assert given.ops.inbound.receive(plain_report("notifications@acme.example", "<a@b.test>")).kind is Kind.REPLY
    given = play("two")
    assert given.ops.inbound.receive(plain_report("nobody@acme.example")).kind is Kind.REPLY
    assert given.mark is Mark.WHITE


def test_a_readable_report_is_one_wherever_it_was_sent_without_return_path(play: Callable[[str], Play]) -> None:
    """The bounce address of a former set-up, say, or a mailbox that forwards to an alias."""
    raw = (
        REPORTS["failed"]
        .replace(b"bounce@acme.example", b"temp-bounce@acme.example")
        .replace(b"mailer-daemon", b"postmaster")
    )
    raw = raw.replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed")
    given = play("one")
    assert given.ops.inbound.receive(raw).kind is not Kind.BOUNCE
    given = play("two")
    assert given.ops.inbound.receive(b"Return-Path: <>\r\n" + raw).kind is Kind.BOUNCE
    assert given.bounces()[PEOPLE[0]] == 1


def test_a_person_who_writes_to_the_bounce_address_turns_nothing_red(play: Callable[[str], Play]) -> None:
    given = play("one")
    decision = given.ops.inbound.receive(plain_report("bounce@acme.example", "<post@people.test>"))
    assert (decision.kind, [block.kind for block in decision.blocks]) == (Kind.BOUNCE, ["unread"])
    assert given.mark is Mark.WHITE
    assert given.kinds() == [("unread", None)]


def test_a_report_with_the_message_id_of_its_original_is_taken_once(play: Callable[[str], Play]) -> None:
    given = play("one")
    raw = b"\r\n".join(
        f"Message-ID: {MAIL}".encode() if line.lower().startswith(b"message-id:") and n < 10 else line
        for n, line in enumerate(REPORTS["failed"].split(b"\r\n"))
    )
    assert given.ops.inbound.receive(raw).kind is Kind.DUPLICATE
    assert given.mark is Mark.RED
    given.ops.inbound.receive(raw)
    assert given.bounces()[PEOPLE[0]] == 1


def test_the_decision_carries_the_report_and_the_log_its_consequence(play: Callable[[str], Play]) -> None:
    given = play("one")
    foreseen = given.ops.inbound.explain(REPORTS["arrived and failed"])
    assert foreseen.report is not None
    assert [(b.recipient, b.kind, b.counted) for b in foreseen.blocks] == [
        (PEOPLE[0], "success-dsn", False),
        (PEOPLE[1], "bounce", True),
    ]
    assert given.mark is Mark.WHITE
    decision = given.ops.inbound.receive(REPORTS["arrived and failed"])
    assert [b.by for b in decision.blocks] == ["message-id+recipient"] * 2
    with given.ops.engine.connect() as connection:
        told = connection.execute(sa.select(schema.inbound_log.c.data)).scalar_one()["report"]
    assert [(b["recipient"], b["kind"], b["counted"]) for b in told["blocks"]] == [
        (PEOPLE[0], "success-dsn", False),
        (PEOPLE[1], "bounce", True),
    ]
    assert "which counts for mail" in told["blocks"][1]["consequence"]
    assert "arrived" in told["blocks"][0]["consequence"]


@pytest.mark.parametrize("name", REPORTS)
def test_rules_that_did_not_change_judge_no_stored_report_otherwise(play: Callable[[str], Play], name: str) -> None:
    given = play("one")
    given.ops.inbound.receive(REPORTS[name])
    given.ops.bounces.take(receipt(who=PEOPLE[1]).replace(b"<r@people.test>", b"<r2@people.test>"))
    assert given.ops.suppressions.diff() == []


# --- notices ----------------------------------------------------------------------------------------------------------


@pytest.mark.req("IN-10", "IN-14")
@pytest.mark.parametrize("how", ["catchall", "policy", "loop"])
def test_a_notice_s_envelope_sender_is_the_bounce_address_of_the_domain_written_to(
    ops_factory: Callable[..., Ops], how: str
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock())
        furnish(ops, smtp, from_filter=None)
        second = ops.save_alias_domain(AliasDomain("two.example", bounce_alias="returns"))
        ops.save_company(Company("two", "Two", "info@two.example", second))
        policy = "partners" if how == "policy" else "everyone"
        save_alias(ops.engine, "leads", "lead", domain=second, models=ops.threads.models, policy=policy)
        if how == "loop":
            ops.set_parameter("mail.gateway.loop.threshold", "1")
        to = "catchall@two.example" if how == "catchall" else "leads@two.example"
        for number in range(2):
            head = (
                f"From: Sue <sue@customer.test>\r\nTo: {to}\r\nSubject: Hi\r\nMessage-ID: <{number}@customer.test>\r\n"
            )
            decision = ops.inbound.receive(f"{head}\r\nHello\r\n".encode())
        assert decision.notices
        ops.queue.run()
        notice = smtp.messages[-1]
        assert (notice.envelope_from, notice.recipients) == ("returns@two.example", ("sue@customer.test",))
        raw = build_dsn(notice.data, "sue@customer.test", "5.1.1", "550 no", "mx.test", to=notice.envelope_from)
        assert ops.inbound.receive(raw.replace(b"mailer-daemon", b"postmaster")).kind in (Kind.BOUNCE, Kind.LOOP_REPLY)
        assert ops.bounces.recent()["matched_by"].tolist()[0] == "message-id+recipient"


def test_a_copy_of_a_report_that_took_another_way_counts_once(play: Callable[[str], Play]) -> None:
    given = play("one")
    given.ops.threads.add_contact("Else", "else@people.test")
    for way in ("one", "two"):
        given.ops.inbound.receive(f"Received: from {way}.mx.test\r\n".encode() + REPORTS["not ours"])
    assert given.bounces()["else@people.test"] == 1
