"""The ASGI door: ``POST /webhooks/PROVIDER``, ``/unsubscribe/TOKEN``, ``GET /healthz`` and ``/metrics``. Bounded, and
it tells the outside no more than it must.

Answers: 200 taken (also when repeated), 400 unreadable, 401 not proven, 404, 405, 408 the body took too long, 413 too
large, 429 too many wrong logins, 503 not stored (the provider tries again).

A login does not bind the body, so it must not be guessed: ten wrong ones in a minute from one client bar it for that
minute, whatever it tries. The client is the one that the reverse proxy names last in ``X-Forwarded-For``; a call from
this machine without that field is never barred by others' guesses, as it has none beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from ..campaigns.unsubscribe import PATH as UNSUBSCRIBE
from ..errors import AuthError, InputRefused, MailopsError
from ..model.text import harmless
from ..submission.limits import Limits, Meter, Turn
from . import leaving
from .health import PATHS
from .health import answer as health
from .service import PROOF, Webhooks
from .verify import FetchCertificate, fetch_certificate

if TYPE_CHECKING:
    from ..ops import Ops

log = logging.getLogger(__name__)
MAX_BODY = 4 * 1024 * 1024
BODY_SECONDS = 30.0
_NO_MORE: tuple[tuple[bytes, bytes], ...] = ()
Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def app(ops: Ops, *, fetch: FetchCertificate = fetch_certificate, max_body: int = MAX_BODY) -> Asgi:
    """An ASGI application that takes the webhooks of a workspace."""
    hooks = Webhooks(ops, fetch=fetch)
    meter = Meter(Limits(), ops.clock)

    async def door(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        kind, more = "application/json", _NO_MORE
        if str(scope["path"]).startswith(UNSUBSCRIBE):
            status, kind, body, more = await _leaving(ops, scope, receive)
        elif scope["path"] in PATHS:
            names = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
            status, kind, body = await asyncio.to_thread(health, ops, scope["path"], scope["method"], names)
        else:
            status, answer = await _handle(hooks, meter, scope, receive, max_body)
            body = json.dumps(answer).encode()
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return door


async def _leaving(
    ops: Ops, scope: Message, receive: Callable[[], Awaitable[Message]]
) -> tuple[int, str, bytes, tuple[tuple[bytes, bytes], ...]]:
    """A link to unsubscribe: its page, whoever asks."""
    text = "text/plain; charset=utf-8"
    try:
        body = await asyncio.wait_for(_body(receive, leaving.MOST), BODY_SECONDS)
    except TimeoutError:
        return 408, text, b"the body took too long", ()
    if body is None:
        return 413, text, b"too large", ()
    status, page = await asyncio.to_thread(leaving.answer, ops, str(scope["path"]), str(scope["method"]), body)
    return status, "text/html; charset=utf-8", b"" if scope["method"] == "HEAD" else page, leaving.HEADERS


async def _handle(
    hooks: Webhooks, meter: Meter, scope: Message, receive: Callable[[], Awaitable[Message]], max_body: int
) -> tuple[int, dict[str, object]]:
    provider = str(scope["path"]).removeprefix("/webhooks/")
    if provider not in PROOF or not str(scope["path"]).startswith("/webhooks/"):
        return 404, {"error": "there is nothing here"}
    if scope["method"] != "POST":
        return 405, {"error": "events are posted"}
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    try:
        body = await asyncio.wait_for(_body(receive, max_body), BODY_SECONDS)
    except TimeoutError:
        return 408, {"error": f"the body took longer than {BODY_SECONDS:g} s"}
    if body is None:
        return 413, {"error": f"more than {max_body} bytes"}
    client = _client(scope, headers)
    guessable = PROOF[provider] == "login"
    while guessable and (turn := meter.try_sign_in(client, provider)) is not Turn.GO:
        if turn is Turn.NO:
            return 429, {"error": "too many wrong logins; try again in a minute"}
        await asyncio.sleep(0.02)
    wrong = False
    try:
        done = await asyncio.to_thread(hooks.receive, provider, headers, body)
    except (AuthError, InputRefused) as error:
        wrong = isinstance(error, AuthError)
        _log(provider, error)
        return (401, {"error": "not proven"}) if isinstance(error, AuthError) else (400, {"error": "not readable"})
    except MailopsError as error:
        _log(provider, error)
        return 503, {"error": "not stored; try again"}
    finally:
        if guessable:
            meter.signed_in(client, provider, not wrong)
    return 200, {"events": done.events, "repeated": done.repeated}


def _client(scope: Message, headers: Mapping[str, str]) -> str:
    """Who calls: what the reverse proxy before us saw, which it appends; without one the peer."""
    told = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return told[:100] or str((scope.get("client") or ("unknown",))[0])


async def _body(receive: Callable[[], Awaitable[Message]], most: int) -> bytes | None:
    got = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(got)
        got += message.get("body", b"")
        if len(got) > most:
            return None
        if not message.get("more_body"):
            return bytes(got)


async def _lifespan(receive: Callable[[], Awaitable[Message]], send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _log(provider: str, error: MailopsError) -> None:
    from ..secrets import redact

    log.warning("Webhook %s: %s", provider, harmless(redact(f"{error.message} [{error.code}] {error.facts}")))
