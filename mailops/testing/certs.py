"""Throwaway certificates: an authority in a folder, and server certificates that are right or wrong in one way.

Keys are P-256 (made in a millisecond); files are PEM with mode 0600. Nothing here is meant to leave a test machine:
keys are not encrypted and live a day.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailops.errors import ConfigError

from .smtp_core import ServerTls

KINDS = ("valid", "expired", "wrong-host", "untrusted")
WRONG_HOST = "another-host.example.test"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, as paths of PEM files."""

    certfile: str
    keyfile: str


class Authority:
    """A certificate authority in ``folder``; ``ca_file`` is what a client has to trust."""

    def __init__(self, folder: str | Path, name: str = "mailops test authority") -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._count = 0
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(self._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._key_id = key_id
        self.ca_file = str(self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM)))

    def server(self, kind: str = "valid", *names: str) -> KeyPair:
        """A server certificate for ``names`` (default localhost, 127.0.0.1, ::1).

        ``expired`` ended yesterday, ``wrong-host`` is for another name, ``untrusted`` is signed by an authority that
        nobody knows.
        """
        if kind not in KINDS:
            raise ConfigError(f"Unknown kind of certificate: {kind!r}.", facts={"kinds": KINDS})
        if kind == "untrusted":
            return Authority(self.folder / f"stranger-{self._next()}", "an authority nobody trusts").server(
                "valid", *names
            )
        hosts = (WRONG_HOST,) if kind == "wrong-host" else names or ("localhost", "127.0.0.1", "::1")
        end = datetime.now(UTC) + (-_DAY if kind == "expired" else _DAY)
        return self._issue(f"server-{kind}-{self._next()}", hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, end, hosts)

    def client(self, name: str = "client.example.test") -> KeyPair:
        """A client certificate; ``name`` is its common name, and the login a :class:`ServerTls` server books."""
        end = datetime.now(UTC) + _DAY
        return self._issue(f"client-{self._next()}", name, ExtendedKeyUsageOID.CLIENT_AUTH, end, ())

    def server_tls(
        self, mode: str = "starttls", kind: str = "valid", *, ask_client: bool = False, require_client: bool = False
    ) -> ServerTls:
        """TLS settings for ``SmtpServer``: mode ``starttls`` or ``tls``, with a certificate of ``kind``."""
        pair = self.server(kind)
        client_ca = self.ca_file if ask_client or require_client else None
        return ServerTls(mode, pair.certfile, pair.keyfile, client_ca, require_client)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _issue(
        self, stem: str, name: str, purpose: x509.ObjectIdentifier, end: datetime, hosts: tuple[str, ...]
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 10 * _DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(
            str(self._write(f"{stem}.pem", certificate.public_bytes(serialization.Encoding.PEM))),
            str(self._write(f"{stem}.key", private)),
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        return path


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
