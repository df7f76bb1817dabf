"""Signed tags in the return path: ``bounce+123-mac@acme.example`` says which mail came back, and that we sent it.

Anybody can write a report, and the number of a mail is easily guessed. A tag that only the holder of the key can make
proves that the report's writer has seen the return path of that very mail, as bounce address tag validation does
(draft-levine-smtp-batv). The mac is HMAC-SHA256 (RFC 2104) over bounce address and mail number, cut to 80 bits, in
base32, since mail systems change the case of local parts.
"""

from __future__ import annotations

import base64
import hmac
import re
from hashlib import sha256

LOCAL_LIMIT = 64  # octets, RFC 5321 §4.5.3.1.1
MAC_BYTES = 10
KEY_PARAMETER = "mailops.bounce.tag_key"
FORMER_PARAMETER = "mailops.bounce.former_tag_keys"
_SIGNED = re.compile(r"(\d{1,18})-([a-z2-7]{16})\Z")


def sign(address: str, mail_id: int, key: bytes) -> str:
    """The bounce address with the mail's signed tag; the address itself where the tag would make it too long.

    >>> sign("bounce@acme.example", 7, b"key")
    'bounce+7-kfk23laopryxvdfc@acme.example'
    """
    local, _, domain = address.rpartition("@")
    tagged = f"{local}+{mail_id}-{_mac(address, mail_id, key)}"
    return f"{tagged}@{domain}" if len(tagged.encode()) <= LOCAL_LIMIT else address


def read(address: str, tag: str, key: bytes) -> int | None:
    """The mail's number, if this tag of the bounce address is one that we signed."""
    found = _SIGNED.match(tag.lower())
    if found is None:
        return None
    mail_id = int(found[1])
    return mail_id if hmac.compare_digest(found[2], _mac(address, mail_id, key)) else None


def is_signed(envelope_from: str | None) -> bool:
    """Whether an envelope sender has the form of a signed tag."""
    local = (envelope_from or "").rpartition("@")[0]
    return _SIGNED.match(local.partition("+")[2].lower()) is not None


def _mac(address: str, mail_id: int, key: bytes) -> str:
    digest = hmac.new(key, f"mailops return path\n{address.lower()}\n{mail_id}".encode(), sha256).digest()
    return base64.b32encode(digest[:MAC_BYTES]).decode().lower()
