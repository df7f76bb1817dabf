"""How far a guide got: answers and states in the store's ``guide_answers``, one row a step.

Writes carry the version that was read: a write from a stale view is refused and says who wrote meanwhile, so two people
(or two tabs) never overwrite each other unseen. Secrets are kept as references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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

        Raises :class:`StateConflict` ``guide.stale`` when somebody else wrote it meanwhile.
        """
        now = self.clock.now()
        values = {"answers": dict(answers), "state": state.value, "note": note, "actor": actor, "at": now}
        key = (t.c.guide == self.guide, t.c.subject == self.subject, t.c.step == step)
        with explained("storing the guide's answer"):
            try:
                with self.engine.begin() as connection:
                    if version == 0:
                        row = {"guide": self.guide, "subject": self.subject, "step": step, "version": 1}
                        connection.execute(sa.insert(t).values({**row, **values}))
                        return Answered(step, dict(answers), state, note, actor, 1, now)
                    change = sa.update(t).where(*key, t.c.version == version).values(**values, version=version + 1)
                    if connection.execute(change).rowcount == 1:
                        return Answered(step, dict(answers), state, note, actor, version + 1, now)
            except sa.exc.IntegrityError:
                pass
        present = self.load().get(step)
        raise StateConflict(
            "Somebody else has changed this step meanwhile; nothing was overwritten.",
            code="guide.stale",
            facts={
                "step": step,
                "read_version": version,
                "present_version": present.version if present else 0,
                "by": present.actor if present else "",
                "at": present.at.isoformat() if present and present.at else "",
            },
            fix="Reload the guide, look at the step, and enter your change again if it is still wanted.",
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
