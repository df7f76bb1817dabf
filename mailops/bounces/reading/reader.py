"""``parse``: bytes of one message in, a :class:`~mailops.bounces.reading.report.Report` out.

::

    gate (bytes) ── nothing ──► ordinary
      │ a sign
      ▼
    split ──► feedback report or provider form ──► complaint
      ├─────► status fields (a part, or inside the text) ──► Action decides the kind
      ├─────► text of a mail system: fingerprint or a failure sentence, with recipients ──► bounce / delayed
      ├─────► automatic reply ──► autoreply
      └─────► ordinary   (also: read receipts, DMARC reports, a person who quotes a bounce)

The kind comes from Action first, then from "will retry" and "gave up"; the reason never decides it.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from ... import mime
from ...mime import Fields, Part
from . import arf, dsn, gate, text
from .autoreply import autoreply_rule
from .classify import (
    Classification,
    classify,
    classify_as,
    find_enhanced,
    find_host,
    find_reply,
    find_stage,
    match_text,
    prepare,
)
from .codes import CATEGORIES
from .notify import read_notification
from .phrases import (
    APPLIANCES,
    DEFAULTS,
    DELAY,
    FAILURE,
    FINAL,
    FINGERPRINTS,
    SUBJECTS,
    SUCCESS,
    VERIZON,
    first_of,
    flat,
)
from .providers import CARRIERS
from .report import Kind, OriginalMessage, RecipientResult, Report

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
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"']{1,100}@[\w][\w.\-]{1,200}")
_TO_LIST = re.compile(r"<([^<>\s]{1,200}@[^<>\s]{1,200})>|([^\s<>,;\"()]{1,100}@[^\s<>,;\"()]{1,200})")
_CITED = re.compile(r"^>\s?(?:final|original)-recipient\s?:", re.I | re.M)
_FORWARD = re.compile(r"^\s*(?:re|fwd?|wg|tr|aw|rv|enc|i|rif|sv|vs)\s?:", re.I)


def parse(raw: bytes) -> Report:
    """Read one message. Never raises; time and memory are bounded by the limits of :mod:`~mailops.mime`."""
    truncated = len(raw) > mime.MAX_BYTES
    head, opening = mime.peek(raw)
    seen = gate.look(head, opening)
    if not seen.sign:
        return Report("ordinary", rule="gate", truncated=truncated)
    head, body = mime.without_prose(*mime.split_message(raw))
    fields = mime.fields_of(head)
    subject = mime.decode_words(fields.first("subject"))
    return _read(fields, body, subject, seen, truncated)


def _read(fields: Fields, body: bytes, subject: str, seen: gate.Gate, truncated: bool) -> Report:
    parts = _unwrap(fields, mime.leaves(fields, body), seen)
    truncated = truncated or len(parts) >= mime.MAX_PARTS
    original = _original(parts)
    complaint = _complaint(fields, parts, subject, original, truncated)
    if complaint is not None:
        return complaint
    human = _human(parts)
    status_parts = [part for part in parts if part.media in _STATUS_PARTS]
    report_text, rest = text.cut(human)
    if not original.headers and rest:
        original = _from_headers(rest)
    if status_parts:
        status = "\n\n".join(part.text() for part in status_parts)
        answer = _status(status, False, fields, report_text, subject, original, truncated)
        if answer is not None:
            return answer
    quoted = _is_quoting(fields, subject, seen, human)
    from_machine = (
        seen.daemon
        or seen.null
        or seen.named
        or "x-failed-recipients" in fields
        or ("auto-submitted" in fields and not _CITED.search(human))
    )
    reported = fields.first("content-type").lower().startswith("multipart/report")
    if (
        not quoted
        and (from_machine or reported)
        and ("final-recipient" in human.lower() or "original-recipient" in human.lower())
    ):
        answer = _status(human, True, fields, report_text, subject, original, truncated)
        if answer is not None:
            return answer
    if not quoted:
        answer = read_notification(human, subject, truncated)
        if answer is not None:
            return answer
        refused = "rejected" in fields.first("auto-submitted").lower() or "automatically rejected" in subject.lower()
        if refused or not any(part.media in _RECEIPT_PARTS for part in parts):
            answer = _plain(fields, report_text, subject, seen, original, truncated)
            if answer is not None:
                return answer
    if any(part.media in _RECEIPT_PARTS for part in parts):
        return Report("ordinary", rule="receipt", original=original, subject=subject, truncated=truncated)
    rule = autoreply_rule(fields, subject, human)
    if rule is not None:
        return Report(
            "autoreply", original=original, rule=rule[0], evidence=rule[1], subject=subject, truncated=truncated
        )
    return Report("ordinary", rule="no report", original=original, subject=subject, truncated=truncated)


def _unwrap(fields: Fields, parts: list[Part], seen: gate.Gate) -> list[Part]:
    """A gateway may wrap a report whole; the same Message-ID outside and inside tells it from a forwarded one."""
    if not seen.daemon or any(part.media in _STATUS_PARTS for part in parts):
        return parts
    for part in parts[:3]:
        if part.media == "message/rfc822":
            head, body = mime.split_head(part.body.lstrip(b"\n"))
            inner = mime.fields_of(head)
            if inner.first("message-id") and inner.first("message-id") == fields.first("message-id"):
                return mime.leaves(inner, body)
    return parts


def _is_quoting(fields: Fields, subject: str, seen: gate.Gate, human: str) -> bool:
    """A person who answers or forwards: no daemon, no null sender, and a subject or a thread that says so."""
    if seen.null or "x-failed-recipients" in fields:
        return False
    if seen.daemon:
        # A postmaster is a person at times: then the letter is an answer in a thread.
        answer = bool(_FORWARD.match(subject)) and "in-reply-to" in fields and "auto-submitted" not in fields
        return answer and "\n>" in human
    return bool(_FORWARD.match(subject) and "auto-submitted" not in fields) or "in-reply-to" in fields


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
    to = tuple(a or b for a, b in _TO_LIST.findall(fields.first("to")[:4000]))
    envelope = fields.first("return-path").strip("<> ") or fields.first("x-envelope-from").strip("<> ") or None
    subject = mime.decode_words(fields.first("subject")) if "subject" in fields else None
    identifier = fields.first("message-id").strip() or None
    return OriginalMessage(identifier, to, envelope, subject, MappingProxyType(known))


def _feedback(feedback: dict[str, list[str]], subject: str, original: OriginalMessage, truncated: bool) -> Report:
    kind = (feedback.get("feedback-type") or ["other"])[0].split(" ")[0].rstrip(";,").lower() or "other"
    addresses = arf.complaint_addresses(feedback) or arf.fallback_addresses(original)
    words = "Feedback-Type: " + kind
    results = tuple(RecipientResult(address, reason="feedback", rule="arf", evidence=words) for address in addresses)
    return Report("complaint", results, kind, original, "arf", words, subject, truncated)


def _complaint(
    fields: Fields, parts: list[Part], subject: str, original: OriginalMessage, truncated: bool
) -> Report | None:
    for part in parts:
        if part.media in _FEEDBACK_PARTS:
            return _feedback(arf.read_feedback(part.text()), subject, original, truncated)
    if "feedback-report" in fields.first("content-type").lower():
        for part in parts:
            if part.media.startswith("text/"):
                feedback = arf.read_feedback(part.text())
                if "feedback-type" in feedback:
                    return _feedback(feedback, subject, original, truncated)
    form = arf.provider_form(fields, parts, original)
    if form is None:
        return None
    rule, kind, addresses = form
    results = tuple(RecipientResult(address, reason="feedback", rule=rule, evidence=kind) for address in addresses)
    return Report("complaint", results, kind, original, rule, kind, subject, truncated)


def _status(
    status: str,
    inline: bool,
    fields: Fields,
    human: str,
    subject: str,
    original: OriginalMessage,
    truncated: bool,
) -> Report | None:
    message, groups = dsn.read_groups(status, strict=inline)
    if not groups:
        return None
    mta = dsn.host_of(message.get("reporting-mta", "")) if message.get("reporting-mta") else None
    blocks = {found.address.lower(): found.diagnostic for found in text.find(human)} if human else {}
    results: list[RecipientResult] = []
    for group in groups:
        final = dsn.address_of(group.get("final-recipient") or group.get("x-actual-recipient"))
        first = dsn.address_of(group.get("original-recipient"))
        if "@" not in final and "@" in first:
            final, first = first, final
        if "@" not in final and len(groups) == 1 and len(blocks) == 1:
            final = next(iter(blocks))
        if not final:
            continue
        diagnostic = dsn.untyped(group.get("diagnostic-code"))
        code = dsn.status_of(group.get("status"))
        action = dsn.action_of(group.get("action"))
        host = dsn.host_of(group.get("remote-mta")) if group.get("remote-mta") else None
        own = blocks.get(final.lower()) or (blocks.get(first.lower()) if first else "") or ""
        category = group.get("x-powermta-bouncecategory").lower()
        domain = final.rpartition("@")[2].lower()
        hint = domain if host is None or domain.endswith(CARRIERS) else host
        if mta and mta.startswith("inbound-smtp."):
            hint = mta  # Amazon's receiving side reports with templates its customer chose
        elif hint.startswith("inbound-smtp."):
            hint = domain  # the same hosts answer for real mailboxes
        answer, shown = _why(code, diagnostic, own, human, hint, action, category)
        if answer.reason == "userunknown" and len(groups) == 1:
            answer = _softer(answer, human)
            if _is_hearsay(group.get("diagnostic-code"), code, own or find_reply(human) or ""):
                answer = classify_as("filtered", "hearsay", answer.matched_text)
        inner = find_enhanced(diagnostic) or find_enhanced(own)
        if code and code[1:] == ".0.0" and inner and inner[0] == code[0]:
            code = inner
        results.append(
            RecipientResult(
                final,
                first if first and first.lower() != final.lower() else None,
                answer.reason,
                answer.hard,
                code or inner,
                action,
                shown[:1000],
                host,
                mta,
                "dsn:" + answer.rule,
                answer.matched_text,
            )
        )
    if not results:
        return None
    kind, why = _kind(results, human, subject)
    kept = _unique(results)
    return Report(kind, kept, None, original, "dsn.inline" if inline else "dsn", why, subject, truncated)


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


def _why(
    code: str | None, diagnostic: str, own: str, human: str, host: str | None, action: str | None, category: str = ""
) -> tuple[Classification, str]:
    """Ask the diagnostic, then the recipient's own lines, then the whole report; the first that knows more wins."""
    if action in ("delivered", "relayed", "expanded", "deliverable"):
        return classify(enhanced="2.0.0", text=""), diagnostic or own
    if category in CATEGORIES:
        return classify_as(CATEGORIES[category], "category", category), diagnostic or own
    stage = find_stage(prepare(own)) or find_stage(prepare(diagnostic)) or find_stage(prepare(human[:4000]))
    if host is None:
        host = find_host(own)
    best: Classification | None = None
    for number, piece in enumerate((diagnostic, own, human)):
        if not piece.strip():
            continue
        answer = classify(enhanced=code, text=piece, stage=stage, remote_host=host)
        if number == 2 and code and code[1:] != ".0.0" and answer.reason not in _HUMAN_REASONS:
            answer = classify(enhanced=code, stage=stage, remote_host=host)
        if answer.rule.startswith(("text:", "provider:", "carrier", "temporary")) or (
            answer.rule.startswith(("code:", "stage:")) and answer.reason not in ("onhold", "undefined") and number == 0
        ):
            return answer, diagnostic or own or piece
        if best is None or (best.reason in ("undefined", "onhold") and answer.reason not in ("undefined", "onhold")):
            best = answer
    return best or classify(enhanced=code, remote_host=host), diagnostic or own


