"""Serves HTTP on loopback beside the listeners of ``mailops serve``: providers' webhooks, ``/healthz``, ``/metrics``.

uvicorn runs in a thread with a loop of its own, by what its documentation offers (``Server.run``, ``should_exit``,
``callback_notify``): there it leaves the process's signals alone, and HTTP and SMTP do not hold each other up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from ..errors import ConfigError, MailopsError
from .app import app

if TYPE_CHECKING:
    from ..ops import Ops


def bound(port: int) -> socket.socket:
    """A socket on 127.0.0.1 that does not listen yet; port 0 takes a free one. Raises :class:`ConfigError`
    ``config.webhook_port``."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        sock.close()
        raise ConfigError(
            "The webhooks' port cannot be used.",
            code="config.webhook_port",
            facts={"port": port, "reason": str(error)},
            fix="Choose another with --webhooks (0 = any free one).",
        ) from error
    return sock


class WebhookServer:
    """uvicorn with our application; on ``sock``, else on ``port`` of 127.0.0.1, where 0 takes a free one."""

    def __init__(self, ops: Ops, port: int = 0, *, sock: socket.socket | None = None) -> None:
        self._ops, self.port, self._sock = ops, port, sock
        self._heard = ops.clock.monotonic()
        self._error: BaseException | None = None

    async def start(self) -> None:
        """Accept. Raises :class:`ConfigError` when the port is taken."""
        import uvicorn

        sock = self._sock or bound(self.port)
        self.port = int(sock.getsockname()[1])
        config = uvicorn.Config(
            app(self._ops),
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=100,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=65_536,
            callback_notify=self._beat,
            timeout_notify=1,
        )
        self._server = uvicorn.Server(config)
        self._ends = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(sock, loop), name="http", daemon=True)
        self._thread.start()
        while not self._server.started and not self._ends.done():
            await asyncio.sleep(0.01)
        if self._ends.done():
            await self.ended()

    def _run(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._server.run(sockets=[sock])
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._ends.done():
            self._ends.set_result(None)

    async def _beat(self) -> None:
        self._heard = self._ops.clock.monotonic()

    def silent(self, seconds: float) -> bool:
        """Whether its loop has stood still for so long."""
        return self._ops.clock.monotonic() - self._heard > seconds + 2

    async def ended(self) -> None:
        """Wait until it ends by itself, which it should not; raises what it ended with."""
        await asyncio.shield(self._ends)
        raise self._error or MailopsError("The HTTP listener ended.", code="serve.part_ended")

    async def stop(self) -> None:
        """Finish what is under way (at most 5 s) and close."""
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, 7.0)
