"""Reading TLS reports (RFC 8460): JSON, gzip or zip of it, or the e-mail that carries them.

Reports are foreign data: bounded as aggregate reports are, read with what reporters leave out or write as ``null``
(``sending-mta-ip``, ``policy-string``, whole lists), and told in notes where something was not as it should be.
"""

from __future__ import annotations

import email
import email.policy
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..model.text import counted
from .aggregate import MAX_BOUNDARIES, MAX_FILE, MAX_HEADER, MAX_XML, unpack
from .aggregate_xml import MAX_COUNT, domain_of, one_spelling, refuse

MAX_JSON = 16 * 1024 * 1024
MAX_POLICIES = 10_000
MAX_DETAILS = 50_000


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """Sessions that failed in one way. ``kind`` is the result type of RFC 8460 section 4.3."""

    kind: str
    sessions: int
    sending_ip: str = ""
    receiving_mx: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What one policy of one domain did: sessions that were encrypted as it asks, and those that were not."""

    domain: str
    kind: str  # sts, tlsa, no-policy-found
    successes: int
    failures: int
    details: tuple[TlsFailure, ...] = ()
    mx: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One report; ``begin`` and ``end`` are Unix seconds or None."""

    org_name: str
    report_id: str
    contact: str
    begin: int | None
    end: int | None
    policies: tuple[TlsPolicy, ...]
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict a kind of failure, and one for each policy without any."""
        out = []
        for policy in self.policies:
            base = {"org_name": self.org_name, "report_id": self.report_id, "domain": policy.domain,
                    "policy": policy.kind, "successes": policy.successes, "failures": policy.failures}  # fmt: skip
            out += [
                {**base, "kind": one.kind, "sessions": one.sessions, "sending_ip": one.sending_ip,
                 "receiving_mx": one.receiving_mx, "reason": one.reason}
                for one in policy.details or (TlsFailure("", 0),)
            ]  # fmt: skip
        return out


def read_tls_file(path: Path) -> tuple[TlsReport, ...]:
    """All TLS reports in a file; never reads more than the bound. Raises as :func:`read_tls_reports` does."""
    with path.open("rb") as handle:
        return read_tls_reports(handle.read(MAX_FILE + 1))


def read_tls_reports(data: bytes) -> tuple[TlsReport, ...]:
    """All TLS reports in a file's octets. Raises :class:`mailops.errors.InputRefused` when there is none."""
    if len(data) > MAX_FILE:
        raise refuse("size", f"a file of {len(data)} octets; at most {MAX_FILE}", limit=MAX_FILE)
    found = tuple(_report(part) for part in _parts(data, 0))
    if not found:
        raise refuse("no_report", "the file holds no TLS report (RFC 8460)")
    return found


def _parts(data: bytes, depth: int) -> list[bytes]:
    """The JSON texts of a file, an archive or a mail."""
    if depth > 2:
        raise refuse("nesting", "archives nested more than 2 deep")
    if data[:2] == b"\x1f\x8b":
        return _parts(b"".join(unpack(data)), depth + 1)
    if data[:4] == b"PK\x03\x04":
        return _zipped(data, depth)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return [data]
    if data.count(b"\n--") > MAX_BOUNDARIES or not re.search(rb"\r?\n\r?\n", data[:MAX_HEADER]):
        raise refuse("mail", "neither a TLS report nor a mail that carries one")
    out: list[bytes] = []
    try:
        parts = list(email.message_from_bytes(data, policy=email.policy.compat32).walk())
    except (RecursionError, ValueError) as problem:
        raise refuse("mail", f"the message cannot be read: {problem}") from problem
    for part in parts:
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes) or part.is_multipart():
            continue
        named = "tlsrpt" in part.get_content_type() or str(part.get_filename() or "").endswith((".json", ".json.gz"))
        if named or payload[:2] in (b"\x1f\x8b", b"PK") or b'"policies"' in payload[:MAX_HEADER]:
            out += _parts(payload, depth + 1)
    return out


