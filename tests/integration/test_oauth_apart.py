"""Findings of people on call, each apart: a device code that ran out, other clouds, short names of permissions, moving a
workspace, and the end of EWS."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_oauth_on_call import ANN, OnCall, desk  # noqa: F401 (a fixture)

from mailops import Ops
from mailops.errors import AuthError, MailopsError
from mailops.oauth import Account, FlowKind
from mailops.testing.identity_provider import IdentityProvider, Scenario

DOCS = Path(__file__).parent.parent.parent / "docs"


# --- F21 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [-1, -600])
def test_a_device_code_that_ran_out_wants_a_new_code(desk: OnCall, left: int) -> None:  # noqa: F811
    client = desk.idp.add_client("outlook", "public")
    account = Account(ANN, "outlook", FlowKind.DEVICE, ANN, client.client_id)
    flow = desk.ops.sign_in.begin_device(account)
    flow["expires_at"] = (desk.ops.clock.now() + timedelta(seconds=left)).timestamp()
    with pytest.raises(AuthError) as caught:
        desk.ops.sign_in.finish_device(account, flow)
    assert caught.value.code in ("auth.ms-70019", "auth.ms-70020")
    assert "new code" in caught.value.fix
    assert "goes on asking" not in f"{caught.value.message} {caught.value.fix}"


# --- F28 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("smtp.office365.us", "auth.password_"), ("smtp.partner.outlook.cn", "auth.password_"),
        ("smtp-mail.outlook.com", "auth.password_"), ("smtp.googlemail.com", "auth.app_password"),
    ],
)  # fmt: skip
def test_a_password_at_another_cloud_is_in_the_calendar(desk: OnCall, host: str, code: str) -> None:  # noqa: F811
    given = ("--host", host, "--authentication", "login", "--login", ANN, "--password", "env:CLIENT_SECRET")
    desk.run("server", "add", "cloud", *given)
    words = ("calendar", "--json") if "--no-network" not in desk.run("calendar", "--help")[1] else (
        "calendar", "--no-network", "--json",
    )  # fmt: skip
    _, text, _ = desk.run(*words)
    assert [one["code"] for one in json.loads(text)["passwords"] if one["code"].startswith(code)]


def test_the_authority_of_another_cloud_is_given_at_the_command_line(desk: OnCall) -> None:  # noqa: F811
    authority = "https://login.microsoftonline.com/contoso.example"
    status, text, _ = desk.connect(ANN, *desk.given, "--authority", authority, as_=ANN)
    assert status == 0, text
    assert desk.account(ANN).authority == authority
    assert desk.connect(ANN, as_=ANN)[0] == 0
    assert desk.account(ANN).authority == authority, "connecting again keeps it"


# --- F29 --------------------------------------------------------------------------------------------------------------


def test_permissions_under_their_short_names_are_granted(
    desk: OnCall,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issue = IdentityProvider.issue

    def short(self: IdentityProvider, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The authority answers as Microsoft's does: the resource is left out of the names."""
        answer = issue(self, *arguments, **options)
        return {**answer, "scope": " ".join(one.rsplit("/", 1)[-1] for one in answer["scope"].split())}

    monkeypatch.setattr(IdentityProvider, "issue", short)
    status, text, _ = desk.connect(ANN, *desk.given, as_=ANN)
    assert status == 0, text
    assert "was not granted" not in text
    monkeypatch.setattr(IdentityProvider, "issue", lambda self, *a, **o: {**issue(self, *a, **o), "scope": "SMTP.Send"})
    _, text, _ = desk.connect(ANN, *desk.given, as_=ANN)
    assert "IMAP.AccessAsUser.All was not granted" in text, "what is really missing is still told"


# --- F31 --------------------------------------------------------------------------------------------------------------


def test_the_key_of_the_vault_is_changed_and_the_old_one_opens_nothing(desk: OnCall, tmp_path: Path) -> None:  # noqa: F811
    desk.run("secrets", "set", "smtp", stdin="a-word\n")
    folder = desk.ops.workspace.path
    shutil.copytree(folder, tmp_path / "copy")  # what somebody may have taken, key and all
    status, text, _ = desk.run("secrets", "rotate-key")
    assert status == 0, text
    assert desk.ops.secrets.reveal("vault:smtp") == "a-word"
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)  # a workspace moved as a whole works at its new place
    there = Ops.open(moved)
    assert there.secrets.reveal("vault:smtp") == "a-word"
    there.close()
    place = desk.ops.secrets.vault.folder.relative_to(folder)
    shutil.copy(tmp_path / "copy" / place / "key", moved / place / "key")  # the key of before
    there = Ops.open(moved)
    with pytest.raises(MailopsError) as caught:
        there.secrets.reveal("vault:smtp")
    there.close()
    assert "a-word" not in str(caught.value)


