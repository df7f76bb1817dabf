"""``mailops support``: put a case together for support, without names; translate the answer; judge again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import InputRefused
from ..model.text import counted
from .app import open_ops
from .output import plain, print_json, say, shown, table

if TYPE_CHECKING:
    from ..support import Bundle

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Put a case together for support without names, translate the answer, judge again.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
MAIL = typer.Option(None, "--mail", help="The mail's number (mailops queue list).")
FILE = typer.Option(None, "--file", help="The mail as a file: .eml or .msg, the original.")
RECORD = typer.Option("", "--record", help="Outgoing, without a file: the order, contact or invoice it is about.")
AT = typer.Option("", "--at", help="When it was sent, with the zone: '2024-01-10 11:45 Europe/Berlin'.")


@app.command("bundle")
def bundle(
    ctx: typer.Context,
    out: Path = typer.Option(..., "--out", "-o", help="The zip to make; an existing file is left alone."),
    mail: int = MAIL,
    file: Path = FILE,
    record: str = RECORD,
    at: str = AT,
    answer: list[str] = typer.Option(None, "--answer", help="An answer of yours: QUESTION=TEXT (support questions)."),
    dns: bool = typer.Option(True, "--dns/--no-dns", help="Ask DNS about the sender's domain, at most 20 s each."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Write it without showing it first."),
    json: bool = JSON,
) -> None:
    """Everything support needs about one mail, as a zip that opens anywhere: addresses, domains, tokens and secrets
    have stand-ins of the same length. The key stays in the workspace; nothing is written while one of them is left."""
    ops = open_ops(ctx)
    made = ops.support.bundle(mail=mail, file=file, record=record, at=at, answers=_answers(answer or []), dns=dns)
    if not yes and not json:
        _show(made)
        typer.confirm("Write it?", abort=True)
    path = made.write(out)
    if json:
        print_json(
            {
                "file": path,
                "bytes": path.stat().st_size,
                "files": {name: len(data) for name, data in made.files.items()},
                "replaced": made.replaced,
                "left_out": made.removed,
                "warnings": made.warnings,
                "answers": made.answers,
                "open": made.open_questions,
            }
        )
        return
    for warning in made.warnings:
        say(f"Warning: {warning}")
    say(f"{path}: {made.says} The key to its names stays in the workspace (mailops support translate).")


def _answers(given: list[str]) -> dict[str, str]:
    out = {}
    for one in given:
        key, sign, text = one.partition("=")
        if not sign or not text.strip():
            raise InputRefused(
                f"{one[:60]!r} is no answer.",
                code="support.answer",
                facts={"given": one[:100]},
                fix="Write QUESTION=TEXT, such as changed='Yes, a new server on Monday'.",
            )
        out[key.strip()] = text.strip()
    return out


def _show(made: Bundle) -> None:
    table(["File", "Bytes"], [(name, f"{len(data):,}") for name, data in made.files.items()])
    for one in made.answers:
        say(f"{one.question}\n  {one.answer or '(not answered: --answer ' + one.key + '=TEXT)'}")
        for line in one.evidence:
            say(f"    {line}")
    for part in made.removed:
        say(f"Left out: a part of type {part}")
    for warning in made.warnings:
        say(f"Warning: {warning}")
    say(f"{made.says} A second scan found no address, token or secret in it.")


@app.command("questions")
def questions(
    ctx: typer.Context, mail: int = MAIL, file: Path = FILE, record: str = RECORD, at: str = AT, json: bool = JSON
) -> None:
    """What support asks, with the answers that are known here, and how a mail is saved as a file."""
    from ..support.questions import EXPORTS

    found = open_ops(ctx).support.questions(mail=mail, file=file, record=record, at=at)
    if json:
        print_json({"questions": found, "exports": EXPORTS})
        return
    for one in found:
        say(f"{one.key}: {one.question}")
        for line in (one.answer, *one.evidence):
            if line:
                say(f"    {line}")
    say("\nThe mail as a file, from the program it is read with:")
    for way in EXPORTS:
        say(f"{way.program}: {' '.join(way.steps)} {way.address}".rstrip())


@app.command("translate")
def translate(
    ctx: typer.Context,
    file: str = typer.Argument("-", help="Support's answer as text; - = standard input."),
    json: bool = JSON,
) -> None:
    """Put the real names back into an answer of support, by the key that stayed in this workspace."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).expanduser().read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise InputRefused(
            "The answer cannot be read.",
            code="input.unreadable",
            facts={"file": file, "reason": str(error)[:200]},
            fix="Name a text file in UTF-8, or pipe the text in.",
        ) from error
    found = open_ops(ctx).support.translate(text)
    if json:
        print_json(found)
        return
    sys.stdout.write(shown(found.text) + ("" if found.text.endswith("\n") else "\n"))


@app.command("check")
def check(
    file: Path = typer.Argument(..., help="The zip of a bundle."),
    json: bool = JSON,
) -> None:
    """Make the verdicts of a bundle again, from its evidence alone: no workspace, no network. Status 1 where one
    differs."""
    from ..support.service import recheck

    found = recheck(file)
    if json:
        print_json([{**plain(one), "same": one.same} for one in found])
    else:
        table(["Verdict", "In the bundle", "Made again"], [(one.what, one.before, one.again) for one in found])
        say(f"{counted(len(found), 'verdict')}, {sum(one.same for one in found)} the same.")
    if not all(one.same for one in found):
        raise typer.Exit(1)


@app.command("suggested")
def suggested(ctx: typer.Context, json: bool = JSON) -> None:
    """Whether support is worth asking: three or more unexplained failures of one address or domain in seven days."""
    found = open_ops(ctx).support.suggested()
    if json:
        print_json(found)
        return
    for one in found:
        say(f"{one.says}")
    if not found:
        say("Nothing fails again and again without a reason.")
