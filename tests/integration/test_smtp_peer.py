"""The loopback SMTP server, seen by clients that share no code with it: smtplib and raw sockets."""

from __future__ import annotations

import base64
import json
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path

import pytest

import mailops
from mailops.errors import ConfigError
from mailops.testing import (
    EXTENSIONS,
    Authority,
    ManualClock,
    Rule,
    SmtpServer,
    SmtpServerProcess,
    bounce_later,
    build_dsn,
    defer,
    drop,
    forbid_pipelining,
    garbage,
    greylist,
    rate_limit,
    refuse,
    session_limit,
    silence,
    slow,
)
from mailops.testing.dsn import DsnSender

MAIL = b"From: ann@acme.test\r\nSubject: hi\r\nMessage-ID: <1@acme.test>\r\n\r\nwords\r\n"


@contextmanager
def client(server, timeout: float = 10.0) -> Iterator[smtplib.SMTP]:
    smtp = smtplib.SMTP(server.host, server.port, local_hostname="client.test", timeout=timeout)
    try:
        yield smtp
    finally:
        smtp.close()


def secure(server, trust: ssl.SSLContext, mode: str) -> None:
    """Reach the server under TLS, one way or the other, and let go."""
    if mode == "tls":
        smtplib.SMTP_SSL(server.host, server.port, context=trust, timeout=10).close()
        return
    with client(server) as smtp:
        smtp.starttls(context=trust)


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.005)


