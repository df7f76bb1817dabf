"""The gateway and the threads over a real store: what mail makes, who is told, and the envelope mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from sqlalchemy.engine import Engine

from mailops import Ops
from mailops.errors import ConfigError, MessageRefused
from mailops.inbound.service import Gateway
from mailops.inbound.values import Decision, Kind
from mailops.ledger import Book, Fact, key_of
from mailops.ledger.facts import Counted
from mailops.model.setup import AliasDomain, Company, Profile, Setup
from mailops.queue import actions
from mailops.store import schema
from mailops.store.setup import load, save_alias_domain, save_company, set_parameter
from mailops.testing import ManualClock, SmtpServer, build_dsn, refuse
from mailops.threads import store as repo
from mailops.threads.aliases import save_alias
from mailops.threads.envelope import Envelopes, Mark
from mailops.threads.hearing import ThreadsListener
from mailops.threads.models import Models, RecordModel
from mailops.threads.outbox import queue_outbox
from mailops.threads.service import Entry, Threads


@dataclass
class World:
    """A small organisation with one company on ``acme.example``."""

    engine: Engine
    clock: ManualClock
    models: Models
    threads: Threads
    gateway: Gateway
    domain: AliasDomain
    serial: int = 0

    def alias(self, local: str, model: str = "lead", **more: Any) -> int:
        more.setdefault("domain", self.domain)
        return save_alias(self.engine, local, model, models=self.models, **more)

    def person(
        self, name: str, email: str, *follows: int, notify_by: str = "email", subtypes: Any = ("discussion",)
    ) -> int:
        who = self.threads.add_contact(name, email, notify_by=notify_by)
        for record in follows:
            self.threads.follow(record, who, subtypes)
        return who

    def mail(
        self, to: str, sender: str = "Sue <sue@customer.test>", subject: str = "A question", **headers: str
    ) -> bytes:
        self.serial += 1
        lines = {"From": sender, "To": to, "Subject": subject, "Message-ID": f"<m{self.serial}@customer.test>"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        return ("".join(f"{k}: {v}\r\n" for k, v in lines.items() if v) + "\r\nHello there.\r\n").encode()

    def receive(self, *args: Any, **more: Any) -> Decision:
        return self.gateway.receive(self.mail(*args, **more))

    def records(self, model: str = "lead") -> list[int]:
        with self.engine.connect() as connection:
            return repo.records_of(connection, model)

    def rows(self, table: sa.Table) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)))

    def mails_to(self) -> list[str]:
        return [row.recipient for row in self.rows(schema.deliveries)]

    def setup(self) -> Setup:
        return load(self.engine, Profile())


@pytest.fixture
def world(engine: Engine) -> World:
    clock, models = ManualClock(), Models()
    domain = save_alias_domain(engine, AliasDomain("acme.example"))
    save_company(engine, Company("acme", "Acme", "info@acme.example"))
    book = Book((ThreadsListener(),))
    submit = queue_outbox(lambda: load(engine, Profile()), clock, book)
    threads = Threads(engine, setup=lambda: load(engine, Profile()), clock=clock, submit=submit, models=models)
    return World(engine, clock, models, threads, Gateway(engine, threads, submit, clock), domain)


def raw_of(world: World, mail_id: int) -> str:
    with world.engine.connect() as connection:
        query = sa.select(schema.contents.c.raw).where(schema.contents.c.mail_id == mail_id)
        return bytes(connection.execute(query).scalar_one()).decode()


def field(raw: str, name: str) -> str:
    head = raw.partition("\r\n\r\n")[0].replace("\r\n ", " ")
    return next(line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith(name.lower() + ":"))


# --- aliases make records, replies find threads -----------------------------------------------------------------------


@pytest.mark.req("IN-01", "IN-02", "OUT-07")
def test_a_mail_to_an_alias_makes_one_record_with_the_team_of_the_alias(world: World) -> None:
    world.alias("info", defaults={"team": "Sales"})
    decision = world.receive("info@acme.example")
    assert decision.kind is Kind.CREATE
    (record,) = world.rows(schema.records)
    assert (record.model, record.name, record._mapping["values"]["team"]) == ("lead", "A question", "Sales")
    assert record.email_normalised == "sue@customer.test"
    assert [e.kind for e in world.threads.entries(record.id)] == ["email"]


@pytest.mark.req("GEN-15")
@pytest.mark.parametrize("model", ["lead", "ticket", "task", "expense", "parcel"])
def test_each_kind_of_record_built_in_or_registered_has_its_alias(world: World, model: str) -> None:
    if model == "parcel":
        world.models.register(RecordModel("parcel", "Parcel"))
    world.alias("box", model)
    world.receive("box@acme.example")
    assert [row.model for row in world.rows(schema.records)] == [model]


@pytest.mark.req("IN-03", "IN-04", "IN-07", "OUT-07")
@pytest.mark.parametrize("to", ["info@acme.example", "catchall@acme.example", "wrong@acme.example"])
@pytest.mark.parametrize("header", ["In_Reply_To", "References"])
def test_a_reply_finds_its_thread_by_message_id_whatever_subject_and_address(
    world: World, to: str, header: str
) -> None:
    world.alias("info")
    record = world.threads.create_record("lead", "Seven")
    asked = world.threads.post(record, Entry("What do you need?"))
    decision = world.receive(to, subject="Other words", **{header: asked.message_id})
    assert (decision.kind, decision.routes[0].record) == (Kind.REPLY, record)
    assert world.records() == [record]
    assert [e.parent_id for e in world.threads.entries(record)] == [None, asked.id]


@pytest.mark.req("IN-10", "IN-11")
def test_the_catchall_written_to_directly_answers_with_the_company_address(world: World) -> None:
    decision = world.receive("catchall@acme.example")
    assert (decision.kind, decision.code) == (Kind.REFUSED, "catchall")
    assert world.rows(schema.records) == []
    (mail,) = world.rows(schema.mails)
    raw = raw_of(world, mail.id)
    assert field(raw, "From") == '"MAILER-DAEMON" <bounce@acme.example>'
    assert field(raw, "Reply-To") == "info@acme.example"
    assert "info@acme.example" in raw.partition("\r\n\r\n")[2]
    assert world.mails_to() == ["sue@customer.test"]


@pytest.mark.req("OUT-06")
@pytest.mark.parametrize("local", ["catchall", "bounce", "notifications"])
def test_technical_addresses_never_make_records(world: World, local: str) -> None:
    world.gateway.receive(world.mail(f"{local}@acme.example"), fallback_model="lead")
    assert world.rows(schema.records) == []


@pytest.mark.req("FAQ-04", "FAQ-05")
def test_what_nobody_has_is_refused_and_only_a_log_line_stays(world: World) -> None:
    decision = world.receive("nobody@acme.example", References="<unknown@elsewhere.test>")
    assert decision.kind is Kind.NO_ROUTE
    assert not decision.accepted
    for table in (schema.records, schema.messages, schema.mails, schema.bounces):
        assert world.rows(table) == []
    (line,) = world.rows(schema.inbound_log)
    assert (line.decision, line.sender) == ("no_route", "Sue <sue@customer.test>")
    assert "nobody@acme.example" in line.reason
    assert line.answer.startswith("550")
    assert ["no-route", "nothing fits"] in line.data["trace"]


def test_a_mail_counts_once_however_often_it_comes(world: World) -> None:
    world.alias("info")
    raw = world.mail("info@acme.example")
    assert [world.gateway.receive(raw).kind for _ in range(3)] == [Kind.CREATE, Kind.DUPLICATE, Kind.DUPLICATE]
    nameless = world.mail("info@acme.example", Message_ID="")
    assert [world.gateway.receive(nameless).kind for _ in range(2)] == [Kind.CREATE, Kind.DUPLICATE]
    refused = world.mail("catchall@acme.example")
    assert [world.gateway.receive(refused).kind for _ in range(2)] == [Kind.REFUSED, Kind.DUPLICATE]
    assert len(world.records()) == 2
    assert len(world.rows(schema.mails)) == 1


# --- loops and domains ------------------------------------------------------------------------------------------------


@pytest.mark.req("IN-45", "IN-46")
def test_twenty_mails_in_two_hours_then_a_notice_then_welcome_again(world: World) -> None:
    world.alias("info")
    world.alias("tasks", "task")
    kinds = [world.receive(("info", "tasks")[i % 2] + "@acme.example").kind for i in range(20)]
    assert kinds == [Kind.CREATE] * 20
    decision = world.receive("info@acme.example")
    assert decision.kind is Kind.LOOP_BLOCKED
    assert world.mails_to() == ["sue@customer.test"]
    assert world.receive("info@acme.example", sender="Bob <bob@customer.test>").kind is Kind.CREATE
    answer = world.threads.post(world.records()[0], Entry("Yes?"))
    assert world.receive("info@acme.example", In_Reply_To=answer.message_id).kind is Kind.REPLY
    world.clock.advance(120 * 60 + 1)
    assert world.receive("info@acme.example").kind is Kind.CREATE


@pytest.mark.req("IN-47", "IN-48", "IN-53")
def test_the_limits_are_parameters_and_obeyed_at_once(world: World) -> None:
    world.alias("info")
    set_parameter(world.engine, "mail.gateway.loop.threshold", "2")
    set_parameter(world.engine, "mail.gateway.loop.minutes", "10")
    kinds = [world.receive("info@acme.example").kind for _ in range(3)]
    assert kinds == [Kind.CREATE, Kind.CREATE, Kind.LOOP_BLOCKED]
    world.clock.advance(10 * 60 + 1)
    assert world.receive("info@acme.example").kind is Kind.CREATE
    set_parameter(world.engine, "mail.gateway.loop.threshold", "1")
    assert world.receive("info@acme.example").kind is Kind.LOOP_BLOCKED


def test_an_answer_to_a_notice_is_dropped_without_a_word(world: World) -> None:
    world.receive("catchall@acme.example")
    references = field(raw_of(world, world.rows(schema.mails)[0].id), "References")
    decision = world.receive("catchall@acme.example", References=references)
    assert decision.kind is Kind.LOOP_REPLY
    assert len(world.rows(schema.mails)) == 1


@pytest.mark.req("IN-51", "IN-53", "IN-54")
def test_allowed_domains_bound_what_a_local_part_alone_may_match(world: World) -> None:
    world.alias("commercial", any_domain=True)
    world.alias("help", "ticket")
    assert world.receive("commercial@c.example").kind is Kind.CREATE
    assert world.receive("help@other.example").kind is Kind.NO_ROUTE
    set_parameter(world.engine, "mail.catchall.domain.allowed", "a.example,b.example")
    assert world.receive("commercial@a.example").kind is Kind.CREATE
    assert world.receive("commercial@c.example").kind is Kind.NO_ROUTE
    assert world.receive("commercial@acme.example").kind is Kind.CREATE


# --- followers --------------------------------------------------------------------------------------------------------


@pytest.mark.req("GEN-12")
def test_a_post_is_a_mail_for_one_follower_and_an_inbox_item_for_another(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    world.person("Ann", "ann@acme.example", record)
    world.person("Ben", "ben@acme.example", record, notify_by="inbox")
    posted = world.threads.post(record, Entry("Look at this."))
    told = world.threads.notifications(posted.id)
    assert [(x.channel, x.state) for x in told] == [("email", "ready"), ("inbox", "sent")]
    assert world.mails_to() == ["ann@acme.example"]
    assert len(world.threads.entries(record)) == 1
    (mail,) = world.rows(schema.mails)
    assert (mail.message_id, mail.thread_message_id, mail.auto_delete) == (posted.message_id, posted.id, True)


@pytest.mark.req("GEN-13", "OUT-52", "FAQ-03")
def test_a_followers_reply_goes_to_the_other_followers_only(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    for name in ("a", "b", "c"):
        world.person(name.upper(), f"{name}@people.test", record)
    world.person("D", "d@people.test", record, subtypes=("note",))
    asked = world.threads.post(record, Entry("Hello"))
    before = len(world.mails_to())
    world.receive("catchall@acme.example", sender="A <A@people.test>", In_Reply_To=asked.message_id)
    assert len(world.threads.entries(record)) == 2
    assert sorted(world.mails_to()[before:]) == ["b@people.test", "c@people.test"]


def test_who_has_a_copy_of_the_mail_gets_no_second_one(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    world.person("B", "b@people.test", record)
    world.person("C", "c@people.test", record)
    asked = world.threads.post(record, Entry("Hello"))
    before = len(world.mails_to())
    world.receive("catchall@acme.example", Cc="b@people.test", In_Reply_To=asked.message_id)
    assert world.mails_to()[before:] == ["c@people.test"]


@pytest.mark.req("OUT-53", "OUT-54", "OUT-47")
def test_a_foreign_repliers_from_becomes_the_notification_address_of_the_records_company(world: World) -> None:
    save_alias_domain(world.engine, AliasDomain("beta.example", default_from="news"))
    beta = next(d for d in world.setup().alias_domains if d.name == "beta.example")
    company = save_company(world.engine, Company("beta", "Beta", None, beta))
    for company_id, sender, wanted in (
        (None, '"Mary" <mary@customer.example>', '"Mary" <notifications@acme.example>'),
        (company.id, '"Mary" <mary@customer.example>', '"Mary" <news@beta.example>'),
        (None, '"Ann" <ann@acme.example>', '"Ann" <ann@acme.example>'),
    ):
        record = world.threads.create_record("ticket", "Seven", company_id=company_id)
        world.person("B", "b@people.test", record)
        asked = world.threads.post(record, Entry("Hello"))
        decision = world.receive("any@acme.example", sender=sender, In_Reply_To=asked.message_id)
        assert decision.kind is Kind.REPLY
        raw = raw_of(world, world.rows(schema.mails)[-1].id)
        assert field(raw, "From") == wanted
        assert field(raw, "Return-Path") == f"<bounce@{'beta' if company_id else 'acme'}.example>"


@pytest.mark.req("IN-05", "IN-06", "IN-25")
def test_reply_to_is_the_alias_of_the_record_else_the_catchall(world: World) -> None:
    world.alias("info")
    for model, wanted in (("lead", "info@acme.example"), ("expense", "catchall@acme.example")):
        record = world.threads.create_record(model, "Seven")
        world.person("B", "b@people.test", record)
        posted = world.threads.post(record, Entry("Hello"))
        assert field(raw_of(world, posted.mails[0]), "Reply-To") == f'"Acme Seven" <{wanted}>'


def test_a_contact_that_cannot_get_mail_fails_alone(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    for name, email in (("A", "not an address"), ("B", "b@people.test"), ("C", "c@@x")):
        world.person(name, email, record)
    posted = world.threads.post(record, Entry("Hello"))
    states = [(x.state, x.failure_type) for x in world.threads.notifications(posted.id)]
    assert states[1] == ("ready", None)
    assert states[0] == ("exception", "mail_email_missing")
    assert states[2][0] == "exception"
    assert Envelopes(world.threads).of(posted.id).mark is Mark.RED


# --- the envelope mark ------------------------------------------------------------------------------------------------


@pytest.fixture
def failed(world: World) -> tuple[World, int, dict[str, int]]:
    """A message to three followers: one mail failed, two were sent."""
    record = world.threads.create_record("lead", "Seven")
    for name in ("a", "b", "c"):
        world.person(name, f"{name}@people.test", record)
    posted = world.threads.post(record, Entry("Hello"))
    told = {x.address or "": x for x in world.threads.notifications(posted.id)}
    with world.engine.begin() as tx:
        for address, item in told.items():
            assert item.mail_id is not None
            bad = address.startswith("a")
            now = world.clock.now()
            row = {"code": 550, "enhanced": "5.1.1", "reply": "no such person", "reason": "userunknown"} if bad else {}
            fact = Fact(
                "failed" if bad else "sent",
                now,
                key_of("a", item.mail_id, address),
                item.mail_id,
                address,
                data={"reply": "550 5.1.1 no such person"},
                counted=Counted("", "transactional", "failed" if bad else "sent"),
                row=row | {"updated_at": now},
            )
            Book((ThreadsListener(),)).record(tx, [fact], now=now)
            state = "failed" if bad else "sent"
            tx.execute(sa.update(schema.mails).where(schema.mails.c.id == item.mail_id).values(state=state))
    return world, posted.id, {address: item.id for address, item in told.items()}


@pytest.mark.req("QUE-01", "QUE-02", "QUE-03", "IN-19")
def test_one_failure_among_three_is_red_with_reason_and_code(failed: tuple[World, int, dict[str, int]]) -> None:
    world, message, _ = failed
    envelopes = Envelopes(world.threads)
    found = envelopes.of(message)
    assert found.mark is Mark.RED
    assert [line.state for line in found.lines] == ["exception", "sent", "sent"]
    line = found.lines[0]
    assert (line.code, line.enhanced, line.details) == (550, "5.1.1", "no such person")
    assert line.reason
    assert [(x.reason, x.details) for x in found.lines[1:]] == [(None, None)] * 2
    assert envelopes.failures() == 1


@pytest.mark.req("QUE-04")
def test_send_and_close_retries_who_is_toggled_on_and_ignores_the_rest(
    failed: tuple[World, int, dict[str, int]],
) -> None:
    world, message, ids = failed
    with world.engine.begin() as tx:  # b came back later
        repo.set_notifications(tx, schema.notifications.c.id == ids["b@people.test"], state="bounce", reason="gone")

    def retry(mail_id: int) -> bool:
        return actions.retry(world.engine, actions.single(mail_id), clock=world.clock, book=Book()).count == 1

    envelopes = Envelopes(world.threads, retry=retry)
    found = envelopes.send_and_close(message, [ids["a@people.test"]])
    assert {x.address: x.state for x in found.lines} == {
        "a@people.test": "ready",
        "b@people.test": "canceled",
        "c@people.test": "sent",
    }
    assert found.mark is Mark.WHITE
    assert world.rows(schema.mails)[0].state == "outgoing"


@pytest.mark.req("QUE-04")
def test_a_bounced_mail_that_is_gone_is_written_again(failed: tuple[World, int, dict[str, int]]) -> None:
    world, message, ids = failed
    before = len(world.rows(schema.mails))
    Envelopes(world.threads, retry=lambda _: False).send_and_close(message, [ids["a@people.test"]])
    assert len(world.rows(schema.mails)) == before + 1
    assert world.mails_to()[-1] == "a@people.test"
    new = world.rows(schema.mails)[-1]
    assert (new.thread_message_id, new.state) == (message, "outgoing")


@pytest.mark.req("QUE-05")
def test_ignore_all_turns_the_mark_white(failed: tuple[World, int, dict[str, int]]) -> None:
    world, message, _ = failed
    envelopes = Envelopes(world.threads)
    found = envelopes.ignore_all(message)
    assert found.mark is Mark.WHITE
    assert [x.state for x in found.lines] == ["canceled", "sent", "sent"]
    assert envelopes.failures() == 0
    assert world.rows(schema.deliveries)[0].state == "ignored"
    assert world.rows(schema.mails)[0].state == "cancelled"


# --- bounces ----------------------------------------------------------------------------------------------------------


def report(address: str | None, original: str) -> bytes:
    final = f"Final-Recipient: rfc822; {address}\r\n" if address else ""
    return (
        "From: MAILER-DAEMON@mx.test\r\nTo: bounce@acme.example\r\nSubject: Undelivered\r\nMessage-ID: <r@mx.test>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nNo such person here.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n{final}Action: failed\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {original}\r\n\r\nHello\r\n--b--\r\n"
    ).encode()


@pytest.mark.req("IN-17", "IN-14")
def test_a_report_makes_the_message_red_for_its_recipient(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    world.person("A", "a@people.test", record)
    world.person("B", "b@people.test", record)
    posted = world.threads.post(record, Entry("Hello"))
    assert field(raw_of(world, posted.mails[0]), "Return-Path") == "<bounce@acme.example>"
    decision = world.gateway.receive(report("A@people.test", posted.message_id))
    assert decision.kind is Kind.BOUNCE
    found = Envelopes(world.threads).of(posted.id)
    assert found.mark is Mark.RED
    assert [(x.address, x.state) for x in found.lines] == [("a@people.test", "bounce"), ("b@people.test", "ready")]
    assert (found.lines[0].reason, found.lines[0].details) == (
        "The address does not exist.",
        "No such person here.",
    )
    assert found.lines[0].raw
    assert [x.bounce_count for x in world.rows(schema.contacts)] == [1, 0]
    assert len(world.threads.entries(record)) == 1
    assert world.gateway.receive(report("A@people.test", posted.message_id)).kind is Kind.DUPLICATE
    assert [x.bounce_count for x in world.rows(schema.contacts)] == [1, 0]
    world.receive("nobody@acme.example", sender="Ann A <a@People.test>")
    assert [x.bounce_count for x in world.rows(schema.contacts)] == [0, 0]


@pytest.mark.req("IN-18", "QUE-03")
def test_a_report_nobody_can_read_says_no_error_and_is_kept_raw(world: World) -> None:
    record = world.threads.create_record("lead", "Seven")
    world.person("A", "a@people.test", record)
    world.person("B", "b@people.test", record)
    posted = world.threads.post(record, Entry("Hello"))
    raw = report(None, posted.message_id).replace(b"No such person here.", b"")
    world.gateway.receive(raw)
    found = Envelopes(world.threads).of(posted.id)
    assert [(x.state, x.reason, x.details, x.raw) for x in found.lines] == [("bounce", "no error", None, raw)] * 2


# --- when something goes wrong ----------------------------------------------------------------------------------------


def test_a_record_that_cannot_be_made_marks_the_alias_and_asks_to_try_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.alias("info")

    def broken(*_: Any, **__: Any) -> int:
        raise ConfigError("The stage is gone.")

    monkeypatch.setattr(world.threads, "create_record", broken)
    decision = world.receive("info@acme.example")
    assert (decision.kind, decision.code) == (Kind.REFUSED, "creation_failed")
    assert world.rows(schema.aliases)[0].settings["status"] == "invalid"
    assert world.mails_to() == ["sue@customer.test"]
    assert world.rows(schema.messages) == []


def test_a_crash_in_the_middle_leaves_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.alias("info")
    raw = world.mail("info@acme.example")

    def crash(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repo, "add_log", crash)
        with pytest.raises(KeyboardInterrupt):
            world.gateway.receive(raw)
    assert world.rows(schema.records) == []
    assert world.rows(schema.messages) == []
    assert world.gateway.receive(raw).kind is Kind.CREATE


def test_explaining_a_mail_changes_nothing(world: World) -> None:
    world.alias("info")
    raw = world.mail("info@acme.example")
    decision = world.gateway.explain(raw)
    assert decision.kind is Kind.CREATE
    assert [step.rule for step in decision.trace][:2] == ["duplicate", "bounce"]
    assert world.rows(schema.records) == []
    assert world.rows(schema.inbound_log) == []


def test_an_answer_that_cannot_be_sent_does_not_undo_the_refusal(world: World) -> None:
    def refuse(*_: Any) -> int:
        raise MessageRefused("no")

    gateway = Gateway(world.engine, world.threads, refuse, world.clock)
    assert gateway.receive(world.mail("catchall@acme.example")).kind is Kind.REFUSED
    assert world.rows(schema.inbound_log)[0].data["notices"][0]["not_sent"] == "no"


def test_html_passes_one_door_wherever_it_goes(world: World) -> None:
    """A thread keeps of a mail's HTML what every other place shows of it: no picture that tells its sender."""
    from mailops.page.sanitise import safe_html

    world.alias("info")
    evil = "<p>Hi <a href='/api/shutdown'>x</a><img src='http://tracker.example/p.png'><b class=x>b</b></p>"
    raw = world.mail("info@acme.example", Content_Type="text/html").replace(b"Hello there.", evil.encode())
    world.gateway.receive(raw)
    (entry,) = world.threads.entries(world.records()[0])
    kept = entry.body or ""
    assert "tracker" not in kept
    assert "/api/" not in kept
    assert kept.strip() == safe_html(evil).strip()


