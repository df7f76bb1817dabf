"""The generic plain-text reader: recipients and their diagnostics out of a report without status fields.

1. The report ends where the copy of the original begins (:func:`cut`).
2. Recipients stand on lines of their own: an address at the start of a line with nothing, a colon or an error behind
   it, or behind a label ("Recipient:", "Unknown user:"). Only when no such line exists are the sentences of mail
   systems asked ("error delivering your mail to <a@b>"). Other addresses in prose are never taken.
3. What follows a recipient up to the next one is its diagnostic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .classify import match_text, prepare
from .phrases import CUTS

MAX_LINES = 600
MAX_RECIPIENTS = 200
MAX_OWN = 40  # lines that speak of one recipient

_ADDR = r"[^\s<>()\[\]:;,\"'|=*：，；（）]{1,100}@[\w][\w.\-]{1,200}\w|\"[^\"@\n]{1,80}\"@[\w][\w.\-]{1,200}\w"
_LINE = re.compile(
    r"^[ \t>*\-•·]{0,16}(?:\d{1,2}[.)]\s)?(<)?[\"']?(?:mailto:|smtp:|rfc822;)?(" + _ADDR + r")[\"']?(>)?[\"']?(.*)$",
    re.I,
)
_REST = re.compile(r"^(?:\s*$|\s*[:;,]|\s*\(|\s*\[|\s*<|\s*\.\.\.|\s+-|\s+on\s|\t|\s{2,})", re.I)
_MALFORMED = re.compile(r"^\s{1,8}[^<>@]{1,80}<(" + _ADDR + r")>:\s?(malformed address.*)$", re.I)
_DDA = re.compile(r"dda:smtp=(" + _ADDR + r")", re.I)
_REPLY_LINE = re.compile(r"^\s*[245]\d\d[ \-](?:[245]\.\d{1,3}\.\d{1,3}\s)?<?(" + _ADDR + r")>?\s?\.\.\.\s*(.*)$", re.I)
_LABEL = re.compile(
    r"^[ \t>*#\-]{0,12}(?:(?:final|original|failed|intended)[ -])?(?:recipients?(?:[ -]address(?:es)?)?|unknown user|"
    r"invalid final delivery userid|target mail address|failed address|rcpt to|email address|e-mail address|"
    r"(?:delivery|message) failed \d{1,4} attempts|(?:address|to) \(failed\)|delivery failed to|undeliverable to|"
    r"could not be delivered to|unable to deliver (?:message|mail) to|user's mailbox is full|mailbox full|"
    r"user mailbox exceeds allowed size|bad recipient|error-for|not delivered to|addressed to|"
    r"destinataire|destinatario|destinatário|empfänger|ontvanger|получатель|адрес|宛先|收件人|"
    r"收 件 人|收件者|받는 사람|"
    r"\[statu?s: error, address)\s{0,4}[:=：]\s{0,8}[<\[]?(?:smtp:|rfc822;\s?)?<?(" + _ADDR + r")>?(.*)$",
    re.I,
)
_MARKED = re.compile("[:=：]")
"""What stands behind a label, so before the first address of its line."""
_OTHER_LABEL = re.compile(
    r"^[ \t>*#\-]{0,12}([^\W\d_][^:@\n]{1,30}[^\W_]) ?:[ \t]{1,20}<?(" + _ADDR + r")>?[ \t,;:]*(.*)$"
)
"""Any word before an address: its own line where an answer with a code stands behind, else the end of one."""
_CODED = re.compile(r"^[(\[\"'\- ]{0,4}[45](?:\d\d[ \-]|\.\d{1,3}\.\d)")
_ROW = re.compile(r"^[ \t|]*(?:[^\s@|:]{1,20}(?:[ \t]{2,}|[ \t]*\|[ \t]*)){2,8}<?(" + _ADDR + r")>?[ \t|]*$")
"""A row of a table whose last column is an address."""
_SENTENCE = re.compile(
    r"(?:(?:deliver(?:ing|ed|y)?\b|delivery failed|send(?:ing)?\b|forward)[^@.:\n]{0,60}"
    r"(?:from <[^<>\s]{1,200}> )?\bto\b"
    r"(?: the following address(?:es)?)?:?|rejected recipient|recipient rejected:?|is full:|unknown user:?"
    r"|no such user:?|could not find a gateway for"
    r"|(?:your|the|ihre|votre) (?:message|mail|e-mail|email|nachricht)(?: sent)? to:?|rcpt to:|mailing list"
    r"|originally addressed to|address:|error delivering to|the (?:email |e-mail )?address|user \S{1,60}\s"
    r"|messages? (?:addressed|sent) to|无法发送到|無法傳送到|无法投递到|发送到|reach the following recipients?:)"
    r"\s{0,4}[<\"'(\[]{0,2}(" + _ADDR + r")",
    re.I,
)
_REFUSED = re.compile(r"(?:<--|<<<|<=|\bS:)\s{0,4}([45]\d\d[ \-].*)$")
_SAID = re.compile(r"\b(?:remote host said|server said):\s?([45]\d\d[ \-].{3,1500})$", re.I)
_RCPT = re.compile(r"(?:-->|>>>|=>|\bC:)\s{0,4}rcpt to:\s?<(" + _ADDR + r")>", re.I)
_BRACKET = re.compile(r"^\s+<(" + _ADDR + r")>\s*:(.*)$", re.I)
_TO = re.compile(r"^(?:.{0,40}: \*)?[ \t]{0,8}to:\s{0,20}<?(" + _ADDR + r")>?\s*$", re.I)
_ALIAS = re.compile(
    r"(?:\(?(?:ultimately )?generated|\(expanded|\(forwarded) (?:from|by):?\s<?(" + _ADDR + r")>?", re.I
)
_SENDER_BEFORE = re.compile(
    r"(?:sent by|from|sender|contact|contacter|reply to|on behalf of|postmaster|write to|address us at|assistance|"
    r"help|to the address|mail to|(?:owner|administrator|moderator)s?(?: at)?)\W{0,3}$",
    re.I,
)
_HEADERS = ("received:", "return-path:", "dkim-signature:", "message-id:", "mime-version:", "x-originating-ip:")
_HEADER = re.compile(rf"\n(?={'|'.join(_HEADERS)})", re.I)
_RULED = re.compile(r"^[ \t]*(?:--|==).{0,100}(?:original|message follows)", re.M)
_ADVICE = re.compile(
    r"^\s{0,8}(?:please note that this is only a|no action is required on your part|delivery attempts will continue|"
    r"you do not need to re-?send|for further assistance, please)",
    re.I,
)
_ACCEPTED = re.compile(
    r"^\s{0,12}(?:accepted|delivered|succe\w+|ok|zugestellt|angenommen|accept[ée]e?s?|remis|entregad\w+|aceptad\w+|"
    r"consegnat\w+|accettat\w+|доставлено)[^:@]{0,30}:",
    re.I,
)
"""Before those who got it."""
_RULE = re.compile(r"^[\s\-=_*|#~]{3,}|[\-=_*|#~]{3,}\s*$")
_LOCAL = re.compile(r"^[ \t]{1,12}([A-Za-z0-9][\w.+\-]{1,40})(?:\s{2,}((?!\S+\s{2,}\S).*)|\s\((.*)\))?$")


@dataclass(slots=True)
class Found:
    """A recipient in a text: address, the alias it came from, the lines that speak of it, how far it stands in."""

    address: str
    original: str | None = None
    lines: list[str] = field(default_factory=list)
    indent: int = 0
    by: str = "line"

    @property
    def reply(self) -> str:
        """The server's own words where the report marks them, or "": Sendmail's ``(reason: ...)``, or the last refusal
        of a session's transcript (``<-- 550 ...``), whose other answers say nothing, or what qmail puts behind ``Remote
        host said:``."""
        for line in self.lines:
            if line.startswith("(reason: "):
                return line[9:].rstrip(")")
        if any("said:" in line.lower() for line in self.lines) and (said := _SAID.search(self.diagnostic)):
            return said.group(1)
        refusals = [hit.group(1) for hit in map(_REFUSED.search, self.lines) if hit]
        return refusals[-1] if refusals else ""

    @property
    def diagnostic(self) -> str:
        """The lines as one string."""
        return " ".join(" ".join(self.lines).split())


_MARKS = ("original", "copy", "header", "follow", "unsent", "")
_CUTS = tuple(
    (mark, tuple(words for words in CUTS if next(one for one in _MARKS if one in words) == mark)) for mark in _MARKS
)
"""The lines that end a report, each behind the most frequent word in it: most texts have none of these."""


def cut(text: str) -> tuple[str, str]:
    """The report, and what comes after it (the copy of the original, or "")."""
    whole = text.lower()
    cuts = [words for mark, some in _CUTS if mark in whole for words in some if words in whole]
    head = _header_at(text) if any(name in whole for name in _HEADERS) else -1
    report, rest = (text[:head], text[head + 1 :]) if head >= 0 else (text, "")
    if not cuts and not (("original" in whole or "message follows" in whole) and _RULED.search(whole)):
        return report, rest
    start = 0
    for line in report.split("\n"):
        end = start + len(line)
        if len(line) < 120 and (low := line.strip().lower()) and len(low) < 100 and _ends(low, cuts):
            return text[: max(0, start - 1)], text[end + 1 :]
        start = end + 1
    return report, rest


def _ends(line: str, cuts: list[str]) -> bool:
    """Whether a line stands between the report and the copy of the original."""
    for words in cuts:
        if words in line and (line.startswith(words) or _RULE.search(line)):
            return True
    return line.startswith(("--", "==")) and ("original" in line or "message follows" in line)


def _header_at(text: str) -> int:
    """The line end before the first header field that follows an empty line, or -1."""
    for found in _HEADER.finditer(text):
        place = found.start()
        if not text[text.rfind("\n", 0, place) + 1 : place].strip():
            return place
    return -1


_CAUSE = re.compile(
    r"\b(?:reasons?(?: (?:given|for|was|is)[^:\n]{0,60})?:|because(?: of)?|due to|cause:|error (?:was|is)[^:\n]{0,20}:|"
    r"grund:|ursache:|raison ?:|motivo:|causa:|причина:|原因[:：]|理由[:：])\s{0,4}([^\s].{3,300})",
    re.I,
)


def causes(report: str) -> list[str]:
    """The clauses in which a text says why: behind "because", "due to", "Reason:". At most three, up to the end of the
    sentence.

    >>> causes("It was not delivered. This is due to the message containing a virus. Ask us.")
    ['the message containing a virus']
    """
    flat = " ".join(report[:6_000].split())
    return [re.split(r"[.!?](?:\s|$)", hit.group(1), maxsplit=1)[0][:300] for hit in _CAUSE.finditer(flat)][:3]


def find(report: str, expected: tuple[str, ...] = (), domain: str = "") -> list[Found]:
    """The recipients of a report. ``expected`` are those a header field names, ``domain`` is the author's."""
    lines = report.split("\n", MAX_LINES)[:MAX_LINES]
    found: dict[str, Found] = {}
    current: Found | None = None
    start = next((number for number, line in enumerate(lines) if "@" in line), len(lines))
    last = lines[start - 1].strip() if start else ""
    before = next((words for line in reversed(lines[:start]) if (words := line[:1000].strip())), "")
    for line in lines[start:]:
        line = line[:1000]
        words = line.strip()
        if not words:
            last = ""
            continue
        named = "@" in words
        if current is None and not named:
            last, before = line, words
            continue
        alias = _ALIAS.search(line) if " from" in line or " by " in line else None
        if alias:
            if current is not None:
                current.original = alias.group(1)
            elif len(found) < MAX_RECIPIENTS:
                current = found.setdefault(alias.group(1).lower(), Found(alias.group(1)))
            continue
        hit = None
        if named:
            indent = len(line) - len(line.lstrip())
            hit = _own_line(line, before, current is not None and indent > current.indent + 1 and bool(last))
        last = line
        if hit is not None:
            address, rest = hit
            key = address.lower()
            if len(found) < MAX_RECIPIENTS:
                current = found.setdefault(key, Found(address, indent=indent))
                if rest:
                    current.lines.append(rest)
        elif _ADVICE.match(line) or (named and _ACCEPTED.match(line)):
            current = None  # what the mail system says to everybody
        elif current is not None and len(current.lines) < MAX_OWN:
            current.lines.append(words)
        before = words
    if expected and (not found or any(address.lower() in found for address in expected)):
        return [found.get(address.lower()) or Found(address, by="header") for address in expected]
    if found:
        return list(found.values())
    if start == len(lines):
        return _local_part(lines, domain)
    joined = " ".join(report.split())[:20_000]
    sentences: dict[str, Found] = {}
    for match in _SENTENCE.finditer(joined):
        address = match.group(1)
        if "subscribe" in match.group(0).lower():
            continue  # what a list asks its readers to do
        if address.lower() not in sentences and len(sentences) < MAX_RECIPIENTS:
            sentences[address.lower()] = Found(address, by="sentence")
    if sentences:
        return list(sentences.values())[:1]
    return _header_line(lines) or _local_part(lines, domain)


