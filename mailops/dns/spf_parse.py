"""SPF records as text and as terms: the grammar of RFC 7208 section 12, with the place of each mistake.

Text is one character an octet (Latin-1), the way the record came off the wire. Parsing is strict: one bad term makes
the whole record a permerror (section 4.6), so every mistake of a record is collected, not only the first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .spf_macros import MacroProblem, check_macros

VERSION = "v=spf1"
LOOKUP_MECHANISMS = frozenset({"include", "a", "mx", "ptr", "exists"})
MECHANISMS = LOOKUP_MECHANISMS | {"all", "ip4", "ip6"}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-_.]*")
_CIDR = re.compile(r"(?P<rest>.*?)(?:/(?P<v4>0|[1-9][0-9]?))?(?://(?P<v6>0|[1-9][0-9]{0,2}))?", re.DOTALL)
_TOPLABEL = re.compile(r"(?:[0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9\-]*[A-Za-z0-9])")
_IP4 = re.compile(
    r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
)
_MACRO_END = re.compile(r"%(?:\{[^}]{0,300}\}|[%_-])$")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Term:
    """One directive or modifier. ``text`` is the term as written; ``domain`` the domain-spec, macros not expanded.

    For ip4/ip6 ``network`` is set; ``cidr4``/``cidr6`` are prefix lengths of a and mx (None = full length).
    """

    text: str
    name: str
    qualifier: str = "+"
    domain: str | None = None
    cidr4: int | None = None
    cidr6: int | None = None
    network: Network | None = None
    modifier: bool = False

    @property
    def costs_lookup(self) -> bool:
        """Counts against the limit of ten (section 4.6.4)."""
        return self.name in LOOKUP_MECHANISMS if not self.modifier else self.name == "redirect"

    @property
    def has_macros(self) -> bool:
        return self.domain is not None and "%" in self.domain


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why a term is not valid; ``rfc`` names the paragraph, ``hint`` says what was likely meant."""

    term: str
    message: str
    rfc: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """A parsed record: the terms in order, and the mistakes (none = valid)."""

    text: str
    terms: tuple[Term, ...]
    mistakes: tuple[Mistake, ...] = ()

    @property
    def mechanisms(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if not term.modifier)

    @property
    def redirect(self) -> Term | None:
        return next((term for term in self.terms if term.modifier and term.name == "redirect"), None)

    @property
    def exp(self) -> Term | None:
        return next((term for term in self.terms if term.modifier and term.name == "exp"), None)

    @property
    def all_term(self) -> Term | None:
        """The first ``all``; whatever follows it is never looked at (section 5.1)."""
        return next((term for term in self.mechanisms if term.name == "all"), None)

    def __str__(self) -> str:
        return " ".join([VERSION, *(term.text for term in self.terms)])


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record: the version section, then a space or the end (section 4.5)."""
    return text[:6].lower() == VERSION and (len(text) == 6 or text[6] == " ")


def select(texts: Iterable[str]) -> tuple[str, ...]:
    """The SPF records among TXT records."""
    return tuple(text for text in texts if is_spf(text))


def parse_record(text: str) -> SpfRecord:
    """Parse a record that :func:`is_spf` accepts. Never raises: mistakes are part of the result."""
    terms: list[Term] = []
    mistakes: list[Mistake] = []
    seen: set[str] = set()
    for raw in text[len(VERSION) :].split(" "):
        if not raw:
            continue
        try:
            term = parse_term(raw)
        except TermProblem as problem:
            mistakes.append(problem.mistake)
            continue
        if term.modifier and term.name in ("redirect", "exp"):
            if term.name in seen:
                mistakes.append(Mistake(raw, f"{term.name}= stands in the record twice", "RFC 7208 section 6"))
            seen.add(term.name)
        terms.append(term)
    return SpfRecord(text, tuple(terms), tuple(mistakes))


class TermProblem(ValueError):
    """A term that breaks the grammar."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


def _bad(term: str, message: str, rfc: str, hint: str = "") -> TermProblem:
    return TermProblem(Mistake(term, message, f"RFC 7208 section {rfc}", hint))


@lru_cache(maxsize=4096)  # the includes of services stand in the records of all their customers
def parse_term(raw: str) -> Term:
    """Parse one term; raises :class:`TermProblem`."""
    odd = next((char for char in raw if not "!" <= char <= "~"), None)
    if odd is not None:
        raise _bad(raw, f"a character outside printable ASCII ({odd!r})", "7.1", _odd_hint(raw))
    body, qualifier = raw, "+"
    if raw[0] in "+-~?":
        qualifier, body = raw[0], raw[1:]
    match = _NAME.match(body)
    if match is None:
        raise _bad(raw, "neither a mechanism nor a modifier", "4.6.1")
    name, rest = match.group().lower(), body[match.end() :]
    if rest.startswith("="):
        if body is not raw:
            raise _bad(raw, "a modifier cannot have a qualifier", "4.6.1")
        return _modifier(raw, name, rest[1:])
    if name not in MECHANISMS:
        raise _bad(raw, f"there is no mechanism {name!r}", "4.6.1", _mechanism_hint(name, rest))
    return _mechanism(raw, qualifier, name, rest)


