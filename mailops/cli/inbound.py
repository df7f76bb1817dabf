"""``mailops inbound``: hand received mail in, see what would become of it, and what became of mail that came."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .app import open_ops
from .bounces import reading
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..inbound.values import Decision

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Received mail: take it in, explain it, look at what became of it.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
FILES = typer.Argument(None, help="Messages, folders or mailboxes (default: standard input).")
DELIVERED = typer.Option("", "--delivered-to", help="The address it was delivered to (envelope recipient).")
MODEL = typer.Option(None, help="The kind of record for mail that no alias takes.")


@app.command("receive")
def receive(
    ctx: typer.Context,
    files: list[Path] = FILES,
    model: str = MODEL,
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """Take received mail in: reply, new record, report or refusal, each with its reason."""
    gateway = open_ops(ctx).inbound
    with reading(files, quiet=json) as sources:
        found = [
            _row(gateway.receive(source.raw, fallback_model=model, delivered_to=delivered_to or None))
            for source in sources
        ]
    _show(found, json)


@app.command("explain")
def explain(
    ctx: typer.Context,
    files: list[Path] = FILES,
    model: str = MODEL,
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """What would become of received mail, with every rule it passes; nothing is changed."""
    gateway = open_ops(ctx).inbound
    with reading(files, quiet=json) as sources:
        found = [
            _row(gateway.explain(source.raw, fallback_model=model, delivered_to=delivered_to or None), trace=True)
            for source in sources
        ]
    _show(found, json)


@app.command("log")
def log(
    ctx: typer.Context,
    decision: str = typer.Option(None, help="Only this decision: bounce, reply, create, refused …"),
    limit: int = typer.Option(100, min=1, help="At most this many lines."),
    json: bool = JSON,
) -> None:
    """What became of received mail, newest first; of a report, what it says and what that changed."""
    lines, total = open_ops(ctx).inbound.log(decision=decision, limit=limit)
    if json:
        print_json({"total": total, "lines": lines})
        return
    rows = [(f"{x.at:%Y-%m-%d %H:%M}", x.sender, x.decision, x.consequence or x.reason, x.answer) for x in lines]
    table(["Received (UTC)", "From", "Decision", "Why, or what a report changed", "Answer"], rows)
    say(f"{len(lines)} of {total}")


def _row(decision: Decision, *, trace: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {
        "message_id": decision.message_id,
        "decision": decision.kind.value,
        "code": decision.code,
        "reason": decision.reason,
        "accepted": decision.accepted,
        "report": decision.report.kind if decision.report else None,
        "blocks": decision.blocks,
        "routes": [
            {"model": r.model, "record": r.record, "alias": (r.alias.address or r.alias.local) if r.alias else None}
            for r in decision.routes
        ],
        "forward_to": decision.forward_to,
        "notices": [{"to": n.to, "reason": n.reason, "return_path": n.return_path} for n in decision.notices],
    }
    return {**row, "trace": decision.trace} if trace else row


def _show(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['decision']}: {row['reason']}")
        for block in row["blocks"]:
            say(f"  {block.recipient or 'nobody is named'}: {block.kind}, {block.words}")
        for notice in row["notices"]:
            say(f"  notice to {notice['to']} ({notice['reason']})")
        for step in row.get("trace", ()):
            say(f"  {step.rule}: {step.found}")
    if not rows:
        say("nothing found")
