"""What people met in the guides: presets that are not theirs, addresses that differ, switches, print, the box."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from mailops import Ops
from mailops.errors import ConfigError, MailopsError
from mailops.guides.service import Guided
from mailops.model.verdict import VerdictState

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def ops(sqlite_file_ops: Ops, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    return sqlite_file_ops


def run(ops: Ops, *arguments: str) -> str:
    from mailops.cli import commands  # noqa: F401  (registers the commands)
    from mailops.cli.app import app

    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def walk(ops: Ops, name: str, to: str, subject: str = "", **given: Any) -> Guided:
    """Answer every step before ``to`` with what is given, else with its preset."""
    guided = Guided.open(ops, name, subject)
    values = {"account_kind": "custom", "mailbox": "ann@acme.com", "base_url": "https://erp.acme.com", **given}
    for step in guided.run.guide.steps:
        if step.id == to:
            break
        view = guided.run.step(step.id)
        if view.state in (VerdictState.SKIPPED, VerdictState.WAITING):
            continue
        names = {i.input.name for i in view.inputs}
        guided.submit(step.id, {n: v for n, v in values.items() if n in names})
    return guided


# --- F16: nothing preset that the admin does not own -----------------------------------------------------------------


@pytest.mark.req("MJ-10")
@pytest.mark.parametrize("name", ["azure", "google", "mailjet"])
def test_on_premise_nothing_of_a_stranger_is_preset(ops: Ops, name: str) -> None:
    data = json.loads(run(ops, "connect", "guide", name, "--json"))
    values = [v for s in data["steps"] for v in (*s["copy"].values(), *s["inputs"].values())]
    assert [v for v in values if "odoo.com" in v] == []


@pytest.mark.req("AZ-02", "MJ-10")
@pytest.mark.parametrize(("name", "subject", "wanted"), [
    ("azure", "ann@acme.com", "ann@acme.com"), ("google", "ann@acme.com", "ann@acme.com"), ("mailjet", "acme.com", "acme.com"),
])  # fmt: skip
def test_whom_the_guide_is_for_is_its_preset(ops: Ops, name: str, subject: str, wanted: str) -> None:
    data = json.loads(run(ops, "connect", "guide", name, "--for", subject, "--json"))
    inputs = {n: v for s in data["steps"] for n, v in s["inputs"].items()}
    assert inputs["domain" if name == "mailjet" else "mailbox"] == wanted


# --- F15, F17, F33: ids and addresses --------------------------------------------------------------------------------


@pytest.mark.req("AZ-06")
@pytest.mark.parametrize(
    ("tenant", "code"), [("", "guide.missing"), ("(the tenant id)", "guide.tenant"), ("acme", "guide.tenant")]
)
def test_a_single_tenant_needs_its_id(ops: Ops, tenant: str, code: str) -> None:
    guided = walk(ops, "azure", "register")
    with pytest.raises(ConfigError) as caught:
        guided.run.answer("register", {"account_types": "single", "tenant": tenant, "base_url": "https://erp.acme.com"})
    assert caught.value.code == code


@pytest.mark.parametrize("tenant", [GUID, "contoso.example"])
def test_an_id_or_a_domain_is_a_tenant(ops: Ops, tenant: str) -> None:
    guided = walk(ops, "azure", "register")
    guided.run.answer("register", {"account_types": "single", "tenant": tenant, "base_url": "https://erp.acme.com"})
    assert guided.run.values()["tenant"] == tenant


@pytest.mark.req("GO-19")
@pytest.mark.parametrize(("typed", "word"), [
    ("https://erp.acme.com/google_gmail/confirm/", "a slash at the end of one only"),
    ("http://erp.acme.com/google_gmail/confirm", "http against https"),
    ("https://www.erp.acme.com/google_gmail/confirm", "www. on one side only"),
    ("https://erp.acme.com/google_gmail/Confirm", "upper and lower case in the path"),
])  # fmt: skip
def test_the_registered_address_is_compared_letter_by_letter(ops: Ops, typed: str, word: str) -> None:
    guided = walk(ops, "google", "client", account_kind="personal", user_type="external", contact="ann@acme.com")
    with pytest.raises(ConfigError) as caught:
        guided.run.answer("client", {"registered_uri": typed})
    assert caught.value.code == "auth.google-redirect"
    assert word in caught.value.message


@pytest.mark.req("GO-11")
@pytest.mark.parametrize("base", ["https://10.0.0.5:8069", "https://192.0.2.7", "https://[2001:db8::1]"])
def test_google_takes_no_ip_address(ops: Ops, base: str) -> None:
    guided = walk(ops, "google", "app", account_kind="personal", user_type="external")
    with pytest.raises(ConfigError) as caught:
        guided.run.answer("app", {"base_url": base, "contact": "ann@acme.com"})
    assert "IP address" in caught.value.message


@pytest.mark.req("AZ-08")
@pytest.mark.parametrize("name", ["azure", "google"])
def test_a_base_other_than_the_system_parameter_is_a_finding(ops: Ops, name: str) -> None:
    ops.set_parameter("web.base.url", "https://erp.acme.com")
    step = "register" if name == "azure" else "app"
    kind = {"account_kind": "custom" if name == "azure" else "personal", "user_type": "external"}
    guided = walk(ops, name, step, **kind)
    view = guided.run.answer(step, {"base_url": "https://other.acme.com"})
    assert [f.code for f in view.findings] == ["auth.base_url_changed"]
    assert view.state is VerdictState.WARNING


# --- F27: the switches -----------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-22", "AZ-23", "GO-21", "GO-22")
@pytest.mark.parametrize("name", ["azure", "google"])
@pytest.mark.parametrize("switch", ["provider_on", "custom_servers"])
def test_a_switch_that_is_off_hides_what_stands_behind_it(ops: Ops, name: str, switch: str) -> None:
    secret = {"client_secret": "abcdefghijklmnopqrstuvwxyz"}
    ident = GUID if name == "azure" else "123456789012-abc.apps.googleusercontent.com"
    kind = "custom" if name == "azure" else "personal"
    given = {"account_kind": kind, "client_id": ident, "secret_ends": "2030-01-01", "user_type": "external", **secret}
    guided = walk(ops, name, "server", contact="ann@acme.com", **given, **{switch: "no"})
    states = {v.step.id: v.state for v in guided.run.view()}
    assert states["server"] is VerdictState.SKIPPED
    assert states["connect"] is VerdictState.SKIPPED
    assert states["test"] is VerdictState.SKIPPED


# --- F1, F18, F19, F24, F25: what is said ----------------------------------------------------------------------------


@pytest.mark.req("AZ-26")
def test_a_domain_as_filter_is_warned_of_at_outlook(ops: Ops) -> None:
    given = {"client_id": GUID, "client_secret": "abcdefghijklmnopqrstuvwxyz", "secret_ends": "2030-01-01"}
    guided = walk(ops, "azure", "server", **given)
    view = guided.run.answer("server", {"username": "ann@acme.com", "from_filter": "acme.com"})
    assert view.state is VerdictState.WARNING
    assert "bounce@acme.com" in view.findings[0].message


@pytest.mark.req("AZ-02", "AZ-15", "GO-02", "GO-04", "GO-09", "GO-25")
@pytest.mark.parametrize(("name", "words"), [
    ("azure", ["*Microsoft Outlook Office 365* account", "*None Selected*", "*Users* or *Groups*"]),
    ("google", ["*Location*: *No Organization*", "*Location*: the Workspace organization", "at most 100 users",
                "one more page"]),
])  # fmt: skip
def test_printed_before_any_answer_every_variant_is_there(ops: Ops, name: str, words: list[str]) -> None:
    text = run(ops, "connect", "guide", name, "--print")
    assert [w for w in words if w not in text] == []


@pytest.mark.req("MJ-06")
def test_the_redactor_leaves_instructions_alone(ops: Ops) -> None:
    text = run(ops, "connect", "guide", "mailjet", "--for", "acme.com", "--print")
    assert "•" not in text
    assert "{" not in text
    assert "everybody who will send" not in text


@pytest.mark.parametrize(("name", "written", "today"), [
    ("google", "OAuth client ID", "*Google Auth Platform → Clients → Create client*"),
    ("google", "*Test users*", "*Google Auth Platform → Audience → Test users → Add users*"),
    ("google", "*App information*", "*Google Auth Platform → Branding*"),
    ("google", "*Scopes*", "*Google Auth Platform → Data Access*"),
    ("google", "*Client Secret*", "shown once"),
    ("azure", "https://portal.azure.com/", "*Microsoft Entra admin center*"),
    ("azure", "-SmtpClientAuthenticationDisabled", "Authenticated SMTP"),
    ("azure", "*API permissions*", "Grant admin consent for"),
    ("azure", "personal *Microsoft account*", "directory of its own"),
])  # fmt: skip
def test_the_labels_of_today_stand_beside_the_documentations(ops: Ops, name: str, written: str, today: str) -> None:
    text = run(ops, "connect", "guide", name, "--print")
    assert written in text
    assert today in text
    for step in json.loads(run(ops, "connect", "guide", name, "--json"))["steps"]:
        assert all(
            one["source"].startswith("https://") and re.fullmatch(r"\w+ 20\d\d", one["seen"]) for one in step["today"]
        )


# --- F14: the box ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "said", "code"), [
    ("azure", "BAD User is authenticated but not connected.", "auth.ms-imap-connected"),
    ("azure", "NO AUTHENTICATE failed.", "auth.ms-imap-refused"),
    ("azure", "-ERR Logon failure: unknown user name or bad password.", "auth.ms-imap-login"),
    ("azure", "AADSTS70000: The provided value for the 'refresh_token' is not valid.", "auth.ms-70000"),
    ("azure", "AADSTS500112: The reply address does not match", "auth.ms-500112"),
    ("azure", "The ability to create applications outside of a directory has been deprecated.", "auth.ms-no-directory"),
    ("azure", "430 4.2.0 STOREDRV; mailbox logon failure", "auth.ms-smtp-logon"),
    ("google", "Error 401: disabled_client", "auth.google-disabled-client"),
    ("google", "This app is blocked", "auth.google-app-blocked"),
    ("google", "-ERR [AUTH] Username and password not accepted.", "auth.google-pop-refused"),
])  # fmt: skip
def test_the_box_knows_every_place(ops: Ops, name: str, said: str, code: str) -> None:
    (branch, *_) = Guided.open(ops, name).branches(said)
    assert branch.code == code


def test_the_box_shows_the_providers_own_words(ops: Ops) -> None:
    (branch,) = Guided.open(ops, "azure").branches("430 4.2.0 STOREDRV; mailbox logon failure")
    assert "mailbox logon failure" in branch.said
    assert Guided.open(ops, "azure").branches("nobody ever said this") == ()


def test_only_our_own_errors_leave(ops: Ops) -> None:
    guided = Guided.open(ops, "azure")
    for text in (
        "\x00",
        "{" * 5000,
        "AADSTS" + "9" * 400,
        "é" * 9000,
        '{"error": 5}',
        '{"error": "x", "error_codes": [{}]}',
    ):
        try:
            guided.branches(text)
        except MailopsError:
            pass
