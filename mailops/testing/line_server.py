"""What the loopback IMAP and POP3 peers share: a listener on 127.0.0.1, a thread a connection, lines, TLS, a log."""

from __future__ import annotations

import socket
import ssl
import threading
from types import TracebackType
from typing import Any, Self

from .smtp_core import ServerTls

MAX_LINE = 65_536
IDLE_SECONDS = 30.0


class Gone(Exception):
    """The client went away, or sent what no client sends."""


class LineSession:
    """One connection: reads lines, writes bytes, can be protected."""

    def __init__(self, server: LineServer, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        self._buffer = b""
        self._write_lock = threading.Lock()

    def run(self) -> None:
        """The dialogue; ends by returning or by :class:`Gone`."""
        raise Gone

    def read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._fill(MAX_LINE)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def read_bytes(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill(count + MAX_LINE)
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _fill(self, most: int) -> None:
        if len(self._buffer) > most:
            raise Gone
        try:
            data = self.sock.recv(65_536)
        except (OSError, ValueError) as error:
            raise Gone from error
        if not data:
            raise Gone
        self._buffer += data

    def write(self, data: bytes) -> None:
        try:
            with self._write_lock:
                self.sock.sendall(data)
        except (OSError, ValueError) as error:
            raise Gone from error

    def start_tls(self) -> None:
        """Protect the connection; anything the client sent before counts no more."""
        self._buffer = b""
        try:
            self.sock = self.server.context().wrap_socket(self.sock, server_side=True)
        except (OSError, ssl.SSLError) as error:
            raise Gone from error
        self.tls = True
        self.server.swap(self)


class LineServer:
    """A running peer. ``tls`` says whether connections are protected at once or by STARTTLS/STLS."""

    session_type: type[LineSession] = LineSession

    def __init__(self, *, tls: ServerTls | None = None, port: int = 0) -> None:
        self.tls = tls
        self.host = "127.0.0.1"
        self.port = port
        self.log: list[str] = []  # commands without their secrets, oldest first
        self._listener: socket.socket | None = None
        self._open: dict[LineSession, threading.Thread] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def context(self) -> ssl.SSLContext:
        assert self.tls is not None
        return self.tls.context()

    def starttls_offered(self, session: LineSession) -> bool:
        return self.tls is not None and self.tls.mode == "starttls" and not session.tls

    def start(self) -> Self:
        """Bind and serve; ``with`` calls it."""
        self._listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"{type(self).__name__}-{self.port}", daemon=True)
        self._thread.start()
        return self

    def _accept(self) -> None:
        listener = self._listener
        assert listener is not None
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(IDLE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        session: LineSession | None = None
        try:
            if self.tls is not None and self.tls.mode == "tls":
                sock = self.context().wrap_socket(sock, server_side=True)
            session = self.session_type(self, sock)
            with self._lock:
                self._open[session] = threading.current_thread()
            session.run()
        except (Gone, OSError):
            pass
        finally:
            with self._lock:
                if session is not None:
                    self._open.pop(session, None)
            (session.sock if session is not None else sock).close()

    def swap(self, session: LineSession) -> None:
        """Hook of STARTTLS; the session's socket has changed."""

    def drop_all(self) -> None:
        """Cut every open connection, as a server that restarts does."""
        with self._lock:
            sessions = list(self._open.items())
        for session, _ in sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for _, thread in sessions:
            thread.join(timeout=10)

    def close(self) -> None:
        """Stop listening, cut open connections, end the threads."""
        if self._listener is not None:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.drop_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> Any:
        self.close()
