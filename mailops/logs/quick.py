"""The short way for the lines that make up most of a Postfix log; all others go the long way, in their order.

``lines.read`` and ``Joiner.feed`` know every shape of line. What fills a busy server's log is five shapes of four
daemons (``smtpd`` client, ``cleanup`` Message-ID, ``qmgr`` sender and removed, ``smtp`` answers) under two kinds of
stamps. Those are taken apart here by their marks, with what repeats (stamps, origins) kept; whatever differs in the
least from its shape is left to the long way, so that both give the same (tests compare them on every log there is).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from .join import BESIDE, DELIVER, IDENTITY, STATUSES, Joiner
from .lines import ODOO, Stamps, read, short

_BSD = re.compile(r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d):(\d\d) ").fullmatch
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):(\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)? ").match
_ORIGIN = re.compile(r"(\S+) ([^\s\[:]+)(?:\[\d+\])?").fullmatch
_DSN = re.compile(r"\d\.\d+\.\d+").fullmatch
_DELIVERS = DELIVER - {"bounce"}
_LONG = frozenset({"bounce", "pickup", "postscreen"})
KEPT = 20_000
"""Stamps, origins and codes that are kept."""
IDLE = frozenset({"connect", "disconn"})
MANY = 5_000
"""Lines that go the long way together."""


class _Origin(NamedTuple):
    """What stands between stamp and words: ``what`` is one of the daemons, ``deliver``, ``beside`` or ``foreign``."""

    host: str
    instance: str
    program: str
    what: str


NEW = _Origin("", "", "", "")


def join_lines(joiner: Joiner, lines: Iterable[str], stamps: Stamps, *, every: int = 20_000) -> Iterator[int]:
    """Feed the lines of a log to a joiner; yields how many there were after each ``every`` of them and at the end, so
    that the caller can drain it. As ``joiner.take(read(lines, stamps, joiner.seen))``."""
    source, number, quick = iter(lines), 0, _Quick(joiner, stamps)
    while part := list(islice(source, every)):
        quick.take(part)
        number += len(part)
        if len(part) == every:
            yield number
    quick.flush()
    yield number


class _Quick:
    """What repeats, and the shapes. ``slow`` holds the lines that wait to go the long way together."""

    def __init__(self, joiner: Joiner, stamps: Stamps) -> None:
        self.joiner, self.stamps = joiner, stamps
        self.times: dict[str, int] = {}
        self.origins: dict[str, _Origin | None] = {}
        self.codes: set[str] = set()
        self.slow: list[str] = []

    def flush(self) -> None:
        """Send what waits the long way."""
        if self.slow:
            self.joiner.take(read(self.slow, self.stamps, self.joiner.seen))
            self.slow.clear()

    def take(self, part: list[str]) -> None:
        """Take lines, in order."""
        for kept in (self.times, self.origins, self.codes):
            if len(kept) > KEPT:
                kept.clear()
        joiner, slow, times, origins, flush = self.joiner, self.slow, self.times, self.origins, self.flush
        queues, touched, begin, record = joiner.queues, joiner.touched, joiner.begin, joiner.answer
        long_before, beside, foreign = 0, 0, 0
        before, at = "", None
        for line in part:
            # --- when: "Nov  2 14:41:44 " or "2026-11-02T14:41:44.123456+00:00 "
            if line[10:11] == "T":
                if line[19:20] == "." and line[32:33] == " " and line[26] in "+-" and line[20:26].isdigit():
                    stamp, rest = line[:19] + line[26:32], line[33:]
                else:
                    stamp, rest = line.partition(" ")[0], line.partition(" ")[2]
            else:
                stamp, rest = line[:16], line[16:]
            if stamp != before:
                before = stamp
                at = times.get(stamp)
                if at is None:
                    at = self._time(line, stamp)
            # --- who: "mx1 postfix/smtpd[123]"
            head, _, words = rest.partition(": ")
            origin = origins.get(head, NEW)
            if origin is NEW:
                origin = self._origin(head)
            if origin is None or at is None:
                if len(slow) >= MANY and (at is not None or line[:1].isdigit() or len(slow) >= 10 * MANY):
                    flush()
                slow.append(line)
                long_before += 1
                continue
            if slow:
                flush()  # a line with a stamp ends what came before it
            host, instance, program, what = origin
            # --- what: "4F1A2B: client=…", "connect from …"
            if what == "beside":
                beside += 1
                continue
            if what == "foreign":
                foreign += 1
                continue
            if words[:7] in IDLE and "reject" not in words[:24]:
                beside += 1
                continue
            queue_id, mark, text = words.partition(": ")
            queue = queues.get((host, instance))
            one = queue.get(queue_id) if mark and queue is not None else None
            if one is None and (not mark or IDENTITY(words) is None):  # "connect from …", "warning: …"
                if "reject" not in words[:24]:
                    beside += 1
                    continue
            elif queue is None:
                pass
            elif what == "deliver":
                answer = self._answer(text)
                if answer is not None:
                    one = one or begin(queue, at, host, instance, queue_id, began=False)
                    record(at, one, program, *answer)
                    continue
            elif what == "qmgr":
                if text[:7] == "removed":
                    one = one or begin(queue, at, host, instance, queue_id, began=False)
                    one.done = at
                    if at > one.last:
                        one.last = at
                    touched[id(one)] = one
                    continue
                end = text.find(">, size=")
                size, _, nrcpt = text[end + 8 :].partition(", nrcpt=")
                if (
                    end > 0
                    and text[:6] == "from=<"
                    and size.isdecimal()
                    and nrcpt[:1].isdecimal()
                    and "status=" not in text
                ):
                    one = one or begin(queue, at, host, instance, queue_id, began=False)
                    one.sender, one.size = text[6:end], int(size)
                    if at > one.last:
                        one.last = at
                    touched[id(one)] = one
                    continue
            elif what == "cleanup":
                if text[:11] == "message-id=":
                    joiner.identify(queue, at, host, instance, queue_id, text[11:].strip()[:998])
                    continue
            elif text[:7] == "client=":
                one = begin(queue, at, host, instance, queue_id)
                one.client, _, more = text[7:].partition(",")
                one.login = more.partition("sasl_username=")[2].partition(",")[0]
                continue
            slow.append(line)
            long_before += 1
        joiner.seen.lines += len(part) - long_before
        joiner.seen.beside += beside
        joiner.seen.foreign += foreign

    def _time(self, line: str, stamp: str) -> int | None:
        """Seconds of a stamp; None where it is none, or its hour comes twice."""
        found = _ISO(line) if line[10:11] == "T" else _BSD(stamp)
        if found is None:
            return None
        minute = self.stamps.minute(found[1], *found.groups()[2:])
        if minute is None or (found.re.groups == 2 and not self.stamps.knows(found[1])):
            return None
        at = self.times[stamp] = minute + int(found[2])
        return at

    def _origin(self, head: str) -> _Origin | None:
        self.origins[head] = None
        found = _ORIGIN(head)
        if found is None:
            return None
        host, name = found.groups()
        instance, program = self.joiner.named(name)
        if program in _LONG or name == ODOO:
            return None
        what = (
            "beside" if program in BESIDE else "deliver" if program in _DELIVERS
            else program if program in ("smtpd", "cleanup", "qmgr") else "foreign"
        )  # fmt: skip
        made = self.origins[head] = _Origin(short(host) if "." in host else host, instance, program, what)
        return made

    def _answer(self, text: str) -> tuple[str, str, str, str, str, str] | None:
        """The answer that a line of an ordinary delivery tells; None where it is of another shape."""
        if text[:4] != "to=<":
            return None
        recipient, mark, rest = text[4:].partition(">, relay=")
        relay, _, rest = rest.partition(",")
        _, found, rest = rest.partition(" dsn=")
        enhanced, _, rest = rest.partition(", status=")
        if not (mark and found) or ">," in recipient or not (enhanced in self.codes or self._is_code(enhanced)):
            return None
        status, _, reply = rest.partition(" (")
        if status in STATUSES and (reply[-1:] == ")" or rest == status):
            return recipient, "", relay, enhanced, status, reply[:-1]
        return None

    def _is_code(self, text: str) -> bool:
        if _DSN(text) is None:
            return False
        self.codes.add(text)
        return True
