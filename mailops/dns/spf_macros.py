"""SPF macros (RFC 7208 section 7): checking their form and expanding them.

Expansion is pure: the one macro that needs DNS (``p``) is looked up by the evaluator beforehand and given as a value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_MACRO = re.compile(r"%(?:\{([A-Za-z])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_LETTERS = frozenset("slodiphv")
_EXP_LETTERS = frozenset("crt")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}


class MacroProblem(ValueError):
    """A percent sign that begins no macro, an unknown letter, or a letter that is for explanations only."""


@dataclass(frozen=True, slots=True)
class MacroValues:
    """What the letters stand for. ``domain`` is the domain under evaluation, it changes inside includes."""

    ip: IPAddress
    sender_local: str
    sender_domain: str
    domain: str
    helo: str
    receiver: str = "unknown"
    validated: str = "unknown"
    timestamp: int = 0

    def value(self, letter: str) -> str:
        """The value of a lower-case macro letter (section 7.2)."""
        match letter:
            case "s":
                return f"{self.sender_local}@{self.sender_domain}"
            case "l":
                return self.sender_local
            case "o":
                return self.sender_domain
            case "d":
                return self.domain
            case "i":
                return dotted(self.ip)
            case "p":
                return self.validated
            case "v":
                return "in-addr" if self.ip.version == 4 else "ip6"
            case "h":
                return self.helo
            case "c":
                return str(self.ip)
            case "r":
                return self.receiver
            case _:
                return str(self.timestamp)


def dotted(ip: IPAddress) -> str:
    """An address for use in a name: IPv4 as usual, IPv6 as dotted upper-case nibbles (section 7.4)."""
    return str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", "").upper())


def _parts(text: str, explanation: bool) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Literal pieces and macros in turn; raises :class:`MacroProblem` at the first bad one."""
    at = 0
    while True:
        sign = text.find("%", at)
        if sign < 0:
            yield text[at:], None
            return
        if sign > at:
            yield text[at:sign], None
        match = _MACRO.match(text, sign)
        if match is None:
            raise MacroProblem(f"{text[sign : sign + 12]!r} is no macro")
        letter = (match[1] or "").lower()
        if letter:
            if letter not in _LETTERS | _EXP_LETTERS:
                raise MacroProblem(f"there is no macro letter {match[1]!r}")
            if letter in _EXP_LETTERS and not explanation:
                raise MacroProblem(f"%{{{match[1]}}} is for explanations only")
            if match[2] and int(match[2][:9]) == 0:
                raise MacroProblem("a macro cannot keep zero labels")
        yield "", match
        at = match.end()


def check_macros(text: str, *, explanation: bool = False) -> None:
    """Raise :class:`MacroProblem` when a macro in ``text`` is malformed."""
    for _ in _parts(text, explanation):
        pass


def uses(text: str, letter: str) -> bool:
    """Whether a well-formed text uses a macro letter."""
    return any(match is not None and (match[1] or "").lower() == letter for _, match in _parts(text, True))


def expand(text: str, values: MacroValues, *, explanation: bool = False) -> str:
    """The text with all macros replaced; raises :class:`MacroProblem`."""
    out: list[str] = []
    for literal, match in _parts(text, explanation):
        out.append(literal if match is None else _one(match, values.value))
    return "".join(out)


def _one(match: re.Match[str], value_of: Callable[[str], str]) -> str:
    if match[5]:
        return _ESCAPES[match[5]]
    letter = match[1]
    value = value_of(letter.lower())
    delimiters, digits, reverse = match[4] or ".", match[2], bool(match[3])
    parts = re.split("[" + re.escape(delimiters) + "]", value)
    if reverse:
        parts.reverse()
    if digits:
        parts = parts[-min(int(digits[:9]), len(parts)) :]
    text = ".".join(parts)
    return quote(text, safe="-._~") if letter.isupper() else text


def target_name(text: str, values: MacroValues) -> str:
    """A domain-spec as the name to ask for: expanded, lower-case, no final dot, cut from the left to 253 octets."""
    name = expand(text, values).removesuffix(".").lower()
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name
