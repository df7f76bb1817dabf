"""An SPF record as its owner meant it: slips of writing put right term by term, nothing dropped without a word.

What pasting left is taken out (:mod:`mailops.dns.pasted`), the version is written as receivers want it, separators and
spaces that do not belong go, each term that breaks the grammar is read through its slip where only one reading makes
sense, and ``all`` goes to the end, because what stands behind it is never looked at (RFC 7208 section 5.1). A term
nobody can read is kept in ``unread``, and then there is no text.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .pasted import cleaned
from .spf_parse import MECHANISMS, VERSION, Term, TermProblem, is_spf, parse_record, parse_term

_MEANT = re.compile(
    r"[^A-Za-z]{0,40}(?:v\s{0,9}[=:]?\s{0,9})?spf\s{0,9}[-_=]?\s{0,9}v?1(?![0-9.])[\s;,:]*", re.IGNORECASE
)
_SLIPPED = re.compile(
    r"[^A-Za-z]{0,40}v\s{0,9}[=:]\s{0,9}(?!spf1(?![0-9]))(?:s[pf]{1,3}|psf|fps|sp\s?f)"
    r"\s{0,9}[-_]?\s{0,9}[0-9]{0,2}(?![0-9.A-Za-z])[\s;,:]*",
    re.IGNORECASE,
)
_SAYS = re.compile(r"[+~?-]?(?:include|ip4|ip6):[^\s]{1,250}|[+~?-]?all", re.IGNORECASE)
_NAMES = "include|ip4|ip6|ipv4|ipv6|exists|redirect|exp|mx|ptr|a"
_START, _TERM = r"(?<![^\s])", rf"([+~?-]?(?:{_NAMES}))"
_REPAIRS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), to, cause)
    for pattern, to, cause in (
        (rf"[;|]|,(?=\s|$)|,(?=[+~?-]?(?:(?:{_NAMES})[:=]|all\b))", " ", "terms are separated by spaces only"),
        (r"(?<=[0-9]),(?=[0-9a-f]+[.:])", " ", "terms are separated by spaces only"),
        (
            rf"{_START}([+~?-]?(?:include|exists|redirect|mx|a)[:=])(?:[a-z]{{2,9}}:)?//(?=\w)",
            r"\1",
            "an address of the web is no domain",
        ),
        (rf"{_START}{_TERM}\s*([:=])\s+(?=\S)", r"\1\2", "a space stands after the colon of a term"),
        (rf"{_START}{_TERM}\s+([:=])(?=\S)", r"\1\2", "a space stands before the colon of a term"),
        (rf"{_START}([+~?-]?(?:include|exists))\s+(?=[\w.%{{}}-]+\.[\w-])", r"\1:", "a colon is missing"),
        (rf"{_START}([+~?-]?ipv?[46])\s+(?=[0-9a-f.:]+)", r"\1:", "a colon is missing"),
        (rf"{_START}([+~?-])\s+(?=(?:{_NAMES}|all)\b)", r"\1", "a space stands behind the sign of a term"),
        (r"(?<=[A-Za-z0-9])(?=[+~?]?(?:ip[46]|include|exists):)", " ", "a space is missing between two terms"),
        (r"(?<=[A-Za-z0-9])(?=[+~?-]all(?:\s|$))", " ", "a space is missing between two terms"),
    )
)
_LENIENT = "-~?+"


@dataclass(frozen=True, slots=True)
class MendedSpf:
    """``text`` to publish (empty where ``unread`` names terms nobody can read); ``causes`` what was wrong, ``loses``
    what is not in it any more."""

    text: str
    causes: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def looks_like_spf(text: str) -> bool:
    """Whether a value was meant as an SPF record, however it is written."""
    if is_spf(text):
        return True
    value = cleaned(text[:4096]).text
    return any(one.match(value) for one in (_MEANT, _SLIPPED)) or is_terms_only(value)


def is_terms_only(value: str) -> bool:
    """Whether a value holds terms and no version: the rest of a record that was cut, or one that lost its head."""
    words = cleaned(value).text.replace(";", " ").replace(", ", " ").split()
    named = any(_SAYS.fullmatch(word) and ":" in word for word in words)
    return named and all(word[:2].lower() != "v=" and _parsed(word) for word in words)


def mend_spf(text: str, drop: Sequence[str] = ()) -> MendedSpf:
    """The record of one value; ``drop`` are terms (as written) that go, with the reason after a space."""
    away = dict(one.split(" ", 1) for one in drop)
    pasted = cleaned(text)
    causes = list(pasted.causes)
    slipped = None if _MEANT.match(pasted.text) else _SLIPPED.match(pasted.text)
    value = f"{VERSION} {pasted.text[slipped.end() :]}" if slipped is not None else pasted.text
    parts = [part for part in _MEANT.split(value) if part is not None]
    head = _MEANT.match(value)
    body = " ".join(parts[1:] if head is not None and head.start() == 0 else parts)
    if not is_spf(pasted.text):
        causes.append("the record has to begin with v=spf1 and a space")
    if len(parts) > 2:
        causes.append("v=spf1 stands more than once: two records in one")
    for pattern, to, cause in _REPAIRS:
        changed = pattern.sub(to, body)
        if changed.split() != body.split():
            causes.append(cause)
        body = changed
    terms: list[Term] = []
    unread: list[str] = []
    loses: list[str] = []
    for raw in body.split():
        if raw in away:
            loses.append(f"{raw} ({away[raw]})")
            continue
        term = _read(raw, causes)
        if term is None and raw.strip("+~?-:=").lower() in MECHANISMS:
            loses.append(f"{raw} (it names nothing)")
        elif term is None:
            unread.append(raw)
        elif term.text in away:
            loses.append(f"{term.text} ({away[term.text]})")
        elif term not in terms:
            terms.append(term)
    ends = [term for term in terms if term.name == "all"]
    if ends and [term for term in terms if not term.modifier][-1] is not ends[0]:
        causes.append("what stands behind all is never looked at; all goes to the end")
    end = ends[:1]
    if len(parts) > 2 and ends:
        end = [max(ends, key=lambda term: _LENIENT.index(term.qualifier))]
    mechanisms = [term for term in terms if not term.modifier and term.name != "all"]
    modifiers = [term for term in terms if term.modifier]
    made = " ".join([VERSION, *(term.text for term in (*mechanisms, *end, *modifiers))])
    if not causes and not loses and not unread:
        return MendedSpf(text)
    unread += [mistake.term for mistake in parse_record(made).mistakes]
    return MendedSpf("" if unread else made, _once(causes), _once(loses), _once(unread))


def _once(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))


def _read(raw: str, causes: list[str]) -> Term | None:
    """A term, through its slip if it has one."""
    try:
        term = parse_term(raw)
    except TermProblem as problem:
        fixed = _fixed(raw)
        meant = _parsed(fixed)
        if meant is not None:
            causes.append(f"{raw}: {problem}; {fixed} was meant")
        return meant
    if term.name in ("include", "redirect") and "@" in (term.domain or "") and not term.has_macros:
        other = _parsed(_fixed(raw))
        if other is not None:
            causes.append(f"{raw}: an address is no domain; {other.text} was meant")
            return other
    if term.modifier and term.name in MECHANISMS:  # include=x is a modifier nobody knows, and ignored
        other = _parsed(raw.replace("=", ":", 1))
        if other is not None:
            causes.append(f"{raw}: a mechanism takes a colon; {other.text} was meant")
            return other
    return term


def _parsed(text: str) -> Term | None:
    try:
        return parse_term(text) if text else None
    except TermProblem:
        return None


def _fixed(raw: str) -> str:
    """The one reading of a broken term that makes sense, or nothing."""
    match = re.match(r"([+~?-]*)(.*)", raw.strip("<>()[]'`,;"), re.DOTALL)
    assert match is not None  # both parts are optional
    sign, body = match[1][-1:], match[2].rstrip(".,;:")
    name, colon, value = re.match(r"([A-Za-z0-9]*)([:=]?)(.*)", body, re.DOTALL).groups()  # type: ignore[union-attr]
    if not colon and (network := _address(body)):
        return f"{sign}{network}"
    if not colon and "." in body:
        host = _host(body)
        first = host.partition(".")[0].lower()
        if "spf" in host.lower():
            return f"{sign}include:{host}"
        return f"{sign}a:{host}" if first in ("mail", "smtp", "mx", "mx1", "mx2", "relay", "www") else ""
    near = difflib.get_close_matches(name.lower(), (*MECHANISMS, "redirect", "exp", "ipv4", "ipv6"), 1, 0.7)
    meant = {"ipv4": "ip4", "ipv6": "ip6", "ip": "ip4"}.get(name.lower()) or (near[0] if near else "")
    meant = {"ipv4": "ip4", "ipv6": "ip6"}.get(meant, meant)
    if meant in ("ip4", "ip6"):
        network = _address(value.strip("<>()[]'`"))
        if not network and re.search(r"[A-Za-z]", value) and "." in value and ":" not in value:
            return f"{sign}a:{_host(value)}"
        return f"{sign}{network}" if network else ""
    if meant == "all":
        return f"{sign}all"
    if meant in ("include", "exists", "a", "mx", "ptr"):
        if not value:
            return f"{sign}{meant}" if meant in ("a", "mx") else ""
        if meant == "a" and (network := _address(value)):
            return f"{sign}{network}"
        host = _host(value) if meant in ("include", "exists") else value.strip("/")
        return f"{sign}{meant}:{host}"
    if meant in ("redirect", "exp"):
        return f"{meant}={_host(value)}"
    return ""


def _host(value: str) -> str:
    """A name without the scheme, path, user and prefix that do not belong to it."""
    bare = re.sub(r"(?i)^(?:https?:)?/*", "", value.strip("<>()[]'`"))
    return re.sub(r"[/?].*$", "", bare).rpartition("@")[2].strip(".:")


def _address(value: str) -> str:
    """``ip4:…`` or ``ip6:…`` of what is an address with a port, a netmask, a star or the other family's name."""
    text = value.strip().strip("[]")
    star = re.fullmatch(r"(\d+)\.(\d+)\.(?:(\d+)\.)?\*(?:\.\*)?", text)
    if star is not None:
        text = f"{star[1]}.{star[2]}.{star[3] or 0}.0/{24 if star[3] else 16}"
    text = re.sub(r"^((?:\d+\.){3}\d+):\d+$", r"\1", text)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    kept = text if re.fullmatch(r"[0-9a-fA-F:.]+(?:/[0-9]{1,3})?", text) else str(network)
    return f"ip{network.version}:{kept}"
