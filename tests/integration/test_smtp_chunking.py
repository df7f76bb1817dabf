"""CHUNKING (RFC 3030): the mail in one flight, and what becomes of it when something goes wrong on the way."""

from __future__ import annotations

import pytest
from test_smtp_transport import raw_peer, server, session_with, transport

from mailops.clock import SystemClock
from mailops.ports import Outbound
from mailops.smtp import SessionPool
from mailops.smtp import session as sessions
from mailops.smtp.session import FLIGHT
from mailops.testing import EXTENSIONS, SmtpServer, drop, refuse
from mailops.testing.smtp_session import SmtpSession as Theirs

OFFERS = EXTENSIONS - {"STARTTLS", "AUTH"} | {"CHUNKING"}
BODY = b"From: a@acme.example\r\nMessage-ID: <1@acme.example>\r\nSubject: s\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"


def mail(*to: str, data: bytes = BODY) -> Outbound:
    return Outbound("bounce@acme.example", to or ("u@x.example",), data)


def commands(peer: SmtpServer) -> list[str]:
    said = [line.text.split(" ")[0] for line in peer.log if line.event == "command"]
    return [word for word in said if word not in ("EHLO", "QUIT")]


def test_a_mail_is_one_flight_and_its_octets_arrive_as_they_are() -> None:
    """At 6f79daf it goes by DATA, in two."""
    with session_with(offers=OFFERS) as (session, peer):
        steps: list[str] = []
        result = session.send(mail("u@x.example", "v@x.example"), steps.append)
        assert result.taken == ("u@x.example", "v@x.example")
        assert steps == ["mail", "rcpt", "data", "body", "final-reply"]
        assert commands(peer) == ["MAIL", "RCPT", "RCPT", "BDAT"]
        assert peer.messages[0].data == BODY  # dots are nobody's business


def test_a_refused_recipient_holds_up_nobody_and_all_refused_is_no_mail() -> None:
    with session_with(refuse("gone@*"), offers=OFFERS) as (session, peer):
        result = session.send(mail("gone@x.example", "u@x.example"))
        assert [reply.code for reply in result.replies] == [550, 250]
        nobody = session.send(mail("gone@x.example"))
        assert [(reply.code, reply.stage) for reply in nobody.replies] == [(550, "rcpt")]
        assert not nobody.unknown
        assert session.send(mail("v@x.example")).taken  # in step
        assert peer.accepted == 2


def test_a_refused_sender_and_a_refused_body_leave_the_session_in_step() -> None:
    with session_with(refuse(None, 554, "5.7.1", "Spam", step="body"), offers=OFFERS) as (session, peer):
        first = session.send(mail())
        assert [(reply.code, reply.stage) for reply in first.replies] == [(554, "body")]
        assert session.alive
        assert "RSET" in commands(peer)
    with session_with(refuse(None, 550, "5.7.1", "No", step="mail"), offers=OFFERS) as (session, _):
        refused = session.send(mail())
        assert [(reply.code, reply.stage) for reply in refused.replies] == [(550, "mail")]
        assert session.alive
        assert not refused.unknown


def test_a_large_body_waits_for_the_recipients() -> None:
    large = BODY + b"x" * 70 + b"\r\n" + b"y" * FLIGHT
    with session_with(refuse("gone@*"), offers=OFFERS) as (session, peer):
        nobody = session.send(mail("gone@x.example", data=large))
        assert [reply.code for reply in nobody.replies] == [550]
        assert "BDAT" not in commands(peer)
        assert session.send(mail(data=large)).taken
        assert peer.messages[0].data == large


def test_bdat_that_is_offered_and_refused_falls_back_to_data() -> None:
    with session_with(refuse(None, 502, "5.5.1", "Not implemented", step="bdat"), offers=OFFERS) as (session, peer):
        assert session.send(mail()).taken
        assert session.send(mail()).taken
        assert commands(peer).count("BDAT") == 1  # and is not asked again
        assert [m.data for m in peer.messages] == [BODY, BODY]


def test_a_server_that_takes_the_body_for_commands_gets_it_once_more_on_a_new_connection() -> None:
    with SmtpServer(extensions=OFFERS) as peer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Theirs, "_bdat", lambda self, rest: self._reply(500, "What?", "5.5.1"))
            pool = SessionPool(transport(), SystemClock())
            session = pool.connect(server(peer.port))
            assert session.send(mail()).taken
            session.close()
            pool.close()
        assert peer.accepted == 1
        assert peer.messages[0].data == BODY


@pytest.mark.parametrize("step", ["mail", "rcpt", "body"])
def test_a_connection_that_ends_amid_the_flight_leaves_the_mail_in_doubt(step: str) -> None:
    """The server may have all of it, whatever it answered."""
    with session_with(drop(step), offers=OFFERS) as (session, _):
        result = session.send(mail())
        assert result.unknown
        assert result.connection_lost
        assert not session.stale


def test_an_idle_connection_that_was_closed_is_opened_again_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "FRESH", -1.0)
    with SmtpServer(extensions=OFFERS) as peer:
        pool = SessionPool(transport(), SystemClock())
        session = pool.connect(server(peer.port))
        assert session.send(mail()).taken
        for one in list(peer._core.sessions):
            peer._loop.call_soon_threadsafe(one.abort)
        assert session.send(mail()).taken
        session.close()
        pool.close()
        assert peer.accepted == 2


def test_what_a_server_says_when_it_ends_amid_the_body_is_told() -> None:
    def talk(connection: object) -> None:
        say = connection.sendall  # type: ignore[attr-defined]
        say(b"220 peer\r\n")
        connection.recv(1000)  # type: ignore[attr-defined]
        say(b"250-peer\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        connection.recv(100)  # type: ignore[attr-defined]
        say(b"421 4.3.2 Closing\r\n")

    with raw_peer(talk) as port:
        session = transport().connect(server(port))
        result = session.send(mail())
        assert [reply.code for reply in result.replies] == [421]
        assert not result.unknown
        session.close()
