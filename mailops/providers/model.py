"""The shape of a provider's data: one frozen :class:`Provider` for each file in ``data/``.

A provider has up to three sides: what has to stand in DNS for it (:class:`SendingProfile`), its servers, and how one
signs in. Limits are figures with a unit and a window; every sentence about them is made from the figures.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..model.setup import Authentication, Encryption, MailClass


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
class Limit:
    """A published limit: ``count`` (or up to ``upto``) of ``messages``, ``recipients`` or ``connections``, in a rolling
    ``day`` or ``minute``, in one ``message``, or at a time (empty); ``plan`` says for whom."""

    count: int
    of: str
    per: str = ""
    plan: str = ""
    upto: int | None = None

    @property
    def said(self) -> str:
        """``1,000 messages a day by plan``."""
        many = f"{self.count:,}" + (f" to {self.upto:,}" if self.upto is not None else "")
        return " ".join(part for part in (many, self.of, f"a {self.per}" if self.per else "", self.plan) if part)


def limits_said(limits: Iterable[Limit]) -> str:
    """Limits in one line."""
    return ", ".join(one.said for one in limits)


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
class DkimExpectation:
    """One selector (``*`` = an account's own). ``targets`` are CNAME targets that count (empty = the service gives a
    TXT value); below ``zones`` any target counts that serves a valid key."""

    selector: str
    targets: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def accepts(self, target: str, *, domain: str, database: str = "") -> bool:
        """Whether a CNAME target is one of the service's, final dot or not."""
        wanted = target.rstrip(".").lower()
        return any(fnmatch.fnmatchcase(wanted, one) for one in self.filled(domain, database)) or any(
            wanted.endswith(f".{zone}") for zone in self.zones
        )

    def filled(self, domain: str, database: str = "") -> tuple[str, ...]:
        """The targets with the account's values put in."""
        return tuple(
            one.format(domain=domain, dashed=domain.replace(".", "-"), db=database or "*").lower()
            for one in self.targets
        )


@dataclass(frozen=True, slots=True)
class ReturnPathRecord:
    """A record of a return path of one's own; ``value`` is a pattern, for TXT the SPF term that has to be in it."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class SendingProfile:
    """What has to stand in DNS for a sending service.

    ``own_bounce`` = it bounces to a domain of its own unless set up otherwise, so that SPF does not align.
    ``essential`` = missing SPF or DKIM is an error, otherwise a warning. ``spf_at``: the include belongs to the
    ``bounce`` domain, only to a ``return_path`` of one's own, or nowhere (``none``); ``spf_alternatives`` serve too.
    ``dkim_need``: ``all`` selectors or ``any``. ``host_names``: patterns of its servers' names (general knowledge).
    ``basis`` = what the file rests on: ``source``, ``general knowledge``; ``limits`` in words.
    """

    key: str
    title: str
    spf_include: str
    dkim: tuple[DkimExpectation, ...]
    essential: bool
    own_bounce: bool
    return_path: str
    limits: str
    help_url: str
    source: str
    as_of: str
    basis: str = "general knowledge"
    aliases: tuple[str, ...] = ()
    note: str = ""
    spf_at: str = "bounce"
    spf_alternatives: tuple[str, ...] = ()
    dkim_need: str = "all"
    return_records: tuple[ReturnPathRecord, ...] = ()
    host_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookProof:
    """How a provider's webhooks prove who sent them: the ``parameter`` that holds what is needed, whether the proof
    binds the body, whether it is used once, its age at most (None: it has no time). ``name``: as the door calls it."""

    name: str
    parameter: str
    binds_body: bool
    once: bool
    max_age: timedelta | None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a receiver's own answers mean. ``marks``: parts of its host's name, or words that only it writes; ``says``:
    (words in the prepared text, or ``^5.7.1`` for an enhanced code, ``~`` asks for a whole token; the reason). The
    lower ``rank`` is asked first. ``unknown_is_filter``: its "user unknown" may be the subscriber's own filter,
    ``always``, or only where it comes with no address (``bare``)."""

    name: str
    rank: int
    marks: tuple[str, ...]
    says: tuple[tuple[str, str], ...]
    unknown_is_filter: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. ``id`` is what ``Server.provider`` holds (empty = it has no servers to send through), ``name`` and
    ``product`` are its short and its full name; ``redirect_path`` and ``token_tag`` are the product's.

    ``filter_is_mailbox``: its FROM filter must be the mailbox that signs in. ``campaigns``: whether large ones suit it;
    ``limit`` says why not. ``other_hosts`` are names and patterns beside ``smtp``, ``imap`` and ``pop``.
    """

    id: str
    name: str
    product: str
    dns: SendingProfile
    smtp: Host | None = None
    imap: Host | None = None
    pop: Host | None = None
    ports: tuple[int, ...] = ()
    authentication: Authentication = Authentication.LOGIN
    filter_is_mailbox: bool = False
    suits: tuple[MailClass, ...] = (MailClass.TRANSACTIONAL,)
    campaigns: bool = True
    setup_page: str = ""
    other_hosts: tuple[str, ...] = ()
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
    limits: tuple[Limit, ...] = ()
    limit: str = ""
    passwords: tuple[PasswordRule, ...] = ()
    webhook: WebhookProof | None = None
    answers: Answers | None = None

    def has_host(self, name: str) -> bool:
        """Whether a server of this name is the provider's."""
        own = (host.name for host in (self.smtp, self.imap, self.pop) if host is not None)
        return name in own or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.other_hosts)
