"""What the ledger tells the list: hard refusals at the door, bounces, complaints.

A hard refusal suppresses at once; one in doubt (:mod:`mailops.bounces.doubt`) waits for a second. What went wrong
before RCPT TO says nothing of a recipient. A report is weighed with
everything known of its address (:mod:`.history`); one about mail that was never ours must not take anybody off our
lists: anyone can write one, so only a provider's verified word counts there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..bounces.doubt import UNCONFIRMED
from ..bounces.hardness import stored_table
from ..ledger import Fact
from ..model.address import mailbox
from ..model.reasons import is_hard, plain
from ..store import schema
from ..store.database import one_report_at_a_time
from . import store
from .decide import MODE_PARAMETER, Policy, Weighed
from .history import REFUSED_AT, Judged, judge


class SuppressionListener:
    """Enters or proposes addresses as the policy says."""

    name = "suppression"
    kinds = frozenset({"failed", "bounced", "complained", "told_again", "reported"})

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy or Policy()

    def hear(self, connection: Connection, facts: Sequence[Fact], *, now: datetime) -> Sequence[Fact]:
        """Apply a batch; the list writes its own facts."""
        refused = [fact for fact in facts if fact.kind == "failed" and _at_the_door(fact)]
        if refused:
            table = stored_table(connection)
            for fact in refused:
                data = fact.data or {}
                if data.get(UNCONFIRMED):
                    self._judge(connection, mailbox(fact.recipient or "")[:320], "reply", now)
                elif is_hard(data["reason"], data["code"] < 500, table):
                    weighed = Weighed(True, f"Hard refusal: {plain(data['reason'])}", True, data["reason"])
                    self._enter(connection, mailbox(fact.recipient or ""), Judged(weighed, True), "reply", now)
        for fact in facts:
            if fact.kind != "failed":
                self._weigh(connection, fact, now)
        return ()

    def _weigh(self, connection: Connection, fact: Fact, now: datetime) -> None:
        data = fact.data or {}
        source = str(data.get("source") or "report")
        if data.get("judged_anew") or not fact.recipient or (fact.mail_id is None and source == "report"):
            return
        complaint = "complained" in (fact.kind, data.get("kind"))
        self._judge(connection, mailbox(fact.recipient)[:320], "complaint" if complaint else source, now)

    def _judge(self, connection: Connection, spec: str, source: str, now: datetime) -> None:
        judged = judge(connection, spec, now=now, policy=self._policy)
        if judged.weighed.suppress:
            self._enter(connection, spec, judged, source, now)

    def _enter(self, connection: Connection, spec: str, judged: Judged, source: str, now: datetime) -> None:
        one_report_at_a_time(connection)
        found, present = judged.weighed, store.open_row(connection, spec, now)
        mode = connection.execute(
            sa.select(schema.parameters.c.value).where(schema.parameters.c.key == MODE_PARAMETER)
        ).scalar()
        proposed = not judged.proven or (mode or "").strip().lower() == "propose"
        if present is not None:
            if proposed or present.state != "proposed":
                return
            # what a guess proposed, a proven report makes true: else a forged report would hold the real one off
            to = {"reason": found.reason or "undefined", "why": found.why, "hard": found.hard, "source": source}
            to |= {"bounce_id": found.bounce_id, "state": "active", "since": now}
            store.change(connection, [present.id], event="suppressed", actor="mailops", now=now, **to)
            return
        values = store.values(spec, "campaigns", source, found.reason or "undefined", judged.why, now, "mailops")
        values |= {"hard": found.hard, "bounce_id": found.bounce_id, "state": "proposed" if proposed else "active"}
        store.insert(connection, values, event="suppression_proposed" if proposed else "suppressed")


def _at_the_door(fact: Fact) -> bool:
    data = fact.data or {}
    return bool(data.get("stage") in REFUSED_AT and data.get("code") and data.get("reason"))
