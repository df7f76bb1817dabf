"""Verdicts about what came back, and the card of what today's rules change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from mailops import Ops
from mailops.bounces.return_path import ReturnPathState
from mailops.checks import bounces as checks
from mailops.testing import build_dsn
from mailops.widgets import bounces_view
from mailops.widgets.bounces_view import RulesCard

NOW = datetime(2026, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "verdict", "words"),
    [
        (ReturnPathState(None, None, 0, 0, None), "skipped", "plain"),
        (ReturnPathState("vault:k", None, 0, 0, None), "passed", "signed"),
        (ReturnPathState("vault:k", None, 3, 9, NOW), "passed", "signed"),
        (ReturnPathState("vault:k", None, 0, 9, None), "warning", "without the tag"),
        (ReturnPathState("env:K", "The variable is not set.", 0, 0, None), "warning", "cannot be read"),
    ],
)
def test_signed_return_paths_must_come_back(state: ReturnPathState, verdict: str, words: str) -> None:
    found = checks.return_paths(state, now=NOW)
    assert found.state.value == verdict
    assert words in found.title
    assert bool(found.code) is (verdict == "warning")


def test_stored_reports_are_read_once_and_with_a_bar_when_they_are_many(
    ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = ops_factory()
    for number in range(3):
        mail = f"From: a@acme.example\r\nTo: b{number}@x.example\r\n\r\nHi\r\n".encode()
        ops.bounces.take(build_dsn(mail, f"b{number}@x.example", "5.1.1", "550 5.1.1 no such user", "mx.x.example"))
    shown: list[Any] = []
    monkeypatch.setattr(bounces_view, "display", shown.append)
    monkeypatch.setattr(RulesCard, "MANY", 3)
    card = RulesCard(ops)
    assert card.changes == []
    assert "judge every stored report as before" in card.html()
    (bar,) = shown
    assert (bar.done, bar.total, bar.text()) == (3, 3, "3 stored reports were read again.")
