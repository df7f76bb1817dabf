"""Sending over SMTP: the transport, the checks before it, kept sessions, and Test Connection."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pool import SessionPool
    from .probe import ConnectionStep, ConnectionTest, test_connection
    from .session import SmtpSession
    from .transport import SmtpTransport

__all__ = ["ConnectionStep", "ConnectionTest", "SessionPool", "SmtpSession", "SmtpTransport", "test_connection"]

# Loaded on first use: composing a mail needs only the checks, not TLS and sockets.
_HOMES = {
    "ConnectionStep": "probe",
    "ConnectionTest": "probe",
    "SessionPool": "pool",
    "SmtpSession": "session",
    "SmtpTransport": "transport",
    "test_connection": "probe",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.smtp' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
