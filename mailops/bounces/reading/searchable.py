"""An error text to paste into a web search: the sentence, without anybody's data. Pure.

Addresses, message and queue ids, IP addresses, host names and links of one case find nothing, and tell the search
engine who writes to whom. What stays is what others were told too: codes and words.
"""

from __future__ import annotations

import re

LIMIT = 2000  # characters that are looked at
WORDS = 32  # a search takes no more
_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
# names of blocklists help a search, and are nobody's
_LISTS = r"[\w.-]{0,60}\b(?:spamhaus|spamcop|barracudacentral|uceprotect|sorbs|abusix)\.(?:org|net|com|zone)\b"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), put)
    for pattern, put in (
        (r"\b\d{4}-\d\d-\d\dT[\d:.]{4,20}Z?", " "),  # moments
        (r"\b(?:https?|ftp)://\S{1,500}|\bwww\.\S{1,300}", " "),
        (r"<[^<>\s]{1,320}>", " "),  # addresses and message ids in angle brackets
        (r'"[^"@\n]{1,64}"@[^\s<>,;:"\']{1,255}', " "),
        (r"[^\s<>,;:()\[\]\"'`=]{1,64}@[^\s<>,;:()\[\]\"'`]{1,255}", " "),
        (r"\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\d{1,3}(?:\.\d{1,3}){3})?(?:%\w+)?", " "),  # IPv6
        (r"\bIPv6:\S{2,60}", " "),
        (r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,3})?(?![\d.])", " "),  # IPv4
        (r"\b(?:queue(?:d)?(?: as| id)?|id|session|ref(?:erence)?|ticket|trace|message-id)\s*[:=#]\s*\S{1,200}", " "),
        (r"(?<=queued as )\S{1,100}", " "),
        (r"\b(?=[a-z0-9_+/=-]{0,200}\d)(?=[a-z0-9_+/=-]{0,200}[a-z])[a-z0-9_+/=-]{8,}(?:\.[a-z0-9_+/=-]+)*", " "),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{5,}\b", " "),
        (
            rf"(?<![\w.])(?!\d)(?!{_LISTS})(?:[a-z0-9_](?:[a-z0-9_-]{{0,62}})\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})\b\.?",
            " ",
        ),  # hosts
        (r"\b\d{4,}\b", " "),  # numbers of one case; reply codes have three digits
        (r"\[\s*\]|\(\s*\)|<\s*>|''|\"\"", " "),
    )
)


def searchable(text: str) -> str:
    """The part of an error text that others were told too; "" when nothing is left.

    >>> searchable("550 5.1.1 <ann@x.example>: Recipient address rejected: User unknown (in reply to RCPT TO)")
    '550 5.1.1 Recipient address rejected: User unknown (in reply to RCPT TO)'
    """
    text = re.sub(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e]+", " ", text[:LIMIT])
    codes: list[str] = []

    def put_by(found: re.Match[str]) -> str:
        codes.append(found[0])
        return f" \x00{chr(0xE000 + min(len(codes) - 1, 99))} "

    text = re.sub(rf"(?<![\d.]){_CODE.pattern}", put_by, text)  # an enhanced code looks like a host or an address
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    for number, code in enumerate(codes[:100]):
        text = text.replace(f"\x00{chr(0xE000 + number)}", code)
    text = re.sub(r"\s+([,;:.!?)\]])", r"\1", re.sub(r"([(\[])\s+", r"\1", re.sub(r"\s+", " ", text)))
    text = re.sub(r"(?<=\d)[:;,]+(?=\s|$)|\(\)|\[\]", "", text)
    text = re.sub(r"([:;,])(?:\s*[:;,.])+", r"\1", text)
    text = _once(text)
    words = text.strip(" \t:;,-<>").split()[:WORDS]
    return " ".join(words) if any(len(re.sub(r"[\W\d_]", "", word)) > 1 for word in words) else ""


def _once(text: str) -> str:
    """The codes of a long reply, which each of its lines repeats (RFC 5321 section 4.2.1), at its beginning only."""
    first = re.match(r"\s*(\d{3})[ -] ?([245]\.\d{1,3}\.\d{1,3})\b", text)
    if first is None:
        return text
    again = re.compile(rf" {first[1]}[ -] ?{re.escape(first[2])}(?![\d.])")
    return f"{first[1]} {first[2]}" + again.sub("", text[first.end() :])
