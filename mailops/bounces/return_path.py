"""Whether return paths are signed, and what came of it: the switch, and the proof that reports carry the tag back.

Signed, mail leaves with ``bounce+123-mac@`` as its envelope sender (:mod:`.tag`), and only a report that shows it has
seen that mail counts against its recipient. The mail system of the domain must take mail for ``bounce+anything@`` (plus
addressing, RFC 5233 calls it subaddressing); :meth:`ReturnPaths.state` tells whether reports came back by their tag.
"""

from __future__ import annotations

import logging
import secrets as random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import MailopsError
from ..model.tag import FORMER_PARAMETER, KEY_PARAMETER
from ..ports import Clock
from ..store import schema
from ..store.database import explained, reading
from ..store.setup import parameter, set_parameter
from .correlate import UNPROVEN

if TYPE_CHECKING:
    from ..secrets import SecretStore

log = logging.getLogger(__name__)
VAULT_NAME = "bounce-tag"
PERIOD = timedelta(days=30)
FORMER = 5  # keys that are given up are still read with: reports come days later
b = schema.bounces


@dataclass(frozen=True, slots=True)
class ReturnPathState:
    """``reference`` is where the key lies (None: return paths are plain), ``trouble`` why it cannot be read. Of the
    reports of 30 days: how many their tag proved, how many lacked the tag of a signed mail, when the last tag came."""

    reference: str | None
    trouble: str | None
    proven: int
    unproven: int
    last_proven: datetime | None

    @property
    def signed(self) -> bool:
        return self.reference is not None and self.trouble is None


class ReturnPaths:
    """Signs the return paths of a workspace, or leaves them plain."""

    def __init__(self, engine: Engine, *, secrets: SecretStore, clock: Clock) -> None:
        self._engine, self._secrets, self._clock = engine, secrets, clock

    def key(self) -> bytes | None:
        """The key that tags are signed with; None where return paths are plain.

        Raises :class:`mailops.errors.ConfigError` or :class:`mailops.errors.NotFound` when its reference leads nowhere.
        """
        reference = parameter(self._engine, KEY_PARAMETER)
        return self._secrets.reveal(reference).encode() if reference else None

    def reading_keys(self) -> tuple[bytes, ...]:
        """The keys that tags are checked with: today's, and those in use before. One that cannot be read is left out:
        a report must not wait for it, and :meth:`state` tells."""
        keys = []
        for reference in (parameter(self._engine, KEY_PARAMETER), *self._former()):
            try:
                keys += [self._secrets.reveal(reference).encode()] if reference else []
            except MailopsError as error:
                log.warning("Reports are read without the key %s: %s", reference, error)
        return tuple(keys)

    def sign(self, reference: str | None = None) -> str:
        """Sign from the next mail on, with the key behind a reference; without one a key is made in the vault (once:
        tags that are out stay good). Workers on several machines need a reference that each of them can read."""
        if reference is None:
            if self._secrets.vault.find(VAULT_NAME) is None:
                self._secrets.vault.put(VAULT_NAME, random.token_urlsafe(32))
            reference = f"vault:{VAULT_NAME}"
        self._secrets.reveal(reference)  # one that leads nowhere is refused now, not when mail leaves
        self._replace(reference)
        return reference

    def plain(self) -> None:
        """Leave return paths plain from the next mail on. Reports about signed mail are still checked with its key."""
        self._replace(None)

    def _former(self) -> list[str]:
        return (parameter(self._engine, FORMER_PARAMETER) or "").split()

    def _replace(self, reference: str | None) -> None:
        former = [parameter(self._engine, KEY_PARAMETER), *self._former()]
        kept = list(dict.fromkeys(old for old in former if old and old != reference))[:FORMER]
        set_parameter(self._engine, FORMER_PARAMETER, " ".join(kept) or None)
        set_parameter(self._engine, KEY_PARAMETER, reference)

    def state(self) -> ReturnPathState:
        """Signed or plain, and whether reports came back by their tag."""
        reference = parameter(self._engine, KEY_PARAMETER)
        trouble = self._secrets.trouble(reference) if reference else None
        recent = b.c.received_at >= self._clock.now() - PERIOD
        by_tag = sa.and_(recent, b.c.matched_by.startswith("tag"))
        with explained("counting reports by their proof"), reading(self._engine) as connection:
            query = sa.select(sa.func.count(), sa.func.max(b.c.received_at)).where(by_tag)
            proven, last = connection.execute(query).one()
            lacking = sa.select(sa.func.count()).select_from(b).where(recent, b.c.matched_by == UNPROVEN)
            unproven = connection.execute(lacking).scalar_one()
        return ReturnPathState(reference, trouble.message if trouble else None, int(proven), int(unproven), last)
