"""What a run rests on, kept with its result: the very notebook, the versions, and how new the data was."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..store.runs import newest_fact

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

PACKAGES = (
    "papermill",
    "nbclient",
    "nbconvert",
    "ipykernel",
    "ipywidgets",
    "pandas",
    "numpy",
    "matplotlib",
    "SQLAlchemy",
)
"""Whose versions can change what a notebook shows; those that are installed are named."""


def of(named: str | Path, notebook: Path, engine: Engine) -> dict[str, Any]:
    """``notebook`` (the name of one of ours, the path of any other), ``sha256`` of its file, ``mailops``, ``python``,
    ``packages`` (name → version), ``data_at``: the time (UTC) of the newest fact in the store as the run begins, None
    for an empty one."""
    return {
        "notebook": str(named) if str(named) == notebook.stem else str(notebook),
        "sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "mailops": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "data_at": newest_fact(engine),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
