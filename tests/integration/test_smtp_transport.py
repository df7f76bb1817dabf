"""The SMTP transport against the scripted loopback peer: what each ending means for each recipient."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mailops.clock import SystemClock
from mailops.errors import DeliveryError, PermanentFailure, TemporaryFailure
from mailops.model.setup import Authentication, DefaultServer, Encryption, Server
from mailops.ports import Outbound
from mailops.smtp import SessionPool, SmtpSession, SmtpTransport
from mailops.smtp.session import RCPT_GROUP, Limits
from mailops.testing import (
    Authority,
    ManualClock,
    Rule,
    SmtpServer,
    defer,
    drop,
    garbage,
    refuse,
    session_limit,
    silence,
    slow,
)

PLAIN_OFFERS = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"})
PIPELINED = PLAIN_OFFERS | {"PIPELINING"}
BODY = (
    b"From: ann@example.com\r\nTo: bob@example.test\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n"
)
MAIL = Outbound("ann@example.com", ("bob@example.test",), BODY)
TWO = Outbound("ann@example.com", ("bob@example.test", "eve@example.test"), BODY)


class Vault:
    """Secrets by reference, as the workspace would give them."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def reveal(self, reference: str) -> str:
        return self.values[reference.partition(":")[2]]


class Tokens:
    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked: list[bool] = []

    def access_token(self, server: Server, *, refused: bool = False) -> str:
        self.asked.append(refused)
        return self.tokens.pop(0)


def transport(tokens: Tokens | None = None, default: DefaultServer | None = None, **values: str) -> SmtpTransport:
    return SmtpTransport(Vault(**values), SystemClock(), tokens, default, helo="client.example.test")


def server(port: int, **changes: object) -> Server:
    base = Server("main", "Main", host="127.0.0.1", port=port, encryption=Encryption.NONE, timeout=10.0)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@contextmanager
def session_with(
    *script: Rule, offers: frozenset[str] = PIPELINED, timeout: float = 10.0
) -> Iterator[tuple[SmtpSession, SmtpServer]]:
    with SmtpServer(script, extensions=offers) as peer:
        session = transport().connect(server(peer.port))
        session.limits = Limits.of(server(peer.port, timeout=timeout))  # only the mail, not the connecting, is in haste
        try:
            yield session, peer
        finally:
            session.close()


@contextmanager
def raw_peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A peer that plays one connection as the function says, for what a proper server would never do."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def run() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            try:
                talk(connection)
            except OSError:
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(10)
        assert not thread.is_alive()


both_ways = pytest.mark.parametrize("offers", [PIPELINED, PLAIN_OFFERS], ids=["pipelined", "step-by-step"])


# --- the good way -----------------------------------------------------------------------------------------------------


@both_ways
def test_a_mail_arrives_as_it_was_and_the_session_is_used_again(offers: frozenset[str]) -> None:
    dots = BODY + b".\r\n..two\r\n.\r\nend\r\n"
    steps: list[str] = []
    with session_with(offers=offers) as (session, peer):
        first = session.send(dataclasses.replace(TWO, data=dots), steps.append)
        second = session.send(dataclasses.replace(MAIL, envelope_from="", data=b"." + BODY[:-2]))
        received = peer.wait_for(2)
    assert [reply.accepted for reply in first.replies + second.replies] == [True] * 3
    assert [reply.recipient for reply in first.replies] == list(TWO.recipients)
    assert first.replies[0].stage == "body"
    assert first.replies[0].enhanced == "2.0.0"
    assert not first.unknown
    assert not first.connection_lost
    assert first.transcript == ()
    assert received[0].data == dots
    assert received[1].data == b"." + BODY
    assert received[1].envelope_from == ""
    assert {message.session for message in received} == {1}
    assert steps == ["mail", "rcpt", "data", "body", "final-reply"]


