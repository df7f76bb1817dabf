"""A run's report: one self-contained HTML file, verdict first, what changed, each check's card, then the notebook.

The notebook's part is drawn by nbconvert with code hidden and HTML preferred over widgets; the page around it is ours
(:mod:`mailops.page.sheet`), as nbconvert's own pages ask public servers for scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..model.verdict import Verdict, VerdictState
from ..page.sheet import RUN_WORDS, badge, moment, page
from .catalogue import LAB_MARK
from .light import without_iris

if TYPE_CHECKING:
    from .runner import RunResult

DISPLAY = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown", "text/plain"]
ERROR_MARK = "papermill-error-cell-tag"
EVIDENCE = 20_000  # characters shown for one check; verdicts.json has it all
_SCRIPT = re.compile(r"<script\b.*?(?:</script\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_WORST_FIRST = (VerdictState.FAILED, VerdictState.UNKNOWN, VerdictState.WARNING)


def render(result: RunResult, verdicts: Sequence[Verdict], notebook: dict[str, Any]) -> str:
    """The report's HTML. Everything given is redacted already."""
    parts = [_head(result), _error(result.error), _changed(result.changed), _verdicts(verdicts)]
    shown = _notebook(notebook)
    if _TAG.sub("", shown).strip() or "<img" in shown or "<svg" in shown:
        parts.append(f"<h2>The notebook</h2>\n{shown}")
    return page(f"{result.title}: {RUN_WORDS[result.status][1]}", "\n".join(filter(None, parts)))


def _head(result: RunResult) -> str:
    icon, word = RUN_WORDS[result.status]
    rows = [
        ("Notebook", escape(result.notebook)),
        ("Started", moment(result.started_at)),
        ("Took", f"{result.seconds:.1f} s"),
    ]
    if result.parameters:
        given = ", ".join(f"<code>{escape(k)}={escape(str(v))}</code>" for k, v in result.parameters.items())
        rows.append(("Parameters", given))
    rows.append(("Run", f"<code>{escape(result.id)}</code>"))
    facts = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in rows)
    return (
        f"<h1>{escape(result.title)}</h1>\n"
        f'<div class="card banner {result.status}" role="{"status" if result.status == "passed" else "alert"}">'
        f'<strong><span aria-hidden="true">{icon}</span> {word[0].upper()}{word[1:]}</strong>'
        f"<p>{escape(result.message)}</p></div>\n<dl>{facts}</dl>"
    )


def _error(error: Mapping[str, Any] | None) -> str:
    if error is None:
        return ""
    return (
        f'<div class="card"><h3 style="margin-top:0">What to do next</h3><p>{escape(error["fix"])}</p>'
        f'<p class="soft small">Code <code>{escape(error["code"])}</code></p></div>'
    )


def _changed(changed: Sequence[str]) -> str:
    if not changed:
        return ""
    return "<h2>Changed since the last run</h2>\n<ul>" + "".join(f"<li>{escape(c)}</li>" for c in changed) + "</ul>"


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    order = {state: rank for rank, state in enumerate(_WORST_FIRST)}
    ranked = sorted(verdicts, key=lambda v: order.get(v.state, len(order)))
    return "<h2>Checks</h2>\n" + "\n".join(_verdict(v) for v in ranked)


def _verdict(v: Verdict) -> str:
    rows = [("Looked at", v.subject), ("Found", v.found), ("Expected", v.expected)]
    facts = "".join(f"<dt>{label}</dt><dd>{escape(value)}</dd>" for label, value in rows if value)
    if v.fix:
        facts += f"<dt>What to do next</dt><dd><b>{escape(v.fix)}</b></dd>"
    when = f'<p class="soft small">Checked {moment(v.at)}</p>' if v.at is not None else ""
    evidence = ""
    if v.evidence:
        text = json.dumps(v.evidence, ensure_ascii=False, indent=2, default=str)
        cut = "\n… (the rest is in verdicts.json)" if len(text) > EVIDENCE else ""
        evidence = f"<details><summary>Evidence</summary><pre>{escape(text[:EVIDENCE] + cut)}</pre></details>"
    inner = f"<dl>{facts}</dl>{when}{evidence}"
    heading = f"{badge(v.state.value, v.state.icon, v.state.value)} <b>{escape(v.title or v.check)}</b>"
    if v.state in _WORST_FIRST:
        return f'<section class="card">{heading}{inner}</section>'
    return f'<details class="card"><summary>{heading}</summary>{inner}</details>'


