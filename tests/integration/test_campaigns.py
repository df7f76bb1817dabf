"""Campaigns: each person once, one after the other, whatever is killed; and what stands above them (CAM rows)."""

from __future__ import annotations

import email
import email.policy
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.campaigns.values import Standing
from mailops.cli import commands  # noqa: F401
from mailops.cli.app import app
from mailops.errors import ConfigError, InputRefused, MessageRefused, NotFound, StateConflict
from mailops.model.mail import Submission
from mailops.model.setup import MASS_PARAMETER, Encryption
from mailops.queue.compose import compose
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, SmtpServerProcess, refuse
from mailops.testing.smtp_script import Rule

AT = datetime(2026, 1, 1, 9, 20, tzinfo=UTC)
TEXT, HTML = "Dear {{ name }},\nnews from {{ city }}.\n", "<p>Dear {{ name }}</p>\n"
ASIDE = {"duplicate", "invalid", "missing", "suppressed", "opted_out"}


def people(count: int, domain: str = "x.example") -> list[dict[str, str]]:
    return [{"email": f"u{n}@{domain}", "name": f"User {n}", "city": "Rome"} for n in range(count)]


def make(ops: Ops, key: str, rows: Any, **more: Any) -> None:
    given = {"sender": "Ann <ann@acme.example>", "subject": "News for {{ name }}", "text": TEXT, "recipients": rows}
    ops.campaigns.create(key, **{**given, **more})


def counts(ops: Ops, key: str) -> dict[str, int]:
    return {str(name): number for name, number in ops.campaigns.status(key).counts.items() if number}


def cli(ops: Ops, *words: str) -> Any:
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), *words], catch_exceptions=True)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout) if "--json" in words else done.stdout


def to(smtp: Any) -> list[str]:
    return [message.recipients[0] for message in smtp.messages]


