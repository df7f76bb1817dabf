"""mailops: the mail system, the guide and the analyst for admins of an organisation's mail.

The public names load on first use, so that ``import mailops`` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import MailopsError
    from .model.setup import AliasDomain, Company, Encryption, Server
    from .model.verdict import Verdict, VerdictState
    from .ops import Ops
    from .workspace import init

__version__ = "0.1.0"
__all__ = [
    "AliasDomain",
    "Company",
    "Encryption",
    "MailopsError",
    "Ops",
    "Server",
    "Verdict",
    "VerdictState",
    "__version__",
    "init",
]

_HOMES = {
    "AliasDomain": "model.setup",
    "Company": "model.setup",
    "Encryption": "model.setup",
    "MailopsError": "errors",
    "Ops": "ops",
    "Server": "model.setup",
    "Verdict": "model.verdict",
    "VerdictState": "model.verdict",
    "init": "workspace",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
