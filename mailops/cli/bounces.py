"""``mailops bounces``: read reports, take them in, see why a mail failed, put together what support needs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputRefused, NotFound
from ..model.text import counted, harmless
from .app import open_ops
from .output import print_json, say, table
from .rowfiles import Columns, row_file

if TYPE_CHECKING:
    from ..bounces.reading.report import Report
    from ..bounces.reading.sources import Skipped, Source

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Read reports that came back: parse, explain, take in, collect."
)
JSON = typer.Option(False, "--json", help="Print JSON.")
FILES = typer.Argument(..., help="Message files, folders (also Maildir), or mbox files.", exists=True)
FORMAT = typer.Option("", "--format", help="json, csv or parquet instead of a table.")
OUT = typer.Option(None, "--output", "-o", help="Where to write (parquet needs it; default: standard output).")
DELIVERED = typer.Option("", "--delivered-to", help="The address the messages were delivered to (envelope recipient).")
BOUNCE_ADDRESS = typer.Option([], "--bounce-address", help="A bounce address of ours, without a tag; may be repeated.")
DOMAIN = typer.Option([], "--domain", help="A mail domain of ours; may be repeated.")
MOST_SHOWN = 1000

PARSED: Columns = {
    "message": str,
    "kind": str,
    "recipient": str,
    "status": str,
    "reason": str,
    "meaning": str,
    "hard": bool,
    "strength": str,
    "diagnostic": str,
    "original_message_id": str,
    "rule": str,
}
EXPLAINED: Columns = {
    "message": str,
    "kind": str,
    "recipient": str,
    "status": str,
    "reason": str,
    "meaning": str,
    "hard": bool,
    "strength": str,
    "who_acts": str,
    "diagnosis": str,
    "tasks": str,
    "consequence": str,
    "subject": str,
    "original_message_id": str,
    "diagnostic": str,
    "search": str,
    "rule": str,
    "evidence": str,
}
COUNTED: Columns = {"what": str, "word": str, "count": int}


@contextmanager
def reading(files: list[Path], *, quiet: bool) -> Iterator[Iterator[Source]]:
    """Every message of the files, with a bar on a terminal; at the end, what was skipped is told.

    Raises :class:`InputRefused` when there is nothing at all to read.
    """
    from ..bounces.reading.sources import files as listed
    from ..bounces.reading.sources import messages

    skipped: list[Skipped] = []
    seen = 0
    with _bar(files, listed, quiet=quiet) as update:

        def each() -> Iterator[Source]:
            nonlocal seen
            for source in messages(files, skipped.append):
                yield source
                seen += 1
                update(source.read, seen)

        yield each()
    for one in skipped[:20]:
        sys.stderr.write(harmless(f"Skipped: {one.name}: {one.reason}") + "\n")
    if len(skipped) > 20:
        sys.stderr.write(f"Skipped: {len(skipped) - 20} more\n")
    if not seen:
        raise InputRefused(
            "There is no message to read.",
            code="input.no_message",
            facts={"files": [str(f) for f in files[:5]], "skipped": len(skipped)},
            fix="Name message files, folders that hold them (also Maildir), or mbox files.",
        )


@contextmanager
def _bar(files: list[Path], listed: Callable[..., Any], *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda read, number: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    total = sum(path.stat().st_size for path in listed(files) if path.is_file())
    words = TextColumn("{task.fields[number]:,} messages")
    columns = (TextColumn("Reading"), BarColumn(), TaskProgressColumn(), words, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=max(total, 1), number=0)
        yield lambda read, number: bar.update(task, completed=read, number=number)


def _row(name: str, report: Report) -> dict[str, Any]:
    return {
        "message": name,
        "kind": report.kind,
        "recipients": list(report.recipients),
        "results": report.results,
        "original_message_id": report.original.message_id,
        "rule": report.rule,
    }


def _flat(name: str, report: Report) -> Iterator[dict[str, Any]]:
    """One row for each recipient; a message without any has one row too."""
    for r in report.results or (None,):
        yield {
            "message": name,
            "kind": report.kind,
            "recipient": r.recipient if r else None,
            "status": r.status if r else None,
            "reason": r.reason if r else None,
            "meaning": _meaning(report, r),
            "hard": r.hard if r else None,
            "strength": r.strength if r else None,
            "diagnostic": r.diagnostic if r else None,
            "original_message_id": report.original.message_id,
            "rule": (r.rule if r else "") or report.rule,
        }


def _meaning(report: Report, result: Any) -> str | None:
    """The reason in words; a failure that nobody can interpret says ``no error``, and never looks like a success."""
    from ..model.reasons import plain

    if result is not None:
        return plain(result.reason)
    return plain("undefined") if report.kind in ("bounce", "delayed") else None


def _reader(delivered_to: str, bounce_addresses: list[str], domains: list[str]) -> Callable[[bytes], Report]:
    """The reader, told what is ours."""
    from ..bounces import Ours, parse

    ours = Ours.of({"bounce_addresses": bounce_addresses, "domains": domains})
    return lambda raw: parse(raw, delivered_to=delivered_to or None, ours=ours)


@app.command("parse")
def parse(
    files: list[Path] = FILES,
    delivered_to: str = DELIVERED,
    bounce_address: list[str] = BOUNCE_ADDRESS,
    domain: list[str] = DOMAIN,
    json: bool = JSON,
    form: str = FORMAT,
    output: Path | None = OUT,
) -> None:
    """Read messages: is it a report, about whom, why, hard or soft. Needs no workspace and records nothing."""
    read = _reader(delivered_to, bounce_address, domain)

    if json or form or output:
        nested = json and not form
        with (
            row_file(form or "json", PARSED, output) as out,
            reading(files, quiet=json and output is None) as sources,
        ):
            for source in sources:
                report = read(source.raw)
                for row in [_row(source.name, report)] if nested else _flat(source.name, report):
                    out.write(row)
        return
    shown: list[tuple[object, ...]] = []
    total = 0
    with reading(files, quiet=False) as sources:
        for source in sources:
            report = read(source.raw)
            for row in _flat(source.name, report):
                total += 1
                if total <= MOST_SHOWN:
                    reason = row["meaning"] if row["reason"] in (None, "undefined") else row["reason"]
                    hard = row["strength"] or ""
                    cells = (row["kind"], row["recipient"], row["status"], reason, hard)
                    shown.append((Path(row["message"]).name, *cells))
    table(["Message", "Kind", "Recipient", "Status", "Reason", ""], shown)
    if total > MOST_SHOWN:
        say(f"The first {MOST_SHOWN:,} of {counted(total, 'line')}; all of them: --format csv -o FILE")


def _explained(name: str, report: Report) -> Iterator[dict[str, Any]]:
    from ..bounces.reading.explain import explain as in_words

    for one in in_words(report):
        yield {"message": name, **asdict(one), "tasks": " ".join(one.tasks)}


@app.command("explain")
def explain(
    files: list[Path] = FILES,
    delivered_to: str = DELIVERED,
    bounce_address: list[str] = BOUNCE_ADDRESS,
    domain: list[str] = DOMAIN,
    json: bool = JSON,
    form: str = FORMAT,
    output: Path | None = OUT,
) -> None:
    """Messages in words: what each is, by which rule, and what to do. Needs no workspace and records nothing."""
    read = _reader(delivered_to, bounce_address, domain)

    if json or form or output:
        with (
            row_file(form or "json", EXPLAINED, output) as out,
            reading(files, quiet=json and output is None) as sources,
        ):
            for source in sources:
                for row in _explained(source.name, read(source.raw)):
                    out.write(row)
        return
    with reading(files, quiet=False) as sources:
        for number, source in enumerate(sources):
            report = read(source.raw)
            say(f"{chr(10) if number else ''}{source.name}")
            say(f"Kind: {report.kind} (rule {report.rule}: {report.evidence!r})")
            if report.original.subject or report.original.message_id:
                say(f"About: {report.original.subject or '(no subject)'} {report.original.message_id or ''}".rstrip())
            for row in _explained(source.name, report):
                _say_row(row, bool(report.results))


def _say_row(row: dict[str, Any], named: bool) -> None:
    if row["meaning"] is None or not row["strength"]:
        say(f"{row['recipient']}: {row['consequence']}" if row["recipient"] else row["consequence"])
        return
    said = f"({row['reason'] or 'undefined'}, {row['strength']}, {row['status'] or 'no status'})"
    say(f"{row['recipient'] or 'nobody is named'}: {row['meaning']} {said if named else ''}".rstrip())
    if named:
        say(f"  rule {row['rule']}: {row['evidence']!r}\n  {row['diagnostic'] or '(no text)'}")
    say(f"  What follows: {row['consequence']}")
    if row["diagnosis"] and row["diagnosis"] not in (row["meaning"], "no error"):
        say(f"  Why: {row['diagnosis']}")
    if row["tasks"]:
        say(f"  What to do: {row['tasks']}")
    if row["search"]:
        say(f"  To search the web for: {row['search']}")


@app.command("take")
def take(
    ctx: typer.Context,
    files: list[Path] = FILES,
    each: bool = typer.Option(False, "--each", help="Also say what each report tells, and what that changed."),
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """Take reports into the workspace: tie each to the delivery it speaks of and mark it."""
    bounces = open_ops(ctx).bounces
    counts: Counter[str] = Counter()
    told: list[dict[str, Any]] = []
    with reading(files, quiet=json) as sources:
        for source in sources:
            taken = bounces.take(source.raw, delivered_to or None)
            counts["repeated" if taken.repeated else taken.kind] += 1
            counts["matched"] += taken.matched
            if each:
                told.append({"message": source.name, "repeated": taken.repeated, "blocks": taken.blocks})
    if json:
        print_json({**counts, "reports": told} if each else counts)
    else:
        for one in told:
            say(f"{one['message']}{': taken before' if one['repeated'] else ''}")
            for block in one["blocks"]:
                say(f"  {block.recipient or 'nobody is named'}: {block.kind}, {block.words}")
        say(", ".join(f"{n} {k}" for k, n in counts.items()) or "nothing found")


@app.command("events")
def events(
    ctx: typer.Context,
    file: Path | None = typer.Argument(None, help="A file of Mailjet's events (CSV); without it, its API is asked."),
    server: str = typer.Option("", help="The outgoing server whose login and password are Mailjet's key pair."),
    since: str = typer.Option("7d", help="From when on mail is asked about: 7d or a date."),
    api: str = typer.Option("", help="Another address of the API."),
    json: bool = JSON,
) -> None:
    """Take in Mailjet's events from a file or its API; what the webhook has told already counts once."""
    from ..webhooks import Webhooks
    from ..webhooks.elsewhere import from_csv

    ops = open_ops(ctx)
    if file is not None:
        try:
            text = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputRefused(
                "The file of events cannot be read.",
                code="input.unreadable",
                facts={"file": str(file), "reason": type(error).__name__},
                fix="Name a CSV file in UTF-8 that you may read.",
            ) from error
        received = Webhooks(ops).take_mailjet(from_csv(text))
    else:
        received = Webhooks(ops).ask_mailjet(server, since, base=api)
    if json:
        print_json(asdict(received))
    else:
        say(f"{counted(received.events, 'new event')}, {received.matched:,} of our mail; {received.repeated:,} known.")


