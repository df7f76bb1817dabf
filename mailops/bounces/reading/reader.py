"""``parse``: bytes of one message in, a :class:`~mailops.bounces.reading.report.Report` out.

::

    gate (bytes) ── nothing, and not written to a bounce address of ours ──► ordinary
      │
      ▼
    split ──► Letter: the fields, parts and texts of one message, and what it was written to
      ├─────► feedback report or provider form ──► complaint
      ├─────► status fields (a part, or inside the text) ──► Action decides the kind
      ├─────► text of a mail system, with recipients or a failure ──► bounce / delayed
      ├─────► names nobody, but a report is attached ──► that one, read the same way (three deep)
      ├─────► automatic reply ──► autoreply
      ├─────► came back by its signs, and says nothing we know ──► unread
      └─────► ordinary   (also: read receipts, DMARC reports, a person who quotes a bounce)

The kind comes from Action first, then from "will retry" and "gave up"; the reason never decides it. Why it failed is
asked of one speaker after the other (:func:`_why`): the peer's own reply, what was said about this recipient, and the
text for people last. Whose name stands in a verdict is looked at before it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ... import mime
from ...mime import Fields, Part
from . import arf, dsn, gate, text, transcript
from .autoreply import autoreply_rule
from .candidates import around, remaining
from .classify import (
    Classification,
    classify,
    classify_as,
    classify_prose,
    find_enhanced,
    find_host,
    find_reply,
    match_text,
    prepare,
    softer,
    stage_of,
)
from .codes import CATEGORIES, EXIT_CODES, EXIT_WORDS, is_about_people, is_generic
from .entities import Entities, about_us, entities
from .notify import read_notification
from .ours import Ours, WrittenTo, written_to
from .phrases import DELAY, FAILURE, FINAL, SUBJECTS, SUCCESS, first_of, flat
from .providers import CARRIERS
from .report import GOOD_ACTIONS, Kind, OriginalMessage, RecipientResult, Report
from .speakers import peer
from .systems import wrote

NOBODY = Ours()
DEEP = 3
"""Reports inside reports that are opened."""

_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status", "message/delivery_status")
_ORIGINAL_PARTS = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
)
_FEEDBACK_PARTS = ("message/feedback-report",)
_RECEIPT_PARTS = ("message/disposition-notification", "message/global-disposition-notification")
_CAME_TO = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")
_TO_LIST = re.compile(
    r"<((?:\"[^\"\n]{1,80}\"|[^<>\s]{1,200})@[^<>\s]{1,200})>|(\"[^\"\n@]{1,80}\"@[^\s<>,;\"()]{1,200}|"
    r"[^\s<>,;\"()]{1,100}@[^\s<>,;\"()]{1,200})"
)
_CITED = re.compile(r"^>\s?(?:final|original)-recipient\s?:", re.I | re.M)
_FORWARD = re.compile(r"^\s*(?:re|fwd?|wg|tr|aw|rv|enc|i|rif|sv|vs)\s?:", re.I)
_PAST = re.compile(r"\b(?:for|in)(?: the)? (?:past|last) \d{1,3}(?:\.\d)? (?:minutes?|hours?|days?)\b")
_DELAYED = re.compile(
    r"\(delay\)|\b(?:delayed|delay|deferred|verzögert|verspätet|retardé\w*|retrasad\w+|atrasad\w+|ritard\w+|vertraagd|"
    r"försenad\w*|forsink\w+|opóźni\w+|zpožd\w+|задерж\w+|затрим\w+)\b|遅延|延迟|延遲|지연"
)
_EXIT = re.compile(r"^\s*x-unix\s*;\s*(\d{1,3})\b", re.I)


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
        head = self.original.headers
        mine = [
            self.original.envelope_from or "",
            *_addresses(head.get("from", "")),
            *_addresses(head.get("sender", "")),
        ]
        mine += [*self.ours.bounce_addresses, *_addresses(self.fields.first("to"))]
        return entities(recipients, mine, self.ours.domains, self.ours.hosts, self.ours.ips)

    def not_meant(self) -> list[str]:
        """Addresses that stand in a report without being its recipients."""
        head = self.original.headers
        fields = [self.fields.first(name) for name in ("from", "to", "cc", "reply-to", "return-path", "sender")]
        fields += [head.get(name, "") for name in ("from", "sender", "reply-to", "return-path", "message-id")]
        found = [address for value in fields for address in _addresses(value)]
        return [*found, *self.ours.bounce_addresses, self.original.envelope_from or ""]


def parse(raw: bytes, *, delivered_to: str | None = None, ours: Ours = NOBODY) -> Report:
    """Read one message. Never raises; time and memory are bounded by the limits of :mod:`~mailops.mime`.

    ``delivered_to`` is the envelope recipient, ``ours`` what the reading side knows of itself. Both may be left out;
    the fields ``Delivered-To``, ``X-Original-To``, ``Envelope-To`` and ``To`` are looked at besides.
    """
    truncated = len(raw) > mime.MAX_BYTES
    head, opening = mime.peek(raw)
    seen = gate.look(head, opening)
    if not seen.sign and not ours.bounce_addresses:
        return Report("ordinary", rule="gate", truncated=truncated)
    came = _came(mime.fields_of(head), delivered_to, ours) if ours.bounce_addresses else None
    if not seen.sign and came is None:
        return Report("ordinary", rule="gate", truncated=truncated)
    return _read(_open(raw, seen, ours, came, truncated))


def _came(fields: Fields, delivered_to: str | None, ours: Ours) -> WrittenTo | None:
    values = [value for name in _CAME_TO for value in fields.every(name)[:10]]
    return written_to(ours, [delivered_to or "", *(one for value in values for one in _addresses(value)[:20])])


def _open(
    raw: bytes, seen: gate.Gate, ours: Ours, came: WrittenTo | None, truncated: bool = False, depth: int = 0
) -> Letter:
    head, body = mime.without_prose(*mime.split_message(raw))
    fields = mime.fields_of(head)
    parts = mime.leaves(fields, body)
    letter = Letter(fields, parts, mime.decode_words(fields.first("subject")), seen, ours, came, truncated, depth)
    letter.truncated = truncated or len(parts) >= mime.MAX_PARTS
    letter.original = _original(parts)
    letter.human = _human(parts)
    letter.report, rest = text.cut(letter.human)
    if not letter.original.headers and rest:
        letter.original = _from_headers(rest)
    return letter


def _read(letter: Letter) -> Report:
    fields, parts, subject, seen, human = letter.fields, letter.parts, letter.subject, letter.seen, letter.human
    complaint = _complaint(letter)
    if complaint is not None:
        return complaint
    status_parts = [part for part in parts if part.media in _STATUS_PARTS]
    if status_parts:
        answer = _status("\n\n".join(_fields_text(part) for part in status_parts), False, letter)
        if answer is not None:
            return answer
    receipt = any(part.media in _RECEIPT_PARTS for part in parts)
    quoted = _is_quoting(letter)
    from_machine = (
        seen.daemon
        or seen.null
        or seen.named
        or letter.came is not None
        or "x-failed-recipients" in fields
        or ("auto-submitted" in fields and not _CITED.search(human))
    )
    reported = fields.first("content-type").lower().startswith("multipart/report")
    low = human.lower() if (from_machine or reported) and not quoted else ""
    if "final-recipient" in low or "original-recipient" in low:
        answer = _status(human, True, letter)
        if answer is not None:
            return answer
    if not quoted:
        for words in (human, *(part.text() for part in parts if part.media == "application/json")):
            answer = read_notification(words, subject, letter.truncated)
            if answer is not None:
                return answer
        refused = "rejected" in fields.first("auto-submitted").lower() or "automatically rejected" in subject.lower()
        answer = _plain(letter) if refused or not receipt else None
        if answer is None or not answer.recipients:
            inner = _attached(letter)
            if inner is not None:
                return inner
        if answer is not None:
            return answer
    if receipt:
        return letter.answer("ordinary", (), "receipt", "")
    rule = autoreply_rule(fields, subject, human)
    by_field = rule is not None and rule[0] == "autoreply.rfc3834"
    if rule is not None and not (by_field and seen.null and seen.daemon):
        return letter.answer("autoreply", (), *rule)
    if letter.came is not None or (seen.null and (seen.daemon or "@" not in letter.author)):
        return _unread(letter)
    return letter.answer("ordinary", (), "no report", "")


def _unread(letter: Letter) -> Report:
    """It came back to us and says nothing we know: which signs it bears, and what is missing."""
    signs = [f"written to {letter.came.address}"] if letter.came else []
    signs += [
        word
        for word, is_so in (("no return path", letter.seen.null), ("a mail system wrote it", letter.seen.daemon))
        if is_so
    ]
    missing = ["status fields", "an address that could be the recipient's"]
    if not (find_reply(letter.report[:4000]) or find_enhanced(letter.report[:4000])):
        missing.append("a reply code")
    missing.append("a sentence that says what failed")
    return replace(letter.answer("unread", (), "unread", ", ".join(signs)), missing=tuple(missing))


_ENCODED = re.compile(
    r"(?:^[A-Za-z0-9+/]{20,80}\n){1,200}(?:[A-Za-z0-9+/]{1,80}={0,2}\n?)?|\A[A-Za-z0-9+/]{40,}={0,2}\s*\Z", re.M
)


def _fields_text(part: Part) -> str:
    """The status fields of a part; some systems encode them once more than its head says, or only a block of them."""
    words = part.text()
    if "recipient" in words.lower():
        return words
    found = _ENCODED.search(words[:40_000])
    if found is None:
        return words
    data = mime.transfer_decode("".join(found.group(0).split()).encode("ascii", "replace"), "base64")
    return words[: found.start()] + "\n" + mime.newlines(data).decode("utf-8", "replace").replace("\x00", "")


def _attached(letter: Letter) -> Report | None:
    """The report that a gateway handed on whole. Only of a message that a machine sent, or that came to our bounce
    address: a person who forwards a report reports nothing."""
    if letter.depth >= DEEP or not (letter.seen.daemon or letter.seen.null or letter.came or letter.seen.named):
        return None
    for part in letter.parts[:5]:
        name = part.params.get("name", "") + part.fields.first("content-disposition")
        name = name.lower().rstrip('"; ')
        if part.media not in ("message/rfc822", "message/global") and not name.endswith(".eml"):
            continue
        raw = mime.transfer_decode(part.body, part.fields.first("content-transfer-encoding")).lstrip(b"\n")
        seen = gate.look(*mime.peek(raw))
        if not seen.sign:
            continue
        found = _read(_open(raw, seen, letter.ours, letter.came, letter.truncated, letter.depth + 1))
        if found.kind in ("bounce", "delayed", "success-dsn", "complaint") and found.results:
            return replace(found, rule="attached:" + found.rule, subject=letter.subject)
    return None


def _addresses(value: str) -> list[str]:
    return [a or b for a, b in _TO_LIST.findall(value[:4000])] if "@" in value else []


def _is_quoting(letter: Letter) -> bool:
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


def _human(parts: list[Part]) -> str:
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


def _original(parts: list[Part]) -> OriginalMessage:
    for part in parts:
        if part.media in _ORIGINAL_PARTS:
            data = mime.transfer_decode(part.body, part.fields.first("content-transfer-encoding"))
            head, _ = mime.split_head(data.lstrip(b"\n"))
            return _from_headers(mime.head_text(head))
    return OriginalMessage()


def _from_headers(block: str) -> OriginalMessage:
    head = block.lstrip("\n").partition("\n\n")[0][: mime.MAX_HEAD]
    fields = mime.fields_in(head)
    known = {name: fields.first(name) for name in list(fields)[:100]}
    if not known:
        return OriginalMessage()
    to = tuple(_addresses(fields.first("to")))
    envelope = fields.first("return-path").strip("<> ") or fields.first("x-envelope-from").strip("<> ") or None
    subject = mime.decode_words(fields.first("subject")) if "subject" in fields else None
    identifier = fields.first("message-id").strip() or None
    return OriginalMessage(identifier, to, envelope, subject, MappingProxyType(known))


def _feedback(feedback: dict[str, list[str]], letter: Letter) -> Report:
    kind = (feedback.get("feedback-type") or ["other"])[0].split(" ")[0].rstrip(";,").lower() or "other"
    addresses = arf.complaint_addresses(feedback) or arf.fallback_addresses(letter.original)
    words = "Feedback-Type: " + kind
    results = [RecipientResult(address, reason="feedback", rule="arf", evidence=words) for address in addresses]
    return replace(letter.answer("complaint", results, "arf", words), feedback_type=kind)


def _complaint(letter: Letter) -> Report | None:
    for part in letter.parts:
        if part.media in _FEEDBACK_PARTS:
            return _feedback(arf.read_feedback(part.text()), letter)
    if "feedback-report" in letter.fields.first("content-type").lower():
        for part in letter.parts:
            if part.media.startswith("text/"):
                feedback = arf.read_feedback(part.text())
                if "feedback-type" in feedback:
                    return _feedback(feedback, letter)
    form = arf.provider_form(letter.fields, letter.parts, letter.original)
    if form is None:
        return None
    rule, kind, addresses = form
    results = [RecipientResult(address, reason="feedback", rule=rule, evidence=kind) for address in addresses]
    return replace(letter.answer("complaint", results, rule, kind), feedback_type=kind)


def _status(status: str, inline: bool, letter: Letter) -> Report | None:
    message, groups = dsn.read_groups(status, strict=inline)
    if not groups:
        return None
    mta = dsn.host_of(message.get("reporting-mta", "")) if message.get("reporting-mta") else None
    human = letter.report
    letter.refusals = transcript.refusals(human)
    blocks = {found.address.lower(): found for found in text.find(human)} if human else {}
    alone = len(groups) == 1
    results: list[RecipientResult] = []
    for group in groups:
        found_by = "field"
        final = dsn.address_of(group.get("final-recipient") or group.get("x-actual-recipient"))
        first = dsn.address_of(group.get("original-recipient"))
        if not dsn.is_address(final) and dsn.is_address(first):
            final, first = first, ""
        if not dsn.is_address(final) and alone:
            other, found_by = _instead(letter, list(blocks.values()))
            final = other or ("" if final.startswith("@") else final)
        if not final:
            continue
        own = blocks.get(final.lower()) or blocks.get(first.lower())
        answer, shown, code = _group(group, own, final, letter, mta, alone)
        action = dsn.action_of(group.get("action"))
        results.append(
            _settled(
                RecipientResult(
                    final,
                    first if first and first.lower() != final.lower() else None,
                    answer.reason,
                    answer.hard,
                    code,
                    action,
                    shown[:1000],
                    dsn.host_of(group.get("remote-mta")) if group.get("remote-mta") else None,
                    mta,
                    "dsn:" + answer.rule,
                    answer.matched_text,
                    answer.unconfirmed,
                    found_by,
                    group.get("will-retry-until")[:80],
                )
            )
        )
    if not results:
        return None
    kind, why = _kind(results, human, letter.subject)
    if kind == "delayed":
        results = [replace(one, hard=False, unconfirmed=False) for one in results]
    return letter.answer(kind, _unique(results), "dsn.inline" if inline else "dsn", why)


def _group(
    group: dsn.Group, own: text.Found | None, final: str, letter: Letter, mta: str | None, alone: bool
) -> tuple[Classification, str, str | None]:
    """(answer, the text shown, the enhanced code) for the status fields of one recipient."""
    typed = group.get("diagnostic-code") or group.get("x-supplementary-info")
    diagnostic = dsn.untyped(typed)
    code = dsn.status_of(group.get("status"))
    action = dsn.action_of(group.get("action"))
    host = dsn.host_of(group.get("remote-mta")) if group.get("remote-mta") else None
    domain = final.rpartition("@")[2].lower()
    hint = domain if host is None or domain.endswith(CARRIERS) else host
    if mta and mta.startswith("inbound-smtp."):
        hint = mta  # Amazon's receiving side reports with templates its customer chose
    elif hint.startswith("inbound-smtp."):
        hint = domain  # the same hosts answer for real mailboxes
    lines = own.diagnostic if own else ""
    prose = letter.report if alone else ""
    ask = Asked(code, hint, letter.names([final]), group.get("x-powermta-bouncecategory").lower(), _exit_of(typed))
    answer, shown = _why(
        ask, (diagnostic, _refusal(letter, final), lines, _refusal(letter, final, False)), prose, action
    )
    if answer.reason == "filtered" and ask.category == "bad-mailbox" and "unknown" in answer.matched_text:
        answer = classify_as("userunknown", answer.rule, answer.matched_text, sure=True)  # two say so, against a code
    if answer.reason == "userunknown" and alone:
        answer = _softer(answer, letter.report)
    if answer.reason == "delivered" and action not in GOOD_ACTIONS:
        answer = classify_as("onhold", "code:" + (code or ""), code or "")  # a report of a failure never says that
    if answer.hard and _is_hearsay(typed, code, lines, final):
        answer = replace(answer, hard=False, unconfirmed=True)
    inner = find_enhanced(diagnostic) or find_enhanced(lines)
    if code and code[1:] == ".0.0" and inner and inner[0] == code[0]:
        code = inner
    shown = shown or lines or (" ".join(letter.report.split())[:500] if alone else "")
    return answer, shown, code or inner


def _is_hearsay(typed: str, code: str | None, lines: str, address: str) -> bool:
    """A diagnostic without a type, a reply or a status of its own that does not name the recipient either: nobody knows
    whose words these are, and about whom."""
    if lines or not typed or dsn.untyped(typed) != typed.strip() or find_enhanced(typed) or find_reply(typed):
        return False
    local = address.rpartition("@")[0].lower()
    return (code is None or code[1:] == ".0.0") and local not in typed.lower()


def _exit_of(typed: str) -> str:
    """The number a program ended with, where the type of a diagnostic says that it is one."""
    found = _EXIT.match(typed)
    if found is not None or not typed[:16].lower().lstrip().startswith("x-unix"):
        return found.group(1) if found else ""
    words = dsn.untyped(typed).lower()
    return next((number for said, number in EXIT_WORDS.items() if words.startswith(said)), "")


def _refusal(letter: Letter, address: str, named: bool = True) -> str:
    """What the printed session answers about this recipient, or to everybody, with its step; "" for nothing."""
    for one in reversed(letter.refusals):
        if bool(one.recipients) is not named:
            continue
        if not named or any(address.lower() == named.lower() for named in one.recipients):
            return f"{one.reply} (in reply to {_STEP_WORDS.get(one.stage, one.stage)})" if one.stage else one.reply
    return ""


_STEP_WORDS = {"dot": "end of data", "rcpt": "rcpt to", "mail": "mail from", "connect": "initial connection"}


def _instead(letter: Letter, blocks: list[text.Found]) -> tuple[str, str]:
    """(address, how it was found) where the field names nobody: the one line of its own, the tag, what is left."""
    if len(blocks) == 1:
        return blocks[0].address, "line"
    if letter.came and len(letter.came.recipients) == 1:
        return letter.came.recipients[0], "tag"
    if letter.report:
        left = remaining(letter.report, letter.not_meant(), letter.original)
        if left is not None:
            return left.address, left.by
    mine = {one.lower() for one in letter.not_meant()}
    theirs = [one for one in letter.original.to if one.lower() not in mine]
    return (theirs[0], "original") if len(theirs) == 1 else ("", "field")


def _settled(result: RecipientResult) -> RecipientResult:
    """What a single recipient may be called: nobody still tried for is hard, nobody concluded is without words."""
    nobody = not result.recipient
    if nobody or result.action in ("delayed", *GOOD_ACTIONS) or (result.status or "").startswith("4"):
        return replace(result, hard=False, unconfirmed=False)
    if result.hard and result.found_by in ("elimination", "original"):
        spoken = any(mark in result.rule for mark in (":text:", ":grammar:", ":provider:"))
        return result if spoken else replace(result, hard=False, unconfirmed=True)
    return result


def _unique(results: list[RecipientResult]) -> tuple[RecipientResult, ...]:
    seen: dict[str, RecipientResult] = {}
    for result in results:
        seen.setdefault(result.recipient.lower(), result)
    return tuple(seen.values())


_HUMAN_REASONS = frozenset(
    (
        "mailboxfull",
        "mesgtoobig",
        "spamdetected",
        "virusdetected",
        "suspend",
        "authfailure",
        "norelaying",
        "policyviolation",
    )
)
"""Reasons the whole text may give when the code says something specific: words nobody writes by chance."""

_VAGUE = ("undefined", "onhold", "delivered")
_SAID = ("text:", "provider:", "temporary", "name:", "carrier")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a refusal besides its words: the Status field, the remote host, who is who, PowerMTA's category,
    the number a program ended with, what a text says near the recipient where no line is the recipient's own."""

    code: str | None
    host: str | None
    names: Entities
    category: str = ""
    exit_code: str = ""
    near: str = ""


