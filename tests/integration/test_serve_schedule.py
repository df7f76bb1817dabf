"""``mailops serve`` fetches mail and runs notebooks when their time has come, and ends both when it stops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from test_fetch import BOX, LOGINS, add
from test_intake import furnish, mail
from test_serve import serving, wait_for

from mailops import Ops
from mailops.clock import SystemClock
from mailops.jobs.service import Jobs
from mailops.service.tasks import TASKS, fetching_due
from mailops.testing import ManualClock
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes

NOTEBOOKS = Path(__file__).parent.parent / "fixtures" / "notebooks"


@pytest.mark.timeout(180)
def test_mail_is_fetched_and_notebooks_run(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    ops, boxes = furnish(ops_factory()), Mailboxes(BOX)
    with ImapServer(boxes, LOGINS) as imap:
        boxes.deliver(BOX, mail(1))
        add(ops, imap)
        before = ManualClock(SystemClock().now() - timedelta(hours=2))
        Jobs(ops.workspace, before).add(NOTEBOOKS / "gate.ipynb", every="1h", name="hourly")
        with serving(ops):
            wait_for(lambda: any(one.counts.stored for one in ops.intake.ledger().sums), 60)
            wait_for(lambda: any(run.status == "failed" for run in ops.jobs.history("hourly")), 90)
            wait_for(lambda: not ops.jobs.waiting(), 20)  # told of, too


def test_a_mailbox_is_looked_at_every_so_many_minutes(
    ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    clock = ManualClock()
    ops, boxes = furnish(ops_factory(clock=clock)), Mailboxes(BOX)
    assert not fetching_due(ops), "there is no mailbox"
    with ImapServer(boxes, LOGINS) as imap:
        add(ops, imap)
        assert fetching_due(ops)
        ops.fetch()
        for minutes, due in ((4, False), (1.1, True)):
            clock.advance(minutes * 60)
            assert fetching_due(ops) is due
        ops.readiness(fetch_minutes=15, dns=False)
        assert not fetching_due(ops)
        clock.advance(10 * 60)
        assert fetching_due(ops)


def test_the_commands_exist() -> None:
    from mailops.cli.inbound import app as inbound
    from mailops.cli.jobs import app as jobs

    names = {command.name for app in (inbound, jobs) for command in app.registered_commands}
    assert {words[1] for _, words in TASKS.values()} <= names