def test_strange_html_is_kept_without_its_scripts(world: World) -> None:
    world.alias("info")
    raw = world.mail("info@acme.example", Content_Type="text/html")
    world.gateway.receive(raw.replace(b"Hello there.", b"<p onclick='x()'>Hi</p><script>alert(1)</script>"))
    (entry,) = world.threads.entries(world.records()[0])
    assert (entry.body or "").strip() == "<p>Hi</p>"


def test_alias_names_are_checked(world: World) -> None:
    make: Callable[..., int] = world.alias
    make("Sálès  Team")
    assert world.receive("sales-team@acme.example").kind is Kind.CREATE
    for name in ("bounce", "catchall", "notifications", "sales-team", "@"):
        with pytest.raises(ConfigError):
            make(name)


# --- the whole way, over real SMTP ------------------------------------------------------------------------------------


@pytest.mark.req("IN-17", "IN-20", "QUE-01", "QUE-02", "QUE-03", "QUE-04", "GEN-13")
def test_a_thread_over_the_wire_refused_retried_bounced_answered(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("ben@people.test", 550, "5.1.1", "User unknown", first=1)]) as smtp:
        ops = ops_on(clock=ManualClock())
        furnish(ops, smtp)
        submit = queue_outbox(lambda: ops.setup, ops.clock, ops.book)
        threads = Threads(ops.engine, setup=lambda: ops.setup, clock=ops.clock, submit=submit)
        gateway = Gateway(ops.engine, threads, submit, ops.clock, bounces=ops.bounces)
        envelopes = Envelopes(threads, retry=lambda mail: ops.queue.retry(mail).count == 1)
        record = threads.create_record("ticket", "The printer")
        for name in ("Ann", "Ben"):
            threads.follow(record, threads.add_contact(name, f"{name.lower()}@people.test"))
        posted = threads.post(record, Entry("We look at it.", author_email="Tom <tom@acme.example>"))

        ops.queue.run()
        found = envelopes.of(posted.id)
        assert found.mark is Mark.RED
        assert [(x.contact, x.state, x.code) for x in found.lines] == [("Ann", "sent", None), ("Ben", "exception", 550)]
        assert found.lines[1].details == "User unknown"

        envelopes.send_and_close(posted.id, [found.lines[1].notification])
        ops.queue.run()
        found = envelopes.of(posted.id)
        assert [x.state for x in found.lines] == ["sent", "sent"]
        assert found.mark is Mark.WHITE

        sent = {m.recipients[0]: m for m in smtp.messages}
        late = build_dsn(
            sent["ben@people.test"].data,
            "ben@people.test",
            "5.1.2",
            "smtp; 550 5.1.2 domain not found",
            "mx.people.test",
            to="bounce@acme.example",
        )
        assert gateway.receive(late).kind is Kind.BOUNCE
        (line,) = [x for x in envelopes.of(posted.id).lines if x.failed]
        assert (line.contact, line.state, line.enhanced) == ("Ben", "bounce", "5.1.2")
        assert line.reason
        assert "domain" in line.reason.lower()
        assert "domain not found" in (line.details or "")

        reply_to = field(sent["ann@people.test"].data.decode(), "Reply-To")
        asked = field(sent["ann@people.test"].data.decode(), "Message-ID")
        answer = (
            f"From: Ann <ann@people.test>\r\nTo: {reply_to}\r\nIn-Reply-To: {asked}\r\nMessage-ID: <a@p>\r\n\r\nYes"
        )
        smtp.clear()
        assert gateway.receive(answer.encode()).kind is Kind.REPLY
        ops.queue.run()
        (relayed,) = smtp.messages
        assert relayed.recipients == ("ben@people.test",)
        assert field(relayed.data.decode(), "From") == '"Ann" <notifications@acme.example>'
        assert len(threads.entries(record)) == 2
