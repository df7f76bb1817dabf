"""``mailops logs``: take the logs of mail servers into the store, and ask what they tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputRefused
from ..model.text import counted
from .app import open_ops
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..logs.service import Logs, Read
    from ..logs.trace import Journey, Step, Trace

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Logs of Postfix and Odoo: take, search, refused, senders.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
ZONE = typer.Option(None, help="The zone of stamps without one, such as Europe/Berlin (default: this machine's).")
SINCE = typer.Option("30d", help="30d, 12w or a date; empty = everything.")


@app.command("take")
def take(
    ctx: typer.Context,
    paths: list[Path] = typer.Argument(None, help="Log files, or folders of them; compressed ones too."),
    follow: str = typer.Option(None, "--follow", help="Take this log as it is written, over rotation, until Ctrl+C."),
    zone: str = ZONE,
    json: bool = JSON,
) -> None:
    """Put what logs tell into the store, as facts of origin log. Taking the same again changes nothing."""
    if bool(paths) == bool(follow):
        raise InputRefused(
            "Either files and folders are taken, or one log is followed.",
            code="logs.which",
            fix="Write: mailops logs take /var/log, or: mailops logs take --follow /var/log/mail.log",
        )
    logs = open_ops(ctx).logs
    if follow:
        done = _followed(logs, follow, zone)
    else:
        done = logs.take(*paths, zone=zone)
    if json:
        print_json(done)
    else:
        say(done.says)


def _followed(logs: Logs, path: str, zone: str | None) -> Read:
    """Follow until the service manager or Ctrl+C says stop."""
    import signal
    from threading import Event

    stopped = Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    return logs.follow(path, zone=zone, stop=stopped.is_set)


@app.command("search")
def search(
    ctx: typer.Context,
    text: str = typer.Argument(..., help="What the line holds, such as a Message-ID."),
    paths: list[Path] = typer.Argument(..., help="Log files, or folders of them; compressed ones too."),
    zone: str = ZONE,
    json: bool = JSON,
) -> None:
    """Lines that hold a text, in order of time over all files; nothing is kept."""
    hits = list(open_ops(ctx).logs.search(text, *paths, zone=zone))
    if json:
        print_json(hits)
        return
    for hit in hits:
        say(f"{hit.at:%Y-%m-%d %H:%M:%S} UTC  {hit.file}  {hit.host} {hit.program}: {hit.text}")
    say(counted(len(hits), "line"))


@app.command("refused")
def refused(ctx: typer.Context, since: str = SINCE, json: bool = JSON) -> None:
    """Refused incoming mail per day and reason, with the answer given, and what to do about it."""
    ops = open_ops(ctx)
    start = ops.analysis.period(since).start
    rows, advice = ops.logs.refused(start), ops.logs.advice(start)
    if json:
        print_json({"rows": rows, "advice": advice})
        return
    lines = [(r.day, r.reason, r.number, r.senders, r.server, r.answer) for r in rows]
    table(["Day", "Reason", "Refused", "Senders", "Server", "Answer"], lines)
    for line in advice:
        say(line)


@app.command("senders")
def senders(ctx: typer.Context, since: str = SINCE, json: bool = JSON) -> None:
    """Who hands outgoing mail to a server past mailops, and by which sign-in."""
    ops = open_ops(ctx)
    rows = ops.logs.senders(ops.analysis.period(since).start)
    if json:
        print_json(rows)
        return
    lines = [
        (r.login or "(no sign-in)", r.client, r.server, ", ".join(r.domains), r.mails, f"{r.last:%Y-%m-%d %H:%M}")
        for r in rows
    ]
    table(["Sign-in", "Client", "Server", "Sender domains", "Mails", "Last"], lines)


def show_trace(found: Trace) -> None:
    """A trace for people."""
    for journey in found.journeys:
        _show(journey, whole=len(found.journeys) == 1)
    for step in found.refused:
        _step(step)
    if found.total > len(found.journeys):
        say(f"The newest {len(found.journeys)} of {counted(found.total, 'mail')}.")
    elif len(found.journeys) > 1:
        say(f"{counted(found.total, 'mail')}. One with its steps and the text to send: mailops trace MESSAGE-ID")


def _show(journey: Journey, *, whole: bool) -> None:
    say(f"{journey.message_id or '(no Message-ID)'} from {journey.author}, {journey.first:%Y-%m-%d %H:%M} UTC")
    if whole:
        say("  " + " → ".join(journey.holders))
        for step in journey.steps:
            _step(step)
    for path in journey.paths:
        since = f" since {path.since:%Y-%m-%d %H:%M:%S} UTC" if path.since else ""
        say(f"  {path.recipient or 'recipient not named'}: {path.says}{since}")
        if path.answer:
            say(f"    {path.answer}")
        if whole:
            say(f"    To {path.ask}:")
            for line in path.text.splitlines():
                say(f"      {line}")
    for line in journey.unjoined:
        say(f"  Not joined: {line}")


def _step(step: Step) -> None:
    whom = f" ({step.recipient})" if step.recipient else ""
    said = f": {step.answer}" if step.answer else ""
    say(f"  {step.at:%Y-%m-%d %H:%M:%S}  [{step.source}] {step.what}{whom}{said}")
