"""Why was it refused? One answer for live SMTP replies and for reports.

Asked in this order, each step with the rule and the words that gave the answer:

1. a provider's own table (:mod:`~mailops.bounces.reading.providers`), when the remote host or its text is recognised;
2. the words (:mod:`~mailops.bounces.reading.patterns`), the lowest rank first, several languages;
3. the enhanced code (:mod:`~mailops.bounces.reading.codes`), which goes before the words when it is a specific one and
   the words are of a kind that every refusal contains;
4. a grammar of subject and predicate (:mod:`~mailops.bounces.reading.grammar`) for wordings that no table holds, where
   the code says little;
5. the reply code and the stage of the dialogue.

Words outrank a generic code because servers send 5.1.1 for rate limits and 5.7.1 for everything. An unknown user is
hard at any stage once a recipient was named; a refusal in words that no table knows is soft, wherever it came. 5.2.0
and 5.2.1 say that the mailbox exists, and some carriers answer "user unknown" after DATA when the subscriber's own
filter refused, so both are ``filtered`` and soft. Nothing temporary is hard, and nothing that rests on a code alone
unless the code is one about a person (:func:`~mailops.bounces.reading.codes.is_about_people`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain

from ...model.reasons import is_hard, who_acts
from .codes import REPLIES, is_about_people, is_generic, reason_of
from .entities import blocklist
from .grammar import understand
from .patterns import Phrase, in_order, phrases
from .providers import is_carrier, provider_answer
from .speakers import peer
from .systems import glosses

MAX_TEXT = 4000
"""Characters of a reply that are read."""

SHORT_TEXT = 400
"""Longer texts are prose of a report, in which a single word such as "spam" proves nothing."""

_ADDRESS = re.compile(r"(?<![^\s<>()\[\]:;,\"'])<?[^\s<>()\[\]:;,\"']{1,80}@[\w.\-]{1,120}>?")
_NAMED_HOST = re.compile(r"\b[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?=\s?\[[\da-fA-F:]{1,4}[.:])")
# After a hyphen only where a reply code stands before it: "550-5.7.26" is a line of a long reply (RFC 5321 section
# 4.2.1), "host-5.1.1" a name.
_ENHANCED = re.compile(r"[245](?:(?<![\d.\-].)|(?<=(?<![\d.\-])[245]\d\d-.))\.\d{1,3}\.\d{1,3}(?![\d\-])(?!\.\d)")
_REPLY = re.compile(r"[245](?<![\d.\-].)\d\d(?=[\s\-#:]|$)")

_STAGES: tuple[tuple[str, str], ...] = (
    ("in reply to end of data", "dot"),
    ("in reply to data", "data"),
    ("in reply to rcpt", "rcpt"),
    ("in reply to mail from", "mail"),
    ("in reply to ehlo", "helo"),
    ("in reply to helo", "helo"),
    ("refused to talk to me", "connect"),
    ("after initial connection", "connect"),
    ("after end of data", "dot"),
    ("after data", "data"),
    ("after pipelined data", "data"),
    ("after rcpt to", "rcpt"),
    ("after rcpt command", "rcpt"),
    ("after mail from", "mail"),
    ("after pipelined mail", "mail"),
    ("after ehlo", "helo"),
    ("after helo", "helo"),
    ("did not like our rcpt to", "rcpt"),
    ("did not like our final data", "dot"),
    ("did not like our data", "data"),
    ("did not like our mail from", "mail"),
    ("does not like recipient", "rcpt"),
    ("but sender was rejected", "mail"),
    ("but my name was rejected", "helo"),
    ("but greeting failed", "connect"),
    ("in response to rcpt", "rcpt"),
    ("in response to mail from", "mail"),
    ("in response to ehlo", "helo"),
    ("in response to helo", "helo"),
    ("in response to data", "data"),
    ("in response to end of data", "dot"),
    ("failed after i sent the message", "dot"),
    ("failed on data command", "data"),
    ("[rcpt_to]", "rcpt"),
    ("[mail_from]", "mail"),
    ("smtp:rcpt", "rcpt"),
    ("following rcpt command", "rcpt"),
    (">>> data", "data"),
    (">>> rcpt to", "rcpt"),
    (">>> mail from", "mail"),
)


_STAGE_MARKS = (
    *("in reply", "refused", "after ", "like", "was rejected", "failed", "in response"),
    *("[", "smtp:", "following", ">>> "),
)
_MARKED_STAGES = tuple((next(mark for mark in _STAGE_MARKS if mark in words), words, stage) for words, stage in _STAGES)
"""Each behind a mark that stands in it: most texts have none of the marks, and each mark stands for a few stages."""


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer: reason (Sisimai's word), hard, who must act, the rule and the words that gave it.

    ``unconfirmed`` says that the reason is a hard one, but nothing was said about a person: the ground is a code that
    servers send for anything, or a weak word. Then ``hard`` is false, and a second answer decides.
    """

    reason: str
    hard: bool
    who_acts: str
    rule: str
    matched_text: str
    unconfirmed: bool = False


