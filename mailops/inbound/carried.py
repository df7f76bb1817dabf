"""Whether a mail was redirected or forwarded on its way here, by its own signs, and what that breaks. Pure.

A redirection hands the mail on as it is: From, Message-ID and signatures stay (RFC 5322 §3.6.6 adds Resent-* fields).
Forwarding writes a new mail: the mailbox that forwards is its sender, the customer is gone from From, the header chain
begins anew, and the original is quoted or enclosed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..mime import fields_of, split_message
from .values import InboundMail

REDIRECTED, FORWARDED, DIRECT = "redirected", "forwarded", "direct"
_SUBJECT = re.compile(r"\s*(?:fwd?|wg|tr|rv|enc|vs|i|doorst|vb)\s*:", re.IGNORECASE)
_QUOTED = re.compile(
    r"^[ \t>*|-]{0,60}(?:forwarded message|original message|begin forwarded message|weitergeleitete nachricht|"
    r"ursprüngliche nachricht|message transféré|mensaje reenviado)\b",
    re.IGNORECASE | re.MULTILINE,
)
_HEADERS = re.compile(
    r"^[ \t>*]{0,20}(?:from|von|de)[ \t]{0,5}:[^\n]{1,500}\n(?:[ \t>*]{0,20}[^\s>*][^\n]{0,500}\n){0,4}?"
    r"[ \t>*]{0,20}(?:sent|date|gesendet|datum|envoyé|to|an|à)[ \t]{0,5}:",
    re.IGNORECASE | re.MULTILINE,
)
_HOPS = ("resent-from", "resent-to", "x-forwarded-to", "x-forwarded-for", "x-ms-exchange-forwardingloop")

BREAKS = {
    FORWARDED: (
        "The forwarding address becomes the sender: the record is made for it, and answers go there.",
        "The header chain begins anew: an answer makes a new record instead of reaching its thread.",
        "Loop protection and policies look at the forwarding address.",
    ),
    REDIRECTED: ("SPF of the sender fails at the last hop; DKIM goes on to hold.",),
    DIRECT: (),
}


@dataclass(frozen=True, slots=True)
class Carried:
    """How a mail came, the signs that say so, and what it breaks."""

    how: str
    signs: tuple[str, ...]
    breaks: tuple[str, ...]


def carried(mail: InboundMail, raw: bytes, mailboxes: Collection[str] = (), domains: Collection[str] = ()) -> Carried:
    """How this mail came. ``mailboxes`` are addresses that may forward, ``domains`` ours (lower case): a person of ours
    who forwards is told by the quoted header alone."""
    head, body = split_message(raw)
    fields = fields_of(head)
    sender = mail.sender_address
    own = sender in {address.lower() for address in mailboxes} or sender.rpartition("@")[2] in domains
    signs = []
    if own:
        signs.append(f"its sender is {sender}, an address of yours")
    if _SUBJECT.match(mail.subject):
        signs.append(f"its subject begins as a forwarded one: {mail.subject[:60]}")
    if _QUOTED.search(mail.text[:20_000]) or _HEADERS.search(mail.text[:20_000]):
        signs.append("its text quotes the header of another mail")
    if b"message/rfc822" in body[:200_000].lower() and not fields.first("content-type").startswith("multipart/report"):
        signs.append("it encloses another mail")
    if len(signs) >= 2:
        return Carried(FORWARDED, tuple(signs), BREAKS[FORWARDED])
    hops = [f"it has {name}: {fields.first(name)[:100]}" for name in _HOPS if name in fields]
    written = {mail.written_to.lower()} if mail.written_to else set()
    elsewhere = [v for v in fields.every("delivered-to") if v.strip("<> ").lower() not in written]
    if elsewhere and written:
        hops.append(f"it was written to {', '.join(sorted(written))} and delivered to {elsewhere[0][:100]}")
    if hops and not own:
        return Carried(REDIRECTED, (f"its sender is still {sender or 'nobody'}", *hops), BREAKS[REDIRECTED])
    return Carried(DIRECT, ("nothing shows another hop",), BREAKS[DIRECT])