def _modifier(raw: str, name: str, value: str) -> Term:
    if name in ("redirect", "exp"):
        _check_domain(raw, value, "6.1" if name == "redirect" else "6.2")
    else:
        _check_macro_text(raw, value)
    return Term(raw, name, "", value, modifier=True)


def _mechanism(raw: str, qualifier: str, name: str, rest: str) -> Term:
    if name == "all":
        if rest:
            raise _bad(raw, "all takes no argument", "5.1")
        return Term(raw, name, qualifier)
    if name in ("ip4", "ip6"):
        return _network(raw, qualifier, name, rest)
    cidr4 = cidr6 = None
    if name in ("a", "mx"):
        match = _CIDR.fullmatch(rest)
        assert match is not None  # every part is optional
        rest = match["rest"]
        cidr4 = int(match["v4"]) if match["v4"] else None
        cidr6 = int(match["v6"]) if match["v6"] else None
        if (cidr4 or 0) > 32 or (cidr6 or 0) > 128:
            raise _bad(raw, "a prefix length beyond 32 (IPv4) or 128 (IPv6)", "5.3" if name == "a" else "5.4")
    section = {"include": "5.2", "a": "5.3", "mx": "5.4", "ptr": "5.5", "exists": "5.7"}[name]
    if not rest:
        if name in ("include", "exists"):
            raise _bad(raw, f"{name} needs a domain after a colon", section)
        return Term(raw, name, qualifier, None, cidr4, cidr6)
    if rest[0] != ":":
        raise _bad(raw, f"{rest!r} does not belong after {name}", section)
    _check_domain(raw, rest[1:], section)
    return Term(raw, name, qualifier, rest[1:], cidr4, cidr6)


def _network(raw: str, qualifier: str, name: str, rest: str) -> Term:
    if not rest.startswith(":"):
        raise _bad(raw, f"{name} needs an address after a colon", "5.6")
    address, slash, prefix = rest[1:].partition("/")
    longest = 32 if name == "ip4" else 128
    if slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix):
        raise _bad(raw, f"{prefix!r} is no prefix length", "5.6")
    length = int(prefix) if slash else longest
    if length > longest:
        raise _bad(raw, f"a prefix length of {length}; at most {longest}", "5.6")
    if name == "ip4" and not _IP4.fullmatch(address):
        raise _bad(raw, f"{address!r} is no IPv4 address", "5.6", _address_hint(address))
    if name == "ip6" and ("%" in address or ":" not in address):
        raise _bad(raw, f"{address!r} is no IPv6 address", "5.6", _address_hint(address))
    try:
        network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    except ValueError:
        raise _bad(raw, f"{address!r} is no address for {name}", "5.6", _address_hint(address)) from None
    return Term(raw, name, qualifier, network=network)


def _check_macro_text(raw: str, value: str) -> None:
    try:
        check_macros(value)
    except MacroProblem as problem:
        raise _bad(raw, str(problem), "7.1") from None


def _check_domain(raw: str, value: str, section: str) -> None:
    """domain-spec = macro-string domain-end: it ends in a macro or in a dot and a top label (section 7.1)."""
    if not value:
        raise _bad(raw, "the domain is missing", section)
    _check_macro_text(raw, value)
    if _MACRO_END.search(value):
        return
    head, dot, top = value.removesuffix(".").rpartition(".")
    if not dot:
        raise _bad(raw, f"{value!r} is no full domain name", section)
    if not _TOPLABEL.fullmatch(top):
        raise _bad(raw, f"{value!r} does not end in a top-level label", section, _domain_hint(value))
    if not head and not top:
        raise _bad(raw, "the domain is missing", section)


def _odd_hint(raw: str) -> str:
    if any(mark in raw for mark in ("\xe2\x80\x93", "\xe2\x80\x94", "\x96", "\x97")):
        return "a dash from a text document; type the hyphen-minus"
    if "\xe2\x80" in raw:
        return "a quotation mark or space from a text document; type the record by hand"
    if "\xef\xbb\xbf" in raw:
        return "an invisible byte order mark was pasted; type the record by hand"
    if "\xc2\xa0" in raw or "\xa0" in raw:
        return "a no-break space was pasted; type an ordinary space"
    if "\t" in raw or "\n" in raw or "\r" in raw:
        return "terms are separated by spaces only; remove the line break or tab"
    return ""


def _mechanism_hint(name: str, rest: str) -> str:
    near = {"ipv4": "ip4", "ipv6": "ip6", "ip": "ip4", "includes": "include", "incldue": "include"}
    if name in near:
        return f"write {near[name]}{rest}"
    if "." in name:
        return f"write include:{name} or a:{name}, with a qualifier in front if wanted"
    return ""


def _address_hint(address: str) -> str:
    try:
        kind = ipaddress.ip_address(address).version
    except ValueError:
        return ""
    return f"write ip{kind}:{address}"


def _domain_hint(value: str) -> str:
    return "include takes no prefix length" if "/" in value else ""
