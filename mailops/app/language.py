"""In which language a page speaks: that of its reader's browser, where there is a catalogue of it, else English.

Catalogues are gettext's (``locale/LANGUAGE/LC_MESSAGES/mailops.po``) and are compiled when they are first wanted.
English texts are the keys, so a sentence that nobody has translated yet stays English, and nothing breaks.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from pathlib import Path

LOCALE = Path(__file__).parent / "locale"
ENGLISH = "en"
_NOW: ContextVar[str] = ContextVar("language", default=ENGLISH)


def languages() -> tuple[str, ...]:
    """The languages there are."""
    return (ENGLISH, *sorted(path.name for path in LOCALE.iterdir() if (path / "LC_MESSAGES").is_dir()))


def chosen(accepted: str) -> str:
    """The language for a browser's ``Accept-Language`` (RFC 9110, section 12.5.4): of those that we have the one it
    likes best; English where it names none.

    >>> chosen("fr;q=0.9, de-AT;q=0.8, en;q=0.7")
    'de'
    """
    liked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:500].split(",")):
        name, _, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        short = name.strip().lower().partition("-")[0]
        if short in languages() and quality > 0:
            liked.append((-quality, place, short))
    return min(liked)[2] if liked else ENGLISH


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within this, :func:`say` and :func:`number` speak this language."""
    before = _NOW.set(language if language in languages() else ENGLISH)
    try:
        yield
    finally:
        _NOW.reset(before)


def spoken() -> str:
    """The language that is spoken."""
    return _NOW.get()


def say(text: str) -> str:
    """A text in the language that is spoken."""
    return catalogue(_NOW.get()).gettext(text) if text else ""


def number(value: int) -> str:
    """A whole number as people of that language write it: 3,255 or 3.255."""
    from babel.numbers import format_decimal

    return str(format_decimal(value, locale=_NOW.get()))


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; an empty one for English."""
    path = LOCALE / language / "LC_MESSAGES" / "mailops.po"
    if language not in languages() or not path.is_file():
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    made = BytesIO()
    with path.open("rb") as file:
        write_mo(made, read_po(file, locale=language))
    made.seek(0)
    return gettext.GNUTranslations(made)