@lru_cache(maxsize=256)
def prepare(text: str) -> str:
    """The text as the tables expect it: lower case, single blanks, addresses as ``@``."""
    text = text[:MAX_TEXT]
    if "@" in text:
        text = _ADDRESS.sub("@", text)
    if "[" in text:
        # The name of a server says nothing of the cause: antispam.dest.example may well know no such user.
        text = _NAMED_HOST.sub("host", text)
    low = " ".join(text.split()).lower()
    for gloss in glosses():
        if gloss in low:
            low = low.replace(gloss, " ")
    # Postfix puts this before every refusal of its own, whatever the cause.
    if "recipient address rejected:" in low and "recipient address rejected: access denied" not in low:
        low = low.replace("recipient address rejected:", "recipient:")
    return low


def find_enhanced(text: str) -> str | None:
    """The first enhanced code in a text, never a piece of an IP address or a version."""
    match = _ENHANCED.search(text) if "." in text else None
    return match.group(0) if match else None


def find_reply(text: str) -> str | None:
    """The first three-digit reply code in a text."""
    match = _REPLY.search(text)
    return match.group(0) if match else None


def find_host(text: str) -> str | None:
    """The remote host a text speaks of."""
    match = _HOST.search(text)
    return match.group(1).lower() if match else None


def stage_of(text: str) -> str | None:
    """As :func:`find_stage`, of a text that is not prepared."""
    low = text[:MAX_TEXT].lower()
    return find_stage(" ".join(low.split())) if _marks_in(low) else None


def find_stage(prepared: str) -> str | None:
    """Where in the dialogue the refusal came, as far as the text says so: connect, helo, mail, rcpt, data or dot."""
    marks = _marks_in(prepared)
    return next((stage for mark, words, stage in _MARKED_STAGES if mark in marks and words in prepared), None)


def _marks_in(low: str) -> list[str]:
    return [mark for mark in _STAGE_MARKS if mark in low]


_HOST = re.compile(r"\b(?:host|talking to|server)\s+([\w-]{1,63}(?:\.[\w-]{1,63}){1,8})\s{0,2}[\[.:( ]", re.I)


@dataclass(frozen=True, slots=True)
class Table:
    """Patterns in the order in which they win, and where to look for them: each pattern is filed under its rarest three
    letters, so that a text is only compared with the few patterns it shares such letters with."""

    reasons: tuple[str, ...]
    words: tuple[str, ...]
    weak: frozenset[str]
    pieces: tuple[tuple[str, ...], ...]
    plain: tuple[str, ...]  # the pattern again where it is one piece that may stand anywhere, else nothing
    grams: Mapping[str, tuple[int, ...]]
    letters: frozenset[str]  # the keys of ``grams``: a set meets a set four times as fast as a view does


