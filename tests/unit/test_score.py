"""The scorer's rules: what counts as the same, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from mailops.testing.evaluate import SUITES
from mailops.testing.score import (
    RULES,
    at_least,
    equal,
    given_fields,
    one_of,
    same_mailboxes,
    same_name,
    same_names,
    same_notices,
    same_records,
    same_truth,
    score,
)

ANN = {"alias": "a", "model": "m"}
NOTICE = {
    "to": "ann@example.com",
    "from": "MAILER-DAEMON <bounce@example.com>",
    "subject": "Re: Hi",
    "body": "Write to b",
}


@pytest.mark.parametrize(("rule", "want", "same", "other"), [
    (equal, 1, 1, True),
    (equal, None, None, ""),
    (one_of, ["pass", "neutral"], "neutral", "fail"),
    (one_of, "valid", "valid", "invalid"),
    (same_mailboxes, '"Ann" <ann@example.com>', "Ann <ann@example.com>", "ann@example.com"),
    (same_mailboxes, "Ann <ann@example.com>", "Ann <ann@example.com>", "Ann <ANN@example.com>"),
    (same_mailboxes, None, None, "ann@example.com"),
    (same_records, [ANN, {"alias": None, "model": "n"}], [{"alias": None, "model": "n"}, ANN], [ANN, ANN]),
    (same_records, [], None, [ANN]),
    (same_notices, [{"to": "Ann <ann@example.com>"}], [NOTICE], [NOTICE, NOTICE]),
    (same_notices, [{"body_contains": "Write to"}], [NOTICE], []),
    (same_notices, [{"from": "bounce@example.com", "subject": "Re: Hi"}], [NOTICE], [{**NOTICE, "subject": "Hi"}]),
    (given_fields, {"status": "bounce"}, {"status": "bounce", "partner": "p"}, None),
    (given_fields, None, None, {"status": "bounce"}),
    (same_name, "Mail.Example.com", "mail.example.com.", "mail.example.org"),
    (same_name, None, None, "example.com"),
    (same_names, ["a.example", "b.example"], ["A.example.", "b.example"], ["b.example", "a.example"]),
    (same_names, [], [], None),
    (at_least, ["weak_key"], ["testing", "weak_key"], ["testing"]),
    (same_truth, True, "refused", None),
    (same_truth, False, None, True),
])  # fmt: skip
def test_a_rule_tells_the_same_from_the_other(rule: Any, want: Any, same: Any, other: Any) -> None:
    assert rule(want, same)
    assert not rule(want, other)


def case(ident: str, **expected: Any) -> dict[str, Any]:
    return {"id": ident, "expected": expected}


def test_what_has_rules_is_a_suite() -> None:
    assert set(RULES) == set(SUITES) - {"bounces"}


def test_another_acceptable_answer_is_laid_over_the_first() -> None:
    wanted = {**case("a", decision="bounce", author=None), "also_acceptable": [{"decision": "create", "author": "p"}]}
    assert score("gateway", [wanted], [{"id": "a", "decision": "create", "author": "p"}]).clean
    mixed = score("gateway", [wanted], [{"id": "a", "decision": "create", "author": None}])
    assert [str(miss) for miss in mixed.misses] == ["a: decision is 'create', expected 'bounce'"]


def test_what_says_nothing_does_not_pass() -> None:
    missing = score(
        "gateway", [case("a", decision="create"), case("b", decision="create")], [{"id": "b", "decision": "create"}]
    )
    assert [miss.field for miss in missing.misses] == ["prediction"]
    assert (missing.cases, missing.passed, missing.clean) == (2, 1, False)
    assert [miss.field for miss in score("gateway", [case("a")], [{"id": "a"}]).misses] == ["expected"]
    twice = score("gateway", [case("a", decision="reply")] * 2, [{"id": "a", "decision": "reply"}])
    assert [miss.field for miss in twice.misses] == ["id"]
    assert not score("gateway", [], []).clean