def _softer(answer: Classification, human: str) -> Classification:
    """The mailbox is there after all: the human part says that it is full or disabled. One recipient only."""
    found = match_text(prepare(human)) if human else None
    if found is not None and found[0] in ("mailboxfull", "suspend"):
        return classify_as(found[0], "text:" + found[0], found[1])
    return answer


def _is_hearsay(diagnostic: str, code: str | None, own: str) -> bool:
    """Prose without a type, a reply code or a status of its own: no server's word, so no reason to suppress."""
    if own or dsn.untyped(diagnostic) != diagnostic.strip() or find_enhanced(diagnostic) or find_reply(diagnostic):
        return False
    return code is None or code[1:] == ".0.0"


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
    return [text.Found(original.to[0])] if named else []


def _kind(results: list[RecipientResult], human: str, subject: str) -> tuple[Kind, str]:
    actions = {result.action for result in results}
    if "failed" in actions:
        return "bounce", "Action: failed"
    if "delayed" in actions:
        return "delayed", "Action: delayed"
    good = actions & {"delivered", "relayed", "expanded", "deliverable"}
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
    if not final and ("(delay)" in low or "delayed mail" in low or low.startswith("delayed:")):
        return "delayed", subject[:80]
    return "bounce", final or "failure"


def _plain(
    fields: Fields, report: str, subject: str, seen: gate.Gate, original: OriginalMessage, truncated: bool
) -> Report | None:
    prepared = flat(report[:20_000])
    # An address is never in an encoded word (RFC 2047 §5(3)): the field is read as it stands.
    expected = tuple(dict.fromkeys(_ADDRESS.findall(" ".join(fields.every("x-failed-recipients"))[:4000])))
    mark = next((name for name, words in FINGERPRINTS if first_of(words, prepared)), "")
    low = subject.lower()
    announced = first_of(SUBJECTS, low)
    failure = first_of(FAILURE, prepared) or first_of(DELAY, prepared)
    author = fields.first("from").lower()
    machine = "no-reply" in author or "noreply" in author
    strong = (
        seen.daemon
        or seen.null
        or bool(expected)
        or bool(original.headers and (machine or seen.named))
        or bool(seen.named and mark)
        or bool(mark and original.headers and "auto-submitted" in fields)
    )
    if not strong:
        return None
    domain = author.rpartition("@")[2].strip('<>() "').split(" ")[0].rstrip(">") if "@" in author else ""
    found = text.find(report, expected, domain) or _addressee(original, report)
    answered = any(find_reply(item.diagnostic) or find_enhanced(item.diagnostic) for item in found)
    if not (expected or mark or failure or announced or answered):
        return None
    person = not (seen.daemon or seen.named or expected or mark or announced)
    if person and autoreply_rule(fields, subject, report):
        return None
    if not found and autoreply_rule(fields, subject, report) and not mark and not announced:
        return None
    certain = mark or (seen.null and seen.daemon) or "daemon" in author or "<>" in author or bool(original.headers)
    if not found and not (failure and certain):
        return None
    kind, why = _kind_of_text(prepared, subject)
    if kind == "bounce" and first_of(SUCCESS, prepared) and not first_of(FAILURE, prepared):
        kind, why = "success-dsn", "delivered"
    action = {"delayed": "delayed", "success-dsn": "delivered"}.get(kind, "failed")
    results = []
    for item in found or [text.Found("")]:
        own = item.diagnostic
        host = find_host(own) or item.address.rpartition("@")[2].lower() or None
        answer, shown = _why(None, item.reply, own, report, host, "delivered" if kind == "success-dsn" else None)
        if answer.reason == "undefined" and own.strip():
            answer = classify_as("onhold", "text:unclear", own[:80])
        if answer.reason in ("undefined", "onhold") and kind == "delayed":
            answer = classify_as("expired", "delayed", why)
        elif answer.reason in ("undefined", "onhold") and mark in DEFAULTS:
            answer = classify_as(DEFAULTS[mark], "fingerprint:" + mark, mark)
        elif answer.reason in ("undefined", "onhold", "userunknown") and item.address.lower().endswith(
            "@googlegroups.com"
        ):
            answer = classify_as("rejected", "fingerprint:google groups", "google groups")
        elif (
            answer.reason == "userunknown"
            and mark in APPLIANCES
            and not find_enhanced(own or report)
            and not item.address.lower().endswith(VERIZON)
        ):
            answer = classify_as("filtered", "fingerprint:" + mark, answer.matched_text)
        results.append(
            RecipientResult(
                item.address,
                item.original,
                answer.reason,
                answer.hard,
                find_enhanced(item.reply) or find_enhanced(own) or find_enhanced(report),
                action,
                shown[:1000],
                find_host(own),
                rule="text:" + answer.rule,
                evidence=answer.matched_text,
            )
        )
    return Report(kind, tuple(results), None, original, "text." + (mark or "generic"), why, subject, truncated)
