"""``mailops dmarc``: aggregate reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputRefused
from .domain import RESOLVER, TIMEOUT, domains_of
from .output import frame_table, print_json, say, table

if TYPE_CHECKING:
    from ..analysis.dmarc import DmarcFiles
    from ..domains import Domains

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Reports of other servers: DMARC aggregate reports, TLS reports."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


FILES = typer.Argument(..., help="Report files (.xml, .gz, .zip, .eml) or folders.", exists=True)


@app.callback()
def group() -> None:
    """DMARC aggregate reports."""


def _files(domains: Domains) -> DmarcFiles:
    """The reader, with the marks of the workspace where there is one."""
    from ..analysis.dmarc import DmarcFiles

    return DmarcFiles(Path(), marks=domains.sources.marks)


@app.command("report")
def report(
    ctx: typer.Context,
    files: list[Path] = FILES,
    limit: float = typer.Option(
        0.02, help="The share of your own sources' mail that may fail before this ends with 1.", min=0, max=1
    ),
    rows: bool = typer.Option(False, "--rows", help="Every row instead of one line a source."),
    json: bool = JSON,
) -> None:
    """Who sends in the domain's name, what of it passes, and who has no permission. Needs no workspace."""
    from ..model.verdict import VerdictState

    read = _files(domains_of(ctx, None, None)).read(files)
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


@app.command("sources")
def sources(
    ctx: typer.Context,
    files: list[Path] = FILES,
    networks: bool = typer.Option(False, "--asn", help="Also number and prefix of each network (asks its registry)."),
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """Who the sources are: their names, your servers, sending services, forwarders, strangers; 1 = a stranger sends."""
    domains = domains_of(ctx, resolvers, timeout)
    read = _files(domains).read(files)
    if not read.reports:
        raise InputRefused(
            "There is no report among these files.",
            code="input.report.no_report",
            facts={"refused": [f"{one.name}: {one.reason}" for one in read.refused]},
            fix="Name files that receivers sent to the rua address (.xml, .gz, .zip, .eml).",
        )
    found = domains.sources.of(read.surviving, read.domains, networks=networks)
    if json:
        print_json({"domains": read.domains, "sources": found, "left_out": len(read.surviving) - len(found)})
    else:
        counts = {line["source_ip"]: line for line in read.sources.to_dict("records")}
        rows = [
            (one.ip, counts[one.ip]["messages"], counts[one.ip]["passed"], one.name, one.network, one.kind, one.who,
             one.reason) for one in found
        ]  # fmt: skip
        table(["Source", "Mails", "Pass", "Name", "Network", "Kind", "Who", "Why"], rows)
        if len(found) < len(read.surviving):
            say(f"{len(read.surviving) - len(found):,} smaller sources were not looked up.")
    if any(one.kind == "stranger" for one in found):
        raise typer.Exit(1)


@app.command("mark")
def mark(
    ctx: typer.Context,
    places: list[str] = typer.Argument(..., metavar="ADDRESS…", help="Addresses or networks, such as 192.0.2.0/24."),
    mine: bool = typer.Option(False, "--mine", help="It is yours, or sends for you."),
    not_mine: bool = typer.Option(False, "--not-mine", help="It is not: what it sends is meant not to pass."),
    taken_away: bool = typer.Option(False, "--forget", help="Take the mark away."),
    note: str = typer.Option("", help="Whose it is, in words."),
    json: bool = JSON,
) -> None:
    """Say of sources whether they are yours; kept, and heeded by every later report."""
    from ..domains.sources import FORGOTTEN, MINE, NOT_MINE

    chosen = [word for word, on in ((MINE, mine), (NOT_MINE, not_mine), (FORGOTTEN, taken_away)) if on]
    if len(chosen) != 1:
        raise InputRefused(
            "Say one of: mine, not mine, forget.",
            code="input.mark",
            facts={"given": chosen},
            fix="Give exactly one of --mine, --not-mine and --forget.",
        )
    made = domains_of(ctx, None, None).sources.mark(places, chosen[0], note)
    if json:
        print_json([{"source": str(one.network), "mark": one.word, "note": one.note} for one in made])
    else:
        for one in made:
            say(f"{one.network}: {one.word}")


@app.command("marks")
def marks(ctx: typer.Context, json: bool = JSON) -> None:
    """The marks there are."""
    kept = domains_of(ctx, None, None).sources.marks()
    if json:
        print_json([{"source": str(one.network), "mark": one.word, "note": one.note} for one in kept])
    else:
        table(["Source", "Mark", "Note"], [(str(one.network), one.word, one.note) for one in kept])


@app.command("tls")
def tls(
    files: list[Path] = typer.Argument(..., help="Report files (.json, .gz, .zip, .eml) or folders.", exists=True),
    by_day: bool = typer.Option(False, "--by-day", help="Sessions by day and domain instead of one line a report."),
    json: bool = JSON,
) -> None:
    """Whether other servers could encrypt to yours, from TLS reports (RFC 8460); 1 = too many sessions failed, 2 = no
    report."""
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
                "frame": read.days if by_day else read.frame,
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
        if read.reports:
            frame_table(read.days if by_day else read.frame)
    if not read.reports:
        raise typer.Exit(2)
    if any(verdict.state is VerdictState.FAILED for verdict in verdicts):
        raise typer.Exit(1)
