"""Aliases and received mail by their three faces: ``Ops``, the command line, the notebook's cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.inbound.values import Kind
from mailops.model.alias import Alias
from mailops.model.setup import Hosting
from mailops.testing import ManualClock, SmtpServer, build_dsn
from mailops.workspace import init


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Iterator[Ops]:
    with SmtpServer() as smtp:
        made = ops_factory(clock=ManualClock())
        furnish(made, smtp)
        yield made


@pytest.fixture
def cli(ops: Ops) -> Callable[..., Any]:
    def run(*words: str, fails: bool = False) -> Any:
        result = CliRunner().invoke(app, ["--workspace", str(ops.workspace.path), *words], catch_exceptions=fails)
        assert (result.exit_code != 0) is fails, result.output
        return json.loads(result.stdout) if "--json" in words else result.stdout

    return run


def mail(number: int, to: str = "leads@acme.example", **fields: str) -> bytes:
    head = {"From": "Sue <sue@customer.test>", "To": to, "Subject": "Hi", "Message-ID": f"<{number}@customer.test>"}
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    return ("".join(f"{name}: {value}\r\n" for name, value in head.items()) + "\r\nHello\r\n").encode()


AUTOMATIC = {
    "auto-submitted": {"Auto_Submitted": "auto-replied"},
    "auto-generated": {"Auto_Submitted": "auto-generated; owner=x"},
    "null return path": {"Return_Path": "<>"},
    "precedence": {"Precedence": "auto_reply"},
    "autoresponder": {"X_Autoreply": "yes", "Subject": "Out of office: Hi"},
}


@pytest.mark.req("GEN-15", "IN-02")
@pytest.mark.parametrize("how", AUTOMATIC)
def test_an_alias_may_make_no_records_from_automatic_mail(ops: Ops, how: str) -> None:
    ops.save_alias("leads", "lead")
    ops.save_alias("tasks", "task")
    fields = AUTOMATIC[how]
    assert ops.inbound.receive(mail(1, **fields)).kind is Kind.CREATE
    assert ops.change_alias("leads", automatic=False).automatic is False
    decision = ops.inbound.receive(mail(2, **fields))
    assert (decision.kind, decision.code, decision.notices) == (Kind.REFUSED, "alias_automatic", ())
    assert "leads@acme.example makes no records from automatic mail, and the mail" in decision.reason
    assert ops.inbound.receive(mail(3)).kind is Kind.CREATE, "a person's mail makes one"
    both = ops.inbound.receive(mail(4, "leads@acme.example, tasks@acme.example", **fields))
    assert [route.model for route in both.routes] == ["task"], "each alias for itself"
    line = ops.inbound.log(decision="refused")[0][0]
    assert (line.code, line.answer) == ("alias_automatic", f"no notice: {decision.reason.rpartition(', and ')[2][:-1]}")


@pytest.mark.req("IN-03", "IN-04")
def test_automatic_mail_is_still_posted_where_a_record_is(ops: Ops) -> None:
    from mailops.threads.service import Entry

    ops.save_alias("leads", "lead", automatic=False)
    record = ops.threads.create_record("lead", "Seven")
    ops.save_alias("bound", "lead", record=record, automatic=False)
    asked = ops.threads.post(record, Entry("What do you need?"))
    answer = mail(1, In_Reply_To=asked.message_id, Auto_Submitted="auto-replied")
    assert ops.inbound.receive(answer).kind is Kind.REPLY
    assert ops.inbound.receive(mail(2, "bound@acme.example", Auto_Submitted="auto-replied")).kind is Kind.UPDATE


@pytest.mark.req("IN-50", "IN-54", "GEN-15")
def test_aliases_by_command_and_by_ops_are_the_same(ops: Ops, cli: Callable[..., Any]) -> None:
    made = cli("alias", "add", "Sales Team", "lead", "--policy", "partners", "--no-automatic", "--json")
    assert (made["local"], made["domain"], made["policy"], made["automatic"]) == (
        "sales-team", "acme.example", "partners", False
    )  # fmt: skip
    (alias,) = ops.aliases
    assert isinstance(alias, Alias)
    assert (alias.address, alias.automatic) == ("sales-team@acme.example", False)
    assert "makes no records" in cli("alias", "list")
    changed = cli("alias", "set", "sales-team@acme.example", "--automatic", "--any-domain", "--json")
    assert (changed["automatic"], changed["any_domain"], changed["policy"]) == (True, True, "partners")
    assert ops.aliases[0].any_domain
    assert cli("alias", "list", "--json")[0]["policy"] == "partners"
    assert cli("alias", "remove", "sales-team", "--json") == {"removed": "sales-team@acme.example"}
    assert ops.aliases == ()


def test_what_is_wrong_with_an_alias_is_said(ops: Ops) -> None:
    ops.save_alias("leads", "lead")
    with pytest.raises(NotFound, match="no alias 'nobody'"):
        ops.change_alias("nobody", automatic=False)
    with pytest.raises(ConfigError) as refused:
        ops.save_alias("more", "lead", policy="friends")
    assert (refused.value.code, refused.value.fix) == (
        "config.alias_policy",
        "Use one of: everyone, partners, followers.",
    )
    with pytest.raises(ConfigError):
        ops.change_alias("leads", policy="friends")
    with pytest.raises(NotFound):
        ops.save_alias("more", "lead", domain="elsewhere.example")
    with pytest.raises(InputRefused):
        ops.inbound.log(decision="swallowed")
    assert [alias.policy.value for alias in ops.aliases] == ["everyone"]


@pytest.mark.req("IN-17", "FAQ-05")
def test_received_mail_is_taken_explained_and_shown_by_command(
    ops: Ops, cli: Callable[..., Any], tmp_path: Path
) -> None:
    cli("alias", "add", "leads", "lead")
    (tmp_path / "one.eml").write_bytes(mail(1))
    (explained,) = cli("inbound", "explain", str(tmp_path / "one.eml"), "--json")
    assert (explained["decision"], explained["trace"][0]["rule"]) == ("create", "duplicate")
    assert cli("inbound", "log", "--json")["total"] == 0
    (taken,) = cli("inbound", "receive", str(tmp_path / "one.eml"), "--json")
    assert (taken["decision"], taken["accepted"]) == ("create", True)

    ops.send(sender="Ann <ann@acme.example>", to=["gone@x.example"], subject="Hi", text="Hi")
    ops.queue.run()
    with ops.engine.connect() as connection:
        from mailops.store import schema

        sent = connection.execute(schema.mails.select()).one().message_id
    head = f"Message-ID: {sent}\r\n\r\nHi\r\n".encode()
    for action, status in (("delayed", "4.4.1"), ("failed", "5.1.1")):
        raw = build_dsn(
            head, "gone@x.example", status, f"{status} said", "mx.x.example", action, to="bounce@acme.example"
        )
        (tmp_path / f"{action}.eml").write_bytes(raw)
    (delayed,) = cli("inbound", "receive", str(tmp_path / "delayed.eml"), "--json")
    assert [(b["kind"], b["counted"]) for b in delayed["blocks"]] == [("delayed", False)]
    said = cli("inbound", "receive", str(tmp_path / "failed.eml"))
    assert "gone@x.example: bounce, a failure, which counts for mail" in said
    shown = cli("inbound", "log", "--decision", "bounce")
    assert "delayed, the other side still tries; nothing is counted" in shown
    again = cli("bounces", "take", "--each", "--json", str(tmp_path / "failed.eml"))
    assert again["repeated"] == 1
    assert again["reports"][0]["blocks"] == []


@pytest.mark.req("IN-50", "IN-17")
def test_the_notebook_shows_decision_report_and_consequence(ops: Ops) -> None:
    from mailops.jobs import run_notebook
    from mailops.widgets import InboundView

    ops.save_alias("leads", "lead", automatic=False)
    head = b"From: Ann <ann@acme.example>\r\nMessage-ID: <1@acme.example>\r\n\r\nHi\r\n"
    ops.inbound.receive(
        build_dsn(head, "a@x.example", "4.4.1", "451 later", "mx.x.example", "delayed", to="bounce@acme.example")
    )
    ops.inbound.receive(mail(1, Auto_Submitted="auto-replied"))
    view = InboundView(ops)
    for face in (view.received.text(), view.received.html()):
        assert "delayed, the other side still tries; nothing is counted" in face
        assert "leads@acme.example makes no records from automatic mail" in face
    assert "makes no records" in view.aliases.text()
    assert "delayed" not in InboundView(ops, decision="refused").received.text()
    result = run_notebook("inbound", {}, workspace=ops.workspace.path, timeout=120)
    assert (result.exit_code, result.status) == (0, "passed"), result.message
    assert "the other side still tries" in result.report.read_text("utf-8")


def test_the_alias_card_changes_what_its_preview_says(ops: Ops) -> None:
    from mailops.widgets import InboundView

    ops.save_alias("leads", "lead")
    card = InboundView(ops).aliases
    card.widget  # noqa: B018  (built when it is shown)
    off, on = (action.preview for action in card.actions.actions)
    assert off().run is None, "nothing is ticked"
    card.table.widget.selected = [ops.aliases[0].key]
    assert on().run is None, "it is so already"
    seen = off()
    assert ops.aliases[0].automatic
    assert seen.run is not None
    assert seen.run(print) == "leads@acme.example: automatic mail makes no records."
    assert not ops.aliases[0].automatic
    card._local.value, card._model.value, card._policy.value = "Help Desk", "ticket", "partners"
    added = card.by_hand.actions[0].preview()
    assert added.run is not None
    assert added.run(print) == "help-desk@acme.example makes records of kind ticket."
    assert next((a.local, a.policy.value, a.automatic) for a in ops.aliases) == ("help-desk", "partners", True)


@pytest.mark.req("OUT-06", "IN-16", "IN-21")
@pytest.mark.parametrize("hosting", ["online", "sh", "on_premise"])
def test_the_technical_addresses_of_the_hosted_domain_make_no_records(tmp_path: Path, hosting: str) -> None:
    ops = Ops.open(init(tmp_path / "workspace", database="Company-Name", hosting=Hosting(hosting)))
    decisions = [
        ops.inbound.receive(mail(n, f"{local}@company-name.odoo.com"), fallback_model="lead")
        for n, local in enumerate(("catchall", "bounce", "notifications"))
    ]
    ops.close()
    kinds = [decision.kind for decision in decisions]
    if hosting == "on_premise":
        assert kinds == [Kind.CREATE] * 3, "a name like any other"
        return
    assert kinds == [Kind.REFUSED, Kind.BOUNCE, Kind.NO_ROUTE]
    (notice,) = decisions[0].notices
    assert (notice.return_path, notice.sender) == (
        "bounce@company-name.odoo.com", '"MAILER-DAEMON" <bounce@company-name.odoo.com>'
    )  # fmt: skip
