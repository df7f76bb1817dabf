"""A login as an object: its company, whom it may write as, where reports about its mail go, its limit.

Logins stand in ``[serve.users]`` of ``mailops.toml`` (as a bare reference to a password, or as a table), or in the
store, where ``mailops serve user`` puts them; the file wins. Passwords are kept as scrypt hashes or secret references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError, MessageRefused, NotFound
from ..model.address import NULL_PATH, is_valid, mailbox, parse_addresses, parse_first
from ..model.setup import BouncePolicy, Setup
from ..ports import Clock
from ..settings import UserSection
from ..store import schema
from ..store.database import explained, reading
from ..submission import hash_password

t = schema.logins
SHORTEST = 8
"""Characters of a password at least (NIST SP 800-63B, 5.1.1.2)."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who may hand mail over. ``senders`` are addresses and ``@domains``; empty = any. What is None is as ``[serve]``
    says. ``source`` is where it stands: ``file`` or ``store``."""

    name: str
    password: str = field(repr=False)
    company: str | None = None
    senders: tuple[str, ...] = ()
    bounces: BouncePolicy | None = None
    reports: bool = True
    messages_per_minute: int | None = None
    source: str = "store"

    def may_write_as(self, address: str) -> bool:
        """Whether mail of this address is this login's (RFC 6409 §6.1). A tag after ``+`` belongs to its address."""
        spec = mailbox(address)
        local, _, domain = spec.rpartition("@")
        plain = f"{local.partition('+')[0]}@{domain}"
        allowed = {mailbox(s) if "@" in s.lstrip("@") else "@" + s.lstrip("@").lower() for s in self.senders}
        return not self.senders or bool(allowed & {spec, plain, f"@{domain}"})

    def as_dict(self) -> dict[str, Any]:
        """For people and programs: all but the password, of which only the kind is told."""
        kind = "hash" if self.password.startswith("scrypt$") else self.password.partition(":")[0]
        told = {name: value for name, value in asdict(self).items() if name != "password"}
        return {**told, "kept_as": kind}


class Logins(Mapping[str, str]):
    """The logins of a workspace; as a mapping login → password, read anew each time, so that a listener need not be
    started again for a new one."""

    def __init__(self, engine: Callable[[], Engine], users: Mapping[str, str | UserSection], clock: Clock) -> None:
        self._engine = engine
        self._users = users
        self._clock = clock

    def __getitem__(self, name: str) -> str:
        login = self.find(name)
        if login is None:
            raise KeyError(name)
        return login.password

    def __iter__(self) -> Iterator[str]:
        return iter([login.name for login in self.all()])

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> list[Login]:
        """All of them, by name."""
        with explained("reading the logins"), reading(self._engine()) as connection:
            kept = [_login(row) for row in connection.execute(sa.select(t))]
        found = {login.name: login for login in (*kept, *(_of_file(n, u) for n, u in self._users.items()))}
        return [found[name] for name in sorted(found)]

    def find(self, name: str | None) -> Login | None:
        """The login of this name, None for none."""
        if name is None:
            return None
        if name in self._users:
            return _of_file(name, self._users[name])
        with explained("reading a login"), reading(self._engine()) as connection:
            row = connection.execute(sa.select(t).where(t.c.login == name)).first()
        return _login(row) if row is not None else None

    def add(
        self,
        name: str,
        password: str,
        *,
        setup: Setup,
        company: str | None = None,
        senders: tuple[str, ...] = (),
        bounces: BouncePolicy | str | None = None,
        reports: bool = True,
        messages_per_minute: int | None = None,
    ) -> Login:
        """A new login. ``password`` is the password itself, of which a hash is kept, or a secret reference. Raises
        :class:`ConfigError` for what cannot be used, ``serve.login_exists`` for a name that is taken."""
        self._require_own(name)
        if self.find(name) is not None:
            raise ConfigError(
                f"There is a login {name} already; nothing was changed.",
                code="serve.login_exists",
                facts={"login": name},
                fix="Change it (mailops serve user change), or give it another password (mailops serve user password).",
            )
        if not name or not name.isprintable() or len(name) > 320:
            raise _bad("login", name, "Give a name of printable characters, at most 320.")
        asked = {"company": company, "senders": senders, "bounces": bounces, "reports": reports,
                 "messages_per_minute": messages_per_minute}  # fmt: skip
        login = Login(name, _kept(password), **_checked(setup, asked))
        now = self._clock.now()
        with explained("storing the login"), self._engine().begin() as connection:
            connection.execute(sa.insert(t).values(**_row(login), changed_at=now, created_at=now))
        return login

    def change(self, name: str, *, setup: Setup, **named: Any) -> Login:
        """Change what is named of a login of the store, as in :meth:`add`; all else stays. None for ``company``,
        ``bounces`` and ``messages_per_minute`` takes it away. Raises as :meth:`add`, and :class:`NotFound`."""
        login = replace(self._own(name), **_checked(setup, named))
        values = {**_row(login), "changed_at": self._clock.now()}
        with explained("storing the login"), self._engine().begin() as connection:
            connection.execute(sa.update(t).where(t.c.login == name).values(**values))
        return login

    def password(self, name: str, password: str) -> Login:
        """Another password for a login of the store. Raises :class:`NotFound`."""
        login = replace(self._own(name), password=_kept(password))
        values = {"password": login.password, "changed_at": self._clock.now()}
        with explained("storing the password"), self._engine().begin() as connection:
            connection.execute(sa.update(t).where(t.c.login == name).values(**values))
        return login

    def remove(self, name: str) -> None:
        """Take a login of the store away; what it handed over stays. Raises :class:`NotFound`."""
        self._own(name)
        with explained("removing the login"), self._engine().begin() as connection:
            connection.execute(sa.delete(t).where(t.c.login == name))

    def _own(self, name: str) -> Login:
        self._require_own(name)
        found = self.find(name)
        if found is None:
            raise NotFound(
                f"There is no login {name!r}.",
                code="serve.login_unknown",
                facts={"login": name, "logins": list(self)},
                fix="mailops serve user list shows them.",
            )
        return found

    def _require_own(self, name: str) -> None:
        if name in self._users:
            raise ConfigError(
                f"The login {name!r} stands in mailops.toml.",
                code="serve.login_in_file",
                facts={"login": name},
                fix="Change or remove it there, under [serve.users].",
            )


