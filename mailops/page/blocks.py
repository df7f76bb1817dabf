"""What a page shows, as plain data: the same blocks become HTML (the app, reports) and plain text (terminals, logs).

A block holds text, never HTML: :func:`html` is the one place where it is escaped, and :class:`Raw` takes nothing but
``Markup`` of ours. A cell of a table is text, a :class:`Chip` or a :class:`Link`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from .glossary import explained
from .sheet import badge, moment
from .theme import STATE_TONES

KEPT = frozenset({"", "http", "https", "mailto"})


@dataclass(frozen=True, slots=True)
class Chip:
    """A state: icon and word, never colour alone."""

    state: str
    word: str


@dataclass(frozen=True, slots=True)
class Link:
    """Text that leads on. An address of another scheme than the web's is shown, and leads nowhere."""

    text: str
    address: str


@dataclass(frozen=True, slots=True)
class When:
    """A moment, in UTC; the reader's own time stands beside it in a browser."""

    at: datetime


Inline = str | int | None | Chip | Link | When


@dataclass(frozen=True, slots=True)
class Title:
    """The one heading of a page, or of a part of it (``level`` 2, 3), with a line below."""

    text: str
    lead: str = ""
    level: int = 1


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A line of prose, of words and links."""

    parts: tuple[Inline, ...]
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A raw answer or value."""

    text: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that may lead to what it counts; ``state`` gives its tone."""

    label: str
    value: str
    address: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Figures side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below columns; ``empty`` is said where there are none."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Inline]]
    empty: str = "Nothing here."
    titled: bool = False  # a heading above says the caption already


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what stands for each."""

    rows: Sequence[tuple[str, Inline]]


@dataclass(frozen=True, slots=True)
class Banner:
    """What matters most, in its colour."""

    state: str
    icon: str
    text: str
    below: Inline = None


@dataclass(frozen=True, slots=True)
class Details:
    """Something to open."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Blocks in one frame."""

    blocks: tuple[Block, ...]
    state: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Cards side by side."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """An input of a form. ``kind``: text, number, check, or choice with its ``options`` (value, label)."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    help: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """Fields that go into the address of the next page; nothing is changed by it."""

    fields: tuple[Field, ...]
    button: str
    address: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """A place to hand in files, in pieces of at most ``piece`` bytes to ``address/KIND``; ``kinds``: (word, label)."""

    kinds: tuple[tuple[str, str], ...]
    address: str
    piece: int


@dataclass(frozen=True, slots=True)
class Raw:
    """HTML of ours that a block has no word for."""

    html: Markup
    text: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.html, Markup):
            raise TypeError("only Markup is shown as it is")


Block = Title | Paragraph | Code | Tiles | Table | Facts | Banner | Details | Card | Grid | Form | Drop | Raw


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the title of its tab, its blocks, and the name of the part of the app that it belongs to."""

    title: str
    blocks: tuple[Block, ...]
    part: str = ""
    status: int = field(default=200)


def html(block: Block) -> Markup:
    """A block as HTML."""
    match block:
        case Title(text, lead, level):
            below = Markup('<p class="soft">{}</p>').format(lead) if lead else ""
            return Markup("<h{0}>{1}</h{0}>{2}").format(level, text, below)
        case Paragraph(parts, soft):
            return Markup("<p{}>{}</p>").format(Markup(' class="soft"') if soft else "", _joined(parts))
        case Code(text):
            return Markup("<pre tabindex=0><code>{}</code></pre>").format(text)
        case Tiles(tiles):
            return Markup('<dl class="tiles">{}</dl>').format(_all(_tile(one) for one in tiles))
        case Table():
            return _table(block)
        case Facts(rows):
            cells = (
                Markup("<dt>{}{}</dt><dd>{}</dd>").format(name, _mark(name), _inline(value)) for name, value in rows
            )
            return Markup("<dl>{}</dl>").format(_all(cells))
        case Banner(state, icon, text, below):
            more = Markup("<p>{}</p>").format(_inline(below)) if below is not None else ""
            return Markup(
                '<div class="card banner {}" role="status"><strong><span aria-hidden="true">{}</span> {}</strong>'
                "{}</div>"
            ).format(state, icon, text, more)
        case Details(summary, blocks):
            return Markup("<details><summary>{}</summary>{}</details>").format(summary, _all(map(html, blocks)))
        case Card(blocks, state):
            return Markup('<section class="card {}">{}</section>').format(state, _all(map(html, blocks)))
        case Grid(cards):
            return Markup('<div class="runs">{}</div>').format(_all(map(html, cards)))
        case Form():
            return _form(block)
        case Drop():
            return _drop(block)
        case Raw(inner):
            return inner


