"""The case files of tests/fixtures/cases: every case is answered as it expects, and every comparison can fail."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mailops.testing.evaluate import predictions
from mailops.testing.score import options, score

FOLDER = Path(__file__).parent.parent / "fixtures" / "cases"
FILES = [FOLDER / "routing.json", *sorted(FOLDER.glob("gateway*.json")), *sorted((FOLDER / "dns").glob("*.json"))]
COUNTS = {"routing": 45, "gateway": 58, "spf": 135, "dmarc": 54, "dkim": 33, "aggregate": 22}
every_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])

Case = dict[str, Any]


def suite(file: Path) -> str:
    return file.stem.split("-")[0]


def cases(file: Path) -> list[Case]:
    found: list[Case] = json.loads(file.read_text("utf-8"))["cases"]
    return found


@cache
def answers(file: Path) -> dict[str, Case]:
    return {one["id"]: one for one in predictions(suite(file), file)}


@every_file
def test_every_case_is_answered_as_expected(file: Path) -> None:
    result = score(suite(file), cases(file), answers(file).values())
    assert result.clean, str(result)


@every_file
def test_a_planted_expectation_is_reported(file: Path) -> None:
    """Each expected field of each case is made wrong in turn; the scorer names that field and no other."""
    for case in cases(file):
        answer = answers(file)[case["id"]]
        for wanted in options(case):
            plain = {"id": case["id"], "expected": wanted}
            if score(suite(file), [plain], [answer]).clean:
                break
        else:
            raise AssertionError(case["id"])
        for field, value in wanted.items():
            for planted in spoilt(field, value):
                result = score(suite(file), [{**plain, "expected": {**wanted, field: planted}}], [answer])
                assert [miss.field for miss in result.misses] == [field], (case["id"], field, planted)


def spoilt(field: str, value: Any) -> Iterator[Any]:
    """Values that are wrong where this one is right."""
    if field in ("result", "status", "reason"):  # what is expected may be a list of which one is right
        yield ["planted"]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, dict):
        yield {**value, "planted": 1}
        yield from ({**value, name: "planted"} for name in value)
    elif field in ("notices", "created"):
        yield [*value, {"to": "planted@example.com", "alias": "planted"}]
        for number, one in enumerate(value):
            yield [*value[:number], *value[number + 1 :]]
            for name in one:
                yield [*value[:number], {**one, name: "planted@example.com"}, *value[number + 1 :]]
    elif isinstance(value, list):
        yield [*value, "planted"]
    else:
        yield f"planted-{value}"


def test_no_case_went_missing() -> None:
    ids: dict[str, list[str]] = {}
    for file in FILES:
        ids.setdefault(suite(file), []).extend(case["id"] for case in cases(file))
    assert {name: len(found) for name, found in ids.items()} == COUNTS
    assert {name: len(set(found)) for name, found in ids.items()} == COUNTS


def test_a_packed_report_reads_the_same_unpacked(tmp_path: Path) -> None:
    """The large ones are kept small as gzip; unpacked they take another path through the reader."""
    file = FOLDER / "dns" / "aggregate.json"
    plain = []
    for case in cases(file):
        packed = file.parent / case["file"]
        if packed.suffix == ".gz" and "error" not in case["expect"]:
            (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
            plain.append({**case, "file": packed.stem})
    (tmp_path / "cases.json").write_text(json.dumps({"cases": plain}), "utf-8")
    result = score("aggregate", plain, predictions("aggregate", tmp_path / "cases.json"))
    assert result.clean, str(result)
    assert result.cases == 3


NAME = re.compile(r"(?<![\w.%{-])[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|co|de|io|eu|info|biz|uk|test|example|invalid)\b")
NUMBER = re.compile(r"(?<![\w.:])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
RESERVED = re.compile(r"(^|\.)(example\.(com|net|org)|test|example|invalid)$")
OURS = ("192.0.2.", "198.51.100.", "203.0.113.", "127.0.0.")
# The tree walk of example.com asks for it; a namespace of W3C; a section of RFC 6376.
ALLOWED = {"_dmarc.com", "www.w3.org", "3.6.2.2"}


def test_only_reserved_names_and_addresses_in_what_is_our_own() -> None:
    """Names of RFC 2606, addresses of RFC 5737; the suites of others are kept as they were published."""
    strangers = set()
    for file in sorted(path for path in FOLDER.rglob("*") if path.suffix in (".json", ".xml", ".eml", ".gz")):
        if file.name in (
            "oauth.json",
            "spf-openspf-1.json",
            "spf-openspf-2.json",
            "spf-pyspf.json",
            "truncated.xml.gz",
        ):
            continue
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        text = data.decode("utf-8")
        strangers |= {(file.name, one) for one in NAME.findall(text) if not RESERVED.search(one)}
        strangers |= {(file.name, one) for one in NUMBER.findall(text) if not one.startswith(OURS)}
    assert {(file, one) for file, one in strangers if one not in ALLOWED} == set()


def test_the_files_stay_small() -> None:
    assert [file.name for file in FOLDER.rglob("*") if file.is_file() and file.stat().st_size > 60_000] == []