def test_the_commands_carry_a_list_to_its_end(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    rows = [
        "E-Mail;name;city",
        "ann@x.example;Ann;Rome",
        " ANN@X.example ;Ann again;Rome",
        "bob@x.example;Bär;Köln",
        ";Nobody;Rome",
        "no address;Wrong;Rome",
        "cut@x.example;Cut;Rome",
        "short@x.example;Short",
        "out@x.example;Out;Rome",
    ]
    (tmp_path / "list.csv").write_text("\ufeff" + "\n".join(rows) + "\n", "utf-8")
    (tmp_path / "text").write_text(TEXT, "utf-8")
    (tmp_path / "html").write_text(HTML, "utf-8")
    with SmtpServer([refuse("cut@*", 550, "5.1.1")]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.suppressions.add("out@x.example")
        files = ["--text", str(tmp_path / "text"), "--html", str(tmp_path / "html")]
        made = cli(
            ops, "campaign", "create", "spring", "--from", "ann@acme.example", "--subject", "News for {{ name }}",
            *files, "--recipients", str(tmp_path / "list.csv"), "--server", "main", "--json",
        )  # fmt: skip
        aside = {"duplicate": 1, "invalid": 1, "missing": 2, "suppressed": 1}
        assert made["state"] == "draft"
        assert set(made["counts"]) == {"waiting", "sending", "sent", "failed", "unknown", *ASIDE}
        assert {n: c for n, c in made["counts"].items() if c} == {"waiting": 3, **aside}
        assert cli(ops, "campaign", "send", "spring", "--yes", "--json")["state"] == "queued"
        cli(ops, "queue", "run", "--json")
        done = cli(ops, "campaign", "status", "spring", "--json")
        assert done["state"] == "done"
        assert {n: c for n, c in done["counts"].items() if c} == {"sent": 2, "failed": 1, **aside}
        assert sorted(to(smtp)) == ["ann@x.example", "bob@x.example"]
        mail = email.message_from_bytes(smtp.messages[1].data, policy=email.policy.default)
        assert mail["Subject"] == "News for Bär"
        assert mail.get_body(("plain",)).get_content().splitlines() == ["Dear Bär,", "news from Köln."]
        assert mail.get_body(("html",)).get_content().strip() == "<p>Dear Bär</p>"
        why = {row["address"]: row["reason"] for row in cli(ops, "campaign", "recipients", "spring", "--json")}
        assert "'city' is undefined" in why["short@x.example"]
        assert "Added by hand" in why["out@x.example"]
        failed = cli(ops, "campaign", "recipients", "spring", "--state", "failed", "--json")
        assert "550" in failed[0]["reason"]
        assert "spring" in cli(ops, "campaign", "list")
        assert "No campaign is under way" in cli(ops, "campaign", "doctor")


def test_what_cannot_be_is_said_before_anything_is_stored(ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    bad = tmp_path / "bad.csv"
    bad.write_text("name\nAnn\n")
    two = people(2)
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (InputRefused, "campaign.fields", {"text": "{{ name }} {{ town }} {{ zip }}"}),
        (InputRefused, "campaign.template", {"text": "{{ name "}),
        (InputRefused, "campaign.template", {"subject": "{% for x in name %}"}),
        (InputRefused, "campaign.no_text", {"text": None}),
        (InputRefused, "campaign.list", {"recipients": bad}),
        (InputRefused, "campaign.list", {"recipients": []}),
        (MessageRefused, "message.server_unknown", {"server": "nowhere"}),
        (MessageRefused, "message.from_invalid", {"sender": "nobody"}),
    ]
    for kind, code, more in cases:
        with pytest.raises(kind) as caught:
            make(ops, "bad", **{"rows": two, **{("rows" if n == "recipients" else n): v for n, v in more.items()}})
        assert caught.value.code == code, more  # type: ignore[attr-defined]
    assert ops.campaigns.all() == []
    with pytest.raises(InputRefused) as caught_fields:
        make(ops, "bad", two, text="{{ town }} {{ zip|default('') }}")
    assert caught_fields.value.facts["missing"] == ["town", "zip"]
    make(ops, "good", two, text="{{ zip|default('none') }}")
    with pytest.raises(StateConflict):
        make(ops, "good", two)
    with pytest.raises(NotFound):
        ops.campaigns.send("unknown")
    with pytest.raises((InputRefused, ConfigError)):
        make(ops, "a b", two)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9999999 }}",
        "{{ name.__init__.__globals__ }}",
        "{% include 'mailops.toml' %}",
        "{{ range(10) }}",
    ],
)
def test_a_template_reaches_nothing_but_its_fields(ops_factory: Callable[..., Ops], source: str) -> None:
    ops = ops_factory()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    try:
        make(ops, "k", people(1), text=source)
    except InputRefused:
        return
    assert counts(ops, "k") == {"missing": 1}


def test_a_field_makes_no_header_and_no_markup(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        evil = {"email": "u@x.example", "name": "A\r\nBcc: b@x.example\u2028x", "city": "<script>"}
        make(ops, "k", [evil], html="<b>{{ city }}</b>")
        ops.campaigns.send("k")
        ops.queue.run()
        mail = email.message_from_bytes(smtp.messages[0].data, policy=email.policy.default)
        assert mail["Bcc"] is None
        assert mail["Subject"] == "News for A Bcc: b@x.example x"
        assert "&lt;script&gt;" in mail.get_body(("html",)).get_content()
        assert "<script>" in mail.get_body(("plain",)).get_content()


@pytest.mark.req("CAM-01")
def test_a_queued_campaign_says_so_and_when_it_starts(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT.replace(year=2090))
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        make(ops, "one", people(1))
        assert ops.campaigns.status("one").notice == ""
        sent = ops.campaigns.send("one")
        assert (sent.state, sent.state.label) == ("queued", "In Queue")
        assert "will be sent as soon as possible" in sent.notice
        assert "starts it at 2090-01-01 09:20 UTC" in sent.notice
        make(ops, "two", people(1))
        told = ops.campaigns.schedule("two", clock.now() + timedelta(hours=3))
        assert told.notice == "This campaign is scheduled for 2090-01-01 12:20 UTC and starts then."
        with pytest.raises(InputRefused) as caught:
            ops.campaigns.schedule("two", clock.now() - timedelta(hours=3))
        assert caught.value.code == "campaign.past"
        shown = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "campaign", "status", "two"]).stdout
        assert "This campaign is scheduled for 2090-01-01 12:20 UTC" in shown


