"""Secrets: references instead of values, an encrypted vault, a type that masks itself, and one redactor for all output.

The store, settings, notebooks and parameters hold *references* (``env:NAME``, ``file:PATH``, ``keyring:SERVICE/NAME``,
``vault:NAME``). :class:`SecretStore` resolves them at the last moment and tells the redactor what it revealed, so that
logs, transcripts, reports and bundles can be cleaned of it. ``cryptography`` and ``keyring`` load on first use.
"""

from .redact import (
    RedactingFilter,
    find_leaks,
    install_log_redaction,
    redact,
    redact_value,
    register,
)
from .references import Reference, is_reference, looks_like_secret, parse_reference
from .secret import MASK, Secret
from .store import SecretStore
from .vault import Vault, VaultEntry

__all__ = [
    "MASK",
    "RedactingFilter",
    "Reference",
    "Secret",
    "SecretStore",
    "Vault",
    "VaultEntry",
    "find_leaks",
    "install_log_redaction",
    "is_reference",
    "looks_like_secret",
    "parse_reference",
    "redact",
    "redact_value",
    "register",
]
