"""Mail that the next server could not take is encoded, and says the same; under a signature it stays as it is."""

from __future__ import annotations

import email
from collections.abc import Callable
from email.message import Message
from email.policy import default
from typing import Any

import pytest
from furnish import furnish
from hypothesis import example, given, settings
from hypothesis import strategies as st
from relay_kit import told

from mailops import Ops
from mailops.dns.dkim_message import sign_message
from mailops.model.mail import Submission
from mailops.model.setup import BouncePolicy
from mailops.model.states import MailState
from mailops.queue.fitting import fit
from mailops.testing import SmtpServer
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.smtp_core import EXTENSIONS

WEAK = EXTENSIONS - {"8BITMIME", "SMTPUTF8"}
HEAD = "From: Jörg <ann@acme.example>\r\nTo: bob@x.example\r\nSubject: Grüße aus Köln, {long}\r\nX-Shop: Bücher\r\n"
PLAIN = HEAD + "\r\nHällo\r\n.dot\r\nlast \r\n"
TYPED = (
    HEAD
    + 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHällo\r\n'
)
MIXED = (
    HEAD
    + 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b1"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    "Preamble\r\n--b1\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"
    "--b2\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHällo\r\n"
    "--b2\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hällo</p>\r\n--b2--\r\n"
    '--b1\r\nContent-Type: text/csv; charset=utf-8; name="Übersicht.csv"\r\nContent-Disposition: attachment; '
    'filename="Übersicht.csv"\r\n\r\nä;ö\r\n'
    "--b1\r\nContent-Type: message/rfc822\r\n\r\nSubject: Innen ü\r\nFrom: x@y.example\r\n\r\nInnen ä\r\n"
    "--b1\r\n\r\nohne Kopf ß\r\n--b1--\r\n"
)


def spoken(data: bytes) -> list[str]:
    """All that a reader sees of a mail: header words, texts, file names."""
    message: Message = email.message_from_bytes(data, policy=default)
    found = [str(message[name]).strip() for name in ("from", "to", "subject", "x-shop")]
    for part in message.walk():
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            found.append(payload.decode("utf-8").strip())  # type: ignore[union-attr]
            found.append(part.get_filename() or "")
        found.append(str(part["subject"] or "").strip())
    return found


def hand_over(ops: Ops, raw: bytes) -> None:
    ops.queue.submit(
        Submission(
            raw=raw,
            envelope_to=("bob@x.example",),
            return_path="back@acme.example",
            bounces=BouncePolicy.KEEP,
            origin="smtp",
        )
    )


@pytest.mark.parametrize("text", [PLAIN, TYPED, MIXED], ids=["plain", "typed", "mixed"])
@pytest.mark.parametrize("missing", [("8BITMIME", "SMTPUTF8"), ("8BITMIME",), ("SMTPUTF8",)])
def test_it_arrives_and_says_the_same(ops_factory: Callable[..., Ops], text: str, missing: tuple[str, ...]) -> None:
    raw = text.format(long="und noch viel mehr " * 8).encode()
    with SmtpServer(extensions=EXTENSIONS - set(missing)) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, raw)
        ops.queue.run()
        [got] = smtp.messages
    assert ops.queue.mail(1).state is MailState.SENT
    head, _, body = got.data.partition(b"\r\n\r\n")
    assert head.isascii()
    assert body.isascii() or "8BITMIME" not in missing
    assert "SMTPUTF8" not in got.parameters
    assert max(map(len, got.data.split(b"\r\n"))) <= 998
    assert spoken(got.data) == spoken(raw)
    assert "encoded for this server" in told(ops, "queue", "show", "1")["left"]["signature"]


def test_raw_latin_1_never_travels_as_smtputf8(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, "From: ann@acme.example\r\nTo: bob@x.example\r\nSubject: Grüße\r\n\r\nx\r\n".encode("latin-1"))
        ops.queue.run()
        [got] = smtp.messages
    assert "SMTPUTF8" not in got.parameters
    assert str(email.message_from_bytes(got.data, policy=default)["subject"]) == "Grüße"


def test_a_server_that_takes_it_gets_it_as_it_is(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, MIXED.format(long="x").encode())
        ops.queue.run()
        assert smtp.messages[0].data.endswith(MIXED.format(long="x").encode()[-300:])
        assert told(ops, "queue", "show", "1")["left"]["signature"] is None


def signed() -> bytes:
    raw = TYPED.format(long="x").encode().replace("Jörg".encode(), b"Joerg").replace("Grüße".encode(), b"Gruss")
    raw = raw.replace("ö".encode(), b"o").replace("ü".encode(), b"u")
    return sign_message(raw, selector="s", domain="acme.example", private_key=dkim_key_pair()[0])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(signed(), id="dkim"),
        pytest.param(
            b"From: ann@acme.example\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: multipart/signed; boundary=b; micalg=sha-256; protocol=x\r\n"
            b"\r\n--b\r\n\r\n\xc3\xa4\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\nAA\r\n--b--\r\n",
            id="smime",
        ),
    ],
)
def test_what_a_signature_covers_is_not_touched_and_its_end_is_reported(
    ops_factory: Callable[..., Ops], raw: bytes
) -> None:
    assert fit(raw, WEAK).data == raw
    with SmtpServer(extensions=WEAK) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        hand_over(ops, raw)
        ops.queue.run()
        [report] = smtp.messages
    assert list(report.recipients) == ["back@acme.example"]
    assert b"5.6.3" in report.data


def test_our_own_signature_comes_after_the_encoding(ops_factory: Callable[..., Ops]) -> None:
    from test_relay_signing import verified

    with SmtpServer(extensions=WEAK) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        key = ops.signing.add("acme.example", "s1", unseen=True)
        hand_over(ops, MIXED.format(long="x").encode())
        ops.queue.run()
        [got] = smtp.messages
    assert verified(got.data, (key.name, key.record)) == ["pass"]


@given(st.binary(max_size=300), st.booleans())
@example(b"!:\x80", True)  # a part that is all head
@settings(max_examples=300, deadline=None)
def test_nothing_odd_breaks_it_and_what_it_makes_is_seven_bit_or_as_it_was(body: bytes, multi: bool) -> None:
    kind: Any = b"multipart/mixed; boundary=b" if multi else b"text/plain"
    lines = b"\r\n".join(body.replace(b"\r", b"").split(b"\n"))
    raw = (
        b"From: a@b.example\r\nContent-Type: "
        + kind
        + b"\r\n\r\n"
        + (b"--b\r\n" + lines + b"\r\n--b--\r\n" if multi else lines)
    )
    made = fit(raw, WEAK)
    assert made.data.isascii() or made.data == raw
    if not multi and made.data != raw:
        assert email.message_from_bytes(made.data).get_payload(decode=True).replace(b"\r\n", b"\n") == lines.replace(  # type: ignore[union-attr]
            b"\r\n", b"\n"
        )
