"""Hard and soft are a table that the organisation can change; what was judged before follows when asked to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from furnish import furnish

from mailops import Ops
from mailops.bounces.hardness import PARAMETER, read_table
from mailops.errors import ConfigError
from mailops.testing import SmtpServer, build_dsn, refuse

DISABLED = "550 5.2.1 The mailbox of this user is disabled"


def standing(ops: Ops, address: str) -> str | None:
    found = ops.suppressions.find(address)
    return found.state if found else None


def test_reports_refusals_and_the_analysis_follow_the_table(ops_on: Callable[..., Ops]) -> None:
    script = [refuse("door@x.example", 550, "5.2.1", "The mailbox of this user is disabled")]
    with SmtpServer(script=script) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for name in ("before", "after"):
            if name == "after":
                ops.set_parameter(PARAMETER, "suspend=hard")
                ops.send(sender="ann@acme.example", to=["door@x.example"], subject="Hello", text="Hi")
            ops.send(sender="ann@acme.example", to=[f"{name}@x.example"], subject="Hello", text="Hi")
            ops.queue.run()
            original = next(m.data for m in smtp.messages if f"{name}@x.example" in m.recipients)
            raw = build_dsn(original, f"{name}@x.example", "5.2.1", DISABLED, "mx.x.example", to="bounce@acme.example")
            assert ops.bounces.take(raw).matched == 1
    assert [standing(ops, f"{name}@x.example") for name in ("before", "after", "door")] == [None, "active", "active"]
    assert set(ops.analysis.causes("30d")["hard"]) == {"hard"}
    (change,) = ops.suppressions.diff()
    assert (change.address, change.was, change.now, change.effect) == (
        "before@x.example",
        ("bounce", "suspend", False),
        ("bounce", "suspend", True),
        "suppress",
    )
    ops.suppressions.apply([change])
    assert standing(ops, "before@x.example") == "active"
    ops.set_parameter(PARAMETER, None)
    assert {c.effect for c in ops.suppressions.diff()} == {"unsuppress"}


@pytest.mark.parametrize(
    ("value", "code"), [("suspend=dead", "config.bounce_hardness"), ("gone=hard", "config.bounce_reason")]
)
def test_a_table_that_says_nothing_is_refused(sqlite_ops: Ops, value: str, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        sqlite_ops.set_parameter(PARAMETER, value)
    assert refused.value.code == code
    assert sqlite_ops.setup.parameters.get(PARAMETER) is None


def test_words_are_separated_by_commas_or_blanks() -> None:
    table = read_table("suspend=hard,hasmoved=soft  mailboxfull=hard")
    assert (table["suspend"], table["hasmoved"], table["mailboxfull"]) == ("hard", "soft", "hard")
    assert table["userunknown"] == "hard"
    assert read_table(None) == read_table("")
