"""Notebooks as jobs: what is scheduled and how it ended, and the button by which any notebook becomes a nightly job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..jobs.catalogue import describe, find
from ..page.theme import box, heading, html_table, paragraph
from .actions import Action, Actions, Outcome, Preview
from .faces import Card
from .table import Column, Rows, Table, TableCard, state_cell

if TYPE_CHECKING:
    from ..jobs.schedule import Job
    from ..ops import Ops

NIGHT = "30 2 * * *"
_STATES = {"passed": "passed", "failed": "failed", "error": "failed", "running": "checking"}
_COLUMNS = (
    Column("job", "Job"),
    Column("notebook", "Notebook"),
    Column("when", "When"),
    Column("next", "Next (UTC)"),
    Column("last", "Last", kind="state"),
    Column("ended", "Ended (UTC)"),
    Column("told", "People were told"),
)


class JobsView(TableCard):
    """The scheduled notebooks with *Run Now* and *Remove*."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.table = Table(
            _COLUMNS,
            self._page,
            caption="Scheduled notebooks",
            empty="Nothing is scheduled. Open a notebook and press Make this a nightly job, or: mailops jobs add.",
            selectable=True,
        )
        actions = [Action("Run Now", self._asking(self._run)), Action("Remove", self._asking(self._remove))]
        self.actions = Actions(actions, on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        jobs, standings = self.ops.jobs.all(), self.ops.jobs.alerts.standings()
        rows = []
        for number, job in enumerate(jobs[offset : offset + limit], start=offset + 1):
            last = next(iter(self.ops.jobs.history(job.name, 1)), None)
            soon, told = self.ops.jobs.next_times(job.name, 1), standings.get(job.name)
            rows.append(
                {
                    "id": number,
                    "label": job.name,
                    "job": job.name,
                    "notebook": job.notebook,
                    "when": job.when,
                    "next": f"{soon[0]:%Y-%m-%d %H:%M}" if soon else "",
                    "last": state_cell(_STATES[last.status], last.status) if last else state_cell("skipped", "never"),
                    "ended": f"{last.finished_at:%Y-%m-%d %H:%M}" if last and last.finished_at else "",
                    "told": f"fails, {told.told:%Y-%m-%d %H:%M}" if told and told.failing and told.told else "",
                }
            )
        return Rows(rows, len(jobs))

    def _asking(self, act: Callable[[list[str]], Preview]) -> Callable[[], Preview]:
        def preview() -> Preview:
            jobs = self.ops.jobs.all()
            chosen = [jobs[number - 1].name for number in self.table.selected if number <= len(jobs)]
            return act(chosen) if chosen else Preview("Tick jobs first.")

        return preview

    def _run(self, names: list[str]) -> Preview:
        def run(say: Callable[[str], None]) -> str | Outcome:
            ended = []
            for name in names:
                say(f"{name} is running …")
                ended.append((name, self.ops.jobs.run(name).status))
            bad = any(status != "passed" for _, status in ended)
            told = ", ".join(f"{name}: {status}" for name, status in ended)
            return Outcome(f"{told}.", "warn" if bad else "good")

        return Preview(f"{len(names)} run now, one after the other.", tuple(names), run)

    def _remove(self, names: list[str]) -> Preview:
        def run(_say: Callable[[str], None]) -> str:
            for name in names:
                self.ops.jobs.remove(name)
            self.table.clear_selection()
            return f"{', '.join(names)}: scheduled no more; their runs stay."

        return Preview(f"{len(names)} are scheduled no more; their runs stay.", tuple(names), run)

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.actions.widget, self.table.widget])


