"""Answers of large receivers that mean something of their own: the tables of :mod:`mailops.providers`, asked.

A receiver has marks (parts of the remote host's name, or words that only it writes) and what its answers mean: words in
the prepared text, or ``^5.7.1`` for an enhanced code; ``~`` before a word asks for a whole token. The sources are their
public postmaster pages; the rows stand in ``providers/data``, in the provider's one file. ``CARRIERS`` are mobile
networks that answer "user unknown" after DATA when the subscriber's own filter refused the message.
"""

from __future__ import annotations

from ...providers.files import RECEIVERS

CARRIERS = tuple(mark for one in RECEIVERS if one.unknown_is_filter == "always" for mark in one.marks)
"""Answer "Unknown user" after DATA when the subscriber's filter refused."""

CARRIERS_BARE = tuple(mark for one in RECEIVERS if one.unknown_is_filter == "bare" for mark in one.marks)
"""Do so with an empty address: ``550 : User unknown``; with the address it is a real unknown user."""


PROVIDERS = tuple((one.name, one.marks, one.says) for one in RECEIVERS if one.says)
_MARKS = tuple((mark, number) for number, (_, marks, _) in enumerate(PROVIDERS) for mark in marks)


def is_carrier(host: str, text: str) -> bool:
    """True when an "unknown user" of this host may be the subscriber's own filter."""
    if any(host.endswith(mark) or mark in text for mark in CARRIERS):
        return True
    bare = " : user unknown" in text or text.startswith(": user unknown")
    return bare and any(host.endswith(mark) or mark in text for mark in CARRIERS_BARE)


def provider_answer(host: str, text: str, enhanced: str) -> tuple[str, str, str] | None:
    """(reason, rule, words) when a provider's own table knows the answer."""
    seen = host + " " + text
    for number in sorted({number for mark, number in _MARKS if mark in seen}):
        name, _, rows = PROVIDERS[number]
        for words, reason in rows:
            first = words[0]
            if first == "^":
                hit = enhanced == words[1:]
            elif first == "~":
                hit = (" " + words[1:]) in text
            else:
                hit = words in text
            if hit:
                return reason, "provider:" + name, words.lstrip("^~")
    return None
