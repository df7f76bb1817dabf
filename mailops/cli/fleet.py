"""``mailops fleet FOLDER``: all workspaces below a folder, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .output import print_json, say, table

if TYPE_CHECKING:
    from ..jobs.fleet import Member

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="All workspaces below a folder: one table, one notebook over all."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.callback()
def fleet(ctx: typer.Context, folder: Path = typer.Argument(..., help="The folder that holds the workspaces.")) -> None:
    """All workspaces below a folder."""
    ctx.meta["fleet"] = folder


@app.command("status")
def status(ctx: typer.Context, json: bool = JSON) -> None:
    """Queue, notebooks and what ends soon, of each workspace; exit 1 when one needs a look, 2 when one cannot be looked
    at."""
    from ..ops import Ops

    _tell(Ops.fleet_status(ctx.meta["fleet"]), json)


@app.command("run")
def run(
    ctx: typer.Context,
    notebook: str = typer.Argument(..., help="A notebook's name (mailops jobs notebooks) or path."),
    parameters: list[str] = typer.Option([], "--parameter", "-p", help="name=value; may be given several times."),
    timeout: float = typer.Option(600.0, help="Seconds each run may take."),
    json: bool = JSON,
) -> None:
    """Run a notebook in each workspace, one after the other; exit 1 when one failed, 2 when one could not run."""
    from ..ops import Ops
    from .commands import pair

    given = dict(pair(one) for one in parameters)
    _tell(Ops.fleet_run(ctx.meta["fleet"], notebook, given, timeout=timeout), json)


domain = typer.Typer(rich_markup_mode=None, help="The mail domains of all workspaces: check.")
app.add_typer(domain, name="domain")


@domain.callback(invoke_without_command=True)
def domains(ctx: typer.Context, json: bool = JSON) -> None:
    """The mail domains of all workspaces: check."""
    if ctx.invoked_subcommand is None:
        check(ctx, json)


@domain.command("check")
def check(ctx: typer.Context, json: bool = JSON) -> None:
    """What DNS says of every mail domain of each workspace; exit 1 when one is not in order, 2 when nobody could
    look."""
    from ..ops import Ops

    _tell(Ops.fleet_domains(ctx.meta["fleet"]), json)


def _tell(found: Sequence[Member], json: bool) -> None:
    verdicts = [one.verdict for one in found]
    if json:
        print_json(found)
    else:
        table(["Workspace", "Verdict", "What"], [(one.name, one.verdict, one.said) for one in found])
        say(f"{verdicts.count('ok')} of {len(found)} are well.")
    raise typer.Exit(2 if "error" in verdicts else 1 if "look" in verdicts else 0)
