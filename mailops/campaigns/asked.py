"""What large receivers ask of each mail to many, held against the composed mail before it is queued.

The rules are dated data (``providers/bulk.toml``); what DNS must show is looked at by ``mailops domain check``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Literal

from ..dns.check_bulk import BulkRule, bulk_rules
from ..dns.names import is_below
from ..model.address import parse_first
from ..model.text import counted

WORDS = {
    "from_own": ("a From of one's own domain", "Write as an address of a domain of yours, not of a mailbox provider."),
    "aligned": (
        "a DKIM signature of the From's own domain",
        "Sign what leaves: mailops dkim add, or let the provider.",
    ),
    "one_click": (
        "one-click unsubscribing, covered by the signature (RFC 8058)",
        "Set web.base.url to an https address that reaches mailops serve, and sign what leaves.",
    ),
    "visible": ("a link to unsubscribe in the body", "Put {{ unsubscribe_url }} into text and HTML."),
    "reply": ("a From that takes replies", "Write as an address that somebody reads, not as noreply."),
}
_NOREPLY = re.compile(r"(?:do[-_.]?)?no[-_.]?(?:t[-_.]?)?reply", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a receiver asks, for so many ``recipients`` of its own: ``must`` where they are as many as its rule counts
    from, else it is advice. ``missing`` in words, with what to do."""

    receiver: str
    recipients: int
    must: bool
    missing: tuple[str, ...]
    fixes: tuple[str, ...]
    since: str
    source: str
    as_of: str

    @property
    def state(self) -> Literal["passed", "warning", "failed"]:
        return "passed" if not self.missing else "failed" if self.must else "warning"

    @property
    def sentence(self) -> str:
        what = "wants" if self.must else "recommends"
        if not self.missing:
            return f"{self.receiver}: the mail has what is asked of mail to many."
        here = counted(self.recipients, "recipient")
        return f"{self.receiver} ({here} here) {what}: {'; '.join(self.missing)}. {' '.join(self.fixes)}"


def held(raw: bytes, people: Mapping[str, int]) -> list[Asked]:
    """What each receiver asks of a composed, signed mail; ``people`` are recipients by domain."""
    mail = BytesParser(EmailMessage, policy=default).parsebytes(raw)
    met = _met(mail)
    return [_of(rule, met, sum(people.get(name, 0) for name in rule.domains)) for rule in bulk_rules()]


def _of(rule: BulkRule, met: Mapping[str, bool], recipients: int) -> Asked:
    missing = [WORDS[name] for name in rule.mail if not met[name]]
    words, fixes = tuple(one[0] for one in missing), tuple(one[1] for one in missing)
    must = recipients >= rule.from_volume
    return Asked(rule.title, recipients, must, words, fixes, rule.since, rule.source, rule.as_of)


def _met(mail: EmailMessage) -> dict[str, bool]:
    """What a mail has of it."""
    author = parse_first(str(mail.get("From") or ""))
    domain = author.domain.lower() if author else ""
    tags = [_tags(str(one)) for one in mail.get_all("DKIM-Signature") or ()]
    own = [one for one in tags if (by := one.get("d", "").lower()) and (is_below(domain, by) or is_below(by, domain))]
    link, post = str(mail.get("List-Unsubscribe") or ""), str(mail.get("List-Unsubscribe-Post") or "")
    covered = any(
        {"list-unsubscribe", "list-unsubscribe-post"} <= set(one.get("h", "").lower().split(":")) for one in own
    )
    address = re.search(r"<(https?://[^>\s]{1,900})>", link)
    body = "\n".join(
        str(part.get_content()) for part in mail.walk() if part.get_content_type() in ("text/plain", "text/html")
    )
    free = {name for rule in bulk_rules() for name in rule.domains}
    return {
        "from_own": bool(domain) and domain not in free and len(mail.get_all("From") or ()) == 1,
        "aligned": bool(own),
        "one_click": "https:" in link.lower() and post.strip().lower() == "list-unsubscribe=one-click" and covered,
        "visible": bool(address and address[1] in body.replace("&amp;", "&")) or "unsubscribe" in body.lower(),
        "reply": author is not None and not _NOREPLY.fullmatch(author.local),
    }


def _tags(text: str) -> dict[str, str]:
    """The tags of a DKIM-Signature (RFC 6376 §3.5), without white space."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs}
