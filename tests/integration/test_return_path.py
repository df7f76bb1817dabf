"""Signed return paths: on the wire, back by the gateway, and against reports that somebody made up."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.bounces.correlate import UNPROVEN
from mailops.cli.app import app
from mailops.errors import NotFound
from mailops.testing import SmtpServer, build_dsn


def send(ops: Ops, to: str = "gone@x.example") -> int:
    number = ops.send(sender="Ann <ann@acme.example>", to=[to], subject="Hello", text="Hi")
    ops.queue.run()
    return number


def report(to: str, about: str) -> bytes:
    """A report that carries nothing of the original but the recipient."""
    bare = f"From: ann@acme.example\r\nTo: {about}\r\nSubject: Hello\r\n\r\nHi\r\n".encode()
    dsn = build_dsn(bare, about, "5.1.1", "550 5.1.1 User unknown", "mx.x.example")
    head, gap, rest = dsn.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"to:")]
    return b"\r\n".join([*kept, b"To: <" + to.encode() + b">"]) + gap + rest


@pytest.mark.req("IN-14")
def test_a_signed_return_path_proves_the_mail_and_the_field_stays_plain(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        number = send(ops)
        (mail,) = smtp.messages
    assert mail.envelope_from.startswith(f"bounce+{number}-")
    assert mail.envelope_from.endswith("@acme.example")
    assert b"\r\nReturn-Path: <bounce@acme.example>\r\n" in b"\r\n" + mail.data
    taken = ops.bounces.take(report(mail.envelope_from, "gone@x.example"))
    assert [(hit.by, hit.confidence) for hit in taken.matches] == [("tag+recipient", 1.0)]
    listed = ops.suppressions.find("gone@x.example")
    assert listed is not None
    assert listed.state == "active"
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"
    state = ops.return_paths.state()
    assert (state.signed, state.proven, state.unproven) == (True, 1, 0)


def test_a_forged_report_about_a_signed_mail_changes_nothing_and_is_kept(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        number = send(ops, "victim@x.example")
        (mail,) = smtp.messages
    local, _, domain = mail.envelope_from.rpartition("@")
    wrong = local[:-1] + ("a" if local[-1] != "a" else "b")
    for to in ("bounce@acme.example", f"bounce+{number}@acme.example", f"{wrong}@{domain}"):
        taken = ops.bounces.take(report(to, "victim@x.example"))
        assert [(hit.candidate, hit.by) for hit in taken.matches] == [(None, UNPROVEN)]
    assert ops.suppressions.find("victim@x.example") is None
    assert ops.queue.mail(number).deliveries[0].state.label == "Sent"
    assert set(ops.bounces.recent()["matched_by"]) == {UNPROVEN}
    assert ops.return_paths.state().unproven == 3


def test_the_gateway_takes_a_tagged_address_for_the_bounce_address(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        number = send(ops)
        (mail,) = smtp.messages
    decision = ops.inbound.receive(report(mail.envelope_from, "gone@x.example"))
    assert decision.kind.value == "bounce"
    assert mail.envelope_from in decision.reason
    assert ops.queue.mail(number).deliveries[0].state.label == "Bounced"


def test_plain_again_and_old_tags_stay_good(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        first = ops.return_paths.sign()
        send(ops)
        ops.return_paths.plain()
        send(ops, "other@x.example")
        assert ops.return_paths.sign() == first
        tagged, plain = (m.envelope_from for m in smtp.messages)
    assert plain == "bounce@acme.example"
    assert ops.bounces.take(report(tagged, "gone@x.example")).matches[0].by == "tag+recipient"


def test_a_key_that_cannot_be_read_is_refused_and_never_stops_mail(
    ops_on: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        with pytest.raises(NotFound):
            ops.set_parameter("mailops.bounce.tag_key", "env:NO_SUCH_BOUNCE_KEY")
        monkeypatch.setenv("A_BOUNCE_KEY", "f3b1c2d4e5a69788")
        ops.return_paths.sign("env:A_BOUNCE_KEY")
        monkeypatch.delenv("A_BOUNCE_KEY")
        send(ops)
        assert [m.envelope_from for m in smtp.messages] == ["bounce@acme.example"]
    state = ops.return_paths.state()
    assert not state.signed
    assert state.trouble is not None


def test_a_mail_with_an_own_return_path_keeps_it(ops_on: Callable[..., Ops]) -> None:
    from mailops.model.mail import Submission

    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        ops.queue.submit(
            Submission(
                sender="Ann <ann@acme.example>",
                to=("bob@x.example",),
                subject="Hello",
                text="Hi",
                return_path="reports@acme.example",
            )
        )
        ops.queue.run()
        assert [m.envelope_from for m in smtp.messages] == ["reports@acme.example"]


def test_the_command_line_signs_shows_and_goes_back(ops_on: Callable[..., Ops]) -> None:
    ops = ops_on()
    run, where = CliRunner(), ["--workspace", str(ops.workspace.path)]
    assert "are plain" in run.invoke(app, [*where, "return-path", "show"]).output
    assert "vault:bounce-tag" in run.invoke(app, [*where, "return-path", "sign"]).output
    shown = json.loads(run.invoke(app, [*where, "return-path", "show", "--json"]).output)
    assert (shown["reference"], shown["proven"]) == ("vault:bounce-tag", 0)
    assert run.invoke(app, [*where, "return-path", "plain"]).exit_code == 0
    assert ops.return_paths.state().reference is None
