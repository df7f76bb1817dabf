"""Reading received mail: both address lists, repaired ids, and nothing that raises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.inbound.parse import MAX_ID, message_ids, parse


def raw(body: str = "Hello", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def test_to_and_recipients_are_different_lists() -> None:
    mail = parse(
        raw(
            Delivered_To="box@acme.example",
            To='"List, The" <List@Lists.test>, box@ACME.example',
            Cc="c@x.test",
            Resent_To="r@x.test",
            Resent_Cc="rc@x.test",
        )
    )
    assert mail.to == ("box@acme.example", "list@lists.test")
    assert mail.recipients == (*mail.to, "c@x.test", "r@x.test", "rc@x.test")
    assert mail.written_to == "List@Lists.test"


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("<a@x> <b@x>", ("<a@x>", "<b@x>")),
        ("<a@x><b@x>", ("<a@x>", "<b@x>")),
        ("<long.\r\n id@x>", ("<long.id@x>",)),
        ("<long.\r\n\t id@x>\r\n <b@x>", ("<long.id@x>", "<b@x>")),
        ("bare@x", ("<bare@x>",)),
        ("", ()),
        ("<>", ()),
        ("<" + "a" * MAX_ID + "@x>", ()),
        ("<a@x> <a@x>", ("<a@x>",)),
    ],
)
def test_ids_broken_over_lines_are_repaired(value: str, ids: tuple[str, ...]) -> None:
    assert parse(raw(References=value)).references == ids


def test_many_references_keep_the_last_ones() -> None:
    value = "\r\n ".join(f"<{n}.{'x' * 60}@host.test>" for n in range(800))
    assert parse(raw(References=value)).references[-1].startswith("<799.")


def test_a_mail_without_message_id_gets_the_same_one_each_time() -> None:
    first, again, other = parse(raw(To="a@x")), parse(raw(To="a@x")), parse(raw(To="b@x"))
    assert first.made_id
    assert first.message_id == again.message_id != other.message_id
    assert message_ids(first.message_id) == (first.message_id,)


@pytest.mark.parametrize(
    ("value", "path"), [("<a@x.test>", "a@x.test"), ("<>", ""), ("a@x.test", "a@x.test"), ("rubbish", None)]
)
def test_the_return_path_tells_missing_from_null(value: str, path: str | None) -> None:
    assert parse(raw(Return_Path=value)).return_path == path
    assert parse(raw()).return_path is None


def test_names_and_subjects_are_decoded_and_dates_are_utc() -> None:
    mail = parse(
        raw(
            From="=?utf-8?q?Zo=C3=AB=2C_B?= <Zoe@X.test>",
            Subject="=?utf-8?b?w6k=?=",
            Date="Mon, 2 Mar 2026 10:00:00 +0200",
        )
    )
    assert mail.sender is not None
    assert (mail.sender.name, mail.sender_address) == ("Zoë, B", "zoe@x.test")
    assert mail.subject == "é"
    assert mail.date is not None
    assert mail.date.isoformat() == "2026-03-02T08:00:00+00:00"
    assert parse(raw(Date="yesterday, perhaps")).date is None


def test_html_is_kept_and_its_text_read() -> None:
    mail = parse(raw("<p>Hi <b>you</b></p>", Content_Type="text/html; charset=utf-8"))
    assert mail.html == "<p>Hi <b>you</b></p>"
    assert "Hi you" in mail.text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\x00\xff\xfe" * 50,
        b"From: \x00a@x\r\nSubject: a\x00b\r\n\r\n\x00",
        b"From: =?utf-7?q?+2AA-?= <a@x.test>\r\nSubject: =?utf-7?q?+2AA-?=\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 5_000,
        b"To: " + b"a@x, " * 50_000 + b"\r\n\r\n",
        b"From: " + b"(" * 20_000 + b"\r\n\r\n",
        b"From: " + b"a" * 5_000 + b"@x.test\r\n\r\n",
    ],
)
def test_broken_and_hostile_mail_does_not_raise(data: bytes) -> None:
    mail = parse(data)
    assert len(mail.recipients) <= 1_000
    for text in (mail.subject, mail.text, mail.sender_text, mail.sender.name if mail.sender else ""):
        assert "\x00" not in text
        text.encode("utf-8")


_PIECES = st.sampled_from(
    [b"From: ", b"To: ", b"a@x.test", b"<", b">", b'"', b"\r\n", b"\r\n ", b"\n\n", b"References: ", b"--b", b";",
     b"Content-Type: multipart/report; boundary=b", b"message/delivery-status", b"=?utf-8?b?", b"?=", b"\xff", b"\x00", b":"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.binary(max_size=12)), max_size=40))
def test_no_bytes_make_it_raise(pieces: list[bytes]) -> None:
    mail = parse(b"".join(pieces))
    assert mail.message_id.startswith("<")
    assert len(mail.message_id) <= MAX_ID
