"""A row that people meet (where: B or N) is carried by a test that enters where people do.

``tests/fixtures/rows_of_faces.txt`` has these rows. A test enters by a face when it, a helper of its file that it calls,
or a fixture it takes runs ``mailops``, holds an ``Ops``, opens a guide, runs a notebook or builds a view; a test of an
inner function may carry a row beside it, never alone. What is not so yet stands in :data:`NOT_YET`, which only shrinks;
``python tests/unit/test_rows.py`` prints both.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^[A-Z]{2,5}-\d{2}$")
FACES = {
    "Desk", "desk", "cli", "Cli", "furnished", "run_cli", "main", "Ops", "ops", "ops_on", "ops_factory", "sqlite_ops",
    "sqlite_file_ops", "run_notebook", "Guided", "GuideRun", "GuideView", "guide", "at", "sandbox", "page", "app",
    "mailops_app", "serve", "GUIDES", "available", "CheckCard", "Runner", "job", "notebook",
}  # fmt: skip
NOT_YET: frozenset[str] = frozenset()


def names_in(node: ast.AST) -> set[str]:
    """Every name a piece of a test uses, its parameters with it."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }
    return found | {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}


def carried(path: Path) -> dict[str, bool]:
    """The rows that a file's tests carry, and whether one of them enters by a face."""
    tree = ast.parse(path.read_text("utf-8"))
    defs = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    uses = {name: names_in(node) for name, node in defs.items()}
    found: defaultdict[str, bool] = defaultdict(bool)
    for name, node in defs.items():
        if not name.startswith("test"):
            continue
        reached, todo = set(), [name]
        while todo:
            one = todo.pop()
            if one not in reached:
                reached.add(one)
                todo += [n for n in uses[one] if n in defs]
        enters = any(uses[one] & FACES or any(n.endswith(("View", "Card")) for n in uses[one]) for one in reached)
        rows = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
        tables = [n for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign)]
        for table in tables:  # rows of a table that the test is parametrised with
            targets = table.targets if isinstance(table, ast.Assign) else [table.target]
            if any(isinstance(t, ast.Name) and t.id in uses[name] for t in targets):
                rows |= {c.value for c in ast.walk(table) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
        for row in rows:
            if ROW.match(row):
                found[row] = found[row] or enters
    return found


def of_all() -> dict[str, bool]:
    """Every row that a test carries, and whether one of its tests enters by a face."""
    found: defaultdict[str, bool] = defaultdict(bool)
    for path in ROOT.rglob("test_*.py"):
        for row, enters in carried(path).items():
            found[row] = found[row] or enters
    return found


def rows() -> list[str]:
    return [line.split()[0] for line in (ROOT / "fixtures" / "rows_of_faces.txt").read_text("utf-8").splitlines()]


def test_rows_that_people_meet_are_carried_from_a_face() -> None:
    seen = of_all()
    inner = {row for row in rows() if row in seen and not seen[row]}
    assert inner == set(NOT_YET), "carried by inner tests alone, or no longer so: mend the test, or NOT_YET"


@pytest.mark.parametrize(
    ("body", "enters"),
    [
        ("def test_x(): assert validate(setup)", False),
        ("def test_x(desk): desk('server', 'check')", True),
        ("def helper(): return Ops.open()\ndef test_x(): helper()", True),
    ],
)
def test_an_inner_test_is_told_from_one_that_enters(tmp_path: Path, body: str, enters: bool) -> None:
    path = tmp_path / "test_made.py"
    path.write_text(body.replace("def test_x", '@pytest.mark.req("GEN-04")\ndef test_x'), "utf-8")
    assert carried(path) == {"GEN-04": enters}


if __name__ == "__main__":
    told = of_all()
    for row in rows():
        print(row, "no test" if row not in told else "by a face" if told[row] else "by an inner test alone")