def _why(ask: Asked, pieces: tuple[str, ...], prose: str, action: str | None) -> tuple[Classification, str]:
    """Ask one speaker after the other, the innermost first; the first that knows more than a generic code wins.

    ``pieces`` are what the peer answered and what was said about this recipient alone; ``prose`` is the text for
    people, in which only phrases count. What a sending system guesses (a category, an exit code) comes last.
    """
    shown = next((piece for piece in pieces if piece.strip()), "")
    if action in GOOD_ACTIONS:
        return classify(enhanced="2.0.0", text=""), shown
    stage = next((found for piece in (*pieces, prose[:4000]) if piece and (found := stage_of(piece))), None)
    host = ask.host or next((found for piece in pieces if piece and (found := find_host(piece))), None)
    best: Classification | None = None
    for number, piece in enumerate(pieces):
        for said in dict.fromkeys((peer(piece), piece)):
            if not said.strip():
                continue
            answer = _about(
                ask, said, classify(enhanced=_own_code(ask.code, said), text=said, stage=stage, remote_host=host)
            )
            vague = answer.reason in _VAGUE
            if answer.rule.startswith(_SAID) and answer.reason != "delivered" and not (vague and ask.exit_code):
                return answer, shown or piece
            if number == 0 and answer.rule.startswith(("code:", "stage:")) and not vague and _is_clear(answer):
                return answer, shown or piece
            if best is None or (best.reason in _VAGUE and not vague):
                best = answer
    if best is not None and best.rule.startswith("grammar:"):
        prose = ""  # the peer said why, in words of its own: a footer knows no better
    for clause in text.causes(prose) if prose.strip() else ():
        answer = _about(ask, clause, classify(enhanced=ask.code, text=clause, stage=stage, remote_host=host))
        if answer.rule.startswith((*_SAID, "grammar:")) and (
            best is None or not _is_clear(best) or best.reason in _VAGUE
        ):
            return answer, shown or prose
    if prose.strip():
        answer = _about(ask, prose, classify_prose(ask.code, prose, stage, host))
        clear = ask.code is None or (is_generic(ask.code) and not is_about_people(ask.code))
        if answer.rule.startswith(_SAID) and (clear or answer.reason in _HUMAN_REASONS):
            return answer, shown or prose
        if best is None and answer.reason not in _VAGUE:
            best = answer
    if ask.near and (best is None or best.reason in _VAGUE):
        answer = _about(ask, ask.near, classify(enhanced=ask.code, text=ask.near, stage=stage, remote_host=host))
        if answer.rule.startswith((*_SAID, "grammar:")) or best is None:
            best = answer
    if best is None or best.reason in _VAGUE or not _is_clear(best):
        guessed = _guessed(ask)
        if guessed is not None and (best is None or best.reason in _VAGUE or not best.hard):
            return guessed, shown
    return best or classify(enhanced=ask.code, remote_host=host), shown


