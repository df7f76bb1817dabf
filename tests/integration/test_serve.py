"""Any application can hand mail over: to a real ``mailops serve`` process, and it arrives."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import smtplib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from furnish import furnish

from mailops import Ops
from mailops.model.states import MailState
from mailops.testing import Authority, SmtpServer


@contextlib.contextmanager
def serving(ops: Ops, *more: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "serve", "--port", "0", *more]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    assert child.stdout is not None
    try:
        ready, _, _ = select.select([child.stdout], [], [], 30)
        line = child.stdout.readline() if ready else ""
        found = re.search(r":(\d+) ", line)
        assert found, line + (child.stderr.read() if child.poll() is not None and child.stderr else "")
        yield child, int(found[1])
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)


def pids(ops: Ops, folder: Path | None = None, state: str = "serve.json") -> dict[str, int]:
    """The processes of the services that run."""
    from mailops.model.running import read_running

    told = read_running(folder or ops.workspace.path, state)
    return {s.name: s.pid for s in told.services if s.pid is not None and s.ready} if told else {}


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)


def test_an_application_hands_mail_over_and_it_leaves(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0.3") as (child, port):
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                client.sendmail(
                    "ann@acme.example",
                    ["bob@x.example", "hidden@x.example"],
                    "From: Ann <ann@acme.example>\r\nTo: bob@x.example\r\nBcc: hidden@x.example\r\nSubject: Hi\r\n\r\nHello\r\n",
                )
            smtp.wait_for(1)
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=30) == 0
        [got] = smtp.messages
        assert set(got.recipients) == {"bob@x.example", "hidden@x.example"}
        assert b"hidden" not in got.data
        assert b"Received:" in got.data
        assert got.envelope_from == "ann@acme.example"  # errors go where the program said
        [mail] = ops.queue.page().mails
        assert mail.state is MailState.SENT


def test_250_means_stored_even_if_the_process_dies_the_next_moment(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (child, port):
            client = smtplib.SMTP("127.0.0.1", port, timeout=10)
            code, text = 0, b""
            client.ehlo()
            client.mail("ann@acme.example")
            client.rcpt("bob@x.example")
            code, text = client.data("From: ann@acme.example\r\nTo: bob@x.example\r\nSubject: Hi\r\n\r\nHello\r\n")
            os.kill(child.pid, signal.SIGKILL)
            client.close()
        assert code == 250
        assert text.decode().endswith("OK queued as 1")
        [mail] = ops.queue.page().mails
        assert mail.state is MailState.OUTGOING
        ops.queue.run()
        assert smtp.accepted == 1


def test_what_cannot_be_sent_is_refused_in_the_dialogue(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            with pytest.raises(smtplib.SMTPDataError) as caught:
                client.sendmail("ann@acme.example", ["bob@x.example"], "Subject: two\r\nSubject: subjects\r\n\r\nx\r\n")
            assert 550 <= caught.value.smtp_code < 560
            assert ops.queue.page().total == 0


def test_sign_in_over_tls_with_users_from_the_settings(
    ops_factory: Callable[..., Ops], tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    pair = authority.server()
    toml = (
        f'\n[serve]\ntls_cert = "{pair.certfile}"\ntls_key = "{pair.keyfile}"\nrequire_auth = true\n'
        '[serve.users]\nshop = "env:SHOP_PASSWORD"\n'
    )
    with SmtpServer() as smtp:
        ops = ops_factory(toml=toml)
        furnish(ops, smtp)
        import ssl

        context = ssl.create_default_context(cafile=str(authority.ca_file))
        with (
            serving(ops, "--queue-every", "0", env={"SHOP_PASSWORD": "grapefruit-77"}) as (_, port),
            smtplib.SMTP("localhost", port, timeout=10) as client,
        ):
            client.ehlo()
            assert "auth" not in client.esmtp_features  # never over an unprotected connection
            code, _ = client.mail("ann@acme.example")
            assert code == 530
            client.starttls(context=context)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("shop", "wrong")
            client.login("shop", "grapefruit-77")
            client.sendmail(
                "ann@acme.example", ["bob@x.example"], "From: ann@acme.example\r\nTo: bob@x.example\r\n\r\nx\r\n"
            )
        assert ops.queue.page().total == 1


def test_a_public_address_is_refused_without_being_asked_for(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    command = [
        sys.executable,
        "-m",
        "mailops.cli",
        "-w",
        str(ops.workspace.path),
        "serve",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "config.submission_public" in done.stderr
    assert "What to do" in done.stderr


def test_a_session_the_server_closed_meanwhile_costs_no_deferral(ops_factory: Callable[..., Ops]) -> None:
    """Many servers end a session after some messages: the next mail goes out on a fresh one, unnoticed."""
    from mailops.testing import session_limit

    with SmtpServer(script=[session_limit(5)]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        for n in range(23):
            ops.send(sender="ann@acme.example", to=[f"u{n}@x.example"], subject="s", text="t")
        report = ops.queue.run()
        assert (report.sent, report.deferred) == (23, 0)
        assert smtp.accepted == 23


def raw(n: int = 0, to: str = "bob@x.example") -> bytes:
    return f"From: Ann <ann@acme.example>\r\nTo: {to}\r\nSubject: {n}\r\n\r\nHello\r\n".encode()


def test_a_bulk_sender_that_never_tries_again_loses_nothing_with_the_defaults(ops_factory: Callable[..., Ops]) -> None:
    """What Odoo does: one connection, mail after mail, and what gets a 450 is an exception for ever."""
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.ehlo()
            answers = []
            for n in range(700):
                answers.append(client.mail("ann@acme.example")[0])
                if answers[-1] == 250:
                    client.rcpt(f"u{n}@x.example")
                    answers[-1] = client.data(raw(n))[0]
        assert Counter(answers) == {250: 700}
        assert ops.queue.counts()[MailState.OUTGOING] == 700


def test_a_limit_a_minute_is_kept_where_one_is_set(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(toml="\n[serve]\nmessages_per_minute = 3\npatience = 0.5\n")
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            for n in range(3):
                client.sendmail("ann@acme.example", ["bob@x.example"], raw(n))
            with pytest.raises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail("ann@acme.example", ["bob@x.example"], raw(4))
        assert caught.value.smtp_code == 450


def test_a_newsletter_in_one_mail_reaches_everybody_with_the_defaults(ops_factory: Callable[..., Ops]) -> None:
    """What Django does: 150 recipients in one transaction."""
    everybody = [f"u{n}@x.example" for n in range(150)]
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            refused = client.sendmail("ann@acme.example", everybody, raw(to="undisclosed-recipients:;"))
        assert refused == {}
        ops.queue.run()
        assert sorted(r for message in smtp.messages for r in message.recipients) == sorted(everybody)