def compile_table(table: Iterable[Phrase]) -> Table:
    """Prepare phrases for :func:`match_text`. One piece of every phrase has three characters or more."""
    ordered = in_order(table)
    pieces = tuple(pieces_of(one.words) for one in ordered)
    own = [_letters(one.words) for one in ordered]
    counts = Counter(chain.from_iterable(own))
    filed: dict[str, list[int]] = {}
    for number, grams in enumerate(own):
        filed.setdefault(min(grams, key=counts.__getitem__), []).append(number)
    return Table(
        tuple(one.reason for one in ordered),
        tuple(one.words for one in ordered),
        frozenset(one.words for one in ordered if one.weak),
        pieces,
        tuple(parts[0] if len(parts) == 1 and parts[0][0] != "^" else "" for parts in pieces),
        {gram: tuple(some) for gram, some in filed.items()},
        frozenset(filed),
    )


def pieces_of(words: str) -> tuple[str, ...]:
    """What of a phrase has to stand in a text, in this order."""
    return tuple(part.strip() for part in words.split("*")) if "*" in words else (words,)


def _letters(words: str) -> list[str]:
    if "*" in words or words[0] == "^":
        return [three for piece in pieces_of(words) for three in _letters(piece.removeprefix("^"))]
    return [words[at : at + 3] for at in range(len(words) - 2)]


def _grams(text: str) -> set[str]:
    return set(map("".join, zip(text, text[1:], text[2:], strict=False)))


_NO_MAILBOX = ("mailbox unavailable", "mailbox is unavailable", "mailbox not available", "mailbox unavaiable")
_LINK = re.compile(r"(?:[a-z]{3,5}://|www\.)\S+|\b[\w-]{1,63}(?:\.[\w-]{1,63}){2,40}\b")  # a link, the name of a host
NOT_IN_LINKS = frozenset({"spamdetected", "virusdetected"})  # a page about spam explains blocked senders too
_NAME_QUOTED = re.compile(r"\"(?![^\"]*[245]\d\d)[^\"\s]{1,60}\"")  # a name, whatever word it is
_STEP = re.compile(r"\(?in reply to [a-z ]{3,40}\)?")
_LATE = frozenset({"blocked", "rejected", "expired", "systemerror", "syntaxerror", "filtered", "onhold"})


@cache
def refusals() -> Table:
    """The table of refusals, made when the first text is asked."""
    return compile_table(phrases())


@cache
def softer() -> Table:
    """The refusals by which a mailbox is there after all: it is full, or disabled."""
    return compile_table([one for one in phrases() if one.reason in ("mailboxfull", "suspend") and not one.weak])


def match_text(prepared: str, weak: bool = False, among: Table | None = None) -> tuple[str, str] | None:
    """The first pattern of the table that stands in the text: (reason, pattern). Weak words only count where asked for:
    prose is full of them. ``among`` is another table than the shipped one."""
    table = among or refusals()
    for number in standing(prepared, table):
        if weak or table.words[number] not in table.weak:
            return table.reasons[number], table.words[number]
    return None


def standing(prepared: str, table: Table) -> Iterator[int]:
    """The patterns that stand in the text, weak ones too, in the order in which they win."""
    seen = table.letters & _grams(prepared)
    said = _LINK.sub(" ", prepared) if "spam" in prepared or "virus" in prepared else prepared
    for number in sorted([number for gram in seen for number in table.grams[gram]]):
        where = said if table.reasons[number] in NOT_IN_LINKS else prepared
        plain = table.plain[number]
        if (plain in where) if plain else _stands(table.pieces[number], where):
            yield number


WINDOW = 160
"""Characters after a piece of a pattern in which the next one ends."""


def _stands(pieces: tuple[str, ...], prepared: str) -> bool:
    """True when the pieces follow each other somewhere in the text, each within :data:`WINDOW` of the one before."""
    first = pieces[0]
    if first[0] == "^":
        return prepared.startswith(first[1:]) and _follow(pieces[1:], prepared, len(first) - 1)
    place = prepared.find(first)
    while place >= 0:
        if _follow(pieces[1:], prepared, place + len(first)):
            return True
        place = prepared.find(first, place + 1)
    return False


def _follow(pieces: tuple[str, ...], prepared: str, start: int) -> bool:
    if not pieces:
        return True
    place = prepared.find(pieces[0], start, start + WINDOW)
    while place >= 0:
        if _follow(pieces[1:], prepared, place + len(pieces[0])):
            return True
        place = prepared.find(pieces[0], place + 1, start + WINDOW)
    return False


