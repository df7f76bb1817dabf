"""What mail waits for: the queue job, and holds on recipient domains.

The forms of the notebook *queue* call what ``mailops queue trigger``, ``hold`` and ``unhold`` call.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ..checks.services import attended
from ..queue.submit import parse_when
from .domain_view import Prose
from .faces import Card
from .form import Form
from .panel import Panel
from .setup_view import Sheet, number

if TYPE_CHECKING:
    from ..ops import Ops

Values = dict[str, str]
HOURS = 1
_HOLD = [("domain", "Recipient domain", ""), ("hours", "Hours (1)", ""), ("why", "Why", "")]


def waits_panel(ops: Ops) -> Panel:
    """When the queue job runs next, and a form that lets it run earlier; the held domains, with forms for both ends."""

    def sheet() -> Sheet:
        lead = "Mail to these domains waits, nothing else behind it; mailops queue hold."
        header = ["Domain", "Until (UTC)", "Why", "Who"]
        rows = [[one.domain, f"{one.until:%Y-%m-%d %H:%M}", one.why, one.actor or ""] for one in ops.queue.holds()]
        return Sheet("Held domains", lead, header, lambda: [list(row) for row in rows])

    def job() -> Prose:
        at = ops.queue.next_job
        held = "" if attended(ops.workspace.path, ops.clock.now()) else ", once mailops serve runs; nothing does now"
        return Prose(f"Mass mail and what was retried leave with the queue job at {at:%Y-%m-%d %H:%M:%S} UTC{held}.")

    def run(values: Values) -> Card:
        ops.queue.trigger(parse_when(values["at"]) if values["at"] else None)
        return job()

    def hold(values: Values) -> Card:
        span = timedelta(hours=number(values["hours"]) if values["hours"] else HOURS)
        made = ops.queue.hold(values["domain"], span, why=values["why"], actor="notebook")
        return Panel(Prose(f"Mail to {made.domain} waits until {made.until:%Y-%m-%d %H:%M} UTC."), sheet())

    def end(values: Values) -> Card:
        ops.queue.end_hold(values["domain"])
        return Panel(Prose(f"Mail to {values['domain']} leaves again."), sheet())

    return Panel(
        job(),
        Form([("at", "At (2026-01-31T14:30+01:00; empty: now)", "")], run, button="Run", title="The job, once more"),
        sheet(),
        Form(_HOLD, hold, button="Hold", title="Hold mail to a domain"),
        Form([("domain", "Recipient domain", "")], end, button="End", title="End a hold"),
    )
