"""A login as an object: company, senders, limits, reports; made and asked for on the command line."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from relay_kit import MAIL, relayed, told
from test_serve import serving

from mailops import Ops
from mailops.errors import ConfigError, NotFound
from mailops.model.setup import AliasDomain, Company
from mailops.testing import Authority, SmtpServer, refuse

PASSWORD = "grapefruit-77"


@pytest.fixture
def world(ops_factory: Callable[..., Ops], tmp_path: Path) -> Iterator[tuple[Ops, SmtpServer, ssl.SSLContext]]:
    """Two companies, TLS, and a server that takes all but gone@."""
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    toml = f'\n[serve]\ntls_cert = "{pair.certfile}"\ntls_key = "{pair.keyfile}"\n[serve.users.mill]\n'
    toml += 'password = "env:MILL_PASSWORD"\ncompany = "two"\nsenders = ["@second.example"]\nreports = false\n'
    with SmtpServer([refuse("gone*@*", 550, "5.1.1", "No such user")]) as smtp:
        ops = ops_factory(toml=toml)
        furnish(ops, smtp, from_filter=None)
        second = ops.save_alias_domain(AliasDomain("second.example"))
        ops.save_company(Company("two", "Two", alias_domain=second))
        yield ops, smtp, ssl.create_default_context(cafile=str(authority.ca_file))


@contextlib.contextmanager
def signed_in(ops: Ops, context: ssl.SSLContext, login: str, password: str = PASSWORD) -> Iterator[smtplib.SMTP]:
    env = {"MILL_PASSWORD": PASSWORD}
    with (
        serving(ops, "--queue-every", "0", env=env) as (_, port),
        smtplib.SMTP("localhost", port, timeout=10) as client,
    ):
        client.starttls(context=context)
        client.login(login, password)
        yield client


def add(ops: Ops, name: str, **more: Any) -> None:
    ops.logins.add(name, PASSWORD, setup=ops.setup, **more)


def test_a_login_writes_as_its_own_senders_and_553_names_them(world: Any) -> None:
    ops, smtp, context = world
    add(ops, "shop", senders=("shop@acme.example", "@second.example"))
    with signed_in(ops, context, "shop") as client:
        code, words = client.mail("ceo@acme.example")
        assert (code, b"shop@acme.example, @second.example" in words) == (553, True)
        client.mail("shop+bounce-7@acme.example")
        client.rcpt("bob@x.example")
        code, words = client.data(MAIL.format(sender="Boss <ceo@acme.example>"))
        assert (code, b"may not send as ceo@acme.example" in words) == (553, True)
        client.sendmail("", ["bob@x.example"], MAIL.format(sender="Eva <eva@Second.example>"))
        client.sendmail("shop@acme.example", ["bob@x.example"], MAIL.format(sender="shop@acme.example"))
    ops.queue.run()
    assert smtp.accepted == 2


def test_login_peer_and_envelope_are_kept_with_the_mail_and_asked_for(world: Any) -> None:
    ops, _, context = world
    add(ops, "shop")
    with signed_in(ops, context, "shop") as client:
        client.sendmail("ann@acme.example", ["bob@x.example"], MAIL.format(sender="ann@acme.example"))
    ops.send(sender="ann@acme.example", to="bob@x.example", text="Hi")
    listed = told(ops, "queue", "list", "--login", "shop")
    [mail] = listed["mails"]
    assert (mail["login"], mail["peer"], mail["return_path"]) == ("shop", "127.0.0.1", "ann@acme.example")
    [event] = [line for line in told(ops, "queue", "history", "1") if line["kind"] == "submitted"]
    assert (event["data"]["login"], event["data"]["client"]) == ("shop", "127.0.0.1")
    assert event["data"]["envelope"] == "ann@acme.example"
    assert told(ops, "queue", "list", "--login", "mill")["total"] == 0


def test_the_company_is_by_login_else_by_from_else_the_first(world: Any) -> None:
    """Each with its own bounce and notification address."""
    ops, smtp, context = world
    server = next(s for s in ops.setup.servers if s.key == "main")
    from dataclasses import replace

    ops.save_server(replace(server, from_filter="acme.example, second.example"))
    add(ops, "shop", company="two")
    foreign = MAIL.format(sender="Max <max@other.example>")
    with signed_in(ops, context, "shop") as client:
        client.sendmail("max@other.example", ["bob@x.example"], foreign)
    add(ops, "free")
    with signed_in(ops, context, "free") as client:
        client.sendmail("x@other.example", ["bob@x.example"], MAIL.format(sender="Eva <eva@second.example>"))
        client.sendmail("max@other.example", ["bob@x.example"], foreign)
    ops.queue.run()
    left = [(m.envelope_from, m.data.split(b"From: ")[1].split(b"\r\n")[0]) for m in smtp.messages]
    assert left == [
        ("bounce@second.example", b'"Max" <notifications@second.example>'),
        ("bounce@second.example", b"Eva <eva@second.example>"),
        ("bounce@acme.example", b'"Max" <notifications@acme.example>'),
    ]
    assert told(ops, "explain", "send", "--mail", "1")["company"] == "two"


def test_a_table_in_the_file_is_a_login_too_and_reports_are_off_for_it_alone(world: Any) -> None:
    ops, _, context = world
    add(ops, "shop")
    for login, sender in (("mill", "eva@second.example"), ("shop", "ann@acme.example")):
        with signed_in(ops, context, login) as client:
            client.sendmail(sender, ["gone@x.example"], MAIL.format(sender=sender))
    ops.queue.run()
    found = {line["login"]: line for line in told(ops, "serve", "reports")["reports"]}
    assert found["mill"]["state"] == "withheld"
    assert "reports are off for the login mill" in found["mill"]["why"]
    assert found["shop"]["state"] == "told"


def test_made_listed_changed_and_removed_on_the_command_line(world: Any) -> None:
    ops, _, context = world
    made = told(ops, "serve", "user", "add", "shop", "--company", "two", "--sender", "@second.example", "--generate")
    assert made["kept_as"] == "hash"
    with signed_in(ops, context, "shop", made["generated"]) as client:
        assert client.noop()[0] == 250
    again = told(ops, "serve", "user", "password", "shop", "--generate")
    with pytest.raises(smtplib.SMTPAuthenticationError), signed_in(ops, context, "shop", made["generated"]):
        pass
    listed = {login["name"]: login for login in told(ops, "serve", "user", "list")}
    assert list(listed) == ["mill", "shop"]
    assert (listed["mill"]["source"], listed["mill"]["kept_as"]) == ("file", "env")
    assert listed["shop"]["senders"] == ["@second.example"]
    assert again["generated"] not in str(listed)
    told(ops, "serve", "user", "remove", "shop")
    assert [login["name"] for login in told(ops, "serve", "user", "list")] == ["mill"]
    with pytest.raises(NotFound):
        told(ops, "serve", "user", "remove", "shop")
    with pytest.raises(ConfigError, match=r"stands in mailops\.toml"):
        told(ops, "serve", "user", "password", "mill", "--generate")
    with pytest.raises(ConfigError, match="can be read by others"):
        told(ops, "serve", "user", "add", "x", "--password", "hunter2")


@pytest.mark.parametrize(
    "more", [{"company": "nobody"}, {"senders": ("no address @",)}, {"bounces": "mine"}, {"messages_per_minute": -1}]
)
def test_what_a_login_cannot_be_is_said(world: Any, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        add(world[0], "shop", **more)
    assert caught.value.code == "serve.login_invalid"


def test_a_new_login_counts_without_a_restart(world: Any) -> None:
    ops, _, context = world
    with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("localhost", port, timeout=10) as client:
        client.starttls(context=context)
        add(ops, "late")
        client.login("late", PASSWORD)
    relayed_by_nobody = pytest.raises(smtplib.SMTPSenderRefused)
    with relayed_by_nobody:
        relayed(ops, "ann@acme.example")  # there are users, so sign-in is required
