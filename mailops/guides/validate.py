"""Validators of inputs: pure functions from text and answers to a cleaned value and findings.

An *error* keeps the step open and stores nothing; a *warning* is stored with the step. No finding repeats a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from ..errors import ConfigError
from ..model.address import is_valid
from ..model.filters import parse_filter, read_filter
from ..model.setup import Profile
from ..model.text import counted
from ..model.verdict import Finding, Severity
from ..oauth.redirects import PLACEHOLDERS, authorized_domain, check_base_url, clean_base, compare_uris, is_tenant
from ..routing.ports import port_finding
from ..secrets import Secret, looks_like_secret
from .model import Input

GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
GOOGLE_ID = re.compile(r"\d+-[0-9a-z]+\.apps\.googleusercontent\.com")
TEST_USERS = 100
NEEDED_PERMISSIONS = {"SMTP.Send": "sending", "IMAP.AccessAsUser.All": "reading"}
MAX_SECRET_MONTHS = 24


@dataclass(frozen=True, slots=True)
class Checked:
    """A cleaned value, what there is to say, and further answers that came with it (a JSON file)."""

    value: str
    findings: tuple[Finding, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Around:
    """What a validator may look at besides its text."""

    input: Input
    answers: Mapping[str, Any]
    profile: Profile
    values: Mapping[str, str]
    now: datetime


Validator = Callable[[str, Around], Checked]


def _error(text: str, code: str, message: str, fix: str = "", **facts: Any) -> Checked:
    return Checked(text, (Finding(f"guide.{code}", Severity.ERROR, message, fix, facts),))


def _warning(text: str, code: str, message: str, fix: str = "", **facts: Any) -> Checked:
    return Checked(text, (Finding(f"guide.{code}", Severity.WARNING, message, fix, facts),))


def validate(
    one: Input, text: str, answers: Mapping[str, Any], profile: Profile, values: Mapping[str, str], now: datetime
) -> Checked:
    """Check one input's text. Choices must be one of the list; dates are ISO; the rest is the named validator's."""
    text = text.strip()
    if one.kind == "choice":
        chosen = next((c for c in one.choices if c.value == text), None)
        if chosen is None:
            return _error(
                text, "choice", f"{one.label}: {text[:40]!r} is not one of the choices.", "Pick one of the list."
            )
        if chosen.stops:
            stopped = _warning(
                text, "choice_stops", f"With {chosen.label!r}: {chosen.stops}", "Pick the recommended one."
            )
            if not one.check:
                return stopped
    if one.kind in ("email",) and not is_valid(text):
        return _error(text, "address", f"{one.label}: this is not an e-mail address.", "Enter it as name@domain.")
    check = VALIDATORS.get(one.check)
    return check(text, Around(one, answers, profile, values, now)) if check else Checked(text)


# --- Microsoft --------------------------------------------------------------------------------------------------------


def client_id_microsoft(text: str, around: Around) -> Checked:
    """AZ-16: a GUID."""
    if GUID.fullmatch(text):
        return Checked(text.lower())
    if looks_like_secret(text):
        return _error("", "client_id", "This looks like a secret, not like the Client ID.",
                      "Copy Application (client) ID from Overview; the secret goes into the next step.")  # fmt: skip
    return _error(text, "client_id", "The Client ID is a GUID such as 0f8fad5b-d9cb-469f-a165-70867728950e.",
                  "Copy Application (client) ID from Overview, below Display Name in Essentials.")  # fmt: skip


def client_secret_microsoft(text: str, around: Around) -> Checked:
    """AZ-20: the Value, not the Secret ID."""
    if GUID.fullmatch(text):
        return _error("", "secret_id", "This looks like the Secret ID; paste the Value.",
                      "Certificates & Secrets: copy the column Value; once hidden, make a new secret.")  # fmt: skip
    if len(text) < 16 or re.search(r"\s", text):
        return _error("", "client_secret", "This is too short for a client secret, or holds blanks.",
                      "Copy the whole Value with the copy button beside it.")  # fmt: skip
    if "•" in text or set(text) == {"*"}:
        return _error(
            "", "client_secret", "This is the hidden form of a secret.", "Make a new secret and copy its Value."
        )
    return Checked(text)


def permissions(text: str, around: Around) -> Checked:
    """AZ-11, AZ-12: both permissions are there; ``User.Read`` is there by default and neither wanted nor surplus."""
    given = {p.strip().rsplit("/", 1)[-1] for p in re.split(r"[\s,;]+", text) if p.strip()}
    known = {p.lower(): p for p in (*NEEDED_PERMISSIONS, "User.Read", "POP.AccessAsUser.All", "offline_access")}
    named = {known.get(p.lower(), p) for p in given}
    missing = {p: what for p, what in NEEDED_PERMISSIONS.items() if p not in named}
    value = ", ".join(sorted(named))
    if missing:
        words = " ".join(f"{p} is missing, so {what} will not work." for p, what in missing.items())
        return _error(value, "permission_missing", words, "Search and *Add permissions* for it.",
                      missing=sorted(missing), breaks=sorted(missing.values()))  # fmt: skip
    return Checked(value)


def permissions_app(text: str, around: Around) -> Checked:
    """The application's own permissions are there."""
    given = {p.strip().rsplit("/", 1)[-1].lower() for p in re.split(r"[\s,;]+", text) if p.strip()}
    missing = [p for p in ("SMTP.SendAsApp", "IMAP.AccessAsApp") if p.lower() not in given]
    if missing and {p.lower() for p in NEEDED_PERMISSIONS} & given:
        return _error(text, "permission_delegated", "These are delegated permissions: they need a person who signs in.",
                      "Add a permission > Office 365 Exchange Online > Application permissions.")  # fmt: skip
    if missing:
        return _error(text, "permission_missing", f"{' and '.join(missing)} missing.",
                      "Application permissions: tick it, press Add permissions.", missing=missing)  # fmt: skip
    return Checked(text)


