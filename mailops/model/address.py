"""Mail addresses: read, normalise, format, and put on the wire.

Reading is tolerant the way mail people need (RFC 5322 §3.4 plus ``Name mail@x.test`` without angle brackets);
:func:`read_field` is the one way from a field of a message to its addresses: it is parsed as it stands, and only then
are the names decoded (RFC 2047 §6.2), so that no encoded word makes an address, a separator or a bracket (§5(3));
comparing is exact: local part lower-cased only if it is ASCII, domain lower-cased, display name gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import utils as _utils
from email.header import Header
from functools import lru_cache

from ..mime import decode_words

NESTED_COMMENTS = 50
SHORT = 500  # characters of a list whose reading is remembered
_BARE = re.compile(r"[^\s<>,;:\"()\[\]]{1,320}@[^\s<>,;:\"()\[\]]{1,320}")
_GLUE = re.compile(r"[ \t]{0,100}([.@])[ \t]{0,100}")  # blanks that RFC 5322 §4.4 allows inside an address
_COMMENT = re.compile(r"\([^()]{0,1000}\)")
_NEAR = 5_000
_ENDS = re.compile("[\r\n\0\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")  # all that str.splitlines takes for a line end
_HALF = re.compile("[\ud800-\udfff]")
_SPECIALS = re.compile(r'[\\"]')
_UNQUOTED = re.compile(r"[^\"(),:;<>\\]*\Z")
_ANGLED = re.compile(r"[^\s<>,@]+@[^\s<>,@]+\Z")
_DOT_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"\Z')  # RFC 5321 §4.1.2: qtextSMTP
_QUOTATION = re.compile(r'"[^"]{0,1000}"')
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """A display name (may be empty) and an address ``local@domain`` as written."""

    name: str
    spec: str

    @property
    def local(self) -> str:
        return self.spec.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.spec.rpartition("@")[2].lower()

    @property
    def normalised(self) -> str:
        return normalise(self.spec)

    def __str__(self) -> str:
        return format_address(self.name, self.spec)


NULL_PATH = "<>"
"""The null reverse-path as a value (RFC 5321 §4.5.5): of mail that answers mail, and that nothing may answer."""


def parse_addresses(text: str | None) -> list[Address]:
    """All addresses in an RFC 5322 list, in order; entries whose address has no ``@`` are left out."""
    if not text:
        return []
    return list(_short(text)) if len(text) <= SHORT else _parsed(text)


@lru_cache(maxsize=2048)
def _short(text: str) -> tuple[Address, ...]:
    """A sender is asked for with each mail, several times."""
    return tuple(_parsed(text))


_PLAIN = re.compile(
    r"(?:([A-Za-z0-9]{1,40}(?: [A-Za-z0-9]{1,40}){0,3}) <)?([A-Za-z0-9][A-Za-z0-9_+-]{0,63}"
    r"(?:\.[A-Za-z0-9_+-]{1,63}){0,3}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6})(>?)\Z"
)
"""What nearly every sender is, ``Ann Archer <ann@x.test>`` or the address alone: no parser is needed for it."""


def _parsed(text: str) -> list[Address]:
    if (whole := _PLAIN.match(text)) and bool(whole[1]) is bool(whole[3]):
        return [Address(whole[1] or "", whole[2])]
    flat = re.sub(r"[\r\n]+[ \t]*", " ", text)
    if flat.count("(") > NESTED_COMMENTS:  # the library's parser recurses once for each
        flat = flat.replace("(", " ").replace(")", " ")
    if flat.count(":") > NESTED_COMMENTS:  # and once for each group in a group
        flat = flat.replace(":", " ")
    if named := _named_by_address(flat):
        return [named]
    try:
        pairs = _utils.getaddresses([flat], strict=False)  # type: ignore[call-arg,unused-ignore]
    except TypeError:  # Python before 3.11.10 has no such argument
        pairs = _utils.getaddresses([flat])
    found = []
    plain, at = _GLUE.sub(r"\1", _COMMENT.sub("", flat)), 0
    for name, spec in pairs:
        spec = spec.strip()
        if "@" in spec and " " not in spec:
            spec, at = _as_written(spec, plain, at)
            found.append(Address(name.strip(), spec))
            continue
        hit = _BARE.search(f"{name} {spec}")
        if hit:  # `Name mail@x.test`: the words before the address are the name
            before = f"{name} {spec}"[: hit.start()].strip(" <>")
            found.append(Address(before, hit.group()))
    if not found or any(a.spec.startswith("@") or a.spec.endswith("@") for a in found):
        found = [a for a in found if not (a.spec.startswith("@") or a.spec.endswith("@"))]
        if not found and (hit := _BARE.search(flat)):
            found = [Address(flat[: hit.start()].strip(' <>"'), hit.group())]
    return found


def _named_by_address(flat: str) -> Address | None:
    """``ann@x.test <ann@x.test>``: an unquoted name with @ is a name, not a second address."""
    name, bracket, spec = flat.strip().rpartition("<")
    if not bracket or not spec.endswith(">") or "@" not in name:
        return None
    return Address(name.strip(), spec[:-1]) if _UNQUOTED.match(name) and _ANGLED.match(spec[:-1]) else None


def _as_written(spec: str, plain: str, at: int) -> tuple[str, int]:
    """An address as the text holds it from place ``at`` on, and the place after it.

    The library puts ``b@x.test DATA`` together to ``b@x.testDATA``: an address that nobody wrote ends at the blank.
    """
    place = plain.find(spec, at, at + _NEAR)
    if place >= 0:
        return spec, place + len(spec)
    for hit in _BARE.finditer(plain, at, at + _NEAR):
        if spec.startswith(hit.group()):
            return hit.group(), hit.end()
    return spec, at


def read_field(value: str | None) -> list[Address]:
    """The addresses of a field as it stands in a message, undecoded, with names for people to read.

    >>> read_field("=?utf-8?q?a=40evil.test=2C?= <b@x.test>")
    [Address(name='a@evil.test,', spec='b@x.test')]
    """
    return [Address(_ENDS.sub(" ", decode_words(a.name)).strip(), a.spec) for a in parse_addresses(value)]


def unread(text: str) -> bool:
    """Whether a text holds an ``@`` that is in no address found in it, and in no name, quotation or comment: somebody
    was meant who would be left out.

    >>> unread("a@x.test, b@x.test c@x.test"), unread('"a@b" <c@x.test> (d@e)')
    (True, False)
    """
    everybody = parse_addresses(text)
    if text.count("@") == len(everybody):
        return False
    rest = _COMMENT.sub("", _GLUE.sub(r"\1", text))
    for found in everybody:
        rest = rest.replace(found.spec, "", 1)
        rest = rest.replace(found.name, "", 1) if "@" in found.name else rest
    return "@" in _QUOTATION.sub("", rest)


def only(text: str) -> Address | None:
    """The address of an envelope: a text that is one, bare or in angle brackets after a name; None for all else."""
    found = parse_single(text)
    written = text.strip()
    return found if found and (written == found.spec or written.endswith(f"<{found.spec}>")) else None


def reads_alike(text: str, address: Address) -> bool:
    """Whether any reader of RFC 5322 finds just this name and address in an undecoded text. No for a text so nested
    that the library's parser, which recurses, would not come back."""
    if text.count("(") > NESTED_COMMENTS or text.count(":") > NESTED_COMMENTS:
        return False
    return _utils.parseaddr(text) == (address.name, address.spec)


