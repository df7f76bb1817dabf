"""Protection against mail loops: how many records one sender may make, and the mark on our own notices.

Counted are records made by the sender's mails, of any kind of record, also kinds without a mail field. Replies make no
record and are never counted. At the threshold the next mail is refused with a notice; when the window has moved on, the
sender is welcome again. Each notice carries a mark in its References, and whatever answers it is dropped: two
robots that answer each other stop after one round.

Robots that keep neither the mark nor their own address are told by what they write: mails alike but for numbers
and of one domain (:func:`likeness`) make no more records than one sender does, and are answered as often again; and
one record takes no more automatic mail than that. Who is on the list ``mail.gateway.allowed`` (addresses and @domains)
is never blocked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from ..routing.effect import PARAMETERS_PATH
from .values import InboundMail, LoopLimits

MINUTES = "mail.gateway.loop.minutes"
THRESHOLD = "mail.gateway.loop.threshold"
ALLOWED = "mail.gateway.allowed"
MARK = "mailops-gateway-notice"
_VARIES = re.compile(r"[\d\s]+")
_DIGITS = str.maketrans("0123456789", " " * 10)


def limits(parameters: Mapping[str, str]) -> LoopLimits:
    """The limits in force: parameters, else 20 records in 120 minutes. Raises :class:`ConfigError` for a bad value."""
    default = LoopLimits()
    return LoopLimits(
        check_limit(MINUTES, parameters.get(MINUTES), default.minutes),
        check_limit(THRESHOLD, parameters.get(THRESHOLD), default.threshold),
    )


def check_limit(key: str, value: str | int | None, default: int) -> int:
    """A limit as a whole number above 0; None or empty = the default."""
    if value is None or str(value).strip() == "":
        return default
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and int(text[:10]) > 0 and len(text) <= 9):
        raise ConfigError(
            f"{key} must be a whole number above 0.",
            code="config.bad_parameter",
            facts={"key": key, "value": text[:100]},
            fix="Use for example 120 minutes, or 20 mails; remove the parameter for the default (in Odoo: "
            f"{PARAMETERS_PATH}).",
        )
    return int(text)


def likeness(mail: InboundMail) -> str:
    """What two mails of one domain have in common that differ in numbers, case and spaces only; 16 hexadecimal
    digits."""
    domain = mail.sender_address.rpartition("@")[2]
    text = f"\n{mail.subject}\n{mail.text[:4_000]}".lower()
    flat = domain + (" ".join(text.translate(_DIGITS).split()) if text.isascii() else _VARIES.sub(" ", text).strip())
    return hashlib.sha256(flat.encode("utf-8", "replace")).hexdigest()[:16]


def allowed(text: str | None) -> frozenset[str]:
    """Addresses and ``@domains`` of ``mail.gateway.allowed``, in lower case."""
    return frozenset(part for one in (text or "").split(",") if (part := one.strip().lower()))


def clean_allowed(value: str) -> str:
    """The allow-list as it is stored. Raises :class:`ConfigError` for what is neither an address nor an ``@domain``."""
    for part in sorted(allowed(value)) or [""]:
        if not re.fullmatch(r"[^@\s,<>]*@[^@\s,<>]+", part):
            raise ConfigError(
                f"{part!r} is neither an address nor a domain.",
                code="config.bad_parameter",
                facts={"key": ALLOWED, "value": value[:200]},
                fix="Name addresses and @domains separated by commas, such as shop@a.example,@b.example, or remove it.",
            )
    return ",".join(sorted(allowed(value)))


def marked_id(message_id: str, domain: str) -> str:
    """A reference that carries the mark; the same for the same mail, so that it needs no randomness."""
    return f"<{MARK}.{hashlib.sha256(message_id.encode('utf-8', 'replace')).hexdigest()[:20]}@{domain}>"


def is_marked(ids: Iterable[str]) -> bool:
    """Whether one of these ids is a mark of ours."""
    return any(i.startswith(f"<{MARK}.") for i in ids)
