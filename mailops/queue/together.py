"""Group commit: mails that are handed over at the same time are stored in one commit.

A commit waits for the disk, and what came meanwhile goes into the next one. No thread of its own: of the callers that
wait, the first to have its turn stores what all of them brought, and the others find theirs done::

    A ─ put ──► commits A ───────►  done
    B ──── put ─ waits ──► commits B, C ──► done
    C ────── put ─ waits ──────────────────► done (by B)

A batch that fails is stored mail by mail, so that one that cannot be stored takes no other with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 200
"""Mails in one commit."""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    number: int | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.number is not None or self.error is not None


class Together(Generic[T]):
    """Stores what several threads bring; ``commit`` stores a batch durably and gives back a number for each."""

    def __init__(self, commit: Callable[[Sequence[T]], list[int]]) -> None:
        self._commit = commit
        self._gate = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Waiting[T]] = []

    def put(self, item: T) -> int:
        """The number of the item once it is durably stored; raises what storing it raised."""
        mine = _Waiting(item)
        with self._gate:
            self._waiting.append(mine)
        with self._turn:
            while not mine.done:
                with self._gate:
                    batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                self._store(batch)
        if mine.error is not None:
            raise mine.error
        assert mine.number is not None
        return mine.number

    def _store(self, batch: Sequence[_Waiting[T]]) -> None:
        try:
            for one, number in zip(batch, self._commit([one.item for one in batch]), strict=True):
                one.number = number
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for one in batch:
                self._store([one])
