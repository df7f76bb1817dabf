# ruff: noqa: E501 - seeds and bombs are data, read best as one line each
"""Fuzzing of everything that reads foreign data: mutants of real shapes, oracles, coverage-guided.

::

    seeds (own fixtures, a folder of mail) ──► mutate (knows header lines, boundaries, nesting) ──► target + oracle
                                                    ▲                                                │
                                                    └────────────── new coverage (atheris) ◄─────────┘

    python benchmarks/fuzz.py                      # every target, a minute each
    python benchmarks/fuzz.py bounces --seconds 600 --seeds FOLDER --found FOLDER

A finding does not end a run: each is kept once (by error and place) in ``--found``. Coverage guidance comes from
atheris (``pip install atheris``), which is no dependency of mailops. Oracles and mutators are also what
``tests/unit/test_hostile_input.py`` runs, there with hypothesis and without coverage.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import hashlib
import hmac
import io
import json
import random
import re
import resource
import subprocess
import sys
import time
import traceback
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

try:
    import atheris

    _instrumented: Any = atheris.instrument_imports(include=["mailops"]) if __name__ == "__main__" else None
except ImportError:
    atheris = None
    _instrumented = None

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
sys.path.insert(0, str(FIXTURES.parent.parent))

with _instrumented or contextlib.nullcontext():
    from mailops import mime
    from mailops.bounces import OriginalMessage, RecipientResult, Report, parse
    from mailops.bounces.correlate import SURE, Candidate, clues, match
    from mailops.dns.aggregate import read_reports
    from mailops.dns.dkim_key import parse_key
    from mailops.dns.dkim_message import signatures
    from mailops.dns.dmarc_record import parse_dmarc, select_dmarc
    from mailops.dns.mtasts import parse_policy
    from mailops.dns.spf_macros import MacroProblem, check_macros
    from mailops.dns.spf_merge import merge
    from mailops.dns.spf_parse import parse_record, select
    from mailops.dns.tag_records import pairs
    from mailops.errors import AuthError, InputRefused, MailopsError
    from mailops.inbound.parse import parse as parse_inbound
    from mailops.model import address as addresses
    from mailops.model import tag
    from mailops.model.mail import Attachment, Submission
    from mailops.page.sanitise import LIMIT, safe_html
    from mailops.queue.compose import compose, with_from
    from mailops.webhooks import verify
    from mailops.webhooks.events import PROVIDERS, read_events

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SLOW = (
    1.0 if atheris is None else 3.0
)  # seconds of CPU for an input of up to 4 MB; in proportion above; watched is slow
GROWTH = 256  # MiB that one input may add to the peak
MAX_LEN = 100_000
HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n"


@dataclass(frozen=True)
class Target:
    """What is called (raises where an oracle is not met), what it starts from, and inputs of extreme shape."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    bombs: Callable[[], Iterable[bytes]] = lambda: ()


# --- mail -----------------------------------------------------------------------------------------------------------


def mails() -> list[bytes]:
    """The fixture messages, and the same wrapped in what gateways put around them."""
    return [file.read_bytes() for file in sorted((FIXTURES / "bounces").glob("*.eml"))]


def mail_bombs() -> Iterator[bytes]:
    """Long lines, many parts, deep nesting, header bombs."""
    report = HEAD + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n"
    yield HEAD + b"\ncould not be delivered " + b"a@b " * 300_000
    yield HEAD + b"\n<" + b"a" * 400_000 + b"@example.com>: user unknown\n"
    yield report + b"\n" + b"--b\nContent-Type: text/plain\n\nfailed\n" * 10_000
    yield report + b"\n" + b"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.c\n\n" * 10_000
    yield report + b"\n" + b"--bx\n" * 200_000 + b"--b\n\nx"
    yield report + b"X-A: y\n" * 100_000 + b"\nuser unknown\n"
    yield report + b"X-A: y\n" + b" z\n" * 200_000 + b"\nuser unknown\n"
    yield b"From: " + b"a@b.example, " * 80_000 + b"\nTo: " + b"(" * 100_000 + b"\n\nx"
    yield b"To: " + b'"' * 100_000 + b"\nReferences: " + b"<" * 200_000 + b"\nSubject: " + b"=?" * 50_000 + b"\n\nx"
    yield b"To: " + b"a@b <" * 40_000 + b"\nCc: " + b"g:" * 40_000 + b"\nReply-To: " + b"\\" * 60_000 + b"\n\nx"
    yield HEAD + b"Content-Type: text/html\n\n" + b"<style>" * 60_000 + b"<" * 100_000 + b"&#" * 50_000
    yield HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"A" * 2_000_001
    yield HEAD + b"Content-Type: text/plain; charset=utf-7\n\n" + b"+AAA-" * 200_000
    for levels in (100, 5000):
        yield HEAD + nested(b"Content-Type: text/plain\n\n<ann@dest.example>: user unknown\n", levels)


def nested(inner: bytes, levels: int) -> bytes:
    """An entity inside that many multiparts, in linear time."""
    opening = b"".join(b"Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n" % (n, n) for n in range(levels))
    return opening + inner + b"".join(b"\n--n%d--\n" % n for n in reversed(range(levels)))


def readable(raw: bytes) -> str:
    """All that a message says, decoded: what results may be taken from."""
    head, body = mime.split_message(raw)
    fields = mime.fields_of(head)
    parts = mime.leaves(fields, body)
    for part in list(parts):
        if part.media.startswith("message/"):
            inside, rest = mime.split_head(part.body.lstrip(b"\n"))
            parts += mime.leaves(mime.fields_of(inside), rest)
            data = mime.transfer_decode(part.body, part.fields.first("content-transfer-encoding"))
            parts.append(mime.Part("text/plain", {}, mime.Fields({}), data))
    values = [value for name in fields for value in fields.every(name)]
    texts = [part.text() for part in parts]
    return " ".join([*texts, *values, *map(mime.decode_words, values), mime.head_text(head)])


