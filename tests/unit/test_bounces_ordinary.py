"""Ordinary mail that resembles what the reader knows: notices to the one who was written to, digests of held mail, alerts
of other things, newsletters about bounces, people who speak of one. None of it reports a failure of our mail.

The messages are our own, in one mbox, and are read by the readers that users have.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailops.bounces import parse
from mailops.bounces.reading.sources import Source, messages

MBOX = Path(__file__).parent.parent / "fixtures" / "bounces_ordinary" / "mbox"
ALL = list(messages([MBOX]))
AUTOMATIC = {"absence-names-failure", "absence-in-norwegian", "receipt-with-a-word"}


def name(one: Source) -> str:
    found = re.search(rb"^Message-ID: <([\w-]+)@", one.raw, re.M)
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("one", ALL, ids=name)
def test_nothing_ordinary_is_taken_for_a_report(one: Source, ends: bytes) -> None:
    report = parse(one.raw.replace(b"\n", ends))
    assert report.kind == ("autoreply" if name(one) in AUTOMATIC else "ordinary"), (report.rule, report.results)
    assert not report.recipients


def test_each_message_of_the_file_is_read() -> None:
    assert len({name(one) for one in ALL}) == len(ALL) >= 40
