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


class SigningKeys:
    """The key that addresses are signed with from now on, and those they were signed with before."""

    vault_name, parameter, former_parameter, read = VAULT_NAME, KEY_PARAMETER, FORMER_PARAMETER, "Reports are read"

    def __init__(self, engine: Engine, *, secrets: SecretStore, clock: Clock) -> None:
        self._engine, self._secrets, self._clock = engine, secrets, clock

    def key(self) -> bytes | None:
        """The key to sign with; None where addresses are plain.

        Raises :class:`mailops.errors.ConfigError` or :class:`mailops.errors.NotFound` when its reference leads nowhere.
        """
        reference = self.reference()
        return self._secrets.reveal(reference).encode() if reference else None

    def reading_keys(self) -> tuple[bytes, ...]:
        """The keys to check with: today's, and those in use before. One that cannot be read is left out: mail must not
        wait for it."""
        keys = []
        for reference in (self.reference(), *self._former()):
            try:
                keys += [self._secrets.reveal(reference).encode()] if reference else []
            except MailopsError as error:
                log.warning("%s without the key %s: %s", self.read, reference, error)
        return tuple(keys)

    def sign(self, reference: str | None = None) -> str:
        """Sign from the next mail on, with the key behind a reference; without one a key is made in the vault (once:
        tags that are out stay good). Workers on several machines need a reference that each of them can read."""
        if reference is None:
            if self._secrets.vault.find(self.vault_name) is None:
                self._secrets.vault.put(self.vault_name, random.token_urlsafe(32))
            reference = f"vault:{self.vault_name}"
        self._secrets.reveal(reference)  # one that leads nowhere is refused now, not when mail leaves
        self._replace(reference)
        return reference

    def plain(self) -> None:
        """Leave addresses plain from the next mail on. What comes back is still checked with the key."""
        self._replace(None)

    def reference(self) -> str | None:
        """Where the key lies; None where addresses are plain."""
        return parameter(self._engine, self.parameter)

    def _former(self) -> list[str]:
        return (parameter(self._engine, self.former_parameter) or "").split()

    def _replace(self, reference: str | None) -> None:
        former = [self.reference(), *self._former()]
        kept = list(dict.fromkeys(old for old in former if old and old != reference))[:FORMER]
        set_parameter(self._engine, self.former_parameter, " ".join(kept) or None)
        set_parameter(self._engine, self.parameter, reference)


class ReturnPaths(SigningKeys):
    """Signs the return paths of a workspace, or leaves them plain."""

    def state(self) -> ReturnPathState:
        """Signed or plain, and whether reports came back by their tag."""
        reference = self.reference()
        trouble = self._secrets.trouble(reference) if reference else None
        recent = b.c.received_at >= self._clock.now() - PERIOD
        by_tag = sa.and_(recent, b.c.matched_by.startswith("tag"))
        with explained("counting reports by their proof"), reading(self._engine) as connection:
            query = sa.select(sa.func.count(), sa.func.max(b.c.received_at)).where(by_tag)
            proven, last = connection.execute(query).one()
            lacking = sa.select(sa.func.count()).select_from(b).where(recent, b.c.matched_by == UNPROVEN)
            unproven = connection.execute(lacking).scalar_one()
        return ReturnPathState(reference, trouble.message if trouble else None, int(proven), int(unproven), last)
