"""A message as it arrives after DATA: pieces in, the message out, dots taken off (RFC 5321 §4.5.2).

Only CRLF, dot, CRLF ends a message; a lone LF or CR never does, so nothing can be smuggled in behind one. Lines are not
looked at here: :func:`mailops.smtp.checks.check_data` says what is wrong with them, and in which one.
"""

from __future__ import annotations

_END = b"\r\n.\r\n"


class Upload:
    """Collects one message of at most ``limit`` octets; what is too large is read to its end and forgotten."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._seen = 0  # octets that no end can begin in any more
        self.complete = False
        self.too_large = False
        self.dropped = False
        self.rest = b""

    @property
    def size(self) -> int:
        """Octets held."""
        return len(self._data)

    def feed(self, piece: bytes) -> None:
        """Take what came; ``complete`` says whether the end was in it, ``rest`` what came after it."""
        data = self._data
        data += piece
        at = data.find(_END, max(0, self._seen - len(_END)))
        if data.startswith(_END[2:]) and not self._forgot:  # an empty message
            at, end = 0, len(_END) - 2
        elif at >= 0:
            at, end = at + 2, at + len(_END)
        else:
            self._seen = len(data)
            if len(data) > self._limit + len(_END):
                self.too_large = True
            if self._forgot:
                del data[: -len(_END)]
                self._seen = len(data)
            return
        self.complete = True
        self.rest = bytes(data[end:])
        del data[at:]
        self.too_large = self.too_large or len(data) > self._limit

    @property
    def _forgot(self) -> bool:
        return self.too_large or self.dropped

    def drop(self) -> None:
        """Read to the end, keep nothing."""
        self.dropped = True

    def message(self) -> bytes:
        """The message without the dots that the client added; once."""
        data = self._data
        self._data = bytearray()
        if data.startswith(b"."):
            del data[0]
        if data.find(b"\r\n.") >= 0:
            data = data.replace(b"\r\n.", b"\r\n")
        return bytes(data)
