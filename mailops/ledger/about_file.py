"""Everything about an address as one file: JSON for programs, or a page that opens anywhere and asks nobody."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from pathlib import Path

from ..errors import InputRefused
from ..model.text import counted
from ..page.sheet import page
from ..platforms import new_file
from .erasure import About

FORMS = (".json", ".html")


def as_json(found: About) -> str:
    """The file's text as JSON: :class:`mailops.ledger.erasure.About` with its rows."""
    return json.dumps(asdict(found), indent=1, ensure_ascii=False, default=str)


def as_page(found: About) -> str:
    """The same as a page."""
    parts = [f"<h1>Everything about {escape(found.address)}</h1>", f"<p>{escape(summary(found))}</p>"]
    for held in found.held:
        names = list(dict.fromkeys(name for row in held.rows for name in row))
        head = "".join(f"<th scope='col'>{escape(name.replace('_', ' '))}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in names) + "</tr>"
            for row in held.rows
        )
        more = (
            f"<p class='soft'>The newest {len(held.rows)} of {held.count}.</p>" if len(held.rows) < held.count else ""
        )
        parts.append(f"<h2>{escape(held.place.capitalize())} ({held.count})</h2>{more}")
        parts.append(f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")
    for title, lines in (("In files beside the store", found.elsewhere), ("Not reached from here", found.beyond)):
        if lines:
            parts.append(f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>")
    return page(f"Everything about {found.address}", "".join(parts))


def summary(found: About) -> str:
    """One sentence: how much there is, and whether it can be forgotten now."""
    if not found.rows:
        gone = f" It was forgotten on {found.forgotten_at:%Y-%m-%d}." if found.forgotten_at else ""
        return f"Nothing is kept of {found.address}.{gone}"
    waiting = f" {counted(len(found.waiting), 'mail is', 'mails are')} not done yet." if found.waiting else ""
    return (
        f"{counted(found.rows, 'row')} in {counted(len(found.held), 'place')} "
        f"{'is' if found.rows == 1 else 'are'} kept of {found.address}.{waiting}"
    )


def write(found: About, file: Path) -> Path:
    """Write the file, mode 0600, by its ending. Raises :class:`InputRefused` for another one than :data:`FORMS`, and
    where it cannot be written."""
    if file.suffix.lower() not in FORMS:
        raise InputRefused(
            f"{file.name!r} is neither a page nor JSON.",
            code="input.file_form",
            facts={"file": file.name, "known": list(FORMS)},
            fix="End its name with .html or .json.",
        )
    text = as_json(found) if file.suffix.lower() == ".json" else as_page(found)
    try:
        with new_file(file, encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise InputRefused(
            f"{file.name} cannot be written: {error.strerror or error}.",
            code="input.file_unwritable",
            facts={"file": str(file), "reason": error.strerror or str(error)},
            fix="Name a file in a folder that is there and that you may write to.",
        ) from error
    return file


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= 2_000 else f"{text[:2_000]} …"
