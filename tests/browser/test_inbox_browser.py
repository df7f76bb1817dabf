"""Mail comes in and is worked on, in a real browser: an alias, a record, a reply, a red envelope, the shelf."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.inbound.service import Gateway
from mailops.model.alias import Policy
from mailops.testing import SmtpServer
from mailops.testing.dsn import build_dsn
from mailops.threads.service import Entry

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
CUSTOMER = "joe@partner.example"


def hand_over(port: int, to: str, message_id: str, subject: str, more: str = "", text: str = "It is broken.") -> None:
    raw = f"From: Joe <{CUSTOMER}>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{message_id}>\r\n{more}\r\n{text}\r\n"
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        assert client.sendmail(CUSTOMER, [to], raw) == {}


def broken(monkeypatch: pytest.MonkeyPatch, listener_port: int) -> None:
    """One mail that mailops falls over here; the page's process is sound."""
    with monkeypatch.context() as patched:

        def take(*given: Any) -> Any:
            raise RuntimeError("index out of range")

        patched.setattr(Gateway, "take", take)
        hand_over(listener_port, "help@acme.example", "lying@x.example", "On the shelf")


def test_mail_is_received_and_worked_on(
    ops_factory: Callable[..., Ops], voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ops = ops_factory()
    with SmtpServer() as smtp, voila(ops.workspace.path) as address, ops.mx() as listener:
        furnish(ops, smtp)
        page = page_of("light", 1280)
        page.goto(address("inbound_setup"))
        page.get_by_label("Alias", exact=True).fill("help")
        page.get_by_label("Alias", exact=True).press("Tab")
        page.get_by_label("Makes", exact=True).last.select_option(label="Helpdesk Ticket")
        page.get_by_role("button", name="Add Alias").click()
        page.get_by_role("button", name="Confirm", exact=True).locator("visible=true").click()
        page.get_by_text("help@acme.example makes records of kind ticket.").first.wait_for()
        [alias] = ops.aliases
        assert (alias.address, alias.model, alias.policy) == ("help@acme.example", "ticket", Policy.EVERYONE)
        screenshot(page, "voila-inbound-setup-1280")
        page.set_viewport_size({"width": 390, "height": 900})
        assert wide(page) <= 390
        screenshot(page, "voila-inbound-setup-390")

        hand_over(listener.port, "help@acme.example", "first@x.example", "Printer down")
        [record] = ops.desk.records()[0]
        who = ops.threads.add_contact("Joe", CUSTOMER)
        ops.threads.follow(record.id, who)
        answer = ops.threads.post(record.id, Entry("Is it on?", author_email="Ann <ann@acme.example>"))
        ops.queue.run()
        [left] = smtp.messages
        known = f"In-Reply-To: {answer.message_id}\r\n"
        quoting = "Yes.\r\n\r\n> Is it on?\r\n"
        hand_over(listener.port, "catchall@acme.example", "second@x.example", "Re: Printer down", known, quoting)
        report = build_dsn(left.data, CUSTOMER, "5.1.1", "550 5.1.1 no such user", "mx.partner.example")
        with smtplib.SMTP("127.0.0.1", listener.port, timeout=20) as client:
            client.sendmail("", [left.envelope_from], report)
        broken(monkeypatch, listener.port)

        page = page_of("light", 1280)
        page.goto(address("inbox"))
        row = page.get_by_role("row").filter(has_text="Printer down").first
        row.get_by_text("1 red").wait_for()
        row.get_by_role("button").first.click()
        page.get_by_text("Quoted text").first.wait_for()
        page.get_by_text("Why here: it answers an entry of this record").first.wait_for()
        screenshot(page, "voila-inbox-1280")
        page.get_by_text("Red envelopes: 1").wait_for()
        assert page.get_by_label(f"Try Again: {CUSTOMER}").is_checked()
        page.get_by_role("button", name="Send & close").click()
        page.get_by_text("Try again for 1 recipient.").wait_for()
        page.get_by_role("button", name="Confirm", exact=True).locator("visible=true").click()
        page.get_by_text("No message has a failure.").wait_for()
        page.get_by_text(f"is tried again for {CUSTOMER}.").first.wait_for()
        row.get_by_text("white").wait_for()
        ops.queue.run()
        assert [list(one.recipients) for one in smtp.messages] == [[CUSTOMER], [CUSTOMER]]

        page.get_by_role("row").filter(has_text="RuntimeError: index out of range").first.wait_for()
        page.get_by_role("button", name="Try Again").click()
        page.get_by_text("This version can read 1 of 1.").wait_for()
        page.get_by_role("button", name="Confirm", exact=True).locator("visible=true").click()
        page.get_by_text("1 of 1 left the shelf.").first.wait_for()
        page.get_by_role("row").filter(has_text="On the shelf").first.wait_for()
        assert {one.name for one in ops.desk.records()[0]} == {"Printer down", "On the shelf"}

        page.get_by_label("Whole mail").fill(
            f"From: {CUSTOMER}\nTo: help@acme.example\nSubject: Where?\nMessage-ID: <third@x.example>\n\nHi\n"
        )
        page.get_by_role("button", name="Where Would This Go?").click()
        page.get_by_text("Create: ticket: a new record").wait_for()
        page.set_viewport_size({"width": 390, "height": 900})
        assert wide(page) <= 390
        screenshot(page, "voila-inbox-390")


def wide(page: Any) -> int:
    """The width that the page needs, in pixels."""
    return int(page.evaluate("document.documentElement.scrollWidth"))