class Wire:
    """A raw conversation: ``say`` bytes, ``hear`` a reply line, ``rest`` until the server hangs up."""

    def __init__(self, server, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def say(self, data: bytes) -> Wire:
        self.socket.sendall(data)
        return self

    def hear(self) -> bytes:
        return self.file.readline()

    def reply(self) -> bytes:
        lines = [self.hear()]
        while lines[-1][3:4] == b"-":
            lines.append(self.hear())
        return b"".join(lines)

    def rest(self) -> bytes:
        return self.file.read()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


def send_secured(server, trust: ssl.SSLContext) -> None:
    with client(server) as smtp:
        smtp.starttls(context=trust)
        send(smtp)


def send_and_quit(server) -> None:
    with client(server) as smtp:
        send(smtp)
        smtp.docmd("QUIT")


def send(smtp: smtplib.SMTP, to: str = "bob@x.test", sender: str = "ann@acme.test", data: bytes = MAIL):
    return smtp.sendmail(sender, to.split(","), data)


# -- the friendly server ----------------------------------------------------------------------------------------------


def test_a_mail_arrives_byte_for_byte_with_its_envelope():
    data = b"Message-ID: <dots@acme.test>\r\n\r\n.first\r\n..second\r\n.\xff\r\n"
    with SmtpServer() as server, client(server) as smtp:
        assert send(smtp, "bob@x.test,carl@y.test", data=data) == {}
        (mail,) = server.wait_for(1)
    assert mail.data == data
    assert (mail.envelope_from, mail.recipients) == ("ann@acme.test", ("bob@x.test", "carl@y.test"))
    assert (mail.message_id, mail.tls, mail.login, mail.session) == ("<dots@acme.test>", False, None, 1)
    assert mail.received_at.tzinfo is not None


def test_pipelined_mails_in_one_write():
    one = b"MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
    with SmtpServer() as server, Wire(server) as wire:
        wire.say(b"EHLO c\r\n")
        wire.reply()
        wire.reply()
        wire.say(one + b"first\r\n.\r\n" + one + b".\r\n" + one + b"third\r\n.\r\nQUIT\r\n")
        codes = [line[:3] for line in wire.rest().splitlines()]
        assert codes == [b"250", b"250", b"354", b"250"] * 3 + [b"221"]
        assert [mail.data for mail in server.messages] == [b"first\r\n", b"", b"third\r\n"]


def test_the_final_dot_is_found_however_the_bytes_are_cut():
    with SmtpServer() as server, Wire(server) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.say(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
        for _ in range(5):
            wire.reply()
        for byte in b"a\r\n.b\r\n..\r\n\n.\n\r\n.\r\n":
            wire.say(bytes([byte]))
        assert wire.reply().startswith(b"250 ")
        assert server.messages[0].data == b"a\r\nb\r\n.\r\n\n.\n\r\n"


@pytest.mark.parametrize("missing", sorted(EXTENSIONS - {"STARTTLS", "AUTH", "ENHANCEDSTATUSCODES"}))
def test_an_extension_switched_off_is_neither_announced_nor_taken(missing):
    parameter = {"SIZE": "SIZE=5", "8BITMIME": "BODY=8BITMIME", "SMTPUTF8": "SMTPUTF8", "DSN": "RET=HDRS"}.get(missing)
    with SmtpServer(extensions=EXTENSIONS - {missing}) as server, client(server) as smtp:
        smtp.ehlo()
        assert {name.upper() for name in smtp.esmtp_features} == EXTENSIONS - {missing, "STARTTLS", "AUTH"}
        if parameter:
            assert smtp.docmd("MAIL", f"FROM:<a@b.test> {parameter}")[0] == 555


def test_all_parameters_are_taken_when_announced():
    with SmtpServer() as server, client(server) as smtp:
        smtp.ehlo()
        assert smtp.mail("jürgen@acme.test", ["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=e1"])[0] == 250
        assert smtp.rcpt("bob@x.test", ["NOTIFY=FAILURE", "ORCPT=rfc822;bob@x.test"])[0] == 250
        assert smtp.data(MAIL)[0] == 250
        assert server.wait_for(1)[0].parameters["ENVID"] == "e1"


def test_non_ascii_needs_smtputf8():
    with SmtpServer() as server, Wire(server) as wire:
        wire.say("EHLO c\r\nMAIL FROM:<jürgen@acme.test>\r\n".encode())
        wire.reply()
        wire.reply()
        assert wire.reply().startswith(b"553 5.6.7")


def test_size_is_enforced_at_mail_and_after_the_body():
    with SmtpServer(max_size=1000) as server, client(server) as smtp:
        smtp.ehlo()
        assert smtp.mail("a@b.test", ["SIZE=1001"])[0] == 552
        assert smtp.mail("a@b.test")[0] == 250
        smtp.rcpt("bob@x.test")
        assert smtp.data(b"x" * 500_000)[0] == 552
        assert smtp.noop()[0] == 250
        assert server.messages == []


def test_order_and_syntax_are_watched():
    with SmtpServer() as server, client(server) as smtp:
        assert smtp.docmd("MAIL FROM:<a@b.test>")[0] == 503
        smtp.ehlo()
        assert smtp.docmd("RCPT TO:<a@b.test>")[0] == 503
        assert smtp.docmd("MAIL TO:<a@b.test>")[0] == 501
        assert smtp.docmd("MAIL FROM:a@b.test")[0] == 501
        assert smtp.docmd("MAIL FROM:<a@b.test>")[0] == 250
        assert smtp.docmd("DATA")[0] == 554
        assert smtp.docmd("BREW coffee")[0] == 500
        assert smtp.rset()[0] == 250
        assert smtp.docmd("x" * 20_000)[0] == 500


def test_log_counters_clear_and_wait():
    with SmtpServer() as server, client(server) as smtp:
        send(smtp)
        server.wait_for(1)
        events = [entry.event for entry in server.log]
        assert events[:3] == ["connected", "reply", "command"]
        assert "accepted" in events
        assert [entry.number for entry in server.log] == list(range(1, len(server.log) + 1))
        assert (server.counters["accepted"], server.counters["recipients accepted"]) == (1, 1)
        server.clear()
        assert (server.messages, server.log, server.accepted) == ([], [], 1)
        with pytest.raises(TimeoutError, match="0 of 1 mails"):
            server.wait_for(1, timeout=0.01)


# -- the script -------------------------------------------------------------------------------------------------------


def test_refusals_are_per_recipient():
    script = [refuse("bob@x.test", 550, "5.1.1", "User unknown"), defer("full@*", 452, "4.2.2", "Mailbox full")]
    with SmtpServer(script) as server, client(server) as smtp:
        refused = send(smtp, "bob@x.test,carl@x.test,full@x.test")
        assert refused == {"bob@x.test": (550, b"5.1.1 User unknown"), "full@x.test": (452, b"4.2.2 Mailbox full")}
        assert server.wait_for(1)[0].recipients == ("carl@x.test",)


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "body"])
@pytest.mark.parametrize("code", [451, 554])
def test_any_step_answers_with_any_code_once(step, code):
    with (
        SmtpServer([Rule(step, code=code, text="told to say so\non two lines", nth=1)]) as server,
        Wire(server) as wire,
    ):
        heard = [wire.reply()]
        for line in (b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:<b@x.test>", b"DATA", b"hello\r\n."):
            heard.append(wire.say(line + b"\r\n").reply())
            if heard[-1].startswith(str(code).encode()) and step != "connect":
                break
        at = ["connect", "ehlo", "mail", "rcpt", "data", "body"].index(step)
        assert heard[at] == f"{code}-told to say so\r\n{code} on two lines\r\n".encode()
        assert len(server.messages) == (1 if step == "connect" else 0)
        assert wire.say(b"QUIT\r\n").reply().startswith(b"221")


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "body", "quit"])
def test_any_step_drops_the_line(step):
    with SmtpServer([drop(step, nth=1)]) as server:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            send_and_quit(server)
        assert len(server.messages) == (1 if step == "quit" else 0)
        with client(server) as smtp:
            assert send(smtp) == {}


