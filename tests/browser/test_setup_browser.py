"""A person sets a workspace up in a real browser: nothing is typed on a command line."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from desk import head

from mailops import Ops
from mailops.testing import SmtpServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def fill(page: Any, form: str, **values: str) -> None:
    """Fill in the fields of a form (by their labels, blanks as underscores) and press its button."""
    box = page.locator(".widget-vbox").filter(has_text=re.compile(rf"{form}( \(.*\))?: add or change")).last
    for label, value in values.items():
        field = box.get_by_label(label.replace("_", " "), exact=True)
        field.fill(value)
        field.press("Tab")
    box.get_by_role("button", name="Save").click()
    box.get_by_text("Saved.").first.wait_for()


@pytest.mark.req("GEN-01", "OUT-11", "OUT-12", "OUT-18", "OUT-20", "IN-12")
@pytest.mark.parametrize("hosting", ["online", "sh", "on_premise"])
def test_from_an_empty_workspace_to_a_sent_and_answered_mail(
    sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path], hosting: str
) -> None:
    ops = sqlite_file_ops
    with SmtpServer() as smtp, voila(ops.workspace.path) as address:
        page = page_of()
        page.goto(address("setup"))
        page.get_by_text("Alias domain: add or change").wait_for(timeout=120_000)
        fill(page, "Hosting", Hosting=hosting, Database="company-name")
        fill(page, "Alias domain", Alias_Domain="acme.com", Catchall_Alias="replies")
        fill(page, "Company", Key="acme", Name="Acme", Email="info@acme.com")
        fill(page, "Outgoing server", Key="s", SMTP_Server="127.0.0.1", SMTP_Port=str(smtp.port),
             Connection_Encryption="none", FROM_Filtering="acme.com", Priority="1")  # fmt: skip
        box = page.locator(".widget-vbox").filter(has_text="Send a real test mail").last
        for label, value in (("From", "Joe <joe@partner.example>"), ("To", "c@x.example")):
            box.get_by_label(label, exact=True).fill(value)
            box.get_by_label(label, exact=True).press("Tab")
        box.get_by_role("button", name="Send test mail").click()
        box.get_by_text("is Sent through s").wait_for()
        screenshot(page, f"setup-{hosting}")
        [got] = smtp.messages
        answer = f"From: c@x.example\r\nTo: notifications@acme.com\r\nMessage-ID: <1@x.example>\r\nIn-Reply-To: {head(got.data, 'Message-ID')}\r\n\r\nYes\r\n"  # fmt: skip
        with closing(Ops.open(ops.workspace.path)) as serving, serving.lmtp() as door:  # as the person set it up
            with smtplib.LMTP("127.0.0.1", door.port) as client:
                assert client.sendmail("c@x.example", ["notifications@acme.com"], answer.encode()) == {}
            serving.queue.run()
        [_, onward] = smtp.messages
        assert onward.recipients == ("joe@partner.example",)
        assert b"Yes" in onward.data
    with closing(Ops.open(ops.workspace.path)) as again:
        assert again.setup.profile.hosting == hosting
    assert ops.setup.alias_domains[0].catchall_alias == "replies"
    assert (ops.setup.companies[0].email, ops.setup.servers[0].priority) == ("info@acme.com", 1)