def bounces(raw: bytes) -> None:
    """One answer for a message however it is written down, and nothing in it that the message does not say."""
    report = parse(raw)
    assert report.kind in ("bounce", "delayed", "success-dsn", "autoreply", "complaint", "unread", "ordinary"), (
        report.kind
    )
    assert len(report.results) <= 200
    assert parse(raw) == report, "the second reading differs"
    if report.kind == "ordinary":
        assert not report.results, "an ordinary mail has results"
    elif report.results:
        said = readable(raw)
        low = re.sub(r"[\s\x00]+", "", said.lower())
        for result in report.results:
            assert len(result.recipient) <= 400
            (result.recipient + result.diagnostic).encode()  # no half surrogates
            assert len(result.diagnostic) <= 1000
            assert result.status is None or result.status in said, f"status invented: {result.status}"
            local, _, domain = re.sub(r"[\s\x00]+", "", result.recipient.lower()).rpartition("@")
            if "\\" not in said:  # JSON and RFC 6533 escapes spell an address differently
                assert f"{local}@{domain}" in low or (local in low and domain in low), "recipient invented"
    variants(raw, report)


def variants(raw: bytes, report: object) -> None:
    """Line ends, trace fields and text behind the end mark say nothing."""
    end = raw.find(b"\n\n")
    if b"\r" in raw or not 0 < end < 4000 or len(raw) > 500_000 or raw.startswith((b"\n", b"From ", b">From ", b" ")):
        return
    assert parse(raw.replace(b"\n", b"\r\n")) == report, "CRLF and LF differ"
    if raw[:1].isalpha():
        trace = b"Received: from a.example by b.example; Mon, 13 Apr 2026 09:00:00 +0200\n"
        assert parse(trace * 3 + raw) == report, "Received fields change the answer"
    fields = mime.fields_of(raw[:end])
    media, params = mime.content_type(fields.first("content-type"))
    mark = params.get("boundary", "").rstrip().encode()
    if media.startswith("multipart/") and mark and raw.endswith(b"\n--" + mark + b"--\n"):
        sections = raw[end:].split(b"\n--" + mark)
        if len(sections) < 50 and all(section[:1] == b"\n" for section in sections[1:-1]):
            more = b"\n<other@elsewhere.example>: 550 5.1.1 user unknown\n"
            assert parse(raw + more) == report, "text behind the end changes the answer"


def correlate(raw: bytes) -> None:
    """Clues are few, and tags count only for our addresses."""
    report = parse(raw)
    found = clues(raw, report, {"bounce@example.com"}, (b"k" * 32,))
    assert len(found.message_ids) <= 20
    assert len(found.mail_ids) <= 20
    assert not found.proven, "a tag proven without the key"
    assert not clues(raw, report).mail_ids


def inbound(raw: bytes) -> None:
    """What is kept of a mail can be stored, and is bounded."""
    mail = parse_inbound(raw)
    for text in (mail.subject, mail.text, mail.html or "", mail.message_id, mail.sender_text, mail.content_type):
        assert "\x00" not in text
        text.encode()
    assert mail.message_id.startswith("<")
    assert not re.search(r"\s", mail.message_id), "a Message-ID with a break in it"
    assert len(mail.message_id) <= 1000
    assert len(mail.recipients) <= 5000
    assert all("@" in each and not re.search(r"[\r\n]", each) for each in mail.recipients)
    assert parse_inbound(raw) == mail


# --- composing ------------------------------------------------------------------------------------------------------

OWN_FIELDS = {
    "return-path",
    "date",
    "message-id",
    "to",
    "cc",
    "subject",
    "reply-to",
    "in-reply-to",
    "references",
    "from",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
}


def header_names(raw: bytes, ours: bool = True) -> list[str]:
    """The names of a message's header fields as any receiver splits them, also one that takes a bare CR or LF. Each
    line of a header that is ``ours`` has a name, or continues one."""
    head = re.split(rb"\r\n\r\n|\n\n|\r\r", raw, maxsplit=1)[0]
    lines = re.split(rb"\r\n|\r|\n", head)
    named = all(line[:1] in (b" ", b"\t") or b":" in line for line in lines if line)
    assert named or not ours, "a header line without a name"
    return [line.partition(b":")[0].strip().decode("latin-1").lower() for line in lines if line[:1] not in b" \t"]


def compose_fields(data: bytes) -> None:
    """Whatever the values hold: no header field appears that was not asked for, none twice, Bcc never."""
    text = [piece.decode("utf-8", "surrogateescape") for piece in data.split(b"\x1e")][:12]
    text += [""] * (12 - len(text))
    given = Submission(
        sender=text[0] or None,
        to=("Ann <ann@dest.example>", *([text[1]] if text[1] else [])),
        bcc=("hidden@dest.example",),
        subject=text[2],
        text=text[3],
        html=text[4] or None,
        headers=((text[5], text[6]),) if text[5] else (),
        attachments=(Attachment(text[7], b"x", text[8]),) if text[7] else (),
        reply_to=text[9] or None,
        in_reply_to=text[10] or None,
        references=(text[11],) if text[11] else (),
    )
    done = compose(given, now=NOW, return_path="bounce@example.com")
    names = header_names(done.raw)
    extra = [name for name in names if name not in OWN_FIELDS and name != text[5].strip().lower()]
    assert not extra, f"smuggled header: {extra[:3]}"
    assert len(names) == len(set(names)), f"a header twice: {names}"
    swapped = with_from(done.raw, done.from_start, done.from_end, "Eve <eve@example.com>")
    assert header_names(swapped).count("from") == 1
    assert b"hidden@dest.example" not in done.raw or any("hidden@dest.example" in piece for piece in text)
    for name in (name for part in message_from_bytes(done.raw).walk() for name in part):
        assert name.lower() in OWN_FIELDS or name.lower() == text[5].strip().lower(), f"smuggled into a part: {name}"


