"""``mailops dmarc``: aggregate reports."""

from __future__ import annotations

from pathlib import Path

import typer

from .output import frame_table, print_json, say

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Reports of other servers: DMARC aggregate reports, TLS reports."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.callback()
def group() -> None:
    """DMARC aggregate reports."""


@app.command("report")
def report(
    files: list[Path] = typer.Argument(..., help="Report files (.xml, .gz, .zip, .eml) or folders.", exists=True),
    limit: float = typer.Option(0.02, help="The share that may fail before this ends with 1.", min=0, max=1),
    rows: bool = typer.Option(False, "--rows", help="Every row instead of one line a source."),
    json: bool = JSON,
) -> None:
    """Who sends in the domain's name, what of it passes, and who has no permission. Needs no workspace."""
    from ..analysis.dmarc import DmarcFiles
    from ..model.verdict import VerdictState

    read = DmarcFiles(Path()).read(files)
    verdicts = read.verdicts(limit=limit)
    frame = read.rows if rows else read.sources
    if json:
        print_json(
            {
                "reports": len(read.reports),
                "repeated": read.repeated,
                "messages": read.messages,
                "passed": read.passed,
                "domains": read.domains,
                "refused": read.refused,
                "notes": [{"file": name, "note": note} for name, note in read.notes],
                "verdicts": verdicts,
                "rows" if rows else "sources": frame,
            }
        )
    else:
        for verdict in verdicts:
            say(f"{verdict.state.icon} {verdict.title}: {verdict.found}")
            if verdict.fix:
                say(f"    next: {verdict.fix}")
        for name, note in read.notes:
            say(f"  note: {name}: {note}")
        for one in read.refused:
            say(f"  refused: {one.name}: {one.reason}")
        if len(frame):
            frame_table(frame)
    if not read.reports:
        raise typer.Exit(2)
    if any(verdict.state is VerdictState.FAILED for verdict in verdicts):
        raise typer.Exit(1)


@app.command("tls")
def tls(
    files: list[Path] = typer.Argument(..., help="Report files (.json, .gz, .zip, .eml) or folders.", exists=True),
    json: bool = JSON,
) -> None:
    """Whether other servers could encrypt to yours, from TLS reports (RFC 8460); 1 = sessions failed, 2 = no report."""
    from ..analysis.dmarc import DmarcFiles
    from ..model.verdict import VerdictState

    read = DmarcFiles(Path()).tls(files)
    verdicts = read.verdicts()
    if json:
        print_json(
            {
                "reports": len(read.reports),
                "refused": [{"file": name, "reason": reason} for name, reason in read.refused],
                "notes": [{"file": name, "note": note} for name, note in read.notes],
                "verdicts": verdicts,
                "rows": read.rows,
            }
        )
    else:
        for verdict in verdicts:
            say(f"{verdict.state.icon} {verdict.title}" + (f": {verdict.found}" if verdict.found else ""))
            if verdict.fix:
                say(f"    next: {verdict.fix}")
        for name, note in read.notes:
            say(f"  note: {name}: {note}")
        for name, reason in read.refused:
            say(f"  refused: {name}: {reason}")
    if not read.reports:
        raise typer.Exit(2)
    if any(verdict.state is VerdictState.FAILED for verdict in verdicts):
        raise typer.Exit(1)
