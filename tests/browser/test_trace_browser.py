"""An address is typed, its mails over a week appear, and one is opened to its holders, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.demo.logs import write_logs

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_mail_is_found_by_address_and_opened_to_its_holders(
    ops_factory: Callable[..., Ops], voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    ops = ops_factory()
    ops.logs.take(write_logs(tmp_path / "logs", ops.clock.now()), zone="UTC")
    with voila(ops.workspace.path) as address:
        page = page_of("light", 1280)
        page.goto(address("trace"))
        box = page.get_by_label("Mail")
        box.wait_for()
        box.fill("nobody@nowhere.example")
        box.press("Enter")
        page.get_by_text("Nothing is known of").first.wait_for()
        box.fill("Ann@acme.example")
        box.press("Enter")
        row = page.get_by_role("row").filter(has_text="<0.log@acme.example>")
        row.wait_for()
        assert page.get_by_role("row").filter(has_text=".log@acme.example>").count() == 12
        screenshot(page, "voila-trace-mails")
        row.get_by_role("button").first.click()
        page.get_by_text("Holders: mx/mta-in").first.wait_for()
        page.get_by_text("mx/mta-out was told no by").first.wait_for()
        page.get_by_text("To the postmaster of 127.0.0.1").first.wait_for()
        screenshot(page, "voila-trace-holders")
