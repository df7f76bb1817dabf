"""Whether an address is a person's of this database."""

from __future__ import annotations

from sqlalchemy.engine import Engine

from ..store.database import explained, reading
from . import store as repo


def is_person(engine: Engine, address: str) -> bool:
    """Whether a user has this address; False for what is no address."""
    spec = repo.address_of(address)
    if spec is None:
        return False
    with explained("looking for a person"), reading(engine) as connection:
        return any(who.is_user for who in repo.contacts_at(connection, spec))
