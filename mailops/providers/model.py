"""The shape of a provider's data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from ..model.setup import Encryption


@dataclass(frozen=True, slots=True)
class Host:
    """A server of the provider: name, port, and how the connection is protected."""

    name: str
    port: int
    encryption: Encryption


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where sign-in happens. ``{tenant}`` in a Microsoft authority is filled in; a sandbox gives its own addresses."""

    authority: str = ""  # Microsoft: https://host/{tenant}
    authorize: str = ""  # Google
    token: str = ""  # Google
    revoke: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Published sending limits; None where the provider gives no figure. Rolling 24 hours."""

    recipients_a_day: int | None = None
    messages_a_day: int | None = None
    messages_a_minute: int | None = None
    recipients_a_message: int | None = None
    connections: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PasswordRule:
    """From when a provider's servers stop taking passwords. ``since`` None: announced, no date yet."""

    provider: str
    protocol: str  # smtp, imap, pop
    since: date | None
    until: date | None  # the rule is replaced by the next one then
    taken: bool  # whether passwords still work in this span
    says: str
    source: str
    app_passwords: bool = False  # passwords made for one program still work


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. ``id`` is what ``Server.provider`` holds; ``redirect_path`` and ``token_tag`` are the product's."""

    id: str
    name: str
    smtp: Host
    imap: Host | None = None
    pop: Host | None = None
    other_hosts: tuple[str, ...] = ()
    host_suffixes: tuple[str, ...] = ()
    oauth: bool = False
    redirect_path: str = ""
    token_tag: str = ""
    connect_label: str = ""
    command: str = ""  # what `mailops connect` calls it
    not_configured: str = ""
    endpoints: Endpoints = field(default_factory=Endpoints)
    scopes_send: tuple[str, ...] = ()
    scopes_receive: tuple[str, ...] = ()
    scopes_pop: tuple[str, ...] = ()
    scopes_app: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    bulk: bool = True  # made for large campaigns
