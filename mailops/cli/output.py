"""What commands print: tables and sentences for people, JSON for scripts, errors with code, facts and fix.

Much of it was written by strangers (subjects, replies of servers), so it is redacted, and no byte of it steers a
terminal.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import InputRefused, MailopsError, StateConflict
from ..model.text import STEERING, harmless


def shown(text: str) -> str:
    """Text for a terminal: redacted, and with a replacement character for what would steer it."""
    from ..secrets import redact

    return harmless(redact(text))


def as_json(value: object) -> str:
    """JSON text of dataclasses, frames, times and plain values; controls are escaped."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    return STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def plain(value: Any) -> Any:
    """JSON-ready values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a pandas frame
        return plain(value.to_dict("records"))
    if hasattr(value, "item"):  # a numpy number
        return value.item()
    return value


def print_json(value: object) -> None:
    """JSON on standard output, redacted."""
    from ..secrets import redact

    sys.stdout.write(redact(as_json(value)) + "\n")


def print_public(value: object) -> None:
    """JSON on standard output as it is: of what everybody may read, such as the record of a public key, in which the
    redactor would find pieces of the private one."""
    sys.stdout.write(as_json(value) + "\n")


def print_error(error: MailopsError, *, json_wanted: bool) -> None:
    """An error's sentence, code, facts and next step, on standard error (or as JSON on standard output)."""
    if json_wanted:
        print_json(error.as_dict())
        return
    lines = [f"Error: {error.message}  [{error.code}]"]
    lines += [f"  {name}: {plain(value)}" for name, value in error.facts.items() if value not in (None, "", [], ())]
    lines.append(f"  What to do: {error.fix}")
    sys.stderr.write(shown("\n".join(lines)) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table for people; on a pipe it is as wide as it needs to be."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else shown(str(plain(cell)))) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(drawn)


def frame_table(frame: Any, *, title: str | None = None) -> None:
    """A pandas frame as a table; shares in per cent."""
    shares = {"rate", "low", "high"}
    rows = [
        [f"{value:.2%}" if name in shares else value for name, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False)
    ]
    table([str(c) for c in frame.columns], rows, title=title)


def say(text: str) -> None:
    """A sentence for people."""
    sys.stdout.write(shown(text) + "\n")


def ask(question: str, yes: bool, json: bool) -> None:
    """Go on only when the question was answered; without a person to answer, ``--yes`` is wanted."""
    if not question or yes:
        return
    if json or not sys.stdin.isatty():
        raise StateConflict(
            "This change wants to be confirmed.",
            code="state.not_confirmed",
            facts={"impact": question.splitlines()},
            fix="Read what it does, and give --yes to do it.",
        )
    import typer

    say(question)
    typer.confirm("Go on?", abort=True)


@contextmanager
def progress(label: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Any]:
    """A progress bar on a terminal; yields ``update(done)`` or, where the total is not known before, ``update(done,
    total)``. Nothing is drawn on a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total=None: None
        return
    bar = Progress(
        TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, transient=True
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda done, total=None: bar.update(task, completed=done, total=total)


def write_out(file: Path, text: str) -> None:
    """Write a file that somebody asked for. Raises :class:`InputRefused` where it cannot be written."""
    from ..platforms import new_file

    try:
        with new_file(file, encoding="utf-8", newline="") as out:
            out.write(text)
    except OSError as error:
        raise InputRefused(
            "The file cannot be written.",
            code="output.unwritable",
            facts={"file": str(file), "reason": error.strerror or str(error)},
            fix="Name a file in a folder that exists and that you may write to.",
        ) from error
