"""Reading replies, offers and enhanced codes; stuffing dots; the SASL strings."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailops.smtp import auth
from mailops.smtp.session import Extensions, stuff
from mailops.smtp.wire import MAX_LINES, Reply, Wire, WireError, visible


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours), theirs


@pytest.mark.parametrize(
    ("raw", "replies"),
    [
        (b"250 ok\r\n", [Reply(250, "ok")]),
        (b"250-a\r\n250-b\r\n250 c\r\n", [Reply(250, "a\nb\nc")]),
        (b"250 a\r\n250 b\r\n354 c\r\n", [Reply(250, "a"), Reply(250, "b"), Reply(354, "c")]),
        (b"250\r\n", [Reply(250, "")]),
        (b"250 bare lf\n", [Reply(250, "bare lf")]),
        ("550 kein Empfänger\r\n".encode(), [Reply(550, "kein Empfänger")]),
        (b"550 \x1b[31mred\xff\r\n", [Reply(550, "\ufffd[31mred\ufffd")]),
    ],
)
def test_replies_are_read_whole_or_in_pieces(
    ends: tuple[Wire, socket.socket], raw: bytes, replies: list[Reply]
) -> None:
    wire, peer = ends
    peer.sendall(raw)
    assert [wire.read(5) for _ in replies] == replies
    assert not wire.pending
    for octet in raw[:-1]:
        peer.sendall(bytes([octet]))
    peer.sendall(raw[-1:])
    assert [wire.read(5) for _ in replies] == replies


@pytest.mark.parametrize(
    "raw",
    [b"hello\r\n", b"\r\n", b"999 no\r\n", b"199 no\r\n", b"25 x\r\n", b"250_x\r\n", b"x" * 10_000, b"250-a\r\n" * 500],
)
def test_garbage_is_an_error_with_the_bytes_shown(ends: tuple[Wire, socket.socket], raw: bytes) -> None:
    wire, peer = ends
    peer.sendall(raw)
    with pytest.raises(WireError) as caught:
        wire.read(5)
    assert caught.value.kind == "garbled"
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 400


def test_bounds_and_ends(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    peer.sendall(b"250-a\r\n" * (MAX_LINES - 1) + b"250 end\r\n")
    assert wire.read(5).text.count("\n") == MAX_LINES - 1
    with pytest.raises(WireError) as caught:
        wire.read(0.05)
    assert caught.value.kind == "timeout"
    peer.sendall(b"25")
    peer.close()
    with pytest.raises(WireError) as caught:
        wire.read(5)
    assert caught.value.kind == "closed"
    assert "25" in caught.value.text


@given(st.binary(max_size=400))
def test_no_octets_make_the_reader_do_anything_but_answer_or_refuse(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        theirs.shutdown(socket.SHUT_WR)
        wire = Wire(ours)
        kinds = []
        while not kinds:
            try:
                assert 200 <= wire.read(5).code <= 599
            except WireError as error:
                kinds.append(error.kind)
        assert kinds[0] in ("closed", "garbled")
        assert all(line.isprintable() for line in wire.transcript())


def test_the_transcript_masks_secrets_and_knows_no_body(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    wire.keep_secret(["tok-12345", "abc"])
    wire.write(b"AUTH PLAIN c2VjcmV0\r\n", 5, note="AUTH PLAIN ***")
    peer.sendall(b"535 tok-12345 is abc wrong\r\n")
    wire.read(5)
    wire.write(b"MAIL FROM:<a@x.test>\r\nDATA\r\n", 5)
    assert wire.transcript() == (
        "C: AUTH PLAIN ***",
        "S: 535 *** is abc wrong",
        "C: MAIL FROM:<a@x.test>",
        "C: DATA",
    )


@pytest.mark.parametrize(
    ("reply", "enhanced", "text"),
    [
        (Reply(550, "5.1.1 User unknown"), "5.1.1", "User unknown"),
        (Reply(550, "5.1.1 User\n5.1.1 unknown"), "5.1.1", "User\nunknown"),
        (Reply(250, "2.0.0"), "2.0.0", ""),
        (Reply(450, "5.1.1 wrong class"), None, "5.1.1 wrong class"),
        (Reply(550, "User unknown"), None, "User unknown"),
        (Reply(550, "5.1.1.2 an address"), None, "5.1.1.2 an address"),
    ],
)
def test_enhanced_codes(reply: Reply, enhanced: str | None, text: str) -> None:
    assert reply.split == (enhanced, text)


def test_offers() -> None:
    offers = Extensions.parse("host greets\npipelining\nSIZE 1000\nAUTH PLAIN login\nAUTH=CRAM-MD5\n\n8BITMIME")
    assert "PIPELINING" in offers
    assert "8BITMIME" in offers
    assert "STARTTLS" not in offers
    assert offers.size == 1000
    assert set(offers.mechanisms) == {"PLAIN", "LOGIN", "CRAM-MD5"}
    for odd in ("SIZE", "SIZE 0", "SIZE x", "SIZE " + "9" * 30, "SIZE ²"):
        assert Extensions.parse(f"host\n{odd}").size is None


@given(st.lists(st.sampled_from([b".", b"..", b"", b"a", b".a", b"a."]), max_size=8))
def test_dots_come_back_as_they_were(lines: list[bytes]) -> None:
    data = b"\r\n".join(lines)
    wire = stuff(data)
    assert wire.endswith(b"\r\n.\r\n")
    taken = b""
    for line in wire.split(b"\r\n"):
        if line == b".":
            break
        taken += (line[1:] if line.startswith(b".") else line) + b"\r\n"
    # Only a missing last line end is added.
    assert taken == (data if data.endswith(b"\r\n") else data + b"\r\n")
    assert wire.count(b"\r\n.\r\n") == 1


def test_sasl_strings() -> None:
    assert auth.plain("ann", "pw")[0] == b"\0ann\0pw"
    # The example of RFC 7628 section 4.1, and the form Google and Microsoft document for XOAUTH2.
    first, answer = auth.oauthbearer("user@example.com", "vF9dft4qmT", "server.example.com", 587)
    assert first == (b"n,a=user@example.com,\x01host=server.example.com\x01port=587\x01auth=Bearer vF9dft4qmT\x01\x01")
    assert answer(b"{}") == b"\x01"
    first, answer = auth.xoauth2("user@example.com", "tok")
    assert first == b"user=user@example.com\x01auth=Bearer tok\x01\x01"
    assert answer(b"{}") == b""
    assert auth.oauthbearer("a=b,c", "t", "h", 1)[0] == b"n,a=a=3Db=2Cc,\x01host=h\x01port=1\x01auth=Bearer t\x01\x01"
    assert auth.login_on_the_wire("jürgen@bücher.example") == "jürgen@xn--bcher-kva.example"
    assert auth.login_on_the_wire("plain") == "plain"


def test_mechanisms_are_picked_by_protection() -> None:
    offered = ("CRAM-MD5", "LOGIN", "PLAIN", "SCRAM-SHA-1")
    assert auth.pick_password_mechanism(offered, protected=True) == ["PLAIN", "LOGIN", "CRAM-MD5"]
    assert auth.pick_password_mechanism(offered, protected=False)[0] == "CRAM-MD5"


def test_a_long_token_waits_for_the_challenge(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    peer.sendall(b"334 \r\n235 2.7.0 ok\r\n")
    token = "t" * 2000
    reply, told = auth.exchange(wire, "XOAUTH2", *auth.xoauth2("a@x.test", token), 5)
    assert reply.code == 235
    assert told == ""
    sent = peer.recv(10_000).split(b"\r\n")
    assert sent[0] == b"AUTH XOAUTH2"
    assert token.encode() in base64.b64decode(sent[1])
    assert token not in "\n".join(wire.transcript())


def test_an_oauth_error_is_told(ends: tuple[Wire, socket.socket]) -> None:
    wire, peer = ends
    challenge = base64.b64encode(b'{"status":"401","scope":"https://mail.example.com/"}')
    peer.sendall(b"334 " + challenge + b"\r\n535 5.7.8 no\r\n")
    reply, told = auth.exchange(wire, "XOAUTH2", *auth.xoauth2("a@x.test", "t"), 5)
    assert reply.code == 535
    assert told == "status=401, scope=https://mail.example.com/"


def test_visible_is_one_bounded_line() -> None:
    assert visible(b"a\r\n\x00\\\xff") == "a\\x0d\\x0a\\x00\\x5c\\xff"
    assert len(visible(b"\0" * 5000)) < 1000
