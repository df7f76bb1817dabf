"""``mailops jobs``: notebooks that run by a schedule, the run history, one run, the notebooks there are."""

from __future__ import annotations

from typing import Any

import typer

from ..model.text import counted
from .app import open_ops
from .output import ask, plain, print_json, say, table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Notebooks that run by a schedule, their runs; the notebooks there are.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
YES = typer.Option(False, "--yes", "-y", help="Do it without asking.")
ACTION = typer.Argument(..., help="queue, fetch, campaigns or vacuum.")
actions = typer.Typer(
    rich_markup_mode=None, help="Scheduled actions for mail: list them, change how often, run one now."
)
app.add_typer(actions, name="action")


@app.command("add")
def add(
    ctx: typer.Context,
    notebook: str = typer.Argument(..., help="A notebook's name (mailops jobs notebooks) or path."),
    every: str = typer.Option("", "--every", help="How often: 15m, 6h, 1d, 1w."),
    cron: str = typer.Option("", "--cron", help="A schedule: minute, hour, day of month, month, day of week."),
    on: str = typer.Option("", "--on", help="A kind of fact to run after, such as bounced or failed."),
    zone: str = typer.Option("", "--zone", help="The time zone of --cron, such as Europe/Berlin (the workspace's)."),
    name: str = typer.Option("", "--name", help="The job's name (default: the notebook's)."),
    parameters: list[str] = typer.Option([], "--parameter", "-p", help="name=value; may be given several times."),
    missed: str = typer.Option("one", "--missed", help="What is made up for when nobody was there: one, all or none."),
    dst: str = typer.Option("once", "--dst", help="When --cron meets a change of the clock: once, both or skip."),
    retries: int = typer.Option(0, "--retries", help="Further tries where another one may end better."),
    timeout: float = typer.Option(600.0, "--timeout", help="Seconds a run may take."),
    mail_to: list[str] = typer.Option(
        [], "--mail-to", help="Who gets each run as a letter; several times for several."
    ),
    json: bool = JSON,
) -> None:
    """Schedule a notebook. `mailops serve` runs what is due, and `mailops jobs tick`, called by cron each minute."""
    from .commands import pair

    job = open_ops(ctx).jobs.add(
        notebook,
        name=name,
        every=every,
        cron=cron,
        on=on,
        zone=zone,
        parameters=dict(pair(one) for one in parameters),
        missed=missed,
        retries=retries,
        timeout=timeout,
        mail_to=mail_to,
        dst=dst,
    )
    if json:
        print_json(job)
    else:
        say(
            f"Job {job.name}: {job.notebook}, {job.when}.\n"
            "Next: mailops serve runs it; without that, have `mailops jobs tick` called each minute by cron."
        )


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """The scheduled notebooks, when each runs next (UTC), and how it ended last."""
    jobs = open_ops(ctx).jobs
    found = [
        {
            **plain(job),
            "next": jobs.next_times(job.name, 1),
            "last": next(iter(jobs.history(job.name, 1)), None),
            "warning": jobs.warning(job.name),
        }
        for job in jobs.all()
    ]
    if json:
        print_json(found)
        return
    rows = [
        (
            one["name"],
            one["notebook"],
            one["every"] or one["cron"] or f"after {one['on']}",
            f"{one['next'][0]:%Y-%m-%d %H:%M}" if one["next"] else "",
            one["last"].status if one["last"] else "never ran",
        )
        for one in found
    ]
    table(["Job", "Notebook", "When", "Next (UTC)", "Last"], rows)
    for one in found:
        if one["warning"]:
            say(one["warning"])


@app.command("remove")
def remove(ctx: typer.Context, name: str = typer.Argument(..., help="The job's name."), json: bool = JSON) -> None:
    """Schedule it no more; its runs stay in the history."""
    job = open_ops(ctx).jobs.remove(name)
    if json:
        print_json(job)
    else:
        say(f"Job {job.name} is scheduled no more; its runs stay.")


