"""Who may sign in: login → scrypt hash, or login → secret reference.

A hash is made with :func:`hash_password` and may stand in the configuration; a reference (``env:…``, ``file:…``) names
a secret. Checking takes as long for an unknown login as for a known one, so that the answer time tells nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping

from ..errors import ConfigError, MailopsError
from ..ports import Secrets

_N, _R, _P = 2**14, 8, 1  # 16 MB and some 50 ms, as RFC 7914 §2 suggests for interactive logins
_MOST = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """``scrypt$n$r$p$salt$hash`` with a fresh salt; the two last parts are base64.

    Raises :class:`ConfigError` above :data:`MAX_PASSWORD` octets.
    """
    if len(password.encode()) > MAX_PASSWORD:
        raise ConfigError(
            f"The password is longer than {MAX_PASSWORD} octets.",
            code="config.submission_password",
            facts={"octets": len(password.encode()), "limit": MAX_PASSWORD},
            fix="Choose a shorter one.",
        )
    salt = os.urandom(16)
    return _encode(salt, _scrypt(password.encode(), salt, _N, _R, _P))


def _encode(salt: bytes, digest: bytes) -> str:
    return "$".join(("scrypt", str(_N), str(_R), str(_P), *(base64.b64encode(x).decode() for x in (salt, digest))))


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=32, maxmem=_MOST)


MAX_PASSWORD = 1024
"""Octets of a password; a longer one is refused where it is set, as a cut one would never match."""
_NOBODY = _encode(b"\0" * 16, b"\0" * 32)


class Users:
    """The logins of a listener; ``entries`` is asked at each sign-in.

    Raises :class:`ConfigError` for an entry that is neither hash nor reference.
    """

    def __init__(self, entries: Mapping[str, str], secrets: Secrets | None = None) -> None:
        self._entries = entries
        self._secrets = secrets
        for login, value in entries.items():
            hashed = value.startswith("scrypt$") and value.count("$") == 5
            if not hashed and (secrets is None or ":" not in value):
                raise ConfigError(
                    f"The password of submission user {login!r} is neither a hash nor a secret reference.",
                    code="config.submission_user",
                    facts={"login": login},
                    fix="Give a hash made by `mailops.submission.hash_password`, or a reference such as env:NAME.",
                )

    def __bool__(self) -> bool:
        return len(self._entries) > 0

    def check(self, login: str, password: bytes) -> bool:
        """Whether the password is right. Slow on purpose; call it off the event loop."""
        entry = self._entries.get(login)
        if entry is None or entry.startswith("scrypt$"):
            return _matches(entry or _NOBODY, password) and entry is not None
        _matches(_NOBODY, password)
        try:
            wanted = self._secrets.reveal(entry) if self._secrets else ""
        except MailopsError:
            return False
        return bool(wanted) and hmac.compare_digest(wanted.encode(), password)


def _matches(entry: str, password: bytes) -> bool:
    try:
        _, n, r, p, salt, digest = entry.split("$")
        made = _scrypt(password[:MAX_PASSWORD], base64.b64decode(salt), int(n), int(r), int(p))
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, MemoryError):  # an entry somebody edited by hand
        return False