def require_sender(login: Login | None, address: str | None) -> None:
    """Raises :class:`MessageRefused` (553) for an address that this login may not write as; it names those it may."""
    if login is None or not address or address == NULL_PATH or login.may_write_as(address):
        return
    raise MessageRefused(
        f"{login.name} may not send as {address}; it may send as {', '.join(login.senders)}.",
        code="message.sender_not_allowed",
        facts={"login": login.name, "sender": address, "senders": list(login.senders)},
        fix=f"mailops serve user add {login.name} --sender {address} (with the others), or send as one of them.",
    )


def require_authors(login: Login | None, header_from: str | None) -> None:
    """The same for every author of a From."""
    for author in parse_addresses(header_from):
        require_sender(login, author.spec)


def company_for(login: Login | None, header_from: str | None, setup: Setup) -> tuple[str | None, str]:
    """The company of a program's mail, and why: by login, else by the From's domain, else the first (None)."""
    if login is not None and login.company and any(c.key == login.company for c in setup.companies):
        return login.company, f"the login {login.name} belongs to it"
    sender = parse_first(header_from)
    domain = sender.domain.lower() if sender else ""
    for company in setup.companies:
        if company.alias_domain is not None and company.alias_domain.name.lower() == domain:
            return company.key, f"{domain} is its alias domain"
    return None, "it is the first company"


def _checked(setup: Setup, named: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a login, as its fields. Raises :class:`ConfigError` for what cannot be used."""
    said = dict(named)
    company, bounces, most = (said.get(name) for name in ("company", "bounces", "messages_per_minute"))
    if company is not None and company not in {c.key for c in setup.companies}:
        raise _bad("company", company, f"Use one of: {', '.join(c.key for c in setup.companies) or 'none yet'}.")
    for sender in said.get("senders", ()):
        if not (is_valid(sender) or (sender.startswith("@") and is_valid("x" + sender))):
            raise _bad("sender", sender, "Write an address, or @domain for all of a domain.")
    if bounces is not None and str(bounces) not in [policy.value for policy in BouncePolicy]:
        raise _bad("bounce policy", str(bounces), "Use keep, ours or both.")
    if most is not None and most < 0:
        raise _bad("limit", str(most), "Give a number of mails a minute; 0 is no limit.")
    if "senders" in said:
        said["senders"] = tuple(said["senders"])
    if "bounces" in said:
        said["bounces"] = BouncePolicy(bounces) if bounces else None
    return said


def _row(login: Login) -> dict[str, Any]:
    return {
        "login": login.name,
        "password": login.password,
        "company": login.company,
        "senders": list(login.senders),
        "bounces": login.bounces.value if login.bounces else None,
        "reports": login.reports,
        "messages_per_minute": login.messages_per_minute,
    }


def _login(row: Any) -> Login:
    policy = BouncePolicy(row.bounces) if row.bounces else None
    return Login(
        row.login, row.password, row.company, tuple(row.senders), policy, row.reports, row.messages_per_minute, "store"
    )


def _of_file(name: str, user: str | UserSection) -> Login:
    if isinstance(user, str):
        return Login(name, user, source="file")
    return Login(name, **user.model_dump(), source="file")


def _kept(password: str) -> str:
    """A reference or a hash as it is; of a password its hash."""
    scheme = password.partition(":")[0]
    if password.startswith("scrypt$") or (scheme in ("env", "file", "keyring", "vault") and ":" in password):
        return password
    if len(password.strip()) < SHORTEST:
        raise _bad(
            "password", password, f"Give one of at least {SHORTEST} characters, --generate, or a reference (env:NAME)."
        )
    return hash_password(password)


def _bad(what: str, value: str, fix: str) -> ConfigError:
    facts: dict[str, object] = {what.replace(" ", "_"): value}
    if what == "password":
        facts = {"characters": len(value), "at_least": SHORTEST}
    return ConfigError(f"This {what} of a login cannot be used.", code="serve.login_invalid", facts=facts, fix=fix)
