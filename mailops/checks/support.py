"""Checks of what is a matter for support."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState

if TYPE_CHECKING:
    from ..support.service import Suggestion


def unexplained(suggested: Sequence[Suggestion], *, now: datetime) -> Verdict:
    """Nothing fails again and again without a reason (:meth:`mailops.support.Support.suggested`)."""
    first = suggested[0] if suggested else None
    return Verdict(
        check="support.unexplained",
        subject="unexplained failures",
        state=VerdictState.WARNING if first else VerdictState.PASSED,
        title=f"{counted(len(suggested), 'address or domain', 'addresses or domains')} a matter for support"
        if first
        else "Nothing fails again and again without a reason",
        found="; ".join(one.says for one in suggested[:5]) or "no three unexplained failures of one in seven days",
        expected="A reason for each failure that comes again.",
        fix=f"Make the bundle and ask support: {first.command}" if first else "",
        code="support.unexplained" if first else "",
        evidence={"suggested": [{"name": one.name, "count": one.count, "mail": one.mail} for one in suggested[:20]]},
        at=now,
    )
