"""Judging: what kind of report it is, and why it failed for one recipient. Pure.

The kind comes from Action first, then from "will retry" and "gave up"; the reason never decides it. Why it failed is
asked of one speaker after the other (:func:`_why`): the peer's own reply, what was said about this recipient, and the
text for people last. Whose name stands in a verdict is looked at before it is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from . import dsn, text
from .candidates import around
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
from .entities import ABOUT_NAMES, about_us
from .opening import Letter
from .phrases import DELAY, FINAL, GOES_ON, SUBJECTS, first_of, flat
from .providers import CARRIERS
from .report import GOOD_ACTIONS, Kind, RecipientResult
from .speakers import peer

_PAST = re.compile(r"\b(?:for|in)(?: the)? (?:past|last) \d{1,3}(?:\.\d)? (?:minutes?|hours?|days?)\b")
_DELAYED = re.compile(
    r"\(delay\)|\b(?:delayed|delay|deferred|verzögert|verspätet|retardé\w*|retrasad\w+|atrasad\w+|ritard\w+|vertraagd|"
    r"försenad\w*|forsink\w+|opóźni\w+|zpožd\w+|задерж\w+|затрим\w+|gecik\w+|késlelt\w+|késedel\w+|întârzi\w+|chậm|"
    r"tertunda|viiväst\w+|viivyt\w+|καθυστέρ\w+|noch nicht zugestellt)\b|遅延|延迟|延遲|지연|ล่าช้า"
)
_GOES_ON = tuple((tuple(words.split()), re.compile(pattern)) for words, pattern in GOES_ON)
_NO_MORE = re.compile(
    r"\b(?:no|not|without|nicht|kein\w*|sin|sans|plus|aucune?|nessun\w*|non|nenhuma?|não|geen|niet|inga?|ikke|nie|žádn\w+|"
    r"не|нет|không)\b[^.!?。]{0,30}$"
)
_LASTING = re.compile(r"5(?<![\w.\-]5)(?:\d\d(?=[ \-])|\.\d{1,3}\.\d{1,3}(?!\.?\d))")
_EXIT = re.compile(r"^\s*x-unix\s*;\s*(\d{1,3})\b", re.I)


def kind_of(results: list[RecipientResult], human: str, subject: str) -> tuple[Kind, str]:
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
    return kind_of_text(flat(human), subject)


def kind_of_text(prepared: str, subject: str) -> tuple[Kind, str]:
    low = subject.lower()
    final = first_of(FINAL, prepared)
    delay = first_of(DELAY, prepared)
    if delay and not final:
        return "delayed", delay
    if not final and not _LASTING.search(prepared) and (tries := _still_tried(prepared[:4000])):
        return "delayed", tries
    past = _PAST.search(low) or ("warning" in low and _PAST.search(prepared[:4000]))
    if not final and (past or tells_delay(low)):
        return "delayed", subject[:80]
    return "bounce", final or "failure"


def _still_tried(prepared: str) -> str:
    """The words by which a text says that delivery goes on, or ""; "no further attempts" says the opposite."""
    patterns = (pattern for words, pattern in _GOES_ON if any(word in prepared for word in words))
    for found in (hit for pattern in patterns for hit in pattern.finditer(prepared)):
        if not _NO_MORE.search(prepared[max(0, found.start() - 40) : found.start()]):
            return found.group(0)
    return ""


def tells_delay(subject: str) -> bool:
    """A subject that speaks of a delay and of no failure."""
    announced = first_of(SUBJECTS, subject)
    return _DELAYED.search(subject) is not None and (announced is None or "delay" in announced)


def judged_group(
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
    ask = Asked(letter, final, code, hint, group.get("x-powermta-bouncecategory").lower(), _exit_of(typed))
    answer, shown = _why(
        ask, (diagnostic, _refusal(letter, final), lines, _refusal(letter, final, False)), prose, action
    )
    if answer.reason == "filtered" and ask.category == "bad-mailbox" and "unknown" in answer.matched_text:
        answer = classify_as("userunknown", answer.rule, answer.matched_text, sure=True)  # two say so, against a code
    if answer.reason == "userunknown" and alone:
        answer = _softer(answer, letter.report)
    if answer.reason == "delivered" and action not in GOOD_ACTIONS:
        answer = classify_as("onhold", "code:" + (code or ""), code or "")  # a report of a failure never says that
    if answer.hard and _is_unsigned(typed, code, lines, final):
        answer = replace(answer, hard=False, unconfirmed=True)
    inner = (
        find_enhanced(diagnostic) or find_enhanced(lines) or (find_enhanced(prose[:4000]) if not diagnostic else None)
    )
    if code and code[1:] == ".0.0" and inner and inner[0] == code[0]:
        code = inner
    shown = shown or lines or (" ".join(letter.report.split())[:500] if alone else "")
    return answer, shown, code or inner


def judged_text(item: text.Found, letter: Letter, action: str, why: str, alone: bool) -> RecipientResult:
    """What a text says about one of its recipients."""
    own = item.diagnostic
    near = " ".join(around(letter.report, item.address)) if alone and (not own or item.by == "elimination") else ""
    host = find_host(own) or item.address.rpartition("@")[2].lower() or None
    ask = Asked(letter, item.address, None, host, near=near)
    reply, refused = item.reply, _refusal(letter, item.address)
    apart = _reply_apart(letter.report) if alone and not (reply or refused or find_reply(own)) else ""
    pieces = (refused, reply, apart, own, _refusal(letter, item.address, False))
    answer, _ = _why(ask, pieces, letter.report if alone else "", action)
    shown = own or refused or " ".join(letter.report.split())
    if answer.reason in ("undefined", "delivered") and action != "delivered" and (own or near).strip():
        answer = classify_as("onhold", "text:unclear", (own or near)[:80])
    if answer.reason in ("undefined", "onhold") and action == "delayed":
        answer = classify_as("expired", "delayed", why)
    elif answer.reason in ("undefined", "onhold", "userunknown") and item.address.lower().endswith("@googlegroups.com"):
        answer = classify_as("rejected", "system:google groups", "google groups")
    status = find_enhanced(reply) or find_enhanced(own) or find_enhanced(letter.report)
    return settled(
        RecipientResult(
            item.address,
            item.original,
            answer.reason,
            answer.hard,
            status,
            action,
            shown[:1000],
            find_host(own),
            None,
            "text:" + answer.rule,
            answer.matched_text,
            answer.unconfirmed,
            item.by,
        )
    )


def _is_unsigned(typed: str, code: str | None, lines: str, address: str) -> bool:
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


_OWN_REPLY = re.compile(r"^[ \t>]{0,12}([45]\d\d[ \-](?:[45]\.\d{1,3}\.\d{1,3}[ \-])?\S.{0,600})$", re.M)


def _reply_apart(report: str) -> str:
    """The reply that stands on a line of its own, away from the one recipient; "" when there are several."""
    lines = _OWN_REPLY.findall(report[:20_000])
    return str(lines[0]) if len(lines) == 1 else ""


_STEP_WORDS = {"dot": "end of data", "rcpt": "rcpt to", "mail": "mail from", "connect": "initial connection"}


def settled(result: RecipientResult) -> RecipientResult:
    """What a single recipient may be called: nobody still tried for is hard, nobody concluded is without words."""
    nobody = not result.recipient
    if nobody or result.action in ("delayed", *GOOD_ACTIONS) or (result.status or "").startswith("4"):
        waits = result.hard or result.unconfirmed
        return replace(result, hard=False, unconfirmed=False) if waits else result
    if result.hard and result.found_by in ("elimination", "original"):
        spoken = any(mark in result.rule for mark in (":text:", ":grammar:", ":provider:"))
        spoken = spoken or (result.found_by == "elimination" and is_about_people(result.rule.rpartition(":")[2]))
        return result if spoken else replace(result, hard=False, unconfirmed=True)
    return result


def unique(results: list[RecipientResult]) -> tuple[RecipientResult, ...]:
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
    """What is known of a refusal besides its words: the letter it stands in and whom it is about, the Status field, the
    remote host, PowerMTA's category, the number a program ended with, what a text says near the recipient where no line
    is the recipient's own."""

    letter: Letter
    recipient: str
    code: str | None
    host: str | None
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
                return _beside(pieces, answer) if number else answer, shown or piece
            if number == 0 and answer.rule.startswith(("code:", "stage:")) and not vague and _is_clear(answer):
                return answer, shown or piece
            spoken = best is not None and answer.rule.startswith("grammar:") and not _is_clear(best) and not answer.hard
            if best is None or spoken or (best.reason in _VAGUE and not vague):
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
            return _beside(pieces, answer), shown or prose
        if best is None and answer.reason not in _VAGUE:
            best = answer
    if ask.near and (best is None or best.reason in _VAGUE or not _is_clear(best)):
        answer = _about(ask, ask.near, classify(enhanced=ask.code, text=ask.near, stage=stage, remote_host=host))
        if answer.rule.startswith((*_SAID, "grammar:")) or best is None:
            best = answer
    if best is None or best.reason in _VAGUE or not _is_clear(best):
        guessed = _guessed(ask)
        if guessed is not None and (best is None or best.reason in _VAGUE or not best.hard):
            return guessed, shown
    return best or classify(enhanced=ask.code, remote_host=host), shown


def _beside(pieces: tuple[str, ...], answer: Classification) -> Classification:
    """The answer of what stands around a reply: not sure of a person where the peer's code speaks of something else."""
    code = find_enhanced(pieces[0]) or ""
    elsewhere = code[1:3] not in ("", ".0", ".1") and not is_about_people(code)
    return replace(answer, hard=False, unconfirmed=True) if answer.hard and elsewhere else answer


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
    if answer.reason not in ABOUT_NAMES:
        return answer
    turned = about_us(said, answer.matched_text, answer.reason, ask.letter.names([ask.recipient]))
    return classify_as(turned[0], "name:ours", turned[1]) if turned else answer


def _softer(answer: Classification, human: str) -> Classification:
    """The mailbox is there after all: the human part says that it is full or disabled. One recipient only."""
    found = match_text(prepare(human), among=softer()) if human else None
    if found is not None:
        return classify_as(found[0], "text:" + found[0], found[1])
    return answer
