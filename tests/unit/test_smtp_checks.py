"""The checks before anything is stored or sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailops.errors import MessageRefused
from mailops.smtp import checks

GOOD = b"From: ann@example.com\r\nTo: bob@example.test,\r\n\teve@example.test\r\nSubject: Hi\r\n\r\nHello.\r\n"


def refused(work: object, *args: object) -> MessageRefused:
    with pytest.raises(MessageRefused) as caught:
        work(*args)  # type: ignore[operator]
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("value", ["a\nBcc: x@example.com", "a\r\nX: y", "a\rb", "nul\0", "\n folded"])
def test_header_values_hold_no_line_break(value: str) -> None:
    error = refused(checks.check_header, "Subject", value)
    assert error.code == "message.header_injection"
    assert error.facts["header"] == "Subject"
    assert "\n" not in str(error.facts)


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X\r\nY", "Grüße"])
def test_header_names_are_names(name: str) -> None:
    assert refused(checks.check_header, name, "v").code == "message.header_injection"


def test_a_good_message_passes() -> None:
    checks.check_data(GOOD)
    checks.check_data(GOOD, len(GOOD))
    checks.check_data(b"From: a@x.test\r\n")
    checks.check_data(b"From: a@x.test\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y" * 998)


@pytest.mark.parametrize(
    ("data", "code", "facts"),
    [
        (GOOD + b"a\nb\r\n", "message.bare_newline", {"octet": "LF", "line": 7}),
        (GOOD + b"a\rb\r\n", "message.bare_newline", {"octet": "CR", "line": 7}),
        (GOOD + b"a\r\r\nb", "message.bare_newline", {"octet": "CR"}),
        (GOOD + b"\r", "message.bare_newline", {"octet": "CR"}),
        (b"From: a@x.test\nSubject: b\n\nc\n", "message.bare_newline", {"octet": "LF", "line": 1}),
        (GOOD + b"a\0b", "message.nul", {}),
        (GOOD + b"x" * 1200 + b"\r\n", "message.line_too_long", {"line": 7, "octets": 1200}),
        (b"From: a@x.test\r\nSubject: " + b"s" * 1000 + b"\r\n\r\n", "message.line_too_long", {"line": 2}),
        (b"", "message.address_missing", {}),
        (b"\r\nbody", "message.address_missing", {}),
        (b"hello\r\n\r\n", "message.malformed", {"line": 1}),
        (b" folded\r\nFrom: a@x.test\r\n\r\n", "message.malformed", {"line": 1}),
        (b"Subject: x\r\n\r\n", "message.address_missing", {}),
        (b"From: a@x.test\r\nfrom : b@x.test\r\n\r\n", "message.duplicate_header", {}),
    ],
)
def test_broken_messages_are_refused(data: bytes, code: str, facts: dict[str, object]) -> None:
    error = refused(checks.check_data, data)
    assert error.code == code
    assert {key: error.facts[key] for key in facts} == facts


def test_the_size_limit() -> None:
    error = refused(checks.check_data, GOOD, len(GOOD) - 1)
    assert error.code == "message.too_large"
    assert error.facts == {"size": len(GOOD), "limit": len(GOOD) - 1}


@given(st.binary(max_size=300))
def test_whatever_passes_is_safe_to_put_on_the_wire(body: bytes) -> None:
    data = b"From: a@x.test\r\n\r\n" + body
    try:
        checks.check_data(data)
    except MessageRefused:
        return
    assert b"\0" not in data
    rest = data.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
