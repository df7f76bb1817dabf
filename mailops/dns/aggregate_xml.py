"""The XML of aggregate reports: a guarded expat reader, and a tolerant one for broken files.

Reports are foreign data. expat is driven directly, in pieces, with a document type refused at its first character (no
entity is ever declared, so none can expand or be fetched), and with bounds on depth, text length, rows and counts.
Where the XML is not well-formed, the tolerant reader looks for the tags it knows and takes everything between them as
text; what was rescued is marked ``recovered``. Both feed the same :class:`ReportBuilder`.
"""

from __future__ import annotations

import html
import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from ..errors import InputRefused
from .aggregate_model import AggregateRecord, AggregateReport, AuthPart
from .names import normalise

NAMESPACE_9990 = "urn:ietf:params:xml:ns:dmarc-2.0"
MAX_DEPTH = 24
MAX_TEXT = 16_384
MAX_ROWS = 500_000
MAX_COUNT = 10**12
MAX_RECOVER = 8 * 1024 * 1024
MAX_TAGS = 500_000

_CONTAINERS = frozenset(
    {"feedback", "report_metadata", "date_range", "policy_published", "record", "row", "policy_evaluated", "reason",
     "identifiers", "identities", "auth_results", "extensions", "extension"}
)  # fmt: skip
_LEAVES = frozenset(
    {"version", "org_name", "email", "extra_contact_info", "report_id", "begin", "end", "error", "generator", "domain",
     "adkim", "aspf", "p", "sp", "np", "pct", "fo", "testing", "discovery_method", "version_published", "source_ip",
     "count", "disposition", "type", "comment", "header_from", "envelope_from", "envelope_to", "selector", "result",
     "human_result", "scope"}
)  # fmt: skip
_BOTH = frozenset({"dkim", "spf"})  # a word under policy_evaluated, a container under auth_results
_TAG = re.compile(
    r"<(?P<close>/?)\s*(?:[A-Za-z][\w.\-]*:)?(?P<name>"
    + "|".join(sorted(_CONTAINERS | _LEAVES | _BOTH, key=len, reverse=True))
    + r")(?P<attrs>\s[^<>]{0,2000})?/?>",
    re.IGNORECASE,
)
_DECLARED = re.compile(rb"""\s{0,20}<\?xml[^>]{0,80}encoding=["']([A-Za-z0-9_-]{1,20})["']""")
# What expat leaves to Python, and Python cannot give it sign by sign (RFC 1922, RFC 1557, RFC 1468 and their kin).
_MULTIBYTE = frozenset(
    ("gb2312", "gbk", "gb18030", "big5", "big5-hkscs", "shift_jis", "cp932", "euc-jp", "iso-2022-jp", "euc-kr", "cp949")
)
LATEST = 32_503_680_000  # the year 3000: a time beyond it is in another unit
LONGEST_SPAN = 3 * 86_400


def refuse(code: str, message: str, **facts: Any) -> InputRefused:
    """The error for a report nobody should read on."""
    fix = "Do not open the file by other means; ask the reporter for a correct one, or drop it."
    return InputRefused(message, code=f"input.report.{code}", facts=facts, fix=fix)


