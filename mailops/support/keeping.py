"""The key of the bundles: which stand-in is whose. One file in the workspace, for its owner alone; it goes nowhere.

Bundles of one workspace share it, so that a value has the same stand-in in all of them, and what support answers can be
translated back. Whoever is forgotten is forgotten here too (:class:`SupportHolder`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..errors import ConfigError, StoreError
from ..ledger.erasure import Held, Person
from ..platforms import new_file
from .names import ATOM, Names

FILE = Path("support") / "names.json"
_WORD = re.compile(r"[\w][\w.+=@~'-]{0,400}")


@dataclass(slots=True)
class Key:
    """The table: atoms, addresses, domains and tokens, each with its stand-in."""

    atoms: dict[str, str]
    addresses: dict[str, str]
    domains: dict[str, str]
    tokens: dict[str, str]


def read(place: Path) -> Key:
    """The table of a workspace; an empty one where no bundle was made yet. Raises :class:`StoreError`."""
    try:
        found = json.loads((place / FILE).read_text("utf-8"))
        parts = [dict(found[name]) for name in ("atoms", "addresses", "domains", "tokens")]
        if not all(isinstance(one, str) for part in parts for pair in part.items() for one in pair):
            raise ValueError("not a table of words")
    except FileNotFoundError:
        return Key({}, {}, {}, {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "The key of the support bundles cannot be read.",
            code="support.key",
            facts={"file": str(FILE), "reason": f"{type(error).__name__}: {error}"[:200]},
            fix="Put the file back from a backup, or move it away: then new bundles have new stand-ins.",
        ) from error
    return Key(*parts)


def write(place: Path, key: Key) -> None:
    """Keep the table, for its owner alone. Raises :class:`StoreError`."""
    told = {name: getattr(key, name) for name in ("atoms", "addresses", "domains", "tokens")}
    try:
        (place / FILE).parent.mkdir(mode=0o700, exist_ok=True)
        with new_file(place / FILE, encoding="utf-8") as out:
            json.dump(told, out, ensure_ascii=False)
    except OSError as error:
        raise StoreError(
            "The key of the support bundles cannot be kept.",
            code="support.key",
            facts={"file": str(FILE), "reason": error.strerror or str(error)},
            fix="Make room, or make the workspace's folder writable; without its key a bundle cannot be translated.",
        ) from error


def extend(key: Key, names: Names) -> Key:
    """The table with what a bundle added."""
    return Key(
        names.atoms,
        key.addresses | names.addresses,
        key.domains | names.domains,
        key.tokens | names.tokens,
    )


@dataclass(frozen=True, slots=True)
class Translation:
    """A text with the real names back, and how many places were translated."""

    text: str
    places: int


def translate(key: Key, text: str) -> Translation:
    """Put the real names back into an answer of support. Raises :class:`ConfigError` where there is no table."""
    if not key.atoms and not key.tokens:
        raise ConfigError(
            "No bundle was made in this workspace, so there is nothing to translate with.",
            code="support.no_key",
            fix="Translate in the workspace in which the bundle was made.",
        )
    whole = {new.lower(): old for table in (key.tokens, key.domains, key.addresses) for old, new in table.items()}
    atoms = {new: old for old, new in key.atoms.items()}
    places = 0

    def back(found: re.Match[str]) -> str:
        nonlocal places
        word = found[0].rstrip(".,;:'-=~+")
        rest = found[0][len(word) :]
        real = whole.get(word.lower())
        if real is None and ("@" in word or "." in word or len(word) >= 5):
            made = ATOM.sub(lambda one: atoms.get(one[0].lower(), one[0]), word)
            parts = ATOM.findall(word.lower())
            mine = [part for part in parts if part in atoms]
            real = made if mine and len(mine) * 2 >= len(parts) - 1 else None
        if real is None or real == word:
            return found[0]
        places += 1
        return real + rest

    return Translation(_WORD.sub(back, text), places)


class SupportHolder:
    """What the table keeps of people: their address and its stand-in."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find(self, connection: Connection, address: str) -> Iterable[Held]:
        mine = [one for one in read(self._place).addresses if one == address]
        yield Held("the key of support bundles", len(mine), tuple({"address": one} for one in mine))

    def forget(self, connection: Connection, person: Person) -> Mapping[str, int]:
        key = read(self._place)
        mine = [one for one in key.addresses if one == person.address]
        if not mine:
            return {}
        for one in mine:
            del key.addresses[one]
        local = person.address.rpartition("@")[0]
        others = {atom for one in (*key.addresses, *key.domains) for atom in ATOM.findall(one)}
        for atom in ATOM.findall(local):
            if atom not in others:
                key.atoms.pop(atom, None)
        write(self._place, key)
        return {"the key of support bundles": len(mine)}

    def old(self, kind: str, before: datetime) -> sa.Select[Any] | None:
        return None

    def end(self, connection: Connection, kind: str, which: Sequence[Any]) -> None:
        return None
