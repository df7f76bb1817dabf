"""Several doors for programs: STARTTLS, TLS from the start, loopback without sign-in; and the check of all of them."""

from __future__ import annotations

import os
import re
import select
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from relay_kit import MAIL, told
from typer.testing import CliRunner

from mailops import Ops, serve_check
from mailops.cli.app import app
from mailops.errors import ConfigError
from mailops.model.running import read_running
from mailops.relay.round import TEXT as ROUND
from mailops.relay.round import UNCHANGED, WithTicket, answer_to, ticket
from mailops.serve import make_servers
from mailops.submission import SubmittedMail
from mailops.testing import Authority, ManualClock, SmtpServer

TEXT = MAIL.format(sender="ann@acme.example")
LIST = """
[[serve.listener]]
port = 0
[[serve.listener]]
port = 0
tls = "starttls"
sign_in = "required"
[[serve.listener]]
port = 0
tls = "implicit"
sign_in = "required"
[[serve.listener]]
port = 0
sign_in = "required"
"""


@pytest.fixture
def certified(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    toml = f'\n[serve]\ntls_cert = "{pair.certfile}"\ntls_key = "{pair.keyfile}"\nhostname = "relay.acme.example"\n'
    return toml, ssl.create_default_context(cafile=str(authority.ca_file))


def test_four_listeners_in_one_process(ops_factory: Callable[..., Ops], certified: Any) -> None:
    toml, trust = certified
    with SmtpServer() as smtp:
        ops = ops_factory(toml=toml + LIST)
        furnish(ops, smtp)
        ops.logins.add("shop", "grapefruit-77", setup=ops.setup)
        command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "serve", "--queue-every", "0"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, env=dict(os.environ))  # select sees all
        try:
            assert child.stdout is not None
            ports = []
            for _ in range(4):
                assert select.select([child.stdout], [], [], 60 if not ports else 10)[0], (
                    f"only {len(ports)} doors opened"
                )
                ports.append(int(re.search(rb":(\d+) ", child.stdout.readline())[1]))  # type: ignore[index]
            plain, starttls, implicit, local = ports
            with smtplib.SMTP("127.0.0.1", plain, timeout=10) as line:
                assert b"relay.acme.example" in line.ehlo()[1]
                line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
            with smtplib.SMTP("localhost", starttls, timeout=10) as line:
                assert line.docmd("MAIL FROM:<ann@acme.example>")[0] in (503, 530)
                line.starttls(context=trust)
                line.login("shop", "grapefruit-77")
                line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
            with smtplib.SMTP_SSL("localhost", implicit, timeout=10, context=trust) as line:
                line.login("shop", "grapefruit-77")
                line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
            with smtplib.SMTP("127.0.0.1", local, timeout=10) as line:
                line.login("shop", "grapefruit-77")
                line.sendmail("ann@acme.example", ["bob@x.example"], TEXT)
        finally:
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=30)
        assert child.returncode == 0
        assert ops.queue.page().total == 4
        assert told(ops, "queue", "list", "--login", "shop")["total"] == 3
        assert b"by relay.acme.example" in ops.queue.raw(1)


@pytest.mark.parametrize(
    ("listener", "code"),
    [
        ('tls = "implicit"\n', "config.submission_tls"),
        ('host = "0.0.0.0"\n', "config.submission_public"),
        ('sign_in = "required"\n', "config.submission_users"),
        ('tls = "ssl"\n', "config.bad_setting"),
    ],
)
def test_a_door_that_is_not_safe_stays_shut(ops_factory: Callable[..., Ops], listener: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_servers(ops_factory(toml=f"\n[[serve.listener]]\n{listener}"))
    assert caught.value.code == code


def test_the_check_goes_round_each_listener_and_looks_at_logins(
    ops_factory: Callable[..., Ops], certified: Any
) -> None:
    toml, _ = certified
    ops = ops_factory(toml=toml + LIST)
    ops.logins.add("shop", "grapefruit-77", setup=ops.setup)
    good = told(ops, "serve", "check")
    assert [v["state"] for v in good] == ["warning", *["passed"] * 5]  # the test's certificate ends in some days
    assert "TLS from the start, sign-in required" in good[4]["found"]
    ops.logins.add("mill", "env:NO_SUCH_PASSWORD_HERE", setup=ops.setup)
    result = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "serve", "check", "--json"])
    assert result.exit_code == 1
    assert [v["subject"] for v in told(ops, "serve", "check") if v["state"] == "failed"] == ["mill"]
    assert ops.queue.page().total == 0


