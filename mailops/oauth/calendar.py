"""The calendar of ends: client secrets, certificates, refresh tokens, API keys; and who still uses passwords.

Warnings begin 60 and 30 days ahead, the last 7 are critical (AZ-18). A refresh token of Microsoft ends 90 days after
its last use, one of Google's Testing status 7 days after the sign-in, other Google ones after six months without use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ..errors import MailopsError
from ..model.setup import Authentication, Server
from ..model.text import counted
from ..model.verdict import Finding, Severity, Verdict, VerdictState
from ..providers import password_rules, provider, provider_of_host
from ..secrets import SecretStore
from .account import Account, Connected, Grant

WARN_DAYS = (60, 30, 7)
IDLE_DAYS = 90
TESTING_DAYS = 7
GOOGLE_IDLE_DAYS = 182
_FIRST = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class End:
    """Something that ends at a moment. ``affects`` are the accounts or servers that stop working then."""

    kind: str  # client_secret, certificate, refresh_token, api_key
    name: str
    at: datetime
    affects: tuple[str, ...] = ()
    fix: str = ""
    moves: bool = False  # moves on with each use, so that it has no date of its own
    said: str = ""  # for what is over already: the provider's refusal in our words

    def days(self, now: datetime) -> int:
        """Whole days left; negative once it is over."""
        return (self.at - now).days

    @property
    def label(self) -> str:
        kinds = {
            "client_secret": "Client secret",
            "certificate": "Certificate",
            "refresh_token": "Sign-in (refresh token)",
            "api_key": "API key",
            "refused": "Sign-in",
            "server_certificate": "Certificate",
            "oauth_client": "OAuth client",
        }
        return f"{kinds.get(self.kind, self.kind)} of {self.name}"


def ends_of(
    accounts: Iterable[Connected],
    *,
    secrets: SecretStore | None = None,
    servers: Sequence[Server] = (),
    api_keys: Sequence[tuple[str, date]] = (),
) -> list[End]:
    """All ends of these accounts, soonest first. ``secrets`` lets certificates be read; ``api_keys`` are name and
    date as a person noted them."""
    found: list[End] = []
    for connected in accounts:
        account, grant = connected.account, connected.grant
        keys = {account.key.lower(), account.user.lower()}
        uses = tuple(s.key for s in servers if {s.key.lower(), (s.login or "").lower()} & keys)
        affects = uses or (account.key,)
        if account.secret_ends:
            fix = (
                "Make a new client secret (24 months at most), store it and its end date; both work until the old one "
                "ends, so nothing is interrupted."
            )
            found.append(End("client_secret", account.key, _end_of(account.secret_ends), affects, fix))
        if account.certificate_public and secrets is not None:
            fix = "Make a new certificate, upload it beside the old one, then change it here."
            from .microsoft import read_certificate

            try:
                end = certificate_end(read_certificate(account, secrets))
                found.append(End("certificate", account.key, end, affects, fix))
            except MailopsError as error:
                gone = datetime(1970, 1, 1, tzinfo=UTC)
                found.append(End("certificate", account.key, gone, affects, error.fix, said=error.message))
        if grant is not None and grant.dead:
            found.append(_dead(account, grant, affects))
        if grant is None or grant.refresh_token is None or account.flow.app_only or grant.lost:
            continue
        used = grant.renewed_at or grant.granted_at
        if account.provider == "gmail" and account.testing and grant.granted_at:
            fix = "Connect again; for good make the consent screen Internal, or publish it."
            found.append(End("refresh_token", account.key, grant.granted_at + timedelta(TESTING_DAYS), affects, fix))
        elif used is not None:
            if account.provider == "gmail":
                what = "Google deletes an OAuth client that nobody uses for six months: send or fetch once."
                unused = used + timedelta(GOOGLE_IDLE_DAYS)
                found.append(End("oauth_client", account.client_id or account.key, unused, affects, what, moves=True))
            days = IDLE_DAYS if account.provider == "outlook" else GOOGLE_IDLE_DAYS
            look = (
                f"mailops doctor connection {uses[0]}"
                if uses
                else f"mailops connect {account.about.command} {account.key}"
            )
            fix = f"It moves with each use: send or fetch once, or run `{look}`."
            found.append(End("refresh_token", account.key, used + timedelta(days), affects, fix, moves=True))
    for name, day in api_keys:
        found.append(End("api_key", name, _end_of(day), (name,), "Make a new key and store it."))
    return sorted(found, key=lambda e: e.at)


def _dead(account: Account, grant: Grant, affects: tuple[str, ...]) -> End:
    """A sign-in that the provider refuses now: it is over, whatever its dates say."""
    told = grant.dead or {}
    at = grant.renewed_at or grant.granted_at or datetime(1970, 1, 1, tzinfo=UTC)
    kind = "refresh_token" if grant.lost else "refused"
    fix = str(told.get("fix") or f"Connect again: mailops connect {account.about.command} {account.user}")
    return End(kind, account.key, at, affects, fix, said=str(told.get("message") or "The provider refuses it."))


def _end_of(day: date) -> datetime:
    """A date as a person reads it in the console: the beginning of that day in UTC, to be on the safe side."""
    return datetime.combine(day, time(), UTC)


def certificate_end(pem: str) -> datetime:
    """When a PEM certificate ends. Raises ValueError for what is none."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc


