"""Heavy packages stay in their rooms, and the command line starts light. The order of rooms: ``test_house.py``."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mailops"

HOMES = {
    "ipywidgets": {"widgets"},
    "anywidget": {"widgets"},
    "papermill": {"jobs"},
    "nbconvert": {"jobs"},
    "pandas": {"analysis", "widgets"},
}
LAZY_PANDAS = {
    "mailops/ops.py",
    "mailops/queue/service.py",
    "mailops/bounces/service.py",
    "mailops/dns/aggregate_frames.py",
    "mailops/queue/frame.py",
    "mailops/suppression/service.py",
    "mailops/campaigns/service.py",
    "mailops/campaigns/whatif.py",
    "mailops/queue/allowance.py",
}


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands, what it names, and whether it runs when the module is read."""

    file: str
    line: int
    target: str
    lazy: bool
    typing: bool


def imports_of(path: Path, source: str | None = None) -> list[Import]:
    name = path.relative_to(ROOT).as_posix()
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found: list[Import] = []

    def walk(node: ast.AST, lazy: bool, typing: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(name, node.lineno, alias.name, lazy, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            if stem == "mailops":
                found.extend(Import(name, node.lineno, f"mailops.{alias.name}", lazy, typing) for alias in node.names)
            else:
                found.append(Import(name, node.lineno, stem, lazy, typing))
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                walk(child, inside, True)
            for child in node.orelse:
                walk(child, inside, typing)
            return
        for child in ast.iter_child_nodes(node):
            walk(child, inside, typing)

    walk(ast.parse(source if source is not None else path.read_text("utf-8")), False, False)
    return found


def room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def offence(found: Import) -> str | None:
    """What is wrong with an import, in words; None when it is allowed."""
    own = room(found.file.removesuffix(".py").replace("/", "."))
    top = found.target.split(".")[0]
    where = f"{found.file}:{found.line} imports {found.target}"
    if top in HOMES and not found.typing and own not in {*HOMES[top], "demo"}:
        if top == "pandas" and found.lazy and found.file in LAZY_PANDAS:
            return None
        return f"{where}: only {', '.join(sorted(HOMES[top]))} may"
    return None


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_heavy_packages_stay_home():
    offences = [said for path in MODULES for found in imports_of(path) if (said := offence(found))]
    assert offences == []


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("routing/x.py", "import pandas", "only analysis, widgets may"),
        ("queue/service.py", "import pandas as pd", "only analysis, widgets may"),
        ("jobs/x.py", "import ipywidgets", "only widgets may"),
        ("cli/x.py", "def f():\n    import papermill", "only jobs may"),
    ],
)
def test_the_rule_finds_an_offender_and_names_the_line(file, source, said):
    offences = [offence(found) for found in imports_of(PACKAGE / file, source)]
    line = 1 + source.count("\n")
    assert offences[0] is not None
    assert said in offences[0]
    assert f"mailops/{file}:{line} " in offences[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("queue/service.py", "def frame():\n    import pandas"),
        ("queue/x.py", "if TYPE_CHECKING:\n    import pandas"),
        ("cli/x.py", "from ..ops import Ops"),
    ],
)
def test_the_rule_lets_through_what_is_meant(file, source):
    assert [offence(found) for found in imports_of(PACKAGE / file, source)] == [None]


def loaded_after(code: str) -> set[str]:
    """The top-level names of all modules read by a fresh interpreter that runs ``code``."""
    script = f"import sys\n{code}\nprint('\\n'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    return set(done.stdout.split("\n"))


HEAVY = {
    "sqlalchemy",
    "alembic",
    "pandas",
    "numpy",
    "ipywidgets",
    "papermill",
    "cryptography",
    "dns",
    "nbconvert",
    "matplotlib",
}


def test_importing_mailops_is_light():
    assert loaded_after("import mailops") & (HEAVY | {"rich", "typer", "pydantic", "httpx", "msal"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["queue", "--help"], ["bounces", "--help"]])
def test_help_is_light(arguments):
    code = (
        f"import contextlib, io\nsys.argv = {['mailops', *arguments]!r}\nfrom mailops.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n    main()\n"
        "assert 'Commands' in out.getvalue()"
    )
    assert loaded_after(code) & HEAVY == set()


UNREAD = {
    "alembic",
    "pandas",
    "numpy",
    "rich.progress",
    "papermill",
    "nbformat",
    "cryptography",
    "mailops.bounces.reading.classify",
    "mailops.queue.worker",
    "mailops.queue.submit",
    "mailops.smtp",
    "mailops.dns",
}
BUDGET = 650
"""Modules, all told. Half a second of processor time, where the bytecode is there."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose store is there."""
    from mailops import Ops
    from mailops.workspace import init

    ops = Ops.open(init(tmp_path_factory.mktemp("budget") / "workspace").path)
    ops.queue.health()
    ops.close()
    return ops.workspace.path


@pytest.mark.parametrize(
    "command",
    ["queue list", "queue status", "queue holds", "jobs list", "jobs history", "suppress list", "server list",
     "facts list", "metrics", "calendar"],
)  # fmt: skip
def test_a_command_that_reads_a_page_loads_what_a_page_needs(command: str, kept: Path) -> None:
    script = (
        f"import contextlib, io, sys\nsys.argv = {['mailops', '-w', str(kept), *command.split()]!r}\n"
        "from mailops.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main()\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert loaded & UNREAD == set()
    assert len(loaded) < BUDGET
    if command.startswith("queue"):
        assert not {"mailops.providers.files", "mailops.routing.explain"} & loaded, "twenty files of providers are read"


def test_public_names_are_the_documented_ones():
    import mailops

    values = ["AliasDomain", "Company", "Encryption", "Server", "init"]
    assert sorted(mailops.__all__) == sorted(["MailopsError", "Ops", "Verdict", "VerdictState", "__version__", *values])
    for name in mailops.__all__:
        assert getattr(mailops, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Opps'"):
        mailops.Opps  # noqa: B018


ALONE = """
import importlib, pkgutil, sys
import mailops

names = [m.name for m in pkgutil.walk_packages(mailops.__path__, "mailops.") if not m.name.endswith("__main__")]
for name in names:
    for old in [m for m in sys.modules if m == "mailops" or m.startswith("mailops.")]:
        del sys.modules[old]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: {error}")
print(len(names))
"""


def test_every_module_can_be_the_first_to_be_imported():
    """A circle of imports works from most doors and fails from one: the demonstration or a user's script may take it."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=240, check=True)
    *failed, number = done.stdout.strip().splitlines()
    assert failed == []
    assert int(number) > 300
