"""No pattern of the package takes time that grows faster than its text.

Every compiled pattern is found in the modules' own names (also inside tuples, lists and mappings) and pumped: runs of
each character that it names, pairs of them, runs after an opening that it takes. Sizes double from 625 octets up; what
doubles its time is linear, what more than trebles it twice is not, and stops there. A pattern that grows faster may
stand in BOUNDED, with the slice that its callers give it: then it is measured at that length, and must be done in 50 ms.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mailops

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sre_parse

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(mailops.__path__, "mailops.")
    if not name.startswith(("mailops.testing", "mailops.demo", "mailops.store.migrations", "mailops.jobs.child"))
    and not name.endswith("__main__")
)
COMMON = "a0 .-@<>()\"':;,=/\\\t\n_[]"
BOUNDED: dict[str, tuple[int, str]] = {}
"""module.NAME → characters its callers hand it at most, and where that is."""


def within(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth < 4 and isinstance(value, dict):
        for item in value.items():
            yield from within(item, depth + 1)
    elif depth < 4 and isinstance(value, (tuple, list, frozenset, set)):
        for item in value:
            yield from within(item, depth + 1)
    elif depth < 4 and type(value).__module__.startswith("mailops") and hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from within(getattr(value, name, None), depth + 1)


def patterns() -> dict[str, re.Pattern[Any]]:
    found: dict[str, re.Pattern[Any]] = {}
    seen: set[tuple[Any, int]] = set()
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for key, value in sorted(vars(module).items()):
            for number, pattern in enumerate(within(value)):
                if (pattern.pattern, pattern.flags) not in seen:
                    seen.add((pattern.pattern, pattern.flags))
                    found[f"{name.removeprefix('mailops.')}.{key}" + (f"[{number}]" if number else "")] = pattern
    return found


def literals(pattern: re.Pattern[Any]) -> str:
    """Characters that a pattern names, the first ones first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = sre_parse.parse(pattern.pattern, pattern.flags)
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, tuple) and len(node) == 2 and str(node[0]) in ("LITERAL", "NOT_LITERAL"):
            found.append(chr(node[1]))
        elif isinstance(node, (tuple, list, sre_parse.SubPattern)):
            for item in node:
                walk(item)

    walk(tree)
    return "".join(dict.fromkeys(found))


def opening(pattern: re.Pattern[Any]) -> list[str]:
    """The fixed text that a pattern may begin with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = sre_parse.parse(pattern.pattern, pattern.flags)
    start = ""
    for kind, value in tree:
        if str(kind) == "LITERAL":
            start += chr(value)
        elif str(kind) != "AT":
            break
    return [start] if start else []


def pumps(pattern: re.Pattern[Any]) -> list[tuple[str, str]]:
    named = literals(pattern)
    single = list(dict.fromkeys(named[:8] + COMMON))
    pairs = ["".join(p) for p in itertools.permutations(dict.fromkeys(named[:3] + "a .@"), 2)][:30]
    starts = ["", *opening(pattern)]
    return [(start, unit) for start in starts for unit in [*single, *pairs, *opening(pattern)]]


def tried(name: str) -> str:
    """How a pattern is asked in its own module: ``match`` where nothing there searches with it, else ``search``."""
    module, _, rest = name.rpartition(".")
    source = Path(importlib.import_module(f"mailops.{module}").__file__ or "").read_text("utf-8")
    used = set(re.findall(rf"\b{re.escape(rest)}\.(\w+)\(", source))
    return "match" if used and used <= {"match", "fullmatch"} else "search"


def took(pattern: re.Pattern[Any], text: Any, way: str) -> float:
    best = 9.0
    for _ in range(1 if len(text) < 3000 else 2):
        began = time.process_time()
        getattr(pattern, way)(text)
        best = min(best, time.process_time() - began)
        if best > 0.05:
            break
    return best


def grows(pattern: re.Pattern[Any], start: str, unit: str, way: str) -> str:
    """What a pump does to the time, or "" where it is in proportion."""
    before, steep = 0.0, 0
    for size in (2500, 5000, 10_000, 20_000, 40_000):
        text: Any = start + unit * (size // len(unit))
        now = took(pattern, text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text, way)
        steep = steep + 1 if now > 0.0008 and before and now > 3 * before else 0
        if steep >= 2:
            return f"{start!r} + {unit!r} x {size}: {now:.4f} s, {before:.4f} s for half of it"
        if size == 10_000 and now < 0.0005:
            return ""  # a power of the length would show by now
        before = max(now, 1e-6)
    return ""


FOUND = patterns()


def test_there_are_patterns_and_those_of_the_list_are_among_them() -> None:
    assert len(FOUND) > 100
    assert set(BOUNDED) <= set(FOUND)
    assert grows(re.compile(r"From \S+.*\d\d:\d\d"), "From ", "a", "match"), "a pattern that is known to grow"


@pytest.mark.parametrize("name", sorted(FOUND))
def test_time_grows_with_the_text(name: str) -> None:
    pattern, way = FOUND[name], tried(name)
    if name in BOUNDED:
        limit, _ = BOUNDED[name]
        for start, unit in pumps(pattern):
            text: Any = (start + unit * limit)[:limit]
            assert (
                took(pattern, text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text, way)
                < 0.05
            )
        return
    for start, unit in pumps(pattern):
        if said := grows(pattern, start, unit, way):
            assert not grows(pattern, start, unit, way), f"{name} {pattern.pattern!r}: {said}"
