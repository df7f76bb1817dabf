"""Answers of large receivers that mean something of their own, as data.

Each row: (marks in the remote host, or "" for any host; words in the text or "^x.y.z" for an enhanced code; reason).
The sources are the providers' public postmaster pages.
"""

from __future__ import annotations

_ROWS: tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], ...] = (
    (
        ("google.com", "googlemail.com", "gsmtp"),
        (
            ("p=nosuchuser", "userunknown"),
            ("p=disableduser", "suspend"),
            ("p=overquota", "mailboxfull"),
            ("very low reputation", "badreputation"),
        ),
    ),
)


def provider_answer(host: str, text: str, enhanced: str, code: str, stage: str) -> tuple[str, str, str] | None:
    """(reason, rule, words) when a provider's own table knows the answer."""
    for marks, rows in _ROWS:
        if any(mark in host or mark in text for mark in marks):
            for words, reason in rows:
                if (words[0] == "^" and enhanced == words[1:]) or words in text:
                    return reason, "provider:" + marks[0], words
    return None
