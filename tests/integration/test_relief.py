"""Users who read their notifications in the app spare the daily limit: computed from what was (LIM-09, LIM-08)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from furnish import furnish
from test_jobs_scheduled import cli

from mailops import Ops
from mailops.testing import ManualClock, SmtpServer
from mailops.threads.service import Entry

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.mark.req("LIM-09", "LIM-08")
def test_what_a_switch_spares_is_counted_from_history(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(AT)
    with SmtpServer() as smtp:
        ops = ops_factory(clock=clock)
        ops.change_profile(hosting="online", database="acme")
        furnish(ops, smtp)
        threads = ops.threads
        record = threads.create_record("lead", "Seven")
        people = {
            "ann": threads.add_contact("Ann", "ann@acme.example", is_user=True),
            "ben": threads.add_contact("Ben", "ben@acme.example", is_user=True),
            "in-app": threads.add_contact("Ines", "ines@acme.example", is_user=True, notify_by="inbox"),
            "customer": threads.add_contact("Sue", "sue@customer.example"),
        }
        assert "spares nothing" in ops.relief().sentence
        other = threads.create_record("lead", "Eight")
        for who, contact in people.items():
            threads.follow(record, contact, ("discussion",))
            if who != "ben":
                threads.follow(other, contact, ("discussion",))
        for day in range(5):
            for text in ("Look at this.", "And this."):
                threads.post(record if day < 2 else other, Entry(text))
            clock.advance(86_400)
        ops.queue.run()
        found = ops.relief()
        assert [(one.address, one.mails) for one in found.users] == [("ann@acme.example", 10), ("ben@acme.example", 4)]
        assert (found.all_mails, found.mails, found.limit) == (24, 14, ops.usage().limit)
        assert smtp.accepted == 24, "an inbox alone makes no mail"
        assert found.days == pytest.approx(5)
        assert found.sentence == (
            f"If 2 users read notifications in the app, 2.8 mails a day less leave, {2.8 / 200:.0%} of the daily limit of "
            "200: 14 of the 24 notifications that left by email in 5 days."
        )
        assert ops.relief(1).mails == 10
        assert ops.relief(["Ben@ACME.example"]).mails == 4
        assert ops.relief(since="2026-11-24").all_mails == 4
        told = cli(ops, "limits", "relief", "--users", "1", "--since", "2026-01-01")
        assert (told["mails"], told["users"][0]["address"]) == (10, "ann@acme.example")
        assert cli(ops, "limits", "relief", "--user", "ben@acme.example", "--since", "2026-01-01")["mails"] == 4
