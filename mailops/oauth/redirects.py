"""Redirect addresses: built from the web base URL, checked, and compared character by character.

A provider compares the registered and the sent address as strings, so the answers here are exact: nothing is
normalised away except a trailing slash of the *base*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from urllib.parse import urlencode, urlsplit

from ..dns.psl import installed
from ..errors import ConfigError, MissingExtra
from ..model.verdict import Finding, Severity
from ..providers import provider

PLACEHOLDERS = ("yourdbname", "your-db-name", "yourdatabase", "<web base url>", "example.odoo.com", "web base url")


def redirect_uri(provider_id: str, base_url: str) -> str:
    """``https://mail.acme.example`` → ``https://mail.acme.example/microsoft_outlook/confirm`` (AZ-07, GO-19)."""
    return clean_base(base_url) + provider(provider_id).redirect_path


def clean_base(base_url: str) -> str:
    """The base without trailing slash. Raises :class:`ConfigError` ``auth.base_url`` for what cannot be one."""
    text = base_url.strip()
    lowered = text.lower()
    for word in PLACEHOLDERS:
        if word in lowered:
            raise _unusable(text, f"{word!r} is a placeholder.", "Put the real name of your database in its place.")
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError as error:
        raise _unusable(text, "It is not an address.", "Give an address such as https://mail.acme.example.") from error
    host = split.hostname or ""
    local = host in ("localhost", "127.0.0.1", "::1")
    if split.scheme not in ("https", "http") or not host:
        raise _unusable(text, "Scheme or host is missing.", "Give an address such as https://mail.acme.example.")
    if split.scheme == "http" and not local:
        raise _unusable(
            text,
            "Providers take http for loopback only.",
            "Use https. Behind a reverse proxy set web.base.url to the outside https address.",
        )
    if split.query or split.fragment or split.username or port == 0 or any(c.isspace() for c in text):
        raise _unusable(text, "It holds more than scheme, host, port and path.", "Give the plain base address.")
    return text.rstrip("/")


def _unusable(text: str, why: str, fix: str) -> ConfigError:
    return ConfigError(
        f"This web base URL cannot be used. {why}", code="auth.base_url", facts={"base_url": text[:200]}, fix=fix
    )


def authorized_domain(base_url: str, suffix: str = "odoo.com") -> str:
    """The registrable domain for Google's *Authorized domains* (GO-11): ``acme.odoo.com`` → ``odoo.com``."""
    host = (urlsplit(clean_base(base_url)).hostname or "").rstrip(".").lower()
    if host == suffix or host.endswith("." + suffix):
        return suffix
    if host not in ("localhost", "127.0.0.1", "::1") and (":" in host or host.replace(".", "").isdigit()):
        raise _unusable(
            base_url,
            "Google takes no IP address as a domain.",
            "Give the database a host name with https, and use that.",
        )
    labels = host.split(".")
    if len(labels) <= 2:
        return host
    try:  # the public suffix list knows also the private ones (github.io)
        return installed().organizational(host)
    except MissingExtra:
        pass
    # Two-part public suffixes that organisations meet (co.uk, com.au …); the console refuses a wrong one at once.
    second = labels[-2] in ("co", "com", "net", "org", "gov", "edu", "ac", "or", "ne", "gob", "gouv", "nom", "asso")
    keep = 3 if second and len(labels[-1]) == 2 else 2
    return ".".join(labels[-keep:])


def check_base_url(provider_id: str, stored: str, current: str) -> Finding | None:
    """AZ-08: the base URL that was stored against the one in use now; a finding with both addresses and two fixes."""
    before, now = redirect_uri(provider_id, stored), redirect_uri(provider_id, current)
    if before == now:
        return None
    return Finding(
        "auth.base_url_changed",
        Severity.ERROR,
        f"The sign-in now sends {now}, but {before} is registered.",
        fix="Either freeze the base URL (Settings → Technical → Parameters → System Parameters: "
        "web.base.url.freeze = True, web.base.url = "
        f"{clean_base(stored)}), or register {now} as a second redirect address.",
        facts={"registered": before, "sent": now, "difference": compare_uris(before, now).words},
    )


