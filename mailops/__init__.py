"""mailops: the mail system, the guide and the analyst for admins of an organisation's mail.

The public names load on first use, so that ``import mailops`` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import MailopsError
    from .model.verdict import Verdict, VerdictState
    from .ops import Ops

__version__ = "0.1.0"
__all__ = ["MailopsError", "Ops", "Verdict", "VerdictState", "__version__"]

_HOMES = {"MailopsError": "errors", "Ops": "ops", "Verdict": "model.verdict", "VerdictState": "model.verdict"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
