"""What Jupyter Server asks a package for that extends it."""

from __future__ import annotations

import os
from typing import Any


def points() -> list[dict[str, str]]:
    """Where the extension is."""
    return [{"module": "mailops.app"}]


def load(server: Any) -> None:
    """Add the app's pages to a server; where nobody may act, voila is not even imported."""
    from .handlers import READ_ONLY, install

    if os.environ.get(READ_ONLY):
        install(server.web_app)
        return
    from .acting import handler

    install(server.web_app, handler(server))
