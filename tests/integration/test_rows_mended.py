"""Rows that a hand audit found partly met, each from a face, with values of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from desk import Desk

import mailops
from mailops.guides.service import Guided, services_of
from mailops.model.verdict import VerdictState
from mailops.store import schema
from mailops.testing import DnsServer, SmtpServer
from mailops.threads.service import Entry
from mailops.widgets.setup_view import SetupView


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "w")


def server_at(desk: Desk, smtp: SmtpServer, *more: str) -> None:
    desk("server", "add", "day", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", *more)


@pytest.mark.req("IN-18", "ERR-04")
@pytest.mark.parametrize("body", ["", "   ", "zzz qqq", "Sorry.", "Guru meditation 77"])
@pytest.mark.parametrize("road", ["bounces take", "inbound receive"])
def test_a_report_nobody_can_interpret_says_no_error(
    desk: Desk, smtp: SmtpServer, tmp_path: Path, road: str, body: str
) -> None:
    desk("company", "domain", "shop.example")
    server_at(desk, smtp, "--filter", "shop.example")
    with closing(desk.ops()) as ops:
        record = ops.threads.create_record("lead", "Order")
        ops.threads.follow(record, ops.threads.add_contact("Ben", "ben@x.example"))
        posted = ops.threads.post(record, Entry("Hello", author_email="Eva <eva@shop.example>"))
        ops.queue.run()
    file = tmp_path / "report.eml"
    file.write_text(
        f"From: MAILER-DAEMON <mailer-daemon@mx.example>\r\nTo: bounce@shop.example\r\nReferences: {posted.message_id}\r\n"
        f"Message-ID: <r@mx.example>\r\nSubject: Undelivered\r\n\r\n{body}\r\n", newline=""
    )  # fmt: skip
    desk(*road.split(), str(file))
    [line] = desk.json("envelope", "show", "1")["lines"]
    assert (line["state"], line["reason"]) == ("bounce", "no error")
    assert (line["details"] or "") == body.strip()
    assert "no error" in desk("envelope", "show", "1")


@pytest.mark.req("OUT-51")
def test_a_complete_default_from_overwrites_every_from_but_where_a_server_is_set(desk: Desk, smtp: SmtpServer) -> None:
    desk("company", "domain", "shop.example")
    server_at(desk, smtp, "--filter", "shop.example")
    asked = desk("company", "domain", "shop.example", "--default-from", "all@post.example", status=2)
    assert "overwrites the From of all outgoing mail" in asked
    assert "only mail with a server set on it, and mass mail through a Dedicated Server" in asked
    desk("company", "domain", "shop.example", "--default-from", "all@post.example", "-y")
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>")
    assert told["from_after"] == '"Eva" <all@post.example>'
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--mass")
    assert told["from_after"] == '"Eva" <all@post.example>'  # no server is dedicated: mass mail is mail
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--server", "day")
    assert told["from_after"] == "Eva <eva@shop.example>"
    assert any("all@post.example does not count here" in warning for warning in told["warnings"])
    desk("company", "parameter", "mailops.mass_mailing.server", "day")
    told = desk.json("explain", "send", "--from", "Eva <eva@shop.example>", "--mass")
    assert told["from_after"] == "Eva <eva@shop.example>"
    assert any("Dedicated Server" in warning for warning in told["warnings"])


# --- guides -----------------------------------------------------------------------------------------------------------

AUTH = "authenticate"
DKIM = "k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB"


@pytest.mark.req("MJ-19", "MJ-12")
@pytest.mark.parametrize(
    ("published", "given", "state", "said"),
    [
        ({"shop.example": ["TXT v=spf1 include:spf.mailjet.com ?all"], "mailjet._domainkey.shop.example": [f"TXT {DKIM}"]},
         {"spf_record": "v=spf1 include:spf.mailjet.com ?all", "dkim_record": DKIM}, "passed", "published as pasted"),
        ({"shop.example": ["TXT v=spf1 include:_spf.own.example include:spf.mailjet.com -all"]},
         {"spf_record": '"v=spf1 include:spf.mailjet.com ?all"'}, "passed", "published as pasted"),
        ({"shop.example": ["TXT v=spf1 include:_spf.own.example -all"]},
         {"spf_record": "v=spf1 include:spf.mailjet.com ?all"}, "warning",
         "v=spf1 include:spf.mailjet.com include:_spf.own.example -all"),
        ({"shop.example": ["TXT something=else"]}, {"spf_record": "v=spf1 include:spf.mailjet.com ?all"}, "warning",
         "The SPF record is absent"),
        ({"shop.example": ["TXT x=y"], "mailjet._domainkey.shop.example": ["TXT k=rsa; p=OTHER"]}, {"dkim_record": DKIM},
         "warning", "The DKIM record is different"),
        ({"shop.example": ["TXT x=y"]}, {"dkim_host": "mj2._domainkey.shop.example", "dkim_record": DKIM}, "warning",
         "Publish TXT mj2._domainkey.shop.example"),
    ],
)  # fmt: skip
def test_the_records_that_mailjet_lists_are_pasted_and_looked_up(
    tmp_path: Path, published: dict[str, list[str]], given: dict[str, str], state: str, said: str
) -> None:
    zone = {"example": ["SOA ns.example. h.example. 1 3600 600 86400 120"], **published}
    with DnsServer(zone) as server:
        where = f"{server.address[0]}:{server.address[1]}"
        desk = Desk(tmp_path / "w", toml=f'\n[dns]\nresolvers = ["{where}"]\ntimeout = 1.0\n')
        with closing(desk.ops()) as ops:
            services = replace(services_of(ops), mailjet=None)  # nothing is asked of Mailjet itself
            guided = Guided.open(ops, "mailjet", "shop.example", services=services)
            guided.submit("settings", {})
            guided.submit("keys", {"api_key": "a" * 32, "secret_key": "b" * 32})
            guided.submit("senders", {"sender_way": "domain", "domain": "shop.example", "senders": "a@shop.example"})
            guided.submit(AUTH, given)
            verdict = guided.check(AUTH)
    assert verdict.state == state
    assert said in f"{verdict.found} {verdict.fix}"
    [step] = [s for s in desk.json("connect", "guide", "mailjet", "--for", "shop.example")["steps"] if s["id"] == AUTH]
    assert set(step["inputs"]) == {"spf_record", "dkim_host", "dkim_record"}
    assert step["state"] == state


@pytest.mark.req("GO-30")
@pytest.mark.parametrize("seen", [
    "HTTP 403 on /google_gmail/confirm",
    "Forbidden: you don't have the permission to access the requested resource",
])  # fmt: skip
def test_forbidden_at_google_names_the_module_and_the_installed_version(desk: Desk, seen: str) -> None:
    with closing(desk.ops()) as ops:
        guided = Guided.open(ops, "google", "eva@shop.example")
        [branch] = [b for b in guided.branches(seen) if b.code == "guide.google-forbidden"]
        told = "\n".join(branch.do)
        assert "*Apps*: clear the search, search `Gmail` or `Google`, three dots on *Google Gmail*, *Upgrade*." in told
        assert f"mailops {mailops.__version__}" in told
        assert "version not noted" in told
        with closing(ops.engine.connect()):
            guided.run.store.save("provider", {"module_version": "17.0.1.3"}, VerdictState.PASSED, version=0)
        assert "*Google Gmail* 17.0.1.3" in "\n".join(guided.branches(seen)[0].do)
    told = desk("explain", "error", seen, "--provider", "google")
    assert "Google Gmail, Upgrade" in told
    assert "google-forbidden" in told


@pytest.mark.req("AZ-22", "GO-21", "AZ-23", "GO-22")
@pytest.mark.parametrize(
    ("guide", "provider", "other"), [("azure", "outlook", "gmail"), ("google", "gmail", "outlook")]
)
def test_a_provider_that_is_off_hides_its_sign_in(desk: Desk, guide: str, provider: str, other: str) -> None:
    login = "eva@shop.example"
    add = (
        "server",
        "add",
        "box",
        "--host",
        "127.0.0.1",
        "--authentication",
        "oauth",
        "--provider",
        provider,
        "--login",
        login,
    )
    with closing(desk.ops()) as ops:
        assert f"oauth:{provider}" in ops.sign_in_options
        guided = Guided.open(ops, guide, login)
        later = ["custom_servers", "credentials", "server", "connect", "test"]
        steps = [step for step in later if step in {v.step.id for v in guided.run.view()}]
        guided.run.store.save("provider", {"provider_on": "no"}, VerdictState.PASSED, version=0)
        states = {v.step.id: v.state for v in guided.run.view()}
        assert {states[step] for step in steps} == {VerdictState.SKIPPED}
        assert f"oauth:{provider}" not in ops.sign_in_options
        assert f"oauth:{other}" in ops.sign_in_options
        [form] = [c for c in SetupView(ops, dns=False).servers.cards if "Authenticate with:" in getattr(c, "title", "")]
        assert f"oauth:{provider}" not in form.title
        assert f"oauth:{other}" in form.title
    told = desk(*add, status=2)
    assert "server.provider_off" in told
    assert f"mailops connect guide {guide} --reopen provider" in told
    desk(
        "server",
        "add",
        "box",
        "--host",
        "127.0.0.1",
        "--authentication",
        "oauth",
        "--provider",
        other,
        "--login",
        login,
    )
    with closing(desk.ops()) as ops:  # on again, and only the tick is missing: still no credentials
        guided = Guided.open(ops, guide, login)
        guided.run.store.save("provider", {"provider_on": "yes"}, VerdictState.PASSED, version=1)
        step = "custom_servers" if guide == "azure" else "credentials"
        guided.run.store.save(step, {"custom_servers": "no"}, VerdictState.PASSED, version=0)
        states = {v.step.id: v.state for v in guided.run.view()}
        assert {states[one] for one in steps if one != step} == {VerdictState.SKIPPED}
    desk("server", "remove", "box")
    desk(*add)


def test_a_step_of_a_guide_is_opened_again_with_its_answers(desk: Desk) -> None:
    with closing(desk.ops()) as ops:
        guided = Guided.open(ops, "google", "eva@shop.example")
        guided.run.store.save("provider", {"module_version": "17.0.1.3"}, VerdictState.PASSED, version=0)
    where = ("connect", "guide", "google", "--for", "eva@shop.example")
    state = {s["id"]: (s["state"], s["inputs"]) for s in desk.json(*where)["steps"]}["provider"]
    assert state[0] != "ready"
    desk(*where, "--reopen", "provider")
    with closing(desk.ops()) as ops:
        stored = Guided.open(ops, "google", "eva@shop.example").run.store.load()["provider"]
    assert (stored.state, stored.answers) == (VerdictState.READY, {"module_version": "17.0.1.3"})


@pytest.mark.req("OUT-21")
def test_all_six_sources_of_senders_are_listed_with_what_the_filter_covers(desk: Desk, smtp: SmtpServer) -> None:
    desk("company", "domain", "shop.example", "--bounce", "back", "--default-from", "hello")
    server_at(desk, smtp, "--filter", "shop.example, news@letters.example")
    desk("server", "readiness", "--admin", "chef@shop.example", "--no-dns", status=1)
    desk(
        "send",
        "--mass",
        "--from",
        "News <news@letters.example>",
        "--to",
        "b@x.example",
        "--subject",
        "s",
        "--text",
        "t",
    )
    found = desk.json(
        "server", "senders", "day", "--campaign", "Offers <offers@other.example>", "--template", "orders@shop.example",
        "--template", "hello@shop.example",
    )  # fmt: skip
    assert {(s["address"], tuple(s["sources"]), s["covered"]) for s in found} == {
        ("back@shop.example", ("bounce alias",), True),
        ("hello@shop.example", ("default from", "template"), True),
        ("chef@shop.example", ("administrator",), True),
        ("odoobot@company-name.odoo.com", ("OdooBot",), False),
        ("offers@other.example", ("campaign",), False),
        ("news@letters.example", ("campaign",), True),
        ("orders@shop.example", ("template",), True),
    }
    told = desk("server", "senders", "day")
    assert "not covered" in told
    with closing(desk.ops()) as ops:
        assert "news@letters.example" in SetupView(ops, dns=False).senders.html()


@pytest.mark.req("QUE-06")
def test_the_queue_shows_status_age_server_and_reason(desk: Desk, smtp: SmtpServer) -> None:
    server_at(desk, smtp)
    desk(
        "send", "--from", "eva@shop.example", "--to", "a@x.example", "--subject", "s", "--text", "t", "--server", "day"
    )
    told = desk("queue", "list")
    head = re.sub(r"\s+", " ", told.splitlines()[0]).strip()
    assert head == "Id State Age From To Subject Server Reason"
    assert "0 minutes" in told
    with closing(desk.ops()) as ops, ops.engine.begin() as connection:
        then = ops.clock.now() - timedelta(days=1, hours=3)
        connection.execute(sa.update(schema.mails).values(created_at=then))
    assert "1 day" in desk("queue", "list")
    assert "Settings → Technical → Email: Emails" in " ".join(desk("queue", "list", "--help").split())


@pytest.mark.req("MJ-10")
@pytest.mark.parametrize("way", ["alias domain", "parameter"])
def test_mailjet_asks_for_the_three_addresses_of_the_workspaces_domain(desk: Desk, way: str) -> None:
    if way == "alias domain":
        desk("company", "domain", "shop.example")
    else:
        desk("company", "parameter", "mail.catchall.domain", "shop.example")
    three = "notifications@shop.example, bounce@shop.example, catchall@shop.example"
    steps = {s["id"]: s for s in desk.json("connect", "guide", "mailjet")["steps"]}
    assert steps["addresses"]["do"][0] == f"*Add a sender address* for each of: {three}."
    assert steps["senders"]["inputs"]["domain"] == "shop.example"
    assert "other.example" in str(desk.json("connect", "guide", "mailjet", "--for", "other.example")["steps"])