def text(block: Block) -> str:
    """A block as plain text."""
    match block:
        case Title(words, lead, _):
            return f"{words}\n{lead}".rstrip()
        case Paragraph(parts, _):
            return "".join(map(_plain, parts))
        case Code(words):
            return words
        case Tiles(tiles):
            return "   ".join(f"{one.label}: {one.value}" for one in tiles)
        case Table(caption, columns, rows, empty, _):
            lines = [" | ".join(map(_plain, row)) for row in rows] or [empty]
            return "\n".join(filter(None, [caption, " | ".join(columns), *lines]))
        case Facts(rows):
            return "\n".join(f"{name}: {_plain(value)}" for name, value in rows)
        case Banner(_, icon, words, below):
            return f"{icon} {words} {_plain(below)}".rstrip()
        case Details(summary, blocks):
            return "\n".join([summary, *map(text, blocks)])
        case Card(blocks, _):
            return "\n".join(map(text, blocks))
        case Grid(cards):
            return "\n\n".join(map(text, cards))
        case Form(fields, _, _, label):
            return f"{label} ({', '.join(one.label for one in fields)})".strip()
        case Drop(kinds, _, _):
            return "\n".join(["Hand in by the browser:", *(label for _, label in kinds)])
        case Raw(_, words):
            return words


def _all(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _joined(parts: Iterable[Inline]) -> Markup:
    return _all(_inline(part) for part in parts)


def _inline(part: Inline) -> Markup:
    match part:
        case Chip(state, word):
            return Markup(badge(state, STATE_TONES.get(state, ("", ""))[0], word))  # noqa: S704 (escapes both)
        case Link(words, address):
            if urlsplit(address).scheme.lower() not in KEPT:
                return escape(words)
            return Markup('<a href="{}">{}</a>').format(address, words)
        case When(at):
            return Markup(moment(at))  # noqa: S704 (a time)
        case None:
            return Markup("")
        case _:
            return escape(part)


def _plain(part: Inline) -> str:
    match part:
        case Chip(_, word):
            return word
        case Link(words, _):
            return words
        case When(at):
            return f"{at:%Y-%m-%d %H:%M} UTC"
        case None:
            return ""
        case _:
            return str(part)


def _mark(heading: str) -> Markup:
    """The mark behind a word that a newcomer cannot know: opened, it says what the word means."""
    found = explained(heading)
    if found is None:
        return Markup("")
    return Markup(
        ' <details class="term"><summary aria-label="What is {}?">?</summary><span>{}</span></details>'
    ).format(*found)


def _tile(one: Tile) -> Markup:
    inner = Markup('<a href="{}">{}</a>').format(one.address, one.value) if one.address else escape(one.value)
    return Markup('<div class="tile {}"><dt>{}{}</dt><dd>{}</dd></div>').format(
        one.state, one.label, _mark(one.label), inner
    )


def _table(block: Table) -> Markup:
    head = _all(  # a heading without words is none
        Markup('<th scope="col">{}{}</th>').format(column, _mark(column)) if column else Markup("<td></td>")
        for column in block.columns
    )
    body = _all(
        Markup("<tr>{}</tr>").format(_all(Markup("<td>{}</td>").format(_inline(cell)) for cell in row))
        for row in block.rows
    )
    if not block.rows:
        body = Markup('<tr><td colspan="{}">{}</td></tr>').format(len(block.columns), block.empty)
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{0}"><table><caption{3}>{0}</caption>'
        "<thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>"
    ).format(block.caption, head, body, Markup(' class="unseen"') if block.titled else "")


def _form(form: Form) -> Markup:
    return Markup('<form method="get" action="{}" aria-label="{}">{}<button type="submit">{}</button></form>').format(
        form.address, form.label or form.button, _all(map(_field, form.fields)), form.button
    )


def _drop(block: Drop) -> Markup:
    options = _all(Markup('<option value="{}">{}</option>').format(word, label) for word, label in block.kinds)
    return Markup(
        '<div class="card drop" data-hand="{}" data-piece="{}"><p class="field">'
        '<label for="hand-kind">What it is</label><select id="hand-kind">{}</select></p><p class="field">'
        '<label for="hand-files">Files, also dropped here</label><input id="hand-files" type="file" multiple></p>'
        '<div role="status"><ul class="handed"></ul></div></div>'
    ).format(block.address, block.piece, options)


def _field(one: Field) -> Markup:
    told = Markup('<small id="{0}-help">{1}</small>').format(one.name, one.help) if one.help else ""
    described = Markup(' aria-describedby="{}-help"').format(one.name) if one.help else ""
    if one.kind == "choice":
        options = _all(
            Markup("<option value='{}'{}>{}</option>").format(
                value, Markup(" selected") if value == one.value else "", label
            )
            for value, label in one.options
        )
        control = Markup('<select id="f-{0}" name="{0}"{1}>{2}</select>').format(one.name, described, options)
    elif one.kind == "check":
        on = Markup(" selected") if one.value == "true" else ""
        off = "" if on else Markup(" selected")
        control = Markup(
            '<select id="f-{0}" name="{0}"{1}><option value="true"{2}>yes</option><option value="false"{3}>no</option>'
            "</select>"
        ).format(one.name, described, on, off)
    else:
        kind = Markup(' inputmode="decimal"') if one.kind == "number" else ""
        control = Markup('<input id="f-{0}" name="{0}" value="{1}"{2}{3} autocomplete="off">').format(
            one.name, one.value, kind, described
        )
    return Markup('<p class="field"><label for="f-{}">{}</label>{}{}</p>').format(one.name, one.label, control, told)
