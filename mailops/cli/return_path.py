"""``mailops return-path``: signed return paths, so that only real reports count."""

from __future__ import annotations

import typer

from .app import open_ops
from .output import print_json, say

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Signed return paths: a report counts only when it shows that it has seen our mail.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("sign")
def sign(
    ctx: typer.Context,
    key: str = typer.Option(None, help="Reference to the key (env:, file:, vault:); without it one is made."),
    json: bool = JSON,
) -> None:
    """Sign return paths from the next mail on: bounce+123-mac@. The domain must take mail for bounce+anything@."""
    reference = open_ops(ctx).return_paths.sign(key)
    if json:
        print_json({"signed": True, "reference": reference})
        return
    say(f"Return paths are signed with {reference} from the next mail on.")
    say("Prove it: send a mail to an address that does not exist, then look at `mailops return-path show`.")


@app.command("plain")
def plain(ctx: typer.Context, json: bool = JSON) -> None:
    """Leave return paths plain from the next mail on; the key is kept."""
    open_ops(ctx).return_paths.plain()
    if json:
        print_json({"signed": False})
        return
    say("Return paths are plain from the next mail on.")


@app.command("show")
def show(ctx: typer.Context, json: bool = JSON) -> None:
    """Signed or plain, and whether reports came back by their tag in the last 30 days."""
    state = open_ops(ctx).return_paths.state()
    if json:
        print_json(state)
        return
    if state.reference is None:
        say("Return paths are plain: a forged report can mark a mail as bounced. Sign them: mailops return-path sign")
    elif state.trouble:
        say(f"The key {state.reference} cannot be read, so return paths leave plain: {state.trouble}")
    else:
        say(f"Return paths are signed with {state.reference}.")
    last = f", the last on {state.last_proven:%Y-%m-%d %H:%M} UTC" if state.last_proven else ""
    say(f"Reports of 30 days proven by their tag: {state.proven}{last}.")
    say(f"Reports of 30 days that lacked the tag of a signed mail: {state.unproven}.")
