"""Nothing of a secret stays, however it was spelt on its way out: one table of spellings, each looked at as a whole."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import quopri
import shlex
import textwrap
import time
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest

from mailops.secrets import redact, register

SECRETS = ["Grüße&Kälte=9/7+Zimt", "correct horse battery staple '7' \"9\"", "Tr0ub4dor-and-3-more-words"]


def in_any_form(text: str, secret: str) -> bool:
    """Whether six characters in a row of the secret can be read from a text, undone as far as one can."""
    import re

    undone = text
    for _ in range(3):
        undone = html.unescape(re.sub(r"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]).decode("latin-1"), undone))
    return any(secret[at : at + 6] in text or secret[at : at + 6] in undone for at in range(len(secret) - 5))


def lower(text: str) -> str:
    import re

    return re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), text)


def notebook(*printed: str) -> str:
    return json.dumps({"outputs": [{"name": "stdout", "output_type": "stream", "text": list(printed)}]}, indent=1)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda s: f"x {s} y",
    "repr of bytes": lambda s: f"x {s.encode()!r} y",
    "repr of bytes in a notebook": lambda s: notebook(f"{s.encode()!r}\n"),
    "repr": lambda s: f"x {s!r} y",
    "ascii": lambda s: f"x {s!a} y",
    "base64, wrapped": lambda s: base64.encodebytes(b"a" * 50 + s.encode() + b"z" * 50).decode(),
    "base64, wrapped with CRLF": lambda s: base64.encodebytes(b"ab" * 27 + s.encode() + b"z" * 60).decode().replace("\n", "\r\n"),
    "base64, wrapped in a notebook": lambda s: notebook(*base64.encodebytes(b"a" * 52 + s.encode() * 2).decode().splitlines(keepends=True)),
    "hex": lambda s: f"x {s.encode().hex()} y",
    "HEX": lambda s: f"x {s.encode().hex().upper()} y",
    "quoted-printable": lambda s: quopri.encodestring(b"x" * 60 + s.encode() + b" end").decode(),
    "quoted-printable, every octet": lambda s: "".join(f"={c:02X}" for c in s.encode()),
    "URL": lambda s: f"https://x.example/?q={quote(s, safe='')}&n=1",
    "url": lambda s: f"https://x.example/?q={lower(quote(s, safe=''))}&n=1",
    "URL twice": lambda s: f"https://x.example/?q={quote(quote(s, safe=''), safe='')}&n=1",
    "URL, every octet": lambda s: "".join(f"%{c:02x}" for c in s.encode()),
    "HTML": lambda s: f"<p>{html.escape(s)}</p>",
    "HTML, numbers": lambda s: "<p>" + "".join(f"&#{ord(c)};" for c in s) + "</p>",
    "HTML, hexadecimal": lambda s: "<p>" + "".join(f"&#x{ord(c):X};" for c in s) + "</p>",
    "URL in HTML": lambda s: html.escape(f"?a=1&q={quote(s)}"),
    "JSON": lambda s: json.dumps({"x": s}),
    "JSON in JSON": lambda s: json.dumps({"x": json.dumps({"x": s})}),
    "SQL": lambda s: "insert into t values ('" + s.replace("'", "''") + "')",
    "shell": lambda s: "run --word " + shlex.quote(s),
    "NFD": lambda s: unicodedata.normalize("NFD", s),
    "split over two lines": lambda s: f"{s[:7]}\n{s[7:]}",
    "split over two prints": lambda s: notebook(f"{s[:7]}\n", f"{s[7:]}\n"),
    "cut short": lambda s: f"error: {s[:-4]}…",
    "cut short with dots": lambda s: f"error: {s[:-3]}...",
    "cut at the end": lambda s: f"error: {s[:-5]}",
}  # fmt: skip


def as_csv(secret: str) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(["a", secret, "b"])
    return out.getvalue()


FORMS["CSV"] = as_csv


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_registered_value_goes_in_every_spelling(form: str, secret: str) -> None:
    register(secret)
    written = FORMS[form](secret)
    cleaned = redact(written)
    assert "•••" in cleaned, cleaned
    assert not in_any_form(cleaned, secret), cleaned
    for letters in (secret.encode().hex(), base64.b64encode(secret.encode()).decode()[4:-8]):
        assert letters[:16] not in cleaned.replace("\n", "").lower() or letters[:16] in "aaaa"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("PGPASSWORD=hunter2hunter psql", "hunter2hunter"),
        ("SMTP_PASS=hunter2hunter", "hunter2hunter"),
        ("export MAIL_SMTP_PASSWORD=hunter2hunter", "hunter2hunter"),
        ("X-Api-Key: hunter2hunter", "hunter2hunter"),
        ("api_key=hunter2hunter", "hunter2hunter"),
        ("apikey: 'hunter2hunter'", "hunter2hunter"),
        ("http://127.0.0.1:8888/tree?token=0123456789abcdef0123456789abcdef0123456789abcdef", "0123456789abcdef"),
        ("SG.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "abcdefghij"),
        ("key-0123456789abcdef0123456789abcdef", "0123456789abcdef"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtn"),
        ("password='two words'", "words"),
        ('password = "two words here"', "words"),
        ("smtp:\n  password: hunter2hunter\n", "hunter2hunter"),
        ("mail --password hunter2hunter -v", "hunter2hunter"),
        ("mail --password=hunter2hunter -v", "hunter2hunter"),
        ("C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YW5u\nS: 334 UGFzc3dvcmQ6\nC: aHVudGVyMmh1bnRlcg==\n", "aHVudGVy"),
        ("smtp://u:Sec@r3tPw@host.example", "r3tPw"),
        ("smtp://u:Sec@r3t@Pw9@host.example/", "Pw9"),
        (
            "-----BEGIN PRIVATE KEY-----\n"
            + "\n".join(textwrap.wrap("Ab1" * 12_000, 64))
            + "\n-----END PRIVATE KEY-----",
            "Ab1Ab1",
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\nAb1Ab1Ab1\n… cut", "Ab1Ab1"),
    ],
)
def test_nor_does_what_nobody_registered(text: str, secret: str) -> None:
    assert secret not in redact(text)


def test_it_takes_no_time_by_the_square() -> None:
    for value in SECRETS:
        register(value)
    took = []
    for size in (100_000, 400_000):
        text = ('%41&amp;=3D\\x41 it\'s ""x""\n' + "word " * 5) * (size // 50)
        began = time.process_time()
        redact(text)
        took.append(time.process_time() - began)
    assert took[1] < 8 * took[0] + 0.2, took


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_value_that_begins_another_leaves_nothing_of_it(form: str) -> None:
    longer = "open sesame mountain '3' \"door\""
    register("open sesame mountain")
    register(longer)
    cleaned = redact(FORMS[form](longer))
    assert "•••" in cleaned, cleaned
    assert not in_any_form(cleaned, longer), cleaned
