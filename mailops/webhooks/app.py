"""The ASGI door: ``POST /webhooks/PROVIDER``. Bounded, and it tells the outside no more than it must.

Answers: 200 taken (also when repeated), 400 unreadable, 401 not proven, 404, 405, 413 too large, 503 not stored (the
provider tries again).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from ..errors import AuthError, InputRefused, MailopsError
from .service import PROOF, Webhooks
from .verify import FetchCertificate, fetch_certificate

if TYPE_CHECKING:
    from ..ops import Ops

MAX_BODY = 4 * 1024 * 1024
Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def app(ops: Ops, *, fetch: FetchCertificate = fetch_certificate, max_body: int = MAX_BODY) -> Asgi:
    """An ASGI application that takes the webhooks of a workspace."""
    hooks = Webhooks(ops, fetch=fetch)

    async def door(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        status, answer = await _handle(hooks, scope, receive, max_body)
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return door


async def _handle(
    hooks: Webhooks, scope: Message, receive: Callable[[], Awaitable[Message]], max_body: int
) -> tuple[int, dict[str, object]]:
    provider = str(scope["path"]).removeprefix("/webhooks/")
    if provider not in PROOF or not str(scope["path"]).startswith("/webhooks/"):
        return 404, {"error": "there is nothing here"}
    if scope["method"] != "POST":
        return 405, {"error": "events are posted"}
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    body = await _body(receive, max_body)
    if body is None:
        return 413, {"error": f"more than {max_body} bytes"}
    try:
        done = await asyncio.to_thread(hooks.receive, provider, headers, body)
    except (AuthError, InputRefused) as error:
        _log(provider, error)
        return (401, {"error": "not proven"}) if isinstance(error, AuthError) else (400, {"error": "not readable"})
    except MailopsError as error:
        _log(provider, error)
        return 503, {"error": "not stored; try again"}
    return 200, {"events": done.events, "repeated": done.repeated}


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

    sys.stderr.write(redact(f"Webhook {provider}: {error.message} [{error.code}] {error.facts}\n"))