def parse_first(text: str | None) -> Address | None:
    """The first address of a text (the loose form, for contacts and records)."""
    found = parse_addresses(text)
    return found[0] if found else None


def parse_single(text: str | None) -> Address | None:
    """The only address of a text, or None when there is none or more than one (the strict form)."""
    found = parse_addresses(text)
    return found[0] if len(found) == 1 else None


def normalise(spec: str) -> str:
    """``local@domain`` for comparing: domain lower-cased, local part lower-cased only if it is pure ASCII."""
    local, _, domain = spec.strip().rpartition("@")
    return f"{local.lower() if local.isascii() else local}@{domain.lower()}"


def format_address(name: str, spec: str) -> str:
    """``"Name" <spec>`` for a header; quotes and backslashes escaped, a non-ASCII name as RFC 2047 words."""
    name = _ENDS.sub(" ", name.encode("utf-8", "replace").decode()).strip()
    if not name:
        return spec
    if (
        name.isascii() and "=?" not in name
    ):  # a name that looks like an encoded word is encoded: nobody decodes it twice
        escaped = _SPECIALS.sub(lambda m: "\\" + m.group(), name)
        return f'"{escaped}" <{spec}>'
    return f"{Header(name, 'utf-8', maxlinelen=0).encode()} <{spec}>"


def ascii_domain(domain: str) -> str | None:
    """The A-label form of a domain (RFC 5890), or None when it cannot be written so."""
    domain = domain.rstrip(".")
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None


def envelope_address(spec: str) -> str | None:
    """The address for ``MAIL FROM``/``RCPT TO``: domain as A-labels, local part untouched; None when impossible."""
    local, _, domain = spec.strip().rpartition("@")
    wire = ascii_domain(domain)
    return f"{local}@{wire}" if local and wire else None


def mailbox(spec: str) -> str:
    """The form in which a mailbox is listed and counted: :func:`normalise` with the domain as A-labels (RFC 5890), so
    that ``ann@bücher.example`` and ``ann@xn--bcher-kva.example`` are one."""
    address = normalise(spec)
    return address if address.isascii() else (envelope_address(address) or address)


def is_valid(spec: str) -> bool:
    """Whether this is a usable mailbox address (RFC 5321 §4.1.2 with RFC 6531 local parts).

    A domain needs no dot; address literals ``[127.0.0.1]`` are allowed; limits of RFC 5321 §4.5.3.1 hold.
    """
    local, at, domain = spec.rpartition("@")
    if (
        not at
        or not local
        or not domain
        or _HALF.search(spec)
        or len(local.encode()) > 64
        or any(ord(c) < 33 or ord(c) == 127 for c in domain)
    ):
        return False
    ascii_local = "".join(c if c.isascii() else "u" for c in local)
    if not (_DOT_ATOM.match(ascii_local) or _QUOTED.match(ascii_local)):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        return bool(re.match(r"\[(IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]\Z", domain))
    wire = ascii_domain(domain)
    return bool(wire) and len(wire or "") <= 253 and all(_LABEL.match(label) for label in (wire or "").split("."))
