"""Change means change: what is not named stays, what changed is said, and what touches mail already out is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from desk import Desk, head, peer

from mailops.errors import MailopsError
from mailops.testing import SmtpServer
from mailops.threads.service import Entry


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "w")


def test_a_server_keeps_what_is_not_named(desk: Desk) -> None:
    desk("server", "add", "s", "--host", "smtp.gmail.com", "--port", "465", "--encryption", "tls", "--authentication",
         "login", "--login", "a@acme.com", "--password", "env:X", "--filter", "a@acme.com")  # fmt: skip
    before = desk.json("server", "list")[0]
    assert before["provider"] == "gmail"
    assert "Changed priority: 10 → 3." in desk("server", "add", "s", "--priority", "3")
    assert desk.json("server", "list")[0] == {**before, "priority": 3}
    told = desk.json("server", "add", "s", "--filter", "", "--inactive")
    assert set(told["changed"]) == {"FROM Filtering: a@acme.com → (empty)", "active: True → False"}
    desk("server", "add", "s", "--active", "--filter", "a@acme.com")
    assert desk.json("server", "list")[0] == {**before, "priority": 3}
    assert desk.json("server", "add", "s", "--host", "in-v3.mailjet.com")["provider"] == "mailjet"


def test_a_company_keeps_what_is_not_named(desk: Desk) -> None:
    for name in ("one.com", "two.com"):
        desk("company", "domain", name)
    desk("company", "add", "two", "--name", "Two Ltd", "--domain", "two.com")
    assert "Changed email: (empty) → info@two.com." in desk("company", "add", "two", "--email", "info@two.com")
    [company] = desk.json("company", "list")["companies"]
    assert (company["name"], company["email"], company["alias_domain"]["name"]) == (
        "Two Ltd",
        "info@two.com",
        "two.com",
    )


@pytest.mark.req("OUT-49", "IN-12", "IN-13")
def test_an_alias_domain_keeps_its_names_and_asks_before_one_changes(desk: Desk, smtp: SmtpServer) -> None:
    desk("company", "domain", "acme.com", "--bounce", "b2", "--catchall", "replies", "--default-from", "hello")
    desk("company", "add", "acme", "--email", "info@acme.com", "--domain", "acme.com")
    desk("server", "add", "s", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", "acme.com")  # fmt: skip
    assert "Changed sequence: 10 → 3." in desk("company", "domain", "acme.com", "--sequence", "3")
    with closing(desk.ops()) as ops:
        record = ops.threads.create_record("lead", "Order")
        ops.threads.follow(record, ops.threads.add_contact("Ben", "ben@x.example"))
        posted = ops.threads.post(record, Entry("Hello", author_email="Ann <ann@acme.com>"))
        ops.queue.run()
    assert head(smtp.messages[-1].data, "Reply-To").endswith("<replies@acme.com>")
    refused = desk("company", "domain", "acme.com", "--catchall", "reply", status=2)
    assert "Catchall Alias: replies@acme.com becomes reply@acme.com. 1 sent mail still points at" in refused
    assert "generally not recommended" in refused
    [domain] = desk.json("company", "list")["alias_domains"]
    assert domain["catchall_alias"] == "replies"
    assert "Changed Catchall Alias: replies → reply." in desk(
        "company", "domain", "acme.com", "--catchall", "reply", "-y"
    )
    [domain] = desk.json("company", "list")["alias_domains"]
    assert (domain["bounce_alias"], domain["catchall_alias"], domain["default_from"]) == ("b2", "reply", "hello")
    # the old name is still read: the answer finds its thread, and a stranger is told where to write
    with closing(desk.ops()) as ops:
        raw = "From: Ben <ben@x.example>\r\nTo: {}\r\nMessage-ID: <{}@x.example>\r\n{}\r\nYes\r\n"
        answer = raw.format("replies@acme.com", "1", f"In-Reply-To: {posted.message_id}\r\n").encode()
        assert ops.inbound.receive(answer).kind == "reply"
        assert ops.inbound.receive(raw.format("replies@acme.com", "2", "").encode()).code == "catchall"
        desk("company", "domain", "acme.com", "--bounce", "b3", "--yes")
        report = raw.format("b2@acme.com", "3", "Return-Path: <>\r\n").encode()
        assert ops.inbound.receive(report).kind == "bounce"
        assert ops.bounces.take(report.replace(b"<3@", b"<4@")).kind != "ordinary"


@pytest.mark.req("OUT-55", "OUT-51")
def test_a_complete_default_from_warns_before_it_is_saved(desk: Desk) -> None:
    desk("company", "domain", "acme.com")
    refused = desk("company", "domain", "acme.com", "--default-from", "one@corp.com", status=2)
    assert "overwrites the From of all outgoing mail" in refused
    assert desk.json("company", "list")["alias_domains"][0]["default_from"] == "notifications"
    desk("company", "domain", "acme.com", "--default-from", "one@corp.com", "--yes")
    assert desk.json("company", "list")["alias_domains"][0]["default_from"] == "one@corp.com"


@pytest.mark.req("OUT-12", "OUT-50")
@pytest.mark.parametrize(
    "words",
    [
        ("http://acme4.com",), ("@acme3.com",), ("ann@acme5.com",), ("",), ("acme",),
        ("l.com", "--catchall", "catch all"), ("l.com", "--catchall", "catchall@l.com"), ("l.com", "--bounce", "catchall"),
        ("l.com", "--default-from", "it@"), ("l.com", "--default-from", "two words"),
        ("l.com", "--default-from", "a@b@c.com"), ("l.com", "--default-from", "Ann <ann@x.com>"),
        ("l.com", "--default-from", "catchall@l.com"),
    ],
)  # fmt: skip
def test_names_are_checked_before_they_are_stored(desk: Desk, words: tuple[str, ...]) -> None:
    assert "domain." in desk("company", "domain", *words, "--yes", status=2)
    assert desk.json("company", "list")["alias_domains"] == []


@pytest.mark.req("OUT-16", "OUT-46")
def test_a_server_that_cannot_work_here_is_refused_when_it_is_saved_and_when_it_sends(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "o", hosting="online", toml=peer(25))
    assert "465, 587 or 2525" in desk("server", "add", "p", "--host", "mx.acme.com", "--port", "25", status=2)
    assert "DNS cannot be changed" in desk("server", "add", "x", "--host", "mx.acme.com", "--filter", "company-name.odoo.com", status=2)  # fmt: skip
    assert desk.json("server", "list") == []
    assert "server.port_blocked" in [f["code"] for f in desk.json("server", "check", status=1)]  # of the default server
    desk("server", "add", "x", "--host", "mx.acme.com", "--filter", "acme.com")
    for more in ((), ("--server", "x")):
        told = desk("explain", "send", "--from", "ann@company-name.odoo.com", *more, status=2)
        assert "whose DNS cannot be changed" in told
    mail = desk.json("send", "--from", "a@company-name.odoo.com", "--to", "b@x.example", "--text", "t", "--urgent")
    assert (mail["state"], "DNS cannot be changed" in mail["failure_reason"]) == ("failed", True)


@pytest.mark.req("OUT-25")
def test_the_dedicated_server_is_a_known_one_and_cannot_go(desk: Desk) -> None:
    assert "Dedicated Server" in desk("company", "parameter", "mailops.mass_mailing.server", "nosuch", status=2)
    desk("server", "add", "m", "--host", "mx.acme.com", "--filter", "acme.com")
    desk("company", "parameter", "mailops.mass_mailing.server", "m")
    assert "Dedicated Server" in desk("server", "remove", "m", status=2)
    assert "Dedicated Server" in desk("server", "add", "m", "--inactive", status=2)
    desk("company", "parameter", "mailops.mass_mailing.server")
    desk("server", "remove", "m")


@pytest.mark.req("OUT-05", "AZ-31", "IN-16")
def test_what_has_no_effect_says_so_at_once_and_in_the_check(desk: Desk, tmp_path: Path) -> None:
    desk("company", "domain", "acme.com")
    said = desk("company", "parameter", "mail.default.from", "info")
    assert "mail.default.from = info has no effect: the alias domain acme.com says notifications@acme.com" in said
    desk("server", "add", "s", "--host", "mx.acme.com", "--filter", "acme.com")
    assert "no effect" in desk("company", "parameter", "mail.default.from_filter", "acme.com")
    assert "no effect" in desk("server", "add", "s", "--login", "somebody")
    found = [f["facts"].get("subject") for f in desk.json("server", "check") if f["code"] == "setup.no_effect"]
    assert sorted(found) == ["mail.default.from", "mail.default.from_filter", "server:s"]
    desk("company", "parameter", "mail.default.from", "notifications")
    desk("company", "parameter", "mail.default.from_filter")
    desk("server", "add", "s", "--login", "")
    assert not [f for f in desk.json("server", "check") if f["code"] == "setup.no_effect"]
    hosted = Desk(tmp_path / "o", hosting="online")
    assert "forces the return path" in hosted("company", "domain", "acme.com", "--bounce", "oops")


@pytest.mark.req("AZ-08")
def test_a_change_of_the_base_url_is_asked(desk: Desk) -> None:
    desk("company", "parameter", "web.base.url", "https://mail.acme.com")
    assert "redirect addresses" in desk("company", "parameter", "web.base.url", "https://x.acme.com", status=2)
    assert desk.json("company", "list")["parameters"]["web.base.url"] == "https://mail.acme.com"
    desk("company", "parameter", "web.base.url", "https://x.acme.com", "--yes")


# --- explain the very mail --------------------------------------------------------------------------------------------


@pytest.mark.req("OUT-36")
def test_a_mail_is_explained_with_its_company_class_and_server(desk: Desk, smtp: SmtpServer) -> None:
    for n, name in (("1", "one.com"), ("2", "two.com")):
        desk("company", "domain", name)
        desk("company", "add", f"c{n}", "--domain", name)
        desk("server", "add", f"d{n}", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", name, "--priority", n)  # fmt: skip
    desk("company", "parameter", "mailops.mass_mailing.server", "d2")
    plain = ("send", "--from", "x@other.com", "--to", "b@x.example", "--text", "t", "--urgent")
    for more in (("--company", "c2"), ("--company", "c2", "--server", "d2"), ("--company", "c1", "--mass"), ()):
        mail = desk.json(*plain, *more)["id"]
        told, got = desk.json("explain", "send", "--mail", str(mail)), smtp.messages[-1]
        assert told["envelope_from"] == got.envelope_from
        assert head(got.data, "From").replace('"', "") == told["from_after"].replace('"', "")
        assert told["server"] == ("d2" if more else "d1")
        assert (told["company"], told["changed"]) == (more[1] if more else "c1", False)
    desk("company", "domain", "two.com", "--default-from", "hi", "--yes")
    told = desk.json("explain", "send", "--mail", "1")
    assert (told["from_after"], told["today"]["from_after"]) == ('"x" <notifications@two.com>', '"x" <hi@two.com>')
    assert told["changed"]
    assert "no effect" in desk("explain", "send", "--mail", "1", "--from", "a@b.c", status=2)
    assert desk.json("explain", "send", "--from", "x@other.com", "--mass")["server"] == "d2"


@pytest.mark.req("AZ-34", "AZ-30")
def test_a_plan_changes_no_server_that_is_not_its_own(desk: Desk) -> None:
    desk("server", "add", "notifications", "--host", "mx.shop.example", "--filter", "shop.example", "--priority", "3")
    desk("server", "add", "outlook", "--host", "smtp.outlook.com", "--authentication", "oauth", "--login", "box@shop.example",
         "--ca-file", "/etc/ca.pem", "--priority", "7", "--name", "Our box")  # fmt: skip
    before = {s["key"]: s for s in desk.json("server", "list")}
    plan = ("server", "plan", "per-user", "--mailbox", "box@shop.example", "--user", "eva@shop.example")
    assert {s["key"] for s in desk.json(*plan)["servers"]} == {"user-1", "outlook"}
    desk(*plan, "-y")
    desk("server", "plan", "single", "--mailbox", "other@shop.example", "-y")
    after = {s["key"]: s for s in desk.json("server", "list")}
    assert after["notifications"] == before["notifications"]
    assert after["outlook"] == {**before["outlook"], "from_filter": "box@shop.example", "mail_class": "transactional"}
    assert (after["user-1"]["login"], after["outlook-2"]["login"]) == ("eva@shop.example", "other@shop.example")


@pytest.mark.parametrize("host", ["not a host", "http://mx.acme.com", "mx.acme.com:25", "", "mx acme", "-x.acme.com"])
def test_a_host_is_checked_before_it_is_stored(desk: Desk, host: str) -> None:
    assert "server.host" in desk("server", "add", "s", f"--host={host}", status=2)
    assert desk.json("server", "list") == []
    for good in ("mx.acme.com", "192.0.2.1", "2001:db8::1", "localhost", "müller.example"):
        desk("server", "add", "s", "--host", good)


def test_an_empty_field_of_a_form_changes_nothing(desk: Desk) -> None:
    from mailops.widgets.form import Form
    from mailops.widgets.setup_view import SetupView

    desk("company", "domain", "shop.example", "--bounce", "b2")
    desk(
        "server", "add", "m", "--host", "mx.shop.example", "--filter", "shop.example", "--login", "u", "--priority", "4"
    )
    desk("company", "parameter", "mailops.mass_mailing.server", "m")
    desk("company", "parameter", "mail.catchall.domain.allowed", "a.example")
    with closing(desk.ops()) as ops:
        view = SetupView(ops, dns=False)
        forms = [card for panel in (view.companies, view.domains, view.servers, view.parameters, view.aliases)
                 for card in panel.cards if isinstance(card, Form) and not card.title.startswith("Model")] + [view.plans]  # fmt: skip
        before = ops.setup
        for form in forms:
            for named in ({}, {"key": "mail.catchall.domain.allowed"}, {"name": "shop.example"}, {"key": "m"}):
                with suppress(MailopsError):
                    form._submit({name: named.get(name, "") for name, *_ in form.fields})
        after = ops.setup
        assert after.servers == before.servers
        assert after.alias_domains == before.alias_domains
        assert after.parameters == before.parameters
        form = next(f for f in forms if f.title.startswith("Parameter"))
        assert "is a.example. Nothing was changed" in form._submit(
            {"key": "mail.catchall.domain.allowed", "value": "", "yes": ""}
        )
        form._submit({"key": "mail.catchall.domain.allowed", "value": "", "yes": "yes"})
        assert "mail.catchall.domain.allowed" not in ops.setup.parameters
