"""``mailops bounces``: read reports, take them in, look at rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ..errors import InputRefused
from .app import open_ops
from .output import print_json, progress, say, table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Read reports that came back: parse, explain, take in, rates."
)
JSON = typer.Option(False, "--json", help="Print JSON.")
FILES = typer.Argument(..., help="Message files, folders of .eml files, or mbox files.", exists=True)
MAX_FILE = 50 * 1024 * 1024


def messages(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Every message in files, folders (recursively) and mbox files, as (name, bytes)."""
    for path in paths:
        if path.is_dir():
            yield from messages(sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")))
            continue
        with path.open("rb") as file:
            mbox = file.read(5) == b"From "
        if mbox:
            import mailbox

            box = mailbox.mbox(path, create=False)
            for key in box.iterkeys():
                yield f"{path}#{key}", box.get_bytes(key)
            continue
        if path.stat().st_size > MAX_FILE:
            raise InputRefused(
                "The file is too large for one message.",
                code="input.too_large",
                facts={"file": str(path), "bytes": path.stat().st_size, "limit": MAX_FILE},
                fix="Give messages one by one, or an mbox file.",
            )
        yield str(path), path.read_bytes()


def _row(name: str, report: Any) -> dict[str, Any]:
    return {
        "message": name,
        "kind": report.kind,
        "recipients": list(report.recipients),
        "results": report.results,
        "original_message_id": report.original.message_id,
        "rule": report.rule,
    }


@app.command("parse")
def parse(files: list[Path] = FILES, json: bool = JSON) -> None:
    """Read messages: is it a report, about whom, why, hard or soft. Needs no workspace and records nothing."""
    from ..bounces import parse as read

    rows = []
    with progress("Reading", quiet=json) as update:
        for number, (name, raw) in enumerate(messages(files), start=1):
            rows.append(_row(name, read(raw)))
            update(number)
    if json:
        print_json(rows)
        return
    shown = [
        (Path(r["message"]).name, r["kind"], x.recipient, x.status, x.reason, "hard" if x.hard else "soft")
        for r in rows
        for x in r["results"]
    ] + [(Path(r["message"]).name, r["kind"], None, None, None, None) for r in rows if not r["results"]]
    table(["Message", "Kind", "Recipient", "Status", "Reason", ""], shown)


@app.command("explain")
def explain(file: Path = typer.Argument(..., exists=True, dir_okay=False), json: bool = JSON) -> None:
    """One message in words: what it is, by which rule, and what to do."""
    from ..bounces import parse as read
    from ..bounces.reasons import plain

    report = read(file.read_bytes())
    if json:
        print_json(_row(str(file), report))
        return
    say(f"Kind: {report.kind} (rule {report.rule}: {report.evidence!r})")
    for found in report.results:
        say(
            f"{found.recipient}: {plain(found.reason)} ({found.reason}, {'hard' if found.hard else 'soft'}, "
            f"{found.status or 'no status'})\n  rule {found.rule}: {found.evidence!r}\n  {found.diagnostic}"
        )


@app.command("take")
def take(ctx: typer.Context, files: list[Path] = FILES, json: bool = JSON) -> None:
    """Take reports into the workspace: tie each to the delivery it speaks of and mark it."""
    bounces = open_ops(ctx).bounces
    counts: Counter[str] = Counter()
    with progress("Taking in", quiet=json) as update:
        for number, (_, raw) in enumerate(messages(files), start=1):
            taken = bounces.take(raw)
            counts["repeated" if taken.repeated else taken.report.kind] += 1
            counts["matched"] += taken.matched
            update(number)
    if json:
        print_json(counts)
    else:
        say(", ".join(f"{n} {k}" for k, n in counts.items()) or "nothing found")


@app.command("stats")
def stats(files: list[Path] = FILES, json: bool = JSON) -> None:
    """Count kinds and reasons over messages. Needs no workspace and records nothing."""
    from ..bounces import parse as read

    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with progress("Reading", quiet=json) as update:
        for number, (_, raw) in enumerate(messages(files), start=1):
            report = read(raw)
            kinds[report.kind] += 1
            reasons.update(r.reason for r in report.results)
            update(number)
    if json:
        print_json({"kinds": kinds, "reasons": reasons})
    else:
        table(["Kind", "Messages"], kinds.most_common())
        table(["Reason", "Recipients"], reasons.most_common())