def compose_seeds() -> list[bytes]:
    """Fields apart by the ASCII record separator."""
    plain = [
        "Ann Lee <ann@example.com>", "Bob <bob@dest.example>", "Numbers of the week", "Dear Bob,\nhello\n", "<p>hello</p>",
        "X-Campaign", "spring 2026", "report.pdf", "application/pdf", "desk@example.com", "<1@example.com>", "<0@example.com>",
    ]  # fmt: skip
    other = ["Jörg <jörg@bücher.example>", "宛先 <a@dest.example>", "Grüße " * 40, "é" * 1000, "", "X-A", "é" * 300]
    rows = [plain, other, [*plain[:7], 'a"\\.txt', "text/plain; charset=x"]]
    rows += [[text + "\r\nBcc: eve@example.com" if n == k else text for n, text in enumerate(plain)] for k in range(12)]
    odd = [
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\u2028",
        "\r",
        "\n",
        "\n ",
        "=?utf-8?q?=0D=0AX-Evil:_1?=",
        "=?utf-8?b?DQpCY2M6IGU=?=",
    ]
    rows += [
        [text + mark + "X-Evil: 1" if n == k else text for n, text in enumerate(plain)]
        for mark in odd
        for k in range(12)
    ]
    return ["\x1e".join(row).encode() for row in rows]


def compose_raw(data: bytes) -> None:
    """A finished message keeps its fields; Bcc goes; nothing new but the identification fields."""
    done = compose(Submission(raw=data, envelope_to=("ann@dest.example",)), now=NOW, return_path="bounce@example.com")
    names = header_names(done.raw)
    crlf = data if b"\r" in data else data.replace(b"\n", b"\r\n")
    before = header_names(crlf, ours=False)
    assert not {"bcc", "resent-bcc", "content-length"} & set(names), "a field that is dropped"
    assert names.count("return-path") == 1, "a return path that is not ours"
    new = set(names) - set(before)
    assert new <= {"message-id", "date", "return-path", "from"}, f"new header: {new}"
    with_from(done.raw, done.from_start, done.from_end, "Eve <eve@example.com>")
    assert b"\x00" not in done.raw
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", done.raw), "a bare line end"


def recipients(data: bytes) -> None:
    """Who gets a finished message stands in its head as it came, undecoded; what is kept of it can be stored."""
    done = compose(Submission(raw=data), now=NOW)
    head = mime.head_text((data if b"\r" in data else data.replace(b"\n", b"\r\n")).partition(b"\r\n\r\n")[0])
    written = [re.sub(pattern, "", head) for pattern in (r"\s+", r"\([^()]*\)|\s+", r"[()]|\s+")]
    mapped = [
        unicodedata.normalize("NFKC", text).replace("\xad", "").lower() for text in written
    ]  # as UTS 46 reads domains
    for person in done.recipients:
        if "xn--" not in person:
            assert any(person.lower() in text for text in (*written, *mapped)), f"nobody wrote {person!r}"
    for text in (done.subject, done.message_id, done.header_from or ""):
        assert mime.storable(text) == text, "not storable"


def field_seeds() -> list[bytes]:
    """Address fields with encoded words where no address may come from."""
    words = (
        "=?utf-8?q?a=40evil.example=2C?=",
        "=?utf-8?b?PGFAZXZpbC5leGFtcGxlPiw=?=",
        "=?utf-7?q?+2AA-?=",
        '"a, b" (c)',
    )
    heads = [
        f"From: {w} <ann@example.com>\nTo: {w} <bob@dest.example>, {w}x@dest.example\nBcc: c@d.example" for w in words
    ]
    return [f"{head}\nSubject: {words[0]}\n\nhello\n".encode() for head in heads]


def tags(data: bytes) -> None:
    """Whatever stands in a return path, only a tag that was signed names a mail."""
    text = data.decode("utf-8", "replace")
    for piece in text.split("\n"):
        assert tag.read("bounce@acme.example", piece, b"k" * 32) is None, "a tag that nobody signed"


TAG_KEY, TAG_PATH, PEOPLE = b"k" * 32, "bounce@acme.example", ("eve@evil.example", "bob@x.example")


def real_tags() -> list[bytes]:
    """Tags as they leave: of a mail, of one of its recipients, of an old day, of another key."""
    made = [tag.sign(TAG_PATH, 7, TAG_KEY, at=NOW, recipient=who) for who in (None, *PEOPLE)]
    made += [tag.sign(TAG_PATH, 7, TAG_KEY, at=NOW - timedelta(days=40)), tag.sign(TAG_PATH, 7, b"x", at=NOW)]
    return [one.encode() for one in made]


