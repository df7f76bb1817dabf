"""A report about a mail with several recipients could be another one's of them: it marks, and suppresses nobody alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.model.mail import Submission
from mailops.model.setup import MailClass
from mailops.testing import SmtpServer, build_dsn
from mailops.testing.smtp_script import Rule
from mailops.testing.smtp_session import ReceivedMessage

EVE, BOB = "eve@evil.example", "bob@x.example"


def mailed(ops: Ops, smtp: SmtpServer, *to: str, mail_class: MailClass = MailClass.TRANSACTIONAL) -> ReceivedMessage:
    """Send one mail; what the last of its recipients got."""
    ops.queue.submit(
        Submission(sender="Ann <ann@acme.example>", to=to, subject="Hello", text="Hi", mail_class=mail_class)
    )
    ops.queue.run()
    return smtp.messages[-1]


def forged(got: ReceivedMessage, about: str, *, complaint: bool = False) -> bytes:
    """What a recipient of a mail can write with it in hand: its Message-ID, its return path, any name."""
    dsn = build_dsn(got.data, about, "5.1.1", "550 5.1.1 User unknown", "mx.x.example")
    head, gap, rest = dsn.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"to:")]
    if complaint:
        rest = (
            b"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\nUser-Agent: x\r\n"
            b"Original-Rcpt-To: "
            + about.encode()
            + b"\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            + got.data
            + b"\r\n--b--\r\n"
        )
        kept = [b"From: fbl@x.example", b"Subject: complaint", b"MIME-Version: 1.0"]
        kept.append(b"Content-Type: multipart/report; report-type=feedback-report; boundary=b")
    return b"\r\n".join([*kept, b"To: <" + got.envelope_from.encode() + b">"]) + gap + rest


@pytest.mark.parametrize("complaint", [False, True], ids=["bounce", "complaint"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "plain"])
def test_a_co_recipient_only_proposes_and_the_faces_say_why(
    ops_on: Callable[..., Ops], signed: bool, complaint: bool
) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        if signed:
            ops.return_paths.sign()
        got = mailed(ops, smtp, EVE, BOB)
    ops.bounces.take(forged(got, BOB, complaint=complaint))
    listed = ops.suppressions.find(BOB)
    assert (listed.state if listed else "nothing") == "proposed"
    assert listed is not None
    assert "another of them could have written" in listed.why
    assert ops.suppressions.find(EVE) is None
    if not complaint:
        assert ops.queue.mail(1).deliveries[1].state.label == "Bounced"
        run = CliRunner().invoke(
            app, ["--workspace", str(ops.workspace.path), "bounces", "why", "1", "--json", "--no-dns"]
        )
        assert "another of them could have written" in json.loads(run.output)["failures"][0]["listed"]
        (trouble,) = ops.why(1)
        assert trouble.listed.startswith("Proposed for the suppression list since")
    # the same again, about the same mail or another one that both got, is no second witness
    ops.bounces.take(forged(got, BOB, complaint=complaint) + b"\r\nagain")
    with SmtpServer() as smtp:
        furnish_again(ops, smtp)
        ops.bounces.take(forged(mailed(ops, smtp, EVE, BOB, "carol@y.example"), BOB, complaint=complaint))
    listed = ops.suppressions.find(BOB)
    assert listed is not None
    assert listed.state == "proposed"


def furnish_again(ops: Ops, smtp: SmtpServer) -> None:
    from dataclasses import replace

    ops.save_server(replace(next(s for s in ops.setup.servers if s.key == "main"), port=smtp.port))


def test_an_independent_report_confirms_it(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.bounces.take(forged(mailed(ops, smtp, EVE, BOB), BOB))
        assert ops.suppressions.find(BOB).state == "proposed"  # type: ignore[union-attr]
        ops.bounces.take(forged(mailed(ops, smtp, BOB, "carol@y.example"), BOB))  # nobody else got both
        assert ops.suppressions.find(BOB).state == "active"  # type: ignore[union-attr]


def test_the_server_s_own_refusal_confirms_it(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[Rule("rcpt", "reply", 550, "5.1.1", "User unknown", recipient="bob@*", nth=2)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.bounces.take(forged(mailed(ops, smtp, EVE, BOB), BOB))
        assert ops.suppressions.find(BOB).state == "proposed"  # type: ignore[union-attr]
        mailed(ops, smtp, BOB)
        assert ops.suppressions.find(BOB).state == "active"  # type: ignore[union-attr]


def test_a_mass_mail_has_an_envelope_for_each_recipient_and_its_report_counts(ops_on: Callable[..., Ops]) -> None:
    everybody = [EVE, *(f"u{n}@x.example" for n in range(5)), BOB]
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        got = mailed(ops, smtp, *everybody, mail_class=MailClass.MASS)
        assert [m.recipients for m in smtp.messages] == [(one,) for one in everybody]
        assert len({m.envelope_from for m in smtp.messages}) == len(everybody)
        assert len({m.message_id for m in smtp.messages}) == 1
        eves = smtp.messages[0]
    ops.bounces.take(forged(eves, BOB))  # with her own tag she speaks of herself alone
    assert ops.suppressions.find(BOB) is None
    ops.bounces.take(forged(got, BOB))
    assert ops.suppressions.find(BOB).state == "active"  # type: ignore[union-attr]
    assert [d.state.label for d in ops.queue.mail(1).deliveries] == ["Bounced", *["Sent"] * 5, "Bounced"]


@pytest.mark.parametrize("answers", [1, 3])
def test_a_mass_mail_whose_worker_dies_goes_on_where_it_was(ops_on: Callable[..., Ops], answers: int) -> None:
    """Each transaction has its own line in the journal: only the one in flight is sent again."""
    everybody = [f"u{n}@x.example" for n in range(5)]
    seen = 0

    def die(step: str) -> None:
        nonlocal seen
        seen += step == "recorded"
        if seen == answers:
            raise KeyboardInterrupt

    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        ops.queue.submit(
            Submission(sender="ann@acme.example", to=tuple(everybody), subject="s", text="t", mail_class=MailClass.MASS)
        )
        with pytest.raises(KeyboardInterrupt):
            ops.queue.worker(on_step=die).run()
        ops.queue.run()
        assert sorted(r for m in smtp.messages for r in m.recipients) == everybody
        assert ops.queue.mail(1).state.value == "sent"


def test_a_server_that_breaks_off_leaves_the_rest_waiting(ops_on: Callable[..., Ops]) -> None:
    everybody = [f"u{n}@x.example" for n in range(4)]
    with SmtpServer(script=[Rule("rcpt", "reply", 421, "4.3.2", "Closing down", nth=3)]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.return_paths.sign()
        mailed(ops, smtp, *everybody, mail_class=MailClass.MASS)
        states = [d.state.label for d in ops.queue.mail(1).deliveries]
        assert states[:2] == ["Sent", "Sent"]
        assert set(states[2:]) == {"Outgoing"}
