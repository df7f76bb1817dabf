"""Opening a message: its fields, parts and texts, the original it carries, and what it was written to. Bounded, pure.

What every later step asks about a message stands in its :class:`Letter`: whose words they are (the report of its
writer, without the copy of the original), whether its signs make it a report, and which names are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType

from ... import mime
from ...mime import Fields, Part
from . import gate, text, transcript
from .entities import Entities, entities
from .ours import Ours, WrittenTo, written_to
from .report import Kind, OriginalMessage, RecipientResult, Report

NOBODY = Ours()
_ORIGINAL_PARTS = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
)
_CAME_TO = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")
_TO_LIST = re.compile(
    r"<((?:\"[^\"\n]{1,80}\"|[^<>\s]{1,200})@[^<>\s]{1,200})>|(\"[^\"\n@]{1,80}\"@[^\s<>,;\"()]{1,200}|"
    r"[^\s<>,;\"()]{1,100}@[^\s<>,;\"()]{1,200})"
)
_SEPARATED = re.compile(r"^[ \t]*\"?([^\s;,\"@]{1,100}@[^\s;,\"@]{1,200})\"?[;,\t][ \t]*(.*)$", re.M)
_FORWARD = re.compile(r"^\s*(?:re|fwd?|wg|tr|aw|rv|enc|i|rif|sv|vs)\s?:", re.I)


@dataclass(slots=True)
class Letter:
    """One message, opened. ``report`` is what its writer says, without the copy of the original; ``came`` is the bounce
    address of ours it was written to; ``human`` is all of its text."""

    fields: Fields
    parts: list[Part]
    subject: str
    seen: gate.Gate
    ours: Ours = NOBODY
    came: WrittenTo | None = None
    truncated: bool = False
    depth: int = 0
    human: str = ""
    report: str = ""
    original: OriginalMessage = field(default_factory=OriginalMessage)
    refusals: list[transcript.Refusal] = field(default_factory=list)
    _senders: list[str] | None = None

    @property
    def author(self) -> str:
        return self.fields.first("from").lower()

    @property
    def certain(self) -> bool:
        """By its signs a report, whatever it says: no return path and a mail system or nobody as author, or written to
        a bounce address of ours."""
        machine = self.seen.daemon or self.seen.named or "@" not in self.author
        return self.came is not None or (self.seen.null and machine)

    def answer(self, kind: Kind, results: Iterable[RecipientResult], rule: str, why: str) -> Report:
        mail_id = self.came.mail_id if self.came else None
        return Report(kind, tuple(results), None, self.original, rule, why, self.subject, self.truncated, (), mail_id)

    def names(self, recipients: Iterable[str]) -> Entities:
        """Who is who in this report: those it is about, and those that are ours."""
        if self._senders is None:
            head = self.original.headers
            fields = (head.get("from", ""), head.get("sender", ""), self.fields.first("to"))
            written = [address for value in fields for address in addresses_in(value)]
            self._senders = [self.original.envelope_from or "", *self.ours.bounce_addresses, *written]
        return entities(recipients, self._senders, self.ours.domains, self.ours.hosts, self.ours.ips)

    def not_meant(self) -> list[str]:
        """Addresses that stand in a report without being its recipients."""
        head = self.original.headers
        fields = [self.fields.first(name) for name in ("from", "to", "cc", "reply-to", "return-path", "sender")]
        fields += [head.get(name, "") for name in ("from", "sender", "reply-to", "return-path", "message-id")]
        found = [address for value in fields for address in addresses_in(value)]
        return [*found, *self.ours.bounce_addresses, self.original.envelope_from or ""]


def came_to(fields: Fields, delivered_to: str | None, ours: Ours) -> WrittenTo | None:
    values = [value for name in _CAME_TO for value in fields.every(name)[:10]]
    return written_to(ours, [delivered_to or "", *(one for value in values for one in addresses_in(value)[:20])])


def open_letter(
    split: tuple[bytes, bytes],
    seen: gate.Gate,
    ours: Ours,
    came: WrittenTo | None,
    truncated: bool = False,
    depth: int = 0,
) -> Letter:
    """Open a message that is split into header block and body."""
    head, body = mime.without_prose(*split)
    fields = mime.fields_of(head)
    parts = mime.leaves(fields, body)
    letter = Letter(fields, parts, mime.decode_words(fields.first("subject")), seen, ours, came, truncated, depth)
    letter.truncated = truncated or len(parts) >= mime.MAX_PARTS
    letter.original = original_of(parts)
    letter.human = human_text(parts)
    letter.report, rest = text.cut(letter.human)
    if (seen.null or seen.daemon or came) and "@" not in letter.human and (details := _details(parts)):
        letter.human = letter.report = f"{letter.human}\n\n{details}"[: mime.MAX_TEXT]
    if not letter.original.headers and rest:
        letter.original = original_in(rest)
    return letter


def addresses_in(value: str) -> list[str]:
    return [a or b for a, b in _TO_LIST.findall(value[:4000])] if "@" in value else []


def is_quoting(letter: Letter) -> bool:
    """A person who answers or forwards: no daemon, no null sender, and a subject or a thread that says so."""
    fields, seen = letter.fields, letter.seen
    if seen.null or "x-failed-recipients" in fields:
        return False
    if seen.daemon:
        # A postmaster is a person at times: then the letter is an answer in a thread.
        answer = bool(_FORWARD.match(letter.subject)) and "in-reply-to" in fields and "auto-submitted" not in fields
        return answer and "\n>" in letter.human
    if letter.came is not None:
        return False
    return bool(_FORWARD.match(letter.subject) and "auto-submitted" not in fields) or "in-reply-to" in fields


def human_text(parts: list[Part]) -> str:
    """The readable text of the report: the text parts before the original; HTML only where nothing else is."""
    plain: list[str] = []
    html: list[str] = []
    for part in parts:
        if part.media in _ORIGINAL_PARTS:
            break
        if (plain or html) and part.fields.first("content-disposition").lower().startswith("attachment"):
            continue
        if part.media == "text/html":
            html.append(part.text())
        elif part.media.startswith("text/") and part.media not in ("text/calendar", "text/x-vcard", "text/css"):
            plain.append(part.text())
    chosen = plain if any(piece.strip() for piece in plain) else html
    return "\n\n".join(chosen)[: mime.MAX_TEXT]


def _details(parts: list[Part]) -> str:
    """The attached text in which a machine names the recipients, where its letter names nobody; columns of a table of
    separated values as a report would part them."""
    for part in parts[1:]:
        if part.media in _ORIGINAL_PARTS:
            return ""
        held = part.fields.first("content-disposition").lower().startswith("attachment")
        if held and part.media in ("text/plain", "text/csv", "text/tab-separated-values"):
            words = part.text()
            if "@" in words:
                return _SEPARATED.sub(r"\1: \2", words)
    return ""


def original_of(parts: list[Part]) -> OriginalMessage:
    for part in parts:
        if part.media in _ORIGINAL_PARTS:
            data = mime.transfer_decode(part.body, part.fields.first("content-transfer-encoding"))
            head, _ = mime.split_head(data.lstrip(b"\n"))
            return original_in(mime.head_text(head))
    return OriginalMessage()


def original_in(block: str) -> OriginalMessage:
    head = block.lstrip("\n").partition("\n\n")[0][: mime.MAX_HEAD]
    fields = mime.fields_in(head)
    known = fields.firsts(100)
    if not known:
        return OriginalMessage()
    to = tuple(addresses_in(fields.first("to")))
    envelope = fields.first("return-path").strip("<> ") or fields.first("x-envelope-from").strip("<> ") or None
    subject = mime.decode_words(fields.first("subject")) if "subject" in fields else None
    identifier = fields.first("message-id").strip() or None
    return OriginalMessage(identifier, to, envelope, subject, MappingProxyType(known))
