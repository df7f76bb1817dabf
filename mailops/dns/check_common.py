"""What the SPF, DKIM and DMARC checks share."""

from __future__ import annotations

from ..providers.records import SENDERS, SendingProfile
from .domain_model import SendingSetup
from .records import ZoneRecord

CONSEQUENCE = "Without it mail may be quarantined or not delivered at all."


def profiles_of(setup: SendingSetup) -> tuple[SendingProfile, ...]:
    """The profiles of the services that send; none for an own server."""
    return tuple(SENDERS[key] for key in setup.services if key in SENDERS)


def standing(name: str, text: str) -> ZoneRecord:
    """A TXT record as it stands in the zone (one character an octet), to be taken away."""
    shown = readable(text)
    octets = text.encode("latin-1", "replace")
    return ZoneRecord(name, "TXT", shown, raw=b"" if shown.encode("utf-8") == octets else octets)


def readable(text: str) -> str:
    """Octets shown in Latin-1 as the UTF-8 text they were, so that the record is recognised when taken away."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
