"""``mailops explain``: why a mail goes the way it goes, and what an error means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import ConfigError, InputRefused
from ..model.setup import BouncePolicy, MailClass
from .app import open_ops
from .output import print_json, say

if TYPE_CHECKING:
    from ..queue.told import MailRoute
    from ..routing import Route

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Why a mail goes the way it goes; what an error means."
)


@app.callback()
def group() -> None:
    """Why a mail goes the way it goes; what an error means."""


@app.command("send")
def send(
    ctx: typer.Context,
    sender: str = typer.Option(None, "--from", help="The From to explain, such as 'Ann <ann@example.com>'."),
    company: str = typer.Option(None, help="The company key."),
    server: str = typer.Option(None, help="A forced server."),
    mass: bool = typer.Option(False, "--mass", help="As mass mail."),
    return_path: str = typer.Option(None, help="The envelope sender given with the mail; '<>' is the null one."),
    bounces: str = typer.Option(None, help="Explain it as a program's mail: keep, ours or both."),
    mail: int | None = typer.Option(None, help="Explain this mail of the queue instead: how it leaves, or what left."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Rule, server, every server passed over with the reason, From before and after, envelope sender."""
    ops = open_ops(ctx)
    if bounces is not None and bounces not in [policy.value for policy in BouncePolicy]:
        raise ConfigError(
            f"{bounces!r} says not where reports go.",
            code="config.bounces",
            facts={"given": bounces},
            fix="Use keep (the program's own address), ours (mailops reads them) or both.",
        )
    if mail is not None:
        asked = {"--from": sender, "--company": company, "--server": server, "--mass": mass}
        given = [
            name for name, value in (asked | {"--return-path": return_path, "--bounces": bounces}).items() if value
        ]
        if given:
            raise InputRefused(
                f"{given[0]} has no effect beside --mail: that mail has its own.",
                code="cli.argument",
                facts={"given": given},
                fix="Leave it out, or leave --mail out.",
            )
        route: Route | MailRoute = ops.explain_mail(mail)
    else:
        kind = MailClass.MASS if mass else MailClass.TRANSACTIONAL
        route = ops.explain(
            sender=sender, company=company, server=server, return_path=return_path, bounces=bounces, mail_class=kind
        )
    if json:
        print_json({**route.as_dict(), "reply_to": route.reply_to})
    else:
        say("\n".join(route.sentences()))


@app.command("receive")
def receive(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(None, help="Messages, folders or mailboxes (default: standard input)."),
    model: str = typer.Option(None, help="The kind of record for mail that no alias takes."),
    delivered_to: str = typer.Option(
        "", "--delivered-to", help="The address it was delivered to (envelope recipient)."
    ),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """What would become of received mail, with every rule it passes; nothing is changed. Of one mail the JSON is one
    object, of several a list."""
    from .inbound import explained, show_rows

    rows = [{**one.as_dict(), "blocks": one.blocks} for one in explained(ctx, files, model, delivered_to)]
    if json:
        print_json(rows[0] if len(rows) == 1 else rows)
    else:
        show_rows(rows, json)


@app.command("error", context_settings={"ignore_unknown_options": True})  # POP3 refuses with -ERR
def error(
    text: str = typer.Argument(..., help="The error as it was shown; - reads it from standard input."),
    provider: str = typer.Option("", help="microsoft, google or mailjet (default: read from the words)."),
    protocol: str = typer.Option("", help="Where it was said: smtp, imap, pop, token or page."),
    grant: str = typer.Option("", help="What was redeemed: code, refresh or assertion (default: refresh)."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """What an error of a provider, a mail server or a bounce means: cause, who must act, what helps. No workspace."""
    from ..bounces.explainer import explain

    said = sys.stdin.read() if text == "-" else text
    found = explain(said, provider=provider, protocol=protocol, grant=grant)
    if json:
        print_json(found.as_dict())
        return
    say(f"{found.cause}\nTo act: {found.acts}\nWhat to do: {found.fix}")
    if found.row:
        say(f"Row {found.row}, class {found.kind}; read at {found.source}")
    elif found.reason:
        say(f"Reason {found.reason}, class {found.kind}")
