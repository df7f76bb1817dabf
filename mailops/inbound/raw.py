"""A mail's bytes: in memory, or, where it is large, left in the file they came in and read piece by piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO, overload

from ..errors import InputRefused

LARGE = 2_000_000
"""Bytes from which on a mail in a file stays there. No reader looks further into one."""
PIECE = 1 << 20


class OnDisk:
    """The bytes of an open file, as far as they are asked for. Raises :class:`InputRefused` ``input.file_changed`` when
    the file has got shorter."""

    __slots__ = ("_file", "_size")

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, which: int) -> int: ...

    @overload
    def __getitem__(self, which: slice) -> bytes: ...

    def __getitem__(self, which: int | slice) -> int | bytes:
        if isinstance(which, int):
            return self._read(which % self._size, 1)[0]
        start, stop, step = which.indices(self._size)
        found = self._read(start, max(stop - start, 0))
        return found if step == 1 else found[::step]

    def __bytes__(self) -> bytes:
        return self._read(0, self._size)

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        found = self._file.read(size)
        if len(found) != size:
            raise InputRefused(
                "A file got shorter while it was read.",
                code="input.file_changed",
                facts={"bytes": self._size, "read": at + len(found)},
                fix="Hand it in again when whatever writes it has finished.",
            )
        return found


Raw = bytes | OnDisk


def pieces(raw: Raw, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes in pieces that fit into memory."""
    stop = len(raw) if end is None else end
    return (raw[at : min(at + PIECE, stop)] for at in range(begin, stop, PIECE))


def sha256_of(raw: Raw) -> str:
    """The digest of all bytes, hexadecimal."""
    found = hashlib.sha256()
    for piece in pieces(raw):
        found.update(piece)
    return found.hexdigest()
