"""The program asks a :class:`mailops.ports.Clock` for the time; who may ask the system itself stands here, with why."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mailops"
ASKING = {
    "time": {"time", "time_ns", "sleep", "monotonic", "monotonic_ns", "perf_counter", "localtime", "gmtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "utils": {"localtime", "formatdate"},
}
ALLOWED = {  # file → what it may ask, and why a Clock is no use there
    "dns/resolver.py": ({"time.time"}, "the default of its own port, wall"),
    "jobs/child.py": ({"time.monotonic"}, "a process of its own: the limit is on the machine's time, as the kernel is"),
    "jobs/leftovers.py": ({"time.monotonic", "time.sleep"}, "waits for processes of the machine to end"),
    "oauth/google.py": ({"datetime.now"}, "undoes what google-auth reckoned with the system's clock"),
    "analysis/query.py": ({"time.monotonic"}, "how long a person waits for an answer"),
    "inbound/fetch.py": ({"time.monotonic"}, "how long a watch rests between two looks, in the machine's time"),
    "jobs/fork_server.py": ({"time.monotonic"}, "a process of its own: how long nobody has asked it"),
    "jobs/forking.py": ({"time.monotonic"}, "waits for a kernel, which is another process"),
    "inbound/boxes.py": ({"time.monotonic"}, "how long a mailbox is watched: a socket waits in the machine's time"),
    "jobs/process.py": ({"time.monotonic"}, "the limit of another process, which knows no clock of ours"),
    "logs/files.py": ({"time.sleep"}, "waits for lines that another program writes"),
    "logs/lines.py": ({"datetime.now"}, "the year of a stamp that has none, where no file tells it"),
    "queue/sending.py": (
        {"time.monotonic", "time.sleep"},
        "sessions are idle, and wait for slots, in the machine's time",
    ),
    "oauth/microsoft.py": ({"time.time"}, "msal wrote expires_at with the system's clock"),
    "queue/compose.py": ({"time.time_ns"}, "a Message-ID must differ from all others, also when a clock stands still"),
    "queue/worker.py": ({"time.monotonic", "time.sleep"}, "waits for a database that others hold, and for sessions"),
    "service/queueing.py": ({"time.monotonic"}, "the seconds a stop may take are the machine's"),
    "service/supervisor.py": ({"time.monotonic"}, "processes are silent in the machine's time"),
    "smtp/session.py": ({"time.monotonic"}, "how long a connection was idle, as its server counts it"),
    "secrets/vault.py": (
        {"time.monotonic", "time.sleep"},
        "waits for the lock of another process, which knows no clock of ours",
    ),
    "serve.py": ({"time.monotonic"}, "the seconds a stop may take are the machine's"),
    "smtp/transport.py": ({"time.monotonic"}, "the limit of a socket, which waits in the machine's time"),
    "smtp/wire.py": ({"time.monotonic"}, "the limit of a socket, which waits in the machine's time"),
    "store/carry.py": ({"time.monotonic", "time.sleep"}, "waits for the lock of another process"),
    "widgets/check.py": ({"time.monotonic"}, "a person waits in front of it"),
}


def asked(tree: ast.AST) -> set[str]:
    """What of the system's clock a module names, such as ``time.sleep``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ASKING.get(ast.unparse(node.value).split(".")[-1], ()):
            found.add(f"{ast.unparse(node.value)}.{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "email.utils"):
            names = ASKING["time" if node.module == "time" else "utils"]
            found.update(f"{node.module}.{alias.name}" for alias in node.names if alias.name in names)
    return found


def test_time_is_asked_of_a_clock():
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if name != "clock.py" and not name.startswith("testing/"):
            found += [
                f"{name}: {what}" for what in asked(ast.parse(file.read_text("utf-8"))) - ALLOWED.get(name, (set(),))[0]
            ]
    assert found == [], "take a Clock (mailops.ports), or say in ALLOWED why not"


def test_the_list_sees_every_way_to_ask():
    source = """
import time, datetime as dt
from time import sleep, strftime
from datetime import datetime, date
time.time(); wait = time.sleep; datetime.now(); dt.datetime.utcnow(); date.today(); clock.now(); clock.sleep(1)
"""
    assert asked(ast.parse(source)) == {"time.sleep", "time.time", "datetime.now", "dt.datetime.utcnow", "date.today"}
