"""The notebooks there are, with the question each answers."""

from __future__ import annotations

from ..jobs.catalogue import available
from ..page.theme import MONO, esc
from .rates_view import Frame
from .ways import link_to


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
