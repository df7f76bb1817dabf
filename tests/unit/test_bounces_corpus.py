"""The promised thresholds over all of the project's own messages, with the three kinds of line ends.

That each message is read as labelled is said one by one in test_bounces_fixtures.py and test_bounces_field.py; here the
whole goes through the suite and the scorer that users have (``python -m mailops.testing.evaluate bounces … --score``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailops.testing.evaluate import predictions
from mailops.testing.score_bounces import FIELDS, BounceScore, score_bounces

FIXTURES = Path(__file__).parent.parent / "fixtures"
ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
PROMISED = {"kind": 0.975, "hard": 0.97, "status": 0.98, "reason": 0.94, "feedback_type": 0.95, "results": 0.95}
PROMISED_F1 = 0.985

Row = dict[str, Any]


def labels() -> Iterator[tuple[Row, Path]]:
    """Every labelled message: those of the field, and those that were written for a rule."""
    folder = FIXTURES / "bounces_field"
    for line in (folder / "truth.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield {**row, "id": f"field-{row['id']}"}, folder / row["file"]
    folder = FIXTURES / "bounces"
    for line in (folder / "expected.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield (
            {
                "id": f"own-{row['name']}",
                "kind": row["kind"],
                "recipients": [{"address": address} for address in row["recipients"]],
                "reason": row["reason"],
                "hard": row["hard"],
                "status": [row["status"]] if row["status"] else None,
                "feedback_type": row["feedback"],
            },
            folder / f"{row['name']}.eml",
        )


ROWS = [row for row, _ in labels()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of all messages: a folder for each kind of line ends, a truth file beside its messages."""
    top: Path = tmp_path_factory.mktemp("messages")
    for name, end in ENDS.items():
        (top / name / "eml").mkdir(parents=True)
        lines = []
        for row, file in labels():
            copy = f"eml/{row['id']}.eml"
            (top / name / copy).write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", end))
            lines.append(json.dumps({**row, "file": copy}))
        (top / name / "truth.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return top


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, dict[str, Row]]:
    return {name: {one["id"]: one for one in predictions("bounces", folder / name / "truth.jsonl")} for name in ENDS}


@pytest.mark.parametrize("ends", ENDS)
def test_the_thresholds_hold(ends: str, answers: dict[str, dict[str, Row]]) -> None:
    total = score_bounces(ROWS, answers[ends].values())
    assert total.messages == len(ROWS) >= 600
    assert (total.missing, total.raised, total.false_positives, total.wrong_suppressions) == (0, 0, 0, 0), str(total)
    assert total.f1 >= PROMISED_F1, str(total)
    for field, share in PROMISED.items():
        assert total.asked(field) >= 3, field
        assert total.rate(field) >= share, str(total)


@pytest.mark.parametrize("ends", ["crlf", "cr"])
def test_line_ends_change_nothing(ends: str, answers: dict[str, dict[str, Row]]) -> None:
    assert {name: one for name, one in answers[ends].items() if one != answers["lf"][name]} == {}


def test_a_folder_gives_the_same_answers_as_the_truth_file(folder: Path, answers: dict[str, dict[str, Row]]) -> None:
    found = {one["id"]: one for one in predictions("bounces", folder / "lf" / "eml")}
    assert found == answers["lf"]


def test_a_planted_label_is_reported(answers: dict[str, dict[str, Row]]) -> None:
    """Each label of each message is made wrong in turn; the scorer says so, and counts it."""
    planted = 0
    for row in ROWS:
        answer = answers["lf"][row["id"]]
        right = score_bounces([row], [answer])
        assert right.clean, str(right)
        for field in FIELDS:
            if not right.asked(field):
                continue
            wrong = score_bounces([{**row, **spoilt(field, row)}], [answer])
            assert wrong.rate(field) == 0, (row["id"], field)
            assert field in {miss.field for miss in wrong.misses}
            planted += 1
    assert planted > 3 * len(ROWS)


def spoilt(field: str, row: Row) -> Row:
    """Labels that are wrong where these are right."""
    if field == "kind":
        return {"kind": "autoreply", "kind_ok": ["planted"]}
    if field == "recipients":
        return {"recipients": [*row["recipients"], {"address": "planted@example.com"}]}
    if field == "hard":
        return {"hard": not row["hard"]}
    if field == "results":
        return {"per_recipient": [{**one, "reason": "planted"} for one in row["per_recipient"]]}
    return {"reason": {"reason": "planted", "reason_ok": []}, "status": {"status": ["9.9.9"]}}.get(
        field, {field: "planted"}
    )


def one(label: Row, answer: Row | None) -> BounceScore:
    return score_bounces([{"id": "m", **label}], [{"id": "m", **answer}] if answer is not None else [])


def test_harm_is_counted_apart() -> None:
    hard = {"kind": "bounce", "recipients": ["ann@example.com"], "reason": "userunknown", "hard": True}
    letter = one({"kind": "ordinary"}, hard)
    assert (letter.false_positives, letter.wrong_suppressions, letter.clean) == (1, 1, False)
    soft = one({"kind": "bounce", "reason": "mailboxfull", "hard": False}, hard)
    assert (soft.false_positives, soft.wrong_suppressions, soft.rate("hard")) == (0, 1, 0.0)
    nothing = one({"kind": "bounce"}, None)
    assert (nothing.missing, nothing.rate("kind"), nothing.clean) == (1, 0.0, False)
    broken = one({"kind": "ordinary"}, {"kind": "ordinary", "error": "ValueError()"})
    assert (broken.raised, broken.rate("kind"), broken.clean) == (1, 1.0, False)
    assert not score_bounces([], []).clean


def test_recipients_count_once_and_under_their_other_names() -> None:
    label = {"kind": "bounce", "recipients": [{"address": "ann@example.com", "alt": ["a.lee@example.com"]}]}
    assert one(label, {"kind": "bounce", "recipients": ["<A.Lee@example.com>"]}).f1 == 1
    assert one(label, {"kind": "bounce", "recipients": ["bob@example.com"]}).f1 == 0
    assert one(label, {"kind": "bounce", "recipients": ["ann@example.com", "bob@example.com"]}).f1 == pytest.approx(
        2 / 3
    )
    assert one({**label, "recipients": []}, {"kind": "bounce", "recipients": ["bob@example.com"]}).f1 == 0