def proofs(data: bytes) -> None:
    """A return path proves what a tag says that was signed for it, whatever was done to its octets, and a report about
    a mail with several recipients proves nothing against one whom its tag does not name."""
    signed = {one.decode().lower() for one in real_tags()[:3]}
    for line in data.decode("utf-8", "replace").split("\n")[:20]:
        path = line.strip("<> \r")
        text = path.rpartition("@")[0].partition("+")[2]
        known = f"bounce+{text}@acme.example".lower() in signed
        assert (tag.read(TAG_PATH, text, TAG_KEY, now=NOW) is not None) == known, (
            "a tag that nobody signed, or a lost one"
        )
        for kind in ("bounce", "complaint"):
            for who in PEOPLE:
                result = RecipientResult(who)
                report = Report(kind, (result,), original=OriginalMessage(envelope_from=path[:400]))  # type: ignore[arg-type]
                found = clues(b"", report, {TAG_PATH}, (TAG_KEY,), now=NOW)
                near = [Candidate(7, n, "<7@acme.example>", to, NOW, 2, True) for n, to in enumerate(PEOPLE)]
                hit = match(result, report, near, now=NOW, found=found)
                sure = hit.candidate if hit.confidence >= SURE else None
                assert sure is None or (7, tag.word_of(sure.recipient)) in found.named, "proof by another"


def gate(data: bytes) -> None:
    """Whatever the texts beside a finished message hold: refused, or no field, no recipient and no octet more."""
    text = [piece.decode("utf-8", "surrogateescape") for piece in data.split(b"\x1e")][:6]
    text += [""] * (6 - len(text))
    raw = b"From: Ann <ann@example.com>\r\nTo: Bob <bob@dest.example>\r\nSubject: x\r\n\r\nhello\r\n"
    given = Submission(
        raw=raw,
        message_id=text[0] or None,
        return_path=text[1] or None,
        envelope_to=(text[2],) if text[2] else (),
        sender=text[3] or None,
        origin=text[4] or "api",
        company=text[5] or None,
    )
    done = compose(given, now=NOW, return_path="bounce@example.com")
    names = header_names(done.raw)
    assert sorted(names) == sorted({"return-path", "from", "to", "subject", "message-id", "date"}), f"fields: {names}"
    assert len(done.recipients) == 1
    assert re.sub(r"\s", "", done.recipients[0]) == done.recipients[0], "a blank in an address"
    assert done.recipients[0].rpartition("@")[0] in (text[2] or "bob@dest.example"), "a recipient that nobody named"
    assert done.raw.endswith(b"\r\n\r\nhello\r\n")


def gate_seeds() -> list[bytes]:
    """Texts beside a raw message, each with a line that is none of ours."""
    plain = ["<1@example.com>", "reports@example.com", "bob@dest.example", "ann@example.com", "api", ""]
    marks = ("\r\nX-Evil: 1", "\nBcc: e@evil.example", "\r", "\x00", "\x85X: 1", "=?utf-8?q?=0D=0AX:_1?=", "\ud800")
    rows = [plain, *([t + mark if n == k else t for n, t in enumerate(plain)] for mark in marks for k in range(5))]
    return ["\x1e".join(row).encode("utf-8", "surrogatepass") for row in rows]


def raw_seeds() -> list[bytes]:
    """Plain messages, and the fixtures."""
    head = b"From: Ann <ann@example.com>\nTo: Bob <bob@dest.example>\nBcc: c@dest.example\nSubject: =?utf-8?q?J=C3=B6rg?=\n"
    return [head + b"\nhello\n", head + b"Message-ID: <1@example.com>\nDate: x\n folded\n\n.\n..\n", *mails()[:30]]


def address(data: bytes) -> None:
    """Addresses read are addresses; written down and read again they are the same mailbox; no line break comes out."""
    text = data.decode("utf-8", "surrogateescape")
    found = addresses.parse_addresses(text)
    for each in found:
        assert "@" in each.spec
        assert not re.search(r"[\r\n]", str(each)), "a line break in a formatted address"
        addresses.envelope_address(each.spec)
        if addresses.is_valid(each.spec) and each.spec.isascii() and not re.search(r'[\x00-\x1f\x7f"\\]', each.name):
            again = addresses.parse_addresses(str(each))
            assert [a.spec for a in again] == [each.spec], f"{str(each)!r} reads as {again}"
    addresses.parse_first(text)
    addresses.parse_single(text)
    addresses.is_valid(text)
    addresses.ascii_domain(text)
    addresses.normalise(text)


def address_seeds() -> list[bytes]:
    """Forms people and programs write."""
    return [
        text.encode()
        for text in (
            "ann@example.com", "Ann Lee <ann@example.com>", '"Lee, Ann" <ann@example.com>, bob@example.net',
            "friends: a@x.example, b@x.example;", "ann@example.com (Ann (work))", '"odd local"@example.com',
            "=?utf-8?q?J=C3=B6rg?= <j@example.com>", "jörg@bücher.example", "Ann ann@example.com", "<@a,@b:c@d.example>",
            "a@[127.0.0.1]", "a@[IPv6:::1]", "ann@x.test <ann@y.test>", "a@b@c", "<a@b", '"\\"" <a@b.c>', "a@xn--bcher-kva.example",
        )
    ]  # fmt: skip


def address_bombs() -> Iterator[bytes]:
    """Each special character, many times."""
    for mark in (
        '"',
        "(",
        ")",
        "<",
        ">",
        "@",
        ",",
        ";",
        ":",
        "\\",
        " ",
        "\r\n ",
        "[",
        "a@b,",
        "a@b ",
        "<a@b>",
        "é@é.é,",
    ):
        yield mark.encode() * 30_000
        yield b"ann" + mark.encode() * 30_000 + b"@example.com"


# --- DNS ------------------------------------------------------------------------------------------------------------

