"""The page about the testing kit runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing-kit.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_page_has_snippets():
    assert len(SNIPPETS) >= 6


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number):
    exec(compile(SNIPPETS[number], f"{PAGE.name}, snippet {number + 1}", "exec"), {})


def test_every_builder_is_on_the_page():
    from mailops.testing import _HOMES

    text = PAGE.read_text("utf-8")
    builders = [name for name in _HOMES["smtp_script"] if name[0].islower() and name != "load_script"]
    assert [name for name in builders if f"`{name}(" not in text] == []
