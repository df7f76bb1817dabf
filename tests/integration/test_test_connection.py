"""Test Connection: everything up to the message and no message, and a text of its own for each way to fail."""

from __future__ import annotations

import dataclasses
import json
import socket

import pytest

from mailops.clock import SystemClock
from mailops.model.setup import Authentication, Encryption, Server
from mailops.model.verdict import VerdictState
from mailops.smtp import ConnectionStep, ConnectionTest, SmtpTransport
from mailops.smtp import test_connection as try_connection
from mailops.smtp.probe import DEFAULT_RECIPIENT, NOTE
from mailops.testing import Authority, Rule, SmtpServer, drop, garbage, silence


class Vault:
    def reveal(self, reference: str) -> str:
        return {"env:GOOD": "good-w0rd", "env:BAD": "bad-w0rd"}[reference]


def probe(server: Server, **more: object) -> ConnectionTest:
    transport = SmtpTransport(Vault(), SystemClock(), helo="client.example.test")
    return try_connection(server, transport, sender="ann@example.com", **more)  # type: ignore[arg-type]


def plain(port: int, **changes: object) -> Server:
    base = Server("main", "Main", host="127.0.0.1", port=port, encryption=Encryption.NONE, timeout=5.0)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.req("OUT-19", "OUT-20", "MJ-24")
def test_a_passed_test_tries_everything_and_sends_nothing(authority: Authority) -> None:
    seen: list[ConnectionStep] = []
    with SmtpServer(tls=authority.server_tls(), auth={"ann": "good-w0rd"}) as peer:
        spec = plain(
            peer.port,
            encryption=Encryption.STARTTLS,
            ca_file=authority.ca_file,
            authentication=Authentication.LOGIN,
            login="ann",
            password="env:GOOD",
        )
        result = probe(spec, progress=seen.append)
        commands = [entry.text for entry in peer.log if entry.event == "command"]
    # Read after the peer has ended: whatever it was going to take, it has taken.
    assert peer.accepted == 0
    assert peer.messages == []
    assert result.ok
    assert result.message == "Connection Test Successful!"
    assert [step.name for step in result.steps] == ["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data"]
    assert {step.state for step in result.steps} == {VerdictState.PASSED}
    assert result.steps[-1].reply.startswith("354")
    assert all(step.seconds >= 0 for step in result.steps)
    assert tuple(seen) == result.steps
    assert any(text.startswith("MAIL FROM:<ann@example.com>") for text in commands)
    assert any(text.startswith(f"RCPT TO:<{DEFAULT_RECIPIENT}>") for text in commands)
    assert commands[-1] == "DATA"
    assert "good-w0rd" not in json.dumps(result.as_dict())
    assert "C: AUTH PLAIN ***" in result.transcript


@pytest.mark.req("OUT-20")
def test_a_passed_test_says_that_it_proves_little_and_offers_a_real_mail() -> None:
    with SmtpServer() as peer:
        result = probe(plain(peer.port))
    assert result.note == NOTE
    assert "does not prove that mail goes out" in result.note
    assert "restrictions may remain at the provider" in result.note
    assert "real test mail" in result.note


@pytest.mark.req("OUT-19")
@pytest.mark.parametrize(
    ("step", "code", "good"),
    [("mail", 251, False), ("rcpt", 251, True), ("rcpt", 252, False), ("data", 250, False), ("mail", 451, False)],
)
def test_each_step_wants_its_own_answer(step: str, code: int, good: bool) -> None:
    with SmtpServer([Rule(step, "reply", code, None, "so be it")]) as peer:
        result = probe(plain(peer.port))
        assert peer.accepted == 0
    if step == "rcpt" and code == 251:
        # The peer's step has no effect, so DATA fails there; what counts is that 251 was taken for a yes.
        assert {s.name: s.state for s in result.steps}["rcpt"] is VerdictState.PASSED
        return
    assert result.ok is good
    assert result.steps[[s.name for s in result.steps].index(step)].state is VerdictState.FAILED


