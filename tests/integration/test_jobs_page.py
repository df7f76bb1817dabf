"""A report and the index in a real browser: complete offline, in light and dark, and nothing is asked of anybody."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.jobs import run_notebook, write_index

NOTEBOOKS = Path(__file__).parent.parent / "fixtures" / "notebooks"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_report_and_index_open_offline_in_light_and_dark(sqlite_ops: Ops, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        required = {"browser", "all"} & set(os.environ.get("MAILOPS_TEST_REQUIRE", "").split(","))
        (pytest.fail if required else pytest.skip)("browser: no chromium on the path")
    playwright: Any = pytest.importorskip("playwright.sync_api")
    for name, params in (("gate", {"spf": "passed"}), ("healthy", {})):
        run_notebook(NOTEBOOKS / f"{name}.ipynb", params, workspace=sqlite_ops.workspace)
    failed = run_notebook(NOTEBOOKS / "gate.ipynb", {}, workspace=sqlite_ops.workspace)
    assert failed.exit_code == 1
    index = write_index(
        sqlite_ops.workspace, tmp_path / "reports" / "index.html", {"Mails sent": 41250, "Bounce rate": "2.1 %"}
    )

    asked: list[str] = []
    wrong: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                color_scheme=scheme, viewport={"width": 1000, "height": 900}, timezone_id="Asia/Tokyo"
            )
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(index.as_uri())
            assert page.get_by_text("1 of 2 notebooks needs a look").is_visible()
            assert "41,250" in page.inner_text(".tiles")
            page.screenshot(path=tmp_path / f"index-{scheme}.png", full_page=True)
            page.get_by_role("link", name="Is all well?").click()
            page.wait_for_url("**/healthy.html")
            assert page.get_by_text("card of example.com").is_visible()
            assert "your time" in page.inner_text("dl")
            assert page.locator("pre", has_text="import ipywidgets").count() == 0
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0
            page.screenshot(path=tmp_path / f"healthy-{scheme}.png", full_page=True)
            page.goto(index.with_name("gate.html").as_uri())
            assert page.get_by_text("1 of 3 checks failed: spf").is_visible()
            page.screenshot(path=tmp_path / f"gate-{scheme}.png", full_page=True)
            page.close()
        browser.close()
    assert wrong == []
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert outside == [], "the policy in the page stops even what a notebook's own HTML asks for"
    assert [u for u in asked if u.startswith("file:") and not u.endswith(".html")] == []