def _zipped(data: bytes, depth: int) -> list[bytes]:
    out: list[bytes] = []
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:64]:
                total += entry.file_size
                if total > MAX_XML:
                    raise refuse("bomb", f"the archive unpacks to more than {MAX_XML} octets", limit=MAX_XML)
                if not entry.is_dir():
                    with archive.open(entry) as stream:
                        out += _parts(stream.read(MAX_XML + 1), depth + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as problem:
        raise refuse("zip", f"the zip archive is damaged: {problem}") from problem
    return out


def _report(text: bytes) -> TlsReport:
    if len(text) > MAX_JSON:
        raise refuse("size", f"a report of {len(text)} octets; at most {MAX_JSON}", limit=MAX_JSON)
    try:
        data = json.loads(text.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as problem:
        raise refuse("json", f"the report is no JSON: {problem}") from problem
    if not isinstance(data, dict) or not isinstance(data.get("policies"), list):
        raise refuse("no_report", "the file holds no TLS report (RFC 8460): policies are missing")
    notes: list[str] = []
    span = _object(data.get("date-range"))
    policies = tuple(_policy(one, notes) for one in data["policies"][:MAX_POLICIES] if isinstance(one, dict))
    if len(policies) < len(data["policies"]):
        notes.append(f"{counted(len(data['policies']) - len(policies), 'policy', 'policies')} could not be read")
    org, contact = _text(data.get("organization-name")), _text(data.get("contact-info"))
    return TlsReport(
        org or contact.rpartition("@")[2], _text(data.get("report-id")), contact,
        _moment(span.get("start-datetime"), notes), _moment(span.get("end-datetime"), notes), policies, tuple(notes),
    )  # fmt: skip


def _policy(one: dict[str, Any], notes: list[str]) -> TlsPolicy:
    policy = _object(one.get("policy"))
    summary = _object(one.get("summary"))
    details = one.get("failure-details")
    listed = details if isinstance(details, list) else [details] if isinstance(details, dict) else []
    domain = domain_of(_text(policy.get("policy-domain")))
    found = tuple(
        TlsFailure(
            _text(each.get("result-type")), _count(each.get("failed-session-count"), notes),
            one_spelling(_text(each.get("sending-mta-ip"))), _text(each.get("receiving-mx-hostname")).lower(),
            _text(each.get("failure-reason-code")) or _text(each.get("additional-information")),
        )
        for each in listed[:MAX_DETAILS] if isinstance(each, dict)
    )  # fmt: skip
    failures = _count(summary.get("total-failure-session-count"), notes)
    told = sum(each.sessions for each in found)
    if told > failures:
        notes.append(f"{domain}: the details tell of {told} failed sessions, the sum of {failures}; the details count")
        failures = told
    hosts = policy.get("mx-host")
    names = hosts if isinstance(hosts, list) else [hosts]
    mx = tuple(_text(host).lower() for host in names if _text(host))
    good = _count(summary.get("total-successful-session-count"), notes)
    return TlsPolicy(domain, _text(policy.get("policy-type")).lower(), good, failures, found, mx)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    """A text as it may be shown; everything else (``null`` too) is empty."""
    return value.strip()[:2000] if isinstance(value, str) else ""


def _count(value: object, notes: list[str]) -> int:
    """A number of sessions; what is none is told and taken as 0, except where it is simply left out."""
    if value is None:
        return 0
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None and isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        number = int(value.strip()[:20])
    if number is None or number < 0:
        notes.append(f"{str(value)[:20]!r} is no count; taken as 0")
        return 0
    if number > MAX_COUNT:
        raise refuse("count", "a report claims an impossible number of sessions", limit=MAX_COUNT)
    return number


def _moment(value: object, notes: list[str]) -> int | None:
    text = _text(value)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if text:
            notes.append(f"{text[:30]!r} is no time")
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
