"""The pages say what the code does: every command, setting and error code has its line, and the read-me runs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def first_cells(page: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", (DOCS / page).read_text("utf-8"), re.M))


def test_every_command_has_help_and_a_line(generate):
    found = {f"mailops {name}": (command.help or "").strip() for name, command in generate.commands()}
    assert [name for name, text in found.items() if len(text) < 15] == []
    assert first_cells("cli.md") == set(found), "run `make docs`"


def test_every_option_has_help(generate):
    bare = [
        f"mailops {name} {option.opts[0]}"
        for name, command in generate.commands()
        for option in command.params
        if option.opts[0].startswith("-") and not (option.help or "").strip()
    ]
    assert bare == []


def test_every_command_that_answers_has_json(generate):
    plain = {name for name, command in generate.commands() if not any("--json" in p.opts for p in command.params)}
    assert plain <= {"app", "serve", "worker"}  # they run until they are stopped


def test_every_setting_has_a_line(generate):
    assert first_cells("settings.md") == {name for name, *_ in generate.settings()}, "run `make docs`"


def test_every_error_code_has_a_line_with_cause_and_next_step(generate):
    codes = generate.error_codes()
    assert len(codes) > 50
    assert first_cells("errors.md") == set(codes), "run `make docs`"
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) \|$", (DOCS / "errors.md").read_text("utf-8"), re.M)
    assert [code for code, cause, fix in rows if len(cause) < 4 or len(fix) < 4] == []


def test_codes_are_words_with_dots(generate):
    assert [c for c in generate.error_codes() if not re.fullmatch(r"[a-z]+(\.[a-z0-9_-]+)*|not_found", c)] == []


def test_the_readme_session_runs_and_prints_what_it_shows():
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    shown = re.search(r"```text\n(.*?)```", README, re.S).group(1)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == shown


def test_commands_on_the_pages_exist(generate):
    known = {name for name, _ in generate.commands()}
    groups = {name.split()[0] for name in known if " " in name}
    for page in (
        README,
        *(p.read_text("utf-8") for p in [*DOCS.glob("*.md"), ROOT / "CHANGELOG.md", ROOT / "ARCHITECTURE.md"]),
    ):
        for words in re.findall(r"(?:`|\$ )mailops ((?:[a-z][a-z-]*)(?: [a-z][a-z-]+)?)", page):
            first, _, second = words.partition(" ")
            assert words in known or first in known - groups or (first in groups and not second), f"mailops {words}"


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_notebook_has_a_line():
    assert {n.stem for n in NOTEBOOKS} <= first_cells("notebooks.md")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_s_parameters_stand_in_its_line(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    given = next(c for c in cells if "parameters" in c["metadata"].get("tags", []))
    names = set(re.findall(r"^(\w+)\s*(?::|=)", "".join(given["source"]), re.M)) - {"workspace"}
    for page in (README, (DOCS / "notebooks.md").read_text("utf-8")):
        line = re.search(rf"^\| `{path.stem}` \|.*$", page, re.M).group(0)
        assert set(re.findall(r"`(\w+)`", line)) - {path.stem} == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_committed_notebook_is_clean(path):
    book = json.loads(path.read_text("utf-8"))
    for number, cell in enumerate(book["cells"]):
        assert not cell.get("outputs"), f"cell {number} has output"
        assert cell.get("execution_count") is None, f"cell {number} was run"
        assert "papermill" not in cell.get("metadata", {}), f"cell {number}"
    assert not {"widgets", "papermill"} & set(book["metadata"])
    assert book["metadata"].get("kernelspec", {}).get("name", "python3") == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_and_its_text_pair_are_the_same(path):
    import jupytext

    pair = path.parent / "text" / f"{path.stem}.py"
    assert pair.exists(), f"{path.name} has no text pair in notebooks/text"

    def cells(book: object) -> list[tuple[str, str]]:
        return [(cell.cell_type, cell.source.strip()) for cell in book.cells]

    assert cells(jupytext.read(path)) == cells(jupytext.read(pair, fmt="py:percent"))


PROMISE = re.compile(r"^- \*\*.*?(?=^- \*\*|^## |\Z)", re.M | re.S)
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_each_promise_of_the_threat_model_names_tests_that_exist() -> None:
    page = (DOCS / "security.md").read_text("utf-8")
    promises = PROMISE.findall(page)
    assert len(promises) > 30
    assert [promise for promise in promises if not TEST.search(promise)] == []
    places = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    named = set(TEST.findall(page))
    assert {f"{file}::{name}" for file, name in named if f"def {name}(" not in places.get(file, "")} == set()
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", page, re.M)}
    assert set(re.findall(r"^\| \[.*?\]\(#([\w-]+)\)", page, re.M)) == headings
