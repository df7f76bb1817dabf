"""Notebooks that were not written for mailops run as jobs, with the result papermill gives, or a better one."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mailops
from mailops.errors import RunError
from mailops.jobs import RunResult, run_notebook
from mailops.store.runs import list_runs
from mailops.workspace import Workspace, init

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(280)]

Cell = str | tuple[str, str]


def notebook(*cells: Cell, **metadata: Any) -> dict[str, Any]:
    made = []
    for cell in cells:
        source, tag = cell if isinstance(cell, tuple) else (cell, "")
        tags = {"tags": [tag]} if tag else {}
        code = {"cell_type": "code", "metadata": tags, "source": source, "outputs": [], "execution_count": None}
        made.append(code)
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": made}


COMPUTED = """\
from datetime import date
from pathlib import Path
%config InlineBackend.figure_format = "svg"
hours = 24 * 7  # how far back
day = str(date(2026, 1, 1))
folder: Path = Path("data")
sizes: tuple[int, ...] = (1, 2)
first, second = 1, "b"
"""
SAY = "print(hours + 1, day, folder / 'x', sizes + (9,), first, second)"
SCRIPTED = """\
from IPython.display import display
display({"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div id='p'></div><script>draw()</script>"},
        raw=True)
"""

KINDS: dict[str, dict[str, Any]] = {
    "files": notebook('text = open("data.csv").read()', 'open("made.csv", "w").write(text * 2)'),
    "beside": notebook("import helper\nprint(helper.ANSWER + 1)", "import time; time.sleep(0.8)"),
    "flood": notebook(
        'for n in range(0, 20_000, 400):\n    print(*(f"line {m} {60 * chr(120)}" for m in range(n, n + 400)), sep="\\n")\n'
        'print("the last one")',
        '"y" * 1_500_000',
    ),
    "computed": notebook((COMPUTED, "parameters"), SAY),
    "skipped": notebook(("raise RuntimeError('not to be run')", "skip-execution"), "print('ran')"),
    "scripted": notebook(SCRIPTED),
    "magic": notebook("%load_ext no_such_extension"),
    "expected": notebook(("1 / 0", "raises-exception"), "print('went on')"),
}
GIVEN: dict[str, dict[str, Any]] = {"computed": {"hours": "12", "folder": "other", "sizes": "3, 4"}}


@dataclass(frozen=True)
class Ran:
    folder: Path
    space: Path
    results: Mapping[str, RunResult | RunError]
    progress: list[tuple[int, int]]

    def __getitem__(self, name: str) -> RunResult:
        result = self.results[name]
        assert isinstance(result, RunResult), result
        return result

    def outputs(self, name: str) -> list[dict[str, Any]]:
        cells = json.loads((self[name].folder / "notebook.ipynb").read_text("utf-8"))["cells"]
        return [output for cell in cells for output in cell.get("outputs", ())]

    def printed(self, name: str) -> str:
        return "".join(output.get("text", "") for output in self.outputs(name))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """All kinds, run once, two at a time."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "data.csv").write_text("a\n1\n", "ascii")
    (folder / "helper.py").write_text("ANSWER = 41\n", "ascii")
    (folder / "secrets.py").write_text("raise SystemExit('this is for the notebook, not for its kernel')\n", "ascii")
    for name, content in KINDS.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(content), "utf-8")
    space = init(folder / "space")

    told: list[tuple[int, int]] = []
    more: dict[str, Any] = {}
    if "progress" in inspect.signature(run_notebook).parameters:
        more["progress"] = lambda step, of: told.append((step, of))

    def one(name: str) -> RunResult | RunError:
        try:
            extra = more if name == "beside" else {}
            return run_notebook(folder / f"{name}.ipynb", GIVEN.get(name), workspace=space, timeout=200, **extra)
        except RunError as error:
            return error

    space.engine.connect().close()
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(KINDS, pool.map(one, KINDS), strict=True))
    yield Ran(folder, space.path, results, told)
    space.engine.dispose()


@pytest.mark.parametrize("name", ["files", "beside", "flood", "computed", "skipped", "scripted"])
def test_what_papermill_runs_to_its_end_passes(ran: Ran, name: str) -> None:
    result = ran.results[name]
    assert isinstance(result, RunResult), result
    assert (result.status, result.exit_code) == ("passed", 0), result.error


def test_a_notebook_works_in_its_own_folder_and_what_it_writes_stays(ran: Ran) -> None:
    made = ran.folder / "made.csv"
    assert made.exists()
    assert made.read_text("ascii") == "a\n1\na\n1\n"


def test_a_module_beside_it_can_be_imported(ran: Ran) -> None:
    assert ran.printed("beside") == "42\n"


def test_much_output_is_cut_with_a_note_and_keeps_its_end(ran: Ran) -> None:
    text = ran.printed("flood")
    assert text.startswith("line 0 x")
    assert text.endswith("the last one\n")
    assert len(text) < 1_001_000
    assert "characters were left out here" in text
    assert ran["flood"].report.stat().st_size < 2_500_000  # a megabyte printed, a megabyte of a value
    value = ran.outputs("flood")[-1]
    assert len(value["data"]["text/plain"]) < 1_001_000


