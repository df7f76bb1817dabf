"""Processes for the migration tests.

usage: migrate_child.py open STORE MIGRATIONS       open it with the planted revision 9000; prints the schema
       migrate_child.py small STORE MIGRATIONS      the same, with no file allowed above 64 kB (a full disk)
       migrate_child.py hold STORE                  open it as the old version, say so, hold it until input ends
       migrate_child.py write STORE                 write a row as the old version, and die before it leaves the -wal
       migrate_child.py kills STORE MIGRATIONS OUT  open copies of it, killed (-9) at one line of the procedure each;
                                                    prints the lines; copy n is OUT/n
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from mailops import platforms
from mailops.errors import StoreError
from mailops.store import carry, database, migrate

STEPS = ("carry", "_carry", "_make_private", "copy_to", "_leave_wal", "_keep", "flush_folder")


def plant(migrations: str) -> None:
    migrate._FOLDER, migrate._NEWEST = Path(migrations), "9000"


def open_it(store: str, migrations: str) -> None:
    plant(migrations)
    try:
        engine = database.open_database(store)
    except StoreError as error:
        print(json.dumps(error.as_dict()))
        sys.exit(2)
    with engine.connect() as connection:
        print(migrate.present(connection))
    engine.dispose()


def small(store: str, migrations: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))
    open_it(store, migrations)


def hold(store: str) -> None:
    engine = database.open_database(store)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM parameters").fetchall()
    print("open", flush=True)
    sys.stdin.read()


def write(store: str) -> None:
    with database.open_database(store).begin() as connection:
        connection.exec_driver_sql("INSERT INTO parameters (key, value) VALUES ('in.the', 'wal')")
    os.kill(os.getpid(), signal.SIGKILL)


def kills(store: str, migrations: str, out: str) -> None:
    plant(migrations)
    migrate._scripts().get_current_head()  # read once, for all children
    lines: list[str] = []
    for n in range(1, 500):
        copy = Path(out) / str(n) / "mailops.db"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(store, copy)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            die_at(n, writer)
            database.open_database(copy).dispose()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            shutil.rmtree(copy.parent)
            break
        lines.append(said)
    print(json.dumps(lines))


def die_at(n: int, writer: int) -> None:
    """Kill this process as it comes to the ``n``-th line of the procedure that it has not been at before."""
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        if frame.f_code.co_filename not in (carry.__file__, platforms.__file__) or frame.f_code.co_name not in STEPS:
            return None
        where = (frame.f_code.co_name, frame.f_lineno)
        if what == "line" and where not in seen:
            seen.add(where)
            if len(seen) == n:
                os.write(writer, f"{where[0]}:{where[1]}".encode())
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


if __name__ == "__main__":
    {"open": open_it, "small": small, "hold": hold, "write": write, "kills": kills}[sys.argv[1]](*sys.argv[2:])
