"""Received mail as a person works with it: what became of each, what a report has changed, and the aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..inbound.shelf import Shelved
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
ENTRIES = (
    Column("at", "Received (UTC)"),
    Column("author", "From"),
    Column("subject", "Subject", kind="long"),
    Column("record", "Record"),
    Column("rule", "Rule"),
    Column("words", "Why here", kind="long"),
)
METHODS = (
    Column("what", "What"),
    Column("state", "State"),
    Column("words", "Why", kind="long"),
)
INTAKE = (
    Column("account", "Account"),
    Column("folder", "Folder"),
    *(Column(name, name.capitalize()) for name in ("seen", "doubled", "unreadable", "delivered", "refused")),
    *(Column(name, name.capitalize()) for name in ("shelved", "skipped", "waiting", "gap")),
    Column("missing", "Missing UIDs", kind="long"),
)
SHELF = (
    Column("at", "Received (UTC)"),
    Column("account", "Account"),
    Column("sender", "From"),
    Column("subject", "Subject"),
    Column("reason", "Why it is here", kind="long"),
)
AUTOMATIC = (("makes records too", True), ("makes no records", False))


class InboundView:
    """The parts of the notebook *inbound*, for one workspace."""

    def __init__(self, ops: Ops, *, decision: str = "", limit: int = 25) -> None:
        self.received = ReceivedCard(ops, decision, limit)
        self.aliases = AliasesCard(ops, limit)
        self.intake = IntakeCard(ops, limit)
        self.shelf = ShelfCard(ops, limit)
        self.entries = EntriesCard(ops, limit)
        self.methods = MethodsCard(ops, limit)


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


class IntakeCard(TableCard):
    """The sums by account and folder: every mail that was seen is accounted for, or named as missing."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(INTAKE, self._page, caption="Intake", empty="Nothing was taken in yet.", limit=limit)
        fetch = Action("Fetch Now", self._fetch)
        self.actions = Actions([fetch], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.intake.ledger()
        missing = {(gap.account, gap.folder, gap.uidvalidity): ", ".join(gap.uids[:20]) for gap in found.gaps}
        rows = [
            {
                **one.as_dict(),
                "id": f"{one.account} {one.folder} {one.uidvalidity}",
                "label": one.account,
                "folder": one.folder or "-",
                "missing": missing.get((one.account, one.folder, one.uidvalidity), ""),
            }
            for one in found.sums
        ]
        return Rows(rows[offset : offset + limit], len(rows))

    def _fetch(self) -> Preview:
        confirmed = [one.key for one in self.ops.mailboxes.list() if one.state == "confirmed"]
        if not confirmed:
            return Preview("No mailbox is confirmed: mailops inbound account add, then mailops inbound account test.")

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.fetch()
            broken = "; ".join(error.message for error in done.errors)
            return f"{done.counts.seen} seen, {done.counts.decided} decided. {broken}".strip()

        return Preview(f"Fetch from {len(confirmed)} mailboxes.", tuple(confirmed[:10]), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


class ShelfCard(TableCard):
    """Mail that mailops could not process; what is ticked (or all) is tried again, after a preview by this version."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            SHELF, self._page, caption="Shelf", empty="Nothing lies on the shelf.", limit=limit, selectable=True
        )
        self.actions = Actions([Action("Try Again", self._retry)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.shelf.mails()
        return Rows([_shelf_row(one) for one in found[offset : offset + limit]], len(found))

    def _retry(self) -> Preview:
        ids = [one.id for one in self.ops.shelf.mails() if not self.table.selected or one.id in self.table.selected]
        if not ids:
            return Preview("Nothing lies on the shelf.")

        def run(say: Callable[[str], None]) -> str:
            done = self.ops.shelf.retry(ids)
            self.table.clear_selection()
            return done.words

        seen = self.ops.shelf.preview(ids)
        reasons = tuple(f"{one.id}: {one.reason}" for one in seen.mails if one.reason)
        return Preview(seen.words, reasons[:10], run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


class EntriesCard(TableCard):
    """What came by mail, with the record it is on and the rule that brought it there; what is ticked is moved."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            ENTRIES, self._page, caption="Where it is, and why", empty="No mail has made or changed a record.",
            limit=limit, selectable=True,
        )  # fmt: skip
        self.actions = Actions([Action("Move", self._move)], on_done=self.refresh)
        self._to = field("To record", "")
        self._new = choice("Else a new", [(model.label, model.name) for model in ops.threads.models])

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found, total = self.ops.desk.latest(offset=offset, limit=limit)
        rows = [
            {
                "id": entry.id,
                "label": f"entry {entry.id}",
                "at": f"{entry.created_at:%Y-%m-%d %H:%M}",
                "author": entry.author_email or "(nobody)",
                "subject": entry.subject or "",
                "record": entry.record_id,
                "rule": why.rule,
                "words": why.words,
            }
            for entry, why in found
        ]
        return Rows(rows, total)

    def _move(self) -> Preview:
        ticked = sorted(self.table.selected)
        to = self._to.value.strip()
        if not ticked:
            return Preview("Tick the entries that belong elsewhere.")
        if to and not to.isdecimal():
            return Preview("Write the number of a record, or leave it empty for a new one.")
        where = f"record {to}" if to else f"a new {self._new.value} each"

        def run(say: Callable[[str], None]) -> str:
            for entry in ticked:
                if to:
                    self.ops.desk.move(int(entry), to=int(to))
                else:
                    self.ops.desk.move(int(entry), new=self._new.value)
            self.table.clear_selection()
            return f"{len(ticked)} moved to {where}; answers follow."

        return Preview(f"Move {len(ticked)} to {where}.", tuple(f"entry {one}" for one in ticked[:10]), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.table.widget, row(self._to, self._new), self.actions.widget])


class MethodsCard(TableCard):
    """The ways into the database, with what speaks for and against each here, and what is wrong."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(METHODS, self._page, caption="How mail comes in", empty="There is no method.", limit=limit)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.receiving(dns=False)
        rows = [
            {
                "id": one.name, "label": one.name, "what": one.name, "state": "recommended" if one.recommended else "",
                "words": f"{one.why} For it: {', '.join(one.pros)}. Against it: {', '.join(one.cons)}.",
            }
            for one in found.methods
        ]  # fmt: skip
        rows += [
            {
                "id": one.source,
                "label": one.source,
                "what": one.source,
                "state": "redirect",
                "words": f"to {one.target}",
            }
            for one in found.redirections
        ]
        rows += [
            {
                "id": f"{one.code} {number}", "label": one.code, "what": one.code, "state": one.severity.value,
                "words": f"{one.message} {one.fix}",
            }
            for number, one in enumerate(found.findings)
        ]  # fmt: skip
        return Rows(rows[offset : offset + limit], len(rows))

    def build(self) -> ipywidgets.Widget:
        return self.table.widget


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


def _shelf_row(one: Shelved) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": f"mail {one.id}",
        "at": f"{one.seen_at:%Y-%m-%d %H:%M}",
        "account": one.account,
        "sender": one.sender or "(nobody)",
        "subject": one.subject,
        "reason": one.reason,
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
