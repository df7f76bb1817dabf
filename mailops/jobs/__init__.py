"""Notebooks as jobs: parameters checked, run in a child process, judged, cleaned, published, remembered.

The public names load on first use: the kernel of a run imports this package too, and must start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import NotebookInfo, available, notebooks_folder
    from .index import write_index
    from .runner import RunResult, run_notebook
    from .verdicts import RunContext

__all__ = ["NotebookInfo", "RunContext", "RunResult", "available", "notebooks_folder", "run_notebook", "write_index"]

_HOMES = {
    "NotebookInfo": "catalogue",
    "RunContext": "verdicts",
    "RunResult": "runner",
    "available": "catalogue",
    "notebooks_folder": "catalogue",
    "run_notebook": "runner",
    "write_index": "index",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.jobs' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)