def admin_consent_link(tenant: str, client_id: str, redirect: str = "", authority: str = "") -> str:
    """Where an administrator consents for the whole tenant. Raises :class:`ConfigError` for what is no tenant or id."""
    tenant, client_id = tenant.strip(), client_id.strip()
    if not is_tenant(tenant):
        raise ConfigError(
            f"{tenant!r} is no tenant: give its id or one of its domains.",
            code="auth.tenant",
            facts={"tenant": tenant},
            fix="Overview > Directory (tenant) ID: copy it whole.",
        )
    query = {"client_id": client_id, **({"redirect_uri": redirect} if redirect else {})}
    base = (authority or f"https://login.microsoftonline.com/{tenant}").rstrip("/").removesuffix("/v2.0")
    return f"{base}/adminconsent?{urlencode(query)}"


def is_tenant(text: str) -> bool:
    """Whether this can be a tenant of one's own: a GUID or a domain; not ``common`` and the like."""
    return bool(_GUID.fullmatch(text) or _DOMAIN.fullmatch(text))


_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")


# --- the character diff -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the comparison: ``same``, ``missing`` (registered only), ``extra`` (sent only)."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class UriDiff:
    """Two addresses compared. ``marked`` underlines what differs, three lines of text for a fixed-width font."""

    registered: str
    sent: str
    pieces: tuple[Piece, ...]
    words: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return self.registered == self.sent

    @property
    def marked(self) -> str:
        top, bottom, marks = "", "", ""
        for piece in self.pieces:
            blank = " " * len(piece.text)
            top += piece.text if piece.kind != "extra" else blank
            bottom += piece.text if piece.kind != "missing" else blank
            marks += blank if piece.kind == "same" else "^" * len(piece.text)
        return f"registered  {top}\nsent        {bottom}\n            {marks}".rstrip()


def compare_uris(registered: str, sent: str) -> UriDiff:
    """GO-31: registered and sent redirect address, character by character, with the usual slips named."""
    pieces: list[Piece] = []
    for kind, a, b, c, d in SequenceMatcher(None, registered, sent, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", registered[a:b]))
            continue
        if b > a:
            pieces.append(Piece("missing", registered[a:b]))
        if d > c:
            pieces.append(Piece("extra", sent[c:d]))
    return UriDiff(registered, sent, tuple(pieces), tuple(_slips(registered, sent)))


def _slips(one: str, two: str) -> list[str]:
    if one == two:
        return []
    try:
        left, right = urlsplit(one), urlsplit(two)
        ports = left.port, right.port
    except ValueError:
        return ["One of them is not an address."]
    words = []
    if left.scheme != right.scheme:
        words.append(f"{left.scheme or 'no scheme'} against {right.scheme or 'no scheme'}")
    hosts = (left.hostname or "", right.hostname or "")
    if hosts[0] != hosts[1]:
        if hosts[0].removeprefix("www.") == hosts[1].removeprefix("www."):
            words.append("www. on one side only")
        else:
            words.append(f"host {hosts[0]} against {hosts[1]}")
    if ports[0] != ports[1]:
        words.append(f"port {ports[0] or 'none'} against {ports[1] or 'none'}")
    if left.path != right.path:
        if left.path.rstrip("/") == right.path.rstrip("/"):
            words.append("a slash at the end of one only")
        elif left.path.lower() == right.path.lower():
            words.append("upper and lower case in the path")
        else:
            words.append(f"path {left.path or '/'} against {right.path or '/'}")
    if left.query != right.query:
        words.append("a query on one side")
    if one != one.strip() or two != two.strip():
        words.append("a blank at the beginning or end")
    return words or ["letters that look alike, or case"]