def verdict_of_end(end: End, now: datetime) -> Verdict:
    """How urgent an end is: fine, warning (60 and 30 days), critical (7 days), over."""
    days = end.days(now)
    evidence: dict[str, Any] = {
        "kind": end.kind,
        "ends": end.at.isoformat(),
        "days": days,
        "affects": list(end.affects),
    }
    names = ", ".join(end.affects)
    if end.said:
        state, code, level = VerdictState.FAILED, "calendar.dead", "error"
        found = f"It works no more: {end.said} Affected: {names}."
    elif end.at <= now:
        state, code, level = VerdictState.FAILED, "calendar.over", "error"
        found = f"Ended on {end.at:%Y-%m-%d}; affected: {names}."
    elif days <= WARN_DAYS[2]:
        state, code, level = VerdictState.FAILED, "calendar.critical", "critical"
        found = f"Ends in {counted(days, 'day')}, on {end.at:%Y-%m-%d}; then these stop: {names}."
    elif days <= WARN_DAYS[0]:
        state, code, level = VerdictState.WARNING, "calendar.soon", "warning" if days <= WARN_DAYS[1] else "notice"
        found = f"Ends in {counted(days, 'day')}, on {end.at:%Y-%m-%d}; then these stop: {names}."
    else:
        state, code, level = VerdictState.PASSED, "calendar.fine", ""
        found = f"Ends on {end.at:%Y-%m-%d} ({counted(days, 'day')})."
    evidence["level"] = level
    fix = end.fix if state is not VerdictState.PASSED else ""
    return Verdict(
        "oauth.calendar", end.name, state, end.label, found, "More than 60 days left", fix, code, evidence, now
    )


# --- iCalendar --------------------------------------------------------------------------------------------------------


