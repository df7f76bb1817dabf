"""Slots: how many connections an account on a mail server may have at a time, whoever of mailops opens them.

``serve``, ``queue run`` and an urgent send inside an application are processes of their own, and a provider that allows
three connections counts them all. So a session holds a slot while its connection is open, and slots are shared: locked
files on a workspace with SQLite, advisory locks on PostgreSQL, where the processes may be on several machines. Both
free themselves when their process dies.
"""

from __future__ import annotations

import contextlib
import os
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from ..locks import try_lock
from ..model.setup import Server
from ..providers.rules import PROVIDERS, provider_of_host
from ..store.database import explained
from ..store.faults import store_error

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


class Slot(Protocol):
    """A slot that is held."""

    def free(self) -> None:
        """Let somebody else have it. Never raises."""


class Slots(Protocol):
    """Where slots are taken; for use by several threads."""

    def take(self, account: str, most: int) -> Slot | None:
        """One of an account's ``most`` slots; None at once while all are taken. Raises :class:`StoreError`."""

    def close(self) -> None:
        """Free what is held."""


class _File:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def free(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class FileSlots:
    """Slots as locked files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, account: str, most: int) -> Slot | None:
        """As :meth:`Slots.take`."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for number in range(most):
                descriptor = os.open(self._folder / f"{account}.{number}", os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    ours = try_lock(descriptor)
                except BaseException:
                    os.close(descriptor)
                    raise
                if ours:
                    return _File(descriptor)
                os.close(descriptor)
        except OSError as error:
            raise store_error(error, "taking a connection's slot") from error
        return None

    def close(self) -> None:
        """Nothing is kept here: each slot is its holder's."""


class _Advisory:
    def __init__(self, slots: AdvisorySlots, key: tuple[int, int]) -> None:
        self._slots = slots
        self._key = key

    def free(self) -> None:
        self._slots.free(self._key)


class AdvisorySlots:
    """Slots as advisory locks of PostgreSQL, held by one connection of their own. The server lets a connection take the
    same lock twice, so what this process holds is known here too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._held: set[tuple[int, int]] = set()
        self._connection: Connection | None = None

    def take(self, account: str, most: int) -> Slot | None:
        """As :meth:`Slots.take`."""
        name = int.from_bytes(bytes.fromhex(account)[:4], "big", signed=True)
        with self._lock, explained("taking a connection's slot"):
            if self._connection is None:
                self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # closed at the end, and its locks with it: no pool hands it on
            ask = sa.text("SELECT pg_try_advisory_lock(:name, :number)")
            try:
                for number in range(most):
                    key = (name, number)
                    if key in self._held:
                        continue
                    if self._connection.execute(ask, {"name": name, "number": number}).scalar_one():
                        self._held.add(key)
                        return _Advisory(self, key)
            except sa.exc.DBAPIError:
                self._drop()  # the server let go of what this connection held
                raise
        return None

    def free(self, key: tuple[int, int]) -> None:
        """Let go of one."""
        with self._lock:
            if key not in self._held or self._connection is None:
                return
            self._held.discard(key)
            try:
                self._connection.execute(
                    sa.text("SELECT pg_advisory_unlock(:name, :number)"), {"name": key[0], "number": key[1]}
                )
            except sa.exc.DBAPIError:
                self._drop()

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._held.clear()
        if self._connection is not None:
            with contextlib.suppress(sa.exc.DBAPIError):
                self._connection.close()
            self._connection = None


def slots_for(engine: Engine, folder: Path) -> Slots:
    """The slots of a store: on PostgreSQL those of the database, else files of this ``folder``."""
    return AdvisorySlots(engine) if engine.dialect.name == "postgresql" else FileSlots(folder)