def test_the_check_says_what_keeps_the_doors_shut(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(toml='\n[[serve.listener]]\ntls = "implicit"\n')
    [found] = told(ops, "serve", "check")
    assert (found["state"], found["code"]) == ("failed", "config.submission_tls")


def test_the_check_goes_through_the_listeners_that_run(ops_factory: Callable[..., Ops], certified: Any) -> None:
    """Not through twins of them: one that answers nobody fails, and so does one whose queue is dead."""
    toml, _ = certified
    ops = ops_factory(toml=toml + LIST)
    ops.logins.add("shop", "grapefruit-77", setup=ops.setup, messages_per_minute=1)
    assert "does not run here" in told(ops, "serve", "check")[-1]["found"]
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "serve", "--queue-every", "0"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        running = None
        for _ in range(300):
            running = read_running(ops.workspace.path)
            if running and running.listening and all(s.ready for s in running.services):
                break
            time.sleep(0.1)
        assert running is not None
        rounds = [v for v in told(ops, "serve", "check") if v["code"] == "" and "listener" in v["title"].lower()]
        assert [v["state"] for v in rounds] == ["passed"] * 4
        assert {v["subject"] for v in rounds} == {f"{one.host}:{one.port}" for one in running.listening}
        assert 0 not in {one.port for one in running.listening}  # the real ones
        assert all("the listener that runs" in v["found"] for v in rounds)
        assert ["TLS from the start" in v["found"] for v in rounds].count(True) == 1
        assert not (ops.workspace.path / "check.json").exists()
        intake = next(s.pid for s in running.services if s.name == "intake")
        assert intake is not None
        assert refused_login(running.listening[-1].port) == 535  # the ticket is used up
        os.kill(intake, signal.SIGSTOP)  # it listens, and answers nobody
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(serve_check, "PATIENCE", 0.5)
                failed = told(ops, "serve", "check")
        finally:
            os.kill(intake, signal.SIGCONT)
        assert [v["state"] for v in failed if v["title"] == rounds[0]["title"]] == ["failed"] * 4
        assert ops.queue.page().total == 0
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)


def refused_login(port: int) -> int:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as line, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        line.login("check-0123456789abcdef", "x" * 24)
    return caught.value.smtp_code


def test_a_mail_with_a_ticket_s_name_and_no_ticket_is_a_mail(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    folder = ops.workspace.path
    clock = ManualClock(ops.clock.now())
    with ticket(folder, clock) as held:
        mail = SubmittedMail(held.sender, ("check@mailops.invalid",), b"Received: x\r\n" + ROUND, "127.0.0.1", "me")
        assert answer_to(mail, folder, clock.now()) == UNCHANGED
        assert (folder / "check.json").stat().st_mode & 0o777 == 0o600
        assert held.password not in (folder / "check.json").read_text("utf-8")
        others = WithTicket({"shop": "scrypt$x"}, folder, clock)
        assert (set(others), len(others), held.name in others, "nobody" in others) == ({"shop"}, 1, True, False)
        clock.advance(61)
        assert answer_to(mail, folder, clock.now()) is None
        assert held.name not in others
    assert answer_to(mail, folder, clock.now()) is None


def test_every_answer_has_an_enhanced_code_and_the_postmaster_is_here(ops_factory: Callable[..., Ops]) -> None:
    """RFC 2034, announced; RFC 5321 §4.5.1: mail to a postmaster without a domain is taken, in any case."""
    ops = ops_factory()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        with make_servers(ops)[0] as server, smtplib.SMTP("127.0.0.1", server.port, timeout=10) as line:
            said = line.ehlo()[1].decode().splitlines()
            assert "ENHANCEDSTATUSCODES" in said
            assert not any(re.match(r"\d\.\d\.\d", one) for one in said)
            wrong = (
                "DATA",
                "RCPT TO:<b@x.example>",
                "MAIL TO:<b@x.example>",
                "AUTH",
                "VRFY",
                "EXPN all",
                "NOOP x",
            )
            for command in (*wrong, "NOOP", "RSET", "MAIL FROM:<ann@acme.example>", "RCPT TO:<PostMaster>"):
                code, words = line.docmd(command)
                assert re.match(rb"%d\.\d{1,3}\.\d{1,3} " % (code // 100), words), (command, code, words)
            assert code == 250
            code, words = line.data("From: ann@acme.example\r\nTo: postmaster@acme.example\r\nSubject: s\r\n\r\nt\r\n")
            assert code == 250
            assert line.docmd("QUIT")[1].startswith(b"2.0.0 ")
        ops.queue.run()
        assert smtp.messages[0].recipients == ("postmaster@acme.example",)
