"""DKIM signatures on what leaves, after the From is final: our own put on, those that the rewrite broke taken off.

::

    From rewritten?  yes ─► every signature covers From (RFC 6376 §5.4), so all are broken: taken off, and told
         │ no: signatures stay as they are
         ▼
    an active key for the From's domain, and no signature by that domain yet ─► signed, and told

A domain has at most one *active* key; a *next* one waits until its record is published, also where it is the first; a
*former* one is no longer signed with, and its record stays for the mail that is under way. Keys are secret references;
one that cannot be read lets mail leave unsigned, and says so: mail must not wait for it.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..dns.dkim_message import sign_message, signatures
from ..dns.dkim_own import OwnKey, look_at, record_text
from ..dns.domain_model import SigningKey
from ..dns.names import askable
from ..dns.resolver import Asker
from ..errors import ConfigError, MailopsError, NotFound
from ..mime import head_of
from ..model.address import ascii_domain, parse_first
from ..ports import Clock, Secrets
from ..store import schema
from ..store.database import explained, reading

log = logging.getLogger(__name__)
t = schema.dkim_keys
_SIGNATURE = re.compile(rb"(?im)^dkim-signature[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
LEAST_BITS = 2048


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key that mailops signs with, has signed with (``former``), or will (``next``)."""

    domain: str
    selector: str
    reference: str
    state: str
    public_key: str
    created_at: datetime
    changed_at: datetime

    @property
    def name(self) -> str:
        """Where its record stands."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """Its record's value."""
        return record_text(self.public_key)


class Signer:
    """Signs mail with the active keys; one for each batch."""

    def __init__(self, keys: Mapping[str, tuple[DkimKey, bytes]], unreadable: Mapping[str, str]) -> None:
        self._keys = keys
        self._unreadable = unreadable

    def prepare(self, raw: bytes, header_from: str, before: bytes = b"") -> tuple[bytes, str | None]:
        """The message as it leaves, and what became of signatures in words; None where there were none and are none.

        ``before`` is the message as it was handed over, where its From was rewritten since and its signatures are off.
        """
        told = []
        if broken := _signers(before):
            told.append(f"signature of {', '.join(broken)} removed (the From was rewritten)")
        sender = parse_first(header_from)
        domain = (ascii_domain(sender.domain) or "") if sender else ""
        present = _signers(raw)
        if present:
            told.append(f"signature of {', '.join(present)} kept")
        if domain in self._unreadable:
            told.append(f"not signed: {self._unreadable[domain]}")
        elif domain in self._keys and domain not in present:
            key, private = self._keys[domain]
            try:
                raw = sign_message(raw, selector=key.selector, domain=domain, private_key=private)
                told.append(f"signed by {domain} (selector {key.selector})")
            except ConfigError as error:
                log.warning("A mail leaves unsigned: %s", error)
                told.append(f"not signed: {error.message}")
        return raw, "; ".join(told) or None


def without_signatures(raw: bytes) -> tuple[bytes, list[str]]:
    """A message without its DKIM signatures, and whose they were."""
    broken = _signers(raw)
    if not broken:
        return raw, []
    head = head_of(raw) + b"\r\n"
    return b"".join([_SIGNATURE.sub(b"", head), memoryview(raw)[len(head) :]]), broken


def _signers(raw: bytes) -> list[str]:
    """The domains whose DKIM signatures a message bears."""
    head = head_of(raw)
    if b"dkim-signature" not in head.lower():
        return []
    found = signatures(head + b"\r\n\r\n")
    return sorted({tags.get("d", "an unnamed domain").lower() for tags in found})