def test_many_recipients_go_out_in_groups() -> None:
    everyone = tuple(f"user{n}@example.test" for n in range(2 * RCPT_GROUP + 7))
    refused = {everyone[3], everyone[RCPT_GROUP], everyone[-1]}
    with session_with(*(refuse(spec) for spec in refused)) as (session, peer):
        result = session.send(Outbound("ann@example.com", everyone, BODY))
        (received,) = peer.wait_for(1)
    assert {reply.recipient for reply in result.replies if not reply.accepted} == refused
    assert set(received.recipients) == set(everyone) - refused


def test_size_8bitmime_and_smtputf8_are_declared_where_offered() -> None:
    data = "From: ann@example.com\r\nSubject: Grüße\r\n\r\nschön\r\n".encode()
    mail = Outbound("ann@example.com", ("jürgen@bücher.example",), data, smtputf8=True, eightbit=True)
    with session_with() as (session, peer):
        assert session.send(mail).replies[0].accepted
        (received,) = peer.wait_for(1)
    assert received.parameters["SIZE"] == str(len(data))
    assert received.parameters["BODY"] == "8BITMIME"
    assert "SMTPUTF8" in received.parameters
    assert received.recipients == ("jürgen@xn--bcher-kva.example",)


# --- refused by us, before anything is sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "offers", "code", "enhanced", "words"),
    [
        ({"data": BODY + b"x" * 3000}, PIPELINED, 552, "5.3.4", "at most 2000"),
        ({"data": BODY + "schön\r\n".encode(), "eightbit": True}, PIPELINED - {"8BITMIME"}, 554, "5.6.3", "8BITMIME"),
        ({"data": "Subject: ü\r\n\r\n".encode(), "smtputf8": True}, PIPELINED - {"SMTPUTF8"}, 553, "5.6.7", "SMTPUTF8"),
        ({"envelope_from": "ann@example.com> SIZE=1\r\nRSET"}, PIPELINED, 553, "5.1.7", "envelope sender"),
        ({"recipients": ("bob@example.test>\r\nDATA",)}, PIPELINED, 553, "5.1.3", "not usable"),
        ({"recipients": ("bob example.test",)}, PIPELINED, 553, "5.1.3", "not usable"),
        ({"data": BODY + b"smuggled\n.\r\nMAIL FROM:<x@example.com>\r\n"}, PIPELINED, 554, "5.6.0", "CRLF"),
        ({"data": BODY + b"smuggled\r.\r\n"}, PIPELINED, 554, "5.6.0", "CRLF"),
    ],
)
def test_what_this_server_cannot_carry_is_refused_locally(
    changes: dict[str, object], offers: frozenset[str], code: int, enhanced: str, words: str
) -> None:
    with SmtpServer(extensions=offers, max_size=2000) as peer:
        session = transport().connect(server(peer.port))
        result = session.send(dataclasses.replace(MAIL, **changes))  # type: ignore[arg-type]
        (reply,) = result.replies
        assert (reply.code, reply.enhanced, reply.stage) == (code, enhanced, "local")
        assert words in reply.text
        assert session.send(MAIL).replies[0].accepted  # nothing was sent, the session is as good as before
        session.close()
        assert [message.data for message in peer.messages] == [BODY]


def test_only_the_international_recipient_is_refused_without_smtputf8() -> None:
    mail = Outbound("ann@example.com", ("jürgen@example.test", "bob@example.test"), BODY)
    with session_with(offers=PIPELINED - {"SMTPUTF8"}) as (session, peer):
        first, second = session.send(mail).replies
        (received,) = peer.wait_for(1)
    assert (first.code, first.enhanced, first.stage) == (553, "5.6.7", "local")
    assert second.accepted
    assert received.recipients == ("bob@example.test",)


def test_a_size_limit_of_ours_counts_as_well() -> None:
    with SmtpServer() as peer:
        session = transport().connect(server(peer.port, max_size=50))
        assert session.send(MAIL).replies[0].enhanced == "5.3.4"
        session.close()


