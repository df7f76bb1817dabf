"""``mailops campaign``: one message to many, each person once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..campaigns.values import Standing
from ..errors import InputRefused
from ..model.text import counted
from .app import open_ops
from .output import plain, print_json, say, table

if TYPE_CHECKING:
    from ..campaigns import Status
    from ..ops import Ops

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Mail to many, each person once, one campaign after the other: create, send, schedule, cancel, status.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
YES = typer.Option(False, "--yes", "-y", help="Do it without asking.")
KEY = typer.Argument(..., help="The campaign's key.")


@app.command("create")
def create(
    ctx: typer.Context,
    key: str = typer.Argument(..., help="A key of your own, such as autumn-2026."),
    sender: str = typer.Option(..., "--from", help="The From address."),
    subject: str = typer.Option(..., "--subject", help="The subject; {{ name }} takes a column of the list."),
    text: Path = typer.Option(None, "--text", exists=True, dir_okay=False, help="A file with the plain text."),
    html: Path = typer.Option(None, "--html", exists=True, dir_okay=False, help="A file with the HTML body."),
    recipients: Path = typer.Option(
        None, "--recipients", exists=True, dir_okay=False, help="A CSV file: a first line of names, one of them email."
    ),
    query: str = typer.Option(
        None, "--query", help="Instead of a file: a SELECT over the views of `mailops sql`, with a column email."
    ),
    server: str = typer.Option(None, "--server", help="The key of the outgoing server (default: by the filters)."),
    company: str = typer.Option(None, "--company", help="The key of the company."),
    json: bool = JSON,
) -> None:
    """Make a draft: message and list are checked, row by row, and nothing is sent."""
    if (recipients is None) == (query is None):
        raise InputRefused("One list is needed.", code="cli.argument", fix="Give --recipients or --query: not both.")
    ops = open_ops(ctx)
    made = ops.campaigns.create(
        key, sender=sender, subject=subject, text=_read(text), html=_read(html), server=server, company=company,
        recipients=recipients if query is None else ops.recipients_by(query),
    )  # fmt: skip
    _show(made, json=json)


@app.command("send")
def send(ctx: typer.Context, key: str = KEY, yes: bool = YES, json: bool = JSON) -> None:
    """Send as soon as possible; after a cancel, to those who are left. Asks before."""
    ops = open_ops(ctx)
    _ask(ops, key, yes, "Send it")
    _show(ops.campaigns.send(key), json=json)


@app.command("check")
def check(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """What Gmail, Yahoo and Microsoft ask of mail to many, held against the composed mail; 1 when one that counts from
    so many recipients on misses something."""
    found = open_ops(ctx).campaign_rules(key)
    if json:
        print_json([{**plain(one), "state": one.state, "sentence": one.sentence} for one in found])
    else:
        for one in found:
            say(f"{one.state}: {one.sentence} (in force since {one.since}; {one.source}, compared {one.as_of})")
    raise typer.Exit(1 if any(one.state == "failed" for one in found) else 0)


@app.command("schedule")
def schedule(
    ctx: typer.Context,
    key: str = KEY,
    at: str = typer.Option(..., "--at", help="When: 2026-01-31T14:30+01:00; without a zone it is UTC."),
    yes: bool = YES,
    json: bool = JSON,
) -> None:
    """Send at a time. Asks before."""
    from ..queue.submit import parse_when

    ops, when = open_ops(ctx), parse_when(at)
    _ask(ops, key, yes, f"Send it at {when:%Y-%m-%d %H:%M} UTC")
    _show(ops.campaigns.schedule(key, when), json=json)


@app.command("cancel")
def cancel(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """Take it out: nothing more of it leaves, and the next one's turn comes. Who got it stays so."""
    _show(open_ops(ctx).campaigns.cancel(key), json=json)


@app.command("pause")
def pause(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """Stop it for now; the campaigns behind it wait too."""
    _show(open_ops(ctx).campaigns.pause(key), json=json)


@app.command("resume")
def resume(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """Let a paused campaign go on."""
    _show(open_ops(ctx).campaigns.resume(key), json=json)


@app.command("finish")
def finish(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """Finish without the held: its last mails leave when they can, and the next campaign does not wait for them."""
    _show(open_ops(ctx).campaigns.finish(key), json=json)


@app.command("status")
def status(ctx: typer.Context, key: str = KEY, json: bool = JSON) -> None:
    """Where it stands, and its recipients by state."""
    _show(open_ops(ctx).campaigns.status(key), json=json)


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Every campaign, oldest first: the order in which they leave."""
    found = open_ops(ctx).campaigns.all()
    if json:
        print_json(found)
        return
    heads = ["Key", "State", "Recipients", "Waiting", "Sent", "Failed", "Waits for"]
    count = [(s.total, s.counts[Standing.WAITING], s.counts[Standing.SENT], s.counts[Standing.FAILED]) for s in found]
    table(heads, [(s.key, _label(s), *figures, s.waits_for) for s, figures in zip(found, count, strict=True)])


@app.command("recipients")
def recipients(
    ctx: typer.Context,
    key: str = KEY,
    state: str = typer.Option(None, "--state", help=f"{', '.join(Standing)}; default: those set aside."),
    limit: int = typer.Option(100, min=1, help="At most this many rows."),
    json: bool = JSON,
) -> None:
    """Rows of its list with state and reason: those set aside, or those of a state."""
    if state is not None and state not in list(Standing):
        raise InputRefused(
            f"There is no state {state!r} of a recipient.",
            code="campaign.standing",
            facts={"state": state, "states": list(Standing)},
            fix="Use one of the states listed.",
        )
    found = open_ops(ctx).campaigns.recipients(key, state=state, aside=state is None, limit=limit)
    if json:
        print_json(found)
        return
    table(["No.", "Address", "State", "Reason"], [(r["number"], r["address"], r["state"], r["reason"]) for r in found])


@app.command("doctor")
def doctor(ctx: typer.Context, json: bool = JSON) -> None:
    """Which campaign holds up the others, since when, why, and what to do."""
    found = open_ops(ctx).campaigns.blocking()
    if json:
        print_json(found)
    else:
        say(found.sentence)


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefused(
            f"The file {path.name} cannot be read as text.",
            code="campaign.file",
            facts={"file": path.name, "reason": str(error)[:200]},
            fix="Give a file in UTF-8.",
        ) from error


def _ask(ops: Ops, key: str, yes: bool, what: str) -> None:
    """Show what is to be known before, and ask."""
    if yes:
        return
    for line in ops.before_sending(key):
        say(line)
    waiting = ops.campaigns.status(key).counts[Standing.WAITING]
    typer.confirm(f"{what}, to {counted(waiting, 'recipient')}?", abort=True)


def _show(found: Status, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    say(f"Campaign {found.key}: {_label(found)}{f', waits for: {found.waits_for}' if found.waits_for else ''}")
    for line in (found.notice, *found.notes):
        if line:
            say(line)
    table(["Recipients", "Number"], [(one.replace("_", " "), n) for one, n in found.counts.items() if n])


def _label(found: Status) -> str:
    return f"{found.state.label}{' (paused)' if found.paused else ''}"
