"""Where notebooks are found: by name in the package's own folder, or by path."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import NotFound, RunError
from .parameters import Parameter, parameters_of

MAX_NOTEBOOK = 20_000_000  # bytes
LAB_MARK = "lab"
"""The tag of what is said to people in JupyterLab only."""


@dataclass(frozen=True, slots=True)
class NotebookInfo:
    """What a person needs to choose a notebook: name, title, the question it answers, its parameters."""

    name: str
    title: str
    question: str
    parameters: tuple[Parameter, ...]
    path: Path


def notebooks_folder() -> Path:
    """The folder of mailops' own notebooks: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_notebooks"
    return inside if inside.is_dir() else package.parent / "notebooks"


def available(folder: Path | None = None) -> tuple[NotebookInfo, ...]:
    """All notebooks of the folder, by name (``start_here`` first)."""
    paths = sorted((folder or notebooks_folder()).glob("*.ipynb"), key=lambda p: (p.stem != "start_here", p.stem))
    return tuple(describe(path) for path in paths)


def describe(path: Path) -> NotebookInfo:
    """One notebook's name, title, question and parameters."""
    notebook = read(path)
    title, question = title_and_question(notebook, path.stem)
    return NotebookInfo(path.stem, title, question, parameters_of(notebook), path)


def title_and_question(notebook: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The first heading, and the first paragraph after it."""
    title, question = name.replace("_", " ").capitalize(), ""
    text = "\n".join(
        "".join(cell["source"])
        for cell in notebook["cells"][:4]
        if cell.get("cell_type") == "markdown" and LAB_MARK not in (cell.get("metadata") or {}).get("tags", [])
    ).splitlines()
    for number, line in enumerate(text):
        if line.startswith("# "):
            title = _plain(line[2:])
            rest = "\n".join(text[number + 1 :]).strip().partition("\n\n")[0]
            question = _plain(" ".join(line for line in rest.splitlines() if not line.startswith("#")))
            break
    return title, question


def _plain(markdown: str) -> str:
    without_links = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return re.sub(r"[*`]{1,3}(\S(?:.*?\S)?)[*`]{1,3}", r"\1", without_links).strip()


def find(given: str | Path) -> Path:
    """The notebook file for a name or a path. Raises :class:`NotFound` with the nearest name."""
    path = Path(given).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    folder = notebooks_folder()
    names = sorted(p.stem for p in folder.glob("*.ipynb"))
    name = str(given).removesuffix(".ipynb")
    if name in names:
        return folder / f"{name}.ipynb"
    near = get_close_matches(name, names, n=1)
    raise NotFound(
        f"There is no notebook {str(given)!r}." + (f" Did you mean {near[0]}?" if near else ""),
        code="run.notebook_not_found",
        facts={"given": str(given), "known": names},
        fix=f"Use {near[0]}." if near else "mailops jobs notebooks lists them; or give the path of an .ipynb file.",
    )


_OTHERS = re.compile(
    r"(?i)^(?:ir|bash|zsh|fish|javascript|node|deno|rust|sos|octave|matlab|gnuplot|perl|php|ruby|scala)$"
)
_OTHER_FAMILIES = re.compile(r"(?i)^(?:ir|julia|xeus-cling|xcpp|xr|xsql|xlua|\.net|jslab|gophernotes|sqlite)[-.\d]")


def require_python(notebook: Mapping[str, Any], name: str) -> None:
    """Refuse a notebook whose language is another one than Python. Raises :class:`RunError` ``run.kernel``.

    Jupyter writes the language beside the kernel's name or into ``language_info``; where neither tells it, the name of
    a well-known kernel does, and every other one (an environment of somebody's) is taken for Python's.
    """
    metadata = notebook.get("metadata") or {}
    spec, info = (_mapping(metadata.get(key)) for key in ("kernelspec", "language_info"))
    kernel = str(spec.get("name") or "")
    language = str(spec.get("language") or info.get("name") or "").strip()
    other = (
        not language.lower().startswith(("python", "ipython"))
        if language
        else bool(_OTHERS.match(kernel) or _OTHER_FAMILIES.match(kernel))
    )
    if other:
        shown = str(spec.get("display_name") or language or kernel)
        raise RunError(
            f"{name} needs the kernel of {shown}; jobs run Python only.",
            code="run.kernel",
            facts={"kernel": kernel, "language": language},
            fix="Run it with the tool of that language, or choose a Python kernel in JupyterLab and save it.",
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read(path: Path, *, most: int = MAX_NOTEBOOK) -> dict[str, Any]:
    """A notebook as JSON (nbformat 4). Raises :class:`RunError` ``run.notebook_invalid`` when it is not one."""
    try:
        if path.stat().st_size > most:
            raise ValueError(f"larger than {most:,} bytes")
        notebook = json.loads(path.read_text("utf-8"))
        if (
            not isinstance(notebook, dict)
            or notebook.get("nbformat") != 4
            or not isinstance(notebook.get("cells"), list)
        ):
            raise ValueError("not a notebook of format 4")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path.name} cannot be read as a notebook.",
            code="run.notebook_invalid",
            facts={"path": str(path), "reason": str(error)},
            fix="Open it in JupyterLab and save it again, or name another file.",
        ) from error
    return notebook
