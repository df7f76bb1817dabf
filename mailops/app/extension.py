"""What Jupyter Server asks a package for that extends it."""

from __future__ import annotations

from typing import Any


def points() -> list[dict[str, str]]:
    """Where the extension is."""
    return [{"module": "mailops.app"}]


def load(server: Any) -> None:
    """Add the app's pages to a server."""
    from .handlers import install

    install(server.web_app)
