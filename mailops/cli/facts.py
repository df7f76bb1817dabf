"""``mailops facts``: what became of every mail, told to other programs, each fact once."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from .app import open_ops
from .output import print_json, say, shown, table

if TYPE_CHECKING:
    from ..ledger.follow import Told

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What became of every mail, told to other programs, each once."
)
JSON = typer.Option(False, "--json", help="Print JSON.")
NAME = typer.Argument(..., help="The follower's name; its place is remembered.")


@app.command("follow")
def follow(
    ctx: typer.Context,
    name: str = NAME,
    limit: int = typer.Option(None, help="At most so many facts.", min=1),
    fresh: bool = typer.Option(False, "--fresh", help="A new follower begins behind what is there already."),
    wait: bool = typer.Option(False, "--wait", help="Go on until interrupted; looks every second."),
    json: bool = typer.Option(True, "--json", help="Lines of JSON, which is what it prints in any case."),
) -> None:
    """Print what this follower has not had yet, a line of JSON for each fact, oldest first."""
    ops = open_ops(ctx)

    def take(facts: Sequence[Told]) -> None:
        for told in facts:
            sys.stdout.write(shown(json_.dumps(told.as_dict())) + "\n")
        sys.stdout.flush()

    while True:
        ops.followers.follow(name, take, limit=limit, fresh=fresh)
        if not wait:
            return
        ops.clock.sleep(1)


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Who follows, and how many facts each has not had yet."""
    found = open_ops(ctx).followers.all()
    if json:
        print_json(found)
        return
    table(["Follower", "Last", "Behind"], [(one.name, one.at.isoformat(" ", "seconds"), one.behind) for one in found])
    if not found:
        say("Nobody follows. Begin with: mailops facts follow NAME")


@app.command("remove")
def remove(ctx: typer.Context, name: str = NAME, json: bool = JSON) -> None:
    """Let a follower go, so that it holds no old addresses; under the same name it would begin anew."""
    open_ops(ctx).followers.remove(name)
    if json:
        print_json({"removed": name})
        return
    say(f"Nobody follows as {name} any more.")