@pytest.mark.req("CAM-02", "CRON-07")
def test_a_scheduled_campaign_starts_at_its_time(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        make(ops, "noon", people(2))
        make(ops, "later", people(1, "y.example"))
        ops.campaigns.schedule("noon", AT.replace(hour=12, minute=1))
        ops.campaigns.schedule("later", AT.replace(hour=14, minute=31))
        ops.queue.run()
        assert to(smtp) == []
        attend = ops.queue.attend()
        for hour, minute, sent in ((12, 1, 2), (14, 31, 3)):
            clock.advance((AT.replace(hour=hour, minute=minute) - clock.now()).total_seconds() - 60)
            ops.queue.run()
            assert attend.joining() == () or len(to(smtp)) < sent
            clock.advance(60)
            assert attend.joining()  # both times are kept, and each wakes whoever attends the queue
            ops.queue.run()
            assert len(to(smtp)) == sent
        attend.close()


@pytest.mark.req("CAM-03")
def test_a_second_trigger_during_a_run_is_refused(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        make(ops, "one", people(30))
        ops.campaigns.send("one")
        with pytest.raises(StateConflict) as caught:
            ops.campaigns.send("one")
        assert caught.value.code == "campaign.running"
        ops.campaigns.feed()
        with pytest.raises(StateConflict):
            ops.campaigns.send("one")
        ops.queue.run()
        with pytest.raises(StateConflict):
            ops.campaigns.send("one")
        assert Counter(to(smtp)) == Counter(f"u{n}@x.example" for n in range(30))


@pytest.mark.req("CAM-04")
@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3, 1)])
def test_campaigns_leave_by_creation_date(ops_factory: Callable[..., Ops], order: Sequence[int]) -> None:
    clock = ManualClock(AT)
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp, max_sessions=1)
        for number in (1, 2, 3):
            make(ops, f"campaign_{number}", people(7, f"c{number}.example"))
            clock.advance(86_400)
        for number in order:
            ops.campaigns.send(f"campaign_{number}")
        ops.queue.run()
        assert [address.partition("@")[2] for address in to(smtp)] == [
            f"c{n}.example" for n in (1, 2, 3) for _ in range(7)
        ]


