"""Signed tags in the return path: ``bounce+123-062…@acme.example`` says which mail came back, to whom it went, and that
we sent it.

Anybody can write a report, and the number of a mail is easily guessed. A tag that only the holder of the key can make
proves that the report's writer has seen the return path of that very mail, as bounce address tag validation does
(draft-levine-smtp-batv). Where a transaction has one recipient, its tag names that recipient (a word of 30 bits), so
that no other recipient of the mail can speak of it. The day it was made is in it, and it lives 14 more: senders give up
after 4 to 5 days (RFC 5321 §4.5.4.1), and each attempt has a tag of its own.

``123-`` mail, ``062`` day modulo 1,000, ``abcdef`` the recipient's word (or nothing), and the mac: HMAC-SHA256 (RFC
2104) over bounce address and all of it, cut to 80 bits, in base32, since mail systems change the case of local parts.
Tags of before had neither day nor word; they are read, and live by the date of their mail.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

LOCAL_LIMIT = 64  # octets, RFC 5321 §4.5.3.1.1
MAC_BYTES = 10
LIFE = timedelta(days=14)
DAYS = 1000
KEY_PARAMETER = "mailops.bounce.tag_key"
FORMER_PARAMETER = "mailops.bounce.former_tag_keys"
_SIGNED = re.compile(r"(\d{1,18})-(?:(\d{3})([a-z2-7]{6})?)?([a-z2-7]{16})\Z")
_EPOCH = 719_163  # datetime.toordinal of 1970-01-01


@dataclass(frozen=True, slots=True)
class Proof:
    """What a tag of ours proves: the mail, and the word of its recipient (None: any of that mail's)."""

    mail_id: int
    word: str | None = None


def sign(address: str, mail_id: int, key: bytes, *, at: datetime, recipient: str | None = None) -> str:
    """The bounce address with a signed tag of this day; the address itself where the tag would make it too long.

    >>> from datetime import UTC
    >>> sign("bounce@acme.example", 7, b"key", at=datetime(2026, 3, 30, tzinfo=UTC))
    'bounce+7-542zmx5cbze74zhin7h@acme.example'
    >>> sign("bounce@acme.example", 7, b"key", at=datetime(2026, 3, 30, tzinfo=UTC), recipient="bob@x.example")
    'bounce+7-542paznsmdwnq4kldcvcatppm@acme.example'
    """
    local, _, domain = address.rpartition("@")
    said = f"{_day(at):03d}{word_of(recipient) if recipient else ''}"
    tagged = f"{local}+{mail_id}-{said}{_mac(address, mail_id, said, key)}"
    return f"{tagged}@{domain}" if len(tagged.encode()) <= LOCAL_LIMIT else address


def read(address: str, tag: str, key: bytes, *, now: datetime | None = None) -> Proof | None:
    """What this tag of the bounce address proves, if we signed it and (with ``now``) its life is not over."""
    found = _SIGNED.match(tag.lower())
    if found is None:
        return None
    mail_id, day, word, mac = int(found[1]), found[2], found[3], found[4]
    if not hmac.compare_digest(mac, _mac(address, mail_id, (day or "") + (word or ""), key)):
        return None
    if day and now is not None and (_day(now) - int(day)) % DAYS > LIFE.days:
        return None
    return Proof(mail_id, word)


def word_of(recipient: str) -> str:
    """The word of a recipient in a tag: 30 bits, whatever the case of the address."""
    return base64.b32encode(sha256(recipient.lower().encode("utf-8", "replace")).digest()[:5]).decode().lower()[:6]


def is_signed(envelope_from: str | None) -> bool:
    """Whether an envelope sender has the form of a signed tag."""
    local = (envelope_from or "").rpartition("@")[0]
    return _SIGNED.match(local.partition("+")[2].lower()) is not None


def _day(at: datetime) -> int:
    return (at.toordinal() - _EPOCH) % DAYS


def _mac(address: str, mail_id: int, said: str, key: bytes) -> str:
    text = f"mailops return path\n{address.lower()}\n{mail_id}" + (f"\n{said}" if said else "")
    digest = hmac.new(key, text.encode(), sha256).digest()
    return base64.b32encode(digest[:MAC_BYTES]).decode().lower()
