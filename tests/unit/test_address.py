"""Addresses: reading tolerantly, comparing exactly, writing for header and wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailops.errors import MessageRefused
from mailops.model.address import (
    Address,
    ascii_domain,
    envelope_address,
    format_address,
    is_valid,
    normalise,
    parse_addresses,
    parse_first,
    parse_single,
)
from mailops.model.mail import Submission


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ann@x.test", [("", "ann@x.test")]),
        ("<ann@x.test>", [("", "ann@x.test")]),
        ('"Ann" <ann@x.test>', [("Ann", "ann@x.test")]),
        ('"Doe, Ann" <ann@x.test>', [("Doe, Ann", "ann@x.test")]),
        ('"Ann \\"A\\" \\\\ D" <ann@x.test>', [('Ann "A" \\ D', "ann@x.test")]),
        ("Ann ann@x.test", [("Ann", "ann@x.test")]),
        ("Ann <ann@x.test", [("Ann", "ann@x.test")]),
        ('"other@y.test" <ann@x.test>', [("other@y.test", "ann@x.test")]),
        ("other@y.test <ann@x.test>", [("other@y.test", "ann@x.test")]),
        ("ann@x.test, Bob <bob@y.test>", [("", "ann@x.test"), ("Bob", "bob@y.test")]),
        ("Doe, Ann <ann@x.test>", [("Ann", "ann@x.test")]),
        ("ann@localhost", [("", "ann@localhost")]),
        ("Jö <jö@exämple.test>", [("Jö", "jö@exämple.test")]),
        ("robert", []),
        ("", []),
        ("   ", []),
        (None, []),
        ("@x.test", []),
        ("ann@", []),
        ("undisclosed-recipients:;", []),
    ],
)
def test_reading(text: str | None, want: list[tuple[str, str]]) -> None:
    assert [(a.name, a.spec) for a in parse_addresses(text)] == want


def test_strict_and_loose_forms() -> None:
    two = "ann@x.test, bob@y.test"
    assert parse_single(two) is None
    assert parse_first(two) == Address("", "ann@x.test")
    assert parse_single("A <ann@x.test>") == Address("A", "ann@x.test")
    assert parse_first("nobody") is None


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("ANN@Acme.TEST", "ann@acme.test"),
        ("JÖ@ACME.test", "JÖ@acme.test"),  # a local part with other letters keeps its case
        ("ann@EXÄMPLE.test", "ann@exämple.test"),
        ("ann@Local", "ann@local"),
        (" ann@x.test ", "ann@x.test"),
    ],
)
def test_normalised_form(spec: str, want: str) -> None:
    assert normalise(spec) == want


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("test@exämple.test", "test@xn--exmple-cua.test"),
        ("ANN@Acme.TEST", "ANN@Acme.TEST"),
        ("jö@x.test", "jö@x.test"),
        ("jö@exämple.test", "jö@xn--exmple-cua.test"),
        ("ann@example¢¡.test", None),
        ("ann", None),
        ("@x.test", None),
    ],
)
def test_wire_form(spec: str, want: str | None) -> None:
    assert envelope_address(spec) == want


def test_ascii_domain_drops_the_root_dot() -> None:
    assert ascii_domain("x.test.") == "x.test"


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("", "a@x.test"),
        ("Ann", '"Ann" <a@x.test>'),
        ('A "B" \\', '"A \\"B\\" \\\\" <a@x.test>'),
        ("Ann\r\nBcc: evil@x.test", '"Ann Bcc: evil@x.test" <a@x.test>'),
    ],
)
def test_header_form(name: str, want: str) -> None:
    assert format_address(name, "a@x.test") == want


def test_header_form_of_other_letters_is_an_encoded_word() -> None:
    text = format_address("Jörg", "j@x.test")
    assert text.isascii()
    assert text.startswith("=?utf-8?")
    assert text.endswith(" <j@x.test>")


@pytest.mark.parametrize(
    "spec", ["a@x", "a.b+c@x.test", '"a b"@x.test', "jö@exämple.test", "a@[127.0.0.1]", "a@[IPv6:::1]"]
)
def test_usable(spec: str) -> None:
    assert is_valid(spec)


@pytest.mark.parametrize(
    "spec",
    ["a", "@x.test", "a@", "a@@x.test", "a..b@x.test", ".a@x.test", "a b@x.test", "a@x..test", "a@-x.test", "a@x\n.test", "a" * 65 + "@x.test", "a@" + "b" * 64 + ".test"],
)  # fmt: skip
def test_not_usable(spec: str) -> None:
    assert not is_valid(spec)


@given(st.text(max_size=200))
def test_reading_never_raises_and_never_yields_half_an_address(text: str) -> None:
    for found in parse_addresses(text):
        assert found.local
        assert "@" in found.spec
        assert not found.spec.endswith("@")


@given(st.text(alphabet=st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp", "Cn", "Co", "Cf")), max_size=30))
def test_a_name_survives_writing_and_reading(name: str) -> None:
    from email.header import decode_header, make_header

    plain = " ".join(name.split())
    found = parse_addresses(format_address(plain, "a@x.test"))
    assert [a.spec for a in found] == ["a@x.test"]
    assert (found[0].name if plain.isascii() else str(make_header(decode_header(found[0].name)))) == plain


def test_a_very_long_name_is_written_on_one_line() -> None:
    assert "\n" not in format_address("ü" * 30_000, "a@x.example")


@pytest.mark.parametrize("mark", ["(", ":", "a:", "From: ", "(a"])
def test_a_nest_of_marks_in_a_sender_is_answered(mark: str) -> None:
    """The library's parser recurses once for each; by the door of a finished mail, and by that of the route."""
    from mailops.queue.compose import compose
    from mailops.routing.envelope import header_from

    text = f"=?utf-8?q?x?= {mark * 3000} <ann@acme.example>"
    raw = f"From: {text}\r\nTo: b@x.example\r\n\r\nx\r\n".encode().replace(b"From: From", b"From: \r\n From")
    try:
        compose(Submission(raw=raw), now=datetime(2026, 11, 1, tzinfo=UTC))
    except MessageRefused:
        pass
    header_from(text, None)