class Signing:
    """The keys of a workspace. ``ask`` runs a question to the DNS (:meth:`mailops.domains.Domains.ask`)."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        secrets: Secrets,
        clock: Clock,
        *,
        put: Callable[[str, str], str],
        ask: Callable[[Callable[[Asker], Any]], Any],
    ) -> None:
        self._engine = engine
        self._secrets = secrets
        self._clock = clock
        self._put = put
        self._ask = ask
        self._read: dict[tuple[str, str, datetime], bytes] = {}

    def all(self, domain: str | None = None) -> list[DkimKey]:
        """All keys, or those of a domain."""
        query = sa.select(t).order_by(t.c.domain, t.c.created_at, t.c.selector)
        query = query.where(t.c.domain == domain.lower()) if domain else query
        with explained("reading the DKIM keys"), reading(self._engine()) as connection:
            return [DkimKey(**row._mapping) for row in connection.execute(query)]

    def published_as(self, domain: str) -> list[SigningKey]:
        """The keys of a domain as its DNS check asks for them."""
        return [SigningKey(key.selector, key.public_key, key.state) for key in self.all(domain)]

    def add(self, domain: str, selector: str, reference: str | None = None, *, unseen: bool = False) -> DkimKey:
        """A key for a domain: the one behind ``reference`` (PEM), or a new RSA key of 2,048 bits in the vault.

        It waits as *next* until :meth:`activate`, which wants its record seen: mail with a signature that nobody can
        check is worse off than without one. With ``unseen`` it signs at once. Raises :class:`ConfigError`.
        """
        domain, selector = (ascii_domain(domain) or "").lower(), selector.lower()
        if not askable(domain) or "." not in domain or not _SELECTOR.fullmatch(selector):
            raise ConfigError(
                f"{selector}._domainkey.{domain} is no name for a key.",
                code="dkim.name",
                facts={"domain": domain, "selector": selector},
                fix="Give a domain such as example.com and a selector of letters, digits and hyphens, such as s2026.",
            )
        before = self.all(domain)
        if any(key.selector == selector for key in before):
            raise ConfigError(
                f"There is a key {selector} for {domain} already.",
                code="dkim.selector_taken",
                facts={"domain": domain, "selector": selector},
                fix="Take another selector: receivers may still know the old key of this one.",
            )
        if reference is None:
            pem = _new_key()
            reference = self._put(f"dkim-{domain}-{selector}", pem)
            public = public_of(pem.encode())
        else:
            public = public_of(self._secrets.reveal(reference).encode())
        now = self._clock.now()
        made = DkimKey(domain, selector, reference, "next", public, now, now)
        row = {name: getattr(made, name) for name in DkimKey.__dataclass_fields__}
        with explained("storing the DKIM key"), self._engine().begin() as connection:
            connection.execute(sa.insert(t).values(**row))
        return self.activate(domain, selector, force=True) if unseen else made

    def activate(self, domain: str, selector: str, *, force: bool = False) -> DkimKey:
        """Sign with this key from the next batch on; the one before becomes *former*. Raises :class:`ConfigError` where
        its record is not published, unless ``force``."""
        key = self._of(domain, selector)
        if not force and not (seen := self.look(domain, selector)).published:
            raise ConfigError(
                f"The record of {key.name} is not published: {seen.trouble}.",
                code="dkim.not_published",
                facts={"name": key.name},
                fix=f"Publish what `mailops dkim record {domain} {selector}` shows, and wait until it is seen.",
            )
        now = self._clock.now()
        mine = t.c.domain == key.domain
        with explained("changing the DKIM key"), self._engine().begin() as connection:
            former = sa.update(t).where(mine, t.c.state == "active", t.c.selector != key.selector)
            connection.execute(former.values(state="former", changed_at=now))
            this = sa.update(t).where(mine, t.c.selector == key.selector)
            connection.execute(this.values(state="active", changed_at=now))
        return self._of(domain, selector)

    def remove(self, domain: str, selector: str) -> DkimKey:
        """Forget a key; the secret behind its reference stays where it is."""
        key = self._of(domain, selector)
        with explained("removing the DKIM key"), self._engine().begin() as connection:
            connection.execute(sa.delete(t).where(t.c.domain == key.domain, t.c.selector == key.selector))
        return key

    def look(self, domain: str, selector: str) -> OwnKey:
        """What receivers find for this key, with the record to publish and its proof."""
        key = self._of(domain, selector)
        found: OwnKey = self._ask(lambda resolver: look_at(resolver, key.selector, key.domain, key.public_key))
        return found

    def signer(self) -> Signer:
        """The signer for what leaves now. A key that cannot be read is told with each mail of its domain."""
        keys, unreadable = {}, {}
        for key in self.all():
            if key.state != "active":
                continue
            try:
                keys[key.domain] = (key, self._private(key))
            except MailopsError as error:
                log.warning("Mail of %s is not signed: %s", key.domain, error)
                unreadable[key.domain] = error.message
        return Signer(keys, unreadable)

    def _private(self, key: DkimKey) -> bytes:
        mark = (key.domain, key.selector, key.created_at)
        if mark not in self._read:
            self._read[mark] = _plain(self._secrets.reveal(key.reference).encode())
        return self._read[mark]

    def _of(self, domain: str, selector: str) -> DkimKey:
        for key in self.all(ascii_domain(domain) or domain):
            if key.selector == selector.lower():
                return key
        raise NotFound(
            f"There is no key {selector} for {domain}.",
            code="dkim.unknown",
            facts={"keys": [key.name for key in self.all()]},
            fix="mailops dkim list shows them.",
        )


def public_of(pem: bytes) -> str:
    """The public half of a private key in PEM, as ``p=`` holds it. Raises :class:`ConfigError` for one too weak."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = _loaded(pem).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _plain(pem: bytes) -> bytes:
    """The key in the form that every signer reads (PKCS #1)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = _loaded(pem)
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def _loaded(pem: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_BITS:
        raise ConfigError(
            "This is no private key to sign mail with.",
            code="config.dkim_key",
            facts={"bits": getattr(key, "key_size", None)},
            fix="Give an RSA private key of at least 2048 bits in PEM form, without a passphrase.",
        )
    return key


def _new_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, LEAST_BITS)
    # not PKCS #1, whose text has lines in common with the public key's: the redactor would take these out of a record
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
