"""``mailops bounces``: read reports, take them in, look at rates."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ..errors import InputRefused, MissingExtra
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


FORMAT = typer.Option("", "--format", help="json, csv or parquet instead of a table.")
OUT = typer.Option(None, "--output", "-o", help="Where to write (parquet needs it; default: standard output).")


def _write(rows: list[dict[str, Any]], form: str, output: Path | None) -> None:
    """Rows as JSON, CSV or Parquet."""
    if form == "parquet":
        _write_parquet(rows, output)
        return
    if form == "csv":
        text = _csv(rows)
    elif form == "json":
        from .output import as_json

        text = as_json(rows) + "\n"
    else:
        raise InputRefused(
            f"There is no format {form!r}.",
            code="input.format",
            facts={"format": form},
            fix="Use json, csv or parquet.",
        )
    if output:
        output.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)


def _csv(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    for row in rows:
        cells = ["" if v is None else str(v).replace("\r", " ").replace("\n", " ") for v in row.values()]
        # a spreadsheet must not take a stranger's text for a formula
        writer.writerow(["'" + cell if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells])
    return out.getvalue()


def _write_parquet(rows: list[dict[str, Any]], output: Path | None) -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise MissingExtra(
            "Parquet needs the package pyarrow.",
            code="extra.parquet",
            facts={"format": "parquet"},
            fix="Install it with: pip install pyarrow. Or use --format csv.",
        )
    if output is None:
        raise InputRefused(
            "Parquet is not for a terminal.",
            code="input.format",
            facts={"format": "parquet"},
            fix="Name a file with --output.",
        )
    from ..analysis.export import write_parquet

    write_parquet(rows, output)


def _flat(name: str, report: Any) -> list[dict[str, Any]]:
    """One row for each recipient; a message without any has one row too."""
    results = report.results or (None,)
    return [
        {
            "message": name,
            "kind": report.kind,
            "recipient": r.recipient if r else None,
            "status": r.status if r else None,
            "reason": r.reason if r else None,
            "hard": r.hard if r else None,
            "diagnostic": r.diagnostic if r else None,
            "original_message_id": report.original.message_id,
            "rule": (r.rule if r else "") or report.rule,
        }
        for r in results
    ]


@app.command("parse")
def parse(files: list[Path] = FILES, json: bool = JSON, form: str = FORMAT, output: Path | None = OUT) -> None:
    """Read messages: is it a report, about whom, why, hard or soft. Needs no workspace and records nothing."""
    from ..bounces import parse as read

    rows: list[dict[str, Any]] = []
    flat: list[dict[str, Any]] = []
    with progress("Reading", quiet=json) as update:
        for number, (name, raw) in enumerate(messages(files), start=1):
            report = read(raw)
            if form:
                flat += _flat(name, report)
            else:
                rows.append(_row(name, report))
            update(number)
    if form:
        _write(flat, form, output)
        return
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
def stats(files: list[Path] = FILES, json: bool = JSON, form: str = FORMAT, output: Path | None = OUT) -> None:
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
    if form:
        counted = [("kind", *pair) for pair in kinds.most_common()] + [
            ("reason", *pair) for pair in reasons.most_common()
        ]
        _write([{"what": what, "word": word, "count": number} for what, word, number in counted], form, output)
    elif json:
        print_json({"kinds": kinds, "reasons": reasons})
    else:
        table(["Kind", "Messages"], kinds.most_common())
        table(["Reason", "Recipients"], reasons.most_common())
