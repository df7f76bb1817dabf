"""What a database's error means, by its number: SQLite's result code, PostgreSQL's SQLSTATE, the system's errno.

The words of an error change with the version, the library and the language of the server (``lc_messages``); the numbers
are their promise. An error that carries none comes from the driver itself: the line to the server broke, or never was.

SQLite: https://www.sqlite.org/rescode.html · PostgreSQL: appendix A of its manual, "PostgreSQL Error Codes".
"""

from __future__ import annotations

import errno
import sqlite3

import sqlalchemy as sa

from ..errors import StoreError

LOCKED, FULL, DAMAGED, NOT_WRITABLE, UNREACHABLE, OTHER = (
    "store.locked",
    "store.full",
    "store.damaged",
    "store.not_writable",
    "store.unreachable",
    StoreError.default_code,
)

_SQLITE = {  # by the primary result code, the low byte
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,  # gave up on the locks of the WAL
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_IOERR: FULL,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_READONLY: NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: NOT_WRITABLE,
    sqlite3.SQLITE_PERM: NOT_WRITABLE,
}
_SQLSTATE = {  # a whole state first, then its class (the first two characters)
    "40001": LOCKED,  # serialization_failure
    "40P01": LOCKED,  # deadlock_detected
    "55P03": LOCKED,  # lock_not_available: NOWAIT, lock_timeout
    "53100": FULL,  # disk_full
    "58030": FULL,  # io_error
    "53300": UNREACHABLE,  # too_many_connections
    "XX001": DAMAGED,  # data_corrupted
    "XX002": DAMAGED,  # index_corrupted
    "25006": NOT_WRITABLE,  # read_only_sql_transaction
    "42501": NOT_WRITABLE,  # insufficient_privilege
    "25P03": UNREACHABLE,  # idle_in_transaction_session_timeout: the server hung up
    "28": UNREACHABLE,  # the sign-in was refused
    "3D000": UNREACHABLE,  # no such database
    "08": UNREACHABLE,  # connection exceptions
    "57": UNREACHABLE,  # statement_timeout, admin_shutdown, crash_shutdown, cannot_connect_now …
}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def code_of(error: BaseException) -> str:
    """The store's code for a driver's, SQLAlchemy's or the system's error."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        number = getattr(cause, "sqlite_errorcode", None)  # the sqlite3 module's own errors have none
        return OTHER if number is None else _SQLITE.get(number & 0xFF, OTHER)
    if isinstance(cause, OSError):
        return FULL if cause.errno in _NO_SPACE else NOT_WRITABLE
    state = getattr(cause, "sqlstate", None)
    if state:
        return _SQLSTATE.get(state) or _SQLSTATE.get(state[:2], OTHER)
    # Without a number it is the driver's own: the line to the server broke, or no session was free.
    gone = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError)
    return UNREACHABLE if gone or getattr(error, "connection_invalidated", False) else OTHER


def store_error(error: BaseException, doing: str) -> StoreError:
    """The store error that fits: locked, full, unreachable, broken, or as the database says it."""
    cause = getattr(error, "orig", None) or error
    said = (str(cause).splitlines() or [type(cause).__name__])[0]
    facts: dict[str, object] = {"doing": doing, "database_said": said}
    number = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    if number:
        facts["database_code"] = number
    code = code_of(error)
    if code == LOCKED:
        return StoreError(
            f"The database stayed locked while {doing}.",
            code="store.locked",
            facts=facts,
            fix="Another program holds the database. Wait and try again; look for a long run or an open editor on it.",
        )
    if code == FULL:
        return StoreError(
            f"The disk is full or failing: {doing} was not stored.",
            code="store.full",
            facts=facts,
            fix="Free space on the workspace's disk and try again; nothing half-written was kept.",
        )
    if code == DAMAGED:
        return StoreError(
            "This file is not a mailops database, or it is damaged.",
            code="store.damaged",
            facts=facts,
            fix="Keep the file, restore the last backup, and check the disk.",
        )
    if code == NOT_WRITABLE:
        return StoreError(
            "The database cannot be opened for writing.",
            code="store.not_writable",
            facts=facts,
            fix="Check owner and mode of the workspace folder.",
        )
    if code == UNREACHABLE:
        return StoreError(
            f"The database server did not answer while {doing}.",
            code="store.unreachable",
            facts=facts,
            fix="Check that the database server runs and that the address in mailops.toml is right.",
        )
    return StoreError(f"The database refused {doing}.", facts=facts)
