"""Every card of the kit in voila, light and dark: readable, usable by keyboard, answering at once, keeping secrets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops

FIXTURES = Path(__file__).parent.parent / "fixtures" / "notebooks"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# The contrast of every text with what it stands on, as the browser drew it: walks up to the first solid ground.
CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const drawn = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = getComputedStyle(document.body).backgroundColor;
  const wrong = [];
  let read = 0;
  const seen = document.querySelectorAll(".jp-RenderedHTMLCommon *, .widget-html-content *, .jupyter-widgets, .mo-table *, .mo-copy *, .mo-secret *");
  for (const element of seen) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()).join("");
    if (!own || element.disabled || !element.getClientRects().length || element.closest("svg")) continue;
    const grounds = [];
    for (let up = element; up; up = up.parentElement) grounds.unshift(getComputedStyle(up).backgroundColor);
    const under = ["#ffffff", page, ...grounds];
    const a = light(drawn(under)), b = light(drawn([...under, getComputedStyle(element).color]));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    read += 1;
    if (ratio < 4.5) wrong.push(ratio.toFixed(2) + " " + element.tagName + " " + own.slice(0, 60));
  }
  return { wrong, read };
}
"""

# Boxes that hide or scroll sideways what does not fit; a table scrolls in a box of its own, a field in itself.
SIDEWAYS = """
() => [...document.querySelectorAll("body *")]
  .filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible")
  .filter((e) => !["INPUT", "TD"].includes(e.tagName) && !e.querySelector(":scope > table"))
  .map((e) => e.outerHTML.slice(0, 200))
"""


@pytest.fixture
def notebooks_copy(tmp_path: Path) -> Path:
    """The gallery instead of the project's own notebooks."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(FIXTURES / "cards.ipynb", folder)
    return folder


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_is_readable_and_the_page_fits_a_narrow_window(
    sqlite_file_ops: Ops,
    voila: Any,
    page_of: Callable[..., Any],
    screenshot: Callable[..., Path],
    theme: str,
) -> None:
    with voila(sqlite_file_ops.workspace.path, theme) as address:
        page = page_of(theme, 1280, 5200)
        page.goto(address("cards"))
        page.get_by_text("41,250 recipients were accepted").first.wait_for()
        page.get_by_text("A million mails").wait_for()
        page.get_by_role("button", name="Retry", exact=True).click()
        page.get_by_text("3 mails.").wait_for()
        assert page.get_by_text("Traceback").count() == 0
        contrast = page.evaluate(CONTRAST)
        assert contrast["wrong"] == []
        assert contrast["read"] > 150, "the texts of the cards were looked at"
        unnamed = "els => els.filter(e => !(e.ariaLabel || e.textContent.trim() || e.title)).length"
        assert page.locator("button").evaluate_all(unnamed) == 0
        unlabelled = "els => els.filter(e => !e.ariaLabel && !(e.labels && e.labels.length)).length"
        assert page.locator("input:visible").evaluate_all(unlabelled) == 0
        screenshot(page, f"cards-{theme}")
        page.set_viewport_size({"width": 320, "height": 1400})  # what 400 % zoom leaves of a 1280 pixel window
        page.wait_for_function("window.innerWidth === 320")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for _ in range(50):  # voila's panels follow the window by script, a moment later
            if not page.evaluate(SIDEWAYS):
                break
            page.wait_for_timeout(100)
        assert page.evaluate(SIDEWAYS) == []
        screenshot(page, f"cards-{theme}-narrow")


def test_a_person_uses_every_card(sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any]) -> None:
    with voila(sqlite_file_ops.workspace.path) as address:
        page = page_of()
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(address("cards"))
        page.get_by_text("A million mails").wait_for()

        # checks: at once "checking", then progress, then the verdict; a deadline instead of a traceback
        page.get_by_role("button", name="Check now").first.click()
        page.get_by_text("⟳ Checking").nth(1).wait_for()  # the first belongs to the step of that state
        page.get_by_role("button", name="Check now").nth(1).click()
        page.get_by_text("still checking,").wait_for()
        page.get_by_text("10 mx.example.com").wait_for()
        page.get_by_text("no answer within 1 s").wait_for()

        # exact values: one press, spoken
        page.get_by_role("button", name="Copy Redirect URI").click()
        page.get_by_role("status").get_by_text("copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == "https://mail.example.com/oauth/callback"

        # a secret leaves its field by the keyboard, and only a label stays
        page.get_by_label("Client secret", exact=True).fill("Planted-Value-7391")
        page.keyboard.press("Enter")
        page.get_by_text("saved, ends in 7391").wait_for()
        assert page.get_by_label("Client secret", exact=True).input_value() == ""
        assert "Planted-Value" not in page.content()

        # forms: an answer, and a fault told as a fault
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("Would leave through Main: ann@example.com").wait_for()
        page.get_by_role("button", name="Break").click()
        page.get_by_role("alert").get_by_text("ZeroDivisionError").wait_for()

        # the table by keyboard alone: the focus stays on its button through a page change
        page.get_by_role("button", name="Next page").first.focus()
        page.keyboard.press("Enter")
        page.get_by_text("7–12 of 1,000,000").wait_for()
        page.keyboard.press("Enter")
        page.get_by_text("13–18 of 1,000,000").wait_for()
        page.get_by_role("checkbox", name="Select mail 13").focus()
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.get_by_role("button", name="Last page").first.click()
        page.get_by_text("999,997–1,000,000 of 1,000,000").wait_for()
        page.get_by_role("button", name="Sort by Bytes").click()
        page.get_by_text("1–6 of 1,000,000").wait_for()
        page.get_by_role("button", name="Last page").first.click()
        page.get_by_role("alert").get_by_text("The database is locked. Try again in a moment.").wait_for()
        assert page.get_by_role("button", name="Try to read the table again").is_visible()

        # actions: preview, then confirm
        page.get_by_role("button", name="Retry", exact=True).click()
        page.get_by_text("Invoice 1 — from ann@example.com").wait_for()
        page.get_by_role("button", name="Confirm").click()
        page.get_by_text("Retry: 3 mails done.").wait_for()
