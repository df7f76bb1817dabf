"""What ``mailops serve`` needs to run for months: a log that answers questions, clearing up, new certificates."""

from __future__ import annotations

import contextlib
import signal
import smtplib
import sqlite3
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from furnish import furnish
from test_serve import serving

from mailops import Ops
from mailops.model.states import MailState
from mailops.testing import Authority, SmtpServer


@pytest.mark.req("QUE-10")
def test_one_line_of_log_for_each_mail_and_each_refusal_and_auto_vacuum_inside(
    ops_factory: Callable[..., Ops], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first mail was sent before it starts; it is gone as soon as the service for daily jobs runs."""
    with SmtpServer() as smtp:
        authority = Authority(tmp_path_factory.mktemp("ca"))
        pair = authority.server()
        tls = f'tls_cert = "{pair.certfile}"\ntls_key = "{pair.keyfile}"\n'
        ops = ops_factory(toml=f'\n[serve]\n{tls}[serve.users]\nshop = "env:SHOP_PASSWORD"\n')
        furnish(ops, smtp)
        ops.send(sender="ann@acme.example", to="bob@x.example", subject="s", text="t")
        ops.queue.run()
        with contextlib.closing(sqlite3.connect(ops.workspace.path / "mailops.db")) as old, old:
            old.execute("UPDATE mails SET finished_at = '2020-01-01 00:00:00.000000'")
        env = {"SHOP_PASSWORD": "grapefruit-77"}
        with serving(ops, "--queue-every", "0.1", env=env) as (child, port):
            with smtplib.SMTP("localhost", port, timeout=20) as line:
                line.starttls(context=ssl.create_default_context(cafile=str(authority.ca_file)))
                line.login("shop", "grapefruit-77")
                line.sendmail("ann@acme.example", ["bob@x.example"], "From: ann@acme.example\r\n\r\nx\r\n")
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    line.sendmail("ann@acme.example", ["no\x1b[31m@x"], "From: ann@acme.example\r\n\r\nx\r\n")
            smtp.wait_for(2)
            limit = time.monotonic() + 30
            while [m.id for m in ops.queue.page().mails if m.state is MailState.SENT] != [2]:
                assert time.monotonic() < limit, "the old mail is still there"
                time.sleep(0.05)
            child.send_signal(signal.SIGTERM)
            _, err = child.communicate(timeout=30)
    assert "login_data" not in err
    assert "grapefruit" not in err
    [taken] = [x for x in err.splitlines() if " mail 2 taken " in x]
    assert "from=ann@acme.example recipients=1" in taken
    assert "client=127.0.0.1 login=shop" in taken
    [sent] = [x for x in err.splitlines() if " mail 2 sent " in x]
    assert "outcome=sent lane=main worker=" in sent
    [refused] = [x for x in err.splitlines() if "refused: 553" in x]
    assert "login=shop" in refused
    assert "auto_vacuum: 1 old sent mails removed, 0 rows ended" in err


def test_sighup_brings_certificate_logins_and_limits_and_drops_no_session(
    ops_factory: Callable[..., Ops], tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = (Authority(tmp_path_factory.mktemp(name)) for name in ("first", "second"))
    folder = tmp_path_factory.mktemp("pair")
    cert, key = folder / "cert.pem", folder / "key.pem"

    def put(authority: Authority) -> None:
        pair = authority.server()
        cert.write_bytes(Path(pair.certfile).read_bytes())
        key.write_bytes(Path(pair.keyfile).read_bytes())

    put(first)
    ops = ops_factory(toml=f'\n[serve]\ntls_cert = "{cert}"\ntls_key = "{key}"\nmax_recipients = 1\n')
    old, new = (ssl.create_default_context(cafile=str(a.ca_file)) for a in (first, second))
    settings = ops.workspace.path / "mailops.toml"
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (child, port):
            with smtplib.SMTP("localhost", port, timeout=20) as stands:
                stands.starttls(context=old)
                put(second)
                text = settings.read_text().replace("max_recipients = 1", "max_recipients = 2")
                settings.write_text(text + '[serve.users]\nshop = "env:NOT_THERE"\n')
                child.send_signal(signal.SIGHUP)
                limit = time.monotonic() + 20
                while True:
                    time.sleep(0.1)
                    assert child.poll() is None, "SIGHUP ended it"
                    with smtplib.SMTP("localhost", port, timeout=20) as line:
                        try:
                            line.starttls(context=new)
                        except ssl.SSLError:
                            assert time.monotonic() < limit, "the old certificate is shown"
                            continue
                        line.ehlo()
                        assert line.esmtp_features["limits"] == "RCPTMAX=2"
                        break
                assert stands.noop()[0] == 250  # the same session
                settings.write_text("[serve]\nmax_recipients = 'many'\n")
                child.send_signal(signal.SIGHUP)
                time.sleep(0.5)
                assert stands.noop()[0] == 250
                with smtplib.SMTP("localhost", port, timeout=20) as line:
                    line.starttls(context=new)  # what cannot be used changes nothing
            settings.write_text(text)
