"""Finds values under the spellings that encoders put on them: decoders that remember where each piece stood.

::

    text ──► escapes undone (%XX, &#NN;, \\xNN, \\uNNNN, doubled quotes), up to three times over
         ──► quoted-printable undone, and escapes after it
         ──► line breaks taken out (base64 wrapped at 76, a value split over two prints)

A view is made only where its marks stand in the text. What is found in a view is told as a span of the text itself, so
that the whole spelling is masked and nothing beside it.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ROUNDS = 3
_ESCAPE = re.compile(
    rb"%[0-9A-Fa-f]{2}|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,31});|\\x[0-9A-Fa-f]{2}"
    rb"|\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[\\'\"/]|'\\''|'\"'\"'|''|\"\""
)
_PRINTABLE = re.compile(rb"=[0-9A-Fa-f]{2}|=\r?\n")
_BREAK = re.compile(rb"(?:\\r)?(?:\\n)?[\"']?,?\r?\n(?:[ \t]*[\"'])?|\\r?\\n")


@dataclass(frozen=True, slots=True)
class View:
    """Decoded octets; ``starts`` and ``sources`` say where pieces of it begin, and where they stood in the text."""

    data: bytes
    starts: tuple[int, ...]
    sources: tuple[int, ...]
    literal: tuple[bool, ...]

    def source(self, at: int, end: bool = False) -> int:
        """The place in the octets before decoding; the end of a piece counts to the piece."""
        piece = bisect_right(self.starts, at - 1 if end else at) - 1
        if self.literal[piece]:
            return self.sources[piece] + at - self.starts[piece]
        return self.sources[piece + 1] if end else self.sources[piece]


def _decoded(token: bytes) -> bytes:
    if token[:1] == b"%":
        return bytes([int(token[1:], 16)])
    if token[:1] == b"&":
        return html.unescape(token.decode("ascii")).encode("utf-8", "replace")
    if token[:2] == b"\\x":
        return bytes([int(token[2:], 16)])
    if token[:2] == b"\\u":
        return token.decode("ascii").encode().decode("unicode-escape").encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        ).encode()  # fmt: skip
    return b"'" if token[:1] == b"'" else token[-1:]


def _quoted(token: bytes) -> bytes:
    return b"" if token.endswith(b"\n") else bytes([int(token[1:], 16)])


def _view(data: bytes, tokens: re.Pattern[bytes], decode: Callable[[bytes], bytes]) -> View | None:
    pieces: list[bytes] = []
    starts: list[int] = []
    sources: list[int] = []
    literal: list[bool] = []
    at = place = 0

    def add(piece: bytes, source: int, plain: bool) -> None:
        nonlocal place
        if piece:
            starts.append(place)
            sources.append(source)
            literal.append(plain)
            pieces.append(piece)
            place += len(piece)

    for token in tokens.finditer(data):
        add(data[at : token.start()], at, True)
        add(decode(token.group()), token.start(), False)
        at = token.end()
    if not at:
        return None
    add(data[at:], at, True)
    starts.append(place)
    sources.append(len(data))
    literal.append(True)
    return View(b"".join(pieces), tuple(starts), tuple(sources), tuple(literal))


def views(data: bytes) -> Iterator[tuple[View, ...]]:
    """Chains of views, the last of each being the one to look into."""
    chain: tuple[View, ...] = ()
    for opening in (None, (_PRINTABLE, _quoted), (_BREAK, lambda _: b"")):
        chain, now = (), data
        if opening is not None:
            view = _view(now, *opening)
            if view is None:
                continue
            chain, now = (view,), view.data
            yield chain
        for _ in range(ROUNDS):
            view = _view(now, _ESCAPE, _decoded)
            if view is None or view.data == now:
                break
            chain, now = (*chain, view), view.data
            yield chain


def span(chain: tuple[View, ...], start: int, end: int) -> tuple[int, int]:
    """A span of the last view as a span of the octets that the first was made of."""
    for view in reversed(chain):
        start, end = view.source(start), view.source(end, end=True)
    return start, end