def classify(
    code: int | str | None = None,
    enhanced: str | None = None,
    text: str = "",
    stage: str | None = None,
    remote_host: str | None = None,
) -> Classification:
    """Classify one refusal.

    ``code`` is the reply code (``550``), ``enhanced`` the RFC 3463 code, ``text`` the reply or diagnostic, ``stage``
    connect, helo or ehlo, mail, rcpt, data, dot or body, ``remote_host`` the name of the server that answered. All are
    optional: what is missing is looked for in the text. Never raises.
    """
    step = _STEPS.get(stage or "", stage or "")
    return _classify(str(code or ""), enhanced or "", text[:MAX_TEXT], step, (remote_host or "").lower())


_OF_PEOPLE = frozenset({"userunknown", "suspend", "mailboxfull", "hasmoved", "filtered"})
_BESIDE = frozenset({"systemerror", "mailererror", "securityerror", "spamdetected", "blocked", "suspend"})
"""What stands beside "unknown user" under its own code, as the way in which it was found out."""
_NEARER = frozenset({("mailboxfull", "suspend"), ("mesgtoobig", "mailboxfull"), ("mailboxfull", "mesgtoobig")})
"""Codes that say more than words of that kind."""
_TOO_LARGE = ("552", "523")
_OF_BOXES = frozenset({"suspend", "mailboxfull"})
_OF_SENDERS = frozenset(
    {
        "authfailure",
        "badreputation",
        "mesgtoobig",
        "networkerror",
        "norelaying",
        "requireptr",
        "spamdetected",
        "systemerror",
        "systemfull",
        "toomanyconn",
    }
)
"""What a refusal may mean before a recipient was named."""
_BEFORE_RCPT = ("connect", "helo", "mail")
_NOT_UNDERSTOOD = ("500", "501", "502", "503", "504")  # RFC 5321 section 4.2.3: the command, not the one who gives it
_CLEAR = frozenset({"4.1", "5.1"})  # an enhanced code about the address is worth more than our grammar
_STEPS = {"ehlo": "helo", "body": "dot", "message": "dot"}


def classify_as(reason: str, rule: str, words: str, *, sure: bool = False) -> Classification:
    """An answer that did not come from a reply: a category field, an exit code, a name that turns a verdict. ``sure``
    says that it speaks of a person."""
    hard = is_hard(reason)
    return Classification(reason, hard and sure, who_acts(reason), rule, words, hard and not sure)


def classify_prose(enhanced: str | None, text: str, stage: str | None, remote_host: str | None) -> Classification:
    """Classify what a report says to people: as :func:`classify`, but a noun near a verdict proves nothing there, so
    neither the grammar nor weak words are asked."""
    step = _STEPS.get(stage or "", stage or "")
    return _classify("", enhanced or "", text[:MAX_TEXT], step, (remote_host or "").lower(), True)


@lru_cache(maxsize=2048)
def _classify(code: str, enhanced: str, text: str, stage: str, host: str, prose: bool = False) -> Classification:
    prepared = prepare(text)
    enhanced = enhanced or find_enhanced(text) or ""
    code = code or find_reply(text) or ""
    stage = stage or find_stage(prepared) or ""
    host = host or find_host(text) or ""
    inner = peer(text)  # a relay's words before it are no part of the sentence
    said = "" if prose else prepared if inner is text else prepare(inner)
    reason, rule, words = _decide(code, enhanced, prepared, said, stage, host)
    hard = is_hard(reason, (enhanced[:1] or code[:1]) == "4")
    if hard and not rule.startswith(("text:", "provider:")):  # words of a verdict are ground enough
        listed = blocklist(text)
        if listed:
            return Classification("blocked", False, who_acts("blocked"), "name:blocklist", listed)
    sure = rule.startswith(_SPOKEN) or (rule.startswith("code:") and is_about_people(enhanced))
    if rule.startswith("text:") and words in refusals().weak and not is_about_people(enhanced):
        guess = _understand(said)
        sure = guess is not None and guess[0] == reason  # a word alone is not enough, a sentence with it is
    return Classification(reason, hard and sure, who_acts(reason), rule, words, hard and not sure)


