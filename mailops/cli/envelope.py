"""``mailops envelope``: the red envelopes of messages: who did not get them, why, try again or ignore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ..errors import NotFound
from .app import open_ops
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..threads.envelope import Envelope

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Red envelopes of messages: who did not get it, try again, ignore.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
MESSAGE = typer.Argument(..., help="The message's number, as the list shows it.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Messages whose envelope is red, newest first."""
    found = open_ops(ctx).envelopes.red()
    if json:
        print_json([_row(one) for one in found])
        return
    rows = [(e.message, ", ".join(x.address or x.contact for x in e.lines if x.failed)) for e in found]
    table(["Message", "Failed for"], rows)
    say(f"{len(found)} red envelopes.")


@app.command("show")
def show(ctx: typer.Context, message: int = MESSAGE, json: bool = JSON) -> None:
    """One envelope: a line for each recipient; See Error Details where the error could be read."""
    _say(open_ops(ctx).envelopes.of(message), json)


@app.command("send-and-close")
def send_and_close(
    ctx: typer.Context,
    message: int = MESSAGE,
    again: list[str] = typer.Option(
        None, "--try-again", help="Try Again is on for this address only; repeat it (default: for all who failed)."
    ),
    json: bool = JSON,
) -> None:
    """Send & close: try again for those who are toggled on; the others' failures are ignored."""
    envelopes = open_ops(ctx).envelopes
    failed = {x.address or x.contact: x.notification for x in envelopes.of(message).lines if x.failed}
    unknown = [one for one in again or () if one not in failed]
    if unknown or not failed:
        raise NotFound(
            f"Nobody at {unknown[0]!r} failed." if unknown else "Nobody failed: the envelope is white.",
            code="envelope.nobody",
            facts={"failed": sorted(failed)},
            fix="Name addresses that mailops envelope show lists as failed.",
        )
    chosen = [number for address, number in failed.items() if not again or address in again]
    _say(envelopes.send_and_close(message, chosen), json)


@app.command("ignore-all")
def ignore_all(ctx: typer.Context, message: int = MESSAGE, json: bool = JSON) -> None:
    """Ignore all: every failure of the message; its envelope turns white."""
    _say(open_ops(ctx).envelopes.ignore_all(message), json)


def _row(one: Envelope) -> dict[str, Any]:
    lines = [
        {
            "contact": x.contact,
            "address": x.address,
            "state": x.state,
            "reason": x.reason,
            "code": x.enhanced or x.code,
            "details": x.details,
            "raw": x.raw,
        }
        for x in one.lines
    ]
    return {"message": one.message, "mark": one.mark, "lines": lines}


def _say(one: Envelope, json: bool) -> None:
    if json:
        print_json(_row(one))
        return
    say(f"Message {one.message}: the envelope is {one.mark.value}.")
    rows = [(x.contact, x.address, x.state, x.enhanced or x.code, x.reason) for x in one.lines]
    table(["Contact", "Address", "State", "Code", "Reason"], rows)
    for x in one.lines:
        if x.details:
            say(f"See Error Details, {x.address or x.contact}: {x.details}")
        elif x.failed and x.raw:
            say(f"{x.address or x.contact}: the report could not be read; --json has it as it came.")
