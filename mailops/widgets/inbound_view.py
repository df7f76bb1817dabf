"""Received mail as a person works with it: what became of each, what a report has changed, and the aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..inbound.values import Kind, LogLine
from ..model.alias import Alias, Policy
from .actions import Action, Actions, Preview
from .controls import choice, field, narrow, row
from .table import Column, Rows, Table, TableCard

if TYPE_CHECKING:
    from ..ops import Ops

LOG = (
    Column("at", "Received (UTC)"),
    Column("sender", "From"),
    Column("decision", "Decision"),
    Column("report", "Report"),
    Column("why", "Why, or what a report changed", kind="long"),
    Column("answer", "Answer", kind="long"),
)
ALIASES = (
    Column("address", "Alias"),
    Column("model", "Makes"),
    Column("policy", "Takes mail from"),
    Column("automatic", "Automatic mail"),
    Column("domain", "Reached at"),
)
AUTOMATIC = (("makes records too", True), ("makes no records", False))


class InboundView:
    """The parts of the notebook *inbound*, for one workspace."""

    def __init__(self, ops: Ops, *, decision: str = "", limit: int = 25) -> None:
        self.received = ReceivedCard(ops, decision, limit)
        self.aliases = AliasesCard(ops, limit)


class ReceivedCard(TableCard):
    """The gateway's log, newest first: the decision with its reason; of a report its kind and consequence."""

    def __init__(self, ops: Ops, decision: str, limit: int) -> None:
        self.ops, self.decision = ops, decision
        self.table = Table(
            LOG, self._page, caption="Received mail, newest first", empty="No mail has come in.", limit=limit
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        lines, total = self.ops.inbound.log(decision=self.decision or None, offset=offset, limit=limit)
        return Rows([_log_row(line) for line in lines], total)

    def _narrow(self, decision: str) -> None:
        self.decision = decision
        self.table.reload(first=True)

    def build(self) -> ipywidgets.Widget:
        decisions = [("any", ""), *((kind.value.replace("_", " "), kind.value) for kind in Kind)]
        return ipywidgets.VBox([narrow(self._narrow, {}, {"Decision": decisions}), self.table.widget])


class AliasesCard(TableCard):
    """The aliases; who is ticked may be told to make no records from automatic mail, and a new one is added below."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            ALIASES, self._page, caption="Aliases", empty="There is no alias.", limit=limit, selectable=True
        )
        self.actions = Actions(
            [
                Action("No Records from Automatic Mail", lambda: self._automatic(False)),
                Action("Records from Automatic Mail", lambda: self._automatic(True)),
            ],
            on_done=self.refresh,
        )
        self.by_hand = Actions([Action("Add Alias", self._add)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.aliases
        return Rows([_alias_row(alias) for alias in found[offset : offset + limit]], len(found))

    def _automatic(self, wanted: bool) -> Preview:
        ticked = [a for a in self.ops.aliases if a.key in self.table.selected and a.automatic is not wanted]
        if not ticked:
            return Preview(f"Tick aliases for which automatic mail {_word(not wanted)}.")
        names = tuple(alias.address or alias.local for alias in ticked)

        def run(say: Callable[[str], None]) -> str:
            for name in names:
                self.ops.change_alias(name, automatic=wanted)
            self.table.clear_selection()
            return f"{', '.join(names)}: automatic mail {_word(wanted)}."

        return Preview(f"Automatic mail to {len(names)} of the aliases {_word(wanted)}.", names[:10], run)

    def _add(self) -> Preview:
        local, model, policy, automatic = (
            box.value for box in (self._local, self._model, self._policy, self._automatically)
        )
        if not local.strip():
            return Preview("Write the name before the @.")

        def run(say: Callable[[str], None]) -> str:
            made = self.ops.save_alias(local, model, policy=policy, automatic=automatic)
            self._local.value = ""
            return f"{made.address or made.local} makes records of kind {made.model}."

        words = f"An alias {local.strip()!r} that makes records of kind {model} for mail from {policy}."
        return Preview(words, (f"Automatic mail {_word(automatic)}.",), run)

    def build(self) -> ipywidgets.Widget:
        self._local = field("Alias", "info")
        self._model = choice("Makes", [(model.label, model.name) for model in self.ops.threads.models])
        self._policy = choice("From", [(policy.value, policy.value) for policy in Policy])
        self._automatically = choice("Automatic", AUTOMATIC)  # type: ignore[arg-type]  # True and False are values
        entry = row(self._local, self._model, self._policy, self._automatically)
        return ipywidgets.VBox([self.actions.widget, self.table.widget, entry, self.by_hand.widget])


def _word(automatic: bool) -> str:
    return next(word for word, value in AUTOMATIC if value is automatic)


def _log_row(line: LogLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "label": f"mail {line.id}",
        "at": f"{line.at:%Y-%m-%d %H:%M}",
        "sender": line.sender or "(nobody)",
        "decision": line.decision.replace("_", " "),
        "report": ", ".join(dict.fromkeys(block.kind for block in line.blocks)),
        "why": line.consequence or line.reason,
        "answer": line.answer or "",
    }


def _alias_row(alias: Alias) -> dict[str, Any]:
    return {
        "id": alias.key,
        "label": alias.address or alias.local,
        "address": alias.address or alias.local,
        "model": alias.model,
        "policy": alias.policy.value,
        "automatic": _word(alias.automatic),
        "domain": "any domain" if alias.any_domain else "its own",
    }
