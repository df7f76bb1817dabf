"""The project's frame: one set of bounds, clean constraints, a Makefile that explains itself, nothing private committed."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# conda-forge's name for a package, where it is not PyPI's
CONDA_NAMES = {"matplotlib-base": "matplotlib"}
ONLY_ON_PYPI = {"dkimpy"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def split(requirement: str) -> tuple[str, str]:
    name, bound = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*(.*)", requirement.strip()).groups()
    return canonical(CONDA_NAMES.get(name, name)), bound


def environment() -> tuple[list[str], list[str]]:
    """The conda and the pip lines of environment.yml (a list of lines is all this file is)."""
    text = (ROOT / "environment.yml").read_text("utf-8").partition("dependencies:\n")[2]
    conda, _, pip = text.partition("  - pip:\n")
    return re.findall(r"^  - (.+)$", conda, re.M), re.findall(r"^      - (.+)$", pip, re.M)


def test_environment_has_the_bounds_of_pyproject():
    conda, pip = environment()
    wanted = dict(split(r) for r in PYPROJECT["project"]["dependencies"])
    have = dict(split(r) for r in [*conda, *(p for p in pip if not p.startswith("-e"))])
    assert have.pop("python") == PYPROJECT["project"]["requires-python"]
    have.pop("pip")
    assert have == wanted


def test_environment_is_named_and_asks_conda_forge_only():
    text = (ROOT / "environment.yml").read_text("utf-8")
    assert re.search(r"^name: mailops$", text, re.M)
    channels = re.search(r"channels:\n((?:  - .+\n)+)", text).group(1).split()
    assert [c for c in channels if c != "-"] == ["conda-forge", "nodefaults"]
    _, pip = environment()
    assert {split(p)[0] for p in pip if not p.startswith("-e")} == ONLY_ON_PYPI
    assert pip[-1] == "-e ."


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert line.startswith("# ") or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*==[0-9][A-Za-z0-9.]*", line), line


def test_constraints_meet_every_bound():
    pinned = {canonical(name): version for name, version in constraints().items()}
    numbers = lambda version: tuple(int(n) for n in re.findall(r"\d+", version)[:3])  # noqa: E731
    extras = PYPROJECT["project"]["optional-dependencies"]
    for requirement in [*PYPROJECT["project"]["dependencies"], *extras["test"], *extras["postgres"]]:
        name, bound = split(requirement)
        lower = re.search(r">=([\d.]+)", bound).group(1)
        assert name in pinned, f"{name} has no line in constraints.txt"
        assert numbers(pinned[name]) >= numbers(lower), f"{name} {pinned[name]} is below {bound}"


MODULES = {"dnspython": "dns", "dkimpy": "dkim", "google-auth-oauthlib": "google_auth_oauthlib", "google-auth": "google",
    "pynacl": "nacl", "pytest-xdist": "xdist", "python-hcl2": "hcl2"}  # fmt: skip
USED_UNIMPORTED = {  # package → what for
    "jupyterlab": "make lab",
    "pynacl": "dkimpy signs and reads Ed25519 with it",
    "pytest-timeout": "the suite's time limits",
    "pytest-xdist": "the suite on several cores",
    "ruff": "make check",
    "mypy": "make check",
    "pandas-stubs": "mypy",
}


def test_every_dependency_is_used():
    imported = set()
    for folder in ("mailops", "tests", "benchmarks", "notebooks", "docs"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text("utf-8")
            imported.update(re.findall(r"^\s*(?:from|import) (\w+)", text, re.M))
            imported.update(re.findall(r"importorskip\(\"(\w+)", text))
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    named = {split(r)[0] for r in [*PYPROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]}
    unused = {name for name in named if MODULES.get(name, name.replace("-", "_")) not in imported}
    assert unused == set(USED_UNIMPORTED)


def test_make_lists_each_target_with_a_sentence():
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    listed = dict(re.findall(r"^  make (\w+) +(\w.+)$", done.stdout, re.M))
    assert {"demo", "test", "lab", "app", "bench", "doctor", "check", "clean"} <= set(listed)
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.M).group(1).split()
    assert set(phony) == set(listed)


def test_doctor_runs_on_a_bare_python():
    """Without site-packages nothing is installed, and that is what it says."""
    import sys

    done = subprocess.run(
        [sys.executable, "-S", "-m", "mailops.doctor"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert "none of mailops' packages is there" in done.stdout
    assert "What to do: Run `make env`" in done.stdout


def test_scripts_are_valid_bash():
    for name in (".ci/run", ".ci/env", ".ci/install"):
        assert (ROOT / name).read_text("utf-8").startswith("#!/usr/bin/env bash\n")
        subprocess.run(["bash", "-n", ROOT / name], check=True, timeout=30)


def tracked() -> list[Path]:
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written apart, so that this file does not find itself.
FORBIDDEN = {
    "an open end": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b(?!@)",
    "a package registry's host": r"\b(pypi" + r"\.org|files\.python" + r"hosted\.org|registry\.npm" + r"js\.org)",
    "a path of somebody's machine": r"(?<![\w.])/(work/(main|shared)|tmp/v|home/[a-z]+/|root/\.|Us" + r"ers/[a-z]+/)",
    "a private key": r"-----BEGIN (RSA |EC )?PRIVATE " + r"KEY-----\n[A-Za-z0-9+/=\n]{200}",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_tracked_files_hold_none_of(what):
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for path in tracked():
        if path.suffix in (".eml", ".png", ".gz", ".zip", ".ico", ".woff2"):
            continue
        text = path.read_text("utf-8", errors="replace")
        for hit in pattern.finditer(text):
            found.append(f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group(0)[:60]!r}")
    assert found == [], what


def test_the_suite_silences_no_leak():
    """What is not closed, or fails where nobody can catch it, fails the test during which it shows."""
    filters = PYPROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert filters[0] == "error"
    assert [line for line in filters if "ResourceWarning" in line or "Unraisable" in line] == []
