"""Subject and predicate, where no table knows the wording: what it understands, what it leaves alone, and its bounds."""

from __future__ import annotations

import signal

import pytest

from mailops.bounces import classify
from mailops.bounces.reading.grammar import MAX_TEXT, STATEMENTS, understand
from mailops.model.reasons import REASONS


@pytest.mark.parametrize(
    ("text", "reason", "hard"),
    [
        ("550 we never heard of this subscriber", "userunknown", True),
        ("550 that member was never created here", "userunknown", True),
        ("552 the storage of this person is used up", "mailboxfull", False),
        ("550 the subscription of this customer has lapsed", "suspend", False),
        ("550 macro documents are prohibited here", "policyviolation", False),
        ("554 message scored too high with our junk rules", "spamdetected", False),
        ("550 mail with a misaligned DKIM is dropped", "authfailure", False),
        ("no answer, the link was lost", "networkerror", False),
    ],
)
def test_statements_no_table_holds_are_understood(text: str, reason: str, hard: bool) -> None:
    found = classify(text=text)
    assert (found.reason, found.hard) == (reason, hard)
    assert found.rule == "grammar:" + reason


@pytest.mark.parametrize(
    "text",
    [
        "550 the account of the sender was never created",
        "550 your account has been removed from our customers",
        "535 nobody of this name may sign in",
        "550 thank you",
    ],
)
def test_a_sentence_about_somebody_else_makes_no_address_hard(text: str) -> None:
    assert not classify(text=text).hard


def test_prose_and_host_names_are_left_alone() -> None:
    assert understand("the user is unknown. " + "and so on " * 50) is None
    assert classify(text="lost link to user-unknown.elm.example").reason == "networkerror"


def test_every_reason_is_one_of_the_vocabulary() -> None:
    assert {statement.reason for statement in STATEMENTS} <= set(REASONS)


@pytest.mark.parametrize(
    "piece", ["user ", "- ", "user-", "not a ", "message mail ", "a", "''", "no ", "domain. ", "mailbox\t"]
)
def test_no_text_makes_it_run_away(piece: str) -> None:
    def stop(*_: object) -> None:
        raise AssertionError(f"still reading {piece!r}")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    try:
        for tail in ("", "unknow", "x" * 20):
            understand((piece * MAX_TEXT)[: MAX_TEXT - 20] + tail)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
