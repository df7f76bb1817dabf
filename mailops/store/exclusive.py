"""One at a time, by name: a lock that nobody waits for, and that goes with the process that holds it.

On a store of SQLite everybody is on this machine, and a lock is a locked file of a folder. On PostgreSQL the others may
be on several machines: there it is an advisory lock of a session. When its holder dies, however that happens, the
system or the server lets go of it.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..locks import try_lock
from .database import explained
from .faults import store_error

Free = Callable[[], None]
"""Lets a lock go; again, it does nothing. Never raises."""


class Locks(Protocol):
    """Where locks are taken; for use by several threads, which keep each other out as processes do."""

    def take(self, name: str) -> Free | None:
        """The lock of this name; None at once while somebody has it. Raises :class:`StoreError`."""

    def close(self) -> None:
        """Let go of what cannot outlive this object."""


class FileLocks:
    """Locks as files of a folder, each by its name."""

    def __init__(self, folder: Path, doing: str) -> None:
        self._folder, self._doing = folder, doing

    def take(self, name: str) -> Free | None:
        """As :meth:`Locks.take`."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                ours = try_lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise store_error(error, self._doing) from error
        if ours:
            open_ = [descriptor]
            return lambda: _close(open_)
        os.close(descriptor)
        return None

    def close(self) -> None:
        """Nothing is kept here: each lock is its holder's."""


def _close(open_: list[int]) -> None:
    with contextlib.suppress(OSError, IndexError):
        os.close(open_.pop())  # the number may be another file's afterwards


class SessionLocks:
    """Locks as advisory locks of PostgreSQL, held by one connection of their own. The server lets a session take the
    same lock twice, so what this process holds is known here too."""

    def __init__(self, engine: Engine, doing: str) -> None:
        self._engine, self._doing = engine, doing
        self._lock = threading.Lock()
        self._held: dict[int, object] = {}
        self._connection: Connection | None = None

    def take(self, name: str) -> Free | None:
        """As :meth:`Locks.take`."""
        key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
        with self._lock, explained(self._doing):
            if key in self._held:
                return None
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                ours = self._connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar_one()
            except sa.exc.DBAPIError:
                self._lost()
                raise
            if ours:
                mine = self._held[key] = object()
                return lambda: self._free(key, mine)
        return None

    def _free(self, key: int, mine: object) -> None:
        with self._lock:
            if self._held.get(key) is mine:
                del self._held[key]
                self._say("SELECT pg_advisory_unlock(:key)", key=key)

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            if self._held:  # the pool hands the connection on, and must not hand on its locks
                self._say("SELECT pg_advisory_unlock_all()")
                self._held.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _say(self, statement: str, **values: int) -> None:
        try:
            if self._connection is not None:
                self._connection.execute(sa.text(statement), values)
        except sa.exc.DBAPIError:
            self._lost()

    def _lost(self) -> None:
        """The connection broke: the server lets go of what it held."""
        self._held.clear()
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def locks_of(engine: Engine, folder: Path, doing: str) -> Locks:
    """The locks of a store: on PostgreSQL those of the database, else files of this ``folder``. ``doing`` says in an
    error what they are taken for, as "taking an account"."""
    return SessionLocks(engine, doing) if engine.dialect.name == "postgresql" else FileLocks(folder, doing)


@contextlib.contextmanager
def alone(locks: Locks, name: str) -> Iterator[bool]:
    """Hold one lock of ``locks``, which are closed at the end; gives whether it is ours."""
    try:
        free = locks.take(name)
        try:
            yield free is not None
        finally:
            if free is not None:
                free()
    finally:
        locks.close()
