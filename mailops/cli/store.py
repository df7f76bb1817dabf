"""``mailops store``: what bringing an older store to this version's schema takes, before it happens."""

from __future__ import annotations

from typing import Any

import typer

from .app import workspace_of
from .output import print_json, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The store's schema: what a migration takes.")
JSON = typer.Option(False, "--json", help="Print JSON.")


def _plan(ctx: typer.Context) -> Any:
    from ..store.database import look
    from ..workspace import find

    workspace = find(workspace_of(ctx))
    return look(workspace.database, busy_seconds=workspace.settings.database.busy_seconds)


@app.command("plan")
def plan(ctx: typer.Context, json: bool = JSON) -> None:
    """Rows, seconds and space the migration to this version takes; exit 1 when there is no room. Touches nothing."""
    found = _plan(ctx)
    if json:
        print_json(found.as_dict())
    else:
        say(found.sentence)
    raise typer.Exit(0 if found.fits or not found.due else 1)


@app.command("migrate")
def migrate(ctx: typer.Context, json: bool = JSON) -> None:
    """Bring the store to this version's schema now, as its first use would; the old file stays."""
    from ..workspace import find

    before = _plan(ctx)
    find(workspace_of(ctx)).engine.dispose()
    after = _plan(ctx)
    if json:
        print_json({"from": before.from_revision, "to": after.from_revision, "rows": before.rows, "kept": before.kept})
    else:
        say(f"The store is of schema {after.from_revision}.")
