"""Writes compound files (MS-CFB) small enough for a test: streams and storages, one FAT sector, a mini stream."""

from __future__ import annotations

import struct
from typing import Any

END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
Tree = dict[str, Any]


def compound(tree: Tree) -> bytes:
    """A compound file of streams (bytes) and storages (dictionaries)."""
    entries: list[list[Any]] = [["Root Entry", 5, FREE, FREE, b""]]  # name, type, child, sibling, data

    def add(children: Tree) -> int:
        first, before = FREE, None
        for name, value in children.items():
            entries.append(
                [name, 1 if isinstance(value, dict) else 2, FREE, FREE, b"" if isinstance(value, dict) else value]
            )
            number = len(entries) - 1
            if isinstance(value, dict):
                entries[number][2] = add(value)
            if before is None:
                first = number
            else:
                entries[before][3] = number
            before = number
        return first

    entries[0][2] = add(tree)
    sectors, fat, mini, minifat, places = [], [], b"", [], {}

    def put(data: bytes) -> int:
        if not data:
            return END
        first = len(sectors)
        pieces = [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        sectors.extend(pieces)
        fat.extend([*range(first + 1, first + len(pieces)), END])
        return first

    for number, (_, kind, _, _, data) in enumerate(entries):
        if kind == 2 and len(data) >= 4096:
            places[number] = put(data)
        elif kind == 2 and data:
            first = len(mini) // 64
            count = -(-len(data) // 64)
            places[number] = first
            mini += data.ljust(count * 64, b"\0")
            minifat += [*range(first + 1, first + count), END]
    root = put(mini)
    start_minifat = put(b"".join(struct.pack("<I", x) for x in minifat).ljust(-(-len(minifat) // 128) * 512, b"\xff"))
    directory = b""
    for number, (name, kind, child, sibling, data) in enumerate(entries):
        label = name.encode("utf-16-le") + b"\0\0"
        start, size = (root, len(mini)) if number == 0 else (places.get(number, END), len(data))
        directory += label.ljust(64, b"\0") + struct.pack("<HBBIII", len(label), kind, 1, FREE, sibling, child)
        directory += b"\0" * 36 + struct.pack("<IQ", start, size)
    start_directory = put(directory.ljust(-(-len(directory) // 512) * 512, b"\0"))
    assert len(sectors) < 127, "too large for one FAT sector"
    fat.append(FAT)
    sectors.append(b"".join(struct.pack("<I", x) for x in fat).ljust(512, b"\xff"))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
    head += struct.pack("<IIIIIIIII", 0, 1, start_directory, 0, 4096, start_minifat, -(-len(minifat) // 128), END, 0)
    head += struct.pack("<I", len(sectors) - 1) + b"\xff" * 432
    return head + b"".join(sectors)


def text(tag: int, value: str) -> Tree:
    return {f"__substg1.0_{tag:04X}001F": value.encode("utf-16-le")}


def fixed(head: int, **values: int) -> Tree:
    """The stream of fixed properties: tag (``t0C15``) to number."""
    rows = b"".join(struct.pack("<HHIQ", 3, int(name[1:], 16), 6, value) for name, value in values.items())
    return {"__properties_version1.0": b"\0" * head + rows}


def person(number: int, name: str, address: str, kind: int) -> Tree:
    made = {**text(0x3001, name), **text(0x39FE, address), **fixed(8, t0C15=kind)}
    return {f"__recip_version1.0_#{number:08X}": made}
