"""What a webhook's proof proves: a token counts once and not for long, guesses are slowed, ids are told apart whole."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mailops import Ops
from mailops.errors import AuthError
from mailops.webhooks import Webhooks, app

KEY = "user:pass-word"


@pytest.fixture
def world(ops_on: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Ops:
    ops = ops_on()
    monkeypatch.setenv("HOOK_SECRET", KEY)
    for name in ("mailjet.login", "postmark.login", "mailgun.key"):
        ops.set_parameter(f"mailops.webhook.{name}", "env:HOOK_SECRET")
    return ops


def mailgun(
    ops: Ops, address: str, *, token: str = "t" * 50, age: timedelta = timedelta(0), number: str = "1"
) -> bytes:
    stamp = str(int((ops.clock.now() - age).timestamp()))
    signature = hmac.new(KEY.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    data = {
        "event": "complained",
        "id": f"e{number}",
        "recipient": address,
        "message": {"headers": {"message-id": "m@x"}},
    }
    return json.dumps(
        {"signature": {"timestamp": stamp, "token": token, "signature": signature}, "event-data": data}
    ).encode()


def with_data(body: bytes, **changed: Any) -> bytes:
    whole = json.loads(body)
    whole["event-data"].update(changed)
    return json.dumps(whole).encode()


def addresses(ops: Ops) -> set[str]:
    return {a for a in ("ceo@x.example", "a@x.example") if ops.suppressions.find(a) is not None}


def test_a_token_of_mailgun_opens_the_door_for_one_body(world: Ops) -> None:
    hooks = Webhooks(world)
    first = mailgun(world, "a@x.example")
    assert hooks.receive("mailgun", {}, first).events == 1
    assert hooks.receive("mailgun", {}, first).repeated == 1
    for other in (
        with_data(first, recipient="ceo@x.example"),
        with_data(first, recipient="ceo@x.example", id="e2"),
        with_data(first, id="e3"),
    ):
        with pytest.raises(AuthError):
            hooks.receive("mailgun", {}, other)
    assert hooks.receive("mailgun", {}, mailgun(world, "b@x.example", token="u" * 50, number="9")).events == 1
    assert "ceo@x.example" not in addresses(world)


@pytest.mark.parametrize(
    ("age", "taken"), [(timedelta(hours=8), True), (timedelta(hours=10), False), (timedelta(days=2), False)]
)
def test_a_proof_that_binds_no_body_grows_old_soon(world: Ops, age: timedelta, taken: bool) -> None:
    body = mailgun(world, "a@x.example", age=age)
    if taken:
        assert Webhooks(world).receive("mailgun", {}, body).events == 1
        return
    with pytest.raises(AuthError):
        Webhooks(world).receive("mailgun", {}, body)


def test_every_proof_that_signs_but_binds_no_body_is_used_once() -> None:
    from mailops.webhooks.verify import PROOFS

    for provider, proof in PROOFS.items():
        assert proof.binds_body or proof.once or proof.parameter == "login", provider


class Door:
    """The ASGI door, one for all calls."""

    def __init__(self, ops: Ops) -> None:
        self.app = app(ops)

    def __call__(self, word: str, client: str = "203.0.113.5", provider: str = "postmark") -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"[]" if provider == "mailjet" else b"{}"}

        async def send(message: Any) -> None:
            sent.append(message)

        login = base64.b64encode(word.encode()).decode()
        headers = [
            (b"authorization", f"Basic {login}".encode()),
            (b"x-forwarded-for", f"198.51.100.1, {client}".encode()),
        ]
        scope = {"type": "http", "path": f"/webhooks/{provider}", "method": "POST", "headers": headers, "client": ("127.0.0.1", 1)}  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        return int(sent[0]["status"])


@pytest.mark.parametrize("provider", ["postmark", "mailjet"])
def test_who_guesses_a_login_is_slowed_and_nobody_else(world: Ops, provider: str) -> None:
    door = Door(world)
    codes = [door(f"user:guess{n}", provider=provider) for n in range(14)]
    assert codes == [401] * 10 + [429] * 4
    assert door(KEY, provider=provider) == 429
    assert door(KEY, client="203.0.113.77", provider=provider) == 200


def test_a_websocket_and_a_body_without_end_are_told_no(world: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def connects() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(app(world)({"type": "websocket", "path": "/webhooks/mailjet", "headers": []}, connects, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]

    async def never() -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(sys.modules["mailops.webhooks.app"], "BODY_SECONDS", 0.1)
    scope = {"type": "http", "path": "/webhooks/mailjet", "method": "POST", "headers": []}
    asyncio.run(asyncio.wait_for(app(world)(scope, never, send), 5))
    assert sent[1]["status"] == 408


def test_a_repeated_event_counts_once_on_either_database(world: Ops) -> None:
    headers = {"authorization": "Basic " + base64.b64encode(KEY.encode()).decode()}
    body = json.dumps([{"event": "spam", "time": 1, "Message_GUID": "g", "email": "a@x.example"}]).encode()
    done = [Webhooks(world).receive("mailjet", headers, body) for _ in range(3)]
    assert [(one.events, one.repeated) for one in done] == [(1, 0), (0, 1), (0, 1)]


@pytest.mark.parametrize("long", [150, 190, 248])
def test_events_whose_ids_begin_alike_count_apart(world: Ops, long: int) -> None:
    address = "a" * (long - len("@x.example")) + "@x.example"
    address = f"{address[:60]}@{'b' * 60}.{'c' * 60}.{'d' * max(1, long - 190)}.example"
    events = [
        {"event": "bounce", "time": time, "Message_GUID": "g" * 40, "email": address, "hard_bounce": True, "error": "user unknown"}
        for time in (1, 2)
    ]  # fmt: skip
    headers = {"authorization": "Basic " + base64.b64encode(KEY.encode()).decode()}
    done = Webhooks(world).receive("mailjet", headers, json.dumps(events).encode())
    assert (done.events, done.repeated) == (2, 0)
