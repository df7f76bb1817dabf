"""Who was forgotten, for those who meet an address again: is it one of them, and what is it called since?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model.pseudonym import pseudonym
from ..store import schema
from ..store.bulk import among

f = schema.forgotten
CHUNK = 500


class Names:
    """The pseudonyms of one store. ``key`` reads the secret that they are made with, None where nobody was forgotten;
    ``make`` makes one."""

    def __init__(self, key: Callable[[], bytes | None], make: Callable[[], bytes]) -> None:
        self._key, self._make = key, make

    def of(self, address: str) -> str:
        """The pseudonym of an address."""
        return pseudonym(self._key() or self._make(), address)

    def ready(self) -> None:
        """Make the key where there is none. Outside a transaction: the key is a row of the same store."""
        if self._key() is None:
            self._make()

    def known(self, connection: Connection, addresses: Iterable[str]) -> dict[str, str]:
        """Which of these addresses were forgotten, and what they are called since."""
        if connection.execute(sa.select(f.c.pseudonym).limit(1)).first() is None:
            return {}
        key = self._key()
        if key is None:
            return {}
        named = {pseudonym(key, address): address for address in set(addresses)}
        wanted, found = sorted(named), {}
        for at in range(0, len(wanted), CHUNK):
            query = sa.select(f.c.pseudonym).where(among(f.c.pseudonym, wanted[at : at + CHUNK]))
            found.update({named[row[0]]: str(row[0]) for row in connection.execute(query)})
        return found