FEEDBACK = b"""<?xml version="1.0"?><feedback><version>1.0</version><report_metadata><org_name>r.example</org_name>
<email>d@r.example</email><report_id>1</report_id><date_range><begin>1760000000</begin><end>1760086400</end></date_range>
</report_metadata><policy_published><domain>example.com</domain><p>none</p><pct>100</pct></policy_published><record><row>
<source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail
</spf><reason><type>forwarded</type><comment>x</comment></reason></policy_evaluated></row><identifiers><header_from>example.com
</header_from></identifiers><auth_results><dkim><domain>example.com</domain><selector>s</selector><result>pass</result></dkim>
<spf><domain>example.com</domain><scope>mfrom</scope><result>fail</result></spf></auth_results></record></feedback>"""


def zipped(*entries: bytes) -> bytes:
    """A zip archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, entry in enumerate(entries):
            archive.writestr(f"{number}.xml", entry)
    return made.getvalue()


def mailed(payload: bytes) -> bytes:
    """A mail that carries it."""
    return (
        b"From: r@r.example\nSubject: Report Domain: example.com\nContent-Type: application/octet-stream\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(payload)
    )


def aggregate(data: bytes) -> None:
    """A report or a refusal; counts and rows within bounds."""
    packed = gzip.compress(data, 1)
    for form in (data, packed, zipped(data)) if len(data) < 5000 else (data,):
        for report in read_reports(form):
            assert len(report.records) <= 500_000
            assert all(0 <= record.count <= 10**12 for record in report.records)


def aggregate_seeds() -> list[bytes]:
    """The forms a report comes in."""
    return [FEEDBACK, gzip.compress(FEEDBACK), zipped(FEEDBACK), mailed(zipped(FEEDBACK)), mailed(gzip.compress(FEEDBACK)),
            FEEDBACK.decode().encode("utf-16"), FEEDBACK.replace(b"</row>", b""), zipped(zipped(FEEDBACK), FEEDBACK)]  # fmt: skip


def aggregate_bombs() -> Iterator[bytes]:
    """Bombs of gzip, zip, entities, depth and rows."""
    zeros = bytes(60_000_000)
    yield gzip.compress(zeros)
    yield zipped(zeros)
    yield gzip.compress(gzip.compress(zeros))
    yield mailed(zipped(gzip.compress(zeros)))
    yield zipped(*[b"<feedback/>"] * 1000)
    yield b"".join(gzip.compress(b"<a>") for _ in range(100_000))
    yield b"<feedback>" * 200_000
    yield b"<feedback><record>" + b"<row><source_ip>" * 100_000
    yield b"<feedback>" + b"<org_name" * 200_000
    yield b"<feedback>" + b"<record></record>" * 600_000 + b"</feedback>"
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 30))
    yield b'<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY e0 "x">' + entities + b"]><feedback>&e29;</feedback>"
    yield b"<feedback " + b'a="b" ' * 200_000 + b"/>"
    yield b"<feedback><version>" + b"&lt;" * 1_000_000


def records(data: bytes) -> None:
    """The readers of SPF, DKIM, DMARC, MTA-STS and other tag records."""
    text = data.decode("utf-8", "surrogateescape")
    for work in (lambda: parse_record(text), lambda: check_macros(text), lambda: check_macros(text, explanation=True)):
        with contextlib.suppress(MacroProblem):
            work()
    select([text])
    merge([text], ["include:spf.example.com"])
    select_dmarc([text])
    parse_dmarc(text)
    parse_key(text)
    pairs(text)
    parse_policy(data)
    signatures(b"DKIM-Signature: " + data + b"\n\nx")


def record_seeds() -> list[bytes]:
    """One of each kind, and their parts."""
    return [
        b"v=spf1 include:_spf.example.com a:%{d}.x.example/24//64 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ptr exists:%{i}._s."
        b"%{d2r-} redirect=x.example exp=e.%{h} ?all",
        b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; rua=mailto:a@example.com!10m,https://x.example; fo=1:d; t=y",
        b"v=DKIM1; k=rsa; h=sha256; s=email; t=s; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA; n=note",
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        b"version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n",
        b"v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=s1; h=from:to; l=1; bh=abc=; b=abc=",
        b"v=TLSRPTv1; rua=mailto:t@example.com",
    ]


def record_bombs() -> Iterator[bytes]:
    """Long ones, and many of a kind."""
    for seed in (b"v=spf1 ", b"v=DMARC1; ", b"v=DKIM1; "):
        for piece in (
            b"a ",
            b"include:x ",
            b"%{d}",
            b"p=;",
            b"rua=mailto:a@b,",
            b";",
            b"=",
            b" ",
            b"\xe2\x80\x9c",
            b"ip6:::",
            b"0",
        ):
            yield seed + piece * 20_000


# --- webhooks -------------------------------------------------------------------------------------------------------


@cache
def keys() -> tuple[Any, Any, bytes]:
    """An EC key, an RSA key and its certificate, made for this run."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import NameOID

    signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.example")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(signer.public_key())
    made = made.serial_number(7).not_valid_before(NOW - timedelta(days=9)).not_valid_after(NOW + timedelta(days=9))
    pem = made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return ec.generate_private_key(ec.SECP256R1()), signer, pem


TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"


