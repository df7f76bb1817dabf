"""What acts or guides: a notebook as a page of the app, drawn by voila in a template of ours.

The page's address is the notebook's (``page/queue?mail=12``). Before its kernel starts, the values of the address go
into the notebook by the types of its parameters cell, as a job's do, and the frame (header, bar, neighbours) is made.
Only who may act gets that far; to others :class:`handlers.Notebook` says so, and no kernel is started.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from traitlets.config import Config
from voila.configuration import VoilaConfiguration
from voila.handler import VoilaHandler
from voila.paths import collect_template_paths

from ..errors import MailopsError
from ..jobs.catalogue import LAB_MARK, NotebookInfo, available
from ..page.blocks import Banner, Block, Details
from . import bar, pages
from .handlers import Notebook, Opened
from .shell import around

SHARE = Path(__file__).parent / "share"
TEMPLATE = "mailops"
THEME = "mailops-theme"
"""The cookie that says in which theme the reader's browser is."""


WIDGETS = ("@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget")
"""What of JupyterLab's extensions these pages need; others, of whoever installed them, have no page to work on."""


def _page(page: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What voila tells the browser. Formulas are set by a script of another server; there are none on these pages,
    and without an address it is not fetched."""
    return {**page, "fullMathjaxUrl": ""}


def configured() -> dict[str, Any]:
    """voila's configuration for these pages."""
    return {
        "template": TEMPLATE,
        "prelaunch_hook": prepared,
        "show_margins": False,
        "file_allowlist": ["(?!)"],
        "allow_template_override": "NO",
        "extension_allowlist": list(WIDGETS),
        "page_config_hook": _page,
    }


def find_template() -> None:
    """Let this process find the template; everything of Jupyter looks along this path."""
    paths = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    if str(SHARE) not in paths:
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(SHARE), *paths]))


def handler(server: Any) -> tuple[type[Any], dict[str, Any]]:
    """The handler of notebooks' pages for this server, with what it is made of."""
    find_template()
    config = Config({"VoilaConfiguration": configured()})
    made = VoilaConfiguration(config=config)
    paths = collect_template_paths(["voila", "nbconvert"], TEMPLATE)
    return Acting, {"voila_configuration": made, "template_paths": paths, "config": server.config}


class Acting(Notebook, VoilaHandler):  # type: ignore[misc]
    """A notebook's page for who may act; for others what :class:`Notebook` says."""

    def initialize(self, opened: Opened, **voila: Any) -> None:
        VoilaHandler.initialize(self, **voila)
        Notebook.initialize(self, opened)

    async def get(self, *words: str) -> None:
        name = words[0]
        if not self.may_act or not any(one.name == name for one in available()):
            await super().get(name)
            return
        theme = self.get_cookie(THEME)
        if theme not in ("light", "dark"):
            self.finish(self.hop(name))
            return
        self.request.arguments["theme"] = [theme.encode()]
        async for part in self.get_generator(path=f"{name}.ipynb"):
            self.write(part)
            self.flush()


def prepared(handler: Any, notebook: Any, cwd: str) -> Any:
    """What voila calls before a kernel starts: the notebook with the values of its address, and its frame."""
    request = handler.request
    name = str(request.path).rpartition("/")[2].removesuffix(".ipynb")
    info = next((one for one in available() if one.name == name), None)
    if info is None:
        return notebook
    query = {key: values[-1].decode("utf-8", "replace") for key, values in request.arguments.items()}
    values, trouble = bar.read(info, query)
    _give(notebook, info, values)
    opened = getattr(handler, "opened", None)
    root = str(handler.base_url).rstrip("/") + "/mailops/"
    made = around(
        tuple(between(info, query, values, trouble)),
        root=root,
        workspace=_workspace(opened) if opened is not None else "",
        ways=pages.beside(info.name),
    )
    notebook.metadata["title"] = f"{info.title} – mailops"
    notebook.metadata["mailops"] = {"head": made.head, "top": made.top, "foot": made.foot}
    return notebook


def _give(notebook: Any, info: NotebookInfo, values: dict[str, Any]) -> None:
    import nbformat

    notebook.cells = [cell for cell in notebook.cells if LAB_MARK not in cell.metadata.get("tags", [])]
    lines = bar.source(info, values)
    at = next((n for n, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])), None)
    if lines and at is not None:
        cell = nbformat.from_dict(  # type: ignore[no-untyped-call]
            {"cell_type": "code", "id": "given", "execution_count": None, "outputs": [], "source": lines,
             "metadata": {"tags": ["injected-parameters"]}}
        )  # fmt: skip
        notebook.cells.insert(at + 1, cell)


def between(info: NotebookInfo, query: dict[str, str], values: dict[str, Any], trouble: str) -> list[Block]:
    """What stands between the header and the notebook: what cannot be used, and the bar."""
    drawn: list[Block] = [Banner("failed", "✗", "This cannot be used", trouble)] if trouble else []
    form = bar.form(info, query)
    if form is not None:
        set_now = ", ".join(f"{name.replace('_', ' ')} = {value}" for name, value in values.items())
        drawn.append(Details(f"What it shows{f': {set_now}' if set_now else ''}", (form,)))
    return drawn


def _workspace(opened: Opened) -> str:
    try:
        return opened.get().workspace.path.name
    except MailopsError:
        return "no workspace"
