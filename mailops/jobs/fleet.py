"""All workspaces below a folder, as an agency has them: one look at each, and what fails in one stops no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputRefused, MailopsError
from ..workspace import FILE, Workspace

DEPTH = 4
"""Folders below the one named that are looked at."""


@dataclass(frozen=True, slots=True)
class Member:
    """What was found in one workspace. ``verdict``: ok, look (something needs a person) or error (nobody could look,
    ``error`` says why). ``name`` is its place below the folder; ``said`` a sentence, ``facts`` the figures."""

    name: str
    path: Path
    verdict: str
    said: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None


def members(folder: Path) -> tuple[Workspace, ...]:
    """The workspaces below a folder (itself too), by name; what lies inside of one is its own. Raises
    :class:`InputRefused` where there is none."""
    found = []
    top = folder.expanduser().resolve()
    for place, folders, files in os.walk(top):
        depth = len(Path(place).relative_to(top).parts)
        folders[:] = [] if FILE in files or depth >= DEPTH else sorted(f for f in folders if not f.startswith("."))
        if FILE in files:
            found.append(Workspace(Path(place)))
    if not found:
        raise InputRefused(
            "There is no workspace below this folder.",
            code="input.fleet",
            facts={"folder": str(folder), "missing": FILE, "depth": DEPTH},
            fix="Name the folder that holds the workspaces, each with its mailops.toml.",
        )
    return tuple(sorted(found, key=lambda space: space.path))


def over(folder: Path, look: Callable[[Workspace], tuple[str, str, Mapping[str, Any]]]) -> tuple[Member, ...]:
    """One look (verdict, sentence, facts) at each workspace, one after the other. Whatever goes wrong in one is told in
    its line, and the next has its turn."""
    top, found = folder.expanduser().resolve(), []
    for space in members(folder):
        name = str(space.path.relative_to(top)) if space.path != top else space.path.name
        try:
            found.append(Member(name, space.path, *look(space)))
        except MailopsError as error:
            found.append(Member(name, space.path, "error", error.message, error=error.as_dict()))
        except Exception as error:  # of this workspace alone, whatever it is
            said = f"{type(error).__name__}: {error}"[:300]
            told = {"error": said, "code": "fleet.broken", "facts": {}, "fix": "mailops doctor, in that workspace."}
            found.append(Member(name, space.path, "error", said, error=told))
    return tuple(found)
