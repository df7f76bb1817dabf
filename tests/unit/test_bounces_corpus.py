"""The thresholds over the shared development messages, where they stand beside the checkout.

Nothing of that data is in the project. The figures are those the project promises; the scorer is the data's own.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mailops.testing.evaluate import predictions


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    found = shared / "bounces"
    if not (found / "dev" / "truth.jsonl").is_file():
        pytest.skip("no ../shared/bounces/dev beside this checkout")
    return found


@pytest.fixture(scope="module")
def scorer(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bounce_score", folder / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="module")
def truth(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "dev" / "truth.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in predictions("bounces", folder / "dev" / "truth.jsonl")}


def tally(scorer: ModuleType, truth: list[dict[str, Any]], answers: dict[str, dict[str, Any]], *groups: str) -> Any:
    total = scorer.Tally()
    for row in truth:
        if row["group"] in groups:
            total.add(row, answers.get(row["id"]))
    return total


def test_thresholds_without_bare_cr(
    scorer: ModuleType, truth: list[dict[str, Any]], answers: dict[str, dict[str, Any]]
) -> None:
    total = tally(scorer, truth, answers, "sisimai", "independent", "made", "newline-crlf")
    assert total.rate("kind") >= 0.975
    assert total.prf()[2] >= 0.985
    assert total.rate("hard") >= 0.97
    assert total.rate("status") >= 0.98
    assert total.rate("reason") >= 0.94
    assert total.rate("feedback") >= 0.95
    assert total.false_alarms() == 0
    assert total.c["wrong_hard"] == 0
    assert total.c["crashed"] == 0
    assert total.c["missing"] == 0


def test_thresholds_of_the_independent_messages(
    scorer: ModuleType, truth: list[dict[str, Any]], answers: dict[str, dict[str, Any]]
) -> None:
    total = tally(scorer, truth, answers, "independent")
    assert total.prf()[2] >= 0.985
    assert total.rate("kind") >= 0.975


def test_bare_cr_is_read(scorer: ModuleType, truth: list[dict[str, Any]], answers: dict[str, dict[str, Any]]) -> None:
    total = tally(scorer, truth, answers, "newline-cr")
    assert total.rate("kind") >= 0.9
    assert total.c["wrong_hard"] == 0


def test_line_ends_change_nothing(truth: list[dict[str, Any]], answers: dict[str, dict[str, Any]]) -> None:
    for row in truth:
        if row.get("parent") in answers:
            twin, own = answers[row["parent"]], answers[row["id"]]
            assert {k: v for k, v in own.items() if k != "id"} == {k: v for k, v in twin.items() if k != "id"}


def test_a_folder_gives_the_same_answers_as_the_truth_file(folder: Path, answers: dict[str, dict[str, Any]]) -> None:
    rows = list(predictions("bounces", folder / "dev" / "eml"))
    assert len(rows) == len(answers)
    assert {json.dumps({**row, "id": ""}, sort_keys=True) for row in rows} == {
        json.dumps({**row, "id": ""}, sort_keys=True) for row in answers.values()
    }
