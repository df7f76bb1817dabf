"""Everything about an address is looked at, and forgotten, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.testing import SmtpServer
from mailops.testing.dsn import build_dsn

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_somebody_is_looked_up_and_forgotten(
    ops_factory: Callable[..., Ops], voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        for number in range(3):
            ops.send(to=["val@people.example"], sender="ann@acme.example", subject=f"Offer {number}", text="Hello")
        ops.queue.run()
        ops.bounces.take(build_dsn(smtp.messages[0].data, "val@people.example", "5.1.1", "550 unknown", "mx.x.example"))
        ops.suppressions.add("val@people.example", why="Asked to")
        with voila(ops.workspace.path) as address:
            page = page_of("light", 1280)
            page.goto(address("person"))
            box = page.get_by_label("Address")
            box.wait_for()
            box.fill("nonsense")
            box.press("Enter")
            page.get_by_text("is not one mail address").first.wait_for()
            box.fill("Val <VAL@people.example>")
            box.press("Enter")
            page.get_by_text("mails to the address").first.wait_for()
            screenshot(page, "voila-person-kept")
            page.get_by_role("button", name="Forget", exact=True).click()
            page.get_by_text("There is no way back").first.wait_for()
            screenshot(page, "voila-person-preview")
            page.get_by_role("button", name="Confirm").last.click()
            page.get_by_text("It is called forgotten-").first.wait_for()
            page.get_by_text("Nothing is kept of val@people.example").first.wait_for()
            screenshot(page, "voila-person-forgotten")
        assert not ops.about("val@people.example").rows
