"""Who speaks in a diagnostic: our own mail system, a relay, or the peer that refused. The innermost reply wins.

::

    5.1.0 - Unknown address error 554-'5.7.1 Service unavailable; blocked using ...'
    └── gloss of the wrapper ──┘ └── reply of the peer ─────────────────────────┘

Every system that hands a refusal on may put words before it. Those of a wrapper explain its own code ("unknown address
error" for whatever came after RCPT); they are no words about anybody, and their list is data
(:mod:`~mailops.bounces.reading.systems`). So a diagnostic is split at each SMTP reply that stands in it, and the last
one is the peer's (RFC 3464 section 2.3.6 leaves nesting open; systems nest to the right).
"""

from __future__ import annotations

import re

LIMIT = 4_000
"""Characters of a diagnostic that are split."""

_NUMBER = re.compile(r"(?<![\w.\-])[45]\d\d(?=[ \-'\"])")
_QUOTED = re.compile(r"[ \-]+['\"(<#]{0,2}(?=[45]\.\d{1,3}\.\d)|-?['\"](?=\S)| ['\"](?=\S)")
_SPOKEN = re.compile(
    r"(?:\b(?:said|returned|response|reply|replied|error|answer\w{0,3}):?|->|=>|<<<|<--|[;:|'\"(])\s{0,3}['\"]?$", re.I
)
"""A number is a reply where a code or a quote follows it, or where somebody is said to speak before it."""

_CLOSE = "'\">)# "


def peer(diagnostic: str) -> str:
    """The words of the innermost speaker of a diagnostic; all of it when it holds no reply inside.

    >>> peer("5.1.0 - Unknown address error 554-'5.7.1 Service unavailable' (delivery attempts: 0)")
    "554-'5.7.1 Service unavailable' (delivery attempts: 0)"
    """
    text = diagnostic[:LIMIT]
    start, before = -1, ""
    for found in _NUMBER.finditer(text):
        place = found.start()
        if not (_QUOTED.match(text, found.end()) or _SPOKEN.search(text[max(0, place - 16) : place])):
            continue
        if found[0] != before or start < 0:  # the lines of one long reply repeat their code
            start, before = place, found[0]
    if start <= 0:
        return diagnostic
    inner = text[start:]
    return inner if len(inner.strip(_CLOSE)) > 8 else diagnostic
