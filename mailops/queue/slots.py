"""Slots: how many connections an account on a mail server may have at a time, whoever of mailops opens them.

``serve``, ``queue run`` and an urgent send inside an application are processes of their own, and a provider that allows
three connections counts them all. So a session holds a slot while its connection is open, and slots are shared: they
are locks of the store (:mod:`mailops.store.exclusive`), which free themselves when their process dies.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from sqlalchemy.engine import Engine

from ..model.setup import Server
from ..providers.rules import PROVIDERS, provider_of_host
from ..store.exclusive import FileLocks, Free, Locks, locks_of

DOING = "taking a connection's slot"

DEFAULT = 10
"""Connections to a server of which nothing else is known."""


def sessions_for(server: Server) -> int:
    """How many connections to a server mailops opens at a time: the server's own figure, else what the provider's data
    say, else :data:`DEFAULT`."""
    if server.max_sessions > 0:
        return server.max_sessions
    found = PROVIDERS.get(server.provider or "") or provider_of_host(server.host)
    given = [limit.count for limit in found.limits if limit.of == "connections"] if found else []
    return min([DEFAULT, *given])


def account_of(server: Server) -> str:
    """Who is counted at the other end: the same login on the same host, by whatever server record."""
    words = "\0".join((server.host.strip().lower(), str(server.port), (server.login or "").strip().lower()))
    return blake2b(words.encode(), digest_size=8).hexdigest()


class Slots:
    """Where slots are taken; for use by several threads."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks

    def take(self, account: str, most: int) -> Free | None:
        """One of an account's ``most`` slots; None at once while all are taken. Raises :class:`StoreError`."""
        for number in range(most):
            free = self._locks.take(f"{account}.{number}")
            if free is not None:
                return free
        return None

    def close(self) -> None:
        """Free what is held."""
        self._locks.close()


def file_slots(folder: Path) -> Slots:
    """Slots as locked files of a folder."""
    return Slots(FileLocks(folder, DOING))


def slots_for(engine: Engine, folder: Path) -> Slots:
    """The slots of a store: on PostgreSQL those of the database, else files of this ``folder``."""
    return Slots(locks_of(engine, folder, DOING))
