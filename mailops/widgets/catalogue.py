"""The notebooks there are, with the question each answers."""

from __future__ import annotations

import os

from ..jobs.catalogue import available
from ..page.theme import MONO, esc
from .rates_view import Frame


def link_to(name: str, title: str) -> str:
    """A link to a notebook's page: in the app to that page, in JupyterLab to the file."""
    base = os.environ.get("VOILA_BASE_URL") or "/"
    in_app = os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")
    address = f"{base.rstrip('/')}/mailops/page/{name}" if in_app else f"{name}.ipynb"
    style = "color:var(--jp-content-link-color, #0860c4);text-decoration:underline;font-weight:600"
    return f'<a href="{esc(address)}" style="{style}">{esc(title)}</a>'


def notebook_list() -> Frame:
    """A card that lists every notebook: name, question, parameters, and how to run it as a job."""
    rows = [
        [
            link_to(info.name, info.title),
            esc(info.question),
            esc(", ".join(p.name for p in info.parameters if p.name != "workspace")) or "–",
            f'<code style="font-family:{MONO};font-size:12.5px">mailops run {esc(info.name)}</code>',
        ]
        for info in available()
    ]
    return Frame("Notebooks", ["Notebook", "Question it answers", "Parameters", "As a job"], rows, raw=True)
