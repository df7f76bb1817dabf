"""Mailboxes that mail is fetched from, and where each stands: *Draft* until *Test & Confirm* has passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError, NotFound
from ..model.setup import Encryption
from ..ports import Clock
from ..secrets.references import is_reference
from ..store import schema
from ..store.database import explained, reading

a = schema.intake_accounts
PROTOCOLS = ("imap", "pop3")
PORTS = {("imap", Encryption.TLS): 993, ("pop3", Encryption.TLS): 995, ("imap", None): 143, ("pop3", None): 110}
OAUTH = "oauth"
DRAFT, CONFIRMED = "draft", "confirmed"


@dataclass(frozen=True, slots=True)
class Account:
    """One mailbox. ``password`` is a secret reference, or ``oauth``: then the connected account of the login signs in.

    ``folder`` is looked at (IMAP), ``move_to`` a folder that fetched mails go to, ``model`` the kind of record for mail
    that no alias takes. ``take_read``: a new IMAP mailbox begins with all its mail instead of what is unread.
    """

    key: str
    protocol: str
    host: str
    port: int
    encryption: Encryption
    login: str
    password: str
    folder: str = "INBOX"
    model: str | None = None
    move_to: str | None = None
    take_read: bool = False
    ca_file: str | None = None
    timeout: float = 60.0
    state: str = DRAFT
    checked_at: datetime | None = None
    confirmed_at: datetime | None = None
    arrived_at: datetime | None = None
    error: str | None = None
    error_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the command line prints it; the password is the reference, no secret."""
        return {**asdict(self), "encryption": self.encryption.value}


_SETTINGS = (
    "protocol", "host", "port", "encryption", "login", "password", "folder", "model", "move_to", "take_read", "ca_file",
    "timeout",
)  # fmt: skip


class Accounts:
    """The mailboxes of one store."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def list(self) -> tuple[Account, ...]:
        """All mailboxes, the one whose last look is longest ago first."""
        query = sa.select(a).order_by(a.c.checked_at.is_not(None), a.c.checked_at, a.c.key)
        with explained("reading the mailboxes"), reading(self._engine) as connection:
            return tuple(_account(row._mapping) for row in connection.execute(query))

    def get(self, key: str) -> Account:
        """The mailbox of this key. Raises :class:`NotFound`."""
        found = next((one for one in self.list() if one.key == key), None)
        if found is None:
            raise NotFound(
                f"There is no mailbox {key!r}.",
                facts={"key": key},
                fix="See what there is (mailops inbound account list), or add it (mailops inbound account add).",
            )
        return found

    def save(self, account: Account) -> Account:
        """Add a mailbox, or change it; it is a draft (again) then. Raises :class:`ConfigError` for what cannot be."""
        account = replace(checked(account), state=DRAFT)
        values = {name: getattr(account, name) for name in _SETTINGS}
        row = {"settings": {**values, "encryption": account.encryption.value}, "state": DRAFT, "confirmed_at": None}
        with explained("saving a mailbox"), self._engine.begin() as tx:
            if tx.execute(sa.update(a).where(a.c.key == account.key).values(**row)).rowcount == 0:
                tx.execute(sa.insert(a).values(key=account.key, created_at=self._clock.now(), **row))
        return account

    def confirm(self, key: str) -> None:
        """*Test & Confirm* has passed."""
        self._mark(key, state=CONFIRMED, confirmed_at=self._clock.now(), error=None, error_at=None)

    def looked(self, account: Account, *, arrived: bool, error: str | None) -> None:
        """A run over this mailbox is over."""
        now = self._clock.now()
        broken = {"error": error[:500] if error else None, "error_at": (account.error_at or now) if error else None}
        self._mark(account.key, checked_at=now, **broken, **({"arrived_at": now} if arrived else {}))

    def _mark(self, key: str, **values: Any) -> None:
        with explained("marking a mailbox"), self._engine.begin() as tx:
            tx.execute(sa.update(a).where(a.c.key == key).values(**values))


def checked(account: Account) -> Account:
    """The mailbox as it may be saved, with the usual port where none is given. Raises :class:`ConfigError`."""
    wrong = None
    if account.protocol not in PROTOCOLS:
        wrong = ("protocol", f"A mailbox is read by {' or '.join(PROTOCOLS)}, not by {account.protocol!r}.")
    elif not account.host.strip():
        wrong = ("host", "The mail server's name is missing.")
    elif not account.login.strip():
        wrong = ("login", "The login is missing.")
    elif not 0 <= account.port < 65_536:
        wrong = ("port", f"{account.port} is no port.")
    elif not account.key.strip() or account.key == "ingest" or len(account.key) > 100:
        wrong = ("key", f"A mailbox cannot be called {account.key[:100]!r}.")
    elif account.password != OAUTH and not is_reference(account.password):
        wrong = ("password", "The password is to be a reference, such as vault:NAME, env:NAME or file:PATH, or oauth.")
    if wrong:
        raise ConfigError(
            wrong[1],
            code="inbound.account",
            facts={"key": account.key[:100], "setting": wrong[0]},
            fix="Give it as mailops inbound account add --help says.",
        )
    tls = account.encryption if account.encryption is Encryption.TLS else None
    return replace(account, port=account.port or PORTS[account.protocol, tls])


def _account(row: Mapping[Any, Any]) -> Account:
    settings = dict(row["settings"])
    settings["encryption"] = Encryption(settings["encryption"])
    moments = {name: row[name] for name in ("checked_at", "confirmed_at", "arrived_at", "error", "error_at")}
    return Account(row["key"], **settings, state=row["state"], **moments)