def test_how_a_workspace_is_moved_is_written_down() -> None:
    text = (DOCS / "secrets.md").read_text("utf-8") + (DOCS / "oauth.md").read_text("utf-8")
    assert re.search(r"(?i)mov\w+ (a|the) workspace", text)
    assert "rotate-key" in text
    assert re.search(r"(?is)both\s+renew|two\s+copies", text), "that two copies end each other's sign-ins"


# --- F32 --------------------------------------------------------------------------------------------------------------


def test_the_end_of_ews_is_told_where_people_look_for_it() -> None:
    text = (DOCS / "oauth.md").read_text("utf-8")
    (said,) = re.findall(r"(?s)EWS.{0,400}", text)[:1]
    assert re.search(r"2026-10|October 2026", said)
    assert re.search(r"2027-04|April 2027", said)


# --- certificates where mail is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how"), [("imap", "tls"), ("imap", "starttls"), ("pop3", "tls"), ("pop3", "starttls")]
)
def test_the_certificate_of_an_incoming_server_is_in_the_calendar(
    sqlite_file_ops: Ops, tmp_path: Path, kind: str, how: str
) -> None:
    from typer.testing import CliRunner

    from mailops.cli import commands  # noqa: F401  (registers the commands)
    from mailops.cli.app import app
    from mailops.testing import Authority
    from mailops.testing.imap_server import ImapServer
    from mailops.testing.mailboxes import Mailboxes
    from mailops.testing.pop_server import PopServer

    authority = Authority(tmp_path / "pki")
    server = ImapServer if kind == "imap" else PopServer
    with server(Mailboxes(), {}, tls=authority.server_tls(how)) as incoming:
        place = f"{kind}{'s' if how == 'tls' else ''}://localhost:{incoming.port}"
        arguments = ["-w", str(sqlite_file_ops.workspace.path), "calendar", "--json"]
        done = CliRunner().invoke(app, [*arguments, "--also", place])
        (end,) = json.loads(done.output)["ends"]
        assert end["subject"] == f"localhost:{incoming.port}"
        assert (done.exit_code, end["state"]) == (1, "failed"), "the peer's certificate lasts a day"
        settings = sqlite_file_ops.workspace.path / "mailops.toml"
        settings.write_text(settings.read_text() + f'\n[calendar]\ncertificates = ["{place}"]\n')
        again = Ops.open(sqlite_file_ops.workspace.path)
        (found,) = again.ends()
        assert found.affects == ("incoming mail (IMAP)" if kind == "imap" else "incoming mail (POP)",)
        assert again.ends(network=False) == []
        again.close()


@pytest.mark.parametrize(
    "place", ["imap.example.com", "imaps://", "gopher://x", "imaps://u:p@x", "imaps://x:99999", "https://x?y"]
)
def test_what_shows_no_certificate_is_refused(desk: OnCall, place: str) -> None:  # noqa: F811
    status, _, code = desk.run("calendar", "--also", place)
    assert (status, code) == (2, "config.certificate_place")


# --- what only the first real mail shows ------------------------------------------------------------------------------


def test_a_mailbox_that_has_sent_its_day_is_found_by_the_test_mail_and_says_its_figures(desk: OnCall) -> None:  # noqa: F811
    desk.idp.add_person(ANN, "outlook", Scenario.LIMIT)
    desk.connect(ANN, *desk.given, as_=ANN)
    desk.serve(ANN)
    assert desk.ops.test_connection("o365").ok, "no step before the message itself shows it"
    status, text, _ = desk.run("doctor", "connection", "o365", "--mail", "--json")
    rung = next(one for one in json.loads(text) if one["check"] == "doctor.mail")
    assert (status, rung["state"], rung["code"]) == (1, "failed", "auth.ms-smtp-quota")
    assert "30 messages a minute" in rung["found"] + rung["title"] + str(rung["evidence"])
