"""What is offered for a web search holds the error, and nobody's data."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.bounces.reading.searchable import LIMIT, WORDS, searchable

TEXTS = [
    (
        "550 5.1.1 <ann@x.example>: Recipient address rejected: User unknown (in reply to RCPT TO)",
        "550 5.1.1 Recipient address rejected: User unknown (in reply to RCPT TO)",
    ),
    (
        "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org; "
        "https://www.spamhaus.org/query/ip/192.0.2.7",
        "554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org",
    ),
    (
        "host mx.x.example[2001:db8::1] said: 452 4.2.2 Mailbox full id=4F2A99B1C0 (in reply to end of DATA command)",
        "host said: 452 4.2.2 Mailbox full (in reply to end of DATA command)",
    ),
    ("Message 1vXyZa-0001Ab-2C queued as 4F2A99B1C0 refused", "Message queued as refused"),
    ('delivery to "john doe"@x.example failed: account disabled', "delivery to failed: account disabled"),
    ("550 jörg@bücher.example gibt es nicht", "550 gibt es nicht"),
    ("ann@x.example", ""),
    ("550 5.1.1", ""),
    ("", ""),
]


@pytest.mark.req("ERR-03")
@pytest.mark.parametrize(("text", "wanted"), TEXTS, ids=[text[:30] or "empty" for text, _ in TEXTS])
def test_the_error_stays_and_the_case_goes(text: str, wanted: str) -> None:
    assert searchable(text) == wanted


ADDRESSES = st.from_regex(r"[a-z][a-z0-9._+-]{0,12}@([a-z][a-z0-9-]{0,8}\.){1,2}(example|test)", fullmatch=True)
ADDRESSES4 = st.ip_addresses(v=4).map(str)
ADDRESSES6 = st.ip_addresses(v=6).map(str)
IDS = st.from_regex(r"(?=[0-9A-F]*[A-F])(?=[0-9A-F]*[0-9])[0-9A-F]{9,12}", fullmatch=True)
MESSAGE_IDS = st.from_regex(r"<[a-z0-9]{4,20}@[a-z]{3,9}\.example>", fullmatch=True)
BEFORE = st.sampled_from(["550 5.1.1 ", "host said: 550 ", "(", "<", "to=", "for ", "rejected:", "["])
AFTER = st.sampled_from(
    [" user unknown", "> refused", ") denied", ": no such user here", "; blocked", "]: blocked", ""]
)


@pytest.mark.req("ERR-03")
@settings(max_examples=300, deadline=None)
@given(BEFORE, st.one_of(ADDRESSES, ADDRESSES4, ADDRESSES6, IDS, MESSAGE_IDS), AFTER)
def test_no_address_id_or_ip_is_left_wherever_it_stands(before: str, private: str, after: str) -> None:
    found = searchable(before + private + after)
    assert private.strip("<>") not in found
    assert "@" not in found
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", found)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gives_a_line_that_fits_a_search_box(text: str) -> None:
    found = searchable(text)
    assert len(found.split()) <= WORDS
    assert len(found) <= LIMIT
    assert "\n" not in found


def test_hostile_text_costs_little() -> None:
    for piece in ("a" * 5000, "a." * 5000, "@" * 5000, ":" * 5000, "1." * 5000, "<" * 5000, "a@" * 5000, "0a" * 5000):
        assert isinstance(searchable(piece), str)