def _header_line(lines: list[str]) -> list[Found]:
    """The one ``To:`` line (or ``RCPT TO:`` of a transcript) of a report that names the recipient nowhere else."""
    hits = [match.group(1) for line in lines for match in (_TO.match(line), _RCPT.search(line)) if match]
    return [Found(hits[0], by="transcript")] if len(set(hits)) == 1 else []


def _own_line(line: str, before: str, deeper: bool) -> tuple[str, str] | None:
    """(address, rest) when the line is a recipient's own. A ``deeper`` line continues the recipient before it."""
    place = line.find("@")
    match = _LABEL.match(line) if _MARKED.search(line, 0, place) else None
    if match:
        return match.group(1), match.group(2).strip(" :>]")
    match = _OTHER_LABEL.match(line) if 0 < line.find(":") < place else None
    if match and _CODED.match(match.group(3)) and not _SENDER_BEFORE.search(match.group(1)):
        return match.group(2), match.group(3).strip(" :>]")
    match = _ROW.match(line) if place > 9 and " " not in line[place:].strip(" |") else None
    if match and not deeper and not _SENDER_BEFORE.search(before):
        return match.group(1), ""
    match = None if deeper else _LINE.match(line)
    if match:
        opened, address, closed, rest = match.groups()
        if _SENDER_BEFORE.search(before):
            return None
        second = _BRACKET.match(rest)
        if second:
            return second.group(1), second.group(2).strip(" :\t")
        if bool(opened) == bool(closed) and (_REST.match(rest) or _is_error(rest)):
            return address, rest.strip(" :\t")
        return None
    match = _REPLY_LINE.match(line) if "..." in line else None
    if match:
        return match.group(1), line.strip()
    low = line.lower()
    match = _MALFORMED.match(line) if "malformed address" in low else None
    if match:
        return match.group(1), match.group(2)
    match = _DDA.search(line) if "dda:smtp=" in low else None
    return (match.group(1), "") if match else None


def _is_error(rest: str) -> bool:
    return match_text(prepare(rest)) is not None


def _local_part(lines: list[str], domain: str) -> list[Found]:
    """A name without a domain on a line of its own, right behind a sentence that ends in a colon."""
    if not domain:
        return []
    after = False
    for line in lines:
        if not line.strip():
            continue
        if after:
            match = _LOCAL.match(line)
            return (
                [Found(f"{match.group(1)}@{domain}", lines=[match.group(2) or match.group(3) or ""])] if match else []
            )
        after = line.rstrip().endswith(":")
    return []