def test_drop_after_the_final_dot_with_the_mail_stored():
    with SmtpServer([drop("body", after=True, nth=1)]) as server:
        with client(server) as smtp, pytest.raises(smtplib.SMTPServerDisconnected):
            send(smtp)
        assert len(server.messages) == 1


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "body"])
@pytest.mark.parametrize("kind", ["text", "binary", "long"])
def test_any_step_answers_garbage(step, kind):
    with SmtpServer([garbage(step, kind)]) as server:
        with pytest.raises((smtplib.SMTPException, ValueError)):
            send_and_quit(server)
        assert server.messages == []


def test_silence_ends_in_the_clients_time_out_and_nothing_is_stored():
    with SmtpServer([silence("body")]) as server:
        with client(server, timeout=0.2) as smtp, pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            send(smtp)
        assert server.messages == []


def test_silence_for_a_while_then_on_as_usual():
    with SmtpServer([silence("mail", 0.05), slow("data", 0.05, byte_seconds=0.001)]) as server:
        with client(server) as smtp:
            assert send(smtp) == {}
        assert len(server.messages) == 1
        assert server.counters["silence at mail"] == server.counters["slow at data"] == 1


def test_greylisting_by_the_servers_clock():
    clock = ManualClock()
    with SmtpServer([greylist("bob@*", seconds=300)], clock=clock) as server, client(server) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send(smtp)
        assert refused.value.recipients["bob@x.test"][0] == 450
        clock.advance(300)
        assert send(smtp) == {}
        assert server.messages[0].received_at == clock.now()


def test_a_session_limit_closes_with_421():
    with SmtpServer([session_limit(2)]) as server, client(server) as smtp:
        send(smtp)
        send(smtp)
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            send(smtp)
        assert refused.value.smtp_code == 421
        with client(server) as again:
            assert send(again) == {}


def test_too_many_connections():
    with SmtpServer([rate_limit(1, 60)], clock=ManualClock()) as server, Wire(server) as first:
        assert first.reply().startswith(b"220")
        with Wire(server) as second:
            assert second.rest() == b"421 4.7.0 Too many connections, slow down\r\n"


