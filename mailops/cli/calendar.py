"""``mailops calendar``: what ends when, and which servers still sign in with a password."""

from __future__ import annotations

from pathlib import Path

import typer

from .app import open_ops
from .output import print_json, say, table, write_out

app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, help="What ends when: secrets, certificates, sign-ins."
)


@app.callback()
def calendar(
    ctx: typer.Context,
    ics: Path = typer.Option(None, "--ics", help="Also write the dates as an iCalendar file, with alarms."),
    network: bool = typer.Option(True, "--network/--no-network", help="Look at the certificates of own servers."),
    also: list[str] = typer.Option(None, "--also", help="Also this certificate, as imaps://HOST; repeat it."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List what ends, soonest first; exit 1 when something has ended or ends within a week."""
    from ..oauth.calendar import deadlines, icalendar, password_servers, verdict_of_end

    ops = open_ops(ctx)
    servers, now = ops.setup.servers, ops.clock.now()
    ends = ops.ends(network=network, also=also or ())
    verdicts = [verdict_of_end(end, now) for end in ends]
    passwords = password_servers(servers, now.date())
    if ics is not None:
        write_out(ics, icalendar(ends, now))
    if json:
        print_json({"ends": verdicts, "passwords": passwords, "deadlines": deadlines(servers, now.date()), "file": ics})
    else:
        rows = [
            (f"{e.at:%Y-%m-%d}", e.days(now), e.label, v.state.value, v.fix)
            for e, v in zip(ends, verdicts, strict=True)
        ]
        table(["Ends", "Days left", "What", "State", "What to do"], rows)
        for finding in (*deadlines(servers, now.date()), *passwords):
            say(f"{finding.message} {finding.fix}")
        if ics is not None:
            dated = sum(not (end.moves or end.said) for end in ends)
            say(f"{dated} dates written to {ics}.")
    raise typer.Exit(1 if any(v.state.value == "failed" for v in verdicts) else 0)
