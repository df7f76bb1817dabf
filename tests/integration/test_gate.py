"""One gate before a mail is composed, on both ways in: what goes out is what was asked for, to whom it was addressed.

Every test looks at the bytes and the envelope that a server on loopback got, or at the refusal and an empty queue.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes

import pytest
from furnish import furnish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailops import Ops
from mailops.errors import MessageRefused
from mailops.model.address import is_valid
from mailops.model.mail import Attachment, Submission
from mailops.queue.compose import compose
from mailops.serve import accept
from mailops.submission import SubmissionServer
from mailops.testing import SmtpServer

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
RAW = b"From: ann@acme.example\r\nTo: b@x.example\r\nSubject: Hi\r\n\r\nHello\r\n"
ADDRESSED = [
    ("=?utf-8?q?a=40evil.example=2C?= <b@x.example>", ("b@x.example",)),
    ("=?utf-8?b?YUBldmlsLmV4YW1wbGUs?= <b@x.example>", ("b@x.example",)),
    ("=?utf-8?q?=3Ca=40evil.example=3E=2C?= <b@x.example>", ("b@x.example",)),
    ("=?utf-8?q?x=3A_a=40evil.example=3B?= <b@x.example>", ("b@x.example",)),
    ("b@x.example (=?utf-8?q?=29=2C_a=40evil.example?=)", ("b@x.example",)),
    ("=?utf-8?q?b=40evil.example=3E?=foo@x.example", ("=?utf-8?q?b=40evil.example=3E?=foo@x.example",)),
]


def sent(ops_on: Callable[..., Ops], *submissions: Submission) -> list[tuple[bytes, tuple[str, ...]]]:
    """Bytes and envelope of each mail as the server got them."""
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for submission in submissions:
            ops.queue.submit(submission)
        ops.queue.run()
        return [(got.data, got.recipients) for got in smtp.messages]


def fields(**more: object) -> Submission:
    return Submission(**{"sender": "ann@acme.example", "to": ("b@x.example",), "subject": "s", "text": "t", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("to", "people"), ADDRESSED)
def test_no_encoded_word_names_a_recipient(ops_factory: Callable[..., Ops], to: str, people: tuple[str, ...]) -> None:
    raw = RAW.replace(b"b@x.example", to.encode())
    [(_, got)] = sent(ops_factory, Submission(raw=raw))
    assert got == people


def test_a_name_passes_no_from_filter(ops_factory: Callable[..., Ops]) -> None:
    name = b"=?utf-8?q?=3Cceo=40acme.example=3E?= <att@other.example>"
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp, from_filter="acme.example")
        for raw in (
            RAW.replace(b"ann@acme.example", name),
            RAW.replace(b"ann@acme.example", b"Mallory <att@other.example>"),
        ):
            ops.queue.submit(Submission(raw=raw))
        ops.queue.submit(fields(sender=name.decode()))
        ops.queue.run()
        froms = [message_from_bytes(got.data)["From"] for got in smtp.messages]
    assert len(froms) == 3
    assert not any(re.search(r"<?ceo@acme\.example>?\s*$", value) for value in froms)
    assert all("notifications@acme.example" in value for value in froms), froms


@pytest.mark.parametrize(
    "submission",
    [
        Submission(raw=RAW, message_id="<x@y>\r\nX-Evil: 1"),
        Submission(raw=RAW, return_path="bounce@acme.example\r\nX-Evil: 2"),
        Submission(raw=RAW, return_path="bounce@acme.example>\nX-Evil: 2"),
        Submission(raw=RAW, envelope_to=("b@x.example\r\nDATA",)),
        Submission(raw=RAW, envelope_to=("b@x.example\0",)),
        Submission(raw=RAW, envelope_to=('"a\tb"@x.example',)),
        Submission(raw=RAW, sender="x\r\nX-Evil: 1 <a@acme.example>"),
        Submission(raw=RAW, in_reply_to="<x@y>\r\nX-Evil: 1"),
        Submission(raw=RAW, references=("<x@y>\r\nX-Evil: 1",)),
        Submission(raw=RAW, message_id="=?utf-8?q?=0D=0AX-Evil=3A_1?="),
        fields(return_path="bounce@acme.example\r\nX-Evil: 2"),
        fields(origin="api\nX-Evil: 1"),
        fields(headers=(("X-A\r\nX-Evil", "1"),)),
        fields(headers=(("X-A", 5),)),
        fields(attachments=(Attachment("a\x07b.txt", b""),)),
        fields(to=('"b\0"@x.example',)),
    ],
    ids=range(16),
)
def test_no_text_of_a_submission_smuggles_anything_in(sqlite_ops: Ops, submission: Submission) -> None:
    with pytest.raises(MessageRefused):
        sqlite_ops.queue.submit(submission)
    assert sqlite_ops.queue.page().total == 0


HIDDEN = "secret@x.example"
HIDING = [
    fields(headers=(("Bcc", HIDDEN),)),
    fields(headers=(("bCC", HIDDEN), ("Resent-Bcc", "other@x.example"))),
    Submission(raw=b"Resent-Bcc: " + HIDDEN.encode() + b"\r\n" + RAW),
    Submission(raw=b"Bcc :\r\n " + HIDDEN.encode() + b"\r\n" + RAW),
    Submission(raw=b"Resent-Bcc: " + HIDDEN.encode() + b"\r\n" + RAW, envelope_to=("b@x.example", HIDDEN)),
]


@pytest.mark.parametrize("submission", HIDING, ids=range(len(HIDING)))
def test_hidden_people_get_the_mail_and_are_in_no_byte_of_it(
    ops_factory: Callable[..., Ops], submission: Submission
) -> None:
    [(data, people)] = sent(ops_factory, submission)
    assert HIDDEN in people
    assert HIDDEN.encode() not in data
    assert not re.search(rb"(?im)^(resent-)?bcc\s*:", data)  # a Message-ID may well have these letters


@pytest.mark.parametrize("way", ["raw", "fields"])
def test_trace_and_length_of_a_caller_are_dropped(ops_factory: Callable[..., Ops], way: str) -> None:
    given_ = (("Return-Path", "<evil@x.example>"), ("Content-Length", "12345"), ("X-Kept", "yes"))
    raw = "".join(f"{name}: {value}\r\n" for name, value in given_).encode() + RAW
    [(data, _)] = sent(ops_factory, fields(headers=given_) if way == "fields" else Submission(raw=raw))
    assert b"evil@x.example" not in data
    assert b"Content-Length" not in data
    assert b"X-Kept: yes" in data
    assert data.lower().count(b"return-path:") <= 1


SURROGATES = [
    "=?utf-7?q?+2AA-?=",
    "=?unicode-escape?q?=5Cud800?=",
    "=?raw-unicode-escape?q?=5Cud800?=",
    "=?utf-16?b?ANg=?=",
    "=?utf-8?q?a=00b?=",
]


@pytest.mark.parametrize("word", SURROGATES)
@pytest.mark.parametrize("field", ["Subject", "From", "Message-ID", "To"])
def test_whatever_a_word_decodes_to_can_be_stored(ops_on: Callable[..., Ops], word: str, field: str) -> None:
    ops = ops_on()
    lines = {"From": "a@acme.example", "To": "b@x.example", "Subject": "x", "Message-ID": "<1@acme.example>"}
    lines[field] = f"{word} <a@acme.example>" if field != "Subject" else word
    raw = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\nx\r\n"
    mail = ops.queue.mail(ops.queue.submit(Submission(raw=raw)))
    for text in (mail.subject or "", mail.header_from or "", mail.message_id):
        text.encode()
        assert "\0" not in text


def test_a_batch_says_which_mail_was_refused(sqlite_ops: Ops) -> None:
    mails = [fields(subject=str(n)) for n in range(7)]
    mails[5] = fields(subject="half \ud800")
    with pytest.raises(MessageRefused) as refused:
        list(sqlite_ops.queue.submit_many(mails))
    assert refused.value.facts["position"] == 5
    assert refused.value.facts["stored"] == 0


@contextmanager
def listener(ops: Ops) -> Iterator[smtplib.SMTP]:
    with SubmissionServer(lambda mail: accept(ops, mail)) as server, smtplib.SMTP("127.0.0.1", server.port) as client:
        yield client


@pytest.mark.parametrize(
    "data",
    [
        RAW.replace(b"Hi", b"=?utf-7?q?+2AA-?="),
        RAW.replace(b"Hello", b"a\0b"),
        RAW.replace(b"Hi", b"x\0y"),
        RAW.replace(b"Subject", b"Message-ID: <" + b"a" * 600 + b"\r\n " + b"b" * 600 + b"@x>\r\nSubject"),
        RAW.replace(b"From: ann@acme.example", b"From: =?utf-7?q?+2AA-?= nobody"),
    ],
    ids=["surrogate", "NUL", "NUL in the head", "endless id", "no address"],
)
def test_a_fault_of_the_content_is_answered_for_good(ops_on: Callable[..., Ops], data: bytes) -> None:
    ops = ops_on()
    with listener(ops) as client:
        client.ehlo()
        client.docmd("MAIL FROM:<ann@acme.example>")
        client.docmd("RCPT TO:<b@x.example>")
        client.docmd("DATA")
        client.send(data + b".\r\n")
        code, text = client.getreply()
    assert code == 250 or (code, text[:5]) == (554, b"5.6.0"), (code, text)
    assert (code == 250) == (ops.queue.page().total == 1)


PIECES = st.sampled_from(
    ["a@evil.example", "b@x.example", "<", ">", ",", ";", ":", '"', "(", ")", " ", "\\", "=?utf-8?q?", "=40", "=2C", "=3E",
     "=3C", "?=", "=?utf-8?b?YUBldmlsLA==?=", "=?utf-7?q?+2AA-?=", "x", ".", "\t", "\r\n "]
)  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(field=st.lists(PIECES, max_size=14).map("".join), which=st.sampled_from(["From", "To", "Cc", "Bcc"]))
def test_recipients_and_author_stand_in_the_undecoded_field(field: str, which: str) -> None:
    lines = {"From": "ann@acme.example", "To": "c@x.example", which: field}
    raw = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\nx\r\n"
    try:
        made = compose(Submission(raw=raw), now=NOW)
    except MessageRefused:
        return
    written = [re.sub(pattern, "", field) for pattern in (r"\s+", r"\([^()]*\)|\s+")]
    for person in made.recipients:
        assert person == "c@x.example" or any(person in text for text in written), (field, person)
        assert is_valid(person)
    assert not re.search(rb"^bcc", made.raw.partition(b"\r\n\r\n")[0], re.I | re.M)


TEXTS = st.lists(st.sampled_from(["\r", "\n", "\0", "\x0b", "\u2028", "\ud800", "X-Evil: 1", "=?utf-8?q?=0D=0AX-Evil=3A_1?=", "a@x.example", "<", ">", " ", ",", "é", ":", "=?utf-7?q?+2AA-?="]), max_size=6).map("".join)  # fmt: skip
NAMES = ("subject", "sender", "reply_to", "return_path", "message_id", "in_reply_to", "origin")


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from([*NAMES, "to", "cc", "bcc", "envelope_to", "references", "headers", "filename"]),
    text=TEXTS,
    raw=st.booleans(),
)
def test_any_text_is_refused_or_adds_no_field(name: str, text: str, raw: bool) -> None:
    value: object = text
    if name in ("to", "cc", "bcc", "envelope_to", "references"):
        value = (text,)
    elif name == "headers":
        value = (("X-A", text),)
    elif name == "filename":
        name, value = "attachments", (Attachment(text, b""),)
    more: dict[str, object] = {name: value}
    made_from = Submission(raw=RAW, **more) if raw else fields(**more)  # type: ignore[arg-type]
    try:
        made = compose(made_from, now=NOW, return_path=made_from.return_path)
    except MessageRefused:
        return
    head = made.raw.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert not re.match(rb"x-evil|bcc", line, re.I), head
    assert all(is_valid(person) for person in made.recipients)
    for stored in (made.subject, made.message_id, made.header_from or "", *made.recipients):
        stored.encode()


SEVERAL = (
    "a@x.example b@x.example",
    "a@x.example, b@x.example c@x.example",
    "a@x.example\tb@x.example",
)


@pytest.mark.parametrize(
    "text",
    [
        *SEVERAL,
        "b@desX-Failed: a@x.example",
        "b@x.example:c@x.example",
        "b @x.example",
        "g: a@x.example;",
        "a@x.example, b@x.example",
    ],
)
def test_an_envelope_is_the_address_that_was_given_or_none(sqlite_ops: Ops, text: str) -> None:
    """Never another one that somebody could read into it, and nobody left out in silence."""
    with pytest.raises(MessageRefused) as refused:
        sqlite_ops.queue.submit(Submission(raw=RAW, envelope_to=("first@x.example", text)))
    assert refused.value.code == "message.address_invalid"
    assert sqlite_ops.queue.page().total == 0


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
@pytest.mark.parametrize("text", SEVERAL)
def test_nobody_is_left_out_of_a_field_in_silence(sqlite_ops: Ops, field: str, text: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        sqlite_ops.queue.submit(
            Submission(sender="ann@acme.example", subject="s", text="t", **{"to": ("first@x.example",), field: (text,)})
        )
    assert refused.value.code == "message.address_invalid"


@pytest.mark.parametrize(
    "text",
    [
        "a@x.example; b@x.example",
        "Bob b@x.example",
        "ann@old.example <b@x.example>",
        '"ann@old.example" <b@x.example>',
        "b@x.example (not c@x.example)",
        "=?utf-8?q?a=40b?= <b@x.example>, friends: c@x.example;",
    ],
)
def test_what_people_write_is_read(sqlite_ops: Ops, text: str) -> None:
    mail_id = sqlite_ops.send(sender="ann@acme.example", to=[text], subject="s", text="t")
    assert "b@x.example" in {d.recipient for d in sqlite_ops.queue.mail(mail_id).deliveries}
