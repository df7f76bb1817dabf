"""``mailops serve --webhooks`` takes a provider's call over HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from mailops import Ops
from mailops.errors import ConfigError
from mailops.webhooks.server import WebhookServer

BODY = json.dumps(
    {"RecordType": "Bounce", "ID": 4, "Type": "HardBounce", "Email": "gone@x.example", "Details": "550 user unknown"}
)


def test_a_webhook_over_http_is_recorded(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> None:
    ops = ops_factory()
    monkeypatch.setenv("HOOK_LOGIN", "hook:secret-word")
    ops.set_parameter("mailops.webhook.postmark.login", "env:HOOK_LOGIN")

    async def run() -> list[int]:
        server = WebhookServer(ops, 0)
        await server.start()
        try:
            with pytest.raises(ConfigError):
                await WebhookServer(ops, server.port).start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
                good = await client.post("/webhooks/postmark", content=BODY, auth=("hook", "secret-word"))
                bad = await client.post("/webhooks/postmark", content=BODY, auth=("hook", "wrong"))
                return [good.status_code, bad.status_code]
        finally:
            await server.stop()

    assert asyncio.run(asyncio.wait_for(run(), 30)) == [200, 401]
    assert ops.suppressions.find("gone@x.example") is not None
