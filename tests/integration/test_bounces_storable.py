"""Whatever bytes stand in a report, every database takes it in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from furnish import furnish

from mailops import Ops
from mailops.testing import SmtpServer, build_dsn

ID, TO, WORDS = b"Message-ID: <", b"gone@x.example", b"User unknown"
CASES: dict[str, Callable[[bytes], bytes]] = {
    "NUL in the references": lambda raw: raw.replace(b"Subject:", b"References: <a\0b@x.example>\r\nSubject:", 1),
    "NUL in the original's Message-ID": lambda raw: raw.replace(ID, ID + b"a\0"),
    "NUL in another field of the original": lambda raw: raw.replace(ID, b"X-Foo: <a\0@b.example>\r\n" + ID),
    "NUL in the recipient": lambda raw: raw.replace(TO, b"go\0ne@x.example"),
    "NUL in the words": lambda raw: raw.replace(WORDS, b"User\0unknown"),
    "NUL in the subject": lambda raw: raw.replace(b"Subject:", b"Subject: a\0b", 1),
    "NUL in the return path's tag": lambda raw: raw.replace(b"bounce@", b"bounce+us\0er=x.example@", 1),
    "half a surrogate in RFC 6533": lambda raw: raw.replace(b"rfc822;", b"utf-8;").replace(
        TO, b"go\\x{d800}ne@x.example"
    ),
    "NUL in RFC 6533": lambda raw: raw.replace(b"rfc822;", b"utf-8;").replace(TO, b"go\\x{0}ne@x.example"),
    "half a surrogate in UTF-7": lambda raw: raw.replace(b"utf-8", b"utf-7").replace(WORDS, WORDS + b" +2AA-"),
    "bytes of no charset": lambda raw: raw.replace(WORDS, b"User\x80unknown").replace(b"gone@", b"g\x80ne@"),
    "a Message-ID without end": lambda raw: raw.replace(ID, ID + b"a" * 3000, 5),
    "a recipient without end": lambda raw: raw.replace(TO, b"g" * 400 + b"@" + b"x" * 300 + b".example"),
    "a tag without end": lambda raw: raw.replace(b"bounce@", b"bounce+" + b"u" * 900 + b"=x.example@", 1),
}


@pytest.mark.parametrize("way", ["take", "receive"])
@pytest.mark.parametrize("case", list(CASES))
def test_a_report_with_odd_bytes_is_kept(ops_on: Callable[..., Ops], case: str, way: str) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.send(sender="Ann <ann@acme.example>", to=["gone@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        (mail,) = smtp.messages
    whole = build_dsn(
        mail.data, "gone@x.example", "5.1.1", "550 5.1.1 User unknown", "mx.x.example", to="bounce@acme.example"
    )
    raw = CASES[case](whole)
    assert raw != whole
    ops.bounces.take(raw) if way == "take" else ops.inbound.receive(raw)
    assert len(ops.bounces.recent()) == 1