class ReportBuilder:
    """Takes start, text and end of elements and builds the report."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.seen_feedback = False
        self.namespace = ""
        self.version = ""
        self.meta: dict[str, str] = {}
        self.policy: dict[str, str] = {}
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.records: list[AggregateRecord] = []
        self._text: list[str] = []
        self._size = 0
        self._row: dict[str, str] = {}
        self._reasons: list[tuple[str, str]] = []
        self._auth: list[AuthPart] = []
        self._part: dict[str, str] = {}
        self.closed = False
        self.incomplete = False

    def tell(self, note: str) -> None:
        """Note that something of the report is missing or was not counted."""
        self.incomplete = True
        self.notes.append(note)

    def start(self, tag: str, attributes: Any = None) -> None:
        space, _, name = tag.rpartition(" ")
        name = name.lower()
        if len(self.stack) >= MAX_DEPTH:
            raise refuse("depth", f"elements nested more than {MAX_DEPTH} deep")
        self.stack.append(name)
        self._text.clear()
        self._size = 0
        if name == "feedback":
            self.seen_feedback = True
            self.namespace = self.namespace or space
        elif name == "record":
            if len(self.records) >= MAX_ROWS:
                raise refuse("rows", f"more than {MAX_ROWS} rows")
            self._row, self._reasons, self._auth = {}, [], []
        elif name in ("reason", "dkim", "spf"):
            self._part = {}

    def text(self, data: str) -> None:
        self._size += len(data)
        if self._size > MAX_TEXT:
            raise refuse("text", f"an element with more than {MAX_TEXT} characters of text")
        self._text.append(data)

    def end(self, tag: str) -> None:
        name = self.stack.pop() if self.stack else ""
        parent = self.stack[-1] if self.stack else ""
        value = "".join(self._text).strip() if self._text else ""
        self.closed = self.closed or name == "feedback"
        if name == "record":
            self.records.append(self._record())
        elif parent in ("row", "policy_evaluated", "identifiers", "identities"):
            if name == "reason":
                self._reasons.append((self._part.get("type", ""), self._part.get("comment", "")))
            else:
                self._row.setdefault(name, value)
        elif parent in ("dkim", "spf", "reason"):
            self._part[name] = value
        elif parent == "auth_results" and name in ("dkim", "spf"):
            part = self._part
            self._auth.append(
                AuthPart(
                    name,
                    part.get("domain", "").lower().rstrip("."),
                    part.get("result", "").lower(),
                    part.get("selector", ""),
                    part.get("scope", ""),
                    part.get("human_result", ""),
                )
            )
        elif parent in ("report_metadata", "date_range"):
            if name == "error":
                self.errors.append(value)
            elif name != "date_range":
                self.meta.setdefault(name, value)
        elif parent == "policy_published":
            self.policy.setdefault(name, value)
        elif parent == "feedback" and name == "version":
            self.version = value
        self._text.clear()
        self._size = 0

    @property
    def row_is_whole(self) -> bool:
        """Whether the open row says who sent how much with which outcome."""
        return {"source_ip", "count", "disposition"} <= self._row.keys()

    def _record(self) -> AggregateRecord:
        row = self._row
        return AggregateRecord(
            one_spelling(row.get("source_ip", "")),
            self._count(row.get("count", "")),
            row.get("disposition", "").lower(),
            row.get("dkim", "").lower(),
            row.get("spf", "").lower(),
            domain_of(row.get("header_from", "")),
            row.get("envelope_from", "").lower(),
            row.get("envelope_to", "").lower(),
            tuple(self._reasons),
            tuple(self._auth),
        )

    def _count(self, text: str) -> int:
        number = to_count(text)
        if number is None or number < 0:
            self.tell(f"row {len(self.records) + 1}: {text[:20]!r} is no count; taken as 0")
            return 0
        if number != to_int(text):
            self.notes.append(f"row {len(self.records) + 1}: the count {text[:20]!r} is read as {number}")
        if number > MAX_COUNT:
            raise refuse("count", f"a row claims {text[:30]} messages", limit=MAX_COUNT)
        return number

    def report(self, *, recovered: bool) -> AggregateReport:
        """The finished report; raises when there was none in the file."""
        if not self.seen_feedback or not (self.meta or self.policy or self.records):
            raise refuse("no_report", "the file holds no DMARC aggregate report")
        meta, policy = self.meta, self.policy
        begin, end = self._time("begin"), self._time("end")
        if begin is not None and end is not None and not 0 <= end - begin <= LONGEST_SPAN:
            self.notes.append(f"the report covers {(end - begin) / 86_400:.1f} days; one day is usual")
        return AggregateReport(
            self._reporter(),
            meta.get("email", ""),
            meta.get("report_id", ""),
            begin,
            end,
            domain_of(policy.get("domain", "")),
            policy.get("p", "").lower(),
            policy.get("sp", "").lower(),
            policy.get("np", "").lower(),
            policy.get("adkim", "").lower(),
            policy.get("aspf", "").lower(),
            policy.get("testing", "").lower(),
            policy.get("pct", ""),
            policy.get("discovery_method", "").lower(),
            meta.get("generator", ""),
            self.version,
            self._generation(),
            tuple(self.records),
            tuple(self.errors),
            recovered,
            tuple(self.notes),
            self.incomplete,
        )

    def _reporter(self) -> str:
        """Who reports; where the file does not say, the domain of the e-mail address it gives."""
        name = self.meta.get("org_name", "")
        host = self.meta.get("email", "").rpartition("@")[2].strip(" <>").lower()
        if not name and host:
            self.notes.append(f"the reporter gives no name; {host} is the domain of its address")
        return name or host

    def _time(self, name: str) -> int | None:
        """Unix seconds, also from milliseconds and ISO dates, which reporters write at times."""
        text = self.meta.get(name, "")
        number = to_int(text)
        if number is None:
            try:
                moment = datetime.fromisoformat(text.strip())
            except ValueError:
                return None
            number = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
            self.notes.append(f"{name} is a date ({text[:30]}), not seconds since 1970")
        for unit, factor in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
            if LATEST < number <= LATEST * factor:
                number //= factor
                self.notes.append(f"{name} is in {unit}, not in seconds")
                break
        return number

    def _generation(self) -> str:
        """RFC 9990 by its namespace, its version, or its own elements; RFC 7489 otherwise."""
        own = {"testing", "discovery_method"} & self.policy.keys() or "generator" in self.meta
        if self.namespace == NAMESPACE_9990 or self.version.startswith("2") or own:
            return "rfc9990"
        return "rfc7489"


def to_count(text: str) -> int | None:
    """A number of messages: as :func:`to_int`, also with marks between the thousands (``1,204``, ``1 204``)."""
    plain = text.strip()
    if re.fullmatch(r"[0-9]{1,3}(?:[.,' \u00a0\u202f][0-9]{3})+", plain):
        return int(re.sub(r"[^0-9]", "", plain))
    return to_int(plain)


def one_spelling(text: str) -> str:
    """An address in its one spelling, so that a source is one line; what is none stays as it is."""
    plain = text.strip().strip("[]")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def domain_of(text: str) -> str:
    """A domain in its one spelling: lower case, no final dot, A-labels."""
    plain = text.strip().lower().rstrip(".")
    if plain.isascii():
        return plain
    try:
        return normalise(plain)
    except InputRefused:
        return plain


def to_int(text: str) -> int | None:
    """A number as reporters write it (``3``, ``1337270400.0``); None for anything else."""
    text = text.strip()
    if len(text) > 30:
        return MAX_COUNT + 1 if text.isdigit() else None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if abs(number) < 1e18 else None


def read_strict(pieces: Iterable[bytes]) -> AggregateReport:
    """Parse well-formed XML piece by piece. Raises ``expat.ExpatError`` for broken XML, InputRefused for hostile."""
    builder = ReportBuilder()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.buffer_size = 65536
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.EntityDeclHandler = _no_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    for piece in pieces:
        _feed(parser, piece)
    _feed(parser, b"", last=True)
    return builder.report(recovered=False)


def _feed(parser: expat.XMLParserType, piece: bytes, *, last: bool = False) -> None:
    """Parse a piece. An encoding that Python does not know, or that takes more than one octet a sign, is no fault of
    the report: the tolerant reader decodes it."""
    try:
        parser.Parse(piece, last)
    except (LookupError, ValueError) as problem:
        raise expat.ExpatError(f"the encoding cannot be read piece by piece: {problem}") from problem


def _no_doctype(*_: Any) -> None:
    raise refuse("doctype", "the report declares a document type or entities; no honest report does")


def read_tolerant(data: bytes) -> AggregateReport:
    """Rescue what can be read from broken XML: known tags count, everything else is text."""
    if len(data) > MAX_RECOVER or data.count(b"<") > MAX_TAGS:
        raise refuse("broken", "the XML is broken and the file too large to be mended", limit=MAX_RECOVER)
    text = _decode(data)
    if re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        _no_doctype()
    builder = ReportBuilder()
    builder.namespace = NAMESPACE_9990 if NAMESPACE_9990 in text[:4096] else ""
    at = 0
    for match in _TAG.finditer(text):
        between, at = text[at : match.start()], match.end()
        name = match["name"].lower()
        leaf = builder.stack and _is_leaf(builder.stack)
        if leaf and between.strip():
            builder.text(_plain(between)[:MAX_TEXT])
        if match["close"]:
            if name in builder.stack:
                while builder.stack and builder.stack[-1] != name:
                    builder.end(builder.stack[-1])
                builder.end(name)
            continue
        if leaf:
            builder.end(builder.stack[-1])
        if name in ("record", "report_metadata", "policy_published"):
            while len(builder.stack) > 1:
                if builder.stack[-1] == "record" and not builder.row_is_whole:
                    builder.tell(f"after row {len(builder.records)} a row is incomplete and left out")
                    builder.stack.pop()
                else:
                    builder.end(builder.stack[-1])
        builder.start(name)
        if match.group().endswith("/>"):
            builder.end(name)
    if not builder.closed:
        kept = len(builder.records) + (builder.row_is_whole and "record" in builder.stack)
        while builder.stack and builder.row_is_whole and "record" in builder.stack:
            builder.end(builder.stack[-1])
        builder.tell(f"the file ends in the middle: {kept} rows could be read, what came after them is missing")
    if not builder.records:
        raise refuse("broken", "the XML is broken and no row of it can be read")
    return builder.report(recovered=True)


def _is_leaf(stack: list[str]) -> bool:
    name = stack[-1]
    if name in _BOTH:
        return len(stack) > 1 and stack[-2] != "auth_results"
    return name in _LEAVES


def _plain(text: str) -> str:
    return html.unescape(text)


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    declared = _DECLARED.match(data)
    if declared and (name := declared[1].decode().lower()) in _MULTIBYTE:
        return data.decode(name, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what is called Latin-1 in the wild