def test_pipelining_announced_then_forbidden():
    with SmtpServer([forbid_pipelining()]) as server:
        with Wire(server) as wire:
            wire.reply()
            assert b"PIPELINING" in wire.say(b"EHLO c\r\n").reply()
            wire.say(b"MAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
            assert [wire.reply()[:3] for _ in range(3)] == [b"503"] * 3
        with client(server) as smtp:
            assert send(smtp) == {}


def test_a_script_of_unknown_parts_is_refused():
    with pytest.raises(ConfigError, match="BINARYMIME"):
        SmtpServer(extensions=["BINARYMIME"])


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "ca")


def test_starttls_then_mail(authority):
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with SmtpServer(tls=authority.server_tls()) as server, client(server) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        smtp.starttls(context=trust)
        smtp.ehlo()
        assert not smtp.has_extn("starttls")
        send(smtp, data=MAIL + b"x" * 200_000)
        (mail,) = server.wait_for(1)
        assert mail.tls
        assert len(mail.data) > 200_000


def test_tls_at_once(authority):
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with (
        SmtpServer(tls=authority.server_tls("tls")) as server,
        smtplib.SMTP_SSL(server.host, server.port, context=trust, timeout=10) as smtp,
    ):
        send(smtp)
        assert server.wait_for(1)[0].tls


@pytest.mark.parametrize("mode", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [("expired", "expired"), ("wrong-host", "IP address mismatch"), ("untrusted", "unable to get local issuer")],
)
def test_a_wrong_certificate_is_found_by_a_client_that_looks(authority, mode, kind, words):
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with SmtpServer(tls=authority.server_tls(mode, kind)) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            secure(server, trust, mode)
        assert server.messages == []
        wait_until(lambda: not server.open_sessions)
        assert server.counters["tls failed"] == 1


@pytest.mark.parametrize("mode", ["starttls", "tls"])
@pytest.mark.parametrize("rule", [garbage("tls"), garbage("tls", "binary"), drop("tls")])
def test_a_handshake_of_garbage(authority, mode, rule):
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with SmtpServer([rule], tls=authority.server_tls(mode)) as server:
        with pytest.raises(OSError):  # ssl.SSLError is one
            secure(server, trust, mode)
        assert server.messages == []
        wait_until(lambda: not server.open_sessions)


def test_starttls_announced_then_refused(authority):
    rule = Rule("starttls", code=454, enhanced="4.7.0", text="TLS not available just now")
    with SmtpServer([rule], tls=authority.server_tls()) as server, client(server) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        assert smtp.docmd("STARTTLS") == (454, b"4.7.0 TLS not available just now")
        assert send(smtp) == {}


