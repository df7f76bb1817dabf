"""Checks of received mail: aliases that are not set up completely."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState


def refused(lines: Sequence[str], *, now: datetime) -> Verdict:
    """No mail was refused for a fault of the set-up; ``lines`` are the codes of the latest decisions."""
    bad = [code for code in lines if code in ("alias_config_error", "creation_failed")]
    return Verdict(
        check="inbound.refused",
        subject="received mail",
        state=VerdictState.SKIPPED if not lines else VerdictState.WARNING if bad else VerdictState.PASSED,
        title="Mail was refused for a fault of the set-up" if bad else "No mail was refused for a fault of the set-up",
        found=f"{len(bad)} of the latest {counted(len(lines), 'mail')}",
        expected="Aliases whose records can be made, and followed where only followers may write",
        fix="Look at the reason in the log, and mend the alias: mailops alias list, mailops alias change.",
        code="inbound.refused" if bad else "",
        at=now,
    )
