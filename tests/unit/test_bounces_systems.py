"""The lines of systems.tsv: what they are, and that none of them is a reason."""

from __future__ import annotations

import pytest

from mailops.bounces import classify
from mailops.bounces.reading.systems import KINDS, glosses, read, table, wrote
from mailops.errors import ConfigError


def test_a_line_is_name_kind_and_words() -> None:
    found = read("# a note\n\nacme\tmark\tthis is acme mail\nacme\tgloss\tcode of acme\n")
    assert found["mark"] == (("acme", "this is acme mail"),)
    assert found["gloss"] == (("acme", "code of acme"),)


@pytest.mark.parametrize(
    "line", ["acme\tmark", "acme\treason\tgone", "acme\tmark\tThis is Acme", "acme\tmark\ttwo  blanks"]
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"# a note\n{line}\n")
    assert caught.value.code == "bounces.system_line"
    assert caught.value.facts["line"] == 2


def test_the_shipped_file_has_lines_of_each_kind() -> None:
    assert all(table()[kind] for kind in KINDS)
    assert wrote("hi. this is the qmail-send program at x.example.") == "qmail"


@pytest.mark.parametrize("gloss", sorted(glosses()))
def test_a_gloss_alone_suppresses_nobody(gloss: str) -> None:
    assert not classify(text=f"550 {gloss}", stage="rcpt").hard
