"""DKIM key pairs for tests and demos: a private key in PEM form and the record that goes into DNS."""

from __future__ import annotations

import base64
from functools import lru_cache


@lru_cache(maxsize=8)
def dkim_key_pair(bits: int = 2048) -> tuple[bytes, str]:
    """``(private key as PEM, record text)``; made once a process and length."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