def _own_code(code: str | None, said: str) -> str | None:
    """The code to judge by: the peer's own, where it gave one of the same class that says something; else the Status
    field, which the reporting system may have made of anything."""
    inner = find_enhanced(said)
    if code is None or inner is None or inner[0] != code[0] or (inner[1:] == ".0.0" and code[1:] != ".0.0"):
        return code
    return inner


def _is_clear(answer: Classification) -> bool:
    """Whether an answer rests on more than a code that is sent for anything."""
    alone = answer.rule.startswith("code:") and answer.matched_text == answer.rule[5:]
    return not alone or not is_generic(answer.rule[5:]) or is_about_people(answer.rule[5:])


def _guessed(ask: Asked) -> Classification | None:
    """What the sending system makes of it: PowerMTA's category, the exit code of a program."""
    if ask.category in CATEGORIES:
        return classify_as(
            CATEGORIES[ask.category], "category", ask.category, sure=ask.category in ("bad-mailbox", "bad-domain")
        )
    if ask.exit_code in EXIT_CODES:
        return classify_as(EXIT_CODES[ask.exit_code], "exit", ask.exit_code, sure=True)
    return None


def _about(ask: Asked, said: str, answer: Classification) -> Classification:
    """The answer, unless the name in it is one of ours."""
    turned = about_us(said, answer.matched_text, answer.reason, ask.names)
    return classify_as(turned[0], "name:ours", turned[1]) if turned else answer


