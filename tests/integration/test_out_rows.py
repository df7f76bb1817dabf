"""The outgoing rules on the wire: real submissions over a loopback SMTP server, from either database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from furnish import furnish

from mailops import Ops
from mailops.errors import ConfigError
from mailops.model.setup import MASS_PARAMETER, AliasDomain, Authentication, Company, Encryption, MailClass, Server
from mailops.routing.plan import server_for_class
from mailops.testing import SmtpServer


def send(ops: Ops, sender: str | None, **more: object) -> int:
    values = {"to": "bob@x.example", "subject": "Hello", "text": "Hi", "urgent": True, **more}
    return ops.send(sender=sender, **values)  # type: ignore[arg-type]


def sent(smtp: SmtpServer) -> tuple[str, bytes]:
    """Envelope sender and From line of the last message."""
    got = smtp.messages[-1]
    [line] = [x for x in got.data.split(b"\r\n\r\n")[0].split(b"\r\n") if x.startswith(b"From:")]
    return got.envelope_from, line


def local(key: str, smtp: SmtpServer, held: str | None, **more: object) -> Server:
    return Server(key, key, "127.0.0.1", smtp.port, Encryption.NONE, from_filter=held, timeout=5.0, **more)  # type: ignore[arg-type]


@pytest.mark.req("GEN-14", "OUT-35", "OUT-03", "OUT-04", "OUT-05")
def test_the_default_server_sends_under_the_parameter_until_there_is_a_server(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(toml=f'\n[default_server]\nhost = "127.0.0.1"\nport = {smtp.port}\nencryption = "none"\n')
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme"))
        ops.set_parameter("mail.default.from_filter", "acme.example, boss@other.example")
        send(ops, "Ann <ann@acme.example>")
        assert sent(smtp) == ("bounce@acme.example", b'From: "Ann" <ann@acme.example>')
        send(ops, "boss@other.example")
        assert sent(smtp)[1] == b"From: boss@other.example"
        mail = send(ops, "joe@other.example")
        assert sent(smtp)[1] == b'From: "joe" <notifications@acme.example>'
        assert ops.queue.mail(mail).server_key in (None, "default")
        ops.save_server(local("own", smtp, "other.example"))
        mail = send(ops, "joe@other.example")
        assert sent(smtp) == ("joe@other.example", b"From: joe@other.example")
        assert ops.queue.mail(mail).server_key == "own"
        assert any(
            "mail.default.from_filter is ignored" in x for x in ops.explain(sender="joe@other.example").sentences()
        )


@pytest.mark.req("OUT-29", "OUT-32", "OUT-33", "OUT-51")
def test_rewriting_on_the_wire(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp, from_filter=None)
        send(ops, '"Jörg \\"J\\" Ö" <jo@cust.example>')
        assert sent(smtp)[1].endswith(b"<notifications@acme.example>")
        assert sent(smtp)[1].startswith(b"From: =?utf-8?")
        ops.save_server(replace(ops.setup.servers[0], from_filter="other.example"))
        send(ops, "jo@cust.example")
        assert sent(smtp) == ("notifications@acme.example", b'From: "jo" <notifications@acme.example>')
        ops.save_alias_domain(AliasDomain("acme.example", default_from="hello@corp.example"))
        ops.save_server(replace(ops.setup.servers[0], from_filter="acme.example"))
        send(ops, "Ann <ann@acme.example>")
        assert sent(smtp)[1] == b'From: "Ann" <hello@corp.example>'


@pytest.mark.req("OUT-24", "OUT-25", "OUT-26")
def test_the_dedicated_server_is_stored_and_used_for_mass_mail(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as day, SmtpServer() as mass:
        ops = ops_on()
        furnish(ops, day, priority=1)
        ops.save_server(local("mass", mass, None, priority=2))
        ops.set_parameter(MASS_PARAMETER, "mass")
        assert ops.setup.parameters[MASS_PARAMETER] == "mass"
        for mail_class, peer in (("mass", mass), ("transactional", day)):
            forced = server_for_class(MailClass(mail_class), ops.setup)
            send(ops, "news@acme.example", server=forced, mail_class=mail_class)
            assert sent(peer)[1] == b"From: news@acme.example"
        assert (day.accepted, mass.accepted) == (1, 1)


@pytest.mark.req("OUT-13", "GEN-07", "OUT-47")
def test_companies_and_alias_domains(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    for key in ("a", "b"):
        ops.save_company(Company(key, key))
    ten = ops.save_alias_domain(AliasDomain("ten.example", sequence=10))
    assert [c.alias_domain for c in ops.setup.companies] == [ten, ten]
    five = ops.save_alias_domain(AliasDomain("five.example", sequence=5))
    ops.save_company(Company("new", "New"))
    assert {c.key: c.alias_domain for c in ops.setup.companies} == {"a": ten, "b": ten, "new": five}
    with SmtpServer() as smtp:
        ops.save_server(local("any", smtp, None))
        for company, domain in (("a", "ten.example"), ("new", "five.example")):
            send(ops, "x@cust.example", company=company)
            assert sent(smtp) == (f"bounce@{domain}", f'From: "x" <notifications@{domain}>'.encode())


@pytest.mark.req("AZ-35", "AZ-36", "AZ-37")
def test_one_server_per_user_on_the_wire(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as john, SmtpServer() as jane, SmtpServer() as rest:
        ops = ops_on()
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme"))
        for key, peer in (("john", john), ("jane", jane), ("notifications", rest)):
            ops.save_server(local(key, peer, f"{key}@acme.example"))
        for sender in ("john@acme.example", "jane@acme.example", "bob@acme.example"):
            send(ops, sender)
        assert [sent(peer)[1] for peer in (john, jane, rest)] == [
            b"From: john@acme.example",
            b"From: jane@acme.example",
            b'From: "bob" <notifications@acme.example>',
        ]
        assert [sent(peer)[0] for peer in (john, jane)] == ["john@acme.example", "jane@acme.example"]


@pytest.mark.req("OUT-28", "OUT-18", "AZ-25")
def test_what_can_never_work_is_refused_on_saving(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    for held in ("acme", "@acme.com", "a b"):
        with pytest.raises(ConfigError) as caught:
            ops.save_server(Server("s", "s", "smtp.example", from_filter=held))
        assert caught.value.code == "server.from_filter"
    with pytest.raises(ConfigError) as caught:
        ops.save_server(Server("s", "s", "smtp.example", authentication=Authentication.LOGIN, password="env:PW"))
    assert caught.value.code == "server.login"
    whole = Server("s", "S", "smtp.example", 465, Encryption.TLS, Authentication.LOGIN, "u", "env:PW", from_filter="acme.com", priority=3, active=False)  # fmt: skip
    ops.save_server(whole)
    [back] = ops.setup.servers
    assert replace(back, id=None, created=0) == whole


@pytest.mark.req("GEN-06", "OUT-10", "OUT-18")
def test_readiness_at_the_command_line(ops_factory: Callable[..., Ops], capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from mailops.cli import main

    ops = ops_factory()

    def run(*words: str) -> tuple[str, int]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["mailops", "-w", str(ops.workspace.path), "server", "readiness", *words])
            with pytest.raises(SystemExit) as left:
                main()
        assert isinstance(left.value.code, int)
        return capsys.readouterr().out, left.value.code

    out, status = run()
    assert status == 1
    assert "replies will not reach the database" in out
    assert "Settings → Emails → Outgoing Email Servers → New" in out
    ops.save_alias_domain(AliasDomain("acme.example"))
    ops.save_company(Company("acme", "Acme"))
    ops.save_server(Server("ext", "Ext", "smtp.example", from_filter="acme.example"))
    told = json.loads(run("--json", "--method", "redirection")[0])
    assert not told["ready"]
    done = [word for task in told["tasks"] for word in ("--done", task["id"])]
    out, status = run("--method", "redirection", *done)
    assert (status, "Ready: nothing to do." in out) == (0, True)
