"""Hard or soft as this organisation judges it: the parameter ``mailops.bounce.hardness``, such as ``suspend=hard``.

The reader itself knows the default table alone (:data:`.reasons.HARD`). What it says is judged anew here, when a
report, an event of a provider or a refusal at the door is taken in, and when stored reports are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import ConfigError
from ..model.reasons import HARD, Hardness, hard_table, is_hard
from ..store import schema

if TYPE_CHECKING:
    from .reading.report import RecipientResult, Report

PARAMETER = "mailops.bounce.hardness"
_WORDS: dict[str, Hardness] = {"hard": "hard", "soft": "soft"}


def read_table(text: str | None) -> Mapping[str, Hardness]:
    """The table that a value of the parameter gives: ``reason=hard`` or ``reason=soft``, separated by commas or blanks.

    Raises :class:`mailops.errors.ConfigError` for an unknown reason (``config.bounce_reason``) or word.

    >>> read_table("suspend=hard, hasmoved=soft")["suspend"]
    'hard'
    """
    changes: dict[str, Hardness] = {}
    for item in (text or "").replace(",", " ").split():
        reason, _, word = item.partition("=")
        if word not in _WORDS:
            raise ConfigError(
                f"{item!r} says neither hard nor soft.",
                code="config.bounce_hardness",
                facts={"value": text},
                fix="Write reason=hard or reason=soft, such as: suspend=hard, hasmoved=soft",
            )
        changes[reason] = _WORDS[word]
    return hard_table(**changes) if changes else HARD


def stored_table(connection: Connection) -> Mapping[str, Hardness]:
    """The table of a workspace."""
    p = schema.parameters
    return read_table(connection.execute(sa.select(p.c.value).where(p.c.key == PARAMETER)).scalar())


def rejudge(report: Report, table: Mapping[str, Hardness]) -> Report:
    """The report with hard and soft by this table, where it differs from the default."""
    if table is HARD or not any(_differs(result, table) for result in report.results):
        return report
    return replace(report, results=tuple(_judged(result, table) for result in report.results))


def _differs(result: RecipientResult, table: Mapping[str, Hardness]) -> bool:
    return table[result.reason] != HARD[result.reason] if result.reason in HARD else False


def _judged(result: RecipientResult, table: Mapping[str, Hardness]) -> RecipientResult:
    if not _differs(result, table):
        return result
    tried_still = (result.status or "").startswith("4") or result.action == "delayed"
    return replace(result, hard=is_hard(result.reason, tried_still, table), unconfirmed=False)
