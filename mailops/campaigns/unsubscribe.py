"""Links to unsubscribe: in the head of each mail (RFC 2369 §3.2, RFC 8058), and what pressing one does.

A link names campaign and row and proves itself by a keyed digest, so that nobody can make one for somebody else, and no
table of links is needed. Looking at it changes nothing (scanners of links look at all of them); a POST does, without
session or token of a browser, as the receiver's server sends it. It makes an entry of the suppression list beside
whatever stands there, and the way back takes just that one off.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import NotFound
from ..model.pseudonym import is_pseudonym
from ..model.setup import Setup
from ..store.database import explained, reading
from ..suppression import Suppressions
from . import rows
from .values import Campaign

PATH = "/unsubscribe/"
MOST_WORDS = 500
_TOKEN = re.compile(r"([1-9]\d{0,17})\.([1-9]\d{0,17})\.([A-Za-z0-9_-]{16})")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


def base_of(setup: Setup) -> str:
    """The address before the path: ``web.base.url``, without a slash at its end; empty where there is none that can
    stand in a header."""
    base = (setup.parameters.get("web.base.url") or setup.profile.web_base_url or "").strip().rstrip("/")
    fine = re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_~/%+-]{1,400}", base)
    return base if fine else ""


def one_click(base: str) -> bool:
    """Whether a POST may be offered: by https only (RFC 8058 §3.1), or on this machine."""
    parts = urlsplit(base)
    return parts.scheme == "https" or (parts.hostname or "") in _LOOPBACK


def token_of(campaign: Campaign, number: int) -> str:
    """A recipient's token."""
    return f"{campaign.id}.{number}.{_proof(campaign, number)}"


def _proof(campaign: Campaign, number: int) -> str:
    made = blake2b(f"{campaign.id}.{number}".encode(), key=campaign.token.encode(), digest_size=12)
    return urlsafe_b64encode(made.digest()).decode()


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a set-up."""

    base: str

    def url(self, campaign: Campaign, number: int) -> str:
        """A recipient's link."""
        return f"{self.base}{PATH}{token_of(campaign, number)}"

    def lines(self, url: str) -> bytes:
        """The fields that offer it, each on one line."""
        lines = f"List-Unsubscribe: <{url}>\r\n"
        lines += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if one_click(self.base) else ""
        return lines.encode()


def links_of(setup: Setup) -> Links | None:
    """The links of a set-up; None where it has no address for them."""
    base = base_of(setup)
    return Links(base) if base else None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom a link is for: ``opted_out`` says whether they get no campaigns by their own wish."""

    campaign: str
    address: str
    opted_out: bool


class Unsubscribing:
    """What the links do."""

    def __init__(self, engine: Callable[[], Engine], suppressions: Callable[[], Suppressions]) -> None:
        self._engine, self._suppressions = engine, suppressions

    def look(self, token: str) -> Subscriber:
        """Whom it is for; nothing is changed. Raises :class:`NotFound` ``campaign.link`` for one that we did not make,
        and for somebody who was forgotten."""
        found = _TOKEN.fullmatch(token)
        if found is not None:
            with explained("reading a link"), reading(self._engine()) as connection:
                campaign = rows.numbered(connection, int(found[1]))
                if campaign is not None and hmac.compare_digest(_proof(campaign, int(found[2])), found[3]):
                    mine = (rows.r.c.campaign_id == campaign.id, rows.r.c.number == int(found[2]))
                    address = connection.execute(sa.select(rows.r.c.normalised).where(*mine)).scalar()
                    if address and not is_pseudonym(address):
                        return Subscriber(campaign.key, address, self._suppressions().has_opted_out(address))
        raise NotFound(
            "This link is none of ours, or no longer one.",
            code="campaign.link",
            fix="Use the link of the newest mail, or write to its sender.",
        )

    def leave(self, token: str, why: str = "") -> Subscriber:
        """No more campaigns to this person; the same again changes nothing."""
        who = self.look(token)
        words = " ".join(why.split())[:MOST_WORDS]
        told = f"Unsubscribed by the link of campaign {who.campaign}" + (f": {words}" if words else ".")
        self._suppressions().opt_out(who.address, why=told)
        return self.look(token)

    def come_back(self, token: str) -> Subscriber:
        """Take the person's own wish back; what else the suppression list has of the address stays."""
        self._suppressions().opt_in(self.look(token).address)
        return self.look(token)
