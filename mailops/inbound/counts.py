"""The sums of the intake: what was seen is accounted for to the last mail, of a run and of everything.

::

    seen   = stored + doubled + unreadable
    stored = decided + shelved + skipped + waiting
    decided = delivered + refused
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from .values import Kind


class State(StrEnum):
    """Where a mail of the intake stands."""

    WAITING = "waiting"  # its bytes are on the disk, nothing is decided yet
    DELIVERED = "delivered"  # reply, record, report, passed on
    REFUSED = "refused"  # with a notice or in silence; the log says why
    SHELVED = "shelved"  # mailops could not process it: kept until somebody tries again
    SKIPPED = "skipped"  # a person's rule, such as mail that was read before the start
    DOUBLED = "doubled"  # known by Message-ID and digest, not stored again
    UNREADABLE = "unreadable"  # the way in could not give it


_DELIVERED = frozenset({Kind.BOUNCE, Kind.REPLY, Kind.CREATE, Kind.UPDATE, Kind.FORWARDED})


def state_of(kind: Kind) -> State:
    """Where a decision leaves a mail."""
    if kind is Kind.DUPLICATE:
        return State.DOUBLED
    return State.DELIVERED if kind in _DELIVERED else State.REFUSED


@dataclass(frozen=True, slots=True)
class Counts:
    """How many mails, of a run or of a folder; ``gap`` counts UIDs of a folder that nothing is known of."""

    seen: int = 0
    stored: int = 0
    doubled: int = 0
    unreadable: int = 0
    decided: int = 0
    delivered: int = 0
    refused: int = 0
    shelved: int = 0
    skipped: int = 0
    waiting: int = 0
    gap: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def adds_up(self) -> bool:
        """Whether every mail that was seen is accounted for."""
        return self.seen == self.stored + self.doubled + self.unreadable and self.stored == (
            self.decided + self.shelved + self.skipped + self.waiting
        )


def counted(states: Iterable[tuple[str, int]], *, again: int = 0, gap: int = 0) -> Counts:
    """The sums of mails by state; ``again`` mails came once more."""
    number = dict.fromkeys(State, 0)
    for state, count in states:
        number[State(state)] += count
    decided = number[State.DELIVERED] + number[State.REFUSED]
    stored = decided + number[State.SHELVED] + number[State.SKIPPED] + number[State.WAITING]
    doubled, unreadable = number[State.DOUBLED] + again, number[State.UNREADABLE]
    return Counts(
        seen=stored + doubled + unreadable,
        stored=stored,
        doubled=doubled,
        unreadable=unreadable,
        decided=decided,
        delivered=number[State.DELIVERED],
        refused=number[State.REFUSED],
        shelved=number[State.SHELVED],
        skipped=number[State.SKIPPED],
        waiting=number[State.WAITING],
        gap=gap,
    )
