"""The wire under an SMTP session: bounded replies, a deadline for every step, and a transcript that holds no secret.

The reader is our own because it is the hot path: the replies of a whole pipelined group come out of one ``recv``.
A reply may take at most ``limit`` seconds from the moment it is asked for, however slowly its bytes drip in
(RFC 5321 §4.5.3.2), at most :data:`MAX_LINE` octets a line and :data:`MAX_LINES` lines. Anything that is no reply at
all raises :class:`WireError` of kind ``garbled`` with the bytes shown safely; after that the connection is not in step
any more and must be dropped.

The transcript keeps references to the bytes that passed, so recording costs one list append; it is rendered only when
somebody asks. The message body is recorded as its length, sign-in lines as ``***``.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterable
from typing import NamedTuple

MAX_LINE = 4096
MAX_LINES = 200
MAX_NOTES = 400
_SHOWN = 200
_KNOWN = 64
_LINE = re.compile(rb"[2-5][0-9]{2}(?:[ -]|\Z)")
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")


class Reply(NamedTuple):
    """A server's answer: three-digit code, and the text lines joined by newlines (codes taken off)."""

    code: int
    text: str

    @property
    def split(self) -> tuple[str | None, str]:
        """Enhanced status code (RFC 2034, only when its class fits the reply code) and the text without it."""
        hit = _ENHANCED.match(self.text)
        if not hit or hit.group(1)[0] != str(self.code)[0]:
            return None, self.text
        prefix = hit.group(1)
        if "\n" not in self.text:
            return prefix, self.text[hit.end() :]
        return prefix, "\n".join(line.removeprefix(prefix).lstrip() for line in self.text.split("\n"))

    def __str__(self) -> str:
        return f"{self.code} {' '.join(self.text.split())}".strip()


class WireError(Exception):
    """The connection gave no usable answer. ``kind`` is ``closed``, ``timeout``, ``garbled`` or ``tls``."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def visible(raw: bytes, limit: int = _SHOWN) -> str:
    """Foreign bytes as one printable line: control and non-ASCII octets escaped, cut at ``limit`` octets."""
    shown = "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in raw[:limit])
    return shown + ("…" if len(raw) > limit else "")


def printable(raw: bytes) -> str:
    """A reply line's text: UTF-8 where it is (RFC 6531 §3.7.4.1), control characters replaced."""
    text = raw.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)