def webhooks(data: bytes) -> None:
    """Unsigned bodies are refused, signed ones read or refused; no event without address and id."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    curve, signer, pem = keys()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = base64.b64encode(curve.public_key().public_bytes(serialization.Encoding.DER, form)).decode()
    text = data.decode("latin-1")
    word = text[:60]
    stamp = str(int(NOW.timestamp()))
    forged = {
        "authorization": f"Basic {word}",
        "x-twilio-email-event-webhook-signature": word,
        "x-twilio-email-event-webhook-timestamp": stamp,
    }
    for prove in (
        lambda: verify.verify_basic("mailjet", forged, "user:pass-word"),
        lambda: verify.verify_mailgun(data, "key", now=NOW),
        lambda: verify.verify_sendgrid(forged, data, public, now=NOW),
        lambda: verify.verify_sns(data, TOPIC, lambda _: pem, now=NOW),
    ):
        try:
            prove()
        except AuthError:
            continue
        raise AssertionError("unsigned data is taken for signed")
    signature = base64.b64encode(curve.sign(stamp.encode() + data, ec.ECDSA(hashes.SHA256()))).decode()
    good = {**forged, "x-twilio-email-event-webhook-signature": signature}
    verify.verify_sendgrid(good, data, public, now=NOW)
    mac = hmac.new(b"key", f"{stamp}tok".encode(), hashlib.sha256).hexdigest()
    verify.verify_mailgun(
        json.dumps({"signature": {"timestamp": stamp, "token": "tok", "signature": mac}}).encode(), "key", now=NOW
    )
    fields = {
        "Message": text,
        "MessageId": "m",
        "Timestamp": NOW.isoformat(),
        "TopicArn": TOPIC,
        "Type": "Notification",
    }
    signed = "".join(f"{name}\n{value}\n" for name, value in fields.items()).encode()
    proof = base64.b64encode(signer.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
    url = "https://sns.eu-west-1.amazonaws.com/a.pem"
    notice = json.dumps({**fields, "Signature": proof, "SignatureVersion": "2", "SigningCertURL": url}).encode()
    verify.verify_sns(notice, TOPIC, lambda _: pem, now=NOW)
    for provider in PROVIDERS:
        for body in (data, notice):
            try:
                events = read_events(provider, body)
            except InputRefused:
                continue
            for event in events:
                assert "@" in event.address
                assert event.event_id
                assert event.kind in ("bounce", "delayed", "complaint")
                assert len(event.text) <= 4000
                assert event.status is None or re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", event.status), event.status
                assert len(event.address) <= 1000, "a very long address"
                assert not re.search(r"[\x00-\x20]", event.address), "space in an address"
                (event.address + event.event_id + event.text + (event.message_id or "")).encode()


def webhook_seeds() -> list[bytes]:
    """One body of each provider's form."""
    told = {
        "bounceType": "Permanent",
        "feedbackId": "f",
        "bouncedRecipients": [{"emailAddress": "a@x.example", "status": "5.1.1"}],
    }
    ses = {"notificationType": "Bounce", "mail": {"commonHeaders": {"messageId": "<1@x.example>"}}, "bounce": told}
    gun = {
        "event": "failed",
        "id": "1",
        "recipient": "a@x.example",
        "severity": "permanent",
        "delivery-status": {"message": "no"},
    }
    bodies: list[Any] = [
        [{"event": "bounce", "time": 1, "Message_GUID": "g", "email": "a@x.example", "hard_bounce": True, "error": "user unknown"}],
        [{"event": "bounce", "sg_event_id": "e", "email": "a@x.example", "smtp-id": "<1@x>", "status": "5.1.1", "reason": "550 no"}],
        {"event-data": {**gun, "message": {"headers": {"message-id": "1@x.example"}}}, "signature": {}},
        {"RecordType": "Bounce", "ID": 1, "Type": "HardBounce", "Email": "a@x.example", "Details": "smtp;550 5.1.1 unknown"},
        ses,
        {"notificationType": "Complaint", "complaint": {"feedbackId": "f", "complainedRecipients": [{"emailAddress": "a@x"}]}},
        {"Type": "Notification", "Message": json.dumps(ses), "Signature": "AAAA", "SigningCertURL": "https://[", "TopicArn": TOPIC,
         "Timestamp": NOW.isoformat(), "MessageId": "m", "SignatureVersion": "2"},
    ]  # fmt: skip
    return [json.dumps(body).encode() for body in bodies]


def webhook_bombs() -> Iterator[bytes]:
    """Depth, numbers, many events."""
    yield b"[" * 200_000
    yield b'{"a":' * 100_000
    yield b"[" + b"9" * 100_000 + b"]"
    yield b'{"RecordType":"Bounce","ID":1,"Email":"' + b"a" * 500_000 + b'@x.example"}'
    yield b"[" + b",".join([b'{"event":"spam","email":"a@b.c","Message_GUID":1}'] * 11_000) + b"]"
    yield b'[{"event":"bounce","email":"\\ud800@x.example","sg_event_id":"\\udfff","reason":"\\ud800"}]'
    yield b'{"RecordType":"Bounce","ID":NaN,"Email":["a@b"],"Details":{"x":1e999}}'


# --- HTML -----------------------------------------------------------------------------------------------------------


class Watch(HTMLParser):
    """What a browser would be told by the sanitised HTML."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing that runs, styles, loads or submits."""
        assert tag in _TAGS, f"element {tag}"
        for name, value in attrs:
            assert name in ("href", "title", "colspan", "rowspan", "rel"), f"attribute {name}"
            if name == "href":
                assert re.match(r"https?://|mailto:", value or "", re.I), f"link to {(value or '')[:40]}"

    handle_startendtag = handle_starttag


_TAGS = frozenset(
    [
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "u",
        "ul",
    ]
)


def sanitise(data: bytes) -> None:
    """The result tells a browser nothing but text and links to elsewhere."""
    out = safe_html(data.decode("utf-8", "replace"))
    watch = Watch()
    watch.feed(out)
    watch.close()
    assert len(out) <= LIMIT * 40


