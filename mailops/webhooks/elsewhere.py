"""Mailjet's events by other roads than its webhook: from its API, and from a file (CSV).

Both are brought into the form of the webhook, so that an event has the same key by whatever road it comes, and counts
once. Times differ by road now and then; a mail comes back from an address, is blocked for it or complained of once, so
what is known of message, kind and address is known, whatever its time.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from ..errors import InputRefused

ERRORS = {
    1: "user unknown", 2: "mailbox inactive", 3: "quota exceeded", 4: "invalid domain", 5: "no mail host",
    6: "relay/access denied", 7: "sender blocked", 8: "content blocked", 9: "policy issue", 10: "system issue",
    11: "protocol issue", 12: "connection issue", 13: "greylisted", 14: "preblocked", 15: "duplicate in campaign",
    16: "spam preblocked", 17: "bad or empty template", 18: "error in template language", 19: "typofix",
    20: "blacklisted", 21: "spam reporter",
}  # fmt: skip
"""Why a message was not delivered, by ``StateID`` (dev.mailjet.com, Messages: MessageState, read in November 2026)."""
STATUSES = {5: "bounce", 6: "spam", 8: "blocked", 9: "bounce", 10: "bounce"}
"""``MessageStatus`` that is asked for → the webhook's name of the event (bounce, spam, blocked, soft, hard)."""
_HISTORY = {"bounced": "bounce", "bounce": "bounce", "spam": "spam", "blocked": "blocked"}
HARD = 10
COLUMNS = {
    "event": ("event", "eventtype", "event_type", "status"),
    "email": ("email", "recipient", "to", "contactalt"),
    "time": ("time", "eventat", "event_at", "timestamp", "date"),
    "Message_GUID": ("message_guid", "messageguid", "messageuuid", "uuid"),
    "MessageID": ("messageid", "message_id", "id"),
    "CustomID": ("customid", "custom_id"),
    "error": ("error", "reason"),
    "comment": ("comment", "description"),
    "hard_bounce": ("hard_bounce", "hardbounce", "ishardbounce"),
}
"""Field of the webhook → names a column may have, in small letters without spaces."""
_SAME = {"bounced": "bounce", "hardbounced": "bounce", "softbounced": "bounce", "hardbounce": "bounce"}
_SAME |= {"softbounce": "bounce", "complaint": "spam"}


class Source(Protocol):
    """Mailjet's API, as far as it is asked here (:class:`mailops.providers.mailjet.MailjetApi`)."""

    def messages(self, status: int, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]: ...

    def history(self, message: str) -> list[Mapping[str, Any]]: ...


def from_api(api: Source, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """What came back, was blocked or complained of among the mail of a time, as the webhook would have told it."""
    for status, event in STATUSES.items():
        for message in api.messages(status, since, until):
            number = str(message.get("ID") or "")
            told = [one for one in api.history(number) if _HISTORY.get(str(one.get("EventType")).lower()) == event]
            for one in told:
                yield {
                    "event": event,
                    "time": one.get("EventAt"),
                    "email": message.get("ContactAlt"),
                    "MessageID": number,
                    "Message_GUID": message.get("UUID"),
                    "CustomID": message.get("CustomID"),
                    "error": ERRORS.get(_whole(message.get("StateID"))) or str(one.get("State") or ""),
                    "comment": one.get("Comment"),
                    "hard_bounce": status == HARD or str(message.get("Status")).lower() == "hardbounced",
                }


def from_csv(text: str) -> Iterator[dict[str, Any]]:
    """The events of a file with a heading (comma, semicolon or tab). Raises :class:`InputRefused` for one without the
    columns event, email, time and a message's number."""
    text = text.lstrip("\ufeff")
    heading = text.partition("\n")[0]
    mark = max(",;\t", key=heading.count)
    rows = csv.DictReader(text.splitlines(), delimiter=mark)
    named = {"".join(str(name).lower().split()): str(name) for name in rows.fieldnames or ()}
    where = {field: named[n] for field, names in COLUMNS.items() for n in names if n in named}
    missing = [field for field in ("event", "email", "time") if field not in where]
    missing += ["Message_GUID or MessageID"] if not {"Message_GUID", "MessageID"} & where.keys() else []
    if missing:
        raise InputRefused(
            "The file of events lacks columns.",
            code="input.events_columns",
            facts={"missing": missing, "columns": sorted(named.values())[:30]},
            fix="Export events with their kind, address, time and the message's number, with a heading.",
        )
    for row in rows:
        item: dict[str, Any] = {field: (row.get(column) or "").strip() for field, column in where.items()}
        said = item["event"].lower().replace(" ", "")
        hard = str(item.get("hard_bounce", "")).lower() in ("1", "true", "yes") or said.startswith("hard")
        yield {**item, "event": _SAME.get(said, said), "hard_bounce": hard, "time": _moment(item["time"])}


def _moment(text: str) -> int | str:
    """Unix seconds, as the webhook has them, also of a date and time (UTC where no zone is named)."""
    if text.isdecimal():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _whole(value: object) -> int:
    text = str(value)
    return int(text) if text.isdecimal() else 0


def known_as(item: Mapping[str, Any]) -> list[str]:
    """How the keys begin that this event may have: by the message's GUID and by its number."""
    numbers = [str(item.get(name) or "") for name in ("Message_GUID", "MessageID")]
    return [f"{number}/{item.get('event')}/{item.get('email')}/" for number in numbers if number]
