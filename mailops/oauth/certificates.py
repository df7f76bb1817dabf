"""When the certificates of the organisation's own servers end: what they show, and files that mailops itself serves.

Public certificates last 200 days at most since March 2026 and 100 from March 2027 (CA/Browser Forum, ballot SC-081v3),
so they lapse in rotation more often than secrets do. A provider's own servers are its own matter and are not looked at.
The look is bounded, verifies nothing (a certificate that is over must be read too) and sends nothing but a greeting.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..model.setup import Encryption, Server
from ..providers import provider_of_host
from .calendar import End, certificate_end

_FIX = "Renew it (an ACME client does so by itself), and reload the server that shows it."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate is shown: ``encryption`` as of a mail server; ``speaks`` is what is spoken before STARTTLS:
    ``smtp``, ``imap`` or ``pop``."""

    host: str
    port: int
    encryption: Encryption
    affects: str
    speaks: str = "smtp"


_TLS, _STARTTLS = Encryption.TLS, Encryption.STARTTLS
_SCHEMES = {
    "imaps": (993, _TLS, "imap", "incoming mail (IMAP)"), "imap": (143, _STARTTLS, "imap", "incoming mail (IMAP)"),
    "pop3s": (995, _TLS, "pop", "incoming mail (POP)"), "pop3": (110, _STARTTLS, "pop", "incoming mail (POP)"),
    "smtps": (465, _TLS, "smtp", "mail (SMTP)"), "smtp": (25, _STARTTLS, "smtp", "mail (SMTP)"),
    "https": (443, _TLS, "smtp", "a web address"),
}  # fmt: skip


def place_of(text: str) -> Place:
    """The place an address names: ``imaps://imap.example.com``, ``imap://…`` (STARTTLS), ``pop3s``, ``pop3``,
    ``smtps``, ``smtp``, ``https``, with a port where it is another one. Raises ``config.certificate_place``."""
    try:
        split = urlsplit(text.strip())
        host, port = split.hostname, split.port
    except ValueError:
        host, port, split = None, None, urlsplit("")
    known = _SCHEMES.get(split.scheme)
    if known is None or not host or split.username or split.query or split.fragment:
        raise ConfigError(
            f"{text[:80]!r} names no place that shows a certificate.",
            code="config.certificate_place",
            facts={"schemes": list(_SCHEMES)},
            fix="Write it as imaps://imap.example.com, with :PORT where it is another one.",
        )
    usual, encryption, speaks, affects = known
    return Place(host, port or usual, encryption, affects, speaks)


def places_of(servers: Iterable[Server], base_url: str = "", incoming: Iterable[Place] = ()) -> list[Place]:
    """The places to look at: own outgoing servers, the web base URL (sign-ins and webhooks come back there), and
    those that are named (incoming servers, and what else is your own)."""
    found = [
        Place(s.host, s.port, s.encryption, s.key)
        for s in servers
        if s.active and s.host and s.encryption is not Encryption.NONE and provider_of_host(s.host) is None
    ]
    split = urlsplit(base_url)
    if split.scheme == "https" and split.hostname:
        found.append(Place(split.hostname, split.port or 443, Encryption.TLS, "sign-ins and webhooks"))
    return list(dict.fromkeys([*found, *(p for p in incoming if provider_of_host(p.host) is None)]))


def served_ends(places: Sequence[Place], timeout: float = 3.0) -> list[End]:
    """The ends of the certificates that these places show; one that cannot be reached is left out."""
    if not places:
        return []
    with ThreadPoolExecutor(min(8, len(places))) as pool:
        seen = list(pool.map(lambda place: _end_at(place, timeout), places))
    return [
        End("server_certificate", f"{p.host}:{p.port}", end, (p.affects,), _FIX)
        for p, end in zip(places, seen, strict=True)
        if end is not None
    ]


def file_end(path: str | Path, affects: str) -> End | None:
    """The end of a certificate file that mailops serves with; one that cannot be read is over."""
    try:
        return End("server_certificate", str(path), certificate_end(Path(path).read_text("utf-8")), (affects,), _FIX)
    except (OSError, ValueError) as error:
        said = f"{path} holds no certificate that can be read ({getattr(error, 'strerror', None) or 'not PEM'})."
        return End("server_certificate", str(path), datetime(1970, 1, 1, tzinfo=UTC), (affects,), _FIX, said=said)


def _end_at(place: Place, timeout: float) -> datetime | None:
    from cryptography import x509

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((place.host, place.port), timeout) as sock:
            if place.encryption is Encryption.STARTTLS:
                _ask_starttls(sock, place.speaks)
            with context.wrap_socket(sock, server_hostname=place.host) as wrapped:
                der = wrapped.getpeercert(True)
        return x509.load_der_x509_certificate(der).not_valid_after_utc if der else None
    except (OSError, ValueError):
        return None


_HELLO: dict[str, tuple[tuple[bytes | None, bytes], ...]] = {
    "smtp": ((None, b"220"), (b"EHLO localhost\r\n", b"250"), (b"STARTTLS\r\n", b"220")),
    "imap": ((None, b"* "), (b"a STARTTLS\r\n", b"a OK")),
    "pop": ((None, b"+OK"), (b"STLS\r\n", b"+OK")),
}


def _ask_starttls(sock: socket.socket, speaks: str) -> None:
    """Say hello and ask for TLS; raises OSError where it is refused."""
    stream = sock.makefile("rb", buffering=0)
    for ask, wanted in _HELLO[speaks]:
        if ask is not None:
            sock.sendall(ask)
        for _ in range(100):
            said = stream.readline(4096)
            if speaks != "smtp" or said[3:4] != b"-":
                break
        if not said or not said.startswith(wanted):
            raise OSError("no STARTTLS")
