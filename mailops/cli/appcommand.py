"""``mailops app``: the pages of the workspace and its notebooks, in a browser."""

from __future__ import annotations

import os

import typer

from .app import app, workspace_of


@app.command("app")
def serve_app(
    ctx: typer.Context,
    host: str = typer.Option("127.0.0.1", help="The loopback address to listen on."),
    port: int = typer.Option(8866, help="The port (0 = any free one).", min=0, max=65535),
    read_only: bool = typer.Option(False, "--read-only", help="Pages that read only: no notebook, no kernel."),
) -> None:
    """Open the app: home, search, lists and the notebooks; prints an address to look and one to act."""
    from ..app.serve import serve

    if workspace_of(ctx):
        os.environ["MAILOPS_WORKSPACE"] = str(workspace_of(ctx))
    serve(host, port, read_only=read_only)
