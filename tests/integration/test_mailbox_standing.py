"""A mailbox that is late, broken or has gone silent is named, by every face."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from test_fetch import BOX, LOGINS, add
from test_intake import cli, furnish, mail

from mailops import Ops
from mailops.inbound.accounts import CONFIRMED, Account
from mailops.inbound.standing import standing, usual_gap
from mailops.model.setup import Encryption
from mailops.testing import ManualClock
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes

NOW = datetime(2026, 5, 2, 12, tzinfo=UTC)


@pytest.fixture
def boxes() -> Mailboxes:
    return Mailboxes(BOX)


@pytest.fixture
def imap(boxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(boxes, LOGINS) as server:
        yield server


def codes(ops: Ops) -> list[tuple[str, str]]:
    return [(one.state.value, one.code) for one in ops.mailbox_verdicts()]


def test_a_mailbox_is_followed_from_draft_to_silence(
    ops_factory: Callable[..., Ops], boxes: Mailboxes, imap: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailops.widgets import InboundSetupView

    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    clock = ManualClock()
    ops = furnish(ops_factory(clock=clock))
    add(ops, imap, test=False)
    assert codes(ops) == [("skipped", "inbound.draft")]
    assert cli(ops, "inbound", "account", "test", "box")[0] == 0
    assert codes(ops) == [("failed", "inbound.mailbox_late")]  # nobody has fetched yet
    for number in range(25):
        boxes.deliver(BOX, mail(number))
        assert ops.fetch().well
        clock.advance(240)
    assert codes(ops) == [("passed", "")]
    clock.advance(3 * 3600)
    assert codes(ops) == [("failed", "inbound.mailbox_late")]
    ops.fetch()
    assert codes(ops) == [("warning", "inbound.mailbox_silent")]
    assert "Nothing for 3 hours" in ops.mailbox_verdicts()[0].found
    assert "gone silent" in InboundSetupView(ops).standing.text()
    monkeypatch.setenv("BOX_PASSWORD", "wrong")
    ops.fetch()
    assert codes(ops) == [("failed", "inbound.mailbox_fails")]
    code, [told] = cli(ops, "inbound", "account", "check")
    assert (code, told["state"], told["code"]) == (1, "failed", "inbound.mailbox_fails")


def test_few_mails_have_nothing_usual_and_an_hour_is_no_silence() -> None:
    account = Account("box", "imap", "h", 143, Encryption.NONE, "l", "env:X", state=CONFIRMED, checked_at=NOW)
    hourly = [NOW - timedelta(hours=n) for n in range(3, 40)]
    assert usual_gap(hourly[:20]) is None
    assert standing(account, hourly[:20], minutes=5, now=NOW).code == ""
    assert standing(account, hourly, minutes=5, now=NOW).code == ""  # three hours are no five times an hour
    assert standing(account, hourly[4:], minutes=5, now=NOW).code == "inbound.mailbox_silent"
    quick = [NOW - timedelta(minutes=50, seconds=n) for n in range(40)]
    assert standing(account, quick, minutes=5, now=NOW).code == ""
