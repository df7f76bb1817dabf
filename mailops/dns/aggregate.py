"""Reading DMARC aggregate reports: plain XML, gzip, zip, or the e-mail that carries them.

What a file is, is told from its first octets, never from its name. Everything is bounded before it is believed: the
file, what it unpacks to, the ratio between the two, the entries of an archive, archives inside archives. A hostile file
ends in :class:`mailops.errors.InputRefused` within a second and a few dozen megabytes; a broken one is read tolerantly
and marked ``recovered``.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO
from xml.parsers import expat

from ..errors import InputRefused
from .aggregate_model import AggregateReport
from .aggregate_xml import MAX_RECOVER, read_strict, read_tolerant, refuse

MAX_FILE = 32 * 1024 * 1024
MAX_XML = 48 * 1024 * 1024
MAX_RATIO = 160  # real reports reach some 100
RATIO_FROM = 1024 * 1024
MAX_ENTRIES = 64
MAX_NESTING = 3
MAX_BOUNDARIES = 1000
MAX_HEADER = 256 * 1024
MAX_MESSAGES = 10_000
_PIECE = 65536
_START = re.compile(rb"<(?:[A-Za-z][\w.-]*:)?feedback[\s>]")
_END = re.compile(rb"</(?:[A-Za-z][\w.-]*:)?feedback\s*>")


def read_reports(data: bytes) -> tuple[AggregateReport, ...]:
    """All reports in a file's octets (an archive or mail may carry several).

    Raises :class:`mailops.errors.InputRefused` when there is none, or the file is hostile or beyond repair.
    """
    if len(data) > MAX_FILE:
        raise refuse("size", f"a file of {len(data)} octets; at most {MAX_FILE}", limit=MAX_FILE)
    found = list(_reports(data, 0))
    if not found:
        raise refuse("no_report", "the file holds no DMARC aggregate report")
    return tuple(found)


def read_report(data: bytes) -> AggregateReport:
    """The first report in a file's octets; raises as :func:`read_reports` does."""
    return read_reports(data)[0]


def read_file(path: Path) -> tuple[AggregateReport, ...]:
    """All reports in a file; never reads more than the bound."""
    with path.open("rb") as handle:
        return read_reports(handle.read(MAX_FILE + 1))


def _reports(data: bytes, depth: int) -> Iterator[AggregateReport]:
    if depth > MAX_NESTING:
        raise refuse("nesting", f"archives nested more than {MAX_NESTING} deep")
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        yield from _zip(data, depth)
    elif data[:2] == b"\x1f\x8b":
        for _ in unpack(data):  # counted first: a bomb is refused before any of it is parsed
            pass
        yield from _unpacked(unpack(data), depth)
    elif _looks_like_xml(data):
        yield from _documents(data)
    elif data[:5] == b"From " and depth == 0:
        yield from _mbox(data)
    elif data[:1] in (b"{", b"[") and b'"policies"' in data[:MAX_HEADER]:
        raise refuse("tls", "a report about TLS (RFC 8460), not about DMARC: mailops dmarc tls reads it")
    elif depth == 0 or b":" in data[:200]:
        yield from _mail(data, depth)


def _looks_like_xml(data: bytes) -> bool:
    head = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    return head.startswith((b"<?xml", b"<feedback", b"<!", b"<")) or (b"<feedback" in head and b"\n\n" not in head)


def _documents(data: bytes) -> Iterator[AggregateReport]:
    """Each document of a file; a second one behind the first is a report of its own."""
    if data.count(b"feedback") < 4:  # one start and one end: looked at cheaply, most files are so
        yield _xml(iter([data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]), data)
        return
    ends = [match.end() for match in _END.finditer(data)][:MAX_ENTRIES]
    starts = len(_START.findall(data))
    if len(ends) < 2 or starts < 2:
        yield _xml(iter([data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]), data)
        return
    at = 0
    for end in [*ends[:-1], len(data)]:
        one = data[at:end].lstrip(b" \t\r\n\x00")
        at = end
        if _START.search(one):
            yield _xml(iter([one[piece : piece + _PIECE] for piece in range(0, len(one), _PIECE)]), one)


def _mbox(data: bytes) -> Iterator[AggregateReport]:
    """Every report of a mailbox file. A message that gives none is told in a note of the first that does."""
    starts = [match.start() for match in re.finditer(rb"(?:\A|\n)From [^\n]+\n", data)][:MAX_MESSAGES]
    found: list[AggregateReport] = []
    notes: list[str] = []
    first: InputRefused | None = None
    for number, (at, end) in enumerate(zip(starts, [*starts[1:], len(data)], strict=True), start=1):
        message = data[at:end].lstrip(b"\n").partition(b"\n")[2]
        try:
            reports = list(_reports(message, 1))
        except InputRefused as problem:
            first = first or problem
            notes.append(f"message {number} of the file gave no report: {problem.message}")
            continue
        found += reports
        if not reports:
            notes.append(f"message {number} of the file carries no report")
    if not found and first is not None:
        raise first
    for number, report in enumerate(found):
        yield replace(report, notes=(*report.notes, *notes), incomplete=True) if notes and number == 0 else report


