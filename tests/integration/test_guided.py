"""The guides at work: practice to the green tag, errors on the way, secrets, jobs, and the command line."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailops import Ops, Server
from mailops.demo.practice import Practice, answers, walk
from mailops.errors import AuthError, ConfigError
from mailops.guides.checks import Services
from mailops.guides.service import PRACTICE, Guided, subjects_of
from mailops.model.setup import Encryption
from mailops.model.verdict import VerdictState
from mailops.oauth import Doctor, FlowKind, SignIn, TokenService
from mailops.oauth.doctor import Reading
from mailops.testing.identity_provider import Scenario

ANN, GOOGLE = "ann@example.com", "g@example.com"


@pytest.fixture
def ops(sqlite_file_ops: Ops, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    return sqlite_file_ops


@pytest.fixture
def azure(ops: Ops) -> Iterator[Practice]:
    with Practice(ops, "outlook", ANN) as practice:
        yield practice


def up_to(guided: Guided, practice: Practice, last: str) -> None:
    """Answer every step before ``last``."""
    given = answers(practice)
    for step in guided.run.guide.steps:
        if step.id == last:
            return
        view = guided.run.step(step.id)
        wanted = {i.input.name for i in view.inputs}
        guided.submit(step.id, {n: v for n, v in given.items() if n in wanted and v})


@pytest.mark.req("AZ-28", "AZ-29", "AZ-39", "GO-26", "GO-27")
@pytest.mark.parametrize(
    ("vendor", "mailbox", "tag"), [("outlook", ANN, "Outlook Token Valid"), ("gmail", GOOGLE, "Gmail Token Valid")]
)
def test_both_guides_walk_to_the_green_tag(ops: Ops, vendor: str, mailbox: str, tag: str) -> None:
    with Practice(ops, vendor, mailbox) as practice:
        lines = walk(practice)
        assert any(line.endswith(tag) for line in lines)
        guided = practice.guided()
        assert guided.progress().done
        assert all(v.state is VerdictState.PASSED for v in guided.verdicts())
        secret = practice.client.secret
    assert ops.setup.servers == ()
    assert subjects_of(ops, vendor) == []  # practice is nobody's real guide
    places = [p for p in ops.workspace.path.rglob("*") if p.is_file() and p.name != "identity.json"]
    assert not [p for p in places if secret.encode() in p.read_bytes()]


@pytest.mark.req("GO-26", "AZ-28")
@pytest.mark.parametrize(("vendor", "mailbox"), [("outlook", ANN), ("gmail", GOOGLE)])
def test_a_code_that_is_not_taken_is_a_code_and_the_providers_words_are_shown(
    ops: Ops, vendor: str, mailbox: str
) -> None:
    from mailops.widgets.faces import said

    with Practice(ops, vendor, mailbox) as practice:
        guided = practice.guided()
        up_to(guided, practice, "connect")
        back = urllib.parse.urlsplit(practice.click(guided.begin().address))
        query = dict(urllib.parse.parse_qsl(back.query)) | {"code": "4/nonsense"}
        with pytest.raises(AuthError) as caught:
            guided.came_back(back._replace(query=urllib.parse.urlencode(query)).geturl())
        shown = said(caught.value)
        assert ("refresh token" in shown, "authorization code" in caught.value.message) == (False, True)
        assert "The provider said: " in shown
        assert "malformed or unknown" in shown
        assert "authorization code" in guided.run.step("connect").note
        assert guided.run.step("connect").state is VerdictState.FAILED
        assert caught.value.facts["class"] == "code"


def test_a_restart_goes_on_where_it_was(ops: Ops) -> None:
    with Practice(ops, "outlook", ANN) as practice:
        guided = practice.guided()
        up_to(guided, practice, "provider")
        before = guided.progress()
        client = practice.client
        opened_before = practice.redirect_uri
    with Practice(ops, "outlook", ANN) as again:
        guided = again.guided()
        assert guided.progress() == before
        assert before.sentence().startswith("Step 11 of 18, 10 passed, about ")
        assert again.client == client
        assert again.redirect_uri == opened_before
        assert guided.run.current().step.id == "provider"  # type: ignore[union-attr]
        assert guided.secret_kept("client_secret").startswith("vault:")


def test_the_listener_takes_the_answer_and_closes(azure: Practice) -> None:
    guided = azure.guided()
    up_to(guided, azure, "connect")
    came: list[object] = []
    there = threading.Event()

    def take(answer: object) -> None:
        came.append(answer)
        there.set()

    opened = guided.begin(take)
    assert opened.listens
    assert opened.address not in repr(opened)
    with urllib.request.urlopen(azure.click(opened.address), timeout=10) as page:
        assert b"Signed in" in page.read()
    assert there.wait(10)
    assert guided.came_back(came[0]) == ()  # type: ignore[arg-type]  # the parameters
    assert guided.run.step("connect").note == "Outlook Token Valid"
    port = urllib.parse.urlsplit(opened.redirect_uri).port
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port or 0), 1):
        pass


@pytest.mark.req("AZ-27")
def test_another_account_is_told_before_anything_is_kept(azure: Practice) -> None:
    guided = azure.guided()
    up_to(guided, azure, "connect")
    azure.sandbox.idp.add_person("bob@example.com", "outlook")
    opened = guided.begin()
    azure.mailbox = "bob@example.com"
    warnings = guided.came_back(azure.click(opened.address))
    assert [w.code for w in warnings] == ["auth.other_account"]
    assert guided.run.step("connect").state is VerdictState.READY
    assert azure.ops.tokens.accounts.keys() == []
    assert guided.keep().passed


@pytest.mark.req("AZ-20")
def test_a_secret_is_checked_before_it_is_kept(azure: Practice) -> None:
    guided = azure.guided()
    up_to(guided, azure, "client_secret")
    with pytest.raises(ConfigError, match="looks like the Secret ID; paste the Value") as refused:
        guided.keep_secret("client_secret", "client_secret", azure.client.secret_id)
    assert azure.client.secret_id not in str(refused.value.as_dict())
    assert guided.secret_kept("client_secret") == ""
    given = guided.keep_secret("client_secret", "client_secret", azure.client.secret)
    assert given == {"client_secret": f"vault:guide/azure/{PRACTICE}{ANN}/client_secret"}
    assert guided.secret_kept("client_secret") == given["client_secret"]


@pytest.mark.req("GO-20")
def test_the_json_of_the_console_fills_both_values(ops: Ops) -> None:
    with Practice(ops, "gmail", GOOGLE) as practice:
        guided = practice.guided()
        up_to(guided, practice, "client_id")
        web = {
            "client_id": "123456789012-abc.apps.googleusercontent.com",
            "client_secret": practice.client.secret,
            "redirect_uris": [practice.redirect_uri],
        }
        given = guided.keep_secret("client_id", "client_json", json.dumps({"web": web}))
        assert given["client_id"] == web["client_id"]
        assert given["client_secret"].startswith("vault:")
        assert guided.submit("client_id", given).state is VerdictState.PASSED


def test_a_failing_test_connection_names_its_branch_and_is_mended(azure: Practice) -> None:
    guided = azure.guided()
    azure.behave(Scenario.SMTP_AUTH_OFF)
    up_to(guided, azure, "connect")
    guided.came_back(azure.click(guided.begin().address))
    assert guided.check("test").state is VerdictState.FAILED
    note = guided.run.step("test").note
    assert "SMTP sign-in is switched off" in [b.title for b in guided.branches(note)]
    assert [v.state.value for v in guided.verdicts() if v.check == "guide.test"] == ["failed"]
    azure.behave(Scenario.HEALTHY)
    assert guided.check("test").passed


@pytest.mark.req("GO-31", "AZ-08")
def test_addresses_are_compared_letter_by_letter(azure: Practice) -> None:
    guided = azure.guided()
    assert guided.compare(azure.redirect_uri) == (True, guided.compare(azure.redirect_uri)[1])
    equal, drawing = guided.compare(azure.redirect_uri + "/")
    assert not equal
    assert "^" in drawing
    assert "a slash at the end of one only" in drawing


def test_what_no_branch_names_is_looked_up_in_the_catalogue(azure: Practice) -> None:
    (branch,) = azure.guided().branches("AADSTS50196: the server terminated an operation")
    assert branch.step is None
    assert branch.code == "auth.ms-50196"
    assert azure.guided().branches("  ") == ()


def test_the_practice_console_is_for_this_machine_and_this_address_only(azure: Practice) -> None:
    split = urllib.parse.urlsplit(azure.console_url)
    with urllib.request.urlopen(azure.console_url, timeout=10) as page:
        assert azure.client.secret in page.read().decode()
    for url, host in ((f"http://{split.netloc}/", split.netloc), (azure.console_url, "evil.example")):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=10)
    form = urllib.parse.urlencode({"redirect_uri": "https://x.example/y"}).encode()
    with urllib.request.urlopen(azure.console_url, data=form, timeout=10) as page:
        assert "Redirect address saved." in page.read().decode()
    assert azure.client.redirect_uris == ("https://x.example/y",)


def test_a_passed_test_outside_practice_saves_the_server(ops: Ops) -> None:
    class Fine:
        ok, message, code, fix, facts = True, "Connection Test Successful!", "", "", {}

    with Practice(ops, "outlook", ANN) as practice:
        services = practice.services()
        real = Guided.open(
            ops,
            "azure",
            ANN,
            services=Services(tokens=services.tokens, test=lambda _server: Fine()),
            base_url=practice.base_url,
        )
        up_to(real, practice, "connect")
        real.came_back(practice.click(real.begin().address))
        real.check("test")
    (server,) = ops.setup.servers
    assert (server.host, server.login, server.from_filter) == ("smtp.outlook.com", ANN, ANN)
    assert subjects_of(ops, "azure") == [ANN]


def test_a_job_without_a_guide_is_skipped_and_a_begun_one_warns(ops: Ops) -> None:
    guided = Guided.open(ops, "google")
    (verdict,) = guided.verdicts()
    assert verdict.state is VerdictState.SKIPPED
    guided.submit("account", {"account_kind": "personal", "mailbox": GOOGLE})
    (verdict,) = Guided.open(ops, "google").verdicts()
    assert verdict.state is VerdictState.WARNING
    assert verdict.fix == "Go on with: Open the console."


# --- command line -----------------------------------------------------------------------------------------------------


def mailops(ops: Ops, *arguments: str, stdin: str = "") -> tuple[int, str]:
    from mailops.cli import commands  # noqa: F401  (registers the commands)
    from mailops.cli.app import app

    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), *arguments], input=stdin)
    told = "" if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
    return done.exit_code, done.output + told


def test_the_guide_is_printed_with_its_labels(ops: Ops) -> None:
    code, text = mailops(ops, "connect", "guide", "gmail", "--print")
    assert code == 0
    assert "Step 1 of 15, 0 passed" in text
    assert "*Authorized redirect URIs* → *ADD URI*" in text
    code, text = mailops(ops, "connect", "guide", "azure", "--json")
    assert json.loads(text)["steps"][0]["id"] == "account"


@pytest.mark.parametrize(
    ("vendor", "command", "mailbox", "tag"),
    [("outlook", "microsoft", ANN, "Outlook Token Valid"), ("gmail", "google", GOOGLE, "Gmail Token Valid")],
)
def test_connect_takes_the_pasted_address(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, vendor: str, command: str, mailbox: str, tag: str
) -> None:
    with Practice(ops, vendor, mailbox) as practice:
        monkeypatch.setenv("CLIENT_SECRET", practice.client.secret)
        begun: list[str] = []
        begin = SignIn.begin

        def watched(self: SignIn, account: object, uri: str) -> object:
            found = begin(self, account, uri)  # type: ignore[arg-type]  # as it came
            begun.append(practice.click(found.address))
            return found

        monkeypatch.setattr(SignIn, "begin", watched)
        monkeypatch.setitem(SignIn.__init__.__kwdefaults__, "http", practice.sandbox.idp.session)
        monkeypatch.setattr("mailops.cli.connect._pasted", lambda: begun[-1])
        given = ["--client-id", practice.client_id, "--client-secret", "env:CLIENT_SECRET"]
        code, text = mailops(ops, "connect", command, mailbox, *given, "--redirect", practice.redirect_uri)
        assert tag in text, text
        assert code == 0
        assert practice.client.secret not in text
    code, text = mailops(ops, "connect", "status", "--json")
    assert code == 0
    (account,) = json.loads(text)["accounts"]
    assert account["key"] == mailbox
    assert account["state"] == tag
    assert account["flow"] == FlowKind.WEB.value


def test_connect_without_a_client_says_what_to_do(ops: Ops) -> None:
    code, text = mailops(ops, "connect", "google", GOOGLE)
    assert code != 0
    assert "Client ID is missing" in text


def test_the_doctor_says_where_a_connection_breaks(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    examine = Doctor.examine
    with Practice(ops, "outlook", ANN) as practice:
        walk(practice)
        # the provider's own places are the sandbox's here: nothing leaves this machine
        reading, http = Reading(practice.sandbox.hosts()["imap"]), practice.sandbox.idp.session
        monkeypatch.setattr(Doctor, "examine", lambda self, server, **o: examine(self, server, reading=reading, **o))
        monkeypatch.setitem(TokenService.__init__.__kwdefaults__, "http", http)
        ops.save_server(practice.sandbox.server(ANN, "practice-outlook"))
        practice.behave(Scenario.SMTP_AUTH_OFF)
        code, text = mailops(ops, "doctor", "connection", "practice-outlook")
    assert code == 1
    assert "What to do: " in text
    assert "To act: an administrator" in text
    code, text = mailops(ops, "doctor", "connection", "nobody")
    assert code == 1
    assert "practice-outlook" in text or "nobody" in text
    code, text = mailops(ops, "doctor", "tea")
    assert "mailops doctor connection SERVER" in text or "does not know" in text


@pytest.mark.req("AZ-18")
def test_the_calendar_lists_ends_and_writes_a_file(ops: Ops, tmp_path: Path) -> None:
    with Practice(ops, "gmail", GOOGLE) as practice:
        walk(practice)
    file = tmp_path / "ends.ics"
    code, text = mailops(ops, "calendar", "--ics", str(file))
    assert code == 1  # Testing: the sign-in ends within seven days
    assert "1 dates written" in text
    assert file.read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")
    code, text = mailops(ops, "calendar", "--json")
    assert json.loads(text)["ends"][0]["code"] == "calendar.critical"


@pytest.mark.req("GEN-10", "GEN-11")
@pytest.mark.parametrize("name", ["azure", "google", "mailjet"])
def test_on_hosted_kinds_the_hosted_server_is_recommended_first(ops_factory: Callable[..., Ops], name: str) -> None:
    hosted = ops_factory("hosted")
    settings = hosted.workspace.path / "mailops.toml"
    settings.write_text(settings.read_text("utf-8").replace('"on_premise"', '"online"', 1), "utf-8")
    again = Ops.open(hosted.workspace.path)
    first = Guided.open(again, name).run.opening()[0]
    again.close()
    assert "adds complexity" in first
    assert "recommended" in first


# --- nobody signs in -------------------------------------------------------------------------------------------------

TENANT, OBJECT = "11111111-2222-4333-8444-555555555555", "0f8fad5b-d9cb-469f-a165-70867728950e"


def by_itself(practice: Practice, **more: str) -> dict[str, str]:
    return {**answers(practice), "who": "application", "tenant": TENANT, "app_object": OBJECT, **more}


def through(guided: Guided, given: dict[str, str]) -> None:
    """Answer every step that applies, as a person does; the sign-in by its button."""
    for step in guided.run.guide.steps:
        view = guided.run.step(step.id)
        if view.state is VerdictState.SKIPPED:
            continue
        if view.state is VerdictState.WAITING:
            return
        if step.check == "connect":
            assert guided.begin().done
            continue
        wanted = {i.input.name for i in view.inputs}
        guided.submit(step.id, {n: v for n, v in given.items() if n in wanted and v})


def test_an_application_of_entra_is_walked_to_the_end(ops: Ops) -> None:
    with Practice(ops, "outlook", ANN) as practice:
        guided = practice.guided()
        through(guided, by_itself(practice))
        assert [
            v.step.id for v in guided.run.view() if v.state not in (VerdictState.PASSED, VerdictState.SKIPPED)
        ] == []
        shown = {v.step.id: v for v in guided.run.view()}
    assert shown["senders"].state is shown["permissions"].state is VerdictState.SKIPPED
    copies = [c.value for c in shown["service_principal"].copies]
    assert copies == [f"New-ServicePrincipal -AppId {practice.client_id} -ObjectId {OBJECT}"]
    assert f"Add-MailboxPermission -Identity {ANN} -User {OBJECT} -AccessRights FullAccess" in [
        c.value for c in shown["mailbox_permission"].copies
    ]


@pytest.mark.parametrize(
    ("step", "given", "code"),
    [
        ("app_permissions", {"app_permissions": "SMTP.Send, IMAP.AccessAsUser.All"}, "guide.permission_delegated"),
        ("app_permissions", {"app_permissions": "SMTP.SendAsApp"}, "guide.permission_missing"),
        ("register", {"tenant": ""}, "guide.missing"),
        ("service_principal", {"app_object": "same-as-client"}, "guide.app_object"),
        ("service_principal", {"registration_object": OBJECT}, "guide.app_object"),
    ],
)
def test_each_mistake_of_the_application_is_told_at_its_step(
    ops: Ops, step: str, given: dict[str, str], code: str
) -> None:
    with Practice(ops, "outlook", ANN) as practice:
        wrong = {n: practice.client_id if v == "same-as-client" else v for n, v in given.items()}
        guided = practice.guided()
        with pytest.raises(ConfigError) as caught:
            through(guided, by_itself(practice, **wrong))
        assert caught.value.code == code
        assert caught.value.facts["step"] == step


def test_rights_that_were_never_granted_show_when_the_mailbox_is_read(ops: Ops) -> None:
    with Practice(ops, "outlook", ANN) as practice:
        practice.behave(Scenario.APP_ONLY_NO_PERMISSION)
        guided = practice.guided()
        through(guided, by_itself(practice))
        failed = guided.run.step("incoming")
        assert failed.state is VerdictState.FAILED
        (branch, *_) = guided.branches("BAD User is authenticated but not connected.")
        assert branch.title == "The application may not open the mailbox"


def test_a_service_account_is_walked_to_the_end(ops: Ops, tmp_path: Path) -> None:
    from dataclasses import replace

    from test_oauth_on_call import _pair

    public, private = _pair(tmp_path)
    with Practice(ops, "gmail", GOOGLE) as practice:
        idp = practice.sandbox.idp
        made = replace(idp.add_client("gmail", "app"), certificate=public.read_text())
        client = idp.save_client(replace(made, delegated=("https://mail.google.com/",)))
        key = {
            "type": "service_account", "client_email": client.client_id, "client_id": "104857600123",
            "private_key": private.read_text(), "token_uri": "https://oauth2.googleapis.com/token",
        }  # fmt: skip
        guided = practice.guided()
        given = {
            **answers(practice),
            "account_kind": "workspace",
            "who": "application",
            "service_json": json.dumps(key),
        }
        through(guided, given)
        left = [v.step.id for v in guided.run.view() if v.state not in (VerdictState.PASSED, VerdictState.SKIPPED)]
        assert left == []
        shown = {v.step.id: v for v in guided.run.view()}
        assert shown["delegation"].copies[0].value == "104857600123"
        assert "PRIVATE KEY" not in json.dumps(guided.run.answers())


@pytest.mark.parametrize(
    ("where", "flow"), [("remote", "device"), ("no_screen", "device"), ("this_machine", "loopback")]
)
def test_where_mailops_runs_picks_the_flow(ops: Ops, where: str, flow: str) -> None:
    from mailops.guides.flows import flow_of

    with Practice(ops, "outlook", ANN) as practice:
        guided = practice.guided()
        guided.submit(
            "account",
            {**{k: v for k, v in answers(practice).items() if k in ("account_kind", "mailbox")}, "where": where},
        )
        assert str(flow_of("outlook", guided.run.answers())) == flow
        view = guided.run.step("register")
        assert guided.run.step("client_secret").state is VerdictState.SKIPPED  # a public client has none
        assert [c.value for c in view.copies if c.label.startswith("Redirect")] == ["http://localhost"]


def test_a_device_code_of_the_guide_connects(ops: Ops) -> None:
    import threading

    with Practice(ops, "outlook", ANN) as practice:
        public = practice.sandbox.idp.add_client("outlook", "public")
        guided = practice.guided()
        given = {**answers(practice), "where": "remote", "client_id": public.client_id}
        for step in guided.run.guide.steps:
            if step.check == "connect":
                break
            wanted = {i.input.name for i in guided.run.step(step.id).inputs}
            if guided.run.step(step.id).state is not VerdictState.SKIPPED:
                guided.submit(step.id, {n: v for n, v in given.items() if n in wanted and v})
        came, heard = threading.Event(), []
        opened = guided.begin(lambda found: (heard.append(found), came.set()))
        practice.sandbox.idp.approve_device(opened.code, ANN)
        assert came.wait(20)
        assert guided.came_back(heard[0]) == ()
        assert guided.run.step("connect").note == "Outlook Token Valid"


# --- typed and not saved ---------------------------------------------------------------------------------------------


def test_what_was_typed_outlives_the_kernel_but_no_secret(ops: Ops) -> None:
    from mailops.widgets.guide_view import GuideView

    view = GuideView(Guided.open(ops, "azure", ANN))
    view.widget  # noqa: B018 (draws it)
    view._fields["mailbox"].value = "typed@example.com"
    again = GuideView(Guided.open(ops, "azure", ANN))  # another kernel, the same workspace
    again.widget  # noqa: B018 (draws it)
    assert again._fields["mailbox"].value == "typed@example.com"
    assert Guided.open(ops, "azure", ANN).run.answers() == {}  # typed is not answered
    Guided.open(ops, "azure", ANN).keep_typed("client_secret", {"client_secret": "s3cret", "secret_ends": "2030-01-01"})
    assert Guided.open(ops, "azure", ANN).typed()["client_secret"] == {"secret_ends": "2030-01-01"}
    assert subjects_of(ops, "azure") == []


# --- Mailjet ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("MJ-05", "MJ-16", "MJ-18", "MJ-19", "MJ-21", "MJ-24")
def test_the_mailjet_guide_is_walked_to_the_end_against_its_stand_in(ops: Ops) -> None:
    from mailops.demo.practice_mailjet import MailjetPractice

    with MailjetPractice(ops, "acme.com") as practice:
        guided = practice.guided()
        host, value = practice.service.record
        given = {
            "api_key": practice.service.key, "secret_key": practice.service.secret, "sender_way": "domain",
            "domain": "acme.com", "dns_host": host, "dns_value": value, "account_address": "boss@acme.com",
        }  # fmt: skip
        for step in guided.run.guide.steps:
            view = guided.run.step(step.id)
            if view.state is VerdictState.SKIPPED:
                continue
            wanted = {i.input.name for i in view.inputs}
            guided.submit(step.id, {n: v for n, v in given.items() if n in wanted})
        left = {
            v.step.id: v.note for v in guided.run.view() if v.state not in (VerdictState.PASSED, VerdictState.SKIPPED)
        }
        assert left == {}
    assert ops.setup.servers == ()


def test_the_mailjet_guide_stops_at_swapped_keys_and_at_a_record_that_is_not_there(ops: Ops) -> None:
    from mailops.demo.practice_mailjet import MailjetPractice

    with MailjetPractice(ops, "acme.com", published=False) as practice:
        guided = practice.guided()
        guided.submit("settings")
        keys = {"api_key": practice.service.secret, "secret_key": practice.service.key}
        assert guided.submit("keys", keys).state is VerdictState.FAILED
        assert guided.submit("keys", dict(zip(keys, reversed(keys.values()), strict=True))).state is VerdictState.PASSED
        guided.submit("senders", {"sender_way": "domain", "domain": "acme.com"})
        guided.submit("add_domain")
        host, value = practice.service.record
        failed = guided.submit("txt", {"dns_host": host, "dns_value": value})
        assert failed.state is VerdictState.FAILED
        assert "do not press Check Now yet" in failed.note


@pytest.mark.req("OUT-20")
def test_what_only_the_first_mail_shows_keeps_the_guide_from_ending_green(ops: Ops) -> None:
    with Practice(ops, "outlook", ANN) as practice:
        practice.behave(Scenario.SEND_AS_DENIED)
        lines = walk(practice)
        assert any("Test Connection: Connection Test Successful!" in line for line in lines)
        guided = practice.guided()
        assert not guided.progress().done
        failed = guided.run.step("first_mail")
        assert failed.state is VerdictState.FAILED
        (branch, *_) = guided.branches(failed.note)
        assert branch.title == "The mailbox may not send as this sender"
        practice.behave(Scenario.HEALTHY)
        guided.check("first_mail")
        assert guided.progress().done


# --- the way through a guide as a card ---------------------------------------------------------------------------------


def labels_of(widget: Any) -> list[str]:
    """The captions of all buttons of a live card."""
    own = [widget.description] if type(widget).__name__ == "Button" else []
    return own + [label for child in getattr(widget, "children", ()) for label in labels_of(child)]


def said_by(widget: Any) -> str:
    return str(getattr(widget, "value", "")) + " ".join(said_by(child) for child in getattr(widget, "children", ()))


def press(widget: Any, label: str) -> None:
    """Press a button of a live card, and wait until its work is done."""
    found = [one for one in buttons_of(widget) if one.description == label]
    assert found, labels_of(widget)
    found[0].click()
    for thread in threading.enumerate():
        if thread.name == "guide-work":
            thread.join(20)


def buttons_of(widget: Any) -> list[Any]:
    own = [widget] if type(widget).__name__ == "Button" else []
    return own + [one for child in getattr(widget, "children", ()) for one in buttons_of(child)]


def test_the_steps_stand_in_their_phases_and_each_is_a_press_away(azure: Practice) -> None:
    from mailops.widgets.guide_view import GuideView

    guided = azure.guided()
    up_to(guided, azure, "client_secret")
    view = GuideView(guided)
    view.widget  # noqa: B018 (draws it)
    stops = view._steps.stops
    assert [stop["number"] for stop in stops] == list(range(1, len(stops) + 1))
    assert list(dict.fromkeys(stop["phase"] for stop in stops)) == list(guided.run.guide.parts)
    assert (view._steps.shown, view._steps.done) == ("client_secret", guided.progress().passed)
    assert view._steps.moved == 0  # nobody went anywhere yet: the focus stays
    view._steps.receive({"open": "account"})
    assert (view._steps.shown, view._steps.moved) == ("account", 1)
    assert 'data-mo-step="account"' in said_by(view._body)
    view._steps.receive({"open": "nowhere"})
    view._steps.receive("rubbish")
    assert view._steps.shown == "account"


def test_what_is_wrong_is_said_at_the_field(azure: Practice) -> None:
    from mailops.widgets.guide_view import GuideView

    guided = azure.guided()
    up_to(guided, azure, "client_id")
    with pytest.raises(ConfigError) as caught:
        guided.submit("client_id", {"client_id": "no id"})
    assert list(caught.value.facts["fields"]) == ["client_id"]
    view = GuideView(guided)
    view.widget  # noqa: B018 (draws it)
    view._fields["client_id"].value = "no id"
    press(view.widget, "Save and continue")
    label, told = view._wrong["client_id"]
    assert caught.value.message in told.value
    assert list(view._steps.wrong) == [label]
    assert f"Nothing is saved yet: see {label}." in said_by(view._answer)
    view._fields["client_id"].value = azure.client_id
    press(view.widget, "Save and continue")
    assert view._steps.wrong == {}
    assert view._steps.moved == 1  # on to the next step, and the focus with it


def test_a_refused_sign_in_fails_its_step_and_leads_to_the_one_that_mends_it(azure: Practice) -> None:
    from mailops.widgets.guide_view import GuideView

    guided = azure.guided()
    up_to(guided, azure, "connect")
    secret = guided.run.answers()["client_secret"]
    guided.run.secrets.vault.put(str(secret).removeprefix("vault:"), "Zx8~wrong-but-well-formed-0000000000000000")
    view = GuideView(guided)
    view.widget  # noqa: B018 (draws it)
    opened = guided.begin()
    view._work(lambda: view._came_back(azure.click(opened.address)))
    for thread in threading.enumerate():
        if thread.name == "guide-work":
            thread.join(20)
    failed = guided.run.step("connect")
    assert failed.state is VerdictState.FAILED
    assert failed.note
    numbers = {stop["id"]: stop["number"] for stop in view._steps.stops}
    go = f"Go to step {numbers['client_secret']}: Make a client secret"
    assert go in labels_of(view._answer)
    press(view.widget, go)
    assert view._steps.shown == "client_secret"


def test_a_step_that_waits_leads_to_what_it_waits_for(azure: Practice) -> None:
    from mailops.widgets.guide_view import GuideView

    view = GuideView(azure.guided())
    view.widget  # noqa: B018 (draws it)
    view.show("connect")
    waits_for = azure.guided().missing("connect")
    assert waits_for
    assert [label for label in labels_of(view._body) if label.startswith("Go to step ")]


def test_practice_is_a_switch_in_the_page_and_each_world_keeps_its_place(ops: Ops) -> None:
    from mailops.widgets.guide_view import TO_PRACTICE, TO_REAL, GuideView, Standing

    with Practice(ops, "outlook", ANN) as practice:
        real = Guided.open(ops, "azure", ANN)
        seen: list[Any] = []
        view = GuideView(real, switch=lambda: (practice.guided(), practice.console_url))
        standing = Standing(real, lambda verdict: seen.append(verdict) or verdict, beside=view)
        view.widget, standing.widget  # noqa: B018 (draws them)
        recorded = len(seen)
        press(view.widget, TO_PRACTICE)
        assert "Practice: a sandbox stands for the provider." in said_by(view._notes)
        walk(practice)
        view.show("")
        standing.hear()
        assert "practice/" in standing.html()
        assert len(seen) == recorded  # what practice reached is none of the run's
        assert "walked the whole guide in practice" in said_by(view._finish)
        assert "Send a test mail to yourself" not in labels_of(view._finish)  # a sandbox would take it
        press(view.widget, TO_REAL)
        assert view.guided is real
        assert real.run.answers() == {}
        assert view._finish.children == ()


def test_at_the_end_a_guide_sends_a_mail_to_yourself_and_makes_a_job(ops: Ops) -> None:
    from mailops.testing import SmtpServer
    from mailops.widgets.finish import FinishCard

    with SmtpServer() as smtp:
        ops.save_server(
            Server(key="out", name="Out", host="127.0.0.1", port=smtp.port, encryption=Encryption.NONE, from_filter=ANN)
        )
        ending = FinishCard(Guided.open(ops, "azure", ANN))
        assert "connect_google.ipynb" in ending.html()
        labels = labels_of(ending.widget)
        assert labels[0] == "Send a test mail to yourself"
        assert "Make this a nightly job" in labels
        assert ending.nightly.parameters == {"mailbox": ANN}
        assert " is Sent through out" in str(ending.test._submit({"sender": ANN, "to": ANN}))
        assert len(smtp.messages) == 1
