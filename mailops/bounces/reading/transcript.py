"""Sessions that a report prints: which command was answered how, and who was named by then. Pure.

::

    >>> RCPT To:<ann@x.example>      In: RCPT TO:<ann@x.example>      C: RCPT ...      --> RCPT ...
    <<< 550 5.1.1 User unknown       Out: 550 5.1.1 User unknown      S: 550 ...       <-- 550 ...

Read as flat text, "250 ok" would say that the mail arrived and a greeting's words would count as a verdict. Only
refusals (4yz, 5yz; RFC 5321 section 4.2.1) are handed on, each with the step it answered: commands may run ahead of
their answers (RFC 2920), so each answer belongs to the oldest command still unanswered.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

MAX_LINES = 600
_MARK = re.compile(
    r"^[ \t>|*]{0,12}(?:(?P<command>>>>|-->|=>|->|C:|In:|SENT:|CLIENT:)|"
    r"(?P<answer><<<|<--|<=|<-|S:|Out:|RECV:|SERVER:))"
    r"[ \t]{0,8}(?P<words>\S.{0,1500})$",
    re.I,
)
_ANSWER = re.compile(r"^[ \t>|*]{0,12}(?:<<<|<--|<=|<-|S:|Out:|RECV:|SERVER:)[ \t]{0,8}[2-5]\d\d", re.I | re.M)
_REPLY = re.compile(r"([2-5]\d\d)([ \-]|$)(.*)")
_NAMED = re.compile(r"rcpt to:\s{0,4}<?((?:\"[^\"\n]{1,80}\"|[^\s<>\"]{1,100})@[\w.\-]{1,200})>?", re.I)
_STEPS = (("ehlo", "helo"), ("helo", "helo"), ("mail", "mail"), ("rcpt", "rcpt"), ("data", "data"), ("bdat", "dot"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of 4yz or 5yz. ``recipients`` are those it speaks of: the one named by the command, or all that were
    accepted before it; none where nobody was named yet."""

    stage: str
    reply: str
    recipients: tuple[str, ...] = ()


def refusals(text: str) -> list[Refusal]:
    """The refusals of a session in a text, in their order; [] when it prints none."""
    if _ANSWER.search(text) is None:
        return []
    waiting: deque[tuple[str, str]] = deque()  # (step, the recipient it names)
    last = ("connect", "")
    accepted: list[str] = []
    lines: list[str] = []
    found: list[Refusal] = []
    for line in text.split("\n", MAX_LINES)[:MAX_LINES]:
        hit = _MARK.match(line[:1600])
        if hit is None:
            continue
        if hit["command"]:
            waiting.append(_step(hit["words"]))
            continue
        reply = _REPLY.match(hit["words"])
        if reply is None:
            continue
        lines.append(hit["words"].strip())
        if reply[2] == "-":
            continue
        last = waiting.popleft() if waiting else last
        stage, named = last
        if reply[1][0] in "45":
            people = (named,) if named else tuple(accepted)
            found.append(Refusal(stage, " ".join(lines)[:2000], people))
        elif named:
            accepted.append(named)
        if stage == "data" and reply[1] == "354":
            last = ("dot", "")
        lines.clear()
    return found


def _step(command: str) -> tuple[str, str]:
    low = command.lower()
    stage = next((stage for verb, stage in _STEPS if low.startswith(verb)), "dot" if low.startswith(".") else "")
    named = _NAMED.match(command) if stage == "rcpt" else None
    return stage, named[1] if named else ""


def named(text: str) -> list[str]:
    """The recipients that the commands of a session name."""
    marks = map(_MARK.match, text.split("\n", MAX_LINES)[:MAX_LINES])
    hits = [_NAMED.match(hit["words"]) for hit in marks if hit is not None and hit["command"]]
    return list(dict.fromkeys(hit[1] for hit in hits if hit is not None))