def _unpacked(pieces: Iterator[bytes], depth: int) -> Iterator[AggregateReport]:
    """What came out of a compressed stream: usually XML, sometimes another archive."""
    first = next(pieces, b"")
    if _looks_like_xml(first):
        yield _xml(_chain(first, pieces), None)
    else:
        yield from _reports(first + b"".join(pieces), depth + 1)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _xml(pieces: Iterator[bytes], whole: bytes | None) -> AggregateReport:
    """Strictly first; what was read is kept (up to a bound) for the tolerant reader."""
    kept = bytearray()

    def keep() -> Iterator[bytes]:
        blank = True
        for piece in pieces:
            if whole is None and len(kept) <= MAX_RECOVER:
                kept.extend(piece)
            if blank:
                piece = piece.lstrip(b" \t\r\n")  # space before the XML declaration is common and harmless
                blank = not piece
            yield piece

    try:
        return read_strict(keep())
    except expat.ExpatError:
        for piece in pieces:  # the rest, still bounded by the decompressor
            if whole is None and len(kept) <= MAX_RECOVER:
                kept.extend(piece)
        return read_tolerant(bytes(kept) if whole is None else whole)


def _bounded(total: int, packed: int) -> None:
    if total > MAX_XML:
        raise refuse("bomb", f"the archive unpacks to more than {MAX_XML} octets", limit=MAX_XML)
    if total > RATIO_FROM and total > MAX_RATIO * max(packed, 1):
        raise refuse("bomb", f"the archive unpacks to more than {MAX_RATIO} times its size", packed=packed)


def unpack(data: bytes) -> Iterator[bytes]:
    """Decompress gzip members one after another, in pieces; raises on truncation."""
    total, at = 0, 0
    while data[at : at + 2] == b"\x1f\x8b":
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof:
            if at >= len(data):
                raise refuse("gzip", "the gzip data ends in the middle")
            fed = data[at : at + _PIECE]  # fed in pieces too: the engine copies what it has not used yet
            at += len(fed)
            while fed and not engine.eof:
                try:
                    piece = engine.decompress(fed, _PIECE)
                except zlib.error as problem:
                    raise refuse("gzip", f"the gzip data is damaged: {problem}") from problem
                fed = engine.unconsumed_tail
                total += len(piece)
                _bounded(total, len(data))
                if piece:
                    yield piece
        at -= len(engine.unused_data)
        while data[at : at + 1] == b"\x00":
            at += 1


def _zip(data: bytes, depth: int) -> Iterator[AggregateReport]:
    """Every XML in a zip archive, entry by entry, in pieces."""
    entries = _entry_count(data)
    if entries > MAX_ENTRIES:
        raise refuse("entries", f"an archive of {entries} entries; at most {MAX_ENTRIES}")
    found = 0
    budget = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
                    continue
                if entry.flag_bits & 1:
                    raise refuse("encrypted", "the archive is protected by a password")
                _bounded(entry.file_size, len(data))
                budget += entry.file_size
                _bounded(budget, len(data))
                with archive.open(entry) as stream:
                    for report in _unpacked(_pieces(stream, len(data)), depth):
                        found += 1
                        yield report
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
        OSError,
    ) as problem:
        raise refuse("zip", f"the zip archive is damaged: {problem}") from problem
    if not found:
        raise refuse("no_report", "the archive holds no DMARC aggregate report")


def _pieces(stream: IO[bytes], packed: int) -> Iterator[bytes]:
    total = 0
    while piece := stream.read(_PIECE):
        total += len(piece)
        _bounded(total, packed)
        yield piece


def _entry_count(data: bytes) -> int:
    """The number of entries the end record claims, looked at before anything is built from it."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65557))
    if at < 0 or at + 12 > len(data):
        raise refuse("zip", "the zip archive ends in the middle")
    return int.from_bytes(data[at + 10 : at + 12], "little")


def _mail(data: bytes, depth: int) -> Iterator[AggregateReport]:
    """Reports attached to an e-mail (RFC 9990 section 3: gzip or zip or XML, as the body or as a part)."""
    import email
    import email.policy

    if data.count(b"\n--") > MAX_BOUNDARIES or not re.search(rb"\r?\n\r?\n", data[:MAX_HEADER]):
        raise refuse("mail", "neither a report nor a mail that carries one")
    try:
        message = email.message_from_bytes(data, policy=email.policy.compat32)
        parts = [part for part in message.walk() if not part.is_multipart()]
    except (RecursionError, ValueError) as problem:
        raise refuse("mail", f"the message cannot be read: {problem}") from problem
    if len(parts) > MAX_ENTRIES:
        raise refuse("entries", f"a message of {len(parts)} parts; at most {MAX_ENTRIES}")
    for part in parts:
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes) or not payload:
            continue
        packed = payload[:2] in (b"PK", b"\x1f\x8b")
        if "tlsrpt" in part.get_content_type():
            raise refuse(
                "tls", "a mail with a report about TLS (RFC 8460), not about DMARC: mailops dmarc tls reads it"
            )
        if packed or (_looks_like_xml(payload) and _START.search(payload[:MAX_HEADER])):
            yield from _reports(payload, depth + 1)