def _softer(answer: Classification, human: str) -> Classification:
    """The mailbox is there after all: the human part says that it is full or disabled. One recipient only."""
    found = match_text(prepare(human), among=softer()) if human else None
    if found is not None:
        return classify_as(found[0], "text:" + found[0], found[1])
    return answer


def _addressee(original: OriginalMessage, report: str) -> list[text.Found]:
    """The one recipient of the returned original, when the report speaks of that local part, or of a host of just that
    domain."""
    if len(original.to) != 1:
        return []
    local, _, domain = original.to[0].rpartition("@")
    if not local or not domain:
        return []
    named = re.search(rf"(?<![\w.+-]){re.escape(local)}(?![\w+-]|\.\w)", report, re.I)
    named = named or re.search(rf"\bhost {re.escape(domain)}(?![\w-]|\.\w)", report, re.I)
    return [text.Found(original.to[0], by="sentence")] if named else []


def _kind(results: list[RecipientResult], human: str, subject: str) -> tuple[Kind, str]:
    actions = {result.action for result in results}
    if "failed" in actions:
        return "bounce", "Action: failed"
    if "delayed" in actions:
        return "delayed", "Action: delayed"
    good = actions & GOOD_ACTIONS
    if good:
        return "success-dsn", "Action: " + sorted(str(name) for name in good)[0]
    codes = {result.status[0] for result in results if result.status}
    if codes == {"2"}:
        return "success-dsn", "Status: 2"
    return _kind_of_text(flat(human), subject)


