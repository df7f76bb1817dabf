"""Answers as evidence: what was asked, of whom, what came back, when, and how long it took.

An answer has four kinds of outcome and they never blur: *found*, *absent* (no such name, or no such type there),
*unknown* (time-out, SERVFAIL, refusal, a CNAME loop: the zone may well have the record), and *invalid* (the name cannot
exist). Unknown is never "missing".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast


class Status(StrEnum):
    """The outcome of one question."""

    FOUND = "found"
    NODATA = "nodata"  # the name exists, not with this type
    NXDOMAIN = "nxdomain"  # the name does not exist
    TIMEOUT = "timeout"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    ERROR = "error"  # another rcode, or an answer nobody can read
    LOOP = "loop"  # CNAME records that lead in a circle or never end
    INVALID = "invalid"  # a name that DNS cannot carry


_ABSENT = frozenset({Status.NODATA, Status.NXDOMAIN, Status.INVALID})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``values`` depends on ``type``: TXT and SPF a tuple of byte strings each, A/AAAA/NS/PTR/CNAME text,
    MX ``(preference, exchange)``, every other type the record in presentation form.

    ``chain`` holds the CNAME targets in order; ``ttl`` the smallest TTL on the way, in seconds (for absent answers the
    negative TTL of RFC 2308, where the server gave one). ``at`` is Unix time, ``ms`` the time until the answer.
    """

    name: str
    type: str
    status: Status
    values: tuple[object, ...] = ()
    chain: tuple[str, ...] = ()
    ttl: int = 0
    server: str = ""
    rcode: str = ""
    ms: float = 0.0
    at: float = 0.0
    transport: str = "udp"
    tries: int = 1
    authentic: bool = False
    detail: str = ""

    @property
    def found(self) -> bool:
        return self.status is Status.FOUND

    @property
    def absent(self) -> bool:
        """Known not to be there."""
        return self.status in _ABSENT

    @property
    def unknown(self) -> bool:
        """Could not be found out: neither there nor missing."""
        return not self.found and self.status not in _ABSENT

    @property
    def strings(self) -> tuple[tuple[bytes, ...], ...]:
        """TXT records as their character-strings."""
        return cast("tuple[tuple[bytes, ...], ...]", self.values)

    @property
    def texts(self) -> tuple[str, ...]:
        """TXT records with their character-strings joined without space, one character an octet (Latin-1)."""
        return tuple(b"".join(parts).decode("latin-1") for parts in self.strings)

    @property
    def names(self) -> tuple[str, ...]:
        """Addresses of A/AAAA, targets of NS, PTR and CNAME."""
        return cast("tuple[str, ...]", self.values)

    @property
    def exchanges(self) -> tuple[tuple[int, str], ...]:
        """MX records, best preference first."""
        return tuple(sorted(cast("tuple[tuple[int, str], ...]", self.values)))

    @property
    def lines(self) -> tuple[str, ...]:
        """The records in presentation form."""
        return tuple(present(self.type, value) for value in self.values)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready evidence."""
        out: dict[str, Any] = {
            "question": f"{self.name} {self.type}",
            "server": self.server,
            "status": str(self.status),
            "rcode": self.rcode,
            "records": list(self.lines),
            "ttl": self.ttl,
            "ms": round(self.ms, 2),
            "at": datetime.fromtimestamp(self.at, UTC).isoformat() if self.at else None,
        }
        if self.chain:
            out["chain"] = list(self.chain)
        if self.detail:
            out["detail"] = self.detail
        return out


def quote_strings(parts: Sequence[bytes]) -> str:
    """Character-strings the way a zone file writes them: quoted, with ``\\"``, ``\\\\`` and ``\\DDD`` escapes."""
    return " ".join(f'"{_escaped(part)}"' for part in parts)


def _escaped(part: bytes) -> str:
    text = part.decode("latin-1")
    plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return text if plain else "".join(map(_escape, part))


def _escape(octet: int) -> str:
    if octet in (0x22, 0x5C):
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"


def present(rdtype: str, value: object) -> str:
    """One record's value in presentation form."""
    if rdtype in ("TXT", "SPF"):
        return quote_strings(cast("tuple[bytes, ...]", value))
    if rdtype == "MX":
        preference, exchange = cast("tuple[int, str]", value)
        return f"{preference} {exchange}."
    if rdtype in ("NS", "PTR", "CNAME"):
        return f"{value}."
    return str(value)
