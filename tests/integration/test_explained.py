"""A refusal of our own provider is explained where a person looks: bounces why, queue show, Ops, the failure's card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.model.setup import Authentication, Encryption
from mailops.oauth.account import Account, AccountStore, Connected, FlowKind
from mailops.testing import Authority, SmtpServer, refuse

REFUSALS = [
    ("mail", 554, "5.2.252", "SendAsDenied; ann@acme.example not allowed to send as bounce@acme.example", "ms-smtp-send-as", "admin"),
    ("mail", 550, "5.7.60", "SMTP; Client does not have permissions to send as this sender", "ms-smtp-send-as", "admin"),
    ("rcpt", 550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain", "ms-smtp-5.7.54", "you"),
    ("rcpt", 550, "5.7.64", "TenantAttribution; Relay Access Denied", "ms-smtp-5.7.64", "admin"),
    ("body", 550, "5.7.501", "Access denied, spam abuse detected", "ms-smtp-5.7.5xx", "admin"),
    ("body", 550, "5.1.8", "Access denied, bad outbound sender", "ms-smtp-5.1.8", "admin"),
    ("body", 554, "5.2.0", "OutboundSpamException; WASCL UserAction verdict: Suspend, ShowTierUpgrade", "ms-smtp-outbound-spam", "person"),
    ("rcpt", 550, "5.7.1", "Mail relay denied [192.0.2.7].", "google-smtp-relay-denied", "admin"),
    ("rcpt", 550, "5.7.1", "Invalid credentials for relay [192.0.2.7].", "google-smtp-relay-credentials", "admin"),
    ("mail", 530, "5.7.57", "Client not authenticated to send mail", "ms-smtp-5.7.57", "you"),
]  # fmt: skip


def why(ops: Ops, mail_id: int) -> dict[str, Any]:
    result = CliRunner().invoke(
        app, ["-w", str(ops.workspace.path), "bounces", "why", str(mail_id), "--no-dns", "--json"]
    )
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout)["failures"][0])


@pytest.mark.parametrize(("step", "code", "enhanced", "text", "row", "who"), REFUSALS, ids=lambda v: str(v)[:24])
def test_a_refusal_of_our_own_provider_says_the_right_cause(
    sqlite_file_ops: Ops, step: str, code: int, enhanced: str, text: str, row: str, who: str
) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse(None, code, enhanced, text, step=step)]) as smtp:
        furnish(ops, smtp)
        mail = ops.send(sender="ann@acme.example", to="bob@x.example", subject="Hi", text="Hi")
        ops.queue.run()
    told = why(ops, mail)
    fix = " ".join(told["tasks"])
    assert "MX records" not in fix
    assert "sender's domain exists" not in fix
    assert "other side" not in f"{fix} {told['diagnosis']}"
    assert (told.get("row"), told["who"]) == (row, who)
    assert told["look"] == "mailops doctor connection main"
    stored = [line.data["explained"] for line in ops.queue.history(mail) if (line.data or {}).get("explained")]
    assert [one["row"] for one in stored] == [row]


def test_a_recipient_that_does_not_exist_is_still_the_other_sides(sqlite_file_ops: Ops) -> None:
    with SmtpServer(script=[refuse(None, 550, "5.1.1", "User unknown")]) as smtp:
        furnish(sqlite_file_ops, smtp)
        mail = sqlite_file_ops.send(sender="ann@acme.example", to="bob@x.example", subject="Hi", text="Hi")
        sqlite_file_ops.queue.run()
    told = why(sqlite_file_ops, mail)
    assert (told.get("row"), told["diagnosis"], told["look"]) == (None, "The address does not exist.", "")


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "row", "who"),
    [
        (432, "4.3.2", "Concurrent connections limit exceeded", "ms-smtp-connections", "you"),
        (430, "4.2.0", "STOREDRV; mailbox logon failure", "ms-smtp-logon", "admin"),
    ],
)
def test_a_deferral_says_cause_who_and_what_to_do(
    sqlite_file_ops: Ops, code: int, enhanced: str, text: str, row: str, who: str
) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse(None, code, enhanced, text, step="mail")]) as smtp:
        furnish(ops, smtp)
        mail = ops.send(sender="ann@acme.example", to="bob@x.example", subject="Hi", text="Hi")
        ops.queue.run()
    told = why(ops, mail)
    assert (told.get("row"), told["who"], told["failure"]["kind"]) == (row, who, "deferred")
    shown = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "queue", "show", str(mail)]).output
    assert f"What to do: {' '.join(told['tasks'])}"[:40] in shown
    assert "mailops doctor connection main" in shown


def test_a_token_that_cannot_be_had_is_kept_with_the_deferral(sqlite_file_ops: Ops, tmp_path: Path) -> None:
    ops = sqlite_file_ops
    authority = Authority(tmp_path / "certificates")
    account = Account("ann@acme.example", "outlook", FlowKind.WEB, "ann@acme.example", "id", None)
    AccountStore(ops.secrets.vault).save(Connected(account))
    with SmtpServer(tls=authority.server_tls("starttls"), auth=lambda _attempt: True) as smtp:
        signs_in = {"authentication": Authentication.OAUTH, "login": "ann@acme.example"}
        furnish(ops, smtp, **signs_in, encryption=Encryption.STARTTLS, ca_file=authority.ca_file, host="localhost")
        mail = ops.send(sender="ann@acme.example", to="bob@x.example", subject="Hi", text="Hi")
        ops.queue.run()
    told = why(ops, mail)
    assert (told["failure"]["kind"], told["who"], told["class"]) == ("deferred", "person", "reauth")
    assert "mailops connect microsoft ann@acme.example" in " ".join(told["tasks"])
