"""``mailops explain``: why a mail goes the way it goes."""

from __future__ import annotations

import typer

from .app import open_ops
from .output import print_json, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Why a mail goes the way it goes.")


@app.callback()
def group() -> None:
    """Why a mail goes the way it goes."""


@app.command("send")
def send(
    ctx: typer.Context,
    sender: str = typer.Option(None, "--from", help="The From to explain, such as 'Ann <ann@example.com>'."),
    company: str = typer.Option(None, help="The company key."),
    server: str = typer.Option(None, help="A forced server."),
    mail: int = typer.Option(None, help="Explain this queued mail instead."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Rule, server, every server passed over with the reason, From before and after, envelope sender."""
    ops = open_ops(ctx)
    if mail is not None:
        sender = ops.queue.mail(mail).header_from
    route = ops.explain(sender=sender, company=company, server=server)
    if json:
        print_json(route.as_dict())
    else:
        say("\n".join(route.sentences()))