def _kind_of_text(prepared: str, subject: str) -> tuple[Kind, str]:
    low = subject.lower()
    final = first_of(FINAL, prepared)
    delay = first_of(DELAY, prepared)
    if delay and not final:
        return "delayed", delay
    past = _PAST.search(low) or ("warning" in low and _PAST.search(prepared[:4000]))
    if not final and (past or _tells_delay(low)):
        return "delayed", subject[:80]
    return "bounce", final or "failure"


def _tells_delay(subject: str) -> bool:
    """A subject that speaks of a delay and of no failure."""
    announced = first_of(SUBJECTS, subject)
    return _DELAYED.search(subject) is not None and (announced is None or "delay" in announced)


def _plain(letter: Letter) -> Report | None:
    fields, report, seen, original = letter.fields, letter.report, letter.seen, letter.original
    prepared = flat(report[:20_000])
    # An address is never in an encoded word (RFC 2047 §5(3)): the field is read as it stands.
    expected = tuple(dict.fromkeys(_addresses(" , ".join(fields.every("x-failed-recipients")))))
    mark = wrote(prepared)
    author = letter.author
    announced = first_of(SUBJECTS, letter.subject.lower()) or (
        (letter.certain or seen.daemon) and _tells_delay(letter.subject.lower())
    )
    failure = first_of(FAILURE, prepared) or first_of(DELAY, prepared)
    machine = "no-reply" in author or "noreply" in author
    strong = (
        seen.daemon
        or seen.null
        or letter.came is not None
        or bool(expected)
        or bool(original.headers and (machine or seen.named))
        or bool(seen.named and mark)
        or bool(mark and original.headers and "auto-submitted" in fields)
    )
    if not strong:
        return None
    letter.refusals = transcript.refusals(report)
    domain = author.rpartition("@")[2].strip('<>() "').split(" ")[0].rstrip(">") if "@" in author else ""
    found = _recipients(letter, expected, domain)
    answered = bool(letter.refusals) or any(_answers(item, seen.daemon or seen.null) for item in found)
    reply = autoreply_rule(fields, letter.subject, report)
    if reply is not None and letter.certain and reply[0] == "autoreply.rfc3834" and not _is_vacation(fields):
        reply = None  # Exim writes that on bounces (RFC 3834 section 5 lets it)
    sentence = bool(expected or mark or failure or announced or answered)
    by_signs = (
        seen.null and (seen.daemon or "@" not in author) and any(item.by in ("line", "header", "tag") for item in found)
    )
    if not (sentence or by_signs):
        return None
    person = not (seen.daemon or seen.named or expected or mark or announced or (letter.certain and answered))
    if reply and (person or (not found and not mark and not announced)):
        return None
    certain = mark or letter.certain or "daemon" in author or "<>" in author or bool(original.headers)
    if not found and not ((failure or announced) and certain):
        return None
    mine = {one.lower() for one in letter.not_meant()}
    if not found and letter.certain and len(original.to) == 1 and original.to[0].lower() not in mine:
        found = [text.Found(original.to[0], by="original")]
    kind, why = _kind_of_text(prepared, letter.subject)
    if kind == "bounce" and first_of(SUCCESS, prepared) and not first_of(FAILURE, prepared):
        kind, why = "success-dsn", "delivered"
    action = {"delayed": "delayed", "success-dsn": "delivered"}.get(kind, "failed")
    results = [_told(item, letter, action, why, len(found) < 2) for item in found or [text.Found("")]]
    return letter.answer(kind, results, "text." + (mark or "generic"), why)