class AlertsCard(Card):
    """By which roads people hear of a job that fails, and a test of them."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.actions = Actions([Action("Send a Test", self._test)])

    def _lines(self) -> list[str]:
        roads = self.ops.workspace.settings.alerts
        named = [f"mail to {', '.join(roads.mail)}"] if roads.mail else []
        named += [f"webhook {roads.webhook}"] if roads.webhook else []
        named += [f"file {roads.file or 'alerts.jsonl'}"]
        lines = [f"Alerts go by: {'; '.join(named)}."]
        if roads.quiet:
            zone = self.ops.workspace.settings.profile.zone
            lines.append(f"Quiet hours: {roads.quiet} ({zone}){', now' if self.ops.jobs.alerts.quiet else ''}.")
        return [*lines, "They are set up in mailops.toml, under [alerts]."]

    def _test(self) -> Preview:
        def run(_say: Callable[[str], None]) -> Outcome:
            roads = self.ops.jobs.alerts.test().roads
            told = "; ".join(f"{road}: {why or 'arrived'}" for road, why in roads.items())
            return Outcome(f"{told}.", "warn" if any(roads.values()) else "good")

        return Preview("A test goes by every road.", tuple(self._lines()), run)

    def html(self) -> str:
        return heading("Alerts", 3) + "".join(paragraph(line) for line in self._lines())

    def text(self) -> str:
        return "\n".join(self._lines())

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([ipywidgets.HTML(self.html()), self.actions.widget])


class NightlyCard(Card):
    """*Make this a nightly job*: schedules the notebook with the parameters it has now. ``names`` is where they stand:
    the notebook's ``globals()``."""

    def __init__(self, ops: Ops, notebook: str, names: Mapping[str, Any]) -> None:
        self.ops, self.notebook = ops, notebook
        own = {one.name: one.default for one in describe(find(notebook)).parameters if one.name != "workspace"}
        self.parameters = {name: names[name] for name, was in own.items() if name in names and names[name] != was}
        self.actions = Actions([Action("Make this a nightly job", self._preview)], on_done=self._refresh)

    def _there(self) -> list[Job]:
        return [job for job in self.ops.jobs.all() if job.notebook == self.notebook]

    def _said(self) -> str:
        there = self._there()
        if there:
            return "It runs as a job: " + "; ".join(f"{job.name}, {job.when}" for job in there) + "."
        given = "".join(f" -p {name}={value}" for name, value in self.parameters.items())
        return f'As a job: mailops jobs add {self.notebook} --cron "{NIGHT}"{given}'

    def _preview(self) -> Preview:
        zone = self.ops.workspace.settings.profile.zone
        same = next((job for job in self._there() if job.name == self.notebook), None)
        given = tuple(f"{name} = {value!r}" for name, value in self.parameters.items())

        def run(_say: Callable[[str], None]) -> str:
            job = self.ops.jobs.add(self.notebook, cron=NIGHT, name=self.notebook, parameters=self.parameters)
            return f"Job {job.name} runs {job.when}; the notebook jobs shows how it ends."

        words = f"It runs each night at 02:30 ({zone})" + (
            f", in place of the job {same.name}: {same.when}" if same else ""
        )
        return Preview(f"{words}.", given, run)

    def _refresh(self) -> None:
        self._shown.value = self._html()

    def _html(self) -> str:
        return box(paragraph(self._said()), role="status")

    def html(self) -> str:
        return self._html()

    def text(self) -> str:
        return self._said()

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.HTML(self._html())
        return ipywidgets.VBox([self._shown, self.actions.widget])


class FleetCard(Card):
    """All workspaces below a folder, a line each."""

    def __init__(self, found: Any, *, caption: str = "Workspaces") -> None:
        self.found, self.caption = tuple(found), caption

    def html(self) -> str:
        rows: list[list[object]] = [[one.name, _WORDS[one.verdict], one.said] for one in self.found]
        return html_table(["Workspace", "Verdict", "What"], rows, caption=self.caption)

    def text(self) -> str:
        return "\n".join([self.caption, *(f"{one.name}: {_WORDS[one.verdict]}: {one.said}" for one in self.found)])


_WORDS = {"ok": "well", "look": "needs a look", "error": "could not be looked at"}
