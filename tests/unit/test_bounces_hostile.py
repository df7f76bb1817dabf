"""Broken and hostile messages: nothing raises, nothing hangs, memory and output stay bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailops.bounces import Report, classify, parse
from mailops.mime import MAX_BYTES, MAX_PARTS

FOLDER = Path(__file__).parent.parent / "fixtures" / "bounces"
SEEDS = [file.read_bytes() for file in sorted(FOLDER.glob("*.eml"))]
HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n"
KINDS = {"bounce", "delayed", "success-dsn", "autoreply", "complaint", "unread", "ordinary"}


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """A guard against hanging: generous, it measures nothing."""

    def stop(*_: object) -> None:
        raise AssertionError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(data: bytes) -> Report:
    with no_longer_than(20):
        report = parse(data)
    assert report.kind in KINDS
    assert len(report.results) <= 200
    for result in report.results:
        assert len(result.recipient) <= 400
        assert len(result.diagnostic) <= 1000
    for text in texts(report):
        assert "\0" not in text
        text.encode()  # no half surrogates
    return report


def texts(report: Report) -> Iterator[str]:
    """Every text of a report: databases, terminals and pages get them."""
    holders: list[object] = [report, report.original, *report.results]
    for holder in holders:
        for field in fields(holder):  # type: ignore[arg-type]  # all of them are dataclasses
            value = getattr(holder, field.name)
            yield from (value,) if isinstance(value, str) else ()
    yield from report.original.to
    for name, value in report.original.headers.items():
        yield from (name, value)


def multipart(inner: bytes, boundary: bytes = b"b") -> bytes:
    return (
        HEAD + b'Content-Type: multipart/report; report-type=delivery-status; boundary="' + boundary + b'"\n\n' + inner
    )


HOSTILE = {
    "empty": b"",
    "only newlines": b"\n" * 5000,
    "nul bytes": b"\x00" * 20_000,
    "one long body line": HEAD + b"\n" + b"could not be delivered " + b"a@b " * 300_000,
    "one long at line": HEAD + b"\n" + b"@" * 500_000,
    "one long address": HEAD + b"\n<" + b"a" * 400_000 + b"@example.com>: user unknown\n",
    "brackets": HEAD + b"\ncould not be delivered\n" + b"<" * 200_000 + b">" * 200_000,
    "blanks": HEAD + b"\ncould not be delivered to:" + b" " * 500_000 + b"x\n",
    "open tags": HEAD + b"Content-Type: text/html\n\n" + b"<style" * 60_000,
    "script tags": HEAD + b"Content-Type: text/html\n\n" + b"<script>x</script>" * 30_000,
    "long header line": HEAD + b"X-A: " + b"y" * 1_000_000 + b"\n\nuser unknown\n",
    "many headers": HEAD + b"X-A: y\n" * 100_000 + b"\nuser unknown\n",
    "folded header": HEAD + b"X-A: y\n" + b" z\n" * 100_000 + b"\nuser unknown\n",
    "many parts": multipart(b"--b\nContent-Type: text/plain\n\nfailed\n" * 10_000),
    "many boundaries": multipart(b"--b\n" * 100_000),
    "empty boundary": HEAD + b'Content-Type: multipart/report; boundary=""\n\n--\n--\n--\n',
    "boundary of a boundary": multipart(b"--bb\n--b\n--bbb\nContent-Type: text/plain\n\nx\n"),
    "parameters": HEAD + b"Content-Type: multipart/report" + b"; a=b" * 100_000 + b"\n\nx\n",
    "many recipients": multipart(
        b"--b\nContent-Type: message/delivery-status\n\n"
        + b"".join(
            b"Final-Recipient: rfc822; u%d@example.com\nAction: failed\nStatus: 5.1.1\n\n" % n for n in range(20_000)
        )
    ),
    "many text recipients": HEAD
    + b"\ncould not be delivered\n"
    + b"".join(b"<u%d@example.com>:\nno\n" % n for n in range(50_000)),
    "field bomb": multipart(b"--b\nContent-Type: message/delivery-status\n\n" + b"Action: failed\n" * 200_000),
    "encoded words": b"Subject: " + b"=?utf-8?q?=?= " * 5000 + b"\n" + HEAD + b"\nx\n",
    "bad encoded word": b"From: MAILER-DAEMON@x\nSubject: =?no-such-charset?b?!!!!?=\n\nuser unknown\n",
    "encoded word with one letter": b"From: x@y.example\nSubject: =?utf-8?b?a?= =?utf-8?b?????=\n\nx\n",
    "encoded subject of raw bytes": b"From: x@y.example\nSubject: \xff\xfe=?x?q?\xff?=\n\nx\n",
    "bad charset": HEAD + b"Content-Type: text/plain; charset=\xff\x00nonsense\n\nuser unknown\n",
    "codec that is no charset": HEAD + b"Content-Type: text/plain; charset=rot13\n\nuser unknown\n",
    "zlib codec": HEAD + b"Content-Type: text/plain; charset=zlib\n\nuser unknown\n",
    "idna codec": HEAD + b"Content-Type: text/plain; charset=idna\n\nuser unknown\n" + b"a" * 50_000,
    "punycode codec": HEAD
    + b"Content-Type: text/plain; charset=punycode\n\nuser unknown\n"
    + b"a" * 90_000
    + b"-"
    + b"9z" * 90_000,
    "half surrogates in UTF-7": HEAD
    + b"Content-Type: text/plain; charset=utf-7\n\nuser unknown +2AA-\n\nReceived: x +2AA-\nMessage-ID: <a+2AA-@x>\n",
    "half surrogates in RFC 6533": multipart(
        b"--b\nContent-Type: message/global-delivery-status\n\nReporting-MTA: dns; x\n\n"
        b"Final-Recipient: utf-8; a\\x{d800}\\x{0}@x.example\nAction: failed\n--b--\n"
    ),
    "half surrogates in JSON": HEAD
    + b'\n{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"a\\ud800@x.example",'
    + b'"diagnosticCode":"smtp; 550 \\u0000 no user"}]},"mail":{"messageId":"\\ud800@x"}}',
    "unicode escape": HEAD + b"Content-Type: text/plain; charset=unicode_escape\n\n\\N{x} user unknown\n",
    "bad base64": HEAD + b"Content-Transfer-Encoding: base64\n\n!!!!" + b"A" * 100_001,
    "bad quoted printable": HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n=ZZ=\n=" * 10_000,
    "escapes in addresses": multipart(
        b"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: utf-8; \\x{FFFFFF}\\x{110000}@x\nAction: failed\n"
    ),
    "deep json": b"From: no-reply@sns.amazonaws.com\n\n" + b'{"notificationType":' + b"[" * 100_000,
    "json of wrong shapes": b'From: no-reply@sns.amazonaws.com\n\n{"notificationType":"Bounce","bounce":[1],"mail":7}',
    "mbox lines": b"From x\n" * 10_000 + HEAD + b"\nx\n",
    "cr only": (HEAD + b"\nuser unknown\n").replace(b"\n", b"\r") * 100,
    "mixed ends": HEAD.replace(b"\n", b"\r\n") + b"\r\r\n\n\ruser unknown\r",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_message_is_survived(data: bytes) -> None:
    read(data)


def test_deep_nesting_is_survived() -> None:
    inner = b"Content-Type: text/plain\n\n<ann@dest.example>: user unknown\n"
    for level in range(500):
        name = b"b%d" % level
        inner = (
            b'Content-Type: multipart/mixed; boundary="'
            + name
            + b'"\n\n--'
            + name
            + b"\n"
            + inner
            + b"\n--"
            + name
            + b"--\n"
        )
    read(HEAD + inner)


def test_what_lies_beyond_the_bound_is_reported_as_unread() -> None:
    report = read(HEAD + b"\n<ann@dest.example>: user unknown\n" + b"x" * MAX_BYTES)
    assert report.truncated
    assert report.recipients == ("ann@dest.example",)


def test_parts_beyond_the_bound_are_reported_as_unread() -> None:
    report = read(multipart(b"--b\nContent-Type: text/plain\n\nfailed\n" * (MAX_PARTS + 5)))
    assert report.truncated


def test_the_reader_takes_only_one_boundary_deep_copies_as_text() -> None:
    assert read(HOSTILE["many recipients"]).kind == "bounce"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_damaged_reports_never_raise(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, max(len(seed) - 1, 0)))
        how = data.draw(st.integers(0, 4))
        if how == 0:
            seed[place : place + 1] = data.draw(st.binary(max_size=8))
        elif how == 1:
            del seed[place : place + data.draw(st.integers(1, 200))]
        elif how == 2:
            seed[place:place] = seed[place : place + data.draw(st.integers(1, 200))] * 3
        elif how == 3:
            seed[place:place] = data.draw(
                st.sampled_from([b"\r", b"\n\n", b"\x00", b"\xff", b"--b\n", b"<@>", b"=?", b"{"])
            )
        else:
            other = data.draw(st.sampled_from(SEEDS))
            seed[place:] = other[data.draw(st.integers(0, len(other))) :]
    read(bytes(seed))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data: bytes) -> None:
    read(data)
    read(b"Subject: " + data)
    read(b"Subject: =?utf-8?b?" + data + b"?=\n\n" + data)
    read(b"Return-Path: <>\nContent-Type: " + data + b"\n\n" + data)
    read(HEAD + b"\n" + data)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=600), st.one_of(st.none(), st.integers(-1, 999)), st.one_of(st.none(), st.text(max_size=12)))
def test_any_reply_is_classified(text: str, code: int | None, enhanced: str | None) -> None:
    answer = classify(code, enhanced, text)
    assert answer.reason
    assert answer.who_acts


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SEEDS))
def test_reading_twice_gives_the_same(data: bytes) -> None:
    assert parse(data) == parse(data)


def test_a_long_line_that_begins_a_box_takes_no_time(tmp_path: Path) -> None:
    box = tmp_path / "box"
    mail = b"Subject: x\n\nHello\n\n"
    box.write_bytes(b"From - Mon Nov 23 06:00:00 2026\n" + mail + b"From " + b"a" * 200_000 + b"\n" + mail)
    command = [sys.executable, "-m", "mailops.cli", "bounces", "stats", str(box), "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        raise AssertionError("a line of 200 kB takes more than 20 s") from None
    assert '"ordinary": 1' in done.stdout


@pytest.mark.parametrize(
    "piece", ["a@", '"a@', "550-'", "because ", "spf [", "S: 550 x\n", "AAAA", "a-a.", "reason for "]
)
def test_repeated_pieces_are_read_in_time_of_their_length(piece: str) -> None:
    raw = b"Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: failure\n\n" + piece.encode() * 20_000
    with no_longer_than(3):
        parse(raw)