@pytest.mark.req("CAM-05", "CAM-06")
def test_the_next_one_waits_and_the_doctor_says_for_what(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    with SmtpServer([Rule("rcpt", "reply", 451, "4.3.0", "later", recipient="*@slow.example")]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        make(ops, "one", [*people(2), *people(3, "slow.example")])
        clock.advance(60)
        make(ops, "two", people(2, "y.example"))
        clock.advance(60)
        make(ops, "three", people(2, "z.example"))
        for key in ("three", "two", "one"):
            ops.campaigns.send(key)
        ops.queue.run()
        assert sorted(to(smtp)) == ["u0@x.example", "u1@x.example"]
        assert counts(ops, "one") == {"sent": 2, "sending": 3}
        assert ops.campaigns.status("two").waits_for == "campaign one, which is before it"
        found = cli(ops, "campaign", "doctor", "--json")
        assert (found["key"], found["behind"]) == ("one", ["two", "three"])
        assert found["why"] == "3 mails are under way"
        assert "campaign finish one" in found["fix"]
        ops.campaigns.finish("one")
        ops.queue.run()
        assert len(to(smtp)) == 6
        assert ops.campaigns.status("three").state == "done"


@pytest.mark.req("CAM-05", "CAM-06")
def test_what_blocks_a_campaign_is_named_and_cancelling_it_lets_the_next_one_go(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.change_server("other", host="127.0.0.1", port=smtp.port, encryption=Encryption.NONE)
        make(ops, "one", people(2), server="other")
        make(ops, "two", people(2, "y.example"))
        ops.campaigns.send("one")
        ops.campaigns.send("two")
        ops.remove_server("other")
        assert [one.server for one in ops.limits.report()] == ["main"], (
            "a campaign without a server is in no other's way"
        )
        ops.queue.run()
        found = ops.campaigns.blocking()
        assert (found.key, found.behind) == ("one", ("two",))
        assert "no outgoing server 'other'" in found.why
        assert to(smtp) == []
        ops.campaigns.cancel("one")
        ops.queue.run()
        assert sorted(to(smtp)) == ["u0@y.example", "u1@y.example"]


@pytest.mark.req("CAM-07")
def test_a_cancelled_campaign_goes_on_with_the_rest(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer([Rule("rcpt", "reply", 451, "4.3.0", "later", recipient="*@slow.example", first=5)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        make(ops, "one", [*people(4), *people(5, "slow.example")])
        ops.campaigns.send("one")
        ops.queue.run()
        assert counts(ops, "one") == {"sent": 4, "sending": 5}
        cancelled = ops.campaigns.cancel("one")
        assert cancelled.state == "cancelled"
        assert counts(ops, "one") == {"sent": 4, "waiting": 5}
        ops.queue.run()
        assert len(to(smtp)) == 4
        ops.campaigns.send("one")
        ops.queue.run()
        assert ops.campaigns.status("one").state == "done"
        assert counts(ops, "one") == {"sent": 9}
        assert max(Counter(to(smtp)).values()) == 1


def test_a_paused_campaign_stops_and_goes_on(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        make(ops, "one", people(20))
        make(ops, "two", people(1, "y.example"))
        ops.campaigns.send("one")
        ops.campaigns.send("two")
        ops.queue.run(limit=5)
        assert len(to(smtp)) == 5
        assert ops.campaigns.pause("one").paused
        ops.queue.run()
        assert counts(ops, "one") == {"sent": 5, "waiting": 15}
        assert len(to(smtp)) == 5
        assert ops.campaigns.blocking().why == "it is paused"
        ops.campaigns.resume("one")
        ops.queue.run()
        assert Counter(to(smtp)) == Counter([*(f"u{n}@x.example" for n in range(20)), "u0@y.example"])


def test_who_asked_for_no_more_meanwhile_gets_none(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.suppressions.add("u1@x.example")
        make(ops, "one", people(4))
        ops.suppressions.undo(["u1@x.example"])
        ops.suppressions.add("u2@x.example")
        ops.campaigns.send("one")
        ops.suppressions.add("u3@x.example")  # after it was queued
        ops.queue.run()
        assert sorted(to(smtp)) == ["u0@x.example", "u1@x.example"]
        assert counts(ops, "one") == {"sent": 2, "suppressed": 2}


def test_a_mail_that_a_person_cancels_is_done_and_one_he_retries_comes_once(ops_factory: Callable[..., Ops]) -> None:
    from mailops.queue.filters import QueueFilter

    with SmtpServer([refuse("u1@*", 550, "5.7.1", "Not by our policy", first=1)]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        make(ops, "one", people(3))
        ops.campaigns.send("one")
        ops.campaigns.feed()
        ops.queue.cancel(QueueFilter(recipient="u0@x.example"), actor="ann")
        ops.queue.run()
        assert counts(ops, "one") == {"failed": 2, "sent": 1}
        ops.queue.retry(QueueFilter(recipient="u1@x.example"))
        ops.queue.run()
        assert counts(ops, "one") == {"failed": 1, "sent": 2}
        assert sorted(to(smtp)) == ["u1@x.example", "u2@x.example"]


def test_somebody_elses_message_id_moves_nothing(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        make(ops, "one", people(2))
        ops.campaigns.send("one")
        ops.campaigns.feed()
        with ops.engine.connect() as connection:
            ids = connection.execute(sa.select(schema.mails.c.message_id)).scalars().all()
        ops.queue.submit(Submission(sender="ann@acme.example", to=("v@x.example",), text="x", message_id=ids[0]))
        mine = ops.queue.page().mails[0].id
        ops.queue.run(ids=[mine])
        assert counts(ops, "one") == {"sending": 2}


def test_a_frame_is_a_list_too(ops_factory: Callable[..., Ops]) -> None:
    import pandas as pd

    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        frame = pd.DataFrame({"Email": ["a@x.example", None], "Order no": [7, 8]})
        make(ops, "one", frame, subject="Order {{ Order_no }}", text="x")
        assert counts(ops, "one") == {"waiting": 1, "missing": 1}


def test_a_question_is_a_list_too(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for n in range(3):
            ops.send(sender="ann@acme.example", to=[f"u{n}@x.example"], subject=f"No. {n}", text="t")
        ops.queue.run()
        (ops.workspace.path / "news.txt").write_text("About {{ subject }}", encoding="utf-8")
        create = ["campaign", "create", "again", "--from", "ann@acme.example", "--subject", "News", "--text", str(ops.workspace.path / "news.txt")]  # fmt: skip
        query = "SELECT r.recipient AS email, m.subject AS subject FROM recipients r JOIN mails m ON m.id = r.mail_id WHERE r.recipient <> 'u1@x.example'"  # fmt: skip
        made = cli(ops, *create, "--query", query, "--json")
        assert made["counts"]["waiting"] == 2
        for wrong, code in (
            ("SELECT 1 AS one", "campaign.query"),
            ("SELECT", "sql.wrong"),
        ):
            with pytest.raises(InputRefused) as refused:
                ops.recipients_by(wrong)
            assert refused.value.code == code
        with pytest.raises(InputRefused, match="One list"):
            cli(ops, *create)
        ops.campaigns.send("again")
        ops.queue.run()
        assert sorted(to(smtp)[3:]) == ["u0@x.example", "u2@x.example"]
        assert b"About No. 2" in smtp.messages[-1].data or b"About No. 0" in smtp.messages[-1].data


@pytest.mark.req("CAM-01")
def test_what_is_to_be_known_is_said_before_it_asks(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(AT))
        furnish(ops, smtp, from_filter="other.example")
        make(ops, "one", people(2))
        done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "campaign", "send", "one"], input="n\n")
        assert "Send it, to 2 recipients?" in done.output
        assert ops.campaign_findings(2, "Ann <ann@acme.example>")[0].message in done.output
        assert str(ops.campaigns.status("one").state) == "draft"


@pytest.mark.req("CAM-06")
def test_the_notebook_makes_sends_pauses_and_cancels_campaigns(ops_factory: Callable[..., Ops]) -> None:
    from test_relay_notebook import press

    from mailops.widgets import campaigns_panel

    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(AT))
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to=["u@x.example"], subject="s", text="t")
        page = campaigns_panel(ops)
        given = {"key": "one", "sender": "ann@acme.example", "subject": "News", "text": "Hello"}
        with pytest.raises(InputRefused, match="one list"):
            press(page, "Create", **given)
        query = "SELECT recipient AS email FROM recipients"
        assert "Campaign one: Draft." in press(page, "Create", **given, query=query)
        assert press(page, "Send", key="one").endswith("Send it, to 1 recipient? Then write yes.")
        assert str(ops.campaigns.status("one").state) == "draft"
        assert "Campaign one: In Queue." in press(page, "Send", key="one", sure="Yes")
        assert "Campaign one: paused." in press(page, "Pause", key="one")
        assert "it is paused" in page.text()
        assert "Campaign one: In Queue." in press(page, "Resume", key="one")
        assert "Campaign one: Cancelled." in press(page, "Cancel", key="one")
        at = f"{AT + timedelta(hours=2):%Y-%m-%dT%H:%M}"
        assert "at 2026-01-01 11:20 UTC, to 1 recipient" in press(page, "Send", key="one", at=at)
        assert "Campaign one: In Queue." in press(page, "Send", key="one", at=at, sure="yes")
        with pytest.raises(StateConflict):
            press(page, "Finish Without the Held", key="one")


def test_a_thousand_mails_parse_as_the_library_makes_them(ops_factory: Callable[..., Ops]) -> None:
    """What the slots make is what composing each mail with the library makes, field by field and part by part."""
    chance = random.Random(os.urandom(8).hex())
    letters = "abcdefghij XYZ.,=?_-äöüßéñ漢字かな🎉\t<&\"'"
    words = lambda most: "".join(chance.choice(letters) for _ in range(chance.randrange(most)))  # noqa: E731
    rows = []
    for number in range(1000):
        plain = chance.random() < 0.5
        name = f"Name {number}" if plain else words(90)
        city = "\n".join("" if chance.random() < 0.2 else words(400) for _ in range(chance.randrange(4)))
        address = f"u{number}@x.example" if chance.random() < 0.9 else f"u{number}.{'l' * 50}@{'d' * 40}.bücher.example"
        rows.append({"email": address, "name": name, "city": city})
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        make(
            ops, "one", rows, html="<p>Dear {{ name }},</p>\n{{ city }}", text="Dear {{ name }}\n.\n{{ city }}\nFrom me"
        )
        ops.campaigns.send("one")
        ops.queue.run()
        assert counts(ops, "one") == {"sent": 1000}
        by_number = {m.data.partition(b"\r\nMessage-ID: <c1.")[2].partition(b".")[0]: m for m in smtp.messages}
        from mailops.campaigns.listing import rows_of
        from mailops.campaigns.template import Template

        template = Template(
            "News for {{ name }}", "Dear {{ name }}\n.\n{{ city }}\nFrom me", "<p>Dear {{ name }},</p>\n{{ city }}"
        )
        for number, row in enumerate(rows_of(rows), 1):
            got = email.message_from_bytes(by_number[b"%d" % number].data, policy=email.policy.default)
            texts = template.render({**row, "unsubscribe_url": ""})
            wanted = compose(
                Submission(
                    sender="Ann <ann@acme.example>", to=(row["email"],), message_id=str(got["Message-ID"]),
                    subject=texts.subject, text=texts.text, html=texts.html,
                    headers=(("Precedence", "list"), ("X-Auto-Response-Suppress", "OOF")),
                ),
                now=datetime.now(UTC), return_path="bounce@acme.example",
            )  # fmt: skip
            library = email.message_from_bytes(wanted.raw, policy=email.policy.default)
            skipped = {"date", "content-type", "received"}
            fields = [[(n, str(v)) for n, v in m.items() if n.lower() not in skipped] for m in (got, library)]
            assert fields[0] == fields[1]
            parts = [[(p.get_content_type(), p["Content-Transfer-Encoding"]) for p in m.walk()] for m in (got, library)]
            assert parts[0] == parts[1]
            for kind in ("plain", "html"):
                mine, its = (m.get_body((kind,)).get_content() for m in (got, library))
                assert mine == its


KILLER = """
import os, signal, sys, threading, time
from mailops import Ops
ops = Ops.open(sys.argv[1])
threading.Thread(target=lambda: (time.sleep(float(sys.argv[2])), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()
ops.queue.run()
"""


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_killed_at_three_random_moments_each_person_gets_one_mail(
    database: str, ops_factory: Callable[..., Ops], request: pytest.FixtureRequest
) -> None:
    """The books of the receiving server against the campaign's: nobody is left out, and a mail came twice only where
    its answer was in flight at a kill, under the same Message-ID."""
    chance = random.Random(os.urandom(8).hex())
    target = request.getfixturevalue("fresh_postgres") if database == "postgres" else None
    with SmtpServerProcess() as smtp:
        ops = ops_factory(database=target)
        furnish(ops, smtp, max_sessions=3)
        make(ops, "one", people(1500))
        ops.campaigns.send("one")
        for _ in range(3):
            before, began = len(smtp.accepted()), time.monotonic()
            child = subprocess.Popen(
                [sys.executable, "-c", KILLER, str(ops.workspace.path), f"{chance.uniform(1.2, 2.6)}"]
            )
            child.wait(timeout=60)
            assert child.returncode in (-signal.SIGKILL, 0), (before, began)
        assert cli(ops, "queue", "run", "--json")
        found = cli(ops, "campaign", "status", "one", "--json")
        assert found["state"] == "done"
        assert found["counts"]["sent"] == 1500
        received = Counter(str(line["message_id"]) for line in smtp.accepted())
        assert len(received) == 1500
        assert sum(received.values()) - 1500 <= 9  # three sessions, three kills


@pytest.mark.req("LIM-06", "OUT-22", "OUT-26")
def test_a_campaign_takes_the_dedicated_server_and_day_to_day_mail_the_first(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as daily, SmtpServer() as mass:
        ops = ops_factory()
        furnish(ops, daily, priority=1)
        ops.change_server("bulk", host="127.0.0.1", port=mass.port, encryption=Encryption.NONE, priority=2)
        ops.set_parameter(MASS_PARAMETER, "bulk")
        make(ops, "one", people(2))
        ops.campaigns.send("one")
        ops.send(to="b@x.example", sender="ann@acme.example", text="x")
        ops.queue.run()
        assert (len(mass.messages), len(daily.messages)) == (2, 1)


def test_a_forgotten_person_is_no_name_in_any_list(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        make(ops, "one", people(2))
        ops.campaigns.send("one")
        ops.queue.run()
        make(ops, "two", people(2))
        held = {one.place: one.count for one in ops.about("u1@x.example").held}
        assert held["recipients of campaigns"] == 2
        ops.forget("u1@x.example")
        with ops.engine.connect() as connection:
            rows = connection.execute(sa.select(schema.campaign_recipients)).all()
        assert not [row for row in rows if "u1@" in str(row) or "User 1" in str(row)]
        assert counts(ops, "two") == {"waiting": 1, "invalid": 1}
        assert counts(ops, "one") == {"sent": 2}


def test_every_standing_has_its_place_in_the_counts() -> None:
    assert {one.value for one in Standing} == {"waiting", "sending", "sent", "failed", "unknown", *ASIDE}


@pytest.mark.req("CAM-06", "OUT-41")
def test_the_notebook_names_the_stuck_campaign_and_fails_as_a_job(ops_factory: Callable[..., Ops]) -> None:
    from mailops.checks import campaigns as checks

    clock = ManualClock(AT)
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        make(ops, "one", [*people(1), {"email": "", "name": "N", "city": "R"}])
        ops.campaigns.send("one")
        ops.campaigns.feed()
        ops.campaigns.pause("one")
        assert list(ops.campaigns.frame()["key"]) == ["one"]
        assert list(ops.campaigns.aside("one")["state"]) == ["missing"]
        assert ops.campaigns.aside("").empty
        ops.limits.set("main", count=5)
        assert list(ops.limits.frame()["count"]) == [5]
        fine = checks.moving(ops.campaigns.blocking(), hours=24, now=clock.now())
        assert fine.state == "passed"
        clock.advance(25 * 3600)
        stuck = checks.moving(ops.campaigns.blocking(), hours=24, now=clock.now())
        assert (stuck.state, stuck.code, stuck.subject) == ("failed", "campaigns.stuck", "one")
        assert "it is paused" in stuck.found
        assert checks.held(ops.limits.report(), now=clock.now()).state == "passed"
        ops.limits.hold("main", timedelta(hours=1), why="they asked us to")
        ops.send(to="b@x.example", sender="ann@acme.example", text="t")
        assert checks.held(ops.limits.report(), now=clock.now()).state == "warning"
