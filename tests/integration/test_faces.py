"""Faces for what exists: kinds of record, senders, plans, campaigns, and the verification that harms no live mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk, head

from mailops.testing import SmtpServer
from mailops.threads.service import Entry


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "w")


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.mark.req("GEN-15", "OUT-07", "IN-50")
def test_a_kind_of_record_is_kept_and_aliases_make_it(desk: Desk, tmp_path: Path) -> None:
    desk("company", "domain", "acme.com")
    assert "no kind of record 'parcel'" in desk("alias", "add", "parcels", "--model", "parcel", status=2)
    desk("alias", "model", "parcel", "--label", "Parcel")
    file = tmp_path / "m.eml"
    for n, (local, model) in enumerate([("leads", "lead"), ("tickets", "ticket"), ("tasks", "task"), ("expenses", "expense"), ("parcels", "parcel")]):  # fmt: skip
        desk("alias", "add", local, "--model", model)
        file.write_text(f"From: a@b.example\nTo: {local}@acme.com\nMessage-ID: <{n}@b.example>\nSubject: s\n\nt\n")
        [told] = desk.json("inbound", "receive", str(file))
        assert [(r["model"], r["alias"]) for r in told["routes"]] == [(model, f"{local}@acme.com")]
    assert [m["name"] for m in desk.json("alias", "models")] == ["lead", "ticket", "task", "expense", "parcel"]
    desk("alias", "change", "parcels", "--policy", "partners")
    file.write_text("From: a@b.example\nTo: parcels@acme.com\nMessage-ID: <9@b.example>\nSubject: s\n\nt\n")
    told = desk.json("explain", "receive", str(file))
    assert told["code"] == "alias_partners"


@pytest.mark.req("OUT-21")
def test_every_possible_sender_is_listed_as_covered_or_not(desk: Desk) -> None:
    desk("company", "domain", "acme.com")
    desk("server", "add", "s", "--host", "mx.acme.com", "--filter", "acme.com")
    desk("server", "readiness", "--admin", "boss@acme.com", "--no-dns", status=1)
    found = {row["address"]: row["covered"] for row in desk.json("server", "senders", "s")}
    assert found == {"bounce@acme.com": True, "notifications@acme.com": True, "boss@acme.com": True, "odoobot@company-name.odoo.com": False}  # fmt: skip
    assert "not covered" in desk("server", "senders", "s")


@pytest.mark.req("AZ-30", "AZ-31", "AZ-33", "AZ-34")
def test_the_plans_for_mailboxes_write_the_set_up(desk: Desk, tmp_path: Path) -> None:
    shown = desk.json("server", "plan", "single", "--mailbox", "notifications@example.com")
    assert (len(shown["servers"]), shown["tasks"], desk.json("server", "list")) == (1, [], [])
    desk("server", "plan", "single", "--mailbox", "notifications@example.com", "--yes")
    assert desk.json("server", "check") == []
    parameters = desk.json("company", "list")["parameters"]
    assert parameters == {"mail.catchall.domain": "example.com", "mail.default.from": "notifications"}
    assert (
        desk.json("explain", "send", "--from", "Ann <ann@example.com>")["from_after"]
        == '"Ann" <notifications@example.com>'
    )
    many = Desk(tmp_path / "many")
    users = ("--user", "john@example.com", "--user", "jane@example.com")
    made = many.json("server", "plan", "per-user", "--mailbox", "notifications@example.com", *users, "--yes")
    assert (len(made["servers"]), len(made["tasks"])) == (3, 2)
    for who, server in (
        ("john", "john@example.com"),
        ("jane", "jane@example.com"),
        ("bob", "notifications@example.com"),
    ):
        assert many.json("explain", "send", "--from", f"{who}@example.com")["server_name"] == server


@pytest.mark.req("OUT-24", "OUT-37", "AZ-38", "MJ-23")
def test_the_plan_of_two_classes(desk: Desk) -> None:
    desk("company", "domain", "acme.com")
    desk("server", "add", "day", "--host", "mx.acme.com", "--filter", "acme.com", "--priority", "2")
    desk("server", "add", "mass", "--host", "in-v3.mailjet.com", "--filter", "acme.com", "--priority", "1")
    assert "plan.mass_priority" in [
        f["code"] for f in desk.json("server", "check", status=1)
    ]  # nobody said what it is for
    desk("company", "parameter", "mailops.mass_mailing.server", "mass")
    assert "plan.mass_priority" in [f["code"] for f in desk.json("server", "check", status=1)]
    desk("server", "plan", "two-class", "--transactional", "day", "--mass", "mass", "-y")
    assert "plan.mass_priority" not in [f["code"] for f in desk.json("server", "check")]
    assert [(s["key"], s["priority"]) for s in desk.json("server", "list")] == [("day", 1), ("mass", 2)]
    assert "plan.kind" in desk("server", "plan", "pigeon", status=2)


@pytest.mark.req("GEN-11", "OUT-22", "OUT-43", "OUT-41")
def test_mail_to_many_is_weighed_before_it_is_queued(desk: Desk, tmp_path: Path) -> None:
    desk("company", "domain", "acme.com")
    desk("server", "add", "g", "--host", "smtp.gmail.com", "--filter", "acme.com")
    people = [word for n in range(1_200) for word in ("--to", f"p{n}@x.example")]
    said = desk("send", "--mass", "--server", "g", "--from", "a@acme.com", "--text", "t", *people)
    assert said.index("Gmail") < said.index("is Outgoing")
    hosted = Desk(tmp_path / "o", hosting="online")
    told = hosted.json("send", "--batch", "--from", "a@company-name.odoo.com", "--text", "t", *people[:600])
    assert [f["code"] for f in told["findings"]] == ["campaign.quota"]
    assert told["mail_class"] == "mass"
    assert hosted.json("server", "usage") == {"sent": 0, "limit": 200, "remaining": 200, "reason": "The limit starts anew at 23:00 UTC."}  # fmt: skip


@pytest.mark.req("IN-33", "IN-34", "MJ-13")
def test_a_verification_harms_no_live_mail_and_is_reported_until_it_is_restored(
    desk: Desk, smtp: SmtpServer, tmp_path: Path
) -> None:
    desk("company", "domain", "acme.com")
    desk("server", "add", "s", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", "acme.com")  # fmt: skip
    with closing(desk.ops()) as ops:
        record = ops.threads.create_record("lead", "Order")
        ops.threads.follow(record, ops.threads.add_contact("Ben", "ben@x.example"))
        desk("domain", "senders", "acme.com", "--begin")
        posted = ops.threads.post(record, Entry("Hello", author_email="Ann <ann@acme.com>"))
        ops.queue.run()
        got = smtp.messages[-1]
        assert (head(got.data, "Reply-To").rpartition("<")[2], got.envelope_from) == (
            "catchall@acme.com>",
            "bounce@acme.com",
        )

        def raw(to: str, n: int, more: str = "", body: str = "Yes") -> bytes:
            return f"From: Mailjet <no-reply@mailjet.com>\r\nTo: {to}\r\nMessage-ID: <{n}@x.example>\r\nSubject: s\r\n{more}\r\n{body}\r\n".encode()

        assert ops.inbound.receive(raw("catchall@acme.com", 1, f"In-Reply-To: {posted.message_id}\r\n")).kind == "reply"
        for n, part in enumerate(("notifications", "bounce", "catchall"), start=2):
            assert (
                ops.inbound.receive(raw(f"{part}@acme.com", n, body=f"https://app.mailjet.com/v/{n}")).kind == "create"
            )
        report = raw("bounce@acme.com", 9, "Return-Path: <>\r\n", "550 5.1.1 ben@x.example: user unknown")
        report = report.replace(b"Mailjet <no-reply@mailjet.com>", b"MAILER-DAEMON@mx.test")
        assert ops.inbound.receive(report).kind == "bounce"
    assert "https://app.mailjet.com/v/3" in desk("domain", "senders", "acme.com")
    for words in (("server", "check"), ("doctor",)):
        assert "mailops domain senders acme.com --restore" in desk(*words, status=1 if words == ("doctor",) else 0)
    desk("domain", "senders", "acme.com", "--restore")
    assert "--restore" not in desk("server", "check")
    [domain] = desk.json("company", "list")["alias_domains"]
    assert (domain["bounce_alias"], domain["catchall_alias"]) == ("bounce", "catchall")
    assert desk.json("alias", "list") == []


@pytest.mark.req("IN-33", "MJ-13")
def test_two_domains_are_verified_at_once_and_each_shows_its_own(desk: Desk) -> None:
    for name in ("acme.com", "fjord.no"):
        desk("company", "domain", name)
    desk("company", "add", "fjord", "--name", "Fjord", "--email", "hei@fjord.no", "--domain", "fjord.no")
    desk("server", "add", "s", "--host", "127.0.0.1", "--port", "2525", "--encryption", "none", "--filter", "acme.com, fjord.no")  # fmt: skip
    with closing(desk.ops()) as ops:
        for name in ("acme.com", "fjord.no"):
            desk("domain", "senders", name, "--begin")
        for name in ("acme.com", "fjord.no"):
            raw = f"From: M <m@mailjet.com>\r\nTo: bounce@{name}\r\nMessage-ID: <1@{name}>\r\nSubject: Activate {name}\r\n\r\nhttps://app.mailjet.com/v/{name}\r\n"
            assert ops.inbound.receive(raw.encode()).kind == "create"
    for name, other in (("acme.com", "fjord.no"), ("fjord.no", "acme.com")):
        assert f"Activate {name}" in desk("domain", "senders", name)
        assert other not in desk("domain", "senders", name)
        told = desk.json(
            "explain", "send", "--from", f"a@{name}", *(["--company", "fjord"] if name == "fjord.no" else [])
        )
        assert "temp-" not in str(told)
    desk("domain", "senders", "fjord.no", "--restore")
    assert "temp-" not in str(desk.json("explain", "send", "--from", "a@acme.com")), "the other one goes on as before"
    assert "mailops domain senders acme.com --restore" in desk("server", "check")


@pytest.mark.req("QUE-01", "QUE-02", "QUE-03", "QUE-04", "QUE-05")
def test_a_red_envelope_is_looked_at_tried_again_and_ignored(desk: Desk) -> None:
    from mailops.testing import refuse

    with SmtpServer([refuse("*@gone.example", 550, "5.1.1", "No such user")]) as smtp:
        desk("company", "domain", "acme.com")
        desk("server", "add", "s", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", "acme.com")  # fmt: skip
        with closing(desk.ops()) as ops:
            record = ops.threads.create_record("lead", "Order")
            for who in ("a@gone.example", "b@gone.example", "c@x.example"):
                ops.threads.follow(record, ops.threads.add_contact(who, who))
            message = ops.threads.post(record, Entry("Hello", author_email="ann@acme.com")).id
            ops.queue.run()
        [red] = desk.json("envelope", "list")
        assert (red["message"], red["mark"]) == (message, "red")
        assert "See Error Details, a@gone.example" in desk("envelope", "show", str(message))
        page = Path(desk.json("run", "inbox")["report"]).read_text("utf-8")
        for label in ("See Error Details", "Send &amp; close", "Try Again", "Ignore all", "Email: Emails"):
            assert label in page, label
        after = desk.json("envelope", "send-and-close", str(message), "--try-again", "a@gone.example")
        assert sorted(x["state"] for x in after["lines"]) == ["canceled", "ready", "sent"]
        desk("queue", "run")
        assert desk.json("envelope", "show", str(message))["mark"] == "red"
        assert desk.json("envelope", "ignore-all", str(message))["mark"] == "white"
        assert desk.json("envelope", "list") == []
        assert "envelope.nobody" in desk("envelope", "send-and-close", str(message), status=2)


@pytest.mark.req("OUT-42")
def test_the_default_server_is_read_from_the_databases_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "sh", hosting="sh")
    desk("server", "add", "h", "--authentication", "cli", "--filter", "company-name.odoo.com")
    tasks = {t["id"]: t for t in desk.json("server", "readiness", status=1)["tasks"]}
    assert "configuration file" in tasks["server.configuration_file"]["text"]
    file = tmp_path / "odoo.conf"
    file.write_text("[options]\nsmtp_server = mx.acme.com\nsmtp_port = 465\nsmtp_ssl = True\nfrom_filter = acme.com\n")
    found = desk.json("server", "default", str(file))
    assert (found["host"], found["port"], found["encryption"], found["from_filter"]) == (
        "mx.acme.com",
        465,
        "tls",
        "acme.com",
    )
    assert '[default_server]\nhost = "mx.acme.com"\nport = 465' in desk("server", "default", str(file))
