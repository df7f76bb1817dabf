"""``mailops jobs``: the run history, one run, the notebooks there are."""

from __future__ import annotations

from typing import Any

import typer

from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Notebook runs: history and details; the notebooks there are."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list")
def listing(
    ctx: typer.Context,
    notebook: str = typer.Option(None, help="Only runs of this notebook."),
    status: str = typer.Option(None, help="passed, failed, error or running."),
    limit: int = typer.Option(20, min=1, help="How many."),
    json: bool = JSON,
) -> None:
    """The run history, newest first."""
    from ..jobs.history import settle
    from ..store.runs import list_runs

    ops = open_ops(ctx)
    settle(ops.workspace, ops.clock)
    runs = list_runs(ops.engine, notebook=notebook, status=status, limit=limit)
    if json:
        print_json(runs)
        return
    rows = [
        (
            r.id,
            r.notebook,
            r.status,
            r.exit_code,
            f"{r.started_at:%Y-%m-%d %H:%M:%S}",
            _seconds(r),
            (r.error or {}).get("error", ""),
        )
        for r in runs
    ]
    table(["Run", "Notebook", "Status", "Exit", "Started (UTC)", "Seconds", "Reason"], rows)


def _seconds(run: Any) -> str:
    return "" if run.seconds is None else f"{run.seconds:.1f}"


@app.command("show")
def show(
    ctx: typer.Context, run_id: str = typer.Argument(..., help="A run's id, or the beginning of it."), json: bool = JSON
) -> None:
    """One run: how it ended, what its checks said, which files it left."""
    from ..jobs.history import settle
    from ..jobs.history import show as detail_of

    ops = open_ops(ctx)
    settle(ops.workspace, ops.clock)
    detail = detail_of(ops.workspace, run_id)
    if json:
        print_json(detail)
        return
    run = detail.run
    say(
        f"Run {run.id} of {run.notebook}: {run.status}"
        + (f" (exit {run.exit_code})" if run.exit_code is not None else "")
    )
    say(
        f"Started {run.started_at:%Y-%m-%d %H:%M:%S} UTC"
        + (f", took {_seconds(run)} s" if run.seconds is not None else "")
    )
    if run.parameters:
        say("With " + ", ".join(f"{k}={v}" for k, v in run.parameters.items()))
    if run.error:
        say(f"{run.error['error']}  [{run.error['code']}]\nWhat to do: {run.error['fix']}")
    if detail.verdicts:
        table(
            ["State", "Check", "Subject", "Found", "What to do"],
            [(f"{v.state.icon} {v.state.value}", v.check, v.subject, v.found, v.fix) for v in detail.verdicts],
        )
    for path in detail.files.values():
        say(str(path))


@app.command("notebooks")
def notebooks(json: bool = JSON) -> None:
    """The notebooks there are, the question each answers, and its parameters."""
    from ..jobs.catalogue import available

    found = available()
    if json:
        print_json(found)
        return
    rows = [(n.name, n.title, n.question, ", ".join(f"{p.name}={p.default!r}" for p in n.parameters)) for n in found]
    table(["Notebook", "Title", "Question", "Parameters"], rows)


@app.command("next")
def upcoming(
    cron: str = typer.Option(..., "--cron", help="The schedule: minute, hour, day of month, month, day of week."),
    zone: str = typer.Option("UTC", "--zone", help="The time zone, such as Europe/Berlin."),
    first: str = typer.Option(None, "--from", help="The first local day, YYYY-MM-DD (default: from now on)."),
    until: str = typer.Option(None, "--until", help="The local day before which it ends (default: a week later)."),
    dst: str = typer.Option("once", "--dst", help="When the clock is set forward or back: once, both or skip."),
    json: bool = JSON,
) -> None:
    """When a schedule really runs, also on the nights when the clock is set forward or back. No workspace is needed."""
    from ..ops import Ops

    found = Ops.next_runs(cron, zone=zone, first=first, until=until, dst=dst)
    if json:
        print_json([at.isoformat() for at in found])
        return
    for at in found:
        say(f"{at:%a} {at.isoformat()}")
    if not found:
        say("It does not run in this time.")