FAILURES = {
    "connect-554": ([Rule("connect", "reply", 554, "5.7.1", "no service")], "smtp.reply", "connect"),
    "connect-drop": ([drop("connect")], "smtp.closed", "connect"),
    "connect-garbage": ([garbage("connect")], "smtp.garbled", "connect"),
    "ehlo-silence": ([silence("ehlo")], "smtp.no_response", "ehlo"),
    "mail-550": ([Rule("mail", "reply", 550, "5.7.60", "not as this sender")], "smtp.sender_refused", "mail"),
    "rcpt-554": ([Rule("rcpt", "reply", 554, "5.7.1", "Relay access denied")], "smtp.recipient_refused", "rcpt"),
    "data-451": ([Rule("data", "reply", 451, "4.7.1", "limit reached")], "smtp.data_refused", "data"),
    "mail-drop": ([drop("mail")], "smtp.closed", "mail"),
    "rcpt-garbage": ([garbage("rcpt", "binary")], "smtp.garbled", "rcpt"),
    "data-silence": ([silence("data")], "smtp.no_response", "data"),
}


@pytest.mark.req("OUT-19")
@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_test_names_step_reply_and_next_step(name: str) -> None:
    script, code, step = FAILURES[name]
    with SmtpServer(script) as peer:
        result = probe(plain(peer.port, timeout=1.0 if "silence" in name else 5.0))
        assert peer.accepted == 0
    assert not result.ok
    assert result.code == code
    assert result.fix
    assert result.note == ""
    states = {entry.name: entry.state for entry in result.steps}
    assert states[step] is VerdictState.FAILED
    after = list(states)[list(states).index(step) + 1 :]
    assert all(states[other] is VerdictState.SKIPPED for other in after)
    assert "transcript" not in result.facts
    assert result.transcript or name == "connect-drop"  # there nobody said anything
    if rule_text := script[0].text:
        assert rule_text in result.message


@pytest.mark.req("OUT-19")
def test_each_class_of_failure_has_a_text_of_its_own(authority: Authority) -> None:
    texts: dict[str, str] = {}

    def note(result: ConnectionTest) -> None:
        assert not result.ok
        texts[result.code] = result.message

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    note(probe(plain(port)))
    note(probe(plain(port, host="no such name")))
    for script in ([drop("connect")], [garbage("connect")], [Rule("connect", "reply", 554, None, "no")]):
        with SmtpServer(script) as peer:
            note(probe(plain(peer.port)))
    with SmtpServer() as peer:
        note(probe(plain(peer.port, encryption=Encryption.STARTTLS)))
        note(probe(plain(peer.port, encryption=Encryption.TLS)))
        note(probe(plain(peer.port, authentication=Authentication.LOGIN)))
    for kind in ("expired", "wrong-host", "untrusted"):
        with SmtpServer(tls=authority.server_tls("tls", kind)) as peer:
            note(probe(plain(peer.port, encryption=Encryption.TLS, ca_file=authority.ca_file)))
    with SmtpServer(auth={"ann": "good-w0rd"}) as peer:
        spec = plain(peer.port, authentication=Authentication.LOGIN, login="ann", password="env:BAD")
        note(probe(spec))
    assert set(texts) == {
        "smtp.no_response",
        "smtp.host_unknown",
        "smtp.closed",
        "smtp.garbled",
        "smtp.reply",
        "smtp.not_supported",
        "smtp.tls_not_spoken",
        "smtp.config",
        "smtp.tls_expired",
        "smtp.tls_hostname",
        "smtp.tls_untrusted",
        "smtp.auth_refused",
    }
    assert len(set(texts.values())) == len(texts)
    assert not any("bad-w0rd" in text for text in texts.values())


def test_an_address_with_a_line_break_is_not_sent() -> None:
    with SmtpServer() as peer:
        result = probe(plain(peer.port), recipient="bob@example.test>\r\nDATA")
        assert not any(entry.text == "DATA" for entry in peer.log)
    assert not result.ok
    assert result.code == "smtp.recipient_refused"
