"""``parse``: bytes of one message in, a :class:`~mailops.bounces.reading.report.Report` out.

::

    gate (bytes) ── nothing, and not written to a bounce address of ours ──► ordinary
      │
      ▼
    split ──► Letter: the fields, parts and texts of one message, and what it was written to
      ├─────► feedback report or provider form ──► complaint
      ├─────► receipt of certified mail that tells of a failure ──► bounce / delayed
      ├─────► status fields (a part, or inside the text) ──► Action decides the kind
      ├─────► text of a mail system, with recipients or a failure ──► bounce / delayed
      ├─────► names nobody, but a report is attached ──► that one, read the same way (three deep)
      ├─────► automatic reply ──► autoreply
      ├─────► came back by its signs, and says nothing we know ──► unread
      └─────► ordinary   (also: read receipts, DMARC reports, a person who quotes a bounce)

Opening a message (:mod:`.opening`), unwrapping what it carries (:mod:`.unwrapping`) and judging what is said of each
recipient (:mod:`.judging`) are steps of their own; here is the order in which they are asked, and whom a report names.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ... import mime
from ...mime import Fields
from . import dsn, gate, text, transcript
from .autoreply import autoreply_rule, folded
from .candidates import around, remaining
from .certified import read_certified
from .classify import find_enhanced, find_reply, match_text, prepare
from .judging import judged_group, judged_text, kind_of, kind_of_text, settled, tells_delay, unique
from .notices import read_notice
from .opening import NOBODY, Letter, addresses_in, came_to, is_quoting, open_letter
from .ours import Ours
from .phrases import DELAY, FAILS, FAILURE, SUBJECTS, SUCCESS, first_of, flat
from .report import Kind, OriginalMessage, RecipientResult, Report
from .systems import wrote
from .unwrapping import STATUS_PARTS, attached, complaint_of, notification_of, status_text

_RECEIPT_PARTS = ("message/disposition-notification", "message/global-disposition-notification")
_OF_PEOPLE = frozenset({"userunknown", "hostunknown", "hasmoved", "notaccept", "suspend", "mailboxfull", "filtered"})
MAX_SAID = 1_000
_CITED = re.compile(r"^>\s?(?:final|original)-recipient\s?:", re.I | re.M)


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
    came = came_to(mime.fields_of(head), delivered_to, ours) if ours.bounce_addresses else None
    if not seen.sign and came is None:
        return Report("ordinary", rule="gate", truncated=truncated)
    split = (head, opening) if len(raw) <= mime.PEEK else mime.split_message(raw)
    return _read(open_letter(split, seen, ours, came, truncated))


def _read(letter: Letter) -> Report:
    fields, parts, subject, seen, human = letter.fields, letter.parts, letter.subject, letter.seen, letter.human
    complaint = complaint_of(letter)
    if complaint is not None:
        return complaint
    certified = read_certified(letter)
    if certified is not None:
        return certified
    status = status_text(letter)
    if status:
        answer = _status(status, False, letter)
        if answer is not None:
            return answer
    receipt = any(part.media in _RECEIPT_PARTS for part in parts)
    quoted = is_quoting(letter)
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
        answer = notification_of(letter)
        if answer is not None:
            return answer
        refused = "rejected" in fields.first("auto-submitted").lower() or "automatically rejected" in subject.lower()
        answer = _plain(letter) if refused or not receipt else None
        if answer is None or not answer.recipients:
            inner = [found for one in attached(letter) if (found := _read(one)).kind in _GRAVE and found.results]
            if inner:
                return _together(inner, subject)
        if answer is not None:
            return answer
        if answer is None and not receipt:
            answer = read_notice(letter)
            if answer is not None:
                return answer
    if receipt and not _is_absence(letter):
        return letter.answer("ordinary", (), "receipt", "")
    rule = autoreply_rule(fields, subject, human)
    by_field = rule is not None and rule[0] == "autoreply.rfc3834"
    if rule is not None and not (by_field and seen.null and seen.daemon):
        return letter.answer("autoreply", (), *rule)
    typed = any(part.media in STATUS_PARTS for part in parts)
    if letter.came is not None or (seen.null and (seen.daemon or typed or "@" not in letter.author)):
        return _unread(letter)
    return letter.answer("ordinary", (), "no report", "")


_GRAVE: tuple[Kind, ...] = ("bounce", "delayed", "complaint", "success-dsn")
_PROCESSED = re.compile(r"^disposition\s?:[^\n]{0,100};\s{0,4}processed\b", re.I | re.M)


def _is_absence(letter: Letter) -> bool:
    """Whether a receipt is an answer in its writer's name: it was sent by itself, and the mail was "processed" and not
    shown to anybody (RFC 8098 section 3.2.6.2), as servers report that send the text of an absence with it."""
    answered = letter.fields.first("auto-submitted").lower().startswith("auto-replied") and letter.report.strip()
    receipts = (part.text() for part in letter.parts if part.media in _RECEIPT_PARTS)
    return bool(answered) and any(_PROCESSED.search(words) for words in receipts)


def _together(found: list[Report], subject: str) -> Report:
    """Reports that one message carries, as one of the gravest kind. Where they are about different mails it names none
    of them, so that nobody is counted for another's mail."""
    kind = next(kind for kind in _GRAVE if any(kind == one.kind for one in found))
    among = ("bounce", "delayed", "success-dsn") if kind in ("bounce", "delayed") else (kind,)
    told = sorted((one for one in found if one.kind in among), key=lambda one: _GRAVE.index(one.kind))
    first = told[0]
    same = len({(one.original.message_id, one.mail_id) for one in told}) == 1
    return replace(
        first,
        results=unique([result for one in told for result in one.results]),
        original=first.original if same else OriginalMessage(),
        mail_id=first.mail_id if same else None,
        rule="attached:" + first.rule,
        subject=subject,
    )


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
        elif group is groups[-1] and not any(map(group.get, ("action", "status", "diagnostic-code"))):
            final = _whole(final, blocks)
        if not final:
            continue
        own = blocks.get(final.lower()) or blocks.get(first.lower())
        answer, shown, code = judged_group(group, own, final, letter, mta, alone)
        action = dsn.action_of(group.get("action"))
        results.append(
            settled(
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
    kind, why = kind_of(results, human, letter.subject)
    if kind == "delayed":
        results = [replace(one, hard=False, unconfirmed=False) for one in results]
    return letter.answer(kind, unique(results), "dsn.inline" if inline else "dsn", why)


def _whole(address: str, blocks: dict[str, text.Found]) -> str:
    """An address at which a report was cut off, as the text for people has it."""
    longer = [one.address for key, one in blocks.items() if key.startswith(address.lower())]
    return longer[0] if len(longer) == 1 else address


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


def _plain(letter: Letter) -> Report | None:
    fields, report, seen, original = letter.fields, letter.report, letter.seen, letter.original
    prepared = flat(report[:20_000])
    # An address is never in an encoded word (RFC 2047 §5(3)): the field is read as it stands.
    expected = tuple(dict.fromkeys(addresses_in(" , ".join(fields.every("x-failed-recipients")))))
    mark = wrote(prepared)
    author = letter.author
    announced = first_of(SUBJECTS, letter.subject.lower()) or (
        (letter.certain or seen.daemon) and tells_delay(letter.subject.lower())
    )
    failure = bool(first_of(FAILURE, prepared) or first_of(DELAY, prepared))
    failure = failure or (not (expected or mark or announced) and _fails(letter))
    machine = "no-reply" in author or "noreply" in author
    strong = (
        seen.daemon
        or seen.null
        or letter.came is not None
        or bool(expected)
        or bool(original.headers and (machine or seen.named))
        or bool(seen.named and mark)
        or bool(mark and original.headers and "auto-submitted" in fields)
        or bool(announced and _ROBOT.search(author) and _replied(report))
    )
    if not strong:
        return None
    letter.refusals = transcript.refusals(report)
    domain = author.rpartition("@")[2].strip('<>() "').split(" ")[0].rstrip(">") if "@" in author else ""
    replied = seen.null and _replied(report)
    found = _recipients(letter, expected, domain, bool(failure or announced or mark or replied))
    answered = bool(letter.refusals) or any(_answers(item, seen.daemon or seen.null) for item in found)
    answered = answered or (replied and len(found) == 1)
    arrived = seen.daemon and {item.by for item in found} == {"line"} and first_of(SUCCESS, prepared)
    if not (seen.daemon or seen.named or expected or answered) and _DIGEST.search(letter.subject):
        return None  # it lists mail of others, whose subjects say what they like
    reply = autoreply_rule(fields, letter.subject, report)
    if reply is not None and letter.certain and reply[0] == "autoreply.rfc3834" and not _is_vacation(fields):
        reply = None  # Exim writes that on bounces (RFC 3834 section 5 lets it)
    sentence = bool(expected or mark or failure or announced or answered or arrived)
    written = {one.lower() for one in original.to}
    by_signs = (
        seen.null
        and (seen.daemon or "@" not in author)
        and any(item.by in ("line", "header", "tag") or item.address.lower() in written for item in found)
    )
    if not (sentence or by_signs or (letter.certain and any(_is_condemned(item, report) for item in found))):
        return None
    person = not (seen.daemon or seen.named or expected or mark or announced or (letter.certain and answered))
    writes_alone = reply is not None and reply[0] == "autoreply.rfc3834" and not (expected or announced)
    person = person or (writes_alone and not (seen.daemon or seen.named or "@" not in author))
    if reply and (person or (not found and not mark and not announced)):
        return None
    certain = mark or letter.certain or "daemon" in author or "<>" in author or bool(original.headers)
    if not found and not ((first_of(FAILURE, prepared) or first_of(DELAY, prepared) or announced) and certain):
        return None
    mine = {one.lower() for one in letter.not_meant()}
    if not found and letter.certain and len(original.to) == 1 and original.to[0].lower() not in mine:
        found = [text.Found(original.to[0], by="original")]
    kind, why = kind_of_text(prepared, letter.subject)
    if kind == "bounce" and first_of(SUCCESS, prepared) and not first_of(FAILURE, prepared):
        kind, why = "success-dsn", "delivered"
    action = {"delayed": "delayed", "success-dsn": "delivered"}.get(kind, "failed")
    results = [judged_text(item, letter, action, why, len(found) < 2) for item in found or [text.Found("")]]
    return letter.answer(kind, results, "text." + (mark or "generic"), why)


_FAILS = re.compile("|".join(FAILS))
_REPLIED = re.compile(r"(?<![\w.\-])([45])\d\d[ \-;#(]{1,3}\1\.\d{1,3}\.\d{1,3}(?![.\d])")
"""A reply with an enhanced code of its class: nobody but a server writes that."""


def _replied(report: str) -> bool:
    return ("5." in report or "4." in report) and _REPLIED.search(report) is not None


_ROBOT = re.compile(
    r"(?:^|<)\s*(?:system|mail-?(?:er|server|system|gate(?:way)?|gw)|mta\d*|smtp\d*|postfix|anti-?spam)@"
)
"""Authors that no person is, though none is a mailer daemon."""
_LIST = re.compile(r"([\w.+\-]{1,64})-(?:bounces|owner|request|admin)@([\w.\-]{1,200}\w)")


def _keepers(author: str) -> list[str]:
    """Where to write to those who keep the list whose manager wrote."""
    found = _LIST.search(author) if "-" in author else None
    return [f"{found[1]}-{role}@{found[2]}" for role in ("owner", "request", "admin")] if found else []


def _posted_to(letter: Letter) -> list[text.Found]:
    """The list whose manager wrote, where its text speaks of the list and its keepers and names nobody else."""
    found = _LIST.search(letter.author)
    low = letter.report.lower()
    if found is None or f"{found[1]}-owner@" not in low or re.search(rf"\b{re.escape(found[1])}\b(?!-)", low) is None:
        return []
    return [text.Found(f"{found[1]}@{found[2]}", lines=[" ".join(letter.report.split())[:400]], by="elimination")]


def _fails(letter: Letter) -> bool:
    """Whether it says, in any of the languages, that something was not delivered. A postmaster is a person at times,
    so that without a null path the subject has to say it."""
    if letter.certain or letter.seen.null or "daemon" in letter.author:
        said = f"{letter.subject}. {letter.report[:3000]}"
    elif letter.seen.daemon and "return-path" not in letter.fields:
        said = letter.subject
    else:
        return False
    return _FAILS.search(" ".join(folded(said).split())) is not None


_DIGEST = re.compile(
    r"\b(?:quarant\w+|cuarentena|kwarantann\w+|digest|summary|zusammenfassung|übersicht|récapitulatif|résumé|resumen|"
    r"resumo|riepilogo|overzicht|сводка|карантин\w*)\b|隔離|隔离|격리",
    re.I,
)
"""Subjects of lists of held or waiting mail."""
_CODED = re.compile(r"(?:^|[:>\"'(])\s{0,3}[45]\d\d[ \-]\s?\S")


def _answers(item: text.Found, machine: bool) -> bool:
    """Whether a server's answer stands by a recipient; in a person's letter only a number that begins a reply."""
    if find_enhanced(item.diagnostic):
        return True
    if machine:
        return find_reply(item.diagnostic) is not None
    return any(_CODED.search(line) for line in item.lines)


def _is_condemned(item: text.Found, report: str) -> bool:
    """Whether what a text says of a recipient, or near it, is a verdict about a person in known words."""
    said = item.diagnostic or " ".join(around(report, item.address))
    found = match_text(prepare(said[:MAX_SAID]))
    return found is not None and found[0] in _OF_PEOPLE


def _is_vacation(fields: Fields) -> bool:
    return "vacation" in fields.first("auto-submitted").lower()


def _recipients(letter: Letter, expected: tuple[str, ...], domain: str, told: bool) -> list[text.Found]:
    """Whom a text names, by the first source that names somebody (:data:`~.report.FOUND_BY`). ``told``: it says that
    something failed."""
    report, came = letter.report, letter.came
    written = {one.lower() for one in letter.original.to}
    to = addresses_in(letter.fields.first("to"))
    mine = {one.lower() for one in (*to, *letter.ours.bounce_addresses, *_keepers(letter.author))} - written
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
    addressee = _addressee(letter.original, report)
    if addressee or not (letter.certain or letter.seen.daemon or (letter.seen.null and told)):
        return addressee
    left = remaining(report, letter.not_meant(), letter.original)
    return [left] if left is not None else _posted_to(letter)


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
