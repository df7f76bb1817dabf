"""Nothing is copied: no sentence of the requirements stands in a guide, none of the error table in the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mailops.guides import GUIDES
from mailops.providers.refusals import rows


def table(page: Path) -> Iterator[tuple[str, str, str]]:
    """(what is seen, its words, class) of every row of the table."""
    for line in page.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and not line.startswith("| ---") and cells[-1] != "class":
            yield cells[0], " ".join(cells[1:-1]), cells[-1]


def test_no_sentence_of_the_requirements_is_copied(beside: Path) -> None:
    """Labels and values are the consoles' own; the sentences around them are ours."""
    text = re.sub(r"\s+", " ", (beside / "REQUIREMENTS.md").read_text("utf-8"))
    for one in GUIDES.values():
        for step in one.steps:
            for line in (step.why, *(d if isinstance(d, str) else d.text for d in step.do)):
                plain = re.sub(r"\*[^*]*\*|`[^`]*`|\{[^}]*\}", "", line)
                if len(plain.strip()) > 60:
                    assert line not in text


def test_no_sentence_of_the_error_table_is_copied(beside: Path) -> None:
    page = list(table(beside / "knowledge" / "oauth_errors.md"))
    assert len(page) == 125
    ours = "\n".join(one.cause + one.fix for one in rows())
    for _, words, _ in page:
        for sentence in re.split(r"[;:.]", words):
            if len(sentence.strip()) > 40:
                assert sentence.strip() not in ours


def test_the_cases_hold_every_number_and_class_of_the_error_table(beside: Path) -> None:
    file = Path(__file__).parent.parent / "fixtures" / "cases" / "oauth.json"
    cases = json.loads(file.read_text("utf-8"))["cases"]
    page = list(table(beside / "knowledge" / "oauth_errors.md"))
    assert [case["class"] for case in cases] == [kind for _, _, kind in page]
    numbers = [[int(n) for n in re.findall(r"\d{5,7}", seen)] for seen, _, _ in page if "AADSTS" in seen]
    assert [case["codes"] for case in cases if "codes" in case] == numbers