@app.command("run")
def run(ctx: typer.Context, name: str = typer.Argument(..., help="The job's name."), json: bool = JSON) -> None:
    """Run a job now; exit 0, 1 (checks failed) or 2, as `mailops run`."""
    result = open_ops(ctx).jobs.run(name)
    if json:
        print_json(result)
    else:
        say(f"{name}: {result.status} in {result.seconds:.1f} s\n{result.message}\nReport: {result.report}")
    raise typer.Exit(result.exit_code)


@app.command("tick")
def tick(ctx: typer.Context, json: bool = JSON) -> None:
    """Run what is due, and end: for cron or a systemd timer. Each instant runs once, whoever calls; exit 1 when a run
    failed, 2 when one could not run. Nothing is printed of a job that is not due; --json tells of all."""
    done = open_ops(ctx).jobs.tick()
    if json:
        print_json(done)
    else:
        for one in done:
            if one.due:
                how = ", ".join(one.statuses)
                say(f"{one.job}: " + (f"{how}: {one.reason}" if how and one.error else how or one.reason))
    bad = [status for one in done for status in one.statuses]
    raise typer.Exit(2 if "error" in bad or any(one.error for one in done) else 1 if "failed" in bad else 0)


@app.command("alerts")
def alerts(
    ctx: typer.Context,
    test: bool = typer.Option(False, "--test", help="Send a test by every road."),
    json: bool = JSON,
) -> None:
    """What people were told of jobs that fail, and by which roads alerts go; 1 when a job fails, or a test got lost."""
    ops = open_ops(ctx)
    if test:
        done = ops.jobs.alerts.test()
        if json:
            print_json(done.roads)
        else:
            table(["Road", "Arrived"], [(road, why or "yes") for road, why in done.roads.items()])
        raise typer.Exit(1 if any(done.roads.values()) else 0)
    found = ops.jobs.alerts.standings()
    roads = ops.workspace.settings.alerts
    if json:
        print_json({"jobs": found, "quiet_now": ops.jobs.alerts.quiet, "roads": roads.model_dump()})
    else:
        rows = [(name, "fails" if one.failing else "well", one.since, one.told, one.run) for name, one in found.items()]
        table(["Job", "Stands", "Since (UTC)", "Told (UTC)", "Last run"], rows)
        named = [*(f"mail to {', '.join(roads.mail)}",) * bool(roads.mail), *("webhook",) * bool(roads.webhook)]
        say(f"Alerts go by: {', '.join([*named, 'file ' + (roads.file or 'alerts.jsonl')])}.")
    raise typer.Exit(1 if any(one.failing for one in found.values()) else 0)


@app.command("history")
def history(
    ctx: typer.Context,
    job: str = typer.Argument("", help="Only runs of this job."),
    notebook: str = typer.Option(None, help="Only runs of this notebook."),
    status: str = typer.Option(None, help="passed, failed, error or running."),
    limit: int = typer.Option(20, min=1, help="How many."),
    json: bool = JSON,
) -> None:
    """The run history, newest first; of one job, where it is named."""
    from ..jobs.history import settle
    from ..store.runs import list_runs

    ops = open_ops(ctx)
    settle(ops.workspace, ops.clock)
    if job:
        runs = ops.jobs.history(job, limit)
    else:
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


@actions.callback(invoke_without_command=True)
def action(ctx: typer.Context, json: bool = JSON) -> None:
    """What runs by itself for mail (the same as ``list``)."""
    if ctx.invoked_subcommand is None:
        _actions(ctx, json)


@actions.command("list")
def actions_list(ctx: typer.Context, json: bool = JSON) -> None:
    """What runs by itself for mail, how often, when next (in Odoo: Settings → Technical → Automation: Scheduled
    Actions)."""
    _actions(ctx, json)


