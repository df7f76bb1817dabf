"""Notices to the writer: a filter, a forwarding service, a help desk or a scanner says that a mail was stopped.

They come from addresses like any other, with a return path, and their wordings are endless. What they share:

* a machine wrote them, and to the writer alone: no list, no thread (RFC 3834 section 5, or its name says so);
* the subject says that a mail was stopped, and the text says so again or gives a server's reply;
* one address in them is neither the reader's nor the writer's, nor said to be a sender's: it stands behind a word for
  "recipient", or it is the only one left behind a "to", or with a reply behind it;
* the words about it give a cause, or a code.

All four must hold. A notice to the one who was *written to* (a digest of held mail, a warning about an attachment)
names a sender and the reader, so nobody is left; alerts about other things give no cause that mail has.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .autoreply import autoreply_rule, folded
from .candidates import HELPERS, addresses, is_offered, paragraph
from .classify import find_enhanced, find_reply
from .judging import judged_text, kind_of_text
from .opening import Letter, addresses_in
from .phrases import FAILS, FAILURE, STOPPED, SUBJECTS, first_of, flat
from .report import Report
from .text import Found

MAX_TEXT = 4_000
"""Characters of a notice; a longer text is a newsletter or a log."""
_MACHINE = re.compile(
    r"(?:no-?reply|do-?not-?reply|mailer|notif|alert|robot|daemon|bounce|system|gate(?:way)?|\bseg\b|scan|copier|kopier|"
    r"mfp|fax|print|drucker|security|quarant|help-?desk|service-?desk|forward|relay)"
)
_LISTS = ("list-id", "list-unsubscribe", "list-post", "in-reply-to", "feedback-id")
_FROM = re.compile(
    r"(?:(?:^|[\n|])[ \t*>|\-]{0,8}(?:from|sender|sent by|author|absender|von|expediteur|de|remitente|mittente|da|"
    r"remetente|afzender|van|nadawca|od|avsandare|fran|afsender|avsender|fra|kuldo|felado|odesilatel|expeditor|gonderen|lahettaja|"
    r"отправитель|от|відправник|від|差出人|送信者|发件人|寄件者|보낸 사람)\b[^:：\n@]{0,20}[:：\n\t|]?"
    r"|\b(?:sent by|proveniente da|sender|absender|gesendet von|written by|envoye par|enviado por|inviato da))"
    r"[\s:：\"'<(|]{0,8}$"
)
"""What stands before a sender's address: the name of a field, or a phrase for it."""
_TO = re.compile(
    r"(?:(?:^|[\n|])[ \t*>|\-]{0,8}(?:recipients?|(?:rcpt )?to|destination|target|addressee|sent to|empfae?nger(?:in)?|"
    r"an|ziel|destinataires?|a|destinatari[oa]?s?|destino|ontvanger|aan|odbiorca|adresat|do|mottagare|till|modtager|mottaker|til|"
    r"cimzett|prijemce|destinatar|alici|vastaanottaja|получатель|кому|одержувач|宛先|收件人|받는 사람)\b"
    r"[^:：\n@]{0,20}[:：\n\t|]"
    r"|\b(?:an die (?:e-?mail-?)?adresse|to the address|a l.adresse|a la direccion|all.(?:indirizzo|utente)|"
    r"ao endereco|naar het adres|na adres|till adressen|til adressen|на адрес))[\s:：\"'<(|]{0,8}$"
)
"""What stands before a recipient's."""
_TOWARDS = re.compile(
    r"\b(?:to|for|an|fur|a|pour|para|per|aan|naar|voor|do|dla|pro|komu|till|til|recipient|empfae?nger|destinatari[oa]|"
    r"destinataire|ontvanger|adres\w{0,3}|кому|для|на|адрес\w{0,3})[\s:：\"'<(]{1,6}$"
)
"""The last word before a recipient in a sentence; a sender has "from" there, or none."""
_VAGUE = ("undefined", "onhold", "delivered")
_STOPPED, _FAILS = re.compile("|".join(STOPPED)), re.compile("|".join(FAILS))


def read_notice(letter: Letter) -> Report | None:
    """The report in a notice to the writer of a mail, or None."""
    fields, report = letter.fields, letter.report
    if len(report) > MAX_TEXT or any(name in fields for name in _LISTS) or not _is_machine(letter):
        return None
    subject = " ".join(folded(letter.subject).split())
    by_daemon = letter.seen.daemon and fields.first("auto-submitted").lower().startswith("auto-")
    if not (by_daemon or _STOPPED.search(subject) or first_of(SUBJECTS, letter.subject.lower())):
        return None
    if "list" in fields.first("precedence").lower() or autoreply_rule(fields, letter.subject, report) is not None:
        return None
    said, prepared = " ".join(folded(report).split()), flat(report)
    person = _whom(letter)
    if person is None:
        return None
    told = _STOPPED.search(said) or _FAILS.search(said) or first_of(FAILURE, prepared)
    if not told and not (letter.seen.named or _FAILS.search(subject)):
        return None
    kind, why = kind_of_text(prepared, letter.subject)
    result = judged_text(person, letter, "delayed" if kind == "delayed" else "failed", why, True)
    if result.hard and not (find_enhanced(report) or find_reply(report)):
        result = replace(result, hard=False, unconfirmed=True)  # no server's word: a second report decides
    reasoned = by_daemon or result.reason not in _VAGUE or find_enhanced(report)
    return letter.answer(kind, [result], "notice", why) if reasoned else None


def _is_machine(letter: Letter) -> bool:
    auto = letter.fields.first("auto-submitted").lower()
    marked = auto.startswith("auto-") or "x-auto-response-suppress" in letter.fields
    return marked or letter.seen.daemon or letter.seen.named or _MACHINE.search(letter.author) is not None


def _is_greeted(report: str, place: int, length: int) -> bool:
    """Whether an address is in a greeting: few words before it on its line, a comma behind, in whatever language."""
    words = report[report.rfind("\n", 0, place) + 1 : place].split()
    after = report[place + length : place + length + 80].partition("\n")[0].strip(" \t>\"'")
    return after in (",", "!", "，", "！") and len(words) <= 3 and not any(":" in word for word in words)


def _is_offered(report: str, place: int) -> bool:
    """Whether an address stands there to turn to: not where a reply about it stands behind."""
    return is_offered(report, place) and find_reply(report[place : place + 120]) is None


def _whom(letter: Letter) -> Found | None:
    """The one address that the mail was written to, or None."""
    report, mine = letter.report, {one.lower() for one in letter.not_meant() if one}
    to = {one.lower().rpartition("@")[2] for one in addresses_in(letter.fields.first("to"))}
    author = next(iter(addresses_in(letter.author)), "").rpartition("@")[2]
    meant: list[tuple[str, int]] = []
    left: list[tuple[str, int]] = []
    for address, place in addresses(report):
        low, domain = address.lower(), address.lower().rpartition("@")[2]
        before = folded(report[max(0, place - 80) : place])
        if (
            low in mine
            or _is_greeted(report, place, len(address))
            or _FROM.search(before)
            or HELPERS.match(low.rpartition("@")[0])
        ):
            continue
        if _TO.search(before):
            meant.append((address, place))
        elif domain in to or f".{domain}".endswith(f".{author}") or _is_offered(report, place):
            continue
        elif _TOWARDS.search(before) or find_reply(report[place : place + 120]):
            left.append((address, place))
    chosen = meant or left
    if len(chosen) != 1:
        return None
    address, place = chosen[0]
    return Found(address, lines=paragraph(report, place), by="elimination")
