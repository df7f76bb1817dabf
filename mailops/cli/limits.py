"""``mailops limits``: what each server may still send, and when what waits will leave."""

from __future__ import annotations

from datetime import timedelta

import typer

from .app import open_ops
from .output import plain, print_json, say, table

app = typer.Typer(
    rich_markup_mode=None,
    help="What each server may still send and when what waits will leave; limits of your own.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
SERVER = typer.Argument(..., help="The server's key.")


@app.callback(invoke_without_command=True)
def show(ctx: typer.Context, json: bool = JSON) -> None:
    """Limits, what is used of them, and the forecast of what waits, by server."""
    if ctx.invoked_subcommand is not None:
        return
    ops = open_ops(ctx)
    found, today = ops.limits.report(), ops.usage()
    if json:
        print_json(
            {"servers": found, "today": {"sent": today.sent, "limit": today.limit, "remaining": today.remaining}}
        )
        return
    for one in found:
        say(f"{one.server}: {one.connections} connections at a time, {one.waiting:,} waiting. {one.sentence}")
        if one.windows:
            rows = [(w.said, w.used, w.remaining, f"{w.room_at:%Y-%m-%d %H:%M:%S}") for w in one.windows]
            table(["Limit", "Used", "Remaining", "Room at (UTC)"], rows)
        for line in one.by_plan:
            say(f"Not obeyed until you set which one holds: {line}.")
    say(today.text())


@app.command("set")
def put(
    ctx: typer.Context,
    server: str = SERVER,
    messages: int = typer.Option(None, "--messages", min=0, help="How many messages; 0 = no limit."),
    recipients: int = typer.Option(None, "--recipients", min=0, help="How many recipients; 0 = no limit."),
    per: str = typer.Option("minute", "--per", help="minute, hour, day, or a number of seconds."),
    json: bool = JSON,
) -> None:
    """Hold a server to a limit of yours, in place of its provider's of the same kind."""
    ops = open_ops(ctx)
    given = [(of, count) for of, count in (("messages", messages), ("recipients", recipients)) if count is not None]
    if not given:
        raise typer.BadParameter("Give --messages or --recipients.")
    made = [ops.limits.set(server, count=count, of=of, per=per) for of, count in given]
    if json:
        print_json(made)
        return
    for one in made:
        say(
            f"{one.server}: {f'{one.count:,} {one.of}' if one.count else f'no limit of {one.of}'} in {one.seconds:g} s."
        )


@app.command("clear")
def clear(ctx: typer.Context, server: str = SERVER, json: bool = JSON) -> None:
    """Forget the limits that were set for a server; its provider's hold again."""
    done = open_ops(ctx).limits.clear(server)
    if json:
        print_json({"server": server, "removed": done})
    else:
        say(f"{server}: {done} removed.")


@app.command("request")
def request(
    ctx: typer.Context,
    wanted: int = typer.Option(200, "--wanted", min=5, help="The daily limit to ask for."),
    users: int = typer.Option(None, "--users", min=1, help="How many users the database has."),
    app_names: list[str] = typer.Option([], "--app", help="An app that is installed; may be given several times."),
    no_dns: bool = typer.Option(False, "--no-dns", help="Look at no domain's records."),
    json: bool = JSON,
) -> None:
    """The request to support for a higher daily limit, filled in with what support weighs."""
    made = open_ops(ctx).quota_request(wanted=wanted, users=users, apps=app_names, dns=not no_dns)
    if json:
        print_json({**plain(made), "text": made.text, "missing": made.missing})
        return
    say(made.text)
    if made.missing:
        say(f"Still to be told: {', '.join(made.missing)}.")


@app.command("relief")
def relief(
    ctx: typer.Context,
    users: int = typer.Option(None, "--users", min=1, help="So many of those who get most (default: all)."),
    user: list[str] = typer.Option([], "--user", help="A user's address; may be given several times."),
    since: str = typer.Option("30d", "--since", help="By what was since then: 30d, 12w or a date."),
    json: bool = JSON,
) -> None:
    """How many mails a day fewer leave when users read their notifications in the app instead of by email."""
    found = open_ops(ctx).relief(user or users, since=since)
    if json:
        print_json({**plain(found), "mails": found.mails, "a_day": found.a_day, "sentence": found.sentence})
        return
    say(found.sentence)
    table(
        ["User", "Name", "Mails", "A day"],
        [(one.address, one.name, one.mails, f"{one.mails / found.days:.1f}") for one in found.users],
    )


@app.command("hold")
def hold(
    ctx: typer.Context,
    server: str = SERVER,
    hours: float = typer.Option(1.0, "--hours", help="For how many hours."),
    why: str = typer.Option("", "--why", help="The reason, in words."),
    json: bool = JSON,
) -> None:
    """Let everything that waits for a server wait for a while; nothing else waits behind it."""
    made = open_ops(ctx).limits.hold(server, timedelta(hours=hours), why=why, actor="cli")
    if json:
        print_json(made)
    else:
        say(f"{server} is held until {made.until:%Y-%m-%d %H:%M} UTC.")


@app.command("unhold")
def unhold(ctx: typer.Context, server: str = SERVER, json: bool = JSON) -> None:
    """End a server's hold early."""
    done = open_ops(ctx).limits.release(server)
    if json:
        print_json({"server": server, "ended": done})
    else:
        say(f"{server} is {'held no more' if done else 'not held'}.")