_CODED = re.compile(r"(?:^|[:>\"'(])\s{0,3}[45]\d\d[ \-]\s?\S")


def _answers(item: text.Found, machine: bool) -> bool:
    """Whether a server's answer stands by a recipient; in a person's letter only a number that begins a reply."""
    if find_enhanced(item.diagnostic):
        return True
    if machine:
        return find_reply(item.diagnostic) is not None
    return any(_CODED.search(line) for line in item.lines)


def _is_vacation(fields: Fields) -> bool:
    return "vacation" in fields.first("auto-submitted").lower()


def _recipients(letter: Letter, expected: tuple[str, ...], domain: str) -> list[text.Found]:
    """Whom a text names, by the first source that names somebody (:data:`~.report.FOUND_BY`)."""
    report, came = letter.report, letter.came
    written = {one.lower() for one in letter.original.to}
    to = _addresses(letter.fields.first("to"))
    mine = {one.lower() for one in (*to, *letter.ours.bounce_addresses)} - written
    found = [one for one in text.find(report, expected, domain) if one.address.lower() not in mine]
    if came and len(came.recipients) == 1:
        tagged = came.recipients[0]
        if not found:
            return [text.Found(tagged, lines=[" ".join(report.split())[:400]], by="tag")]
        if len(found) == 1 and found[0].address.lower() != tagged.lower() and found[0].original is None:
            found[0].original = tagged
    if found:
        return found
    spoken = transcript.named(report)
    if len(spoken) == 1:
        return [text.Found(spoken[0], by="transcript")]
    told = _addressee(letter.original, report)
    if told or not (letter.certain or letter.seen.daemon):
        return told
    left = remaining(report, letter.not_meant(), letter.original)
    return [left] if left is not None else []


