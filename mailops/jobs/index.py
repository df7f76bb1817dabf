"""``reports/index.html``: the latest run of each notebook with its verdict, and the figures of the day on tiles.

Self-contained like the reports it links; those are copied beside it, so that the folder can be moved or sent whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clock import SystemClock
from ..page.sheet import moment, page, run_badge
from ..ports import Clock
from ..store.runs import Run, list_runs, verdicts_of
from .verdicts import in_words

if TYPE_CHECKING:
    from ..workspace import Workspace

_ORDER = {"error": 0, "failed": 1, "passed": 2}


def write_index(
    workspace: Workspace | Path,
    path: Path,
    facts: Mapping[str, object] | None = None,
    *,
    title: str = "Mail at a glance",
    clock: Clock | None = None,
) -> Path:
    """Write the index page to ``path`` with copies of the newest reports beside it; returns the path.

    ``facts``: label → figure, shown as tiles in that order (whole numbers get thousands separators).
    """
    from ..workspace import borrowed

    path.parent.mkdir(parents=True, exist_ok=True)
    latest: dict[str, Run] = {}
    with borrowed(workspace) as space:
        for run in list_runs(space.engine, limit=2000):
            if run.status != "running":
                latest.setdefault(run.notebook, run)
        words = {run.id: in_words(verdicts_of(space.engine, run.id)) for run in latest.values()}
    runs = sorted(
        latest.values(), key=lambda run: (_ORDER.get(run.status, 3), run.notebook != "start_here", run.notebook)
    )
    body = [f"<h1>{escape(title)}</h1>", f'<p class="soft">Written {moment((clock or SystemClock()).now())}</p>']
    body += [_banner(runs), _tiles(facts or {}), _cards(runs, path.parent, words)]
    _replace(path, page(title, "\n".join(filter(None, body))))
    return path


def _banner(runs: list[Run]) -> str:
    if not runs:
        return '<div class="card banner skipped"><strong>– No notebook has run yet</strong></div>'
    bad = [run for run in runs if run.status != "passed"]
    if bad:
        named, needs = ", ".join(run.notebook for run in bad[:6]), "needs" if len(bad) == 1 else "need"
        return (
            '<div class="card banner failed" role="alert"><strong><span aria-hidden="true">✗</span> '
            f"{len(bad)} of {len(runs)} notebooks {needs} a look</strong><p>{escape(named)}</p></div>"
        )
    word = "The notebook" if len(runs) == 1 else f"All {len(runs)} notebooks"
    return (
        '<div class="card banner passed" role="status"><strong><span aria-hidden="true">✓</span> '
        f"{word} passed</strong></div>"
    )


def _tiles(facts: Mapping[str, object]) -> str:
    if not facts:
        return ""
    tiles = "".join(
        f'<div class="tile"><b>{escape(_figure(value))}</b><span>{escape(label)}</span></div>'
        for label, value in facts.items()
    )
    return f'<div class="tiles">{tiles}</div>'


def _figure(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _cards(runs: list[Run], folder: Path, words: Mapping[str, str]) -> str:
    cards = "\n".join(_card(run, folder, words[run.id]) for run in runs)
    return f'<h2>Reports</h2>\n<div class="runs">\n{cards}\n</div>' if cards else ""


def _card(run: Run, folder: Path, words: str) -> str:
    said = _result(run)
    heading = escape(str(said.get("title") or run.notebook))
    source = Path(run.folder) / "report.html" if run.folder else None
    if source is not None and source.is_file():
        name = f"{run.notebook}.html" if run.notebook != "index" else "index-notebook.html"
        part = folder / f".{name}.part"
        shutil.copyfile(source, part)
        part.chmod(0o600)
        part.replace(folder / name)
        heading = f'<a href="{escape(name)}">{heading}</a>'
    message = str(said.get("message") or (run.error or {}).get("error") or "")
    told = f"<p>{escape(words)}</p>" if words else ""
    took = f" · {run.seconds:.1f} s" if run.seconds is not None else ""
    changed = said.get("changed") or []
    news = f'<p class="small">Since the last run: {escape("; ".join(changed[:3]))}</p>' if changed else ""
    return (
        f'<section class="card"><div>{run_badge(run.status)}</div><h3>{heading}</h3><p>{escape(message)}</p>'
        f"{told}{news}"
        f'<p class="soft small">{moment(run.started_at)}{took}</p></section>'
    )


def _result(run: Run) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads((Path(run.folder or "") / "result.json").read_text("utf-8"))
        return loaded
    except (OSError, ValueError):
        return {}


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, "utf-8")
    part.chmod(0o600)
    part.replace(path)
