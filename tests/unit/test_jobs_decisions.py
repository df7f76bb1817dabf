"""Parameters, the gate's words, and what changed: decided without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mailops.errors import RunError
from mailops.jobs.flood import Meter
from mailops.jobs.parameters import bind, casts, convert, from_file, parameters_of
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


@pytest.mark.parametrize(
    ("source", "type_", "default"),
    [
        ("a = 24 * 7", "int", "24 * 7"),
        ("a = 1 / 2", "float", "1 / 2"),
        ("a = 2.5 * -3", "float", "2.5 * -3"),
        ("a = 'x' + 'y'", "str", "'x' + 'y'"),
        ("a = f'{1}'", "str", "f'{1}'"),
        ("a = not b", "bool", "not b"),
        ("a = Path('data')", "Path", "Path('data')"),
        ("a = [b]", "list", "[b]"),
        ("a = date.today()", "", "date.today()"),
        ("a: int = open('x')", "int", "open('x')"),
        ("a: float = 1\na = a * 2", "float", "a * 2"),
        ("import os\n!ls\nx = !ls\n%pip list\na = os.sep", "", "os.sep"),
        ("a = 10 ** 10 ** 10", "float", "10 ** 10 ** 10"),
    ],
)
def test_a_computed_default_is_shown_as_its_source(source: str, type_: str, default: str) -> None:
    found = parameters_of(notebook(source))[-1]
    assert (found.name, found.type, found.default, found.computed) == ("a", type_, default, True)


@pytest.mark.parametrize(
    ("given", "bound"), [("5", 5), ("2.5", 2.5), ("true", True), ("None", None), ("nan", "nan"), ("a b", "a b")]
)
def test_a_value_of_no_known_type_is_taken_as_papermill_takes_it(given: str, bound: Any) -> None:
    assert bind(parameters_of(notebook("a = compute()")), {"a": given}, "own") == {"a": bound}


@pytest.mark.parametrize(
    ("annotation", "given", "bound", "cast"),
    [
        ("Path", "x", "x", "Path(a)"),
        ("pathlib.Path | None", "x", "x", "pathlib.Path(a)"),
        ("date", "2026-01-31", "2026-01-31", "date.fromisoformat(a)"),
        ("set[int]", "1,2", [1, 2], "set(a)"),
        ("Decimal", "1.10", "1.10", "Decimal(a)"),
        ("int", "1", 1, None),
        ("Optional[Path]", "none", None, None),
    ],
)
def test_what_an_annotation_makes_of_a_text(annotation: str, given: str, bound: Any, cast: str | None) -> None:
    found = parameters_of(notebook(f"a: {annotation} = make()"))
    got = bind(found, {"a": given}, "own")
    assert got == {"a": bound}
    assert casts(found, got).get("a") == cast


@pytest.mark.parametrize(
    "text",
    [
        "- 1",
        "a: [",
        "a: &x [1]\nb: *x",
        "1: 2",
        "a: !!binary aGk=",
        "a: .nan",
        "a: !!python/name:os.system",
        "{" * 9000,
    ],
)
def test_a_file_that_holds_no_parameters_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    with pytest.raises(RunError) as caught:
        from_file(tmp_path / "p.yaml")
    assert caught.value.code == "run.parameter_file"


def test_a_stream_keeps_its_beginning_and_its_end_and_nothing_secret_at_the_cut() -> None:
    meter = Meter(lambda text: text.replace("secret", "•••"), head=10, tail=8, margin=6)
    told = [meter.take("c", "stdout", text) for text in ("0123456secret", "left out ", "x" * 50, "the end")]
    assert told == ["0123", "", "", ""]
    ((cell, stream, rest),) = meter.rest()
    assert (cell, stream) == ("c", "stdout")
    assert rest.endswith("xthe end")
    assert "characters were left out" in rest
    assert list(meter.rest()) == []


@pytest.mark.parametrize("source", ["a: int = ", "a = = 1"])
def test_parameters_that_are_no_python_are_refused(source: str) -> None:
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
