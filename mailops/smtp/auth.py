"""Signing in: the SASL exchanges of SMTP AUTH (RFC 4954).

PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195) for passwords, EXTERNAL (RFC 4422 appendix A) for client certificates,
XOAUTH2 and OAUTHBEARER (RFC 7628) for access tokens. Each mechanism is a function from what it needs to the first
response and the answers to challenges; :func:`exchange` does the talking.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Sequence

from ..model.address import ascii_domain
from .wire import Reply, Wire

Answer = Callable[[bytes], bytes]
CANCEL = b"*"


def login_on_the_wire(login: str) -> str:
    """The login with the domain part as A-labels when it is an address; otherwise untouched."""
    local, at, domain = login.rpartition("@")
    return f"{local}@{ascii_domain(domain) or domain}" if at else login


def pick_password_mechanism(offered: Sequence[str], protected: bool) -> list[str]:
    """Mechanisms to try, best first. On an unprotected loopback line the one that hides the password comes first."""
    order = ["PLAIN", "LOGIN", "CRAM-MD5"] if protected else ["CRAM-MD5", "PLAIN", "LOGIN"]
    return [name for name in order if name in offered]


def plain(login: str, password: str) -> tuple[bytes | None, Answer]:
    return b"\0" + login.encode() + b"\0" + password.encode(), lambda _challenge: CANCEL


def login_steps(login: str, password: str) -> tuple[bytes | None, Answer]:
    """LOGIN has no standard; the server asks twice, and the order user name, password is universal."""
    answers = iter([login.encode(), password.encode()])
    return None, lambda _challenge: next(answers, CANCEL)


def cram_md5(login: str, password: str) -> tuple[bytes | None, Answer]:
    def answer(challenge: bytes) -> bytes:
        return login.encode() + b" " + hmac.new(password.encode(), challenge, "md5").hexdigest().encode()

    return None, answer


def external(login: str | None) -> tuple[bytes | None, Answer]:
    return (login or "").encode(), lambda _challenge: CANCEL


def xoauth2(login: str, token: str) -> tuple[bytes | None, Answer]:
    """``user=<login>^Aauth=Bearer <token>^A^A``; an error challenge is answered with an empty line."""
    return f"user={login}\x01auth=Bearer {token}\x01\x01".encode(), lambda _challenge: b""


def oauthbearer(login: str, token: str, host: str, port: int) -> tuple[bytes | None, Answer]:
    """RFC 7628 §3.1; an error challenge is answered with a single ``^A`` (§3.2.3)."""
    name = login.replace("=", "=3D").replace(",", "=2C")  # saslname, RFC 5801 §4
    first = f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
    return first.encode(), lambda _challenge: b"\x01"


def exchange(wire: Wire, name: str, first: bytes | None, answer: Answer, limit: float) -> tuple[Reply, str]:
    """Run one mechanism. Returns the final reply and the text of an OAuth error challenge (empty when there was none).

    A first response that would make the command line longer than 512 octets waits for the server's empty challenge,
    as RFC 4954 §4 asks.
    """
    opening = b"AUTH " + name.encode()
    told = ""
    encoded = b"=" if first == b"" else base64.b64encode(first) if first is not None else None
    if encoded is not None and len(opening) + len(encoded) + 3 <= 512:
        wire.write(opening + b" " + encoded + b"\r\n", limit, note=f"AUTH {name} ***")
        waiting: bytes | None = None
    else:
        wire.write(opening + b"\r\n", limit)
        waiting = first
    for _ in range(5):
        reply = wire.read(limit)
        if reply.code != 334:
            return reply, told
        try:
            challenge = base64.b64decode(reply.text.strip(), validate=True)
        except (binascii.Error, ValueError):
            challenge = b""
        if waiting is not None:
            response, waiting = waiting, None
        else:
            if name in ("XOAUTH2", "OAUTHBEARER"):
                told = challenge_text(challenge)
            response = answer(challenge)
        line = response if response == CANCEL else base64.b64encode(response)
        wire.write(line + b"\r\n", limit, note="***" if response != CANCEL else "*")
    return Reply(500, "the sign-in dialogue did not come to an end"), told


def challenge_text(challenge: bytes) -> str:
    """The error JSON of XOAUTH2/OAUTHBEARER as ``key=value`` words; other bytes as text, bounded."""
    text = challenge[:1000].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict):
        text = ", ".join(f"{key}={said[key]}" for key in list(said)[:6])
    return "".join(c if c.isprintable() else " " for c in text).strip()
