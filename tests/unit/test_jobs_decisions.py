"""Parameters, the gate's words, and what changed: decided without running anything."""

from __future__ import annotations

from typing import Any

import pytest

from mailops.errors import RunError
from mailops.jobs.parameters import bind, convert, parameters_of
from mailops.jobs.process import Outcome
from mailops.jobs.runner import decide
from mailops.jobs.verdicts import changes, summary
from mailops.model.verdict import Verdict, VerdictState

CELL = '''"""A docstring."""
domain: str = "example.com"  # the domain to check
days: int = 30
share: float | None = None
strict: bool = False
only: list[str] = []
by: Literal["domain", "server"] = "domain"
plain = 5
'''


def notebook(source: str) -> dict[str, Any]:
    return {"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source.splitlines(True)}]}


def verdict(check: str, state: str) -> Verdict:
    return Verdict(check, "example.com", VerdictState(state), check.upper())


def test_parameters_are_read_with_type_default_and_help() -> None:
    found = parameters_of(notebook(CELL))
    assert [(p.name, p.type) for p in found] == [
        ("domain", "str"),
        ("days", "int"),
        ("share", "float | None"),
        ("strict", "bool"),
        ("only", "list[str]"),
        ("by", "Literal['domain', 'server']"),
        ("plain", "int"),
    ]
    assert (found[0].default, found[0].help) == ("example.com", "the domain to check")


@pytest.mark.parametrize("source", ["a: int = open('x')", "a: int = ", "a = [b]"])
def test_parameters_that_are_not_literals_are_refused(source: str) -> None:
    with pytest.raises(RunError) as caught:
        parameters_of(notebook(source))
    assert caught.value.code == "run.notebook_invalid"


@pytest.mark.parametrize(
    ("name", "given", "bound"),
    [
        ("domain", "30", "30"),
        ("days", "30", 30),
        ("days", 7, 7),
        ("share", "0.5", 0.5),
        ("share", "none", None),
        ("strict", "yes", True),
        ("strict", "0", False),
        ("only", "a.test, b.test", ["a.test", "b.test"]),
        ("only", '["a.test"]', ["a.test"]),
        ("by", "server", "server"),
        ("plain", "6", 6),
    ],
)
def test_values_become_the_annotated_type(name: str, given: Any, bound: Any) -> None:
    got = bind(parameters_of(notebook(CELL)), {name: given}, "queue")[name]
    assert got == bound
    assert type(got) is type(bound)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("days", "1.5", "days wants a whole number"),
        ("days", True, "days wants a whole number"),
        ("share", "nan", "share wants a number"),
        ("strict", "maybe", "strict wants true or false"),
        ("by", "colour", "by wants one of domain, server"),
        ("domain", "x" * 20_000, "at most 10000 characters"),
    ],
)
def test_values_of_another_type_are_refused(name: str, given: Any, said: str) -> None:
    parameter = next(p for p in parameters_of(notebook(CELL)) if p.name == name)
    with pytest.raises(RunError, match=said):
        convert(parameter, given)


def test_the_gate_says_how_many_failed_and_which() -> None:
    states = ["passed"] * 4 + ["warning", "failed", "unknown"]
    verdicts = [verdict(f"c{n}", state) for n, state in enumerate(states)]
    assert summary(verdicts) == "2 of 7 checks failed: c5, c6"
    assert summary(verdicts[:4]) == "All 4 checks passed."


def test_what_changed_since_the_last_run_worst_first() -> None:
    before = [verdict("spf", "failed"), verdict("mx", "passed"), verdict("old", "passed"), verdict("same", "failed")]
    now = [verdict("spf", "passed"), verdict("mx", "unknown"), verdict("new", "passed"), verdict("same", "failed")]
    assert [(c.kind, c.verdict.check) for c in changes(before, now)] == [
        ("newly failing", "mx"),
        ("recovered", "spf"),
        ("new", "new"),
        ("gone", "old"),
    ]


def test_a_forgotten_gate_does_not_turn_red_to_green() -> None:
    assert decide(Outcome("done"), [verdict("spf", "failed")], stopped_early=False) == ("failed", None)
    assert decide(Outcome("done"), [verdict("spf", "passed")], stopped_early=False) == ("passed", None)
    for kind in ("timeout", "died", "start", "runner", "lost"):
        status, error = decide(Outcome(kind), [], stopped_early=False)
        assert status == "error"
        assert error is not None