def test_computed_defaults_are_taken_as_they_are_and_values_become_what_is_annotated(ran: Ran) -> None:
    assert ran.printed("computed") == "13 2026-01-01 other/x (3, 4, 9) 1 b\n"
    assert ran["computed"].parameters == {"hours": 12, "folder": "other", "sizes": [3, 4]}


def test_a_cell_that_is_to_be_skipped_is(ran: Ran) -> None:
    assert ran.printed("skipped") == "ran\n"


def test_a_drawing_that_scripts_make_is_named_in_the_report(ran: Ran) -> None:
    page = ran["scripted"].report.read_text("utf-8")
    assert "a drawing of plotly" in page
    assert "draw()" not in page


def test_the_reason_of_a_failed_magic_is_the_real_exception(ran: Ran) -> None:
    result = ran["magic"]
    assert result.status == "error"
    assert result.message == "The notebook broke in step 1: ModuleNotFoundError: No module named 'no_such_extension'"


def test_an_error_that_a_tag_expects_ends_as_under_papermill(ran: Ran) -> None:
    assert (ran["expected"].status, ran.printed("expected")) == ("error", "went on\n")
    assert "ZeroDivisionError" in ran["expected"].message


def test_a_run_keeps_what_it_rests_on(ran: Ran) -> None:
    said = json.loads((ran["scripted"].folder / "result.json").read_text("utf-8"))
    rests_on = said.get("made_with", {})
    assert rests_on.get("sha256") == hashlib.sha256((ran.folder / "scripted.ipynb").read_bytes()).hexdigest()
    assert rests_on["mailops"] == mailops.__version__
    assert {"papermill", "nbclient", "ipykernel"} <= set(rests_on["packages"])
    assert rests_on["data_at"] is None, "nothing has happened in this store yet"


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
        {"kernelspec": {"name": "bash", "display_name": "Bash"}},
        {"kernelspec": {"name": "julia-1.10", "display_name": "Julia 1.10"}},
        {"kernelspec": {"name": "mine"}, "language_info": {"name": "scala"}},
    ],
)
def test_a_notebook_of_another_kernel_is_told_and_not_run_as_python(
    tmp_path: Path, ran: Ran, metadata: dict[str, Any]
) -> None:
    (tmp_path / "other.ipynb").write_text(json.dumps(notebook("x <- 1", **metadata)), "utf-8")
    space = Workspace(ran.space)
    with pytest.raises(RunError) as caught:
        pytest.fail(str(run_notebook(tmp_path / "other.ipynb", workspace=space)))
    assert caught.value.code == "run.kernel"
    assert not list_runs(space.engine, notebook="other")
    space.engine.dispose()


def command(space: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailops.cli", "-w", str(space), *words],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **environment},
        check=False,
    )


def test_parameters_from_a_file_another_folder_and_a_copy_of_the_finished_notebook(tmp_path: Path, ran: Ran) -> None:
    work = tmp_path / "work"
    work.mkdir()
    cell = 'import os\nprint(since, only, share, day, os.path.basename(os.getcwd()))\nopen("here", "w").close()'
    content = notebook(("since = '7d'\nonly: list[str] = []\nshare = 0.5\nday: str = ''", "parameters"), cell)
    (tmp_path / "own.ipynb").write_text(json.dumps(content), "utf-8")
    (tmp_path / "p.yaml").write_text("since: 30d\nonly: [a.test, b.test]\nshare: 0.25\nday: 2026-01-31\n", "utf-8")
    words = ["run", str(tmp_path / "own.ipynb"), "-f", str(tmp_path / "p.yaml"), "-p", "since=1d"]
    done = command(ran.space, *words, "--cwd", str(work), "-o", str(tmp_path / "out.ipynb"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["output"] == str(tmp_path / "out.ipynb")
    finished = json.loads((tmp_path / "out.ipynb").read_text("utf-8"))
    assert finished["cells"][-1]["outputs"][0]["text"] == "1d ['a.test', 'b.test'] 0.25 2026-01-31 work\n"
    assert (work / "here").exists()


def test_a_known_secret_is_refused_as_a_parameter_on_the_command_line(tmp_path: Path, ran: Ran) -> None:
    (tmp_path / "own.ipynb").write_text(json.dumps(notebook(("word = 'a'", "parameters"), "word")), "utf-8")
    value = "plain-words-48151623"
    done = command(ran.space, "run", str(tmp_path / "own.ipynb"), "-p", f"word={value}", "--json", BACKUP_API_KEY=value)
    assert done.returncode == 2, done.stdout
    assert json.loads(done.stdout)["code"] == "run.secret_parameter"


def test_the_help_of_run_names_commands_that_there_are(ran: Ran) -> None:
    assert "mailops notebooks" not in " ".join(command(ran.space, "run", "--help").stdout.split())


def test_progress_tells_each_step(ran: Ran) -> None:
    assert ran.progress[-1:] == [(2, 2)]
