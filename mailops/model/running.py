"""How the services of a workspace stand, as values: what the parent writes to ``serve.json`` and who asks reads.

The file is written over in place, so that a full disk has room for it; :data:`BYTES` long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

STATE, WORKER_STATE, BYTES = "serve.json", "worker.json", 8192
MOST = 16
"""Listeners that have room in the file."""
STALE = 30.0
"""Seconds after which a parent that wrote nothing counts as dead."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service. ``failures``: in a row; ``restarts``: since the parent began; ``error``: why it ended last."""

    name: str
    pid: int | None
    since: datetime | None
    heard: datetime | None
    ready: bool
    failures: int = 0
    restarts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener that takes mail. ``tls``: none, starttls or implicit; ``sign_in``: none, offered or required; ``name``
    is what it calls itself; ``takes``: mail of programs (``submission``), or received mail by ``lmtp`` or ``smtp``."""

    host: str
    port: int
    tls: str
    sign_in: str
    name: str = ""
    takes: str = "submission"

    def as_told(self) -> dict[str, Any]:
        """As it is told the parent."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Running:
    """The whole. ``failures``: runs of the queue in a row that ended with an error, with the last one's ``words``;
    ``holding``: mail is answered 451."""

    kind: str
    pid: int
    since: datetime
    at: datetime
    holding: bool
    failures: int
    words: str
    host: str = ""
    services: tuple[ServiceState, ...] = ()
    listening: tuple[Listening, ...] = ()

    def as_text(self) -> bytes:
        """For the file."""
        found = asdict(self)
        found["words"] = self.words[:250]
        found["services"] = [{**asdict(s), "error": s.error[:250]} for s in self.services]
        found["listening"] = [asdict(one) for one in self.listening[:MOST]]
        return json.dumps(found, default=datetime.isoformat).encode().ljust(BYTES)[:BYTES]


def listening_from(told: Iterable[Any]) -> tuple[Listening, ...]:
    """Listeners as they were told; one that is none is left out."""
    found = []
    for one in told:
        try:
            found.append(
                Listening(
                    str(one["host"]),
                    int(one["port"]),
                    str(one["tls"]),
                    str(one["sign_in"]),
                    str(one["name"])[:80],
                    str(one.get("takes", "submission"))[:20],
                )
            )
        except (ValueError, TypeError, LookupError):
            continue
    return tuple(found)


def running_from(told: Mapping[str, Any]) -> Running:
    """What the file says. Raises ValueError, TypeError or LookupError for what is no such file."""

    def when(value: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)

    services = tuple(
        ServiceState(
            str(s["name"]),
            None if s["pid"] is None else int(s["pid"]),
            when(s["since"]),
            when(s["heard"]),
            bool(s["ready"]),
            int(s["failures"]),
            int(s["restarts"]),
            str(s["error"]),
        )
        for s in told.get("services", ())
    )
    at = datetime.fromisoformat(str(told["at"]))
    since = when(told.get("since")) or at
    failures, words = int(told["failures"]), str(told["words"])
    holding = bool(told.get("holding", False))
    kind, host = str(told.get("kind", "serve")), str(told.get("host", ""))
    listening = listening_from(told.get("listening", ()))
    return Running(kind, int(told["pid"]), since, at, holding, failures, words, host, services, listening)


def read_running(folder: Path, name: str = STATE) -> Running | None:
    """How it stands, as the parent wrote it; None where nothing runs that was not killed. It is written over while it
    is read, so a second look is taken."""
    for _ in range(3):
        try:
            return running_from(json.loads((folder / name).read_bytes()[:BYTES]))
        except OSError:
            return None
        except (ValueError, TypeError, LookupError):
            continue
    return None


def is_alive(pid: int) -> bool:
    """Whether a process is there; taken for so where the system does not say."""
    if os.name != "posix" or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


SCHEDULE = "schedule.json"


def last_runs(folder: Path) -> dict[str, datetime]:
    """When each daily job ran last, as the schedule keeps it."""
    try:
        told = json.loads((folder / SCHEDULE).read_bytes()[:10_000])
        return {str(name): datetime.fromisoformat(at) for name, at in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
