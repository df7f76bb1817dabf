"""Whom a store has forgotten, kept beside it as well: so that a store that is lost takes no promise with it.

A file of pseudonyms, a line each, which grows only. It names nobody: without the workspace's key no line can be turned
into an address or tried out. It is written before the commit that forgets, so that who was forgotten always stands in
it; a line that a full disk cut short is none, and *Auto-Vacuum* adds what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..model.pseudonym import is_pseudonym
from ..store.faults import store_error

FILE = "forgotten.txt"


def remembered(file: Path) -> frozenset[str] | None:
    """The pseudonyms in the file; None where there is none, or it cannot be read."""
    try:
        return frozenset(line for line in file.read_text("ascii", errors="replace").splitlines() if is_pseudonym(line))
    except OSError:
        return None


def remember(file: Path, names: Iterable[str]) -> None:
    """Add pseudonyms, durably; those that are there already are left. Raises :class:`StoreError`."""
    known = remembered(file)
    fresh = sorted(set(names) - (known or frozenset()))
    if known is not None and not fresh:
        return
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab", buffering=0) as out:
            if fresh:
                lines = ("\n" + "\n".join(fresh) + "\n").encode(
                    "ascii"
                )  # a new line first: one before may be cut short
                if out.write(lines) != len(lines):
                    raise OSError(28, "the file took a part only")
            os.fsync(out.fileno())
    except OSError as error:
        raise store_error(error, "keeping whom the store has forgotten") from error
