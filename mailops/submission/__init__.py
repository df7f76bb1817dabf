"""Mail submission over SMTP: any application hands mail over, and 250 means that it is durably stored."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .limits import Limits
    from .mail import SubmittedMail
    from .server import SubmissionServer
    from .users import hash_password

__all__ = ["Limits", "SubmissionServer", "SubmittedMail", "hash_password"]

_HOMES = {"Limits": "limits", "SubmissionServer": "server", "SubmittedMail": "mail", "hash_password": "users"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.submission' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
