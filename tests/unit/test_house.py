"""The order of the rooms: each kind of violation is planted in a copied tree, and found with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mailops.testing import house
from mailops.testing.house import House, Offence, judged
from mailops.testing.house_known import KNOWN, Known

ROOT = Path(__file__).parents[2]

# file (made, or added to), text, and what is said of the line that is marked with "# here"
PLANTED = {
    "an import from above": (
        "mailops/model/planted.py",
        "from ..queue import lease  # here\n\nlease",
        "upward: model imports mailops.queue",
    ),
    "an import from above inside a function": (
        "mailops/smtp/planted.py",
        "def __call__():\n    from mailops import Ops  # here\n\n    return Ops",
        "upward: smtp imports mailops.ops",
    ),
    "the reading library with the store": (
        "mailops/bounces/reading/planted.py",
        "from .. import service  # here\n\nservice",
        "upward: bounces.reading imports mailops.bounces",
    ),
    "a room that is in no list": (
        "mailops/attic/planted.py",
        "from ..errors import MailopsError  # here\n\nMailopsError",
        "upward: attic has no place in the list of rooms",
    ),
    "a reader of analysis": (
        "mailops/guides/planted.py",
        "from ..analysis import trend  # here\n\ntrend",
        "readers: guides imports mailops.analysis",
    ),
    "SQL in a command": (
        "mailops/cli/planted.py",
        "import sqlalchemy as sa  # here\n\nsa",
        "sql: cli imports sqlalchemy",
    ),
    "SQL in a card, late": (
        "mailops/widgets/planted.py",
        "def __call__():\n    from sqlalchemy import text  # here\n\n    return text",
        "sql: widgets imports sqlalchemy",
    ),
    "a write by short names": (
        "mailops/oauth/planted.py",
        "import sqlalchemy as sa\nfrom ..store import schema\n\nm, s = schema.mails, schema.servers\nsa.delete(s)  # here",
        "table: oauth does delete servers",
    ),
    "a write to a table imported under another name": (
        "mailops/limits/planted.py",
        "from sqlalchemy import update\nfrom ..store.schema import suppressions as t\n\nupdate(t).values(list=1)  # here",
        "table: limits does update suppressions",
    ),
    "a write by the table's own method": (
        "mailops/logs/planted.py",
        "from ..store import schema as x\n\nx.webhook_events.insert()  # here",
        "table: logs does insert webhook_events",
    ),
    "a write in the dialect's words": (
        "mailops/domains/planted.py",
        "from ..store import schema\nfrom ..store.database import dialect_insert\n\n"
        "insert = dialect_insert(None)\ninsert(schema.runs)  # here",
        "table: domains does insert runs",
    ),
    "a write through a function that is handed the table": (
        "mailops/campaigns/planted.py",
        "from ..store import schema\nfrom ..store.bulk import insert_rows\n\n"
        "def __call__(tx):\n    insert_rows(tx, schema.contents, [])  # here",
        "table: campaigns does insert_rows contents",
    ),
    "a write as text": (
        "mailops/odoo/planted.py",
        'SQL = "update messages set body = 1"  # here\n\nSQL',
        "table: odoo does update messages",
    ),
    "more columns than a lease has": (
        "mailops/queue/planted.py",
        "import sqlalchemy as sa\nfrom ..store import schema\n\n"
        "sa.update(schema.mails).values(lease_owner=None, state=1)  # here",
        "table: queue does update mails",
    ),
    "a function that nobody calls": (
        "mailops/routing/planted.py",
        "def never_asked():  # here\n    return never_asked",
        "uncalled: never_asked has no caller",
    ),
    "a method that nobody calls": (
        "mailops/jobs/planted.py",
        "class Planted:\n    def never_asked_either(self):  # here\n        return 1\n\n\nPlanted()",
        "uncalled: Planted.never_asked_either has no caller",
    ),
}
ALLOWED = {
    "mailops/queue/allowed.py": "import sqlalchemy as sa\nfrom ..store import schema\n\n"
    "sa.update(schema.mails).where(schema.mails.c.id == 1).values(lease_owner=None, lease_until=None)",
    "mailops/store/allowed.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from ..ops import Ops\n\n"
    "def __call__(ops: 'Ops'):\n    {}.update(ops.contents)",
    "mailops/queue/own.py": "import sqlalchemy as sa\nfrom ..store import schema\n\nsa.delete(schema.contents)",
    "mailops/cli/allowed.py": "from ..ops import Ops\n\nOps",
    "mailops/model/allowed.py": "from typing import Protocol\n\n\nclass Port(Protocol):\n    def asked_by_a_port(self): ...\n\n\n"
    "class Plug:\n    def asked_by_a_port(self): ...\n\n\nPort, Plug",
}


def copied(to: Path) -> Path:
    """The source of mailops and of what calls it."""
    for folder in ("mailops", "notebooks/text", "benchmarks", "docs"):
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "README.md", to)
    return to


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Offence]:
    """What is found in a tree with all the planted files."""
    root = copied(tmp_path_factory.mktemp("house"))
    for file, text in [*((file, text) for file, text, _ in PLANTED.values()), *ALLOWED.items()]:
        path = root / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", "utf-8")
    schema = root / "mailops/store/schema.py"
    schema.write_text(schema.read_text("utf-8") + '\nstrays = sa.Table("strays", metadata)\n', "utf-8")
    return House(root).offences()


@pytest.fixture(scope="module")
def real() -> list[Offence]:
    return House(ROOT).offences()


def test_the_tree_has_nothing_that_is_not_known(real):
    new, gone = judged(real)
    assert [str(one) for one in new] == []
    assert gone == []


@pytest.mark.parametrize("kind", PLANTED)
def test_each_kind_is_found_and_named_with_its_line(kind, found):
    file, text, said = PLANTED[kind]
    line = 1 + next(n for n, one in enumerate(text.splitlines()) if "# here" in one)
    assert f"{file}:{line}: {said}" in [str(one) for one in found if one.file == file]


def test_what_is_planted_is_new_and_nothing_else_is(found, real):
    planted = {file for file, _, _ in PLANTED.values()}
    new, gone = judged(found)
    assert {one.file for one in new} == planted | {"mailops/store/schema.py"}
    assert len(new) == len(PLANTED) + 1
    assert gone == []


@pytest.mark.parametrize("file", ALLOWED)
def test_what_is_meant_is_let_through(file, found):
    assert [str(one) for one in found if one.file == file] == []


def test_a_table_without_owner_is_named_where_it_stands(found):
    lines = (ROOT / "mailops/store/schema.py").read_text("utf-8").count("\n")
    assert f"mailops/store/schema.py:{lines + 2}: table: the table strays has no owner" in map(str, found)


def test_a_known_entry_that_is_no_longer_so_fails(real):
    first = Known("table", "mailops/threads/x.py", "threads does insert mails", "kept here for the test alone")
    new, gone = judged(real, [*KNOWN, first])
    assert new == []
    assert gone == [f"{first.file}: {first.rule}: {first.what}: no longer so; take it off the list"]


def test_every_known_entry_says_why_and_stands_once():
    keys = [(k.rule, k.file, k.what) for k in KNOWN]
    assert len(keys) == len(set(keys))
    assert all(len(k.why) > 20 for k in KNOWN)


def test_every_room_of_the_tree_has_its_place():
    rooms = {module.room for module in House(ROOT).modules}
    assert rooms <= set(house.ROOMS)
    assert len(house.ROOMS) == len(set(house.ROOMS))


def test_the_table_is_printed_and_the_status_tells(capsys, tmp_path):
    assert house.main([]) == 0
    said = capsys.readouterr().out
    assert "upward imports" in said
    assert "suppressions     owner suppression  written by suppression (3)" in said
    assert "definitions without a caller" in said
    (tmp_path / "mailops").mkdir()
    assert house.main([str(tmp_path)]) == 1, "an empty tree is none of ours"
    assert "no module" in capsys.readouterr().err