def html_seeds() -> list[bytes]:
    """What has got past sanitisers."""
    return [
        b"<p>Hello <b>Ann</b> <a href='https://x.example' title=x>link</a></p><img src=http://x.example/p.gif onerror=a()>",
        b"<svg><style><img src=x onerror=alert(1)></style></svg><math><mtext><table><mglyph><style><!--</style><img title='-->&lt;"
        b"img src=1 onerror=1&gt;'>",
        b"<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", b"<a href='java&#10;script:alert(1)'>x</a>",
        b"<a href='&#x1;javascript:alert(1)'>x</a><a href=//x.example>y</a><a href='data:text/html,x'>z</a>",
        b"<form action=x><input type=image src=x><button formaction=javascript:x>", b"<table background=http://x.example/p.gif>",
        b"<div style='background:url(http://x.example)'>", b"<style>@import 'http://x.example'</style><link rel=stylesheet href=x>",
        b"<iframe srcdoc='<script>x</script>'></iframe><object data=x><embed src=x><base href=http://x.example>",
        b"<script>x</script><scr<script>ipt>x</script><!--[if IE]><script>x</script><![endif]--><xmp><img src=x></xmp>",
        b"<template><script>x</script></template><meta http-equiv=refresh content='0;url=x'><video src=x poster=y>",
    ]  # fmt: skip


def html_bombs() -> Iterator[bytes]:
    """Depth and length."""
    for piece in (
        b"<div>",
        b"<b><p>",
        b"<a href=x>",
        b"<table>",
        b"<svg>",
        b"<",
        b"&lt;",
        b"<!--",
        b"<font><i>",
        b"</p>",
        b"<li>",
    ):
        yield piece * 40_000


TARGETS: dict[str, Target] = {
    "bounces": Target(bounces, mails, mail_bombs),
    "correlate": Target(correlate, mails, mail_bombs),
    "inbound": Target(inbound, mails, mail_bombs),
    "aggregate": Target(aggregate, aggregate_seeds, aggregate_bombs),
    "compose-fields": Target(compose_fields, compose_seeds),
    "compose-raw": Target(compose_raw, raw_seeds, mail_bombs),
    "recipients": Target(recipients, field_seeds),
    "tags": Target(tags, lambda: [b"1-abcdefghijklmnop", b"bounce+1-abc=x.example", b"1.a.b\n" * 20]),
    "address": Target(address, address_seeds, address_bombs),
    "proofs": Target(proofs, real_tags),
    "gate": Target(gate, gate_seeds),
    "webhooks": Target(webhooks, webhook_seeds, webhook_bombs),
    "sanitise": Target(sanitise, html_seeds, html_bombs),
    "records": Target(records, record_seeds, record_bombs),
}


def run(target: Target, data: bytes) -> None:
    """One input; a mailops error is a right answer."""
    with contextlib.suppress(MailopsError):
        target.check(data)


# --- mutants --------------------------------------------------------------------------------------------------------

WORDS = [
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b", b"Content-Type: message/delivery-status", b"--b",
    b"--b--", b"", b"Content-Type: message/rfc822", b"Content-Type: text/html; charset=iso-8859-1", b"Return-Path: <>",
    b"Content-Type: message/feedback-report", b"Feedback-Type: abuse", b"Original-Rcpt-To: <o@dest.example>",
    b"Final-Recipient: rfc822; <x@dest.example>", b"Original-Recipient: utf-8;\\x{fc}@dest.example", b"Action: failed",
    b"Action: delayed", b"Status: 5.1.1 (unknown)", b"Diagnostic-Code: smtp; 550-5.1.1 gone", b"Remote-MTA: dns; mx.dest.example",
    b"Reporting-MTA: dns; mx.example", b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable",
    b"Auto-Submitted: auto-replied", b"X-Failed-Recipients: a@dest.example, b@dest.example", b"Subject: =?utf-8?b?w7Y=?= =?x?q??=",
    b"Content-Type: text/plain; charset=utf-7", b"Content-Type: text/plain; charset=punycode", b"user unknown +2AA- x",
    b"From: Mail Delivery System <MAILER-DAEMON@mx.example>", b"<ann@dest.example>: host mx said: 550 5.1.1 user unknown",
    b"To: bounce+12-a=b.example@example.com", b"References: <a@b> <c@d>", b"In-Reply-To: <1@example.com>", b" folded",
    b"----- The following addresses had permanent fatal errors -----", b"------ This is a copy of the message ------", b"From x",
    b"Message-ID: <a\n b@c>", b"\x00", b"\xff\xfe", b"\r", b"=0D=0A", b"\xe2\x80\xa8", b"<", b">", b"@", b'"', b"(", b"&#0;", b"{", b"[",
]  # fmt: skip


