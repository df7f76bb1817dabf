"""One effective set-up: whoever asks hears the same addresses, by the command line, Ops, the wire and the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk, head, peer

from mailops.testing import SmtpServer
from mailops.threads.service import Entry

HOSTED = "company-name.odoo.com"


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def mail(
    to: str, *, sender: str = "Mary <mary@customer.example.com>", answers: str = "", more: str = "", n: int = 1
) -> bytes:
    reply = f"In-Reply-To: {answers}\r\nReferences: {answers}\r\n" if answers else ""
    return (
        f"From: {sender}\r\nTo: {to}\r\nSubject: Hello\r\nMessage-ID: <m{n}@customer.example.com>\r\n{reply}{more}"
        "\r\nGood day\r\n"
    ).encode()


@pytest.mark.req("GEN-03", "OUT-02", "OUT-03")
@pytest.mark.parametrize("hosting", ["online", "sh"])
def test_a_hosted_database_speaks_as_its_subdomain(tmp_path: Path, smtp: SmtpServer, hosting: str) -> None:
    desk = Desk(tmp_path / "w", hosting=hosting, toml=peer(smtp.port))
    told = desk.json("explain", "send", "--from", "Ann <ann@gmail.example>")
    assert told["from_after"] == f'"Ann" <notifications@{HOSTED}>'
    assert told["notification_address"] == f"notifications@{HOSTED}"
    desk(
        "send", "--from", "Ann <ann@gmail.example>", "--to", "b@x.example", "--subject", "s", "--text", "t", "--urgent"
    )
    got = smtp.messages[-1]
    assert head(got.data, "From") == f'"Ann" <notifications@{HOSTED}>'
    assert head(got.data, "Reply-To") == '"Ann" <ann@gmail.example>'
    assert got.envelope_from == f"bounce@{HOSTED}"
    desk("send", "--to", "b@x.example", "--subject", "s", "--text", "t", "--urgent")
    got = smtp.messages[-1]
    assert (head(got.data, "From"), head(got.data, "Reply-To")) == (f"notifications@{HOSTED}", f"catchall@{HOSTED}")
    assert got.envelope_from == f"bounce@{HOSTED}"
    ready = desk.json("server", "readiness")["addresses"]
    assert ready == {n: f"{a}@{HOSTED}" for n, a in (("notification", "notifications"), ("reply_to", "catchall"), ("bounce", "bounce"))}  # fmt: skip


@pytest.mark.req("OUT-03", "OUT-04")
def test_the_filter_of_the_default_server_is_the_hosted_domain_until_the_parameter_says_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w", hosting="online")
    assert desk.json("explain", "send", "--from", f"x@{HOSTED}")["rewritten"] is False
    assert desk.json("explain", "send", "--from", "x@acme.com")["from_after"] == f'"x" <notifications@{HOSTED}>'
    desk("company", "parameter", "mail.default.from_filter", "acme.com, boss@other.com")
    assert desk.json("explain", "send", "--from", "x@acme.com")["rewritten"] is False
    assert desk.json("explain", "send", "--from", "boss@other.com")["rewritten"] is False
    assert desk.json("explain", "send", "--from", "joe@other.com")["from_after"] == f'"joe" <notifications@{HOSTED}>'


@pytest.mark.req("OUT-47", "IN-21")
def test_every_company_without_a_domain_has_the_hosted_one_and_may_have_its_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w", hosting="online")
    assert [d["name"] for d in desk.json("company", "list")["alias_domains"]] == [HOSTED]
    desk("company", "add", "one", "--name", "One")
    desk("company", "add", "two", "--name", "Two")
    listed = desk.json("company", "list")["companies"]
    assert [c["alias_domain"]["name"] for c in listed] == [HOSTED, HOSTED]
    desk("company", "domain", "two.example")
    desk("company", "add", "two", "--domain", "two.example")
    desk("company", "add", "one", "--domain", HOSTED)
    for company, domain in (("one", HOSTED), ("two", "two.example")):
        told = desk.json("explain", "send", "--from", "a@b.example", "--company", company)
        assert told["from_after"] == f'"a" <notifications@{domain}>'


@pytest.mark.req("OUT-08")
def test_an_own_domain_speaks_through_the_hosted_server(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = Desk(tmp_path / "w", hosting="sh", toml=peer(smtp.port))
    desk("company", "domain", "acme.com")
    desk(
        "send", "--from", "Ann <ann@gmail.example>", "--to", "b@x.example", "--subject", "s", "--text", "t", "--urgent"
    )
    got = smtp.messages[-1]
    assert (head(got.data, "From"), got.envelope_from) == ('"Ann" <notifications@acme.com>', "bounce@acme.com")
    assert head(got.data, "Reply-To") == '"Ann" <ann@gmail.example>'


@pytest.mark.req("OUT-06", "IN-21", "FAQ-05")
@pytest.mark.parametrize("local", ["catchall", "bounce", "notifications"])
@pytest.mark.parametrize("own", [False, True])
def test_technical_addresses_never_make_a_record(tmp_path: Path, local: str, own: bool) -> None:
    desk = Desk(tmp_path / "w", hosting="online")
    if own:
        desk("company", "domain", "acme.com")
    desk("alias", "add", "info", "lead", "--any-domain")
    file = tmp_path / "mail.eml"
    for n, domain in enumerate([HOSTED, *(["acme.com"] if own else [])]):
        file.write_bytes(mail(f"{local}@{domain}", n=n))
        desk("inbound", "receive", str(file), "--model", "lead")
    file.write_bytes(mail("info@company-name.odoo.com", n=9))
    desk("inbound", "receive", str(file))
    with closing(desk.ops()) as ops:
        lines, _ = ops.inbound.log()
        assert [line.decision for line in lines if line.decision == "create"] == ["create"]  # that of info@ alone
        notices = [line.answer for line in lines if line.code == "catchall"]
        assert (local != "catchall") or all(str(a).startswith("catchall notice") for a in notices)


@pytest.mark.req("IN-02", "IN-05", "IN-21", "IN-25", "GEN-15", "OUT-07")
def test_an_alias_on_the_hosted_domain_works_as_soon_as_it_is_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w", hosting="online")
    assert desk.json("alias", "add", "info", "--model", "lead")["domain"] == HOSTED
    file = tmp_path / "mail.eml"
    file.write_bytes(mail(f"info@{HOSTED}"))
    [told] = desk.json("inbound", "receive", str(file))
    assert told["decision"] == "create"
    assert [(r["model"], r["alias"]) for r in told["routes"]] == [("lead", f"info@{HOSTED}")]
    assert [d["name"] for d in desk.json("company", "list")["alias_domains"]] == [HOSTED]
    desk("company", "domain", "acme.com")
    desk("company", "add", "one")
    assert desk.json("company", "list")["companies"][0]["alias_domain"]["name"] == "acme.com"


@pytest.mark.req("OUT-53", "OUT-54", "GEN-13", "IN-07", "IN-06")
def test_a_customers_reply_is_relayed_as_the_notification_address(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = Desk(tmp_path / "w", hosting="online", toml=peer(smtp.port))
    with closing(desk.ops()) as ops:
        record = ops.threads.create_record("lead", "Order 7")
        ben = ops.threads.add_contact("Ben", f"ben@{HOSTED}", is_user=True)
        mary = ops.threads.add_contact("Mary", "mary@customer.example.com")
        for who in (ben, mary):
            ops.threads.follow(record, who)
        posted = ops.threads.post(record, Entry("Hello", author=ben))
        ops.queue.run()
        assert head(smtp.messages[-1].data, "Reply-To").endswith(f"<catchall@{HOSTED}>")
        decision = ops.inbound.receive(mail(f"catchall@{HOSTED}", answers=posted.message_id))
        assert decision.kind == "reply"
        ops.queue.run()
    got = smtp.messages[-1]
    assert got.recipients == (f"ben@{HOSTED}",)
    assert head(got.data, "From") == f'"Mary" <notifications@{HOSTED}>'
    assert head(got.data, "Reply-To").endswith(f"<catchall@{HOSTED}>")
    assert got.envelope_from == f"bounce@{HOSTED}"


@pytest.mark.req("IN-11", "IN-10")
def test_the_notice_names_the_company_that_was_written_to(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = Desk(tmp_path / "w", toml=peer(smtp.port))
    for key in ("main", "two"):
        desk("company", "domain", f"{key}.example")
        desk("company", "add", key, "--email", f"hello@{key}.example", "--domain", f"{key}.example")
    with closing(desk.ops()) as ops:
        [notice] = ops.inbound.receive(mail("catchall@two.example")).notices
        assert "two at hello@two.example" in notice.text
        assert notice.sender.endswith("<bounce@two.example>")
        assert notice.reply_to == "hello@two.example"
        [notice] = ops.inbound.receive(mail("catchall@main.example", n=2)).notices
        assert "hello@main.example" in notice.text


# --- replies are never lost -------------------------------------------------------------------------------------------


def through_filter(tmp_path: Path, smtp: SmtpServer) -> Desk:
    desk = Desk(tmp_path / "w")
    desk("company", "domain", "acme.com")
    desk("company", "add", "acme", "--email", "info@acme.com", "--domain", "acme.com")
    desk("server", "add", "out", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none", "--filter", "acme.com")  # fmt: skip
    return desk


@pytest.mark.req("FAQ-04", "OUT-02", "OUT-08")
@pytest.mark.parametrize("way", ["fields", "raw", "ops", "own"])
def test_an_answer_to_a_rewritten_sender_reaches_the_author(tmp_path: Path, smtp: SmtpServer, way: str) -> None:
    desk = through_filter(tmp_path, smtp)
    letter = b"From: Joe <joe@partner.example>\r\nTo: cust@x.example\r\nSubject: s\r\n%s\r\nText\r\n"
    if way == "fields":
        desk("send", "--from", "Joe <joe@partner.example>", "--to", "cust@x.example", "--subject", "s", "--text", "t", "--urgent")  # fmt: skip
    elif way == "ops":
        with closing(desk.ops()) as ops:
            ops.send(sender="Joe <joe@partner.example>", to="cust@x.example", subject="s", text="t", urgent=True)
    else:
        own = b"Reply-To: desk@partner.example\r\n" if way == "own" else b""
        (tmp_path / "raw.eml").write_bytes(letter % own)
        desk("send", "--raw", str(tmp_path / "raw.eml"), "--urgent")
    got = smtp.messages[-1]
    assert head(got.data, "From").endswith("<notifications@acme.com>")
    assert head(got.data, "Reply-To").endswith("desk@partner.example" if way == "own" else "<joe@partner.example>")
    (tmp_path / "answer.eml").write_bytes(mail("notifications@acme.com", answers=head(got.data, "Message-ID")))
    [told] = desk.json("inbound", "receive", str(tmp_path / "answer.eml"), "--model", "lead")
    assert told["decision"] == "forwarded"
    [told] = desk.json("inbound", "receive", str(tmp_path / "answer.eml"))
    assert told["decision"] == "duplicate"
    desk("queue", "run")
    got = smtp.messages[-1]
    assert got.recipients == ("joe@partner.example",)
    assert b"Good day" in got.data
    assert head(got.data, "Reply-To").endswith("<mary@customer.example.com>")


@pytest.mark.req("FAQ-04")
def test_an_answer_to_a_mail_that_is_gone_is_passed_on_too(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = through_filter(tmp_path, smtp)
    with closing(desk.ops()) as ops:
        ops.send(sender="joe@partner.example", to="c@x.example", subject="s", text="t", urgent=True, auto_delete=True)
        assert ops.queue.page().total == 0
        decision = ops.inbound.receive(mail("catchall@acme.com", answers=head(smtp.messages[-1].data, "Message-ID")))
    assert (decision.kind, decision.forward_to) == ("forwarded", "joe@partner.example")


@pytest.mark.req("FAQ-04", "IN-10")
def test_an_answer_to_a_mail_nobody_wrote_is_answered(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = through_filter(tmp_path, smtp)
    with closing(desk.ops()) as ops:
        ops.send(to="c@x.example", subject="s", text="t", urgent=True)
        got = smtp.messages[-1]
        assert head(got.data, "Reply-To") == "catchall@acme.com"
        decision = ops.inbound.receive(mail("notifications@acme.com", answers=head(got.data, "Message-ID")))
    assert decision.kind == "refused"
    assert "info@acme.com" in decision.notices[0].text


@pytest.mark.req("GEN-14")
def test_the_default_server_may_be_named_on_the_command_line(
    tmp_path: Path, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOST", "PORT"):  # what the command sets is taken back after the test
        monkeypatch.setenv(f"MAILOPS_DEFAULT_SERVER__{name}", "")
    desk = Desk(tmp_path / "w", hosting="online")
    options = ("--smtp-server", "127.0.0.1", "--smtp-port", str(smtp.port))
    desk(*options, "send", "--from", f"x@{HOSTED}", "--to", "b@x.example", "--text", "t", "--urgent")
    assert smtp.messages[-1].envelope_from == f"bounce@{HOSTED}"


@pytest.mark.req("IN-05", "OUT-02", "GEN-12")
def test_a_post_without_an_author_leaves_as_the_notification_address(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = Desk(tmp_path / "w", hosting="online", toml=peer(smtp.port))
    desk("alias", "add", "info", "--model", "lead")
    with closing(desk.ops()) as ops:
        [route] = ops.inbound.receive(mail(f"info@{HOSTED}")).routes  # a record that a mail made
        assert route.creates
        ops.threads.follow(1, ops.threads.add_contact("Ben", "ben@x.example"))
        posted = ops.threads.post(1, Entry("From the system"))
        assert [n.state for n in ops.threads.notifications(posted.id)] == ["ready"]
        ops.queue.run()
    got = smtp.messages[-1]
    assert (head(got.data, "From"), got.recipients) == (f"notifications@{HOSTED}", ("ben@x.example",))
    assert head(got.data, "Reply-To").endswith(f"<info@{HOSTED}>")


@pytest.mark.req("AZ-40", "IN-49")
def test_the_path_to_a_parameter_stands_where_one_is_named(tmp_path: Path) -> None:
    path = "Settings → Technical → Parameters → System Parameters"
    desk = Desk(tmp_path / "w")
    for key, value in (("mail.gateway.loop.minutes", "0"), ("mail.catchall.domain.allowed", ","), ("mail.gateway.loop.threshold", "x")):  # fmt: skip
        assert path in desk("company", "parameter", key, value, status=2)
    desk("server", "add", "s", "--host", "mx.acme.com", "--filter", "acme.com")
    assert path in desk("company", "parameter", "mail.default.from_filter", "acme.com")
    assert path in desk("explain", "send", "--from", "a@acme.com")
