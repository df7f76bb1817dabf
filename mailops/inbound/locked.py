"""One run at a time on an account: a file lock in the workspace, and an advisory lock where the store is PostgreSQL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..locks import try_lock
from ..store.database import explained
from .intake import Lock


def locks(engine: Engine, folder: Path) -> Lock:
    """Locks by name; each gives whether it is ours, and never waits. They end with the process that holds them."""

    @contextmanager
    def lock(name: str) -> Iterator[bool]:
        folder.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256(name.encode()).hexdigest()
        descriptor = os.open(folder / f"{digest[:20]}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if not try_lock(descriptor):
                yield False
            elif engine.dialect.name != "postgresql":
                yield True
            else:
                with explained("taking an account"), engine.connect() as connection:
                    number = {"key": int(digest[:15], 16)}
                    ours = connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), number).scalar()
                    connection.commit()  # it belongs to the session; no transaction stays open beside a long run
                    try:
                        yield bool(ours)
                    finally:
                        if ours:
                            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), number)
        finally:
            os.close(descriptor)

    return lock
