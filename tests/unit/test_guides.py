"""The guide engine and the three guides as data: every label, every branch, resuming, stale writes, validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from mailops.errors import ConfigError, MailopsError, NotFound, StateConflict
from mailops.guides import GUIDES, GuideAnswers, GuideRun, guide
from mailops.guides.checks import (
    Services,
    account_of,
    authentication_options,
    checks_for,
    record_name,
    sender_addresses,
    server_of,
)
from mailops.guides.model import Guide
from mailops.model.setup import Encryption, Hosting, Profile
from mailops.model.verdict import Severity, Verdict, VerdictState
from mailops.secrets import Secret, SecretStore
from mailops.testing import ManualClock

GUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
SECRET = "abc8Q~" + "Zz0_" * 8 + "ab"
GOOGLE_ID = "123456789012-abcdef.apps.googleusercontent.com"
GOOGLE_SECRET = "GOCSPX-" + "abcdEFGH1234567890xyz"
ANN = "ann@acme.com"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

Make = Callable[..., GuideRun]


@pytest.fixture
def make(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)

    def build(
        name: str, *, profile: Profile | None = None, actor: str = "ann", checks: object = None, subject: str = ANN
    ) -> GuideRun:
        clock = ManualClock(NOW)
        answers = GuideAnswers(sqlite_engine, name, subject, clock)
        return GuideRun(
            guide(name), answers, SecretStore(tmp_path), profile=profile or Profile(web_base_url="https://mail.acme.com"),
            clock=clock, actor=actor, checks=checks or checks_for(Services()),
        )  # type: ignore[arg-type]  # fmt: skip

    return build


def azure_to(run: GuideRun, last: str, kind: str = "custom") -> GuideRun:
    """Answer the Azure guide up to a step."""
    given = {
        "account": {"account_kind": kind, "mailbox": ANN},
        "register": {"account_types": "multi_personal"},
        "client_id": {"client_id": GUID},
        "client_secret": {"client_secret": SECRET, "secret_ends": "2028-11-01"},
    }
    for step in run.guide.steps:
        if step.id == last:
            return run
        run.answer(step.id, given.get(step.id))
    return run


def google_to(run: GuideRun, last: str, kind: str = "workspace", user_type: str = "external") -> GuideRun:
    given = {
        "account": {"account_kind": kind, "mailbox": ANN},
        "user_type": {"user_type": user_type},
        "client_id": {"client_id": GOOGLE_ID, "client_secret": GOOGLE_SECRET},
    }
    for step in run.guide.steps:
        if step.id == last:
            return run
        if run.step(step.id).state is VerdictState.SKIPPED:
            continue
        run.answer(step.id, given.get(step.id))
        if step.check and step.check in run.checks:
            run.run_check(step.id)
    return run


def text_of(run: GuideRun, step_id: str) -> str:
    view = run.step(step_id)
    parts = [view.title, view.why, *view.do, *view.notes, *(f"{c.label}: {c.value}" for c in view.copies)]
    parts += [i.input.label for i in view.inputs] + [c.label for i in view.inputs for c in i.input.choices]
    parts += [link.url for link in view.step.links]
    return "\n".join(parts)


def refused(run: GuideRun, step: str, given: dict[str, object]) -> ConfigError:
    before = run.store.load().get(step)
    with pytest.raises(ConfigError) as caught:
        run.answer(step, given)
    assert run.store.load().get(step) == before  # nothing was stored
    return caught.value


# --- the guides as data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", GUIDES.values(), ids=lambda g: g.id)
def test_guides_are_consistent(one: Guide) -> None:
    ids = [s.id for s in one.steps]
    assert len(ids) == len(set(ids))
    names = [i.name for s in one.steps for i in s.inputs]
    assert len(names) == len(set(names))
    for index, step in enumerate(one.steps):
        assert 1 <= step.part <= len(one.parts)
        by_flow = any(name == "flow" for name, _ in step.when)  # the other ways to sign in are in no row
        assert step.rows or by_flow
        assert set(step.needs) <= set(ids[:index]), step.id
        for trouble in step.troubles:
            assert trouble.symptoms
            assert trouble.do
            assert trouble.why
        for condition, _ in step.when:
            assert condition in (*names, "flow")


def test_every_row_of_the_three_sections_has_its_step_or_its_test() -> None:
    """AZ-30 to AZ-38 are plans of servers and live in routing; MJ-21 to MJ-23 in both."""
    covered = {
        row for g in GUIDES.values() for s in g.steps for row in (*s.rows, *(r for t in s.troubles for r in t.rows))
    }
    wanted = {f"AZ-{n:02d}" for n in [*range(1, 30), 39, 40]}
    wanted |= {f"GO-{n:02d}" for n in range(1, 32)} | {f"MJ-{n:02d}" for n in range(1, 25)}
    assert sorted(wanted - covered) == []


LABELS = [
    ("AZ-02", "azure", "portal", ["https://portal.azure.com/", "Microsoft Outlook Office 365", "Microsoft account", "administrative access"]),
    ("AZ-03", "azure", "entra", ["*Manage Microsoft Entra ID*", "Azure Active Directory"]),
    ("AZ-04", "azure", "add", ["*Add (+)*", "*App registration*"]),
    ("AZ-05", "azure", "register", ["*Register an application*", "Name: Odoo"]),
    ("AZ-06", "azure", "register", ["*Supported account types*", "*Accounts in any organizational directory (Any Microsoft Entra ID directory - Multitenant) and personal Microsoft accounts (e.g. Skype, Xbox)*"]),
    ("AZ-07", "azure", "register", ["*Redirect URL*", "*Web*", "Redirect URL: https://mail.acme.com/microsoft_outlook/confirm"]),
    ("AZ-09", "azure", "register", ["Press *Register*."]),
    ("AZ-10", "azure", "permissions", ["*API permissions*", "*(+) Add a Permission*", "*Microsoft Graph* under *Commonly Used Microsoft APIs*", "*Delegated Permissions*"]),
    ("AZ-11", "azure", "permissions", ["Sending: SMTP.Send", "Reading: IMAP.AccessAsUser.All", "*Add permissions*"]),
    ("AZ-13", "azure", "senders", ["*Overview*", "*Essentials*", "*Managed Application in Local Directory* (last entry, bottom right)"]),
    ("AZ-14", "azure", "senders", ["*Users and Groups*", "*(+) Add User/Group*"]),
    ("AZ-15", "azure", "senders", ["*None Selected*", "*Add*, then *Select*, then *Assign*"]),
    ("AZ-16", "azure", "client_id", ["*Client ID* (= *Application ID*)", "*Overview*", "*Display Name*", "*Essentials*"]),
    ("AZ-17", "azure", "client_secret", ["*Certificates & Secrets* → *(+) New Client Secret*", "*Add a client secret*", "Description: Odoo Fetchmail", "*expiration date*"]),
    ("AZ-19", "azure", "client_secret", ["Press *Add*.", "*Value* (*Client Secret Value*)"]),
    ("AZ-20", "azure", "client_secret", ["*Secret ID* is not used"]),
    ("AZ-22", "azure", "provider", ["*Apps*", "Search: Outlook", "*Microsoft Outlook*"]),
    ("AZ-23", "azure", "custom_servers", ["*Settings → General Settings*", "*Discuss*", "*Custom Email Servers*", "*Outlook Credentials*", "*Save*"]),
    ("AZ-24", "azure", "credentials", ["*Client ID*", "*Client Secret*", "*Save*"]),
    ("AZ-25", "azure", "server", ["*Outgoing Email Servers*", "*Outlook*", "*Username*"]),
    ("AZ-27", "azure", "connect", ["*Connect your Outlook account*", "*Yes*", ANN]),
    ("AZ-28", "azure", "connect", ["*Outlook Token Valid*"]),
    ("AZ-29", "azure", "test", ["*Test Connection*"]),
    ("AZ-39", "azure", "incoming", ["*Technical Menu → Incoming Mail Servers → Create*", "*Outlook Oauth Authentication*", "*Microsoft Outlook username*", "*Connect your Outlook account*", "*Outlook Token Valid*", "*Test and Confirm*"]),
    ("AZ-40", "azure", "incoming", ["*Settings → Technical → Parameters → System Parameters*", "developer mode"]),
    ("GO-02", "google", "console", ["https://console.developers.google.com", "Workspace account", ANN]),
    ("GO-03", "google", "project", ["*Create Project*", "*OAuth consent screen*", "*New Project*", "*Select a project*"]),
    ("GO-05", "google", "project", ["Press *Create*."]),
    ("GO-06", "google", "user_type", ["*User Type*", "*OAuth consent screen*"]),
    ("GO-07", "google", "user_type", ["*Create*", "*Edit app registration*"]),
    ("GO-10", "google", "app", ["*App information*", "*App name*", "*User support*", "App name: Odoo"]),
    ("GO-11", "google", "app", ["*App Domain → Authorized domains → Add Domain*", "Authorized domain: acme.com"]),
    ("GO-12", "google", "app", ["*Developer contact information*", "changes to the project"]),
    ("GO-13", "google", "app", ["*Scopes*", "*Save and Continue*"]),
    ("GO-14", "google", "test_users", ["*Test users* → *Add Users*", "*Save and Continue*", "summary"]),
    ("GO-15", "google", "dashboard", ["*Back to Dashboard*"]),
    ("GO-16", "google", "client", ["*Credentials* → *Create Credentials* → *OAuth client ID*"]),
    ("GO-17", "google", "client", ["*Application Type*", "*Web Application*"]),
    ("GO-18", "google", "client", ["Name: Odoo"]),
    ("GO-19", "google", "client", ["*Authorized redirect URIs* → *ADD URI*", "*URIs 1*", "URIs 1: https://mail.acme.com/google_gmail/confirm"]),
    ("GO-20", "google", "client_id", ["*Client ID*", "*Client Secret*", "JSON"]),
    ("GO-21", "google", "provider", ["*Apps*", "Search: Google", "*Google Gmail*"]),
    ("GO-22", "google", "credentials", ["*Custom Email Servers*", "*External Email Servers*", "*Gmail Credentials*", "*Use a Gmail Server*", "*Save*"]),
    ("GO-23", "google", "server", ["*Outgoing Email Servers*", "*New*", "*Create*", "*Name*", "*Description*", "*Username*"]),
    ("GO-24", "google", "connect", ["*Gmail OAuth Authentication*", "*Gmail*", "*Authenticate with*", "*Connection*", "*Connect your Gmail Account*"]),
    ("GO-25", "google", "connect", ["*Google*", "*Continue*", "*Allow*"]),
    ("GO-26", "google", "connect", ["*Gmail Token Valid*"]),
    ("GO-27", "google", "test", ["*Test the Connection*"]),
    ("MJ-02", "mailjet", "settings", ["https://app.mailjet.com/account", "*Senders & Domains* → *SMTP and SEND API Settings*"]),
    ("MJ-03", "mailjet", "settings", ["*Configuration (SMTP only)*", "*Use SSL/TLS*", "Server address", "Security option", "Port number"]),
    ("MJ-05", "mailjet", "keys", ["*Retrieve your API credentials*", "eye icon", "*API key*"]),
    ("MJ-06", "mailjet", "keys", ["*Generate Secret Key*", "*Secret Key*"]),
    ("MJ-07", "mailjet", "senders", ["*Add a Sender Domain or Address*", "The whole domain", "Single addresses"]),
    ("MJ-09", "mailjet", "addresses", ["*Add a sender address*"]),
    ("MJ-11", "mailjet", "addresses", ["*Email Information*", "activation mail", "Transactional", "Mass"]),
    ("MJ-12", "mailjet", "authenticate", ["SPF, DKIM and DMARC"]),
    ("MJ-13", "mailjet", "addresses", ["temporary alias", "remove the aliases"]),
    ("MJ-14", "mailjet", "add_domain", ["*Add a Sender Domain or Address → Add domain*", "*Add a new Domain*", "*Continue*"]),
    ("MJ-16", "mailjet", "txt", ["*Host*", "*Value*"]),
    ("MJ-17", "mailjet", "check_now", ["*Account Information → Add a Sender Domain or Address*", "gear", "*Domain*", "*Validate*", "https://app.mailjet.com/account/sender", "*Manage*"]),
    ("MJ-18", "mailjet", "check_now", ["*Check Now*", "success screen"]),
    ("MJ-19", "mailjet", "authenticate", ["*Authenticate this domain (SPF/DKIM)*"]),
    ("MJ-20", "mailjet", "server", ["developer mode", "*Technical Menu → Email → Outgoing Mail Servers → Create*"]),
    ("MJ-21", "mailjet", "server", ["in-v3.mailjet.com", "587"]),
    ("MJ-24", "mailjet", "test", ["*Test the Connection*"]),
]  # fmt: skip


# Their labels are here, the behaviour they ask for is tested elsewhere.
LABEL_ONLY = (
    "MJ-09",
    "MJ-12",
    "MJ-13",
    "MJ-14",
    "MJ-16",
    "MJ-18",
    "MJ-19",
    "MJ-24",
    "AZ-28",
    "AZ-29",
    "AZ-39",
    "GO-26",
    "GO-27",
)


@pytest.mark.parametrize(
    ("row", "name", "step", "labels"),
    [
        pytest.param(*one, id=one[0], marks=[pytest.mark.req(one[0])] if one[0] not in LABEL_ONLY else [])
        for one in LABELS
    ],
)
def test_labels_are_exact_and_in_order(make: Make, row: str, name: str, step: str, labels: list[str]) -> None:
    run = make(name)
    if name == "mailjet":
        run.answer("settings", {})
        run.answer("keys", {"api_key": "a" * 32, "secret_key": "b" * 32})
        run.answer("senders", {"sender_way": "alias" if row == "MJ-13" else "domain", "domain": "acme.com"})
    else:
        kind = {"azure": "custom", "google": "workspace"}[name]
        run.answer("account", {"account_kind": kind, "mailbox": ANN})
    assert row in run.guide.step(step).rows
    text = text_of(run, step)
    for label in labels:
        assert label in text, label
    places = [text.index(label) for label in labels if label.startswith("*") and text.count(label) == 1]
    if row in ("AZ-10", "AZ-04", "GO-07"):
        assert places == sorted(places)


@pytest.mark.req("AZ-01", "AZ-14")
@pytest.mark.parametrize(("kind", "groups"), [("custom", True), ("personal", False)])
def test_the_azure_guide_adapts_to_the_kind_of_account(make: Make, kind: str, groups: bool) -> None:
    run = make("azure")
    assert run.current().step.id == "account"  # type: ignore[union-attr]
    run.answer("account", {"account_kind": kind, "mailbox": ANN})
    text = text_of(run, "senders")
    assert ("*Users* or *Groups*" in text) is groups
    assert ("*Users* only" in text) is not groups


@pytest.mark.req("GO-01", "GO-04", "GO-25")
@pytest.mark.parametrize("kind", ["workspace", "personal"])
def test_the_google_guide_adapts_to_the_kind_of_account(make: Make, kind: str) -> None:
    run = make("google")
    run.answer("account", {"account_kind": kind, "mailbox": ANN})
    assert ("*No Organization*" in text_of(run, "project")) is (kind == "personal")
    assert ("Location: No Organization" in text_of(run, "project")) is (kind == "personal")
    assert ("the Workspace organization" in text_of(run, "project")) is (kind == "workspace")
    assert ("one more page" in text_of(run, "connect")) is (kind == "personal")


@pytest.mark.req("AZ-15")
def test_the_list_of_senders_is_repeated(make: Make) -> None:
    run = azure_to(make("azure"), "senders")
    run.answer("senders", {"senders": "ann@acme.com, bob@acme.com"})
    assert "ann@acme.com, bob@acme.com" in text_of(run, "senders")
    assert refused(run, "senders", {"senders": "not an address"}).code == "guide.address"


@pytest.mark.req("MJ-01")
def test_mailjet_has_its_three_parts() -> None:
    assert guide("mailjet").parts == ("In Mailjet", "In DNS", "In the database")
    assert {s.part for s in guide("mailjet").steps} == {1, 2, 3}


@pytest.mark.req("MJ-15")
@pytest.mark.parametrize(
    ("hosting", "option"),
    [
        (Hosting.ON_PREMISE, "*Option 1*"),
        (Hosting.SH, "*Option 2: Create a DNS Record*"),
        (Hosting.ONLINE, "*Option 2: Create a DNS Record*"),
    ],
)
def test_mailjets_validation_option_follows_the_hosting(make: Make, hosting: Hosting, option: str) -> None:
    run = make("mailjet", profile=Profile(hosting=hosting))
    assert option in text_of(run, "add_domain")


@pytest.mark.req("MJ-07")
@pytest.mark.parametrize(
    ("way", "shown", "hidden"),
    [("domain", "txt", "addresses"), ("address", "addresses", "txt"), ("alias", "addresses", "txt")],
)
def test_the_mailjet_guide_forks(make: Make, way: str, shown: str, hidden: str) -> None:
    run = make("mailjet")
    run.answer("settings", {})
    run.answer("senders", {"sender_way": way, "domain": "acme.com"})
    assert run.step(hidden).state is VerdictState.SKIPPED
    assert run.step(shown).state is not VerdictState.SKIPPED


@pytest.mark.req("GEN-10")
@pytest.mark.parametrize("name", ["azure", "google", "mailjet"])
def test_on_hosted_kinds_the_recommended_way_is_said_first(make: Make, name: str) -> None:
    for hosting in (Hosting.ONLINE, Hosting.SH):
        opening = make(name, profile=Profile(hosting=hosting)).opening()
        assert "adds complexity" in opening[0]
        assert "the hosted outgoing server is the recommended way" in opening[0]
        assert "limits first" in opening[1] or "a large campaign" in opening[1]
    assert len(make(name).opening()) == 1


# --- validation -------------------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-06")
def test_other_account_types_say_what_stops_working(make: Make) -> None:
    run = azure_to(make("azure"), "register")
    for value, tenant, words in [
        ("multi", "organizations", "personal Microsoft accounts cannot sign in"),
        ("personal", "consumers", "accounts of organisations cannot sign in"),
    ]:
        view = run.answer("register", {"account_types": value})
        assert view.state is VerdictState.WARNING
        assert words in view.note
        assert run.values()["tenant"] == tenant
    view = run.answer("register", {"account_types": "single", "tenant": GUID})
    assert run.values()["tenant"] == GUID
    view = run.answer("register", {"account_types": "multi_personal"})
    assert (view.state, run.values()["tenant"]) == (VerdictState.PASSED, "common")
    assert refused(run, "register", {"account_types": "anything"}).code == "guide.choice"


@pytest.mark.req("AZ-08")
def test_a_base_url_other_than_the_stored_one_is_a_finding(make: Make) -> None:
    run = azure_to(make("azure"), "register")
    view = run.answer("register", {"base_url": "https://acme.odoo.com"})
    assert view.state is VerdictState.WARNING
    finding = next(f for f in view.findings if f.code == "auth.base_url_changed")
    assert {
        "https://mail.acme.com/microsoft_outlook/confirm",
        "https://acme.odoo.com/microsoft_outlook/confirm",
    } <= set(
        finding.facts.values()
        if all(isinstance(v, str) for v in finding.facts.values())
        else [finding.facts["registered"], finding.facts["sent"]]
    )
    assert "freeze" in finding.fix
    assert "register" in finding.fix
    assert refused(run, "register", {"base_url": "http://mail.acme.com"}).code == "guide.base_url"


@pytest.mark.req("AZ-11", "AZ-12")
def test_permissions(make: Make) -> None:
    run = azure_to(make("azure"), "permissions")
    assert (
        run.answer("permissions", {"permissions": "SMTP.Send, IMAP.AccessAsUser.All, User.Read"}).state
        is VerdictState.PASSED
    )
    assert run.answer("permissions", {"permissions": "smtp.send IMAP.AccessAsUser.All"}).state is VerdictState.PASSED
    error = refused(run, "permissions", {"permissions": "SMTP.Send, User.Read"})
    assert "IMAP.AccessAsUser.All is missing, so reading will not work" in error.message
    error = refused(run, "permissions", {"permissions": "IMAP.AccessAsUser.All"})
    assert "SMTP.Send is missing, so sending will not work" in error.message


@pytest.mark.req("AZ-16")
@pytest.mark.parametrize("bad", ["odoo mail", GUID[:-1], SECRET, f"{{{GUID}}}"])
def test_the_client_id_is_a_guid(make: Make, bad: str) -> None:
    run = azure_to(make("azure"), "client_id")
    error = refused(run, "client_id", {"client_id": bad})
    assert error.code == "guide.client_id"
    assert bad not in json.dumps(error.as_dict())
    assert run.answer("client_id", {"client_id": GUID.upper()}).inputs[0].value == GUID


@pytest.mark.req("AZ-19", "AZ-20", "AZ-21")
def test_the_secret_id_is_told_from_the_value(make: Make) -> None:
    run = azure_to(make("azure"), "client_secret")
    error = refused(run, "client_secret", {"client_secret": GUID, "secret_ends": "2028-01-01"})
    assert error.message == "This looks like the Secret ID; paste the Value."
    assert refused(run, "client_secret", {"secret_ends": "2028-01-01"}).message == "Client Secret Value is missing."
    assert (
        refused(run, "client_secret", {"client_secret": "short", "secret_ends": "2028-01-01"}).code
        == "guide.client_secret"
    )
    with pytest.raises(StateConflict) as caught:
        run.answer("provider", {})
    assert caught.value.code == "guide.locked"
    assert "Make a client secret" in caught.value.fix
    run.answer("client_secret", {"client_secret": SECRET, "secret_ends": "2028-11-01"})
    assert run.step("provider").state is VerdictState.READY


@pytest.mark.req("AZ-17", "AZ-18")
def test_the_expiration_date_is_stored_and_judged(make: Make) -> None:
    run = azure_to(make("azure"), "client_secret")
    given: dict[str, object] = {"client_secret": SECRET}
    assert refused(run, "client_secret", {**given, "secret_ends": "2026-11-23"}).code == "guide.secret_over"
    assert refused(run, "client_secret", {**given, "secret_ends": "23.11.2028"}).code == "guide.date"
    soon = run.answer("client_secret", {**given, "secret_ends": (NOW + timedelta(days=90)).date().isoformat()})
    assert soon.state is VerdictState.WARNING
    run.answer("client_secret", {**given, "secret_ends": "2028-11-01"})
    assert account_of(azure_to(make("azure", subject="x@y.example"), "connect")).secret_ends == date(2028, 11, 1)


@pytest.mark.req("AZ-24", "MJ-06")
def test_secrets_go_to_the_vault_and_are_never_shown_again(make: Make, tmp_path: Path) -> None:
    run = azure_to(make("azure"), "client_secret")
    view = run.answer("client_secret", {"client_secret": Secret(SECRET), "secret_ends": "2028-11-01"})
    assert view.inputs[0].value == f"vault:guide/azure/{ANN}/client_secret"
    assert run.secrets.reveal(view.inputs[0].value) == SECRET
    assert SECRET not in repr(run.view())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
    again = run.answer("client_secret", {"client_secret": view.inputs[0].value, "secret_ends": "2028-10-01"})
    assert again.inputs[0].value == view.inputs[0].value  # the form may be sent again without typing the secret


@pytest.mark.req("AZ-25", "AZ-26", "AZ-23")
def test_the_server_step(make: Make) -> None:
    run = azure_to(make("azure"), "server")
    assert {i.input.name: i.value for i in run.step("server").inputs} == {
        "server_name": "Outlook",
        "username": ANN,
        "from_filter": ANN,
    }
    assert refused(run, "server", {"from_filter": ""}).message == "From Filter is missing."
    assert refused(run, "server", {"username": ""}).message == "Username is missing."
    assert refused(run, "server", {"from_filter": "not a filter"}).code == "guide.from_filter"
    for good in ("acme.com", "a@acme.com"):
        run.answer("server", {"from_filter": good})
        server = server_of(run)
        assert (server.login, server.from_filter, server.host, server.encryption) == (
            ANN,
            good,
            "smtp.outlook.com",
            Encryption.STARTTLS,
        )


@pytest.mark.req("AZ-23", "GO-22")
def test_the_credentials_form_appears_only_after_the_tick(make: Make) -> None:
    run = azure_to(make("azure"), "custom_servers")
    assert run.step("credentials").state is VerdictState.WAITING
    run.answer("custom_servers", {"custom_servers": "no"})
    assert run.step("credentials").state is VerdictState.SKIPPED
    run.answer("custom_servers", {"custom_servers": "yes"})
    assert run.step("credentials").state is VerdictState.READY


@pytest.mark.req("AZ-22", "GO-21")
def test_oauth_is_offered_for_enabled_providers_only() -> None:
    assert "oauth:outlook" not in authentication_options([])
    assert "oauth:outlook" in authentication_options(["outlook"])
    assert "oauth:gmail" not in authentication_options(["outlook"])


@pytest.mark.req("GO-02")
def test_another_console_account_is_a_warning(make: Make) -> None:
    run = google_to(make("google"), "console")
    assert run.answer("console", {"console_account": "boss@acme.com"}).state is VerdictState.WARNING
    assert run.answer("console", {"console_account": "Ann@acme.com"}).state is VerdictState.PASSED


@pytest.mark.req("GO-08")
def test_personal_accounts_may_only_be_external(make: Make) -> None:
    run = google_to(make("google"), "user_type", kind="personal")
    error = refused(run, "user_type", {"user_type": "internal"})
    assert "Personal accounts may only be External" in error.message
    assert run.answer("user_type", {"user_type": "external"}).state is VerdictState.PASSED


@pytest.mark.req("GO-09", "GO-14")
def test_test_users(make: Make) -> None:
    run = google_to(make("google"), "test_users")
    assert any("no approval needed" in n for n in run.step("user_type").notes)
    many = [f"u{n}@acme.com" for n in range(100)]
    assert run.answer("test_users", {"test_users": "\n".join([ANN, *many[:99]])}).state is VerdictState.PASSED
    assert refused(run, "test_users", {"test_users": " ".join([ANN, *many])}).code == "guide.test_users"
    error = refused(run, "test_users", {"test_users": "bob@acme.com"})
    assert error.code == "guide.test_user_missing"
    assert error.facts["rows"] == ["GO-14", "GO-29"]


@pytest.mark.req("GO-14")
def test_internal_needs_no_test_users(make: Make) -> None:
    run = google_to(make("google"), "client", user_type="internal")
    assert run.step("test_users").state is VerdictState.SKIPPED
    assert run.step("client").state is VerdictState.READY


@pytest.mark.req("GO-17", "GO-20", "GO-31")
def test_the_clients_json(make: Make) -> None:
    run = google_to(make("google"), "client_id")
    back = "https://mail.acme.com/google_gmail/confirm"
    web = {"client_id": GOOGLE_ID, "client_secret": GOOGLE_SECRET, "redirect_uris": [back]}
    error = refused(run, "client_id", {"client_json": json.dumps({"installed": web})})
    assert error.code == "auth.google-redirect"
    assert "Desktop App" in error.message
    assert f"Web Application with the URI {back}" in error.fix
    error = refused(run, "client_id", {"client_json": json.dumps({"web": {**web, "redirect_uris": [back + "/"]}})})
    assert "slash at the end" in error.message
    assert "^" in error.facts["diff"]
    assert refused(run, "client_id", {"client_json": "no json"}).code == "guide.client_json"
    run.answer("client_id", {"client_json": json.dumps({"web": web})})
    assert run.answers()["client_id"] == GOOGLE_ID
    assert run.secrets.reveal(run.answers()["client_secret"]) == GOOGLE_SECRET
    assert run.run_check("client_id").state is VerdictState.PASSED


@pytest.mark.req("GO-20")
def test_both_values_are_needed(make: Make) -> None:
    run = google_to(make("google"), "client_id")
    run.answer("client_id", {"client_id": GOOGLE_ID})
    verdict = run.run_check("client_id")
    assert (verdict.state, verdict.found) == (VerdictState.FAILED, "Client Secret missing.")
    assert run.step("provider").state is VerdictState.WAITING
    assert refused(run, "client_id", {"client_id": GOOGLE_SECRET}).message.startswith("This is the Client Secret")
    assert refused(run, "client_id", {"client_id": GOOGLE_ID, "client_secret": GOOGLE_ID}).message.startswith(
        "This is the Client ID"
    )


@pytest.mark.req("GO-19")
def test_the_placeholder_left_in_is_an_error(make: Make) -> None:
    run = google_to(make("google"), "client")
    error = refused(run, "client", {"registered_uri": "https://yourdbname.odoo.com/google_gmail/confirm"})
    assert error.code == "guide.placeholder"


def test_the_hosted_subdomain_is_the_base_where_none_is_set(make: Make) -> None:
    run = make("google", profile=Profile(hosting=Hosting.ONLINE, database="acme"))
    assert run.values()["redirect_uri"] == "https://acme.odoo.com/google_gmail/confirm"
    assert run.values()["authorized_domain"] == "odoo.com"


@pytest.mark.req("MJ-04")
@pytest.mark.parametrize("hosting", list(Hosting))
def test_port_25_is_refused_on_hosted_kinds(make: Make, hosting: Hosting) -> None:
    run = make("mailjet", profile=Profile(hosting=hosting))
    if hosting is Hosting.ON_PREMISE:
        assert run.answer("settings", {"port": "25"}).state is VerdictState.PASSED
    else:
        assert refused(run, "settings", {"port": "25"}).code == "server.port_blocked"


@pytest.mark.req("MJ-05", "MJ-06", "MJ-21", "MJ-22")
def test_the_generated_mailjet_server(make: Make) -> None:
    run = make("mailjet")
    run.answer("settings", {"port": "465", "security": "tls"})
    run.answer("keys", {"api_key": "a" * 32, "secret_key": "b" * 32})
    server = server_of(run)
    assert (server.host, server.port, server.encryption) == ("in-v3.mailjet.com", 465, Encryption.TLS)
    assert server.login == "a" * 32
    assert server.password == f"vault:guide/mailjet/{ANN}/secret_key"
    view = run.answer("settings", {"port": "587", "security": "none"})
    assert view.state is VerdictState.WARNING
    assert "SSL/TLS is recommended" in view.note


@pytest.mark.req("MJ-11")
def test_the_type_of_mail_is_required(make: Make) -> None:
    run = make("mailjet")
    run.answer("settings", {})
    run.answer("senders", {"sender_way": "address", "domain": "acme.com"})
    assert refused(run, "addresses", {}).message == "Type of mail is missing."


@pytest.mark.req("MJ-10")
def test_the_three_technical_addresses_are_always_wanted() -> None:
    technical = ["notifications@acme.com", "bounce@acme.com", "catchall@acme.com"]
    assert sender_addresses("", "acme.com") == technical
    assert sender_addresses("news@acme.com Bounce@acme.com", "acme.com") == [*technical, "news@acme.com"]


def test_record_names_with_and_without_the_domain() -> None:
    assert record_name("mailjet._1a2b", "acme.com") == "mailjet._1a2b.acme.com"
    assert record_name("mailjet._1a2b.acme.com.", "acme.com") == "mailjet._1a2b.acme.com"
    assert record_name("@", "acme.com") == "acme.com"


# --- troubles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "symptom", "words"),
    [
        pytest.param("google", "OAuth is limited to 100 sensitive scope logins", ["https://console.cloud.google.com/apis/credentials/consent", "*In Production*", "*Back to Testing*", "7 days", "*Internal*"], marks=pytest.mark.req("GO-28")),
        pytest.param("google", "Error 403: access_denied", ["*APIs & Services → OAuth consent screen*", "*Test users*", ANN], marks=pytest.mark.req("GO-29")),
        pytest.param("google", "Forbidden: you don't have the permission to access the requested resource", ["*Apps*", "`Gmail` or `Google`", "three dots", "*Upgrade*"], marks=pytest.mark.req("GO-30")),
        pytest.param("google", "Authorization Error: Error 400: redirect_uri_mismatch", ["Delete the credentials", "*Web Application*", "https://mail.acme.com/google_gmail/confirm"], marks=pytest.mark.req("GO-31")),
        pytest.param("google", "auth.google-redirect", ["*Web Application*"], marks=pytest.mark.req("GO-31")),
        pytest.param("azure", "AADSTS50011: The redirect URI does not match", ["*Redirect URIs*", "web.base.url.freeze"], marks=pytest.mark.req("AZ-08")),
        pytest.param("azure", "auth.ms-7000215", ["*Value*"], marks=pytest.mark.req("AZ-20")),
        pytest.param("azure", "auth.ms-smtp-disabled-tenant", ["Set-CASMailbox"], marks=pytest.mark.req("AZ-29")),
    ],
)  # fmt: skip
def test_a_symptom_leads_to_its_fix(make: Make, name: str, symptom: str, words: list[str]) -> None:
    from mailops.guides.engine import fill

    run = make(name)
    run.answer("account", {"account_kind": "custom" if name == "azure" else "workspace", "mailbox": ANN})
    found = run.explain(symptom)
    assert found
    text = fill("\n".join([*found[0][1].do, found[0][1].why]), run.values())
    for word in words:
        assert word in text


def test_an_unknown_symptom_leads_nowhere(make: Make) -> None:
    assert make("google").explain("the coffee is cold") == ()
    assert make("google").explain("") == ()


# --- the engine -------------------------------------------------------------------------------------------------------


def test_a_guide_goes_on_where_it_was_left(make: Make) -> None:
    azure_to(make("azure"), "client_secret")
    again = make("azure")
    assert again.step("client_id").inputs[0].value == GUID
    assert again.step("client_id").actor == "ann"
    current = again.current()
    assert current is not None
    assert current.step.id == "client_secret"
    assert not again.done


def test_a_write_from_a_stale_view_is_refused_and_says_who_was_quicker(make: Make) -> None:
    one, two = make("azure"), make("azure", actor="bob")
    seen = one.step("account")
    two.answer("account", {"account_kind": "custom", "mailbox": "bob@acme.com"})
    with pytest.raises(StateConflict) as caught:
        one.answer("account", {"account_kind": "personal", "mailbox": ANN}, version=seen.version)
    assert caught.value.code == "guide.stale"
    assert caught.value.facts["by"] == "bob"
    assert one.answers()["mailbox"] == "bob@acme.com"
    seen = one.step("account")
    two.answer("account", {"mailbox": "carl@acme.com"})
    with pytest.raises(StateConflict):
        one.answer("account", {"mailbox": ANN}, version=seen.version)
    one.answer("account", {"mailbox": ANN})  # after a reload


def test_two_subjects_do_not_meet(make: Make) -> None:
    make("azure").answer("account", {"account_kind": "custom", "mailbox": ANN})
    other = make("azure", subject="bob@acme.com")
    assert other.answers() == {}


def test_steps_wait_unknown_steps_and_inputs_are_refused(make: Make) -> None:
    run = make("azure")
    with pytest.raises(StateConflict, match="waits"):
        run.answer("portal")
    with pytest.raises(NotFound):
        run.answer("no-such-step")
    with pytest.raises(ConfigError, match="does not ask"):
        run.answer("account", {"colour": "red"})
    with pytest.raises(NotFound):
        guide("no-such-guide")
    assert guide("gmail") is guide("google")


def test_checks_mark_steps_and_errors_become_verdicts(make: Make) -> None:
    def passes(run: GuideRun, step: object) -> Verdict:
        return Verdict("x", ANN, VerdictState.PASSED, "t", "Outlook Token Valid")

    def raises(run: GuideRun, step: object) -> Verdict:
        raise MailopsError("it broke", code="x.broke", fix="mend it", facts={"transcript": ["secret"], "a": 1})

    run = azure_to(make("azure", checks={"connect": passes, "test_connection": raises}), "connect")
    assert run.run_check("connect").found == "Outlook Token Valid"
    view = run.step("connect")
    assert (view.state, view.note) == (VerdictState.PASSED, "Outlook Token Valid")
    verdict = run.run_check("test")
    assert (verdict.state, verdict.code, verdict.evidence) == (VerdictState.FAILED, "x.broke", {"a": 1})
    current = run.current()
    assert current is not None
    assert current.step.id == "test"
    assert current.note == "it broke mend it"
    with pytest.raises(ConfigError) as caught:
        run.run_check("account")
    assert caught.value.code == "guide.no_check"
    assert run.reopen("connect").state is VerdictState.READY


def test_a_step_that_a_machine_checks_is_not_done_by_saying_so(make: Make) -> None:
    def looks(run: GuideRun, step: object) -> Verdict:
        return Verdict("x", ANN, VerdictState.PASSED, "t")

    run = azure_to(make("azure", checks={"connect": looks}), "connect")
    assert run.answer("connect").state is VerdictState.READY
    assert run.step("test").state is VerdictState.WAITING
    by_hand = azure_to(make("azure", subject="x@acme.com"), "test").step("connect")
    assert by_hand.state is VerdictState.PASSED
    assert "Marked by hand" in by_hand.note


def test_findings_of_a_step_are_shown_again(make: Make) -> None:
    run = google_to(make("google"), "console")
    run.answer("console", {"console_account": "boss@acme.com"})
    findings = run.step("console").findings
    assert [(f.code, f.severity) for f in findings] == [("guide.other_address", Severity.WARNING)]


def test_a_value_that_looks_like_a_template_is_not_filled_again() -> None:
    from mailops.guides.engine import fill

    values = {"company": "{secret} & Sons", "secret": "the vault's", "host": "mx.acme.com"}
    assert (
        fill("{company} at {host}; {unknown} {} {host", values) == "{secret} & Sons at mx.acme.com; {unknown} {} {host"
    )
    assert fill(r"{host}", {"host": r"\1 \g<0>"}) == r"\1 \g<0>"