_SPOKEN = ("text:", "provider:", "grammar:")
"""Rules by which somebody said it in words."""


def _decide(code: str, enhanced: str, text: str, said: str, stage: str, host: str) -> tuple[str, str, str]:
    """(reason, rule, words). ``said`` is what of the text the innermost speaker said, "" for prose."""
    if enhanced.startswith("2.") or (not enhanced and code in ("250", "251", "252")):
        return "delivered", "code:" + (enhanced or code), enhanced or code
    if code in ("530", "534", "535", "538"):  # RFC 4954 §6: whatever the step, the sender has to sign in
        stage = "auth"
    answer = provider_answer(host, text, enhanced)
    if answer is not None:
        return _by_stage(*answer, enhanced, text, stage, host)
    if stage == "mail" and code in _TOO_LARGE and enhanced[1:] in ("", ".3.4"):
        return (
            "mesgtoobig",
            "code:" + code,
            code,
        )  # RFC 1870 section 6.1: nobody was named who could have a full mailbox
    coded = reason_of(enhanced) if enhanced else None
    if stage in _BEFORE_RCPT and coded in _OF_PEOPLE:
        coded = None  # nobody was named yet, so the code cannot mean anybody
    found = match_text(text, weak=bool(said) and len(text) <= SHORT_TEXT) if text else None
    if found is not None:
        reason, words = found
        if words in refusals().weak:
            guess = _understand(said)  # a sentence is worth more than a single word
            if guess is not None and guess[0] not in (reason, *_OF_PEOPLE) and not is_hard(guess[0]):
                return _by_stage(guess[0], "grammar:" + guess[0], guess[1], enhanced, text, stage, host)
        if reason == "rejected" and (cause := _cause_behind(text, words)):
            return _by_stage(cause[0], "text:" + cause[0], cause[1], enhanced, text, stage, host)
        if words == "access denied" and enhanced in ("5.4.1", "5.1.1") and (denied := _DENIED.search(text)):
            return "userunknown", "text:userunknown", denied.group(0)
        if coded and (reason in _LATE or words in refusals().weak) and not is_generic(enhanced):
            return coded, "code:" + enhanced, enhanced
        if coded == "userunknown" and (reason in _BESIDE or words == "access denied"):
            # A lookup that found nobody is no fault of the directory; of "this or that" the code says which.
            for clause in dict.fromkeys((said, *said.split(" or "))):
                guess = _understand(clause)
                if guess is not None and guess[0] == coded:
                    return _by_stage(coded, "grammar:" + coded, guess[1], enhanced, text, stage, host)
        if (coded, reason) in _NEARER:
            return str(coded), "code:" + enhanced, enhanced
        if coded == "filtered" and reason not in (*_OF_BOXES, "userunknown"):
            guess = _understand(said)  # the mailbox is there: what is wrong with it is worth more
            if guess is not None and guess[0] in _OF_BOXES:
                return guess[0], "grammar:" + guess[0], guess[1]
        if reason == "userunknown" and coded != reason and (guess := _understand(said)) and guess[0] == "norelaying":
            return "norelaying", "grammar:norelaying", guess[1]  # unknown to the one who was asked to relay
        if reason == "mesgtoobig" and coded == "exceedlimit" and "exceed" in text:
            return "exceedlimit", "code:" + enhanced, words  # a limit of the system's, not of this recipient
        if reason == "contenterror" and coded == "spamdetected":
            return "spamdetected", "code:" + enhanced, words
        if coded == "contenterror" and words == "content reject":
            return "contenterror", "code:" + enhanced, words
        return _by_stage(reason, "text:" + reason, words, enhanced, text, stage, host)
    for words in _NO_MAILBOX:
        if words in text:
            if code[:2] == "55" or enhanced[:1] == "5" or not code:
                return _by_stage("userunknown", "text:userunknown", words, enhanced, text, stage, host)
            return "onhold", "text:onhold", words
    guess = _understand(said)
    told = _OF_BOXES if coded == "filtered" else _OF_SENDERS if stage in _BEFORE_RCPT else frozenset()
    if guess is not None and guess[0] in told:
        return guess[0], "grammar:" + guess[0], guess[1]
    if code in _NOT_UNDERSTOOD and guess is None and coded in (None, "syntaxerror"):
        return "syntaxerror", "code:" + code, code
    if stage == "mail" and text and coded in (None, "onhold", "securityerror", "userunknown", "blocked", "systemerror"):
        return "rejected", "stage:mail", text[:80]
    if stage in ("connect", "helo") and text:
        return "blocked", "stage:" + stage, text[:80]
    if coded and not is_generic(enhanced):
        return coded, "code:" + enhanced, enhanced
    contradicts = guess is not None and guess[0] not in _OF_PEOPLE and guess[0] not in ("hostunknown", "onhold")
    if guess is not None and (enhanced[:3] not in _CLEAR or enhanced[1:] == ".1.0" or contradicts):
        return _by_stage(guess[0], "grammar:" + guess[0], guess[1], enhanced, text, stage, host)
    if coded:
        return coded, "code:" + enhanced, enhanced
    if code in REPLIES:
        return REPLIES[code], "code:" + code, code
    if code[:1] in ("4", "5") and text:
        return "onhold", "code:" + code, code
    return "undefined", "none", ""