def guid(text: str, around: Around) -> Checked:
    if GUID.fullmatch(text):
        return Checked(text.lower())
    return _error(text, "guid", f"{around.input.label}: this is no GUID.", "Copy it with the button beside it.")


def app_object(text: str, around: Around) -> Checked:
    """The Enterprise application's object id: neither the Client ID nor the registration's object id."""
    checked = guid(text, around)
    if checked.findings:
        return checked
    if checked.value == str(around.answers.get("client_id") or "").lower():
        return _error(text, "app_object", "This is the Client ID, not the Object ID.",
                      "Enterprise applications > the application > Overview: Object ID.")  # fmt: skip
    if checked.value == str(around.answers.get("registration_object") or "").lower():
        return _error(text, "app_object", "This is the App registration's object id; Exchange wants the Enterprise "
                      "application's.", "Enterprise applications > the application > Overview: Object ID.")  # fmt: skip
    return checked


def service_json(text: str, around: Around) -> Checked:
    """The JSON key of a service account."""
    try:
        raw = json.loads(text) if len(text) < 65_536 else None
    except ValueError:
        raw = None
    given = raw if isinstance(raw, dict) else {}
    if given.get("type") != "service_account" or "PRIVATE KEY" not in str(given.get("private_key")):
        kind = "the JSON of an OAuth client" if {"web", "installed"} & set(given) else "no such key"
        return _error("", "service_json", f"This is {kind}, not the JSON key of a service account.",
                      "Service Accounts > Keys > Add key > JSON: give the whole file.")  # fmt: skip
    return Checked(text, (), {"sa_client_id": str(given.get("client_id", ""))})


def secret_ends(text: str, around: Around) -> Checked:
    """AZ-17, AZ-18: the date of expiration, ISO; as far away as possible."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _error(text, "date", f"{around.input.label}: write the date as 2028-11-30.", "Year-month-day.")
    today = around.now.date()
    if day <= today:
        return _error(text, "secret_over", "This secret has ended already.", "Make a new one and take a later date.")
    days = (day - today).days
    if days > MAX_SECRET_MONTHS * 31:
        return _warning(text, "secret_date", "The portal allows 24 months at most; is this date right?")
    if days <= 180:
        return _warning(text, "secret_soon", (f"This secret ends in {counted(days, 'day')}; service may be "
            "interrupted then."),
                        "Set the expiration date as far away as possible.")  # fmt: skip
    return Checked(day.isoformat())


def web_base(text: str, around: Around) -> Checked:
    """AZ-07, AZ-08, GO-19: a base that can be registered, no placeholder, the same as the one stored."""
    try:
        base = clean_base(text)
    except ConfigError as error:
        return _error(text, "base_url", error.message, error.fix)
    if _provider(around) == "gmail":
        try:
            authorized_domain(base, around.profile.hosted_suffix)
        except ConfigError as error:
            return _error(text, "base_url", error.message, error.fix)
    stored = around.values.get("stored_base") or around.profile.web_base_url
    finding = check_base_url(_provider(around), stored, base) if stored else None
    return Checked(
        base, (Finding(finding.code, Severity.WARNING, finding.message, finding.fix, finding.facts),) if finding else ()
    )


def _provider(around: Around) -> str:
    google = "google" in around.values.get("redirect_uri", "") or "user_type" in around.answers
    return "gmail" if google or "console_account" in around.answers else "outlook"


def tenant_id(text: str, around: Around) -> Checked:
    """AZ-06: a tenant of one's own, by id or domain."""
    if is_tenant(text):
        return Checked(text.lower())
    return _error(text, "tenant", f"{text[:60]!r} is no tenant: that is a GUID, or a domain such as contoso.example.",
                  "Overview: copy Directory (tenant) ID.")  # fmt: skip