def load() -> tuple[Any, Any]:
    """The module ``nbformat`` and nbconvert's exporter; the first call takes a second, the others nothing."""
    with without_iris():
        import nbformat
        from nbconvert import HTMLExporter
    return nbformat, HTMLExporter


def _notebook(notebook: dict[str, Any]) -> str:
    nbformat, HTMLExporter = load()
    from traitlets.config import Config

    config = Config()
    config.NbConvertBase.display_data_priority = DISPLAY
    exporter = HTMLExporter(
        config=config,
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=False,  # nothing is fetched; pictures in outputs are embedded as they are
        mathjax_url="",
        require_js_url="",
    )
    node = nbformat.from_dict(_shown(notebook))
    body, _ = exporter.from_notebook_node(node)
    return str(body)


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", ()))


def _shown(notebook: dict[str, Any]) -> dict[str, Any]:
    """Without what the page has said already: the first heading, papermill's error banners, the gate's traceback."""
    cells = [dict(c) for c in notebook["cells"] if not {ERROR_MARK, LAB_MARK}.intersection(_tags(c))]
    for cell in cells:
        if "outputs" in cell:
            cell["outputs"] = [_still(o) for o in cell["outputs"] if o.get("ename") != "ChecksFailed"]
    for cell in cells:
        if cell["cell_type"] == "markdown" and cell["source"].lstrip().startswith("# "):
            cell["source"] = cell["source"].lstrip().partition("\n")[2]
            break
    return {**notebook, "cells": cells}


_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
_MARKUP = re.compile(r"<(?:style\b.*?</style\s*>|[^<>]*>)", re.IGNORECASE | re.DOTALL)
_SHOWS = re.compile(r"<(?:img|svg|table|canvas|video|audio)\b", re.IGNORECASE)


def _still(output: dict[str, Any]) -> dict[str, Any]:
    """An output without scripts: the page's policy would not run them, and so does not even ask for them. What nothing
    is left of then is drawn as the picture that came with it, or said in words."""
    data = output.get("data")
    if not isinstance(data, dict):
        return output
    html, drawing = data.get("text/html"), _drawn_by(data)
    if not isinstance(html, str) and not drawing:
        return output
    left = _SCRIPT.sub("", html) if isinstance(html, str) else ""
    scripted = isinstance(html, str) and left != html
    if left and not (scripted and not _SHOWS.search(left) and not _MARKUP.sub("", left).strip()):
        return {**output, "data": {**data, "text/html": left}}
    without = {kind: value for kind, value in data.items() if kind != "text/html"}
    if not any(kind in data for kind in _PICTURES):
        without["text/html"] = (
            f'<p class="soft small">Here is a drawing {drawing or "that scripts make"}, and a report runs no scripts. '
            "It is in notebook.ipynb beside this report; a static picture (matplotlib, or the library's own export) "
            "is shown.</p>"
        )
    return {**output, "data": without}


def _drawn_by(data: Mapping[str, Any]) -> str:
    """Whose interactive drawing a bundle is, in words; empty where it is none."""
    for kind in data:
        for name in ("plotly", "bokehjs", "vegalite", "vega", "holoviews"):
            if kind.startswith("application/vnd.") and f".{name}" in kind:
                return f"of {name.removesuffix('js')}"
    return ""
