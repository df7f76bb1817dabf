"""Protection against mail loops: how many records one sender may make, and the mark on our own notices.

Counted are records made by the sender's mails, of any kind of record, also kinds without a mail field. Replies make no
record and are never counted. At the threshold the next mail is refused with a notice; when the window has moved on, the
sender is welcome again. Each notice carries a mark in its References, and whatever answers it is dropped: two
robots that answer each other stop after one round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from ..errors import ConfigError
from ..routing.effect import PARAMETERS_PATH
from .values import LoopLimits

MINUTES = "mail.gateway.loop.minutes"
THRESHOLD = "mail.gateway.loop.threshold"
MARK = "mailops-gateway-notice"


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


def marked_id(message_id: str, domain: str) -> str:
    """A reference that carries the mark; the same for the same mail, so that it needs no randomness."""
    return f"<{MARK}.{hashlib.sha256(message_id.encode('utf-8', 'replace')).hexdigest()[:20]}@{domain}>"


def is_marked(ids: Iterable[str]) -> bool:
    """Whether one of these ids is a mark of ours."""
    return any(i.startswith(f"<{MARK}.") for i in ids)