# --- refused by the server --------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "body"])
@pytest.mark.parametrize(("code", "enhanced"), [(451, "4.3.0"), (550, "5.7.1")])
def test_a_refusal_at_any_step_reaches_the_recipient(
    offers: frozenset[str], step: str, code: int, enhanced: str
) -> None:
    with session_with(Rule(step, "reply", code, enhanced, "not\ntoday", first=1), offers=offers) as (session, peer):
        result = session.send(MAIL)
        (reply,) = result.replies
        assert (reply.code, reply.enhanced, reply.text, reply.stage) == (code, enhanced, "not\ntoday", step)
        assert reply.permanent is (code == 550)
        assert not result.unknown
        assert not result.connection_lost
        assert any(line.startswith(f"S: {code}") for line in result.transcript)
        assert not any("Hello." in line for line in result.transcript)
        assert session.send(MAIL).replies[0].accepted  # the transaction was cleared
        assert len(peer.wait_for(1)) == 1


@both_ways
def test_one_refused_recipient_does_not_hold_up_the_other(offers: frozenset[str]) -> None:
    with session_with(refuse("bob@*"), offers=offers) as (session, peer):
        bob, eve = session.send(TWO).replies
        (received,) = peer.wait_for(1)
    assert (bob.code, bob.enhanced, bob.stage) == (550, "5.1.1", "rcpt")
    assert eve.accepted
    assert received.recipients == ("eve@example.test",)


@both_ways
def test_421_ends_the_session_and_is_temporary(offers: frozenset[str]) -> None:
    script = [Rule("rcpt", "reply", 421, "4.3.2", "shutting down", recipient="eve@*")]
    with session_with(*script, offers=offers) as (session, peer):
        result = session.send(TWO)
        assert [reply.code for reply in result.replies] == [421, 421]
        assert result.connection_lost
        assert not result.unknown
        assert session.send(MAIL).connection_lost  # a dead session says so and does not hang
    assert peer.accepted == 0


def test_data_taken_although_everybody_was_refused_is_ended_by_a_lone_dot() -> None:
    said: list[bytes] = []

    def talk(line: socket.socket) -> None:
        file = line.makefile("rb")
        line.sendall(b"220 odd\r\n")
        file.readline()
        line.sendall(b"250-odd\r\n250 PIPELINING\r\n")
        for answer in (b"250 ok\r\n", b"550 5.1.1 no\r\n", b"354 go\r\n"):
            said.append(file.readline())
            line.sendall(answer)
        said.append(file.readline())
        line.sendall(b"554 no recipients\r\n")
        said.append(file.readline())
        line.sendall(b"221 bye\r\n")

    with raw_peer(talk) as port:
        session = transport().connect(server(port))
        result = session.send(MAIL)
        session.close()
    assert result.replies[0].code == 550
    assert not result.connection_lost
    assert said[2:] == [b"DATA\r\n", b".\r\n", b"QUIT\r\n"]


# --- broken lines -----------------------------------------------------------------------------------------------------

FAULTS = {"drop": drop, "garbage": garbage, "silence": silence}


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "body"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_line_is_temporary_and_unknown_only_after_the_final_dot(
    offers: frozenset[str], step: str, fault: str
) -> None:
    with session_with(FAULTS[fault](step), offers=offers, timeout=0.3 if fault == "silence" else 10.0) as (session, _):
        result = session.send(MAIL)
    (reply,) = result.replies
    assert (reply.code, reply.stage) == (0, step)
    assert not reply.accepted
    assert not reply.permanent
    assert result.connection_lost
    assert result.unknown is (step == "body")
    words = {"drop": "closed the connection", "garbage": "no SMTP reply", "silence": "no complete answer"}
    assert words[fault] in reply.text or "broke" in reply.text
    assert result.transcript


def test_a_mail_that_was_stored_before_the_line_broke_is_unknown() -> None:
    with session_with(drop("body", after=True)) as (session, peer):
        result = session.send(MAIL)
        peer.wait_for(1)
    assert result.unknown
    assert result.connection_lost