_DENIED = re.compile(r"recipient address(?:es)? rejected ?: access denied")  # Exchange, of an address it does not know


def _cause_behind(text: str, words: str) -> tuple[str, str] | None:
    """Why a sender was rejected, where the sentence goes on to say it: "sender rejected, your address has a poor
    reputation" is about the reputation."""
    _, verdict, rest = text.partition(words)
    found = match_text(rest) if verdict and len(rest) > 8 else None
    return found if found is not None and found[0] in _CAUSES else None


_CAUSES = frozenset({"authfailure", "badreputation", "requireptr"})


def _understand(text: str) -> tuple[str, str] | None:
    """What the grammar makes of it; the names of hosts say nothing."""
    if '"' in text:
        text = _NAME_QUOTED.sub(" ", text)
    return understand(_STEP.sub(" ", _LINK.sub(" ", text.replace("_", " ")))) if text else None


def _by_stage(
    reason: str, rule: str, words: str, enhanced: str, text: str, stage: str, host: str
) -> tuple[str, str, str]:
    """The exceptions in which the place in the dialogue or the code says what the words alone do not."""
    temporary = enhanced[:1] == "4"
    if stage == "auth" and reason in _OF_PEOPLE and not (reason in _OF_BOXES and "mailbox" in text):
        return "securityerror", "stage:auth", words  # the user who signs in, not the one written to
    if stage in ("connect", "helo") and (reason in _OF_PEOPLE or reason == "spamdetected"):
        return "blocked", "stage:" + stage, words  # nobody was named yet, and no message was seen
    if reason == "userunknown":
        if words in ("unverified address", "undeliverable address") and temporary:
            # Postfix asked the next server about the address and got no answer: nothing is known of the address.
            return "networkerror", "temporary", words
        if enhanced in ("5.2.0", "5.2.1", "4.2.0", "4.2.1") and stage != "rcpt":
            return "filtered", "code:" + enhanced, words
        if stage != "rcpt" and enhanced[1:] != ".1.1" and is_carrier(host, text):
            return "filtered", "carrier", words
        if stage == "mail" or enhanced[1:] in (".1.7", ".1.8"):
            return "rejected", "stage:mail", words
    elif reason == "hostunknown":
        if stage == "mail" or enhanced[1:] in (".1.7", ".1.8"):
            return "rejected", "stage:mail", words
        if stage == "helo" or enhanced[1:] == ".5.4":
            # The name with which our own server introduced itself.
            return "blocked", "stage:helo", words
        if temporary or "not found, try again" in text or "temporary" in text:
            return "networkerror", "temporary", words
    elif reason in ("blocked", "securityerror") and words in ("access denied", "go away") and stage == "mail":
        return "rejected", "stage:mail", words
    return reason, rule, words