def test_what_was_said_before_tls_does_not_count(authority):
    """RFC 3207 section 4.2; input sent behind STARTTLS in clear must not run inside TLS."""
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with SmtpServer(tls=authority.server_tls()) as server, Wire(server) as wire:
        wire.reply()
        wire.say(b"EHLO c\r\n").reply()
        assert wire.say(b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\n").reply().startswith(b"220")
        with trust.wrap_socket(wire.socket, server_hostname="localhost") as secured:
            secured.sendall(b"RCPT TO:<b@x.test>\r\n")
            assert secured.recv(100).startswith(b"503 ")
            secured.sendall(b"MAIL FROM:<a@x.test>\r\n")
            assert secured.recv(100) == b"503 5.5.1 Say EHLO first\r\n"


def test_a_client_certificate_signs_in(authority):
    pair = authority.client("ann.acme.test")
    trust = ssl.create_default_context(cafile=authority.ca_file)
    tls = authority.server_tls(require_client=True)
    with SmtpServer(tls=tls, auth={}) as server:
        with client(server) as smtp:
            trust.load_cert_chain(pair.certfile, pair.keyfile)
            smtp.starttls(context=trust)
            send(smtp)
        assert server.wait_for(1)[0].login == "ann.acme.test"
        bare = ssl.create_default_context(cafile=authority.ca_file)
        with pytest.raises((OSError, smtplib.SMTPException)):
            send_secured(server, bare)
        assert server.accepted == 1


# -- signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_passwords(mechanism):
    with SmtpServer(auth={"ann": "right"}, mechanisms=[mechanism]) as server, client(server) as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            send(smtp)
        assert refused.value.smtp_code == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("ann", "wrong")
        smtp.login("ann", "right")
        send(smtp)
        assert server.wait_for(1)[0].login == "ann"
        assert "right" not in repr(server.log)


def test_auth_is_offered_under_tls_only_where_there_is_tls(authority):
    with SmtpServer(tls=authority.server_tls(), auth={"ann": "right"}) as server, client(server) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("auth")
        smtp.starttls(context=ssl.create_default_context(cafile=authority.ca_file))
        smtp.ehlo()
        assert smtp.esmtp_features["auth"].split() == ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"]


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("XOAUTH2", "user=ann@acme.test\x01auth=Bearer {}\x01\x01"),
        ("OAUTHBEARER", "n,a=ann@acme.test,\x01host=h\x01port=587\x01auth=Bearer {}\x01\x01"),
    ],
)
def test_tokens_fresh_and_stale(mechanism, message):
    asked = []

    def judge(attempt):
        asked.append((attempt.mechanism, attempt.login, attempt.secret))
        return attempt.is_token and attempt.secret == "fresh"

    def encode(token: str) -> str:
        return base64.b64encode(message.format(token).encode()).decode()

    with SmtpServer(auth=judge) as server, client(server) as smtp:
        smtp.ehlo()
        code, challenge = smtp.docmd("AUTH", f"{mechanism} {encode('stale')}")
        assert code == 334
        assert b"invalid_token" in base64.b64decode(challenge)
        assert smtp.docmd("")[0] == 535
        assert smtp.docmd("AUTH", mechanism)[0] == 334
        assert smtp.docmd(encode("fresh"))[0] == 235
    assert asked == [(mechanism, "ann@acme.test", "stale"), (mechanism, "ann@acme.test", "fresh")]


def test_broken_auth_messages():
    with SmtpServer(auth={"ann": "right"}) as server, client(server) as smtp:
        smtp.ehlo()
        assert smtp.docmd("AUTH PLAIN !!!")[0] == 501
        assert smtp.docmd("AUTH PLAIN " + base64.b64encode(b"x").decode())[0] == 501
        assert smtp.docmd("AUTH KERBEROS")[0] == 504
        assert smtp.docmd("AUTH LOGIN")[0] == 334
        assert smtp.docmd("*")[0] == 501
        assert smtp.noop()[0] == 250


def test_an_error_inside_the_peer_is_not_swallowed():
    def broken(_attempt):
        raise LookupError("the judge has left")

    server = SmtpServer(auth=broken).start()
    with client(server) as smtp, pytest.raises(smtplib.SMTPException):
        smtp.login("ann", "right")
    with pytest.raises(LookupError, match="the judge has left"):
        server.close()


# -- reports that come back -------------------------------------------------------------------------------------------


def test_accept_then_bounce_then_take_the_report_back():
    with SmtpServer() as home, SmtpServer([bounce_later("gone@*", "5.1.1", "User unknown")]) as away:
        with client(away) as smtp:
            assert send(smtp, "gone@x.test,here@x.test", sender="bounce@acme.test") == {}
            send(smtp, "gone@x.test", sender="")
            smtp.mail("bounce@acme.test")
            smtp.rcpt("gone@x.test", ["NOTIFY=NEVER"])
            smtp.data(MAIL)
        (bounce,) = away.pending_bounces()
        assert (bounce.to, bounce.recipient) == ("bounce@acme.test", "gone@x.test")
        assert away.deliver_bounces(home.host, home.port) == 1
        assert away.pending_bounces() == []
        (report,) = home.wait_for(1)
    assert (report.envelope_from, report.recipients) == ("", ("bounce@acme.test",))
    status = list(message_from_bytes(report.data).walk())[2]
    assert status.get_payload()[1]["Final-Recipient"] == "rfc822; gone@x.test"
    assert MAIL in report.data


