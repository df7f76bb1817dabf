"""``mailops metrics`` and ``mailops sql``: figures that are defined once, and questions of one's own."""

from __future__ import annotations

import typer

from ..errors import InputRefused
from .app import app, open_ops
from .output import print_json, say, table

JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def metrics(ctx: typer.Context, json: bool = JSON) -> None:
    """Every metric: its value now, what it counts in what, over which days."""
    found = open_ops(ctx).metrics()
    if json:
        print_json({one.name: one.as_dict() for one in found})
        return
    rows = [(one.name, one.words, one.definition.window, one.state or "") for one in found]
    table(["Metric", "Value", "Window", "State"], rows)
    say("Mature days are those whose returns are in. What each counts in what, and whose limit it is: --json.")


@app.command()
def sql(
    ctx: typer.Context,
    text: str = typer.Argument("", help="One SELECT over the views."),
    views: bool = typer.Option(False, "--views", help="List the views with their columns instead."),
    json: bool = JSON,
) -> None:
    """Answer a question of your own over documented views; nothing is changed, no secret is in them."""
    if views:
        from ..analysis.query import VIEWS

        if json:
            print_json({view.name: {"what": view.what, "columns": view.columns} for view in VIEWS.values()})
            return
        for view in VIEWS.values():
            table([view.name, view.what], list(view.columns.items()))
            say("")
        return
    if not text.strip():
        raise InputRefused(
            "There is no question.",
            code="sql.wrong",
            fix='mailops sql "SELECT kind, count(*) FROM facts GROUP BY kind"',
        )
    found = open_ops(ctx).sql(text)
    if json:
        print_json(found.as_dicts())
        return
    table(list(found.columns), found.rows)
    if found.more:
        say("There are more rows than these; narrow the question.")
