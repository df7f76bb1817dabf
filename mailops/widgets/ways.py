"""Ways from a card to other pages: of the app, where it stands in one, else to the notebook's file."""

from __future__ import annotations

import os
from urllib.parse import urlencode

from ..page.theme import esc


def in_app(page: str, **query: object) -> str:
    """The address of a page of the app (``queue``, ``page/domain_dns``); nothing where this is no page of it."""
    if not os.environ.get("SERVER_SOFTWARE", "").startswith("voila/"):
        return ""
    base = (os.environ.get("VOILA_BASE_URL") or "/").rstrip("/")
    words = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{base}/mailops/{page}" + (f"?{urlencode(words)}" if words else "")


def link_to(name: str, title: str) -> str:
    """A link to a notebook's page: in the app to that page, in JupyterLab to the file."""
    address = in_app(f"page/{name}") or f"{name}.ipynb"
    style = "color:var(--jp-content-link-color, #0860c4);text-decoration:underline;font-weight:600"
    return f'<a href="{esc(address)}" style="{style}">{esc(title)}</a>'