def registered_uri(text: str, around: Around) -> Checked:
    """AZ-08, GO-19: letter for letter the address that is sent."""
    placeholder = no_placeholder(text, around)
    if placeholder.findings:
        return placeholder
    sent = around.values.get("redirect_uri", "")
    diff = compare_uris(text, sent)
    if diff.equal or not sent.startswith("http"):
        return Checked(text)
    code = "auth.google-redirect" if _provider(around) == "gmail" else "auth.ms-50011"
    return Checked(text, (Finding(
        code, Severity.ERROR, f"The console has {text}, but {sent} is sent: {'; '.join(diff.words)}.",
        f"Enter it in the console letter by letter: {sent}",
        {"registered": text, "sent": sent, "diff": diff.marked}),))  # fmt: skip


def filter_of_mailbox(text: str, around: Around) -> Checked:
    """AZ-26: a domain or an address; at Outlook only the mailbox itself lets mail leave without Send As."""
    checked = from_filter(text, around)
    mailbox = str(around.answers.get("username") or around.answers.get("mailbox") or "").lower()
    held = read_filter(text)
    if checked.findings or not mailbox or (held.addresses == (mailbox,) and not held.domains):
        return checked
    wire = f"bounce@{held.domains[0]}" if held.domains else next(iter(held.addresses), "")
    return Checked(text, (Finding(
        "plan.filter_not_mailbox", Severity.WARNING,
        f"With this filter mail leaves with an envelope sender such as {wire}, and Outlook refuses it (SendAsDenied): "
        f"{mailbox} may send as itself only.",
        f"Set the FROM filter to {mailbox}, or have Send As granted on {wire}.",
        {"filter": text, "mailbox": mailbox, "envelope": wire}),))  # fmt: skip


# --- Google -----------------------------------------------------------------------------------------------------------


def client_id_google(text: str, around: Around) -> Checked:
    if GOOGLE_ID.fullmatch(text):
        return Checked(text)
    if text.startswith("GOCSPX-"):
        return _error("", "client_id", "This is the Client Secret, not the Client ID.", "Swap the two values.")
    return _error(text, "client_id", "The Client ID ends in .apps.googleusercontent.com.",
                  "Credentials > the client: copy Client ID whole.")  # fmt: skip


def client_secret_google(text: str, around: Around) -> Checked:
    if text.endswith(".apps.googleusercontent.com"):
        return _error("", "client_secret", "This is the Client ID, not the Client Secret.", "Swap the two values.")
    if len(text) < 16 or re.search(r"\s", text):
        return _error("", "client_secret", "This is too short for a Client Secret, or holds blanks.", "Copy it whole.")
    return Checked(text)


def client_json(text: str, around: Around) -> Checked:
    """GO-17, GO-20, GO-31: the console's JSON file; type ``web``, with the right redirect address."""
    try:
        raw = json.loads(text) if len(text) < 65_536 else None
    except ValueError:
        raw = None
    if not isinstance(raw, dict) or not ({"web", "installed"} & set(raw)):
        return _error("", "client_json", "This is not the JSON of an OAuth client.", "Credentials > Download JSON.")
    if "installed" in raw:
        return Checked("", (Finding(
            "auth.google-redirect", Severity.ERROR,
            "This client is of type Desktop App; its sign-in ends in Error 400: redirect_uri_mismatch.",
            "Delete these credentials and make new ones as Web Application with the URI "
            f"{around.values['redirect_uri']}.",
            {"type": "installed", "rows": ["GO-17", "GO-31"]}),))  # fmt: skip
    client = raw["web"]
    wanted = around.values.get("redirect_uri", "")
    registered = [str(u) for u in client.get("redirect_uris", ())]
    findings: list[Finding] = []
    if wanted and wanted not in registered:
        nearest = registered[0] if registered else ""
        diff = compare_uris(nearest, wanted)
        slips = f" {'; '.join(diff.words)}." if nearest else ""
        facts = {"registered": registered, "sent": wanted, "diff": diff.marked}
        findings.append(
            Finding(
                "auth.google-redirect",
                Severity.ERROR,
                f"The client does not list {wanted}.{slips}",
                f"Authorized redirect URIs > ADD URI: {wanted}",
                facts,
            )
        )
    found = {
        "client_id": str(client.get("client_id", "")),
        "client_secret": Secret(str(client.get("client_secret", ""))),
    }
    return Checked("", tuple(findings), {} if findings else found)


