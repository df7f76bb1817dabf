"""Who sends how much, what of it was refused and what the program heard: one function, three faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from furnish import furnish
from relay_kit import MAIL, told

from mailops import Ops
from mailops.checks import relay as checks
from mailops.jobs import run_notebook
from mailops.model.mail import Submission
from mailops.model.setup import BouncePolicy
from mailops.model.verdict import VerdictState
from mailops.testing import SmtpServer, defer, refuse


def hand_over(ops: Ops, login: str | None, *to: str) -> None:
    raw = MAIL.format(sender="Ann <ann@acme.example>").encode()
    ops.queue.submit(
        Submission(
            raw=raw,
            envelope_to=to,
            return_path="back@acme.example",
            bounces=BouncePolicy.KEEP,
            origin="smtp",
            login=login,
        )
    )


@pytest.fixture
def used(ops_on: Callable[..., Ops]) -> Ops:
    script = [refuse("gone*@*", 550, "5.1.1", "No such user"), defer("grey@*", 450, "4.7.1", "Later")]
    with SmtpServer(script) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for number in range(3):
            hand_over(ops, "shop", f"u{number}@x.example", f"gone{number}@x.example")
        hand_over(ops, "mill", "grey@x.example")
        hand_over(ops, None, "bob@x.example")
        ops.send(sender="ann@acme.example", to="bob@x.example", text="not a program's")
        ops.queue.run()
    return ops


def test_each_login_has_its_row(used: Ops) -> None:
    found = {row["login"]: row for row in used.analysis.relay("7d").to_dict("records")}
    assert list(found) == ["shop", "(no sign-in)", "mill"]
    shop = found["shop"]
    assert {k: shop[k] for k in ("mails", "recipients", "sent", "refused", "waiting", "told", "timed")} == {
        "mails": 3, "recipients": 6, "sent": 3, "refused": 3, "waiting": 0, "told": 3, "timed": 3,
    }  # fmt: skip
    assert shop["octets"] > 300
    assert (found["mill"]["waiting"], found["mill"]["timed"]) == (1, 0)
    assert [row["login"] for row in told(used, "serve", "usage")] == list(found)


def test_the_notebook_shows_it_and_judges(used: Ops) -> None:
    result = run_notebook("relay", {"limit": "0.1"}, workspace=used.workspace.path, timeout=120)
    assert result.exit_code == 0, result.message  # six recipients are too few to judge by
    report = result.report.read_text("utf-8")
    for words in ("shop", "(no sign-in)", "back@acme.example", "No such user"):
        assert words in report


def test_the_checks_say_who_and_how_many() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 11, 29, tzinfo=UTC)
    row: dict[str, Any] = {"login": "shop", "recipients": 100, "refused": 30, "timed": 70, "p95": 900.0}
    bad = checks.refused([row], limit=0.1, now=now)
    assert (bad.state, bad.found) == (VerdictState.FAILED, "shop: 30 of 100")
    assert checks.refused([{**row, "refused": 10}], limit=0.1, now=now).state is VerdictState.PASSED
    assert checks.refused([], limit=0.1, now=now).state is VerdictState.SKIPPED
    assert checks.slow([row], seconds=300, now=now).state is VerdictState.WARNING
    assert checks.slow([{**row, "timed": 0, "p95": float("nan")}], seconds=300, now=now).state is VerdictState.PASSED
    assert checks.untold({"due": 2}, now=now).state is VerdictState.WARNING
    assert checks.untold({"told": 2}, now=now).state is VerdictState.PASSED