def mutate(data: bytes, seeds: list[bytes], luck: random.Random) -> bytes:
    """One to six changes: mostly of whole lines, as mail and records are made of them, at times of octets."""
    for _ in range(luck.randint(1, 6)):
        end = luck.choice([b"\n", b"\n", b"\x1e", b" ", b";", b"<", b",", b"\n\n"])
        if end not in data:
            end = b"\n"
        rows = data.split(end)
        at = luck.randrange(len(rows))
        other = luck.choice(seeds).split(end)
        match luck.randrange(14):
            case 0:
                rows.insert(at, luck.choice(WORDS))
            case 1:
                rows[at : at + luck.randint(1, 4)] = []
            case 2:
                rows[at:at] = rows[at : at + luck.randint(1, 20)] * luck.choice([1, 2, 3, 100])
            case 3:
                rows[at:] = other[luck.randrange(len(other)) :]
            case 4:
                rows.insert(at, luck.choice(other))
            case 5:
                rows[at] = rows[at] * luck.choice([2, 50, 2000])
            case 6:
                name, colon, value = rows[at].partition(b":")
                rows[at] = name + colon + luck.choice([b"", b" ", value * 2, b"\n " + value, luck.choice(WORDS)])
            case 7:
                place = luck.randint(0, len(rows[at]))
                rows[at] = rows[at][:place] + luck.choice(WORDS) * luck.choice([1, 1, 1, 500]) + rows[at][place:]
            case 8:
                place = luck.randrange(len(rows))
                rows[at], rows[place] = rows[place], rows[at]
            case 9:
                rows[at] = rows[at].swapcase() if luck.random() < 0.5 else luck.choice([b" ", b"\t", b">"]) + rows[at]
            case 10:
                data = nested(data, luck.choice([1, 2, 7, 60])) if end == b"\n" else data
                rows = data.split(end)
            case 11:
                head, gap, body = data.partition(b"\n\n")
                rows = (head + b"\nContent-Transfer-Encoding: base64" + gap + base64.encodebytes(body)).split(end)
            case 12:
                rows[at] = bytes(luck.randrange(256) for _ in range(luck.randint(1, 8)))
            case _:
                place = luck.randint(0, len(rows[at]))
                rows[at] = rows[at][:place] + bytes([luck.randrange(256)]) + rows[at][place + luck.randint(0, 2) :]
        data = end.join(rows)[:MAX_LEN]
    return data


# --- the driver -----------------------------------------------------------------------------------------------------


class Findings:
    """Runs inputs, and keeps the first of each kind that goes wrong."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.seen, self.runs, self.slowest = name, folder, set[str](), 0, 0.0

    def __call__(self, data: bytes) -> None:
        """One input with its time and memory."""
        self.runs += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        try:
            run(TARGETS[self.name], data)
        except Exception as error:
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if "mailops/" in f.filename or "fuzz" in f.filename
            ]
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
            self.keep(f"{type(error).__name__} at {place}", str(error), data)
        took = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
        self.slowest = max(self.slowest, took)
        if took > SLOW * max(1.0, len(data) / 4_000_000):
            self.keep("slow", f"{took:.2f} s for {len(data)} octets", data)
        if grown > GROWTH:
            self.keep("memory", f"{grown:.0f} MiB for {len(data)} octets", data)

    def keep(self, what: str, detail: str, data: bytes) -> None:
        """Store an input once for each kind of finding."""
        if what in self.seen:
            return
        self.seen.add(what)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}-{re.sub(r'[^A-Za-z0-9]+', '-', what)}"
        file.write_bytes(data)
        print(f"FOUND {self.name}: {what}: {detail[:200]!r} in {file}", flush=True)


def fuzz(name: str, seconds: int, folder: Path, more: list[bytes]) -> None:
    """Run one target in this process; libFuzzer ends the process."""
    import tempfile

    seeds = TARGETS[name].seeds() + (more if TARGETS[name].seeds in (mails, raw_seeds) else [])
    findings = Findings(name, folder)
    for data in [*seeds, *TARGETS[name].bombs()]:
        findings(data)
    print(f"{name}: {len(seeds)} seeds and the bombs read, slowest {findings.slowest:.2f} s", flush=True)
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for data in seeds:
        if len(data) <= MAX_LEN:
            (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def mutant(data: bytes, size: int, seed: int) -> bytes:
        luck = random.Random(seed)
        if luck.random() < 0.3:
            return bytes(atheris.Mutate(data, size))
        return mutate(data, seeds, luck)[:size]

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LEN}",
        "-rss_limit_mb=1500",
        "-timeout=30",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], findings, custom_mutator=mutant)
    atheris.Fuzz()


def main() -> int:
    """Each target in a process of its own, one after the other; a line of figures for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all when none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target, after seeds and bombs")
    parser.add_argument("--seeds", type=Path, help="a folder with more messages (*.eml) to start from")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where inputs that fail are kept")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    if atheris is None:
        print(
            "Coverage-guided fuzzing needs atheris: pip install atheris (wheels for CPython 3.11 to 3.13).",
            file=sys.stderr,
        )
        return 2
    if given.here:
        files = sorted(given.seeds.rglob("*.eml")) if given.seeds else []
        fuzz(given.targets[0], given.seconds, given.found, [file.read_bytes() for file in files])
    print(f"{'target':<15} {'runs':>9} {'edges':>7} {'corpus':>7} {'found':>6} {'peak MiB':>9}", flush=True)
    total = 0
    for name in given.targets or TARGETS:
        more = ["--seeds", str(given.seeds)] if given.seeds else []
        command = [
            sys.executable,
            __file__,
            name,
            "--here",
            f"--seconds={given.seconds}",
            f"--found={given.found}",
            *more,
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        said = done.stdout + done.stderr
        found = re.findall(r"^FOUND.*", said, re.M)
        runs, rss = (re.search(rf"stat::{key}:\s+(\d+)", said) for key in ("number_of_executed_units", "peak_rss_mb"))
        cover = re.findall(r"cov: (\d+) .*?corp: (\d+)", said) or [("?", "?")]
        figures = f"{runs[1] if runs else '?':>9} {cover[-1][0]:>7} {cover[-1][1]:>7} {len(found):>6} {rss[1] if rss else '?':>9}"
        print(
            f"{name:<15} {figures}",
            *found,
            *([] if runs else [said[-2000:]]),
            sep="\n  " if found or not runs else " ",
            flush=True,
        )
        total += len(found) + (runs is None)
    return 1 if total else 0


if __name__ == "__main__":
    raise SystemExit(main())