def user_type(text: str, around: Around) -> Checked:
    """GO-08: personal accounts may only be External."""
    if text == "internal" and around.answers.get("account_kind") == "personal":
        return _error(text, "user_type", "Personal accounts may only be External: Internal needs an organization of "
                      "Google Workspace.", "Choose External.")  # fmt: skip
    return Checked(text)


def test_users(text: str, around: Around) -> Checked:
    """GO-09, GO-14: at most 100, and the address to be configured is among them."""
    users = [u for u in re.split(r"[\s,;]+", text.lower()) if u]
    value = ", ".join(dict.fromkeys(users))
    bad = [u for u in users if not is_valid(u)]
    if bad:
        return _error(value, "address", f"{bad[0][:80]} is not an e-mail address.", "One address a line.")
    if len(set(users)) > TEST_USERS:
        return _error(value, "test_users", f"{len(set(users))} test users; Google allows {TEST_USERS}.",
                      "Remove some, make the app Internal, or publish it.", limit=TEST_USERS)  # fmt: skip
    mailbox = str(around.answers.get("mailbox") or "").lower()
    if mailbox and mailbox not in users:
        return _error(value, "test_user_missing", f"{mailbox} is no test user; its sign-in ends in 403 access denied.",
                      "Add Users: enter this address too.", rows=["GO-14", "GO-29"], missing=mailbox)  # fmt: skip
    return Checked(value)


def console_account(text: str, around: Around) -> Checked:
    """GO-02: better the address to configure; another one is a warning."""
    if not is_valid(text):
        return _error(text, "address", "This is not an e-mail address.", "Enter it as name@domain.")
    mailbox = str(around.answers.get("mailbox") or "").lower()
    if mailbox and mailbox != text.lower():
        return _warning(text, "other_address", f"The console is signed in as {text}; to be configured is {mailbox}.",
                        "Better sign in with the address to be configured.")  # fmt: skip
    return Checked(text.lower())


# --- common and Mailjet -----------------------------------------------------------------------------------------------


def from_filter(text: str, around: Around) -> Checked:
    """AZ-26: a domain or an address (or a comma-separated list)."""
    try:
        parse_filter(text)
    except ConfigError as error:
        return _error(text, "from_filter", error.message, error.fix)
    return Checked(text)


def addresses(text: str, around: Around) -> Checked:
    parts = [p for p in re.split(r"[\s,;]+", text) if p]
    bad = [p for p in parts if not is_valid(p)]
    if bad:
        return _error(text, "address", f"{bad[0][:80]} is not an e-mail address.", "One address a line.")
    return Checked(", ".join(parts))


def port(text: str, around: Around) -> Checked:
    """MJ-04: port 25 is refused on hosted kinds; only numbers."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        return _error(text, "port", "The port is a number from 1 to 65535.", "587 or 465.")
    blocked = port_finding(around.profile.hosting, int(text), "mailjet")
    return Checked(text, (blocked,) if blocked else ())


def mailjet_key(text: str, around: Around) -> Checked:
    """MJ-05, MJ-06: 32 hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        return _warning(text, "mailjet_key", f"{around.input.label}: Mailjet's keys have 32 digits and letters a to f.",
                        "Copy it whole; the site's password is not a key.")  # fmt: skip
    return Checked(text)


def no_placeholder(text: str, around: Around) -> Checked:
    lowered = text.lower()
    for word in PLACEHOLDERS:
        if word in lowered:
            return _error(text, "placeholder", f"{word!r} is a placeholder.", "Put the real name in its place.")
    return Checked(text)


VALIDATORS: dict[str, Validator] = {
    f.__name__: f
    for f in (
        client_id_microsoft, client_secret_microsoft, permissions, secret_ends, web_base, client_id_google,
        client_secret_google, client_json, user_type, test_users, console_account, from_filter, addresses, port,
        mailjet_key, no_placeholder, tenant_id, registered_uri, filter_of_mailbox,
        permissions_app, guid, app_object, service_json,
    )
}  # fmt: skip