def _actions(ctx: typer.Context, json: bool) -> None:
    from ..jobs.scheduled import PATH

    found = open_ops(ctx).scheduled.all()
    if json:
        print_json(found)
        return
    table(
        ["Key", "Scheduled action", "Every", "Last (UTC)", "Next (UTC)", "Took"],
        [
            (
                one.key,
                one.label,
                f"{one.minutes} min" + (f" (recommended: {one.recommended})" if one.recommended else ""),
                f"{one.last_at:%Y-%m-%d %H:%M}" if one.last_at else "never",
                f"{one.next_at:%Y-%m-%d %H:%M}" if one.next_at else "",
                "" if one.took is None else f"{one.took:.1f} s",
            )
            for one in found
        ],
    )
    for one in found:
        if one.warning:
            say(one.warning)
    say(f"In Odoo, in developer mode: {' → '.join(PATH)}.")


@actions.command("every")
def every_minutes(
    ctx: typer.Context,
    key: str = ACTION,
    minutes: int = typer.Argument(..., help="Minutes between two runs: at least 5; 15 are recommended for the queue."),
    yes: bool = YES,
    json: bool = JSON,
) -> None:
    """Change how often one runs, from the next start or reload of mailops serve on. It asks before."""
    from ..jobs.often import checked_minutes
    from ..jobs.scheduled import CHANGING

    scheduled = open_ops(ctx).scheduled
    there = scheduled.get(key)
    checked_minutes(there.label, minutes)
    ask(f"{CHANGING} {there.label}: every {counted(there.minutes, 'minute')} becomes every {minutes}.", yes, json)
    made = scheduled.every(key, minutes)
    if json:
        print_json(made)
    else:
        say(
            f"{made.label} runs every {counted(made.minutes, 'minute')}." + (f" {made.warning}" if made.warning else "")
        )


@actions.command("run")
def action_run(ctx: typer.Context, key: str = ACTION, yes: bool = YES, json: bool = JSON) -> None:
    """Run one now. It asks before; `mailops queue run`, which is made for timers, does not."""
    from ..jobs.scheduled import BY_HAND

    scheduled = open_ops(ctx).scheduled
    there = scheduled.get(key)
    ask(f"{BY_HAND} {there.label} runs now.", yes, json)
    told = scheduled.run(key)
    if json:
        print_json({"key": key, "label": there.label, "did": told})
    else:
        say(f"{there.label}: {told}.")


@app.command("watch")
def watch(
    ctx: typer.Context,
    file: str = typer.Option("", "--file", help="Gets a line of JSON for each that is silent (default: watch.jsonl)."),
    webhook: str = typer.Option("", "--webhook", help="An address that gets JSON."),
    ping: str = typer.Option("", "--ping", help="An address that is asked while all is well."),
    grace: float = typer.Option(None, "--grace", min=1, help="Minutes that a run may begin late (default: 15)."),
    look: bool = typer.Option(False, "--look", help="Only look; tell nobody."),
    json: bool = JSON,
) -> None:
    """The dead man's switch: did everything begin when it was to, and end? For a timer of its own, beside the
    scheduler's; exit 1 when something is silent. It sends no mail."""
    from datetime import timedelta

    found = open_ops(ctx).watch_jobs(
        file=file, webhook=webhook, ping=ping, grace=None if grace is None else timedelta(minutes=grace), tell=not look
    )
    if json:
        print_json({**plain(found), "well": found.well})
    else:
        for one in found.watched:
            say(f"{one.state}: {one.words}")
        lost = [f"{road}: {why}" for road, why in found.told.items() if why]
        say(
            "Not told by " + "; ".join(lost) + "." if lost else "All is well." if found.well else "Something is silent."
        )
    raise typer.Exit(0 if found.well else 1)


@app.command("export")
def export(ctx: typer.Context, kind: str = typer.Argument(help="systemd or cron."), json: bool = JSON) -> None:
    """Write timers for what `mailops serve` would run by itself (the queue, fetching, campaigns, notebooks,
    Auto-Vacuum), and the dead man's switch, to standard output."""
    from ..service.export import timers

    ops = open_ops(ctx)
    every = {one.key: one.minutes for one in ops.scheduled.all()}
    text = timers(kind, ops.workspace.path, every, vacuum_at=ops.workspace.settings.serve.vacuum_at)
    if json:
        print_json({"kind": kind, "text": text})
    else:
        say(text.rstrip())


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
