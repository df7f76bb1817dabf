"""TLS for SMTP: verified certificates, TLS 1.2 or newer, host names checked, client certificates from secrets.

There is no switch that turns verification off. A server with a private authority names its file in ``ca_file``.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from ..errors import MailopsError, TemporaryFailure
from ..model.setup import Authentication, Server
from ..ports import Secrets

# OpenSSL's X509_V_ERR_* numbers for the faults an admin meets.
_EXPIRED, _NOT_YET, _HOST, _ADDRESS = 10, 9, 62, 64
_UNTRUSTED = {18, 19, 20, 21}


def context_for(server: Server, secrets: Secrets) -> ssl.SSLContext:
    """The verifying context of a server. Raises :class:`TemporaryFailure` (``smtp.config``) on unusable files."""
    try:
        context = ssl.create_default_context(cafile=server.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise TemporaryFailure(
            f"The CA file of server {server.name!r} cannot be used: {error}.",
            code="smtp.config",
            facts={"server": server.key, "stage": "starttls", "ca_file": server.ca_file},
            fix="Give the path of a PEM file with the certificate authority, or leave it empty for the system's store.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.authentication is Authentication.CERTIFICATE:
        _load_client_certificate(context, server, secrets)
    return context


def _load_client_certificate(context: ssl.SSLContext, server: Server, secrets: Secrets) -> None:
    """Load certificate and key; the key passes through a file of our own because OpenSSL reads only files."""
    facts = {"server": server.key, "stage": "starttls", "client_cert": server.client_cert}
    if not server.client_cert or not server.client_key:
        raise TemporaryFailure(
            f"Server {server.name!r} signs in by certificate, but certificate or private key is missing.",
            code="smtp.config",
            facts=facts,
            fix="Give both the certificate file and the reference of the private key.",
        )
    try:
        key = secrets.reveal(server.client_key)
        with tempfile.TemporaryDirectory(prefix="mailops-") as folder:  # mode 0700
            path = Path(folder) / "key.pem"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(key)
            context.load_cert_chain(server.client_cert.removeprefix("file:"), str(path), password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise TemporaryFailure(
            f"The client certificate of server {server.name!r} cannot be used: {error}.",
            code="smtp.config",
            facts=facts,
            fix="Check that certificate and key are PEM, belong together, and that the key has no passphrase.",
        ) from error
    except MailopsError as error:
        raise TemporaryFailure(
            error.message, code="smtp.config", facts={**error.facts, **facts}, fix=error.fix
        ) from error


def explain(error: ssl.SSLError, server: Server) -> tuple[str, str, str]:
    """Code, sentence and next step for a failed handshake."""
    where = f"{server.host}:{server.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        number = error.verify_code
        if number == _EXPIRED:
            return "smtp.tls_expired", f"The certificate of {where} has expired.", "Renew the server's certificate."
        if number == _NOT_YET:
            return (
                "smtp.tls_expired",
                f"The certificate of {where} is not valid yet.",
                "Check the clocks of both sides.",
            )
        if number in (_HOST, _ADDRESS):
            return (
                "smtp.tls_hostname",
                f"The certificate of {where} is for another name: {error.verify_message}",
                "Use the host name that stands in the server's certificate.",
            )
        if number in _UNTRUSTED:
            return (
                "smtp.tls_untrusted",
                f"The certificate of {where} is of an authority unknown to this machine ({error.verify_message}).",
                "Give the authority's certificate as the server's CA file, or install it in the system's store.",
            )
        return (
            "smtp.tls",
            f"The certificate of {where} was not accepted: {error.verify_message}.",
            "Mend the certificate.",
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "wrong version" in reason or "record layer" in reason or "http request" in reason:
        return (
            "smtp.tls_not_spoken",
            f"{where} does not speak TLS from the start ({reason}).",
            "Choose STARTTLS (usually port 587 or 25), or the port for TLS (usually 465).",
        )
    return (
        "smtp.tls",
        f"No protected connection to {where}: {reason}.",
        "Check that the server offers TLS 1.2 or newer, and which certificate it asks for.",
    )