def _told(item: text.Found, letter: Letter, action: str, why: str, alone: bool) -> RecipientResult:
    """What a text says about one of its recipients."""
    own = item.diagnostic
    near = " ".join(around(letter.report, item.address)) if alone and not own else ""
    host = find_host(own) or item.address.rpartition("@")[2].lower() or None
    ask = Asked(None, host, letter.names([item.address]), near=near)
    pieces = (_refusal(letter, item.address), item.reply, own, _refusal(letter, item.address, False))
    answer, _ = _why(ask, pieces, letter.report if alone else "", action)
    shown = own or _refusal(letter, item.address) or " ".join(letter.report.split())
    if answer.reason in ("undefined", "delivered") and action != "delivered" and (own or near).strip():
        answer = classify_as("onhold", "text:unclear", (own or near)[:80])
    if answer.reason in ("undefined", "onhold") and action == "delayed":
        answer = classify_as("expired", "delayed", why)
    elif answer.reason in ("undefined", "onhold", "userunknown") and item.address.lower().endswith("@googlegroups.com"):
        answer = classify_as("rejected", "system:google groups", "google groups")
    status = find_enhanced(item.reply) or find_enhanced(own) or find_enhanced(letter.report)
    result = RecipientResult(item.address, item.original, answer.reason, answer.hard, status, action, shown[:1000])
    return _settled(
        replace(
            result,
            remote_host=find_host(own),
            rule="text:" + answer.rule,
            evidence=answer.matched_text,
            unconfirmed=answer.unconfirmed,
            found_by=item.by,
        )
    )
