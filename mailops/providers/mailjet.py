"""Mailjet's API: the calls that the guide needs (senders, validation, DNS, DNS check), and what became of messages.

Key pair = basic authentication. Ids and flags come as numbers or as texts; both are read. Addresses and answers are
bounded; errors are told from the catalogue (``auth.mailjet-…``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from ..errors import AuthError
from ..secrets import Secret, redact

BASE = "https://api.mailjet.com"
PAGE, MOST = 1000, 100_000
"""Messages of one answer, and of all answers to one question."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender address, or with ``*@domain`` a whole domain. ``active``: validated."""

    id: int
    email: str
    active: bool
    type: str = ""
    domain_id: int | None = None

    @property
    def whole_domain(self) -> str | None:
        return self.email[2:] if self.email.startswith("*@") else None


@dataclass(frozen=True, slots=True)
class DomainRecords:
    """What Mailjet wants to see in DNS, and how it stands. Statuses: ``OK``, ``Error``, ``Not checked``."""

    id: int
    domain: str
    ownership_name: str
    ownership_value: str
    dkim_name: str
    dkim_value: str
    dkim_status: str
    spf_value: str
    spf_status: str
    checking: bool = False
    last_check: str = ""


@dataclass(frozen=True, slots=True)
class DnsCheck:
    """The outcome of a check: statuses, and what Mailjet saw instead."""

    dkim_status: str
    spf_status: str
    dkim_errors: tuple[str, ...] = ()
    dkim_current: str = ""
    spf_errors: tuple[str, ...] = ()
    spf_current: tuple[str, ...] = field(default=())


class MailjetApi:
    """``client`` may be given for another base address (a test double)."""

    def __init__(self, key: str, secret: Secret, *, base: str = BASE, timeout: float = 20.0) -> None:
        self._client = httpx.Client(base_url=base, auth=(key, secret.reveal()), timeout=timeout, follow_redirects=False)

    def __enter__(self) -> MailjetApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def senders(self) -> list[Sender]:
        """All senders of the account."""
        return [_sender(row) for row in self._rows("GET", "/v3/REST/sender", params={"Limit": 1000})]

    def validate(self, sender_id: int) -> bool:
        """Ask for the validation of a sender; whether it is active now."""
        found = self._rows("POST", f"/v3/REST/sender/{sender_id}/validate", rows=False)
        return str(found[0].get("GlobalError") or "") == "" and _true(found[0].get("ValidationMethod") or "ok")

    def dns(self, domain: str) -> DomainRecords:
        """The records Mailjet wants for a domain."""
        return _records(self._rows("GET", f"/v3/REST/dns/{quote(domain, safe='')}")[0])

    def check_dns(self, dns_id: int) -> DnsCheck:
        """Have Mailjet look into DNS now."""
        row = self._rows("POST", f"/v3/REST/dns/{dns_id}/check")[0]
        return DnsCheck(
            str(row.get("DKIMStatus", "")),
            str(row.get("SPFStatus", "")),
            _texts(row.get("DKIMErrors")),
            str(row.get("DKIMRecordCurrentValue") or ""),
            _texts(row.get("SPFErrors")),
            _texts(row.get("SPFRecordsCurrentValues")),
        )

    def messages(self, status: int, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """The messages of a time with this ``MessageStatus``, page by page."""
        asked = {"MessageStatus": status, "FromTS": int(since.timestamp()), "ToTS": int(until.timestamp())}
        shown = {"ShowContactAlt": "true", "ShowCustomID": "true", "Limit": PAGE}
        for offset in range(0, MOST, PAGE):
            rows = self._rows("GET", "/v3/REST/message", params={**asked, **shown, "Offset": offset})
            yield from rows
            if len(rows) < PAGE:
                return

    def history(self, message: str) -> list[Mapping[str, Any]]:
        """What became of one message, event by event."""
        return list(self._rows("GET", f"/v3/REST/messagehistory/{quote(message, safe='')}"))

    def _rows(self, method: str, path: str, *, rows: bool = True, **options: Any) -> list[dict[str, Any]]:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise AuthError(
                "Mailjet's API cannot be reached.",
                code="auth.unreachable",
                facts={"class": "retry", "reason": type(error).__name__},
                fix="Check the network and the proxy, then try again.",
            ) from error
        if response.status_code >= 400:
            raise _refused(response)
        try:
            content = response.json()
        except ValueError:
            content = None
        data = content.get("Data") if isinstance(content, dict) and rows else [content]
        if (
            not isinstance(data, list)
            or not all(isinstance(r, dict) for r in data)
            or (rows and not data and method == "POST")
        ):
            raise AuthError(
                "Mailjet's answer has an unknown shape.",
                code="auth.mailjet-answer",
                facts={"path": path, "status": response.status_code},
                fix="Try again; if it persists, do this step on Mailjet's pages.",
            )
        return data


def covered(address: str, senders: list[Sender], account_address: str = "") -> bool:
    """Whether Mailjet sends for this address: verified itself, by its domain, or the account's own (MJ-08, 09, 14)."""
    address = address.strip().lower()
    if account_address and address == account_address.strip().lower():
        return True
    domain = address.rpartition("@")[2]
    return any(s.active and (s.email == address or s.whole_domain == domain) for s in senders)


def _refused(response: httpx.Response) -> AuthError:
    from .refusals import explain_reply

    said = redact(response.text[:500])
    row = explain_reply("mailjet", "api", f"{response.status_code} {said}")
    facts: dict[str, Any] = {"status": response.status_code, "said": said}
    if row is None:
        return AuthError("Mailjet refused the request.", code="auth.mailjet", facts=facts, fix="Read Mailjet's words.")
    facts |= {"row": row.id, "class": row.kind, "who": row.who}
    return AuthError(row.cause, code=f"auth.{row.id}", facts=facts, fix=row.fix)


def _sender(row: dict[str, Any]) -> Sender:
    return Sender(
        _int(row.get("ID")),
        str(row.get("Email", "")).lower(),
        str(row.get("Status", "")).lower() == "active",
        str(row.get("EmailType", "")),
        _int(row["DNSID"]) if row.get("DNSID") else None,
    )


def _records(row: dict[str, Any]) -> DomainRecords:
    def text(name: str) -> str:
        return str(row.get(name) or "")

    return DomainRecords(
        _int(row.get("ID")), text("Domain"), text("OwnerShipTokenRecordName").rstrip("."), text("OwnerShipToken"),
        text("DKIMRecordName").rstrip("."), text("DKIMRecordValue"), text("DKIMStatus"), text("SPFRecordValue"),
        text("SPFStatus"), _true(row.get("IsCheckInProgress")), text("LastCheckAt"),
    )  # fmt: skip


def _int(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def _true(value: object) -> bool:
    return str(value).strip().lower() not in ("", "0", "false", "none")


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value] if value else []
    return tuple(str(i) for i in items)
