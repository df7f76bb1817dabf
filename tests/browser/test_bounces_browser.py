"""A false positive is undone in a real browser, the address is mailed again, and the rules tell what else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.ledger import Fact
from mailops.model.states import MailState
from mailops.store import schema
from mailops.suppression.hearing import SuppressionListener
from mailops.testing import SmtpServer
from mailops.testing.dsn import build_dsn

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def campaign(ops: Ops, to: str) -> MailState:
    mail_id = ops.send(sender="Ann <ann@acme.example>", to=[to], subject="News", text="n", mail_class="mass")
    ops.queue.run()
    return ops.queue.mail(mail_id).state


def furnished(ops: Ops, smtp: SmtpServer) -> None:
    """Two full mailboxes that an older rule took for unknown users: both suppressed by mistake."""
    furnish(ops, smtp)
    for name in ("fay", "bob"):
        ops.send(sender="Ann <ann@acme.example>", to=[f"{name}@x.example"], subject="Hi", text="Hi")
        ops.queue.run()
        text = "552 5.2.2 <b>Mailbox full</b>"
        raw = build_dsn(
            smtp.messages[-1].data, f"{name}@x.example", "5.2.2", text, "mx.x.example", to="bounce@acme.example"
        )
        assert ops.bounces.take(raw).matched == 1
    b, s = schema.bounces, schema.suppressions
    with ops.engine.begin() as connection:
        connection.execute(sa.update(b).values(reason="userunknown", hard=True, rule="an older rule"))
        for name in ("fay", "bob"):
            told = Fact("reported", ops.clock.now(), recipient=f"{name}@x.example", data={"source": "postmark"})
            SuppressionListener().hear(connection, [told], now=ops.clock.now())
        assert connection.execute(sa.select(sa.func.count()).select_from(s)).scalar() == 2


def test_a_false_positive_is_undone_and_the_address_can_be_mailed_again(
    sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer() as smtp:
        furnished(ops, smtp)
        assert campaign(ops, "fay@x.example") is MailState.FAILED
        with voila(ops.workspace.path) as address:
            page = page_of()
            page.goto(address("bounces"))
            page.get_by_text("Suppressed addresses, newest first").wait_for()
            page.get_by_role("button", name="Open report 1").click()
            page.get_by_text("The raw report").click()
            page.get_by_text("Final-Recipient").first.wait_for()
            page.get_by_role("checkbox", name="Select fay@x.example").check()
            page.get_by_role("button", name="Undo", exact=True).click()
            page.get_by_text("1 address can be mailed again").wait_for()
            assert campaign(ops, "fay@x.example") is MailState.FAILED  # a preview changes nothing
            page.get_by_role("button", name="Confirm").first.click()
            page.get_by_text("Can be mailed again: fay@x.example.").wait_for()
            assert campaign(ops, "fay@x.example") is MailState.SENT
            assert campaign(ops, "bob@x.example") is MailState.FAILED
            page.get_by_label("Address").first.fill("fay")
            page.get_by_label("Address").first.press("Enter")
            page.get_by_role("button", name="Open report 2").wait_for(state="detached")
            page.get_by_role("button", name="Open report 1").wait_for()
            page.get_by_label("Address").last.fill("dora@x.example")
            page.get_by_label("Kept from").select_option("all mail")
            page.get_by_role("textbox", name="Why").fill("She asked for it.")
            page.get_by_role("button", name="Suppress Address").click()
            page.get_by_text("dora@x.example will get no mail.").wait_for()
            page.get_by_role("button", name="Confirm").click()
            page.get_by_text("dora@x.example gets no mail any more.").wait_for()
            assert campaign(ops, "dora@x.example") is MailState.FAILED
            screenshot(page, "voila-bounces-narrowed")
            page.get_by_role("button", name="Apply Today's Rules").click()
            page.get_by_text("2 judgements change: 1 off the list, 0 onto it.").wait_for()
            screenshot(page, "voila-bounces-diff")
            page.get_by_role("button", name="Confirm").last.click()
            page.get_by_text("2 judgements changed.").wait_for()
            assert campaign(ops, "bob@x.example") is MailState.SENT
            assert page.get_by_text("Traceback").count() == 0
