"""Loopback peers and other things to test mail with; shipped, so that users can test their own set-up too.

Everything loads on first use: ``from mailops.testing import SmtpServer, refuse`` reads only what it needs. Peers bind
127.0.0.1 on a free port, keep a log of what they saw, and play faults by script.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "smtp_server": ("SmtpServer",),
    "smtp_core": ("EXTENSIONS", "ServerTls"),
    "smtp_process": ("SmtpServerProcess",),
    "smtp_auth": ("AuthAttempt",),
    "smtp_session": ("ReceivedMessage",),
    "smtp_books": ("LogEntry", "read_books"),
    "smtp_script": (
        "Rule",
        "bounce_later",
        "defer",
        "drop",
        "forbid_pipelining",
        "garbage",
        "greylist",
        "load_script",
        "rate_limit",
        "refuse",
        "session_limit",
        "silence",
        "slow",
    ),
    "dsn": ("DsnSender", "PendingBounce", "build_dsn"),
    "clock": ("ManualClock",),
    "dns_server": ("DnsServer", "Query", "ZoneError"),
    "certs": ("Authority", "KeyPair"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.testing' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
