"""Serves the webhook door on loopback, inside the event loop of ``mailops serve``."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .app import app

if TYPE_CHECKING:
    from ..ops import Ops


class WebhookServer:
    """uvicorn with the webhook app on 127.0.0.1; ``port`` 0 takes a free one. Signals stay with the caller."""

    def __init__(self, ops: Ops, port: int) -> None:
        self._ops, self.port = ops, port

    async def start(self) -> None:
        """Bind and accept. Raises :class:`ConfigError` when the port is taken."""
        import uvicorn

        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", self.port))
        except (OSError, OverflowError) as error:
            sock.close()
            raise ConfigError(
                "The webhooks' port cannot be used.",
                code="config.webhook_port",
                facts={"port": self.port, "reason": str(error)},
                fix="Choose another with --webhooks (0 = any free one).",
            ) from error
        self.port = int(sock.getsockname()[1])
        config = uvicorn.Config(
            app(self._ops),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=100,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=65_536,
        )
        config.load()
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._sockets = [sock]
        await self._server.startup(sockets=self._sockets)
        self._ticks = asyncio.create_task(self._server.main_loop())

    async def ended(self) -> None:
        """Wait until it ends by itself, which it should not; raises what it ended with."""
        await asyncio.shield(self._ticks)

    async def stop(self) -> None:
        """Finish what is under way (at most 5 s) and close."""
        self._server.should_exit = True
        await self._ticks
        self._server.config.timeout_graceful_shutdown = 5
        await self._server.shutdown(sockets=self._sockets)
