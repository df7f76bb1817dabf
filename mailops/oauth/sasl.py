"""Signing in to IMAP and POP3 with a token; the SASL strings are the SMTP part's own.

IMAP: ``AUTHENTICATE`` with the blob after the continuation (RFC 3501 section 6.2.2), an error challenge is answered
with an empty line (XOAUTH2) or ``^A`` (OAUTHBEARER, RFC 7628 section 3.2.3), then the tagged NO comes. POP3: ``AUTH
XOAUTH2`` alone, the blob after the ``+`` (RFC 5034); a SASL line of POP3 may be 255 octets, so never in one line.
"""

from __future__ import annotations

import base64
import binascii
import imaplib
import poplib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import AuthError
from ..providers.refusals import explain_reply
from ..secrets import redact
from ..smtp.auth import Answer, challenge_text, login_on_the_wire, oauthbearer, xoauth2

if TYPE_CHECKING:
    pass

Token = Callable[[bool], str]
"""Gives an access token; the argument says that the last one was refused."""


def _steps(mechanism: str, user: str, token: str, host: str, port: int) -> tuple[bytes, Answer]:
    login = login_on_the_wire(user)
    first, answer = xoauth2(login, token) if mechanism == "XOAUTH2" else oauthbearer(login, token, host, port)
    assert first is not None
    return first, answer


def pick(offered: list[str]) -> str | None:
    """XOAUTH2 where it is offered (both providers know it), else OAUTHBEARER."""
    names = [name.upper() for name in offered]
    return next((name for name in ("XOAUTH2", "OAUTHBEARER") if name in names), None)


def imap_sign_in(imap: imaplib.IMAP4, user: str, token: Token, *, provider: str | None = None) -> str:
    """Sign in, with one more try after a refused token; gives the mechanism used.

    Raises :class:`AuthError` with the catalogue's row and the server's words.
    """
    offered = [c.removeprefix("AUTH=") for c in imap.capabilities if c.startswith("AUTH=")]
    mechanism = pick(offered)
    if mechanism is None:
        raise _not_offered("IMAP", offered)
    said = ""
    for refused in (False, True):
        first, answer = _steps(mechanism, user, token(refused), imap.host, imap.port)
        told: list[str] = []
        waiting = [first]

        def respond(
            challenge: bytes, answer: Answer = answer, told: list[str] = told, waiting: list[bytes] = waiting
        ) -> bytes:
            if waiting:
                return waiting.pop()
            told.append(challenge_text(challenge))
            return answer(challenge)

        try:
            imap.authenticate(mechanism, respond)
            return mechanism
        except imaplib.IMAP4.abort as error:
            raise _refused("imap", provider, user, mechanism, f"BYE {error}", told) from error
        except imaplib.IMAP4.error as error:
            said = f"NO {_words(error)}"
            if refused or "[UNAVAILABLE]" in said:  # RFC 5530: the server's own trouble, the token was not judged
                raise _refused("imap", provider, user, mechanism, said, told) from error
    raise AssertionError(said)


def pop_sign_in(pop: poplib.POP3, user: str, token: Token, *, provider: str | None = None) -> str:
    """As :func:`imap_sign_in`, for POP3."""
    offered = pop.capa().get("SASL", [])
    mechanism = pick(offered)
    if mechanism is None:
        raise _not_offered("POP3", offered)
    for refused in (False, True):
        first, answer = _steps(mechanism, user, token(refused), pop.host, pop.port)
        told: list[str] = []
        try:
            reply = pop._shortcmd(f"AUTH {mechanism}")  # type: ignore[attr-defined]  # poplib has no public way to send AUTH
            reply = pop._shortcmd(base64.b64encode(first).decode())  # type: ignore[attr-defined]  # as above
            if reply.startswith(b"+ "):
                told.append(challenge_text(_decoded(reply[2:])))
                pop._shortcmd(base64.b64encode(answer(b"")).decode())  # type: ignore[attr-defined]  # as above
            return mechanism
        except poplib.error_proto as error:
            if refused:
                raise _refused("pop", provider, user, mechanism, _words(error), told) from error
    raise AssertionError("unreachable")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return text


def _words(error: Exception) -> str:
    part = error.args[0] if error.args else ""
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)


def _not_offered(protocol: str, offered: list[str]) -> AuthError:
    return AuthError(
        f"The {protocol} server offers no sign-in with a token here.",
        code="auth.mechanism",
        facts={"offered": offered},
        fix="Check host and port; the connection must be protected before the server offers it.",
    )


def _refused(at: str, provider: str | None, user: str, mechanism: str, said: str, told: list[str]) -> AuthError:
    row = explain_reply(provider, at, said) or (explain_reply(provider, at, " ".join(told)) if told else None)
    facts = {
        "user": user,
        "mechanism": mechanism,
        "said": redact(said)[:300],
        "challenge": redact("; ".join(told))[:300],
    }
    if "[UNAVAILABLE]" in said:
        return AuthError(
            "The mail server cannot check sign-ins at the moment.",
            code="auth.unavailable",
            facts={**facts, "class": "retry"},
            fix="Wait and try again; the token was not refused.",
        )
    if row is None:
        return AuthError(
            "The server refused the token.", code="auth.refused", facts=facts, fix="Connect the mailbox again."
        )
    return AuthError(
        row.cause, code=f"auth.{row.id}", facts={**facts, "row": row.id, "class": row.kind, "who": row.who}, fix=row.fix
    )
