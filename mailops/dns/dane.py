"""DANE for SMTP (RFC 7672): TLSA records of the MX hosts, only believed when DNSSEC says they are genuine."""

from __future__ import annotations

import hashlib
import re

from ..model.verdict import VerdictState as S
from .dnssec import Security, Validator
from .domain_model import CheckResult, verdict
from .names import normalise
from .resolver import Asker, together

_LENGTHS = {1: 64, 2: 128}  # hexadecimal digits of SHA-256 and SHA-512


def tlsa_value(certificate_der: bytes, *, usage: int = 3, selector: int = 1, matching: int = 1) -> str:
    """The TLSA value to publish for a certificate (RFC 6698 section 2.1); the default ``3 1 1`` survives renewals that
    keep the key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data = certificate_der
    if selector == 1:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = {0: data.hex(), 1: hashlib.sha256(data).hexdigest(), 2: hashlib.sha512(data).hexdigest()}[matching]
    return f"{usage} {selector} {matching} {digest}"


def judge_tlsa(value: str) -> str:
    """What is wrong with one TLSA value for SMTP; empty = usable (RFC 7672 section 3.1)."""
    parts = value.split()
    if len(parts) < 4 or not all(part.isdigit() for part in parts[:3]):
        return "not a TLSA record"
    usage, selector, matching = (int(part) for part in parts[:3])
    digest = "".join(parts[3:])
    if usage not in (2, 3):
        return f"usage {usage}: SMTP servers take only 2 (DANE-TA) and 3 (DANE-EE)"
    if selector not in (0, 1) or matching not in (0, 1, 2):
        return f"selector {selector} or matching type {matching} is unknown"
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digest):
        return "the data is not hexadecimal"
    if matching and len(digest) != _LENGTHS[matching]:
        return f"a digest of {len(digest)} hexadecimal digits; matching type {matching} has {_LENGTHS[matching]}"
    return ""


async def check_dane(
    resolver: Asker,
    validator: Validator | None,
    domain: str,
    *,
    port: int = 25,
    certificates: dict[str, bytes] | None = None,
) -> list[CheckResult]:
    """TLSA of every MX host; ``certificates`` (host → DER) are compared where given."""
    domain = normalise(domain)
    answer = await resolver.ask(domain, "MX")
    if answer.unknown:
        return [
            verdict("dane", domain, S.UNKNOWN, "dane.unknown", f"the MX records could not be read ({answer.status})")
        ]
    hosts = [host for _, host in answer.exchanges if host] if answer.found else []
    if not hosts:
        return [verdict("dane", domain, S.SKIPPED, "dane.no_mx", "no mail server to protect")]
    given = certificates or {}
    return await together(_host(resolver, validator, host, port, given.get(host)) for host in hosts)


async def _host(
    resolver: Asker, validator: Validator | None, host: str, port: int, certificate: bytes | None
) -> CheckResult:
    name = f"_{port}._tcp.{host}"
    answer = await resolver.ask(name, "TLSA")
    evidence = {"answer": answer.as_dict()}
    found = " | ".join(answer.lines)
    if answer.unknown:
        return verdict(
            "dane", name, S.UNKNOWN, "dane.unknown", f"{name} could not be read ({answer.status})", evidence=evidence
        )
    if not answer.found:
        return verdict("dane", name, S.SKIPPED, "dane.missing", f"{host} has no TLSA record", evidence=evidence)
    problems = [problem for problem in map(judge_tlsa, answer.lines) if problem]
    if len(problems) == len(answer.lines):
        return verdict("dane", name, S.FAILED, "dane.unusable", "; ".join(problems), found=found, evidence=evidence)
    if validator is None and answer.authentic:
        title = "TLSA is there, and the resolver that was asked vouches for its signature"
        return verdict("dane", name, S.PASSED, "dane.ok", title, found=found, evidence=evidence)
    if validator is None:
        title = "TLSA is there; without a trust anchor its signature was not checked"
        fix = "Ask a resolver that validates DNSSEC (--resolver)."
        return verdict("dane", name, S.SKIPPED, "dane.not_validated", title, found=found, fix=fix, evidence=evidence)
    checked = await validator.validate(name, "TLSA")
    evidence["dnssec"] = {"security": str(checked.security), "reason": checked.reason, "chain": list(checked.chain)}
    if checked.security is Security.UNKNOWN:
        return verdict("dane", name, S.UNKNOWN, "dane.unknown", checked.reason, found=found, evidence=evidence)
    if checked.security is not Security.SECURE:
        title = f"the TLSA record does not count: {checked.reason}"
        return verdict("dane", name, S.FAILED, f"dane.{checked.security}", title, found=found, evidence=evidence)
    if certificate is not None and not any(_matches(line, certificate) for line in checked.records):
        title = f"no TLSA record fits the certificate of {host}: senders that use DANE do not deliver"
        fix = f"Publish {name} TLSA {tlsa_value(certificate)} before changing the certificate."
        return verdict("dane", name, S.FAILED, "dane.mismatch", title, found=found, fix=fix, evidence=evidence)
    return verdict("dane", name, S.PASSED, "dane.ok", "TLSA is signed and usable", found=found, evidence=evidence)


def _matches(line: str, certificate: bytes) -> bool:
    parts = line.split()
    if judge_tlsa(line) or parts[0] != "3":
        return parts[0] == "2"  # a trust anchor cannot be compared with the end certificate alone
    made = tlsa_value(certificate, selector=int(parts[1]), matching=int(parts[2])).split()[3]
    return made == "".join(parts[3:]).lower()
