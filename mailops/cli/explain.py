"""``mailops explain``: why a mail goes the way it goes, and what an error means."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from ..errors import ConfigError
from ..model.setup import BouncePolicy
from .app import open_ops
from .output import print_json, say

if TYPE_CHECKING:
    from ..model.mail import MailView

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
    return_path: str = typer.Option(None, help="The envelope sender given with the mail; '<>' is the null one."),
    bounces: str = typer.Option(None, help="Explain it as a program's mail: keep, ours or both."),
    mail: int | None = typer.Option(None, help="Explain this queued mail instead, and say what left."),
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
        kept, route = ops.queue.mail(mail), ops.queue.route(mail)
        if json:
            print_json({**route.as_dict(), "company": kept.company, "left": left_as(kept)})
        else:
            whose = [f"It is mail of the company {kept.company}."] if kept.company else []
            say("\n".join([*whose, *route.sentences(), *left_words(kept)]))
        return
    route = ops.explain(sender=sender, company=company, server=server, return_path=return_path, bounces=bounces)
    if json:
        print_json(route.as_dict())
    else:
        say("\n".join(route.sentences()))


def left_as(mail: MailView) -> dict[str, str | None] | None:
    """What a mail left as: From, envelope sender, what became of signatures; None while nothing left."""
    if mail.sent_envelope is None:
        return None
    left = {"from": mail.sent_from or mail.header_from, "envelope": mail.sent_envelope}
    return {**left, "signature": mail.sent_signature}


def left_words(mail: MailView) -> list[str]:
    """The same in a line for people; none while nothing left."""
    left = left_as(mail)
    if left is None:
        return []
    signed = f", {left['signature']}" if left["signature"] else ""
    return [f"Left as {left['from']}, envelope sender {left['envelope']}{signed}."]


@app.command("error")
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
