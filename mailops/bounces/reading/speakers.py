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

_CODE = r"[45]\.\d{1,3}\.\d{1,3}"
# A reply inside a text: three digits that a code, a hyphen or a quote follows, or that a speaker's mark stands before.
_REPLY = re.compile(
    rf"""(?:(?<![\w.\-])([45]\d\d)(?:[ \-]+['"(<#]{{0,2}}(?={_CODE})|-['"]|[ ]?['"](?=\S))"""
    r"""|(?:\bsaid:|\breturned:?|\bresponse:|\breply:|\breplied:?|\berror:|\banswer\w*:|->|=>|<<<|<--|;|:|['"(])\s{0,3}['"]?"""
    r"""([45]\d\d)(?=[ \-]))""",
    re.I,
)
_CLOSE = "'\">)# "


def peer(diagnostic: str) -> str:
    """The words of the innermost speaker of a diagnostic; all of it when it holds no reply inside.

    >>> peer("5.1.0 - Unknown address error 554-'5.7.1 Service unavailable' (delivery attempts: 0)")
    "554-'5.7.1 Service unavailable' (delivery attempts: 0)"
    """
    text = diagnostic[:LIMIT]
    start, before = -1, ""
    for found in _REPLY.finditer(text):
        number = 1 if found.group(1) else 2
        code = found.group(number)
        if code != before or start < 0:  # the lines of one long reply repeat their code
            start, before = found.start(number), code
    if start <= 0:
        return diagnostic
    inner = text[start:]
    return inner if len(inner.strip(_CLOSE)) > 8 else diagnostic