def icalendar(ends: Sequence[End], now: datetime) -> str:
    """The ends as an iCalendar file (RFC 5545) with alarms 60, 30 and 7 days ahead; CRLF line ends.

    Only ends with a date of their own: what moves with each use would ring for nothing, what is over needs no date. An
    event keeps its UID, and its SEQUENCE grows with the date, so a calendar that holds it moves it.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//mailops//calendar of ends//EN", "CALSCALE:GREGORIAN"]
    for end in ends:
        if end.moves or end.said:
            continue
        day = end.at.astimezone(UTC)
        lines += [
            "BEGIN:VEVENT",
            f"UID:{_uid(end)}",
            f"DTSTAMP:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            f"LAST-MODIFIED:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}",
            f"SEQUENCE:{max(0, (day - _FIRST).days)}",
            f"DTSTART;VALUE=DATE:{day:%Y%m%d}",
            f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}",
            f"SUMMARY:{_escape(end.label + ' ends')}",
            f"DESCRIPTION:{_escape('Affected: ' + ', '.join(end.affects) + '. ' + end.fix)}",
            "TRANSP:TRANSPARENT",
        ]
        for days in WARN_DAYS:
            if end.days(now) < days:
                continue
            lines += [
                "BEGIN:VALARM",
                "ACTION:DISPLAY",
                "DESCRIPTION:" + _escape(f"{end.label} ends in {counted(days, 'day')}"),
                f"TRIGGER:-P{days}D",
                "END:VALARM",
            ]
        lines.append("END:VEVENT")
    lines.append("END:VCALENDAR")
    return "".join(_fold(line) for line in lines)


def _uid(end: End) -> str:
    import hashlib

    return hashlib.sha256(f"{end.kind}\0{end.name}".encode()).hexdigest()[:32] + "@mailops.invalid"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\r", "").replace("\n", "\\n")


def _fold(line: str) -> str:
    """RFC 5545 section 3.1: at most 75 octets a line, never inside a character."""
    out, size = "", 0
    for char in line:
        width = len(char.encode())
        if size + width > 75:
            out, size = out + "\r\n ", 1
        out, size = out + char, size + width
    return out + "\r\n"


# --- who still uses passwords -----------------------------------------------------------------------------------------


def password_servers(servers: Sequence[Server], today: date, *, protocol: str = "smtp") -> list[Finding]:
    """The servers that sign in with a password at a provider that stops taking them, with the dates of its rules."""
    found: list[Finding] = []
    for server in servers:
        if server.authentication is not Authentication.LOGIN:
            continue
        of = provider_of_host(server.host)
        if of is None and server.provider in ("outlook", "gmail"):
            of = provider(server.provider)
        rules = password_rules(of.id, protocol) if of else ()
        closing = [r for r in rules if not r.taken and r.since]
        if of is None or not closing:
            continue
        rule = closing[-1]
        assert rule.since is not None
        if rule.app_passwords:
            found.append(
                Finding(
                    "auth.app_password",
                    Severity.NOTE,
                    f"{server.name} signs in at {of.product} with a password; only an app password works there.",
                    fix="Nothing, if it is an app password. Better: "
                    f"mailops connect {of.command} {server.login or 'ADDRESS'}",
                    facts={"server": server.key, "says": rule.says, "source": rule.source},
                )
            )
            continue
        over = rule.since <= today
        days = (rule.since - today).days
        when = (
            f"since {rule.since:%Y-%m-%d}" if over else f"from {rule.since:%Y-%m-%d} ({counted(days, 'day')} from now)"
        )
        found.append(
            Finding(
                "auth.password_retired" if over else "auth.password_ends",
                Severity.ERROR if over else Severity.WARNING,
                f"{server.name} signs in at {of.product} with a password; {when} such sign-ins are not taken "
                "by default.",
                fix=f"Connect this server by OAuth: mailops connect {of.command} {server.login or 'ADDRESS'}",
                facts={"server": server.key, "since": rule.since.isoformat(), "says": rule.says, "source": rule.source},
            )
        )
    return found


def deadlines(servers: Sequence[Server], today: date) -> list[Finding]:
    """The dated rules of providers, matched to the own servers: ``3 of 7 servers stop on …``, one finding a date."""
    by_date: dict[tuple[str, str], list[Finding]] = {}
    for one in password_servers(servers, today):
        if "since" in one.facts and one.code in ("auth.password_ends", "auth.password_retired"):
            by_date.setdefault((str(one.facts["since"]), str(one.facts["source"])), []).append(one)
    active = [s for s in servers if s.active]
    found = []
    for (since, source), hit in sorted(by_date.items()):
        names = [str(f.facts["server"]) for f in hit]
        over = since <= today.isoformat()
        verb = ("stopped" if over else "stop") if len(names) > 1 else ("stopped" if over else "stops")
        found.append(
            Finding(
                "calendar.deadline",
                Severity.ERROR if over else Severity.WARNING,
                f"{len(names)} of {len(active)} servers {verb} on {since}: {', '.join(names)}.",
                fix=f"Walk the guide for each: mailops connect guide {_guide_of(servers, names[0])}. "
                f"{hit[0].facts['says']}",
                facts={"servers": names, "of": len(active), "date": since, "source": source},
            )
        )
    return found


def _guide_of(servers: Sequence[Server], key: str) -> str:
    server = next(s for s in servers if s.key == key)
    about = provider_of_host(server.host)
    return "google" if (about.id if about else server.provider) == "gmail" else "azure"
