"""Spellings of text, undone with a note of where each letter stood, so that one that is changed is spelled as it was.

::

    %61   &#97; &#x61;   \\u0061 \\x61 \\141   =61   +61   filename*0="ab"; filename*1="cd"   a [at] b [dot] c

A spelling is a pattern of its marks, what a mark stands for (letters, each with the characters it takes), and how
another letter is written in its place.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

FAR = 2_000  # characters on each side of a mark that are read with it
_EDGES = frozenset(" \t\r\n\"'<>")


@dataclass(frozen=True, slots=True)
class Letters:
    """A piece of text undone: its letters, and where each begins and ends in the piece."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True, slots=True)
class Spelling:
    """``read`` gives the letters of a mark with their widths (none: it stands for nothing); ``write`` spells a letter
    as the given mark is, or as ``sample`` where it may not stand ``bare``; ``whole`` = the text is read
    as one piece, else the run of letters around each mark."""

    marks: re.Pattern[str]
    read: Callable[[str], Sequence[tuple[str, int]]]
    write: Callable[[str, str], str]
    whole: bool = False
    bare: Callable[[str], bool] = lambda letter: True
    sample: str = ""

    def pieces(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the text is to be undone."""
        if self.whole:
            if self.marks.search(text):
                yield 0, len(text)
            return
        end = 0
        for mark in self.marks.finditer(text):
            if mark.start() < end:
                continue
            start = mark.start()
            least = max(end, start - FAR)
            while start > least and text[start - 1] not in _EDGES:
                start -= 1
            end, most = mark.end(), min(len(text), mark.end() + FAR)
            while end < most and text[end] not in _EDGES:
                end += 1
            yield start, end

    def undo(self, text: str) -> Letters:
        """A piece without its marks."""
        letters: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for mark in self.marks.finditer(text):
            letters.extend(text[at : mark.start()])
            starts.extend(range(at, mark.start()))
            ends.extend(range(at + 1, mark.start() + 1))
            place = mark.start()
            for letter, width in self.read(mark[0]):
                letters.append(letter)
                starts.append(place)
                place += width
                ends.append(place)
            at = mark.end()
        letters.extend(text[at:])
        starts.extend(range(at, len(text)))
        ends.extend(range(at + 1, len(text) + 1))
        return Letters("".join(letters), starts, ends)

    def redo(self, text: str, seen: Letters, start: int, end: int, new: str) -> str:
        """The letters from ``start`` to ``end`` as ``new``, spelled as they were; marks that stand for nothing stay."""
        if len(new) != end - start:
            first = text[seen.starts[start] : seen.ends[start]]
            return "".join(self._spelled(letter, first if len(first) > 1 else letter) for letter in new)
        out = []
        for number, letter in enumerate(new, start):
            raw = text[seen.starts[number] : seen.ends[number]]
            between = text[seen.ends[number - 1] : seen.starts[number]] if number > start else ""
            out += [between, raw if letter == seen.text[number] else self._spelled(letter, raw)]
        return "".join(out)

    def _spelled(self, letter: str, raw: str) -> str:
        made = self.write(letter, raw)
        return made if made != letter or self.bare(letter) else self.write(letter, self.sample)


def octets(width: int, charset: str = "utf-8") -> Callable[[str], list[tuple[str, int]]]:
    """Reads runs of marks of one octet each, ``width`` characters wide with two digits at the end."""

    def read(run: str) -> list[tuple[str, int]]:
        data = bytes(int(run[at + width - 2 : at + width], 16) for at in range(0, len(run) - width + 1, width))
        try:
            text = data.decode(charset)
            sizes = [len(letter.encode(charset)) for letter in text]
        except (UnicodeError, LookupError):
            text, sizes = data.decode("latin-1"), [1] * len(data)
        return [(letter, size * width) for letter, size in zip(text, sizes, strict=True)]

    return read


def escaped(sign: str, charset: str = "utf-8") -> Callable[[str, str], str]:
    """Writes a letter as octets behind a sign, where it was written so."""

    def write(letter: str, raw: str) -> str:
        if not raw.startswith(sign) or len(raw) < len(sign) + 2:
            return letter
        form = "{:02x}" if raw[len(sign) :] != raw[len(sign) :].upper() else "{:02X}"
        return "".join(sign + form.format(octet) for octet in letter.encode(charset, "replace"))

    return write


def _entity(mark: str) -> list[tuple[str, int]]:
    text = html.unescape(mark)
    return [(text[0], len(mark)), *((letter, 0) for letter in text[1:])] if text else []


def _as_entity(letter: str, raw: str) -> str:
    if not raw.startswith("&"):
        return letter
    return f"&#x{ord(letter):x};" if raw[1:3].lower() == "#x" else f"&#{ord(letter)};"


def _escape(mark: str) -> list[tuple[str, int]]:
    if mark[1] in "uU":
        code = "".join(mark.split("\\u"))
        data = bytes.fromhex(code)
        return [(data.decode("utf-16-be", "replace")[:1], len(mark))]
    return [(chr(int(mark[2:], 16) if mark[1] == "x" else int(mark[1:], 8)), len(mark))]


def _as_escape(letter: str, raw: str) -> str:
    if not raw.startswith("\\") or len(raw) < 4:
        return letter
    if raw[1] == "x" and ord(letter) < 256:
        return f"\\x{ord(letter):02x}"
    if raw[1] in "0123" and ord(letter) < 256:
        return f"\\{ord(letter):03o}"
    return f"\\u{ord(letter):04x}"


def _plain(letter: str, raw: str) -> str:
    return letter


def _xtext(mark: str) -> list[tuple[str, int]]:
    return [(chr(int(mark.strip("\\x{}+"), 16)), len(mark))]


def _as_xtext(letter: str, raw: str) -> str:
    if len(raw) < 3:
        return letter
    return f"+{ord(letter):02X}" if raw.startswith("+") else f"\\x{{{ord(letter):X}}}"


def _bare(letter: str) -> bool:
    return letter.isascii() and letter != "="


def quoted_printable(charset: str) -> Spelling:
    """Quoted-printable of a whole body (RFC 2045 §6.7): soft line breaks stand for nothing."""
    marks = re.compile(r"(?:=[0-9A-Fa-f]{2})++|=[ \t]{0,5}\r?\n")
    read = octets(3, charset)
    return Spelling(
        marks, lambda run: [] if run.endswith("\n") else read(run), escaped("=", charset), True, _bare, "=00"
    )


_CONTINUED = re.compile(r"(?:%[0-9A-Fa-f]{2})++|\"?;\s{0,20}[A-Za-z-]{1,40}\*[1-9][0-9]{0,2}\*?=\s{0,5}\"?")
_percent = octets(3)

FIRST: tuple[Spelling, ...] = (
    Spelling(re.compile(r"(?:%[0-9A-Fa-f]{2})++"), _percent, escaped("%"), False, _bare, "%00"),
    Spelling(re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31});"), _entity, _as_entity),
    Spelling(
        re.compile(
            r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}"
            r"|\\[0-3][0-7]{2}"
        ),
        _escape,
        _as_escape,
    ),
    Spelling(  # no other octets: ``=acme`` is VERP
        re.compile(r"(?:=[2-7][0-9A-F]|=[CD][0-9A-F]=[89AB][0-9A-F]|=E[0-9A-F](?:=[89AB][0-9A-F]){2})++"),
        octets(3),
        escaped("="),
        False,
        _bare,
        "=00",
    ),
)
"""Undone before anything is looked for, as their marks are letters of an address too."""

CONTINUED = Spelling(_CONTINUED, lambda mark: _percent(mark) if mark.startswith("%") else [], escaped("%"), whole=True)
"""A parameter that goes on in the next one (RFC 2231 §3)."""

LAST: tuple[Spelling, ...] = (
    Spelling(re.compile(r"\+[0-9A-F]{2}|\\x\{[0-9A-F]{2,6}\}"), _xtext, _as_xtext),
    Spelling(re.compile(r"\+AEA-"), lambda mark: [("@", len(mark))], _plain),
    Spelling(
        re.compile(r"(?i)[ \t]?[\[({<](?:at|dot|punkt|ät)[\])}>][ \t]?"),
        lambda mark: [("@" if mark.lower().strip(" \t[](){}<>") in ("at", "ät") else ".", len(mark))],
        _plain,
        whole=True,
    ),
    Spelling(
        re.compile(r"(?:</?[A-Za-z][^<>@]{0,80}>){1,6}(?=@)|(?<=@)(?:</?[A-Za-z][^<>@]{0,80}>){1,6}"),
        lambda mark: [],
        _plain,
        whole=True,
    ),
)
"""Undone for what nothing else has found."""
