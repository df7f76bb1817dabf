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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from relay_kit import MAIL, told
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.errors import ConfigError
from mailops.serve import make_servers
from mailops.testing import Authority, SmtpServer

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
