"""The installer on a machine where it cannot work: it says what fails and what to do. That it works from nothing, with
empty caches, is what ``.ci/run`` begins with; here no network is asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("Makefile", ".ci/env", ".ci/install", ".ci/whole", "pyproject.toml", "constraints.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What ``make env`` needs of a checkout, in a folder with spaces."""
    folder = tmp_path / "a folder of mine"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def make_env(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "MAKE", "MFLAGS", "VIRTUAL"))
    }
    # A closed port instead of an index: nothing leaves this machine.
    environment |= {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "1",
        **more,
    }
    command = ["make", "--no-print-directory", *words, "env"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_without_an_index_it_says_so_and_what_to_do(checkout: Path) -> None:
    done = make_env(checkout, f"PYTHON={sys.executable}")
    assert done.returncode == 2
    assert "Connection refused" in done.stderr  # the cause, not only the end of a list
    assert "What to do: the package index could not be reached." in done.stderr
    assert not (checkout / ".venv" / ".stamp").exists()
    assert "Connection refused" in (checkout / ".venv" / "install.log").read_text("utf-8")


def test_an_environment_of_another_python_is_told(checkout: Path) -> None:
    inside = checkout / ".venv" / "bin"
    inside.mkdir(parents=True)
    other = inside / "python"
    other.write_text('#!/bin/sh\ncase "$*" in *version_info*) echo 2.7;; esac\n', "utf-8")  # and it misses nothing
    other.chmod(0o755)
    (checkout / ".venv" / ".stamp").touch()
    done = make_env(checkout, f"PYTHON={sys.executable}")
    assert done.returncode == 2
    assert "The environment in .venv is one of Python 2.7" in done.stderr
    assert "What to do: make clean" in done.stderr


def put_environment(checkout: Path, *, listed: str, found: str | None, mine: bool = True) -> None:
    """An environment that had the packages ``listed`` and has what is ``found``; None: its Python is gone."""
    inside = checkout / ".venv" / "bin"
    inside.mkdir(parents=True)
    if found is not None:
        (inside / "python").write_text(f"#!/bin/sh\ncase $1 in .ci/whole) printf '{found}';; esac\n", "utf-8")
        (inside / "python").chmod(0o755)
    if mine:
        (checkout / ".venv" / ".stamp").write_text(listed, "utf-8")


@pytest.mark.parametrize("found", [None, "idna idna/core.py\\npip\\n", "pip\\n"])
def test_a_damaged_environment_is_made_anew(checkout: Path, found: str | None) -> None:
    """Its Python is gone, a file of a package, a package with all that says it was there."""
    put_environment(checkout, listed="idna\npip\n", found=found)
    done = make_env(checkout, f"PYTHON={sys.executable}")
    gone = "idna pip" if found is None else "idna"
    assert f"The environment in .venv is damaged (gone or incomplete: {gone}); it is made anew." in done.stdout
    assert "Making the environment in .venv" in done.stdout
    assert "the package index could not be reached" in done.stderr  # it went on to install, which here is impossible


def test_what_is_whole_stays_though_more_was_installed(checkout: Path) -> None:
    put_environment(checkout, listed="idna\npip\n", found="idna\\nmy-own\\npip\\n")
    done = make_env(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_environment_that_make_has_not_made_is_never_removed(checkout: Path) -> None:
    put_environment(checkout, listed="", found=None, mine=False)
    done = make_env(checkout, f"PYTHON={sys.executable}")
    assert done.returncode == 2
    assert "make has not made it; it is left alone" in done.stderr
    assert (checkout / ".venv" / "bin").is_dir()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    package = tmp_path / "left_half-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: left-half\nVersion: 1.0\n", "utf-8")
    (package / "RECORD").write_text("left_half.py,,\nleft_half-1.0.dist-info/METADATA,,\ngone.pyc,,\n", "utf-8")
    command = [sys.executable, ROOT / ".ci" / "whole"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "left-half left_half.py" in listed.splitlines()
    (tmp_path / "left_half.py").touch()
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "left-half" in listed.splitlines()


def test_a_python_that_is_not_there_is_told(checkout: Path) -> None:
    done = make_env(checkout, "PYTHON=/nowhere/python3")
    assert done.returncode == 2
    assert done.stderr.startswith("There is no '/nowhere/python3' here.\nWhat to do: ")


def test_an_old_python_is_told(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\ncase $1 in --version) echo Python 3.9.2;; *) exit 1;; esac\n", "utf-8")
    old.chmod(0o755)
    done = make_env(checkout, f"PYTHON={old}")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (checkout / ".venv").exists()


def test_every_tool_that_builds_is_pinned_and_comes_before_the_builds() -> None:
    script = (ROOT / ".ci" / "install").read_text("utf-8")
    tools = re.search(r"^tools=\((.*)\)$", script, re.M)
    assert tools is not None
    # mailops itself, and what exists as source only (dkimpy); without build isolation nobody else brings these
    assert set(tools[1].split()) == {"hatchling", "editables", "setuptools", "wheel"}
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()}
    assert {*tools[1].split(), "uv"} <= pinned
