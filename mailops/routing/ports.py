"""Which SMTP ports a hosting kind may use."""

from __future__ import annotations

from ..model.setup import Encryption, Hosting
from ..model.verdict import Finding, Severity

USABLE = (465, 587, 2525)
IMPLICIT_TLS_PORT = 465


def port_finding(hosting: Hosting, port: int, server: str = "") -> Finding | None:
    """Port 25 is blocked on hosted kinds; None when the port may be used."""
    if port != 25 or hosting is Hosting.ON_PREMISE:
        return None
    return Finding(
        "server.port_blocked",
        Severity.ERROR,
        f"Port 25 is blocked on {hosting.value}.",
        "Use port 465, 587 or 2525.",
        {"server": server, "port": port, "usable": list(USABLE)},
    )


def encryption_finding(port: int, encryption: Encryption, server: str = "") -> Finding | None:
    """Port 465 speaks TLS from the start (RFC 8314 §3.3), 587 switches by STARTTLS; no encryption is a warning."""
    facts = {"server": server, "port": port, "encryption": encryption.value}
    if encryption is Encryption.NONE:
        return Finding(
            "server.no_encryption",
            Severity.WARNING,
            f"Server {server!r} sends without encryption.",
            "Choose SSL/TLS: 465 with TLS, or 587 with STARTTLS.",
            facts,
        )
    if (port == IMPLICIT_TLS_PORT) != (encryption is Encryption.TLS) and port in (465, 587, 25, 2525):
        return Finding(
            "server.port_encryption",
            Severity.WARNING,
            f"Server {server!r}: port {port} usually goes with {'TLS' if port == 465 else 'STARTTLS'}, "
            f"not {encryption.value}.",
            "Use 465 with TLS, or 587 with STARTTLS.",
            facts,
        )
    return None