@pytest.mark.parametrize("kind", ["binary", "long"])
def test_garbled_bytes_are_shown_safely_and_bounded(kind: str) -> None:
    with session_with(garbage("mail", kind)) as (session, _):
        (reply,) = session.send(MAIL).replies
    assert reply.text.isprintable()
    assert len(reply.text) < 1500
    if kind == "binary":
        assert "\\x" in reply.text


def test_an_answer_that_drips_in_byte_by_byte_runs_into_the_deadline() -> None:
    with session_with(slow("mail", byte_seconds=0.05), timeout=0.3) as (session, _):
        result = session.send(MAIL)
    assert "no complete answer" in result.replies[0].text
    assert result.connection_lost


def test_an_endless_reply_is_cut() -> None:
    def talk(line: socket.socket) -> None:
        line.sendall(b"220-hello\r\n" * 5000)

    with raw_peer(talk) as port, pytest.raises(TemporaryFailure) as caught:
        transport().connect(server(port))
    assert caught.value.code == "smtp.garbled"


def test_a_reason_given_amid_the_body_is_kept() -> None:
    def talk(line: socket.socket) -> None:
        file = line.makefile("rb")
        line.sendall(b"220 x\r\n")
        file.readline()
        line.sendall(b"250-x\r\n250 PIPELINING\r\n")
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            file.readline()
            line.sendall(answer)
        line.sendall(b"552 5.3.4 too much\r\n")
        line.shutdown(socket.SHUT_WR)
        file.read(1000)

    with raw_peer(talk) as port:
        session = transport().connect(server(port))
        result = session.send(dataclasses.replace(MAIL, data=BODY + b"x" * 70 * 1024 * 1024))
    assert not result.unknown
    assert result.connection_lost
    assert result.replies[0].stage == "body"
    assert not result.replies[0].accepted


def test_an_exception_in_the_callers_hook_does_not_escape() -> None:
    def trip(step: str) -> None:
        if step == "body":
            raise RuntimeError("hook")

    with session_with() as (session, _):
        result = session.send(MAIL, trip)
    assert result.unknown
    assert result.connection_lost


# --- connecting -------------------------------------------------------------------------------------------------------


