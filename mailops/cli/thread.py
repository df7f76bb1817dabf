"""``mailops thread``: records and what was written about them, why an entry is where it is, and moving it."""

from __future__ import annotations

import typer

from ..errors import InputRefused
from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Records and their threads: list, show, why an entry is here, move it, signed thread tokens.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
ENTRY = typer.Argument(..., metavar="ENTRY", help="The entry's number, as `mailops thread show` has it.")


@app.command("list")
def listing(
    ctx: typer.Context,
    model: str = typer.Option(None, help="Only records of this kind."),
    limit: int = typer.Option(50, min=1, help="At most this many."),
    json: bool = JSON,
) -> None:
    """Records, the one that was written about last first."""
    found, total = open_ops(ctx).desk.records(model=model, limit=limit)
    if json:
        print_json({"total": total, "records": found})
        return
    rows = [(x.id, x.model, x.name, x.email, x.entries, f"{x.last:%Y-%m-%d %H:%M}" if x.last else "") for x in found]
    table(["Record", "Kind", "Name", "From", "Entries", "Last (UTC)"], rows)
    say(f"{len(found)} of {total}")


@app.command("show")
def show(ctx: typer.Context, record: int = typer.Argument(..., help="The record's number."), json: bool = JSON) -> None:
    """What was written about a record, oldest first."""
    from ..threads.desk import as_dict

    ops = open_ops(ctx)
    found, entries = ops.desk.record(record), ops.threads.entries(record)
    if json:
        print_json({"record": found, "entries": [as_dict(one) for one in entries]})
        return
    say(f"{found.model} {found.id}: {found.name}")
    rows = [(x.id, f"{x.created_at:%Y-%m-%d %H:%M}", x.kind, x.author_email or "", x.subject or "") for x in entries]
    table(["Entry", "At (UTC)", "Kind", "By", "Subject"], rows)


@app.command("why")
def why(ctx: typer.Context, entry: int = ENTRY, json: bool = JSON) -> None:
    """Why an entry is on its record: the rule that brought it there, and every rule it passed."""
    found = open_ops(ctx).desk.why(entry)
    if json:
        print_json(found)
        return
    say(f"Entry {found.entry} is on record {found.record}: {found.words} ({found.rule}).")
    if found.trace:
        table(["Rule", "Found"], list(found.trace))


@app.command("move")
def move(
    ctx: typer.Context,
    entry: int = ENTRY,
    to: int = typer.Option(None, help="The record it belongs to."),
    new: str = typer.Option(None, metavar="MODEL", help="Make a record of this kind of it."),
    json: bool = JSON,
) -> None:
    """Move an entry to the record it belongs to; answers to it follow. A note on both records tells of it."""
    found = open_ops(ctx).desk.move(entry, to=to, new=new)
    if json:
        print_json(found)
        return
    place = f"{'the new record' if found.made else 'record'} {found.target}"
    say(f"Entry {found.entry} was moved from record {found.source} to {place}.")


@app.command("tokens")
def tokens(
    ctx: typer.Context,
    state: str = typer.Argument(None, metavar="[on|off]", help="Put tokens in from the next mail on, or no more."),
    key: str = typer.Option(None, help="Reference to the key (env:, file:, vault:); without it one is made."),
    json: bool = JSON,
) -> None:
    """Signed thread tokens in Reply-To, such as help+r7-31-mac@: on, off, or how it is. The domain must take mail for
    help+anything@; tokens that are out stay good."""
    made = open_ops(ctx).thread_tokens
    if state not in (None, "on", "off"):
        raise InputRefused(
            f"Thread tokens are on or off, not {state!r}.",
            code="cli.argument",
            facts={"given": state},
            fix="mailops thread tokens on, or off",
        )
    if state is not None:
        made.sign(key) if state == "on" else made.plain()
    reference = made.reference()
    if json:
        print_json({"tokens": reference is not None, "reference": reference})
        return
    say(f"Reply-To carries thread tokens, signed with {reference}." if reference else "Reply-To is plain.")
