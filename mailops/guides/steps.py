"""How far a guide got: answers and states in the store's ``guide_answers``, one row a step.

Writes carry the version of the answers that was read: other answers since then are told, by whom and when, so two
people (or two tabs) never overwrite each other unseen. What the machine finds of a step is a mark, which makes nobody's
view stale. Secrets are kept as references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import StateConflict
from ..model.verdict import VerdictState
from ..ports import Clock
from ..store.database import explained, reading
from ..store.schema import guide_answers as t


@dataclass(frozen=True, slots=True)
class Answered:
    """One step as stored. ``version`` 0 means: nothing stored yet."""

    step: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    state: VerdictState = VerdictState.READY
    note: str = ""
    actor: str = ""
    version: int = 0
    at: datetime | None = None


class GuideAnswers:
    """The stored steps of one guide for one subject (a mailbox, a domain)."""

    def __init__(self, engine: Engine, guide: str, subject: str, clock: Clock) -> None:
        self.engine = engine
        self.guide = guide
        self.subject = subject.strip().lower()
        self.clock = clock

    def load(self) -> dict[str, Answered]:
        """All stored steps by id."""
        query = sa.select(t).where(t.c.guide == self.guide, t.c.subject == self.subject)
        with explained("reading the guide's answers"), reading(self.engine) as connection:
            return {
                r.step: Answered(r.step, r.answers, VerdictState(r.state), r.note or "", r.actor or "", r.version, r.at)
                for r in connection.execute(query)
            }

    def save(
        self,
        step: str,
        answers: Mapping[str, Any],
        state: VerdictState,
        *,
        version: int,
        note: str = "",
        actor: str = "",
    ) -> Answered:
        """Store a step that was at ``version`` when it was read; gives it as it stands now.

        The version is that of the answers: a mark (:meth:`mark`) leaves it. Raises :class:`StateConflict`
        ``guide.stale`` when other answers came meanwhile; the same ones, or none, are no conflict.
        """
        now, given = self.clock.now(), dict(answers)
        values = {"answers": given, "state": state.value, "note": note, "actor": actor, "at": now}
        present = None
        for _ in range(2):  # the second time at the version of a row that holds nothing to be lost
            if self._write(step, values, version):
                return Answered(step, given, state, note, actor, version + 1, now)
            present = self.load().get(step)
            if present is None or dict(present.answers) not in ({}, given):
                break
            version = present.version
        raise _stale(step, version, present)

    def mark(self, step: str, state: VerdictState, *, read: Answered, note: str = "", actor: str = "") -> None:
        """Mark a step as the machine found it. Its answers and their version stay, so that whoever holds the step open
        may still save it; answers that came since it was ``read`` keep their own mark."""
        values = {"state": state.value, "note": note, "actor": actor, "at": self.clock.now()}
        if read.version == 0:
            self._write(step, {**values, "answers": dict(read.answers)}, 0)
            return
        with explained("storing the guide's answer"), self.engine.begin() as connection:
            connection.execute(sa.update(t).where(*self._key(step), t.c.version == read.version).values(**values))

    def _key(self, step: str) -> tuple[sa.ColumnElement[bool], ...]:
        return t.c.guide == self.guide, t.c.subject == self.subject, t.c.step == step

    def _write(self, step: str, values: Mapping[str, Any], version: int) -> bool:
        """Write the row that stands at ``version`` (0: that is not there yet); False when it stands elsewhere."""
        with explained("storing the guide's answer"):
            try:
                with self.engine.begin() as connection:
                    if version == 0:
                        row = {"guide": self.guide, "subject": self.subject, "step": step, "version": 1}
                        connection.execute(sa.insert(t).values({**row, **values}))
                        return True
                    change = sa.update(t).where(*self._key(step), t.c.version == version)
                    return connection.execute(change.values(**values, version=version + 1)).rowcount == 1
            except sa.exc.IntegrityError:
                return False


def _stale(step: str, version: int, present: Answered | None) -> StateConflict:
    """What a person is told whose step was answered otherwise meanwhile: by whom and when, as far as it is known."""
    at = present.at.astimezone(UTC) if present and present.at else None
    who = f"by {present.actor}" if present and present.actor else "in another window, notebook or command"
    return StateConflict(
        f"This step was answered otherwise {who}{f' at {at:%Y-%m-%d %H:%M} UTC' if at else ''}; "
        "nothing was overwritten.",
        code="guide.stale",
        facts={
            "step": step,
            "read_version": version,
            "present_version": present.version if present else 0,
            "by": present.actor if present else "",
            "at": present.at.isoformat() if present and present.at else "",
        },
        fix="Compare the two, and save yours again if it is still wanted.",
    )


def last_answer(engine: Engine, guide: str, name: str) -> str | None:
    """What was answered last in this guide, for whomever; None where nobody did."""
    query = sa.select(t.c.answers).where(t.c.guide == guide).order_by(t.c.at.desc())
    with explained("reading the guide's answers"), reading(engine) as connection:
        found = (dict(row.answers or {}) for row in connection.execute(query))
        return next((str(answers[name]) for answers in found if answers.get(name)), None)


def begun_for(engine: Engine, guide: str) -> list[str]:
    """The subjects for whom this guide was begun, the latest first."""
    last = sa.func.max(t.c.at)
    query = sa.select(t.c.subject).where(t.c.guide == guide).group_by(t.c.subject).order_by(last.desc())
    with reading(engine) as connection:
        return [str(row.subject) for row in connection.execute(query)]
