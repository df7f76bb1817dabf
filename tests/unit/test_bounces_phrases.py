"""The lines of refusals.tsv: how they are read, that their order means nothing, and that their sources hold."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from mailops import mime
from mailops.bounces.reading.classify import _stands, compile_table, match_text, pieces_of, prepare
from mailops.bounces.reading.patterns import Phrase, phrases, read, text
from mailops.errors import ConfigError

FIXTURES = Path(__file__).parent.parent / "fixtures"


def replies() -> list[str]:
    lines = (FIXTURES / "replies_field" / "replies.jsonl").read_text("utf-8").splitlines()
    return [prepare(json.loads(line)["text"]) for line in lines]


def test_a_line_is_rank_reason_phrase_and_source() -> None:
    later, first = read("# a note\n\n20w\tblocked\t␣tls\tRFC 3207\n10\tsuspend\tput * sleep\tseen\n")[::-1]
    assert first == Phrase(10, "suspend", "put * sleep", False, "seen", 4)
    assert later == Phrase(20, "blocked", " tls", True, "RFC 3207", 3)


@pytest.mark.parametrize(
    "line", ["10\tsuspend\tput to sleep", "w\tsuspend\tput to sleep\tseen", "\tsuspend\ta\tb", "x"]
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"# a note\n{line}\n")
    assert caught.value.code == "bounces.phrase_line"
    assert caught.value.facts["line"] == 2


def test_the_order_of_the_lines_means_nothing() -> None:
    said = replies()
    usual = [match_text(one, weak=True) for one in said]
    lines = text().splitlines()
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        table = compile_table(read("\n".join(lines)))
        assert [match_text(one, weak=True, among=table) for one in said] == usual


def test_within_a_rank_the_longest_phrase_is_named() -> None:
    table = compile_table(
        read("10\tsuspend\tasleep\ta\n10\tsuspend\tbox is asleep\ta\n20\tblocked\tthis box is asleep\ta\n")
    )
    assert match_text("this box is asleep", among=table) == ("suspend", "box is asleep")


def test_nothing_is_read_before_the_first_text_is_asked() -> None:
    code = (
        "from mailops.bounces import classify; from mailops.bounces.reading import patterns; import sys; "
        "of = sys.modules['mailops.bounces.reading.classify']; "
        "print(patterns.phrases.cache_info().currsize, of.refusals.cache_info().currsize); "
        "classify(text='550 a'); classify(text='550 b'); print(patterns.phrases.cache_info().misses)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "1"]


def words_of(file: Path) -> str:
    head, body = mime.split_message(file.read_bytes())
    fields = mime.fields_of(head)
    pieces = [mime.decode_words(fields.first("subject")), *(part.text() for part in mime.leaves(fields, body))]
    whole = "\n".join(pieces)
    return " ".join(prepare(whole[start : start + 4000]) for start in range(0, len(whole), 3600))


def test_a_source_among_the_own_samples_holds_the_phrase() -> None:
    formats: dict[str, list[str]] = {}
    for line in (FIXTURES / "bounces_field" / "truth.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        formats.setdefault("bounces_field " + row["format"], []).append(
            words_of(FIXTURES / "bounces_field" / row["file"])
        )
    places = {"replies_field": replies(), **formats}
    for file in (FIXTURES / "bounces").glob("*.eml"):
        places["bounces " + file.stem] = [words_of(file)]
    for one in phrases():
        assert one.source.strip(), one
        if one.source.split()[0] in ("replies_field", "bounces_field", "bounces"):
            pieces = tuple(piece.removeprefix("^") for piece in pieces_of(one.words))
            assert any(_stands(pieces, said) for said in places[one.source]), one
