"""A bundle is made on the page of the notebook, in a real browser, and its first page is opened there."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.testing import SmtpServer
from mailops.testing.smtp_script import Rule

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_bundle_is_made_and_opened(
    ops_factory: Callable[..., Ops],
    voila: Any,
    page_of: Callable[..., Any],
    screenshot: Callable[..., Path],
    tmp_path: Path,
) -> None:
    rule = Rule("rcpt", "reply", 550, "5.1.1", "ann.lee@people.example: user unknown", recipient="ann*")
    with SmtpServer([rule]) as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        number = ops.send(to=["ann.lee@people.example"], sender="desk@acme.example", subject="Order S00042", text="Hi")
        ops.queue.run()
        with voila(ops.workspace.path) as address:
            page = page_of("light", 1280)
            page.goto(address("support_bundle"))
            box = page.get_by_label("Mail number")
            box.wait_for()
            box.fill(str(number))
            box.press("Enter")
            page.get_by_text(f"Yes: mail {number} of the queue").first.wait_for()
            own = page.get_by_label("specific", exact=True)
            own.fill("Only orders")
            own.press("Enter")
            page.get_by_text("Only orders").first.wait_for()
            page.get_by_role("button", name="Make bundle", exact=True).click()
            page.get_by_text("A second scan found no address").first.wait_for(timeout=90_000)
            screenshot(page, "voila-support-preview")
            page.get_by_role("button", name="Confirm").last.click()
            page.get_by_text("Written to support-1.zip").first.wait_for()
        with zipfile.ZipFile(ops.workspace.path / "support-1.zip") as archive:
            archive.extractall(tmp_path / "opened")
        names = json.loads((ops.workspace.path / "support" / "names.json").read_text("utf-8"))
        page = page_of("light", 1280)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "opened" / "index.html").as_uri())
        page.get_by_role("heading", name="Support bundle", level=1).wait_for()
        assert page.get_by_text("The address does not exist.").first.is_visible()
        assert page.get_by_text("Only orders").first.is_visible()
        stand_in = names["addresses"]["ann.lee@people.example"]
        assert page.get_by_text(f"{stand_in}: user unknown").first.is_visible()
        assert "ann.lee" not in page.content()
        assert all(url.startswith(("file:", "data:")) for url in asked)
        screenshot(page, "support-bundle-index")