def cut(sock: socket.socket) -> None:
    """Shut a socket down in both directions, also while another thread connects, reads or writes on it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's, which would take TLS away under the reader


class Wire:
    """A connected socket with an SMTP reply reader on it. All limits are seconds."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.protected = isinstance(sock, ssl.SSLSocket)
        self.notes: list[tuple[str, bytes | str | Reply]] = []
        self.secrets: list[str] = []
        self._buffer = b""
        self._at = 0
        self._timeout: float | None = None
        self.handed = False  # a message is out with its final dot, and its answer is not read
        self._known: dict[bytes, Reply] = {}  # servers say the same few lines over and over

    def cut(self) -> None:
        """End the connection from another thread: whoever waits on it hears at once that it is closed."""
        cut(self.sock)

    @property
    def pending(self) -> bool:
        """Whether octets were received that no step has asked for."""
        return self._at < len(self._buffer)

    def write(self, data: bytes, limit: float, note: bytes | str | None = None) -> None:
        """Send everything within ``limit``. ``note`` stands in the transcript instead of the octets."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(("C", data if note is None else note))
        try:
            if not self.protected:
                if limit != self._timeout:
                    self.sock.settimeout(limit)
                    self._timeout = limit
                self.sock.sendall(data)  # its time-out is for the whole call
                return
            view, deadline = memoryview(data), time.monotonic() + limit
            while view:
                self._wait_at_most(deadline - time.monotonic())
                view = view[self.sock.send(view[:65536]) :]
        except TimeoutError:
            raise WireError("timeout", f"the server took no more data for {limit:g} s") from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise WireError("closed", "the server closed the connection while we were sending") from None
        except ssl.SSLError as error:
            raise WireError("tls", f"the protected connection broke: {error.reason or error}") from error
        except OSError as error:
            raise WireError("closed", f"the connection broke while sending: {error.strerror or error}") from error

    def read(self, limit: float) -> Reply:
        """The next reply, complete within ``limit`` seconds."""
        lines: list[str] = []
        deadline = None
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end < 0:
                waiting = self._buffer[self._at :]
                if len(waiting) > MAX_LINE:
                    raise self._garbled(waiting, "a reply line without end")
                if deadline is None:
                    deadline = time.monotonic() + limit
                    self._wait_at_most(limit)
                else:
                    self._wait_at_most(deadline - time.monotonic(), limit)
                self._fill(waiting, limit)
                continue
            line = self._buffer[self._at : end]
            self._at = end + 1
            if not lines and (reply := self._known.get(line)) is not None:
                if len(self.notes) < MAX_NOTES:
                    self.notes.append(("S", reply))
                return reply
            whole = line
            if line.endswith(b"\r"):
                line = line[:-1]
            if not _LINE.match(line) or len(line) > MAX_LINE:
                raise self._garbled(line, "something that is no SMTP reply")
            lines.append(printable(line[4:]))
            if line[3:4] != b"-":
                reply = Reply(int(line[:3]), "\n".join(lines))
                if len(lines) == 1 and len(self._known) < _KNOWN:
                    self._known[whole] = reply
                if len(self.notes) < MAX_NOTES:
                    self.notes.append(("S", reply))
                return reply
            if len(lines) >= MAX_LINES:
                raise self._garbled(line, f"a reply of more than {MAX_LINES} lines")

    def start_tls(self, context: ssl.SSLContext, host: str, limit: float) -> None:
        """Put TLS on the connection; certificate errors come through as they are (:mod:`ssl`)."""
        self.sock.settimeout(limit)  # the handshake as a whole must end within it
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.protected = True
        self._timeout = limit
        self._buffer, self._at = b"", 0

    def transcript(self) -> tuple[str, ...]:
        """What passed, one line each (``C: …``, ``S: …``), secrets masked."""
        shown = []
        for side, note in self.notes:
            if isinstance(note, Reply):
                text = f"{note.code} {note.text}"
            else:
                text = "\n".join(map(printable, note.splitlines())) if isinstance(note, bytes) else note
            shown += [f"{side}: {self.redact(line[:1000])}" for line in text.rstrip("\n").split("\n")]
        if len(self.notes) >= MAX_NOTES:
            shown.append("… (the rest was not kept)")
        return tuple(shown)

    def redact(self, text: str) -> str:
        """The text with every known secret masked, should the server have echoed one."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def keep_secret(self, values: Iterable[str]) -> None:
        """Mask these values in everything rendered from now on (very short ones would mask innocent text)."""
        self.secrets += [value for value in values if len(value) >= 4]

    def close(self) -> None:
        try:
            self.sock.close()
        except OSError:
            pass

    def _wait_at_most(self, seconds: float, limit: float | None = None) -> None:
        if seconds <= 0:
            raise WireError("timeout", f"no complete answer within {limit or 0:g} s") if limit else TimeoutError()
        if seconds != self._timeout:
            self.sock.settimeout(seconds)
            self._timeout = seconds

    def _fill(self, waiting: bytes, limit: float) -> None:
        try:
            chunk = self.sock.recv(16384)
        except TimeoutError:
            raise WireError("timeout", f"no complete answer within {limit:g} s") from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            raise WireError("closed", "the server closed the connection") from None
        except ssl.SSLError as error:
            raise WireError("tls", f"the protected connection broke: {error.reason or error}") from error
        except OSError as error:
            raise WireError("closed", f"the connection broke: {error.strerror or error}") from error
        if not chunk:
            detail = f" after {visible(waiting)!r}" if waiting else ""
            raise WireError("closed", f"the server closed the connection{detail}")
        self._buffer = waiting + chunk if waiting else chunk
        self._at = 0

    def _garbled(self, raw: bytes, what: str) -> WireError:
        self.notes.append(("S", visible(raw)))
        return WireError("garbled", f"the server sent {what}: {visible(raw)!r}")
