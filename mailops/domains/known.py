"""What DNS says of the own domains, as facts for the readiness report: which exist, their SPF, which tasks are done.

Bounded in time: a name server that does not answer leaves the facts unknown, and an unknown fact never blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..model.verdict import VerdictState

if TYPE_CHECKING:
    from ..model.setup import Setup
    from .service import Domains

SECONDS = 4.0
_GOOD = (VerdictState.PASSED, VerdictState.SKIPPED)


@dataclass
class Known:
    """``exists``, ``spf`` texts and ``zones`` by domain; ``done`` ids of tasks whose records are published."""

    exists: dict[str, bool] = field(default_factory=dict)
    spf: dict[str, str] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


def known_of(domains: Domains, setup: Setup, names: Iterable[str], *, seconds: float = SECONDS) -> Known:
    """Look at these domains together, at most ``seconds``. Never raises."""
    found = Known()
    workers = [threading.Thread(target=_look, args=(domains, setup, name, found), daemon=True) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(seconds)
    return Known(dict(found.exists), dict(found.spf), dict(found.zones), set(found.done))


def _look(domains: Domains, setup: Setup, name: str, found: Known) -> None:
    try:
        exists = domains.exists(name)
        if exists is not None:
            found.exists[name] = exists
        if not exists:
            return
        report = domains.check(domains.of(setup, name))
    except MailopsError:
        return
    found.zones[name] = report.zone_of(name)
    states: dict[str, set[VerdictState]] = {}
    for result in report.results:
        states.setdefault(result.verdict.check, set()).add(result.state)
        if result.verdict.check == "spf" and result.verdict.found:
            found.spf.setdefault(name, result.verdict.found)
    good = {check for check, seen in states.items() if seen <= set(_GOOD) and VerdictState.PASSED in seen}
    found.done |= {f"dns.{check}:{name}" for check in good & {"spf", "dkim"}}
    if {"spf", "dkim"} <= good:
        found.done.add(f"dns.provider:{name}")
