"""The submission listener on real sockets: what is taken, what is refused, and in which words."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from mailops.errors import ConfigError, MessageRefused, StoreError
from mailops.submission import Limits, SubmissionServer, SubmittedMail, hash_password
from mailops.testing import Authority, ManualClock

BODY = b"From: ann@example.com\r\nTo: bob@example.test\r\nBcc: eve@example.test\r\nSubject: Hello\r\n\r\n.Hello.\r\n"


class Desk:
    """Takes mails and keeps them, or raises what it was told to."""

    def __init__(self) -> None:
        self.mails: list[SubmittedMail] = []
        self.trouble: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, mail: SubmittedMail) -> str:
        self.entered.set()
        assert self.gate.wait(10)
        if self.trouble:
            raise self.trouble
        self.mails.append(mail)
        return f"Q{len(self.mails)}"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_context(authority: Authority) -> ssl.SSLContext:
    pair = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certfile, pair.keyfile)
    return context


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    return {"app": hash_password("right-word"), "other": "env:OTHER"}


class Vault:
    def reveal(self, reference: str) -> str:
        return {"env:OTHER": "other-word"}[reference]


@pytest.fixture
def open_server(desk: Desk) -> Iterator[SubmissionServer]:
    with SubmissionServer(desk, hostname="mail.example.test", max_size=5000) as server:
        yield server


def client(server: SubmissionServer) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="app.example.test", timeout=10)


def give(line: smtplib.SMTP, data: bytes = BODY, sender: str = "ann@example.com") -> tuple[int, bytes]:
    line.ehlo_or_helo_if_needed()
    assert line.mail(sender)[0] == 250
    assert line.rcpt("bob@example.test")[0] == 250
    return line.data(data)


# --- taken ------------------------------------------------------------------------------------------------------------


def test_a_mail_is_taken_with_its_id_and_a_received_header(open_server: SubmissionServer, desk: Desk) -> None:
    with client(open_server) as line:
        code, text = give(line)
        assert (code, text) == (250, b"2.0.0 OK queued as Q1")
        assert give(line, sender="")[0] == 250
        offers = line.esmtp_features
    first, second = desk.mails
    assert first.envelope_from == "ann@example.com"
    assert first.recipients == ("bob@example.test",)
    assert first.peer == "127.0.0.1"
    assert first.login is None
    assert not first.protected
    assert first.data.endswith(BODY)  # Bcc too: taking it out is the queue's business
    trace = first.data[: -len(BODY)].decode()
    assert trace.startswith(
        "Received: from app.example.test ([127.0.0.1])\r\n\tby mail.example.test (mailops) with ESMTP id "
    )
    assert trace.endswith("\r\n")
    assert second.envelope_from == ""
    assert offers["size"] == "5000"
    assert "pipelining" in offers
    assert "auth" not in offers


def test_international_addresses_need_the_parameter(open_server: SubmissionServer, desk: Desk) -> None:
    with client(open_server) as line:
        line.ehlo()
        line.command_encoding = "utf-8"
        assert line.mail("ann@example.com")[0] == 250
        code, text = line.rcpt("jürgen@example.test")
        assert code == 553
        assert b"SMTPUTF8" in text
        line.rset()
        assert line.mail("jürgen@example.com", ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        assert line.rcpt("jürgen@example.test")[0] == 250
        assert line.data("From: jürgen@example.com\r\n\r\nschön\r\n".encode())[0] == 250
    assert desk.mails[0].smtputf8
    assert b"with UTF8SMTP id" in desk.mails[0].data


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (BODY + b"x" * 998 + b"xx\r\n", 554, b"998"),
        (b"no header at all\r\n\r\n", 554, b"neither a header"),
        (b"From: ann@example.com\r\nFrom: eve@example.com\r\n\r\n", 554, b"more than once"),
        (b"Subject: no sender\r\n\r\n", 554, b"no From"),
        (b"Received: x\r\n" * 51 + BODY, 554, b"circles"),
        (BODY + b"y" * 70 + b"\r\n" + (b"z" * 70 + b"\r\n") * 80, 552, b"larger"),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused_in_words(
    open_server: SubmissionServer, desk: Desk, data: bytes, code: int, words: bytes
) -> None:
    with client(open_server) as line:
        answer = give(line, data)
        assert answer[0] == code
        assert words in answer[1]
        assert give(line)[0] == 250  # the session goes on
    assert len(desk.mails) == 1


def test_bare_line_ends_do_not_smuggle(open_server: SubmissionServer, desk: Desk) -> None:
    with client(open_server) as line:
        line.ehlo()
        line.mail("ann@example.com")
        line.rcpt("bob@example.test")
        assert line.docmd("DATA")[0] == 354
        line.send(BODY + b"x\n.\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.test>\r\n.\r\n")
        code, text = line.getreply()
    assert code == 554
    assert b"bare LF" in text
    assert desk.mails == []


def test_a_declared_size_is_refused_before_the_body(open_server: SubmissionServer) -> None:
    with client(open_server) as line:
        line.ehlo()
        code, text = line.mail("ann@example.com", ["SIZE=5001"])
    assert code == 552
    assert text.startswith(b"5.3.4")


def test_unusable_addresses_are_refused(open_server: SubmissionServer) -> None:
    with client(open_server) as line:
        line.ehlo()
        assert line.docmd("MAIL FROM:<nobody>")[0] == 553
        assert line.mail("ann@example.com")[0] == 250
        assert line.docmd("RCPT TO:<nobody>")[0] == 553


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (MessageRefused("No such company.", code="message.company"), b"550 5.7.1 No such company."),
        (MessageRefused("Address\r\n250 is bad", code="message.address_invalid"), b"550 5.1.3 Address 250 is bad"),
        (StoreError("disk full at /secret/place"), b"451 4.3.0 The mail could not be stored; try again later"),
        (ConfigError("x"), b"451 4.3.5 "),
        (ValueError("internal detail"), b"451 4.3.0 Trouble in the mail system"),
    ],
)
def test_250_only_when_it_was_stored(
    open_server: SubmissionServer, desk: Desk, trouble: Exception, status: bytes
) -> None:
    desk.trouble = trouble
    with client(open_server) as line:
        code, text = give(line)
    answer = str(code).encode() + b" " + text
    assert answer.startswith(status)
    assert b"secret" not in answer
    assert b"internal" not in answer


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits_are_told_in_words_and_are_temporary(desk: Desk) -> None:
    clock = ManualClock()
    limits = Limits(messages_per_minute=2, connections=1, recipients=2)
    with SubmissionServer(desk, limits=limits, clock=clock) as server, client(server) as line:
        assert give(line)[0] == 250
        line.mail("ann@example.com")
        assert [line.rcpt(f"u{n}@example.test")[0] for n in range(3)] == [250, 250, 452]
        line.rset()  # what was not taken is not counted
        assert give(line)[0] == 250
        code, text = line.mail("ann@example.com")
        assert code == 450
        assert b"in a minute" in text
        clock.advance(61)
        assert line.mail("ann@example.com")[0] == 250
        with pytest.raises(smtplib.SMTPConnectError) as caught:
            client(server)
        assert caught.value.smtp_code == 421
    assert len(desk.mails) == 2


def test_too_many_at_once_are_asked_to_come_back(desk: Desk) -> None:
    desk.gate.clear()
    with SubmissionServer(desk, limits=Limits(waiting=1)) as server, client(server) as one, client(server) as two:
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(give(one)[0]))
        thread.start()
        assert desk.entered.wait(10)
        assert give(two)[0] == 452
        desk.gate.set()
        thread.join(10)
        assert first == [250]
        assert give(two)[0] == 250


# --- signing in -------------------------------------------------------------------------------------------------------


def test_sign_in_only_over_tls(
    desk: Desk, server_context: ssl.SSLContext, authority: Authority, users: dict[str, str]
) -> None:
    server = SubmissionServer(
        desk, tls_context=server_context, users=users, secrets=Vault(), hostname="mail.example.test"
    )
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with server:
        with client(server) as line:
            line.ehlo()
            assert "auth" not in line.esmtp_features
            assert line.docmd("AUTH", "PLAIN AGFwcAByaWdodC13b3Jk")[0] == 538
            assert line.mail("ann@example.com")[0] == 530
        for login, word in (("app", "right-word"), ("other", "other-word")):
            with client(server) as line:
                line.starttls(context=trust)
                line.login(login, word)
                assert give(line)[0] == 250
        with client(server) as line:
            line.starttls(context=trust)
            line.user, line.password = "app", "right-word"
            line.ehlo()
            assert line.auth("LOGIN", line.auth_login)[0] == 235
        with client(server) as line:
            line.starttls(context=trust)
            line.ehlo()
            assert line.mail("ann@example.com")[0] == 530
            for login, word in (("app", "wrong"), ("nobody", "right-word")):
                line.user, line.password = login, word
                with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                    line.auth("PLAIN", line.auth_plain)
                assert caught.value.smtp_code == 535
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                line.auth("PLAIN", line.auth_plain)
            assert caught.value.smtp_code == 421
    assert [mail.login for mail in desk.mails] == ["app", "other"]
    assert all(mail.protected for mail in desk.mails)
    assert b"with ESMTPSA id" in desk.mails[0].data


def test_tls_from_the_start(
    desk: Desk, server_context: ssl.SSLContext, authority: Authority, users: dict[str, str]
) -> None:
    server = SubmissionServer(desk, tls_context=server_context, implicit_tls=True, users=users, secrets=Vault())
    trust = ssl.create_default_context(cafile=authority.ca_file)
    with server, smtplib.SMTP_SSL("127.0.0.1", server.port, context=trust, timeout=10) as line:
        line.login("app", "right-word")
        assert give(line)[0] == 250
    assert desk.mails[0].protected


def test_sign_in_on_loopback_without_tls_only_when_allowed(desk: Desk, users: dict[str, str]) -> None:
    server = SubmissionServer(desk, users=users, secrets=Vault(), allow_insecure_loopback=True)
    with server, client(server) as line:
        line.login("app", "right-word")
        assert give(line)[0] == 250
    assert b"with ESMTPA id" in desk.mails[0].data


def test_failed_sign_ins_are_counted_per_client_and_login(desk: Desk, users: dict[str, str]) -> None:
    clock = ManualClock()
    limits = Limits(failed_logins_per_minute=2)
    server = SubmissionServer(
        desk, users=users, secrets=Vault(), allow_insecure_loopback=True, limits=limits, clock=clock
    )
    with server:
        with client(server) as line:
            line.ehlo()
            line.user, line.password = "app", "wrong"
            for expected in (535, 535, 454):
                with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                    line.auth("PLAIN", line.auth_plain)
                assert caught.value.smtp_code == expected
        with client(server) as line:  # this machine's programs are not turned away, and other logins are not barred
            line.login("other", "other-word")
        clock.advance(61)
        with client(server) as line:
            line.login("app", "right-word")


# --- where it listens -------------------------------------------------------------------------------------------------


def test_unsafe_listeners_are_refused(desk: Desk, server_context: ssl.SSLContext, users: dict[str, str]) -> None:
    def code(**settings: object) -> str:
        with pytest.raises(ConfigError) as caught:
            SubmissionServer(desk, secrets=Vault(), **settings)  # type: ignore[arg-type]
        assert caught.value.fix
        return caught.value.code

    assert code(host="0.0.0.0") == "config.submission_public"
    assert code(host="mail.example.test") == "config.submission_public"
    assert code(host="0.0.0.0", allow_public=True) == "config.submission_unprotected"
    assert code(host="0.0.0.0", allow_public=True, tls_context=server_context) == "config.submission_unprotected"
    assert code(host="0.0.0.0", allow_public=True, users=users, allow_insecure_loopback=True) == (
        "config.submission_unprotected"
    )
    assert code(users=users) == "config.submission_unprotected"
    assert code(require_auth=True) == "config.submission_users"
    assert code(users={"app": "plain password"}, allow_insecure_loopback=True) == "config.submission_user"
    assert code(implicit_tls=True) == "config.submission_tls"
    public = SubmissionServer(
        desk, "0.0.0.0", allow_public=True, tls_context=server_context, users=users, secrets=Vault()
    )
    assert public.starttls_needed  # made, not started: nothing but loopback is bound in tests


def test_a_taken_port_is_a_clear_error(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = SubmissionServer(desk, port=other.getsockname()[1])
        with pytest.raises(ConfigError) as caught:
            server.__enter__()
    assert caught.value.code == "config.submission_bind"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_stopping_finishes_what_is_under_way_and_says_goodbye(desk: Desk) -> None:
    desk.gate.clear()

    async def run() -> tuple[int, bytes]:
        server = SubmissionServer(desk)
        await server.start()
        loop = asyncio.get_running_loop()
        line = await loop.run_in_executor(None, client, server)
        idle = await loop.run_in_executor(None, client, server)
        mail = loop.run_in_executor(None, give, line)
        assert await loop.run_in_executor(None, desk.entered.wait, 10)
        stopping = asyncio.create_task(server.stop())
        parting = await loop.run_in_executor(None, idle.getreply)
        assert parting[0] == 421
        desk.gate.set()
        taken = await mail
        await stopping
        assert (await loop.run_in_executor(None, line.getreply))[0] == 421
        with pytest.raises(OSError):
            await loop.run_in_executor(None, client, server)
        line.close()
        idle.close()
        return taken

    assert asyncio.run(run())[0] == 250
    assert len(desk.mails) == 1


def test_a_client_that_vanishes_leaves_nothing_behind(open_server: SubmissionServer, desk: Desk) -> None:
    for said in (
        b"",
        b"EHLO x\r\n",
        b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nFrom: a",
    ):
        with socket.create_connection(("127.0.0.1", open_server.port), timeout=10) as raw:
            raw.sendall(said)
    with client(open_server) as line:
        assert give(line)[0] == 250
    assert len(desk.mails) == 1
