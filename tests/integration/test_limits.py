"""Limits of servers: shared by all processes, kept over restarts, never exceeded, and hardly anything wasted."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from test_campaigns import cli, make, people

from mailops import Ops
from mailops.errors import InputRefused, NotFound
from mailops.limits.values import WAYS, Window, forecast, frees_at
from mailops.model.setup import Encryption, MailClass
from mailops.model.states import MailState
from mailops.queue.filters import QueueFilter
from mailops.routing.usage import CEILING, DEFAULT_POLICY, FLOOR
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, SmtpServerProcess, refuse
from mailops.testing.smtp_script import Rule

u = schema.limit_uses
AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
FAILED = QueueFilter(state=MailState.FAILED)
DRAIN = "import sys; from mailops import Ops; Ops.open(sys.argv[1]).queue.run()"


def put(ops: Ops, count: int, **more: Any) -> None:
    for n in range(count):
        ops.send(sender="ann@acme.example", to=f"u{n}@x.example", subject="s", text="t", **more)


def most_within(times: list[float], seconds: float) -> int:
    """How many fell into the fullest span of so many seconds."""
    most, first = 0, 0
    for at, moment in enumerate(times):
        while times[first] <= moment - seconds:
            first += 1
        most = max(most, at - first + 1)
    return most


@pytest.mark.timeout(3600)  # ``--seeds 20``: twenty such runs, some 12 minutes
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_five_processes_keep_a_limit_together_and_waste_little(
    database: str, ops_factory: Callable[..., Ops], request: pytest.FixtureRequest
) -> None:
    """By the receiving server's books: never more than 30 in any 12 s, and at least 95 % of what is allowed. ``--seeds``
    says how often; each seed has other sizes of mails, and its workers begin at other moments."""
    span, count, shares = 12.0, 30, list[float]()
    target = request.getfixturevalue("fresh_postgres") if database == "postgres" else None
    ops = ops_factory(database=target)
    for seed in range(int(request.config.getoption("--seeds"))):
        chance = random.Random(seed)
        with SmtpServerProcess() as smtp:
            furnish(ops, smtp, key=f"s{seed}", max_sessions=3)
            cli(ops, "limits", "set", f"s{seed}", "--messages", str(count), "--per", str(span), "--json")
            make(ops, f"c{seed}", people(3 * count), server=f"s{seed}", text="Hi. " * chance.randrange(1, 4000))
            ops.campaigns.send(f"c{seed}")
            children = []
            for _ in range(5):
                children.append(subprocess.Popen([sys.executable, "-c", DRAIN, str(ops.workspace.path)]))
                time.sleep(chance.random() * 0.5 if seed else 0)
            assert [child.wait(100) for child in children] == [0] * 5
            ops.queue.run()
            times = sorted(datetime.fromisoformat(str(line["at"])).timestamp() for line in smtp.accepted())
            assert len(times) == 3 * count
            assert most_within(times, span) <= count
            gaps = [later - at for at, later in zip(times, times[count:], strict=False)]  # a window each at best
            shares.append(span / (sum(gaps) / len(gaps)))
            ops.change_server(f"s{seed}", active=False)
    mean = sum(shares) / len(shares)
    around = 1.96 * (sum((one - mean) ** 2 for one in shares) / max(len(shares) - 1, 1) / len(shares)) ** 0.5
    print(f"{mean:.1%} ± {around:.1%} of what is allowed, the least {min(shares):.1%}, {len(shares)} seeds")
    assert min(shares) >= 0.95
    assert max(shares) <= 1.0


def test_a_provider_that_is_known_is_obeyed_by_its_own_figures(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp, provider="outlook", max_sessions=0)
        [told] = cli(ops, "limits", "--json")["servers"]
        assert told["connections"] == 3
        assert [(w["count"], w["of"], w["seconds"]) for w in told["windows"]] == [
            (30, "messages", 60.0),
            (10_000, "recipients", 86_400.0),
        ]
        put(ops, 70)
        ops.queue.run()
        assert smtp.accepted == 70
        assert clock.now() - AT >= timedelta(minutes=2)  # two windows had to pass
        ops.limits.set("main", count=0)
        ops.limits.set("main", count=0, of="recipients", per="day")
        assert ops.limits.report()[0].windows == ()
        before = clock.now()
        put(ops, 70)
        ops.queue.run()
        assert smtp.accepted == 140
        assert clock.now() == before
        assert ops.limits.clear("main") == 2
        furnish(ops, smtp, provider="gmail")
        assert any("a day with Workspace" in line for line in ops.limits.report()[0].by_plan)


@pytest.mark.postgres
def test_a_mail_that_is_answered_amid_the_question_counts_all_the_same(fresh_postgres: str) -> None:
    """Between two statements PostgreSQL shows what others committed: it stood in neither sum."""
    from mailops.limits import store
    from mailops.store.database import make_engine, migrate

    engine = make_engine(fresh_postgres)
    migrate(engine)
    window = Window("messages", 1, 60.0, "own")
    first = store.take(engine, "a", [window], messages=1, recipients=1, now=AT)
    assert isinstance(first, store.Permit)
    asked: list[str] = []

    def answered(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "limit_uses" in statement and statement.startswith("SELECT") and not asked:
            asked.append(statement)
            store.close(engine, first, AT)

    sa.event.listen(engine, "after_cursor_execute", answered)
    assert isinstance(store.take(engine, "a", [window], messages=1, recipients=1, now=AT), store.Full)
    assert asked
    engine.dispose()


def test_a_server_that_is_none_is_no_server_of_a_limit(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(AT))
        furnish(ops, smtp)
        for words in (["set", "mian", "--messages", "5"], ["hold", "mian", "--hours", "1"], ["clear", "mian"]):
            with pytest.raises(NotFound, match="no outgoing server 'mian'"):
                cli(ops, "limits", *words)
        ops.limits.set("main", count=5)
        ops.remove_server("main")
        assert ops.limits.clear("main") == 1


def test_a_far_limit_holds_the_server_and_says_until_when(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    with SmtpServer() as smtp, SmtpServer() as other:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        ops.change_server(
            "free", host="127.0.0.1", port=other.port, encryption=Encryption.NONE, from_filter="free.example"
        )
        ops.limits.set("main", count=5, per="day")
        put(ops, 8)
        for n in range(9):
            ops.send(sender="bob@free.example", to=f"v{n}@x.example", text="t")
        ops.queue.run()
        assert (smtp.accepted, other.accepted) == (5, 9)  # nobody waits behind it
        [told] = [one for one in ops.limits.report() if one.server == "main"]
        assert (told.waiting, told.windows[0].used, told.windows[0].remaining) == (3, 5, 0)
        assert told.held_why == "the limit of 5 messages a day (own) is reached"
        assert told.held_until is not None
        assert AT + timedelta(days=1) <= told.held_until <= AT + timedelta(days=1, minutes=1)
        assert "3 leave from 2026-12-01 09:0" in told.sentence
        ops.queue.run()
        assert smtp.accepted == 5
        clock.advance(86_460)  # kept over the restart that each run is
        ops.queue.run()
        assert smtp.accepted == 8


@pytest.mark.req("OUT-40", "LIM-02", "LIM-03", "LIM-01", "LIM-07", "LIM-06")
def test_the_hosted_day_ends_what_is_beyond_it_and_a_retry_the_next_day_sends_it(
    ops_factory: Callable[..., Ops],
) -> None:
    clock = ManualClock(AT)
    with SmtpServer() as hosted, SmtpServer() as own:
        ops = ops_factory(clock=clock)
        ops.change_profile(hosting="online", database="acme")
        furnish(ops, own, from_filter="acme.example")
        ops.change_server(
            "hosted",
            host="127.0.0.1",
            port=hosted.port,
            encryption=Encryption.NONE,
            provider="hosted",
            from_filter="acme.odoo.com",
        )
        ops.set_parameter("mailops.limits.subscription", "one_app_free")
        for n in range(23):
            ops.send(sender="notifications@acme.odoo.com", to=f"u{n}@x.example", text="t")
        put(ops, 25)
        ops.queue.run()
        assert hosted.accepted == DEFAULT_POLICY["one_app_free"] == 20
        assert own.accepted == 25  # an external server is independent of it
        failed = ops.queue.page(FAILED).mails
        assert {mail.failure_type for mail in failed} == {"daily_limit"}
        assert len(failed) == 3
        assert all(way.partition(" (")[0] in (failed[0].failure_reason or "") for way in WAYS)
        assert "blacklist" in (failed[0].failure_reason or "")
        assert ops.bounces is not None
        assert ops.suppressions.page()[1] == 0  # nobody's address is at fault
        clock.advance((AT.replace(hour=23, minute=1) - clock.now()).total_seconds())
        ops.queue.retry(FAILED)
        ops.queue.run()
        assert hosted.accepted == 23


@pytest.mark.req("LIM-02")
def test_every_default_of_the_policy_is_within_five_and_two_hundred(ops_factory: Callable[..., Ops]) -> None:
    assert all(FLOOR <= figure <= CEILING for figure in DEFAULT_POLICY.values())
    ops = ops_factory()
    ops.change_profile(hosting="online", database="acme")
    for subscription, figure in DEFAULT_POLICY.items():
        ops.set_parameter("mailops.limits.subscription", subscription)
        assert ops.usage().limit == figure
    for wanted, kept in ((1, 5), (120, 120), (5000, 200)):
        ops.set_parameter("mailops.limits.daily", str(wanted))
        assert ops.usage().limit == kept
    assert cli(ops, "limits", "--json")["today"] == {"sent": 0, "limit": 200, "remaining": 200}


@pytest.mark.req("OUT-41", "OUT-43", "LIM-08")
def test_usage_counts_every_mail_and_a_large_campaign_is_warned_of(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as hosted:
        ops = ops_factory(clock=ManualClock(AT))
        ops.change_profile(hosting="online", database="acme")
        ops.change_server("hosted", host="127.0.0.1", port=hosted.port, encryption=Encryption.NONE, provider="hosted")
        for kind in (MailClass.TRANSACTIONAL, MailClass.MASS, MailClass.TRANSACTIONAL):
            ops.send(sender="a@acme.odoo.com", to="b@x.example", text="t", mail_class=kind)
        ops.queue.run()
        today = ops.usage("hosted")
        assert (today.sent, today.limit, today.remaining) == (3, 200, 197)
        [told] = [one for one in ops.limits.report() if one.server == "hosted"]
        assert told.windows[-1].used == 3
        found = ops.campaign_findings(300, "a@acme.odoo.com", server="hosted")
        assert any(one.code == "campaign.quota" for one in found)


def test_what_cannot_be_kept_is_refused(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    for more in ({"of": "bytes"}, {"count": -1}, {"per": "fortnight"}, {"per": 0}, {"per": 1e12}):
        with pytest.raises(InputRefused):
            ops.limits.set("main", **{"count": 5, **more})  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        ops.limits.set("nowhere", count=5)


def test_the_forecast_is_arithmetic() -> None:
    minute, day = Window("messages", 30, 60, "p"), Window("messages", 100, 86_400, "p")
    told = forecast([minute, day], [[], [(AT - timedelta(hours=1), 60)]], 50, AT)
    assert (told.leaves_before, told.later) == (40, 10)
    assert told.again == AT - timedelta(hours=1) + timedelta(days=1)
    assert forecast([minute], [[]], 20, AT).sentence == "What waits (20) fits within the limits."
    assert forecast([minute], [[]], 0, AT).sentence == "Nothing waits for it."
    assert forecast([minute], [[]], 95, AT).empty == AT + timedelta(minutes=3)
    assert frees_at(minute, [(AT, 30)], 40, AT) == AT + timedelta(minutes=1)  # more than the window: when it is empty


def test_a_mail_behind_a_held_server_or_a_full_limit_says_so(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        ops.limits.set("main", count=2, per="day")
        put(ops, 2)
        ops.queue.run()
        put(ops, 1)
        [waits] = ops.queue.page(QueueFilter(state=MailState.OUTGOING)).mails
        full = "waits, since server main is held until 2026-12-01 09:00 UTC: the limit of 2 messages a day (own) is reached"
        assert waits.leaves == full, "before anybody tried"
        ops.queue.run()
        assert ops.queue.mail(waits.id).leaves == full
        ops.limits.clear("main")
        assert (ops.queue.mail(waits.id).leaves or "").startswith("leaves at once")
        ops.limits.hold("main", timedelta(hours=2), why="they asked us to")
        assert ops.queue.mail(waits.id).leaves == "waits, since server main is held until 11:00 UTC: they asked us to"
        ops.queue.hold("x.example", timedelta(hours=1))
        assert "server main" in (ops.queue.mail(waits.id).leaves or ""), "the longer one"


def test_each_further_transaction_of_a_mail_takes_a_permit(ops_factory: Callable[..., Ops]) -> None:
    """A server that takes three recipients in a mail, and allows two mails a minute; before, ten recipients counted as
    one mail."""
    with SmtpServer(max_recipients=3) as smtp:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        ops.limits.set("main", count=2, per="minute")
        ops.send(sender="ann@acme.example", to=[f"u{n}@x.example" for n in range(10)], subject="s", text="t")
        ops.queue.run()
        assert [len(message.recipients) for message in smtp.messages] == [3, 3, 3, 1]
        with ops.engine.connect() as connection:
            rows = connection.execute(sa.select(u.c.messages, u.c.recipients, u.c.closed_at).order_by(u.c.id)).all()
        assert [(row.messages, row.recipients) for row in rows] == [(1, 10), (1, 0), (1, 0), (1, 0)]
        assert most_within([row.closed_at.timestamp() for row in rows], 60) == 2


def test_a_mail_of_more_transactions_than_the_day_allows_goes_on_the_next_day(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer(max_recipients=1) as smtp:
        clock = ManualClock(AT)
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        ops.limits.set("main", count=2, per="day")
        mail = ops.send(sender="ann@acme.example", to=[f"u{n}@x.example" for n in range(5)], subject="s", text="t")
        for accepted in (2, 4, 5):
            ops.queue.run()
            assert smtp.accepted == accepted
            clock.advance(86_460)
        assert ops.queue.mail(mail).state is MailState.SENT


def test_a_killed_process_leaves_a_permit_that_ends(ops_factory: Callable[..., Ops]) -> None:
    from mailops.limits import store

    ops = ops_factory()
    window = (Window("messages", 1, 2, "own"),)
    first = store.take(ops.engine, "a", window, messages=1, recipients=1, now=AT)
    assert isinstance(first, store.Permit)
    assert isinstance(store.take(ops.engine, "a", window, messages=1, recipients=1, now=AT), store.Full)
    later = AT + store.STALE + timedelta(seconds=1)
    assert isinstance(store.take(ops.engine, "a", window, messages=1, recipients=1, now=later), store.Permit)


@pytest.mark.req("LIM-04", "LIM-05", "LIM-03")
def test_the_request_for_a_higher_limit_has_all_that_support_weighs(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer([refuse("u1@*", 550, "5.1.1")]) as smtp:
        ops = ops_factory()
        ops.change_profile(hosting="online", database="acme")
        furnish(ops, smtp)
        put(ops, 4)
        ops.queue.run()
        ops.save_alias("sales", "lead", domain="acme.example")
        made = cli(
            ops, "limits", "request", "--users", "12", "--app", "CRM", "--app", "Email Marketing", "--no-dns", "--json"
        )
        assert (made["users"], made["apps"], made["limit"], made["missing"]) == (
            12,
            ["CRM", "Email Marketing"],
            200,
            [],
        )
        assert made["addressed"] == 4
        assert made["bounce_rate"] == 0.25
        assert [one["address"] for one in made["aliases"]] == ["sales@acme.example"]
        for line in (
            "Number of users: 12",
            "Apps installed: CRM, Email Marketing",
            "25.00% of 4",
            "sales@acme.example: own",
        ):
            assert line in made["text"]
        assert ops.quota_request(dns=False).missing == ("--users", "--app")


@pytest.mark.req("LIM-02")
def test_a_server_that_has_enough_is_held_with_its_answer_quoted(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    said = "Rate limit exceeded: 5 messages per minute, try again in 10 minutes"
    with SmtpServer([Rule("mail", "reply", 451, "4.7.1", said, first=1)]) as smtp, SmtpServer() as other:
        ops = ops_on(clock=clock)
        furnish(ops, smtp, max_sessions=1)
        ops.change_server(
            "free", host="127.0.0.1", port=other.port, encryption=Encryption.NONE, from_filter="free.example"
        )
        put(ops, 1)
        ops.queue.run()
        put(ops, 3)
        ops.send(sender="bob@free.example", to="v@x.example", text="t")
        ops.queue.run()
        assert (smtp.accepted, other.accepted) == (0, 1)
        [told] = [one for one in ops.limits.report() if one.server == "main"]
        assert told.held_until == AT + timedelta(minutes=10)
        assert told.held_why == f"it said: 451 4.7.1 {said}"
        assert said in cli(ops, "limits", "--json")["servers"][0]["sentence"] + told.sentence
        clock.advance(601)
        ops.queue.run()
        assert smtp.accepted == 4


def test_a_domain_that_has_enough_is_held_alone_and_longer_each_time(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    said = "Too many messages for slow.example, slow down"
    with SmtpServer([Rule("rcpt", "reply", 450, "4.7.0", said, recipient="*@slow.example", first=2)]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp, max_sessions=1)
        for minutes in (1, 2):
            ops.send(sender="ann@acme.example", to="a@slow.example", text="t")
            ops.send(sender="ann@acme.example", to="a@fast.example", text="t")
            ops.queue.run(limit=2) if minutes == 1 else ops.queue.run()
            [held] = ops.queue.holds()
            assert held.domain == "slow.example"
            assert held.until == clock.now() + timedelta(minutes=minutes)
            assert held.why == f"it said: 450 4.7.0 {said}"
            clock.advance(minutes * 60 + 1)
        assert [m.recipients[0] for m in smtp.messages] == ["a@fast.example"] * 2
        assert ops.limits.report()[0].held_until is None


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (451, "4.3.0 Try again later"),
        (450, "4.2.0 Greylisted, try again in 5 minutes"),
        (450, "4.2.1 The user you are trying to contact is receiving mail at a rate that prevents delivery"),
        (452, "4.2.2 Mailbox full, quota of the mailbox exceeded for user@x.example"),
        (452, "4.2.2 The mailbox has exceeded its quota"),
        (452, "4.2.2 User is over quota, limit exceeded"),
        (550, "5.7.1 Rate limit exceeded"),
    ],
)
def test_what_says_nothing_of_a_rate_of_ours_holds_nobody(
    ops_factory: Callable[..., Ops], code: int, text: str
) -> None:
    enhanced, _, words = text.partition(" ")
    with SmtpServer([Rule("rcpt", "reply", code, enhanced, words)]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to="user@x.example", text="t")
        ops.queue.run()
        assert ops.queue.holds() == []
        assert ops.limits.report()[0].held_until is None
