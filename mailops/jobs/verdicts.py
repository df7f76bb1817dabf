"""What a run's checks said, the gate at its end, and what changed since the last run.

Checks record and never raise; the last step of a notebook is the gate. So the report is always complete, and the job
still ends with a status other than 0 when something failed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ChecksFailed
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from ..ports import Clock

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# these make the gate raise; "could not be found out" must not count as fine
FAILING = frozenset({VerdictState.FAILED, VerdictState.UNKNOWN})


class RunContext:
    """The present run (or, with an empty ``run_id``, a person's session): records verdicts and judges them.

    Without a run the verdicts of this object are judged, so that a live notebook's gate speaks of what was just done.
    """

    def __init__(self, engine: Engine, run_id: str, clock: Clock) -> None:
        self._engine = engine
        self.run_id = run_id
        self._clock = clock
        self._seen: dict[tuple[str, str], Verdict] = {}

    def record(self, verdict: Verdict) -> Verdict:
        """Store a verdict, redacted and with its time; returns it as stored."""
        from ..secrets import redact, redact_value
        from ..store.runs import record_verdict

        clean = replace(
            verdict,
            title=redact(verdict.title),
            found=redact(verdict.found),
            expected=redact(verdict.expected),
            fix=redact(verdict.fix),
            evidence=redact_value(verdict.evidence),
            at=verdict.at or self._clock.now(),
        )
        record_verdict(self._engine, self.run_id, clean)
        self._seen[clean.check, clean.subject] = clean
        return clean

    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts of this run, also those other processes recorded; a repeated check counts once, the last."""
        from ..store.runs import verdicts_of

        return verdicts_of(self._engine, self.run_id) if self.run_id else tuple(self._seen.values())

    def require_passed(self) -> None:
        """The gate: raises :class:`ChecksFailed` when a check failed or could not be made.

        In an app (voila) it does not: there is no job to fail, the cards tell it, and an error box would outlive what
        a person mends on the page.
        """
        if not self.run_id and os.environ.get("SERVER_SOFTWARE", "").startswith("voila/"):
            return
        verdicts = self.verdicts()
        failed = failing(verdicts)
        if failed:
            raise ChecksFailed(
                summary(verdicts),
                facts={"failed": [f"{v.check} {v.subject}".strip() for v in failed], "checks": len(verdicts)},
            )


def failing(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Those that make the gate raise."""
    return tuple(v for v in verdicts if v.state in FAILING)


def summary(verdicts: Sequence[Verdict]) -> str:
    """One sentence, such as ``2 of 7 checks failed: spf, dmarc``."""
    failed = failing(verdicts)
    if failed:
        names = list(dict.fromkeys(v.check for v in failed))
        named = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return f"{len(failed)} of {counted(len(verdicts), 'check')} failed: {named}"
    warned = sum(v.state is VerdictState.WARNING for v in verdicts)
    if not verdicts:
        return "Ran to the end; no checks were made."
    if all(v.state is VerdictState.SKIPPED for v in verdicts):
        return "Nothing to check here yet."
    if warned:
        return f"No check failed; {warned} of {counted(len(verdicts), 'check')} gave a warning."
    return "The check passed." if len(verdicts) == 1 else f"All {counted(len(verdicts), 'check')} passed."


def in_words(verdicts: Sequence[Verdict], most: int = 3) -> str:
    """What failed, in the titles that people read; empty where nothing did."""
    bad = failing(verdicts)
    more = f"; and {len(bad) - most} more" if len(bad) > most else ""
    return "; ".join(one.title for one in bad[:most]) + more


@dataclass(frozen=True, slots=True)
class Change:
    """A check whose state is not what it was. ``kind``: newly failing, recovered, changed, new, gone."""

    kind: str
    verdict: Verdict
    before: VerdictState | None


def changes(before: Sequence[Verdict], now: Sequence[Verdict]) -> tuple[Change, ...]:
    """What changed between two runs, worst first."""
    old = {(v.check, v.subject): v for v in before}
    found = []
    for verdict in now:
        was = old.pop((verdict.check, verdict.subject), None)
        if was is None:
            found.append(Change("new", verdict, None))
        elif was.state is not verdict.state:
            failed, failed_before = verdict.state in FAILING, was.state in FAILING
            kind = (
                "newly failing"
                if failed and not failed_before
                else "recovered"
                if failed_before and not failed
                else "changed"
            )
            found.append(Change(kind, verdict, was.state))
    found += [Change("gone", was, was.state) for was in old.values()]
    order = ("newly failing", "recovered", "changed", "new", "gone")
    return tuple(sorted(found, key=lambda change: order.index(change.kind)))