def failure(spec: Server, **values: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        transport(**values).connect(spec)
    return caught.value


@pytest.mark.parametrize("step", ["connect", "ehlo"])
@pytest.mark.parametrize(("code", "kind"), [(450, TemporaryFailure), (554, PermanentFailure)])
def test_a_refused_greeting_says_what_the_server_said(step: str, code: int, kind: type[DeliveryError]) -> None:
    with SmtpServer([Rule(step, "reply", code, f"{code // 100}.7.1", "go away")]) as peer:
        error = failure(server(peer.port))
    assert isinstance(error, kind)
    assert error.code == "smtp.reply"
    assert error.facts["smtp_code"] == code
    assert error.facts["enhanced"] == f"{code // 100}.7.1"
    assert error.facts["stage"] == step
    assert "go away" in error.message


def test_an_old_server_is_greeted_with_helo_and_gets_no_parameters() -> None:
    with SmtpServer([Rule("ehlo", "reply", 500, None, "what?", first=1)]) as peer:
        session = transport().connect(server(peer.port))
        assert not session.extensions.esmtp
        assert session.send(MAIL).replies[0].accepted
        session.close()
        assert peer.wait_for(1)[0].parameters == {}


@pytest.mark.parametrize("step", ["connect", "ehlo"])
@pytest.mark.parametrize(
    ("fault", "code"), [("drop", "smtp.closed"), ("garbage", "smtp.garbled"), ("silence", "smtp.no_response")]
)
def test_a_broken_greeting_is_temporary(step: str, fault: str, code: str) -> None:
    with SmtpServer([FAULTS[fault](step)]) as peer:
        error = failure(server(peer.port, timeout=1.0 if fault == "silence" else 10.0))
    assert isinstance(error, TemporaryFailure)
    assert (error.code, error.facts["stage"]) == (code, step)
    assert error.fix


def test_nobody_listens_and_unusable_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failure(server(port)).code == "smtp.no_response"
    for host in ("", "two words", "host\nname", "[::1"):
        assert failure(server(port, host=host)).code in ("smtp.host_unknown", "smtp.no_response")
    assert failure(server(0)).code == "smtp.host_unknown"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_literals() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    said: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            connection.sendall(b"220 six\r\n")
            said.append(file.readline())
            connection.sendall(b"250 six\r\n")
            file.readline()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        session = SmtpTransport(Vault(), SystemClock()).connect(server(listener.getsockname()[1], host="[::1]"))
        session.abort()
        thread.join(10)
    assert said[0].startswith(b"EHLO ")


def test_the_default_servers_connection_is_borrowed() -> None:
    with SmtpServer(auth={"ann": "s3cret-word"}) as peer:
        default = DefaultServer("127.0.0.1", peer.port, login="ann", password="env:PW")
        spec = Server("cli", "CLI", authentication=Authentication.CLI)
        session = transport(default=default, PW="s3cret-word").connect(spec)
        session.send(MAIL)
        session.close()
        assert peer.wait_for(1)[0].login == "ann"
    assert failure(Server("cli", "CLI", authentication=Authentication.CLI)).code == "smtp.config"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_protected_sending(authority: Authority, mode: str) -> None:
    with SmtpServer(tls=authority.server_tls(mode)) as peer:
        spec = server(peer.port, encryption=Encryption(mode), ca_file=authority.ca_file)
        session = transport().connect(spec)
        big = dataclasses.replace(MAIL, data=BODY + (b"x" * 70 + b"\r\n") * 20_000)
        assert session.send(big).replies[0].accepted
        assert session.send(MAIL).replies[0].accepted
        session.close()
        received = peer.wait_for(2)
    assert all(message.tls for message in received)
    assert received[0].data == big.data


@pytest.mark.parametrize("mode", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("kind", "code"),
    [("expired", "smtp.tls_expired"), ("wrong-host", "smtp.tls_hostname"), ("untrusted", "smtp.tls_untrusted")],
)
def test_a_bad_certificate_is_refused_and_named(authority: Authority, mode: str, kind: str, code: str) -> None:
    with SmtpServer(tls=authority.server_tls(mode, kind), auth={"ann": "s3cret-word"}) as peer:
        spec = server(
            peer.port,
            encryption=Encryption(mode),
            ca_file=authority.ca_file,
            authentication=Authentication.LOGIN,
            login="ann",
            password="env:PW",
        )
        error = failure(spec, PW="s3cret-word")
        assert not any("AUTH" in entry.text for entry in peer.log)
    assert isinstance(error, TemporaryFailure)
    assert error.code == code
    assert error.fix


def test_the_system_store_does_not_know_our_authority(authority: Authority) -> None:
    with SmtpServer(tls=authority.server_tls("tls")) as peer:
        assert failure(server(peer.port, encryption=Encryption.TLS)).code == "smtp.tls_untrusted"


def test_starttls_not_offered_is_refused_without_downgrade(authority: Authority) -> None:
    with SmtpServer() as peer:
        error = failure(server(peer.port, encryption=Encryption.STARTTLS))
        assert error.code == "smtp.not_supported"
        assert peer.accepted == 0


@pytest.mark.parametrize(
    ("fault", "code"), [("drop", "smtp.closed"), ("silence", "smtp.no_response"), ("garbage", "smtp.garbled")]
)
def test_a_handshake_that_fails_is_temporary(authority: Authority, fault: str, code: str) -> None:
    with SmtpServer([FAULTS[fault]("tls")], tls=authority.server_tls()) as peer:
        spec = server(peer.port, encryption=Encryption.STARTTLS, ca_file=authority.ca_file, timeout=1.5)
        error = failure(spec)
    assert isinstance(error, TemporaryFailure)
    assert error.facts["stage"] == "starttls"
    assert error.code == code or (fault == "garbage" and error.code.startswith("smtp.tls"))


def test_tls_to_a_port_that_speaks_plain_is_explained() -> None:
    with SmtpServer() as peer:
        error = failure(server(peer.port, encryption=Encryption.TLS))
    assert error.code == "smtp.tls_not_spoken"
    assert "STARTTLS" in error.fix


def test_data_injected_before_the_handshake_is_not_believed() -> None:
    def talk(line: socket.socket) -> None:
        file = line.makefile("rb")
        line.sendall(b"220 x\r\n")
        file.readline()
        line.sendall(b"250-x\r\n250 STARTTLS\r\n")
        file.readline()
        line.sendall(b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n")

    with raw_peer(talk) as port:
        assert failure(server(port, encryption=Encryption.STARTTLS)).code == "smtp.garbled"


def test_an_unusable_ca_file_is_a_clear_error(tmp_path: object) -> None:
    with SmtpServer() as peer:
        spec = server(peer.port, encryption=Encryption.TLS, ca_file=f"{tmp_path}/none.pem")
        error = failure(spec)
    assert error.code == "smtp.config"
    assert "CA file" in error.message


# --- signing in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_login_over_starttls(authority: Authority, mechanism: str) -> None:
    with SmtpServer(
        tls=authority.server_tls(), auth={"ann@xn--bcher-kva.example": "pässword"}, mechanisms=[mechanism]
    ) as peer:
        spec = server(
            peer.port,
            encryption=Encryption.STARTTLS,
            ca_file=authority.ca_file,
            authentication=Authentication.LOGIN,
            login="ann@bücher.example",
            password="env:PW",
        )
        session = transport(PW="pässword").connect(spec)
        session.send(MAIL)
        session.close()
        assert peer.wait_for(1)[0].login == "ann@xn--bcher-kva.example"


def test_cram_md5_hides_the_password() -> None:
    said: list[bytes] = []

    def talk(line: socket.socket) -> None:
        file = line.makefile("rb")
        line.sendall(b"220 x\r\n")
        file.readline()
        line.sendall(b"250-x\r\n250 AUTH PLAIN CRAM-MD5\r\n")
        said.append(file.readline())
        line.sendall(b"334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n")
        said.append(file.readline())
        line.sendall(b"235 ok\r\n")
        file.readline()

    with raw_peer(talk) as port:
        spec = server(port, authentication=Authentication.LOGIN, login="tim", password="env:PW")
        transport(PW="tanstaaftanstaaf").connect(spec).abort()
    # The worked example of RFC 2195 section 2.
    assert said == [b"AUTH CRAM-MD5\r\n", b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n"]


def test_a_refused_sign_in_is_permanent_and_shows_no_secret() -> None:
    with SmtpServer(auth={"ann": "right"}) as peer:
        spec = server(peer.port, authentication=Authentication.LOGIN, login="ann", password="env:PW")
        error = failure(spec, PW="wrong-s3cret")
    assert isinstance(error, PermanentFailure)
    assert error.code == "smtp.auth_refused"
    assert error.facts["smtp_code"] == 535
    shown = f"{error} {error.as_dict()}"
    assert "wrong-s3cret" not in shown
    assert "AUTH PLAIN ***" in shown or "AUTH LOGIN" in shown


def test_credentials_never_pass_an_unprotected_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # The peer is this machine, so the rule about foreign peers is tried by calling the line a foreign one.
    monkeypatch.setattr("mailops.smtp.transport._is_loopback", lambda _sock: False)
    with SmtpServer(auth={"ann": "right-word"}) as peer:
        spec = server(peer.port, authentication=Authentication.LOGIN, login="ann", password="env:PW")
        error = failure(spec, PW="right-word")
        assert not any("AUTH" in entry.text for entry in peer.log if entry.event == "command")
    assert error.code == "smtp.auth_unprotected"


def test_missing_password_and_no_offered_mechanism_are_told_apart() -> None:
    with SmtpServer() as peer:
        spec = server(peer.port, authentication=Authentication.LOGIN, login="ann")
        assert failure(spec).code == "smtp.config"
        spec = dataclasses.replace(spec, password="env:PW")
        assert failure(spec, PW="x").code == "smtp.not_supported"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_refused_token_is_renewed_once(authority: Authority, mechanism: str) -> None:
    with SmtpServer(
        tls=authority.server_tls(), auth={"ann@example.com": "fresh-token"}, mechanisms=[mechanism]
    ) as peer:
        spec = server(
            peer.port,
            encryption=Encryption.STARTTLS,
            ca_file=authority.ca_file,
            authentication=Authentication.OAUTH,
            login="ann@example.com",
        )
        tokens = Tokens("stale-token", "fresh-token")
        session = transport(tokens).connect(spec)
        assert session.send(MAIL).replies[0].accepted
        session.close()
        assert tokens.asked == [False, True]
        bad = Tokens("stale-token", "other-token")
        with pytest.raises(PermanentFailure) as caught:
            transport(bad).connect(spec)
    assert bad.asked == [False, True]
    assert caught.value.code == "smtp.auth_refused"
    assert "stale-token" not in str(caught.value.as_dict())


def test_sign_in_by_certificate(authority: Authority) -> None:
    pair = authority.client("relay.example.test")
    with open(pair.keyfile) as file:
        key = file.read()
    with SmtpServer(tls=authority.server_tls("tls", require_client=True)) as peer:
        spec = server(
            peer.port,
            encryption=Encryption.TLS,
            ca_file=authority.ca_file,
            authentication=Authentication.CERTIFICATE,
            client_cert=pair.certfile,
            client_key="vault:KEY",
        )
        session = transport(KEY=key).connect(spec)
        session.send(MAIL)
        session.close()
        assert peer.wait_for(1)[0].login == "relay.example.test"
        assert failure(dataclasses.replace(spec, client_key=None)).code == "smtp.config"
        assert failure(spec, KEY="no key at all").code == "smtp.config"


# --- kept sessions ----------------------------------------------------------------------------------------------------


def test_the_pool_keeps_one_session_and_reconnects_silently_when_the_server_ended_it() -> None:
    with SmtpServer([session_limit(2)]) as peer:
        pool = SessionPool(transport(), SystemClock())
        results = []
        for _ in range(5):
            session = pool.connect(server(peer.port))
            results.append(session.send(MAIL))
            session.close()
        pool.close()
        received = peer.wait_for(5)
    assert all(result.replies[0].accepted and not result.connection_lost for result in results)
    assert [message.session for message in received] == [1, 1, 2, 2, 3]


def test_the_pool_notices_a_closed_connection() -> None:
    clock = ManualClock()
    with SmtpServer([drop("mail", nth=2)]) as peer:
        pool = SessionPool(transport(), clock)
        session = pool.connect(server(peer.port))
        assert session.send(MAIL).replies[0].accepted
        assert session.send(MAIL).replies[0].accepted
        session.close()
        pool.close()
        assert peer.counters["sessions"] == 2
        assert peer.accepted == 2


def test_a_fresh_connection_is_tried_once_only() -> None:
    with SmtpServer([drop("mail", nth=2), drop("mail", nth=2)]) as peer:
        pool = SessionPool(transport(), SystemClock())
        session = pool.connect(server(peer.port))
        session.send(MAIL)
        result = session.send(MAIL)
        session.close()
        assert result.connection_lost
        assert result.replies[0].code == 0
        assert peer.counters["sessions"] == 2


def test_idle_and_worn_sessions_are_replaced() -> None:
    clock = ManualClock()
    with SmtpServer() as peer:
        pool = SessionPool(transport(), clock, idle=30, messages=2)
        for pause in (0, 31, 0, 0):
            clock.advance(pause)
            session = pool.connect(server(peer.port))
            session.send(MAIL)
            session.close()
        pool.close()
        assert [message.session for message in peer.wait_for(4)] == [1, 2, 2, 3]


def test_a_deferred_mail_does_not_cost_the_session() -> None:
    with session_with(defer("bob@*", first=1)) as (session, peer):
        assert session.send(MAIL).replies[0].code == 451
        assert session.send(MAIL).replies[0].accepted
        assert {message.session for message in peer.wait_for(1)} == {1}