@app.command("stats")
def stats(files: list[Path] = FILES, json: bool = JSON, form: str = FORMAT, output: Path | None = OUT) -> None:
    """Count kinds, reasons, hard and soft over messages. Needs no workspace and records nothing."""
    from ..bounces import parse as read
    from ..model.reasons import plain

    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    hardness: Counter[str] = Counter()
    with reading(files, quiet=json and output is None) as sources:
        for source in sources:
            report = read(source.raw)
            kinds[report.kind] += 1
            reasons.update(r.reason for r in report.results)
            if report.kind == "bounce":
                hardness.update(r.strength for r in report.results)
    counted = {"kind": kinds, "reason": reasons, "hardness": hardness}
    if form or output:
        with row_file(form or "json", COUNTED, output) as out:
            for what, counter in counted.items():
                for word, number in counter.most_common():
                    out.write({"what": what, "word": word, "count": number})
    elif json:
        print_json({"kinds": kinds, "reasons": reasons, "hardness": hardness})
    else:
        table(["Kind", "Messages"], kinds.most_common())
        table(["Reason", "In words", "Recipients"], [(r, plain(r), n) for r, n in reasons.most_common()])
        table(["Bounces", "Recipients"], hardness.most_common())


@app.command("why")
def why(
    ctx: typer.Context,
    mail_id: int = typer.Argument(..., help="The mail's number (mailops queue list)."),
    dns: bool = typer.Option(None, "--dns/--no-dns", help="The sender's DNS report (default: when nothing explains)."),
    json: bool = JSON,
) -> None:
    """Why a mail failed or still waits: each recipient's error in words, what follows, who must act, what to do; the
    sender's DNS when no reason is known."""
    from ..analysis.sql import UNEXPLAINED
    from ..analysis.why import about
    from ..bounces.reading.searchable import searchable

    ops = open_ops(ctx)
    troubles = ops.why(mail_id)
    found = [trouble.failure for trouble in troubles]
    if not found:
        raise NotFound(
            f"No failure of mail {mail_id} is known.",
            facts={"mail": mail_id},
            fix="Look at the mail itself: mailops queue history MAIL",
        )
    rows = [
        {
            "failure": one.failure,
            "meaning": one.failure.meaning,
            "diagnosis": one.cause,
            "strength": one.failure.strength if one.failure.kind != "deferred" else "",
            "consequence": one.consequence,
            "tasks": one.tasks,
            "who": one.explanation.who,
            "class": one.explanation.kind,
            "row": one.explanation.row,
            "look": one.next_look,
            "search": searchable(one.failure.error),
            "listed": one.listed,
        }
        for one in troubles
    ]
    unexplained = any(one.failure.reason in UNEXPLAINED and not one.explanation.own for one in troubles)
    wanted = dns if dns is not None else unexplained
    lines = ops.sender_report(found[0].sender).lines if wanted and found[0].sender else ()
    names = {name for one in found for name in (one.recipient.lower(), one.recipient.rpartition("@")[2].lower())}
    support = [r.suggestion for r in ops.analysis.recurring() if r.name in names] if unexplained else []
    subject, message_id = about(ops.engine, mail_id)
    if json:
        told = {"mail": mail_id, "subject": subject, "message_id": message_id}
        print_json({**told, "failures": rows, "dns": lines, "support": support})
        return
    say(f"About: {subject or '(no subject)'} {message_id}".rstrip())
    for trouble, row in zip(troubles, rows, strict=True):
        one = trouble.failure
        cause = trouble.cause if trouble.explanation.own else one.meaning
        say(f"{one.recipient}: {cause} ({one.kind} {one.at:%Y-%m-%d %H:%M} UTC, {one.code or 'no code'})")
        say(f"  {one.error}\n  What follows: {trouble.consequence}")
        if trouble.cause not in (cause, "no error"):
            say(f"  Why: {trouble.cause}")
        if trouble.listed:
            say(f"  {trouble.listed}")
        say(f"  To act: {trouble.explanation.acts}\n  What to do: {' '.join(trouble.tasks)}")
        if trouble.next_look:
            say(f"  To look further: {trouble.next_look}")
        if row["search"] and one.error != one.meaning:
            say(f"  To search the web for: {row['search']}")
    for line in (*lines, *support):
        say(line)


@app.command("collect")
def collect(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="The address or domain that keeps failing."),
    output: Path = typer.Option(..., "--output", "-o", help="The zip file to make; an existing one is left alone."),
    dns: bool = typer.Option(True, "--dns/--no-dns", help="Put the DNS report of the sender's domain in."),
    json: bool = JSON,
) -> None:
    """Put together what support needs about an address or domain: failures, raw reports, DNS report; redacted, 0600."""
    from ..analysis.collect import gather, write_zip

    ops = open_ops(ctx)
    files = gather(ops.engine, name, now=ops.clock.now())
    if dns:
        by = "address" if "@" in name else "domain"
        newest, _ = ops.analysis.failures(None, by=by, value=name, limit=1)
        sender = ops.analysis.failure(newest[0].id).sender if newest else ""
        if sender:
            files = gather(ops.engine, name, dns=ops.sender_report(sender).lines, now=ops.clock.now())
    size = write_zip(files, output)
    if json:
        print_json({"file": output, "bytes": size, "files": list(files)})
    else:
        say(
            f"{output}: {counted(len(files), 'file')}, {counted(size, 'byte')}. It holds addresses and mail: "
            "give it to support only."
        )
