"""Checks that a webhook comes from the provider it names.

========  ==============================================================================================================
provider  proof (whether it binds the body, and how old it may be: :data:`PROOFS`)
========  ==============================================================================================================
ses       SNS signature (version 1: RSA-SHA1, 2: RSA-SHA256) by a certificate of ``sns.REGION.amazonaws.com``, and the
          topic's ARN is the one set
sendgrid  ECDSA-SHA256 over timestamp and body, by the public key set
mailgun   HMAC-SHA256 over timestamp and token, by the signing key set
mailjet   basic authentication, as set in the address given to Mailjet (it signs nothing)
postmark  basic authentication, likewise
========  ==============================================================================================================

Nothing is compared in a time that depends on the secret. Where the proof binds the body, repeats are harmless (events
count once), so a signature may be up to three days old: providers repeat for a day. Where it does not, whoever has seen
one body could put another under it: such a proof counts once, for the body it came with first, and for the eight hours
in which Mailgun repeats. A login proves nothing but itself: wrong ones are slowed (:mod:`.app`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ..errors import AuthError
from ..providers.files import WEBHOOKS

PROOFS = WEBHOOKS
"""Whether each proof binds the body, and how old it may be: from the providers' files."""
_SNS_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?\Z")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
FetchCertificate = Callable[[str], bytes]


def refused(provider: str, reason: str) -> AuthError:
    """The error for a webhook whose sender is not proven."""
    return AuthError(
        "This webhook does not prove who sent it.",
        code="auth.webhook",
        facts={"provider": provider, "reason": reason},
        fix=f"Compare the parameters mailops.webhook.{provider}.* with the provider's page for webhooks.",
    )


def verify_basic(provider: str, headers: Mapping[str, str], login: str) -> None:
    """Basic authentication with ``login`` (``user:password``), RFC 7617."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        found = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:  # also: characters beyond ASCII
        found = b""
    if not login or not hmac.compare_digest(found, login.encode()):
        raise refused(provider, "user and password do not fit")


def verify_mailgun(body: bytes, key: str, *, now: datetime) -> tuple[str, str]:
    """Mailgun's signature, which stands in the body and does not bind it; returns its token and a digest of what the
    body says, for :func:`mailops.webhooks.proofs.claim`."""
    try:
        whole = json.loads(body)
        given = whole["signature"]
        said = json.dumps({name: value for name, value in whole.items() if name != "signature"}, sort_keys=True)
        stamp, token, signature = (str(given[name]) for name in ("timestamp", "token", "signature"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused("mailgun", "the body has no signature") from error
    wanted = hmac.new(key.encode(), f"{stamp}{token}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
    if not key or not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
        raise refused("mailgun", "the signature does not fit")
    _fresh("mailgun", stamp, now)
    return token, hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def verify_sendgrid(headers: Mapping[str, str], body: bytes, key: str, *, now: datetime) -> None:
    """SendGrid's signature; ``key`` is the public key as its page shows it (base64 of DER) or PEM."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    stamp = headers.get("x-twilio-email-event-webhook-timestamp", "")
    try:
        signature = base64.b64decode(headers.get("x-twilio-email-event-webhook-signature", ""), validate=True)
        if "BEGIN" in key:
            public = serialization.load_pem_public_key(key.encode())
        else:
            public = serialization.load_der_public_key(base64.b64decode(key))
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise refused("sendgrid", "the key set is not an ECDSA key")
        public.verify(signature, stamp.encode("utf-8", "replace") + body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise refused("sendgrid", "the signature does not fit") from error
    _fresh("sendgrid", stamp, now)


def verify_sns(body: bytes, topic: str, fetch: FetchCertificate, *, now: datetime) -> Mapping[str, Any]:
    """An SNS message: topic, age, certificate and signature; returns its fields."""
    try:
        fields = json.loads(body)
        kind = str(fields["Type"])
        names = _SIGNED[kind]
        signed = "".join(f"{n}\n{fields[n]}\n" for n in names if n != "Subject" or fields.get(n) is not None)
        signature = base64.b64decode(fields["Signature"], validate=True)
        url, version, arn = str(fields["SigningCertURL"]), str(fields["SignatureVersion"]), str(fields["TopicArn"])
        at = datetime.fromisoformat(str(fields["Timestamp"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused("ses", "the body is no signed SNS message") from error
    if not topic or not hmac.compare_digest(arn.encode("utf-8", "replace"), topic.encode()):
        raise refused("ses", "it is of another topic")
    if at.tzinfo is None:
        raise refused("ses", "its time cannot be read")
    _fresh("ses", str(at.timestamp()), now)
    _check_rsa(certificate_of(url, fetch, now=now), signature, signed.encode("utf-8", "replace"), version)
    return fields  # type: ignore[no-any-return]  # JSON; shown to be an object by the lookups above


def certificate_of(url: str, fetch: FetchCertificate, *, now: datetime) -> Any:
    """The certificate at an SNS address, in its time of validity; no other address is ever asked."""
    from cryptography import x509

    try:
        parts = urlsplit(url)
        own = parts.scheme == "https" and parts.port in (None, 443) and not parts.username
        own = own and bool(_SNS_HOST.fullmatch(parts.hostname or "")) and parts.path.endswith(".pem")
    except ValueError:
        own = False
    if not own:
        raise refused("ses", "its certificate is not at Amazon SNS")
    try:
        certificate = x509.load_pem_x509_certificate(fetch(url))
    except ValueError as error:
        raise refused("ses", "its certificate cannot be read") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise refused("ses", "its certificate is not valid now")
    return certificate


def _check_rsa(certificate: Any, signature: bytes, signed: bytes, version: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    kinds: dict[str, Any] = {"1": hashes.SHA1, "2": hashes.SHA256}  # SNS signs version 1 with SHA-1
    key = certificate.public_key()
    if version not in kinds or not isinstance(key, rsa.RSAPublicKey):
        raise refused("ses", f"signature version {version[:5]!r} is not known")
    try:
        key.verify(signature, signed, padding.PKCS1v15(), kinds[version]())
    except InvalidSignature as error:
        raise refused("ses", "the signature does not fit") from error


def fetch_certificate(url: str) -> bytes:
    """Get a certificate over verified TLS: no redirects, at most 64 KiB, 10 s."""
    import httpx

    try:
        with httpx.stream("GET", url, timeout=10.0, follow_redirects=False) as answer:
            answer.raise_for_status()
            got = b""
            for piece in answer.iter_bytes():
                got += piece
                if len(got) > 65_536:
                    raise refused("ses", "its certificate is too long")
            return got
    except httpx.HTTPError as error:
        raise refused("ses", f"its certificate could not be fetched ({type(error).__name__})") from error


def _fresh(provider: str, stamp: str, now: datetime) -> None:
    try:
        age = abs(now.timestamp() - float(stamp))
    except ValueError as error:
        raise refused(provider, "its time cannot be read") from error
    most = PROOFS[provider].max_age
    if most is None or not age <= most.total_seconds():
        raise refused(provider, "it is too old")
