"""Every step of a session goes wrong in every way; each mail ends in the right state with a reason people understand.

The rule being held: what is said before MAIL (greeting, TLS, sign-in) speaks of the server, so the mail stays
*Outgoing*; a 4xx, a broken connection, a time-out or garbage stays *Outgoing*; a 5xx to MAIL, RCPT, DATA or the final
dot is *Delivery Failed*. And whatever happened, the mail can be sent afterwards.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.errors import StoreError
from mailops.model.setup import Authentication, Encryption
from mailops.model.states import MailState
from mailops.queue import journal as journals
from mailops.testing import Authority, ManualClock, SmtpServer, drop, garbage, silence
from mailops.testing.smtp_script import Rule

STEPS = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body")
FAULTS: dict[str, Callable[[str], Rule]] = {
    "4xx": lambda step: Rule(step, "reply", 451, "4.3.2", "Come back later", first=2),
    "5xx": lambda step: Rule(step, "reply", 554, "5.3.0", "Not this one", first=2),
    "421": lambda step: Rule(step, "reply", 421, "4.3.2", "Closing down", first=2),
    "disconnect": lambda step: drop(step, first=2),
    "time-out": lambda step: silence(step, first=2),
    "garbage": lambda step: garbage(step, first=2),
    "binary": lambda step: garbage(step, "binary", first=2),
    "over-long": lambda step: garbage(step, "long", first=2),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FAULT_PASSWORD", "open-sesame-3141")
    return "env:FAULT_PASSWORD"


def protected(authority: Authority, secret: str) -> dict[str, Any]:
    return {
        "host": "localhost",
        "encryption": Encryption.STARTTLS,
        "authentication": Authentication.LOGIN,
        "login": "ann@acme.example",
        "password": secret,
        "ca_file": str(authority.ca_file),
        "timeout": 1.0,
    }


def one(ops: Ops) -> int:
    return ops.send(sender="Ann <ann@acme.example>", to=["bob@x.example"], subject="Hello", text="Hi")


def until_sent(ops: Ops, clock: ManualClock, mail_id: int) -> None:
    """However it went: later it can be sent."""
    for _ in range(6):
        mail = ops.queue.mail(mail_id)
        if mail.state is MailState.SENT:
            return
        if mail.state is MailState.FAILED:
            ops.queue.retry(mail_id)
        clock.advance(4 * 3600 + 1)
        ops.queue.run()
    pytest.fail(f"never sent: {ops.queue.mail(mail_id).failure_reason}")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_each_fault(
    ops_factory: Callable[..., Ops], authority: Authority, secret: str, step: str, fault: str
) -> None:
    clock = ManualClock()
    tls = authority.server_tls()
    with SmtpServer(
        script=[FAULTS[fault](step)], tls=tls, auth={"ann@acme.example": "open-sesame-3141"}, max_size=10_000_000
    ) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp, **protected(authority, secret))
        mail_id = one(ops)
        ops.queue.run()
        mail = ops.queue.mail(mail_id)
        final = fault == "5xx" and step in ("mail", "rcpt", "data", "body")
        assert mail.state is (MailState.FAILED if final else MailState.OUTGOING), mail.failure_reason
        assert mail.state.label == ("Delivery Failed" if final else "Outgoing")
        assert mail.attempts == 1
        [delivery] = mail.deliveries
        reason = mail.failure_reason or ""
        assert reason.endswith(".") or final
        assert "'Main'" in reason  # which server
        assert delivery.reply  # what it said, or what happened instead
        assert "open-sesame" not in reason + str(delivery.reply)
        if fault in ("4xx", "5xx", "421"):
            assert delivery.code == {"4xx": 451, "5xx": 554, "421": 421}[fault]
        else:
            assert delivery.code in (None, 0)
        kinds = [line.kind for line in ops.queue.history(mail_id)]
        lost = step == "body" and fault in ("disconnect", "time-out", "garbage", "binary", "over-long")
        assert kinds == ["submitted", "failed" if final else "unknown" if lost else "deferred"]
        until_sent(ops, clock, mail_id)
        assert smtp.messages[-1].message_id == mail.message_id


@pytest.mark.parametrize(
    ("kind", "words"),
    [("expired", "expired"), ("wrong-host", "name"), ("untrusted", "authority unknown")],
)
@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_a_certificate_that_cannot_be_trusted_keeps_the_mail_and_says_why(
    ops_factory: Callable[..., Ops], authority: Authority, secret: str, mode: str, kind: str, words: str
) -> None:
    with SmtpServer(tls=authority.server_tls(mode, kind), auth={"ann@acme.example": "open-sesame-3141"}) as smtp:
        ops = ops_factory()
        encryption = Encryption.STARTTLS if mode == "starttls" else Encryption.TLS
        furnish(ops, smtp, **{**protected(authority, secret), "encryption": encryption, "timeout": 5.0})
        mail_id = one(ops)
        ops.queue.run()
        mail = ops.queue.mail(mail_id)
        assert mail.state is MailState.OUTGOING
        assert words in (mail.failure_reason or "").lower()
        assert smtp.accepted == 0


def test_starttls_that_is_not_offered_is_no_reason_to_send_in_the_clear(
    ops_factory: Callable[..., Ops], authority: Authority, secret: str
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp, **protected(authority, secret))
        mail_id = one(ops)
        ops.queue.run()
        assert ops.queue.mail(mail_id).state is MailState.OUTGOING
        assert "STARTTLS" in (ops.queue.mail(mail_id).failure_reason or "")
        assert smtp.accepted == 0


def test_a_wrong_password_keeps_the_mails_and_names_the_step(
    ops_factory: Callable[..., Ops], authority: Authority, secret: str
) -> None:
    with SmtpServer(tls=authority.server_tls(), auth={"ann@acme.example": "another"}) as smtp:
        ops = ops_factory()
        furnish(ops, smtp, **protected(authority, secret))
        ids = [one(ops) for _ in range(3)]
        ops.queue.run()
        for mail_id in ids:
            mail = ops.queue.mail(mail_id)
            assert mail.state is MailState.OUTGOING
            assert "when signing in" in (mail.failure_reason or "")


# --- the store goes wrong -------------------------------------------------------------------------------------------


def test_a_database_locked_for_a_while_delays_and_loses_nothing(ops_factory: Callable[..., Ops]) -> None:
    """Another program takes the write lock while a mail is on the wire; the result is written when it lets go."""
    with SmtpServer() as smtp:
        ops = ops_factory(toml="\n[database]\nbusy_seconds = 0.2\n")
        furnish(ops, smtp)
        mail_id = one(ops)
        holder = sqlite3.connect(ops.workspace.path / "mailops.db", isolation_level=None, check_same_thread=False)

        def on_step(step: str) -> None:
            if step == "body":
                holder.execute("BEGIN IMMEDIATE")
            if step == "recorded":
                import threading

                threading.Timer(1.0, lambda: holder.execute("ROLLBACK")).start()

        report = ops.queue.worker(on_step=on_step).run()
        assert report.sent == 1
        assert ops.queue.mail(mail_id).state is MailState.SENT
        holder.close()


def test_a_database_locked_for_good_is_a_clear_error_and_the_next_run_knows(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(toml="\n[database]\nbusy_seconds = 0.05\n")
        furnish(ops, smtp)
        mail_id = one(ops)
        holder = sqlite3.connect(ops.workspace.path / "mailops.db", isolation_level=None, check_same_thread=False)
        worker = ops.queue.worker(on_step=lambda step: holder.execute("BEGIN IMMEDIATE") if step == "body" else None)
        with pytest.raises(StoreError) as caught:
            worker.run()
        assert caught.value.code == "store.locked"
        assert caught.value.fix
        holder.execute("ROLLBACK")
        holder.close()
        report = ops.queue.run()
        assert (report.recovered.settled, report.handled) == (1, 0)  # from the journal: not sent again
        assert ops.queue.mail(mail_id).state is MailState.SENT
        assert smtp.accepted == 1


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """The journal's disk has no space left (as the system says it), until told otherwise."""
    state = {"full": False}
    real = os.posix_fallocate

    def fallocate(fd: int, offset: int, length: int) -> None:
        if state["full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, offset, length)

    monkeypatch.setattr(journals.os, "posix_fallocate", fallocate)
    return lambda full: state.update(full=full)


def test_a_full_disk_stops_the_worker_before_a_mail_not_after_it(
    ops_factory: Callable[..., Ops], full_disk: Callable[[bool], None]
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        mail_id = one(ops)
        full_disk(True)
        with pytest.raises(StoreError) as caught:
            ops.queue.run()
        assert caught.value.code == "store.full"
        assert "Free space" in caught.value.fix
        assert smtp.accepted == 0
        full_disk(False)
        assert ops.queue.run().sent == 1
        assert ops.queue.mail(mail_id).state is MailState.SENT


def test_a_full_database_refuses_the_mail_clearly_and_keeps_none_of_it(ops_factory: Callable[..., Ops]) -> None:
    """SQLite's own page limit stands for the full disk: the driver reports the same error."""
    ops = ops_factory()
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    with ops.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 20}")
    with pytest.raises(StoreError) as caught:
        ops.send(
            sender="ann@acme.example", to=["bob@x.example"], subject="big", text="x" * 70 + "\n", html="y" * 5_000_000
        )
    assert caught.value.code == "store.full"
    assert ops.queue.page().total == 0


# --- the clock jumps -------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_a_week_ahead_does_not_fail_waiting_mails(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock()
    with SmtpServer(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later", first=2)]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        mail_id = one(ops)
        ops.queue.run()
        clock.jump(7 * 86_400)
        ops.queue.run()
        assert ops.queue.mail(mail_id).state is MailState.OUTGOING  # tried twice in a "week": not enough to give up
        clock.advance(3600)
        assert ops.queue.run().sent == 1


@pytest.mark.parametrize("hours", [1, 72])
def test_mail_that_a_clock_queued_in_the_future_is_released_and_told(
    ops_factory: Callable[..., Ops], caplog: pytest.LogCaptureFixture, hours: int
) -> None:
    """The clock was ahead when mail was queued, or when it was put off; set right, nothing waits for that day."""
    clock = ManualClock()
    with SmtpServer(script=[Rule("rcpt", "reply", 451, "4.3.2", "Later", recipient="put-off@*", first=1)]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        clock.jump(hours * 3600)
        queued = one(ops)
        ops.send(sender="ann@acme.example", to=["put-off@x.example"], subject="s", text="t")
        by_hand = ops.send(
            sender="ann@acme.example",
            to=["b@x.example"],
            subject="s",
            text="t",
            scheduled_at=clock.now() + timedelta(days=9),
        )
        ops.queue.run(ids=[2])
        clock.jump(-hours * 3600)
        report = ops.queue.run()
        assert (report.sent, report.released) == (2, 2)
        assert "The clock was ahead" in caplog.text
        assert ops.queue.mail(queued).state is MailState.SENT
        assert ops.queue.mail(by_hand).state is MailState.OUTGOING  # a person's time stays
        assert ops.queue.run().released == 0
        clock.jump((hours + 9 * 24) * 3600 + 1)
        assert ops.queue.run().sent == 1


def test_the_folder_of_the_journal_is_private(ops_factory: Callable[..., Ops]) -> None:
    seen: list[int] = []
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        one(ops)

        def look(step: str) -> None:
            if step == "journaled":
                seen.extend(path.stat().st_mode & 0o777 for path in Path(ops.workspace.journals).iterdir())

        ops.queue.worker(on_step=look).run()
    assert seen == [0o600]