def test_a_report_that_is_refused_stays():
    with SmtpServer([refuse("*", nth=1)]) as home, SmtpServer([bounce_later("*")]) as away:
        with client(away) as smtp:
            send(smtp)
            send(smtp)
        assert away.deliver_bounces(home.host, home.port) == 1
        assert len(away.pending_bounces()) == 1
        assert away.deliver_bounces(home.host, home.port) == 1
        assert away.pending_bounces() == []


def test_a_single_report_by_hand():
    raw = build_dsn(MAIL, "bob@x.test", "4.4.1", "no answer", "mx.x.test", "delayed")
    with SmtpServer() as server:
        DsnSender(server.host, server.port).deliver(raw, "bounce@acme.test")
        assert server.wait_for(1)[0].data == raw


# -- as a process -----------------------------------------------------------------------------------------------------


def test_a_process_books_each_mail_before_it_answers(tmp_path):
    log = tmp_path / "accepted.jsonl"
    rules = [refuse("bob@x.test"), drop("body", after=True, nth=2)]
    with SmtpServerProcess(rules, log_file=log, trace=False) as server:
        with client(server) as smtp:
            assert list(send(smtp, "bob@x.test,carl@x.test")) == ["bob@x.test"]
            assert [line["recipients"] for line in server.accepted()] == [["carl@x.test"]]
            with pytest.raises(smtplib.SMTPServerDisconnected):
                send(smtp, "dora@x.test")
        server.kill()
        lines = server.accepted()
    assert [line["n"] for line in lines] == [1, 2]
    assert {line["message_id"] for line in lines} == {"<1@acme.test>"}
    assert log.exists()


def test_a_process_ends_with_its_standard_input_and_its_time(tmp_path):
    root = str(Path(mailops.__file__).parents[1])
    for extra, keep_open in (((), False), (("--max-seconds=0.1",), True)):
        child = subprocess.Popen(
            [sys.executable, "-m", "mailops.testing.smtp_server", *extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
        )
        assert b'"ready": true' in child.stdout.readline()
        if not keep_open:
            child.stdin.close()
        assert child.wait(timeout=20) == 0
        child.stdout.close()
        child.stdin.close()


def test_a_process_with_tls_and_login(authority):
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with SmtpServerProcess(tls=authority.server_tls(), auth={"ann": "right"}) as server, client(server) as smtp:
        smtp.starttls(context=trust)
        smtp.login("ann", "right")
        assert send(smtp) == {}
        assert len(server.accepted()) == 1


def test_a_process_that_cannot_start_says_so(capfd):
    with pytest.raises(RuntimeError, match="did not start"), SmtpServerProcess(max_sice=5):
        pass
    assert "max_sice" in capfd.readouterr().err


def test_closing_with_open_sessions_does_not_hang(authority):
    began = time.monotonic()
    with SmtpServer([silence("mail")], tls=authority.server_tls("tls")) as server:
        idle = Wire(server)
        trust = ssl.create_default_context(cafile=authority.ca_file)
        smtp = smtplib.SMTP_SSL(server.host, server.port, context=trust, timeout=10)
        smtp.ehlo()
        smtp.putcmd("MAIL FROM:<>")
    assert time.monotonic() - began < 60
    smtp.close()
    with idle:
        pass
    server.close()


def test_the_peer_lives_on_in_the_background_where_standard_input_is_empty() -> None:
    """As under nohup, systemd, or an ``&`` in a script."""
    command = [sys.executable, "-m", "mailops.testing.smtp_server", "--max-seconds", "30"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        port = json.loads(child.stdout.readline())["port"]
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                assert client.noop()[0] == 250
        finally:
            child.terminate()
