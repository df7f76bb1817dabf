"""How much of what a cell says is kept: its beginning, its end, and a note of what was left out between them.

A loop that prints must neither hide a run's verdict nor fill a disk, and the last lines matter as much as the first. So
each stream of a cell keeps :data:`HEAD` characters as they come and the last :data:`TAIL` of the rest, which are told
when the cell has ended; what is left out is not even looked at for secrets, what is kept is cleaned before it is cut.
Other texts (a value's, a traceback's) are cut the same way, at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any

HEAD = TAIL = 500_000
"""Characters of a stream, or of one text, that are kept at each end: together the megabyte a cell's stream may have."""

MARGIN = 4_096
"""Characters on each side of a cut that are looked at for secrets, or dropped, so that no half of one is kept."""


def note(left_out: int) -> str:
    """The sentence that stands where something was left out."""
    return f"\n… {left_out:,} characters were left out here: a job keeps the first and the last of much output …\n"


def cut(text: str, *, head: int = HEAD, tail: int = TAIL) -> str:
    """A text of any length as one of at most ``head`` + ``tail`` characters and the note.

    >>> cut("abcdefgh", head=2, tail=1).split(chr(10))[::2]
    ['ab', 'h']
    """
    over = len(text) - head - tail
    return text if over <= 0 else text[:head] + note(over) + text[len(text) - tail :]


def cut_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """A message's content with the texts cut that a reader takes for text: the plain form of a value, an error's words
    and lines. What has a form of its own (HTML, pictures, JSON) stays whole, as half of it would be none."""
    cutted = dict(content)
    if isinstance(data := content.get("data"), dict) and isinstance(plain := data.get("text/plain"), str):
        cutted["data"] = {**data, "text/plain": cut(plain)}
    if isinstance(words := content.get("evalue"), str):
        cutted["evalue"] = cut(words)
    if isinstance(lines := content.get("traceback"), list):
        cutted["traceback"] = [cut(line) if isinstance(line, str) else line for line in lines]
    return cutted


class Meter:
    """Counts what each stream of each cell has said; ``head`` and ``tail`` in characters. ``clean`` takes out of a text
    what nobody may read."""

    def __init__(self, clean: Callable[[str], str], head: int = HEAD, tail: int = TAIL, margin: int = MARGIN) -> None:
        self._clean, self._head, self._tail, self._margin = clean, head, tail, margin
        self._said: dict[tuple[str, str], _Said] = {}
        self._lock = Lock()  # streams speak from a thread of their own

    def take(self, cell: str, stream: str, text: str) -> str:
        """The part of a text that goes out now; the rest is kept for the end, or left out."""
        with self._lock:
            said = self._said.setdefault((cell, stream), _Said())
            room, margin = self._head - said.told, self._margin
            if room <= 0:
                now, rest, more = "", text, len(text)
            elif len(text) <= room:
                now, rest, more = self._clean(text), "", 0
            else:
                looked = self._clean(text[: room + margin])
                now, rest = looked[: max(0, len(looked) - margin)][:room], text[room + 2 * margin :]
                more = len(text) - len(now)
                said.told = self._head  # whatever is said from here on is for the end
            said.told += len(now)
            said.keep(rest, more, self._tail + margin)
        return now

    def cleared(self, cell: str) -> None:
        """The cell's output was cleared, as a progress bar does: it begins anew."""
        with self._lock:
            for key in [key for key in self._said if key[0] == cell]:
                del self._said[key]

    def rest(self) -> Iterator[tuple[str, str, str]]:
        """Cell, stream and text of what is still to be told: the note, where something was left out, and the end."""
        with self._lock:
            ended, self._said = self._said, {}
        for (cell, stream), said in ended.items():
            raw = "".join(said.last)
            start = len(raw) - self._tail - self._margin
            end = self._clean(raw[max(0, start) :])
            end = end[self._margin :] if start > 0 else end
            end = end[max(0, len(end) - self._tail) :]
            over = said.more - len(end)
            if end or over > 0:
                yield cell, stream, (note(over) if over > 0 else "") + end


class _Said:
    """One stream: how much was told, how much more was said, and the pieces that hold its end."""

    __slots__ = ("held", "last", "more", "told")

    def __init__(self) -> None:
        self.told = self.more = self.held = 0
        self.last: deque[str] = deque()

    def keep(self, text: str, said: int, most: int) -> None:
        self.more += said
        if text:
            self.last.append(text[-most - 1 :])  # one more, so that it is seen to have been cut
            self.held += len(self.last[-1])
        while self.last and self.held - len(self.last[0]) >= most:
            self.held -= len(self.last.popleft())
