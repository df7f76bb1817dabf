"""The app in a real browser, by keyboard and by mouse: from home to a cause and the fix, parameters that make a link, and
what makes a page readable for everyone, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(280)]

PALE = """() => {
  const seen = [];
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const lum = ([r, g, b]) => { const f = [r, g, b].map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; }
    return [255, 255, 255, 1]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.textContent.trim() || ['SCRIPT', 'STYLE', 'OPTION'].includes(e.tagName) || !e.checkVisibility()) continue;
    const a = lum(parse(getComputedStyle(e).color)), b = lum(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) seen.push(n.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return seen;
}"""
SMALL = """() => [...document.querySelectorAll('a, button, input, select, summary')].filter((e) => e.checkVisibility() && !e.classList.contains('skip'))
  .map((e) => [e.getBoundingClientRect(), e]).filter(([r, e]) => (r.height < 24 || r.width < 24) && !(e.tagName === 'A' && r.height >= 18 && e.closest('p')))
  .map(([r, e]) => (e.textContent || e.name || e.id).trim().slice(0, 40) + ' ' + Math.round(r.width) + 'x' + Math.round(r.height))"""
UNNAMED = """() => [...document.querySelectorAll('a, button, input, select, iframe')].filter((e) => e.checkVisibility() &&
  !(e.textContent.trim() || e.getAttribute('aria-label') || e.title || (e.labels && e.labels.length))).map((e) => e.outerHTML.slice(0, 80))"""


def follow(page: Any, name: str | re.Pattern[str]) -> None:
    """Reach a link by the keyboard alone, and press it."""
    for _ in range(120):
        page.keyboard.press("Tab")
        text = page.evaluate("document.activeElement.textContent.trim()")
        if text == name if isinstance(name, str) else name.search(text):
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
    pytest.fail(f"{name!r} is not reached by the keyboard")


def test_from_home_to_a_cause_and_the_fix_and_back_by_keyboard_alone(
    app: tuple[str, int], page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    root, failed = app
    page = page_of()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{root}home?token=act-token")
    assert page.title() == "Mail at a glance – mailops"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    follow(page, "Queue")
    follow(page, str(failed))
    page.get_by_role("heading", name=f"Mail {failed}", exact=False).wait_for()
    assert page.get_by_text("What the server said").is_visible()
    follow(page, "The address does not exist.")
    page.get_by_text("1–3 of 3").wait_for()
    screenshot(page, "app-cause-light")
    follow(page, re.compile("^Retry, Send Now, Cancel"))
    page.get_by_role("heading", name="Queue", level=1).wait_for()
    page.get_by_role("button", name="Retry", exact=True).wait_for(timeout=90_000)
    assert page.title() == "Queue – mailops"
    assert page.evaluate("document.querySelector('main').contains(document.getElementById('rendered_cells'))")
    screenshot(page, "app-queue-light")
    follow(page, "Home")
    page.get_by_role("heading", name="Mail at a glance").wait_for()
    assert [one for one in fetched if not one.startswith((root.partition("mailops/")[0], "data:", "blob:"))] == []


def test_what_is_set_in_the_bar_is_the_address_and_what_the_notebook_shows(
    app: tuple[str, int], page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    root, failed = app
    page = page_of("dark")
    page.goto(f"{root}page/queue?token=act-token")
    page.get_by_text("What it shows").wait_for()  # the page itself: before it the browser told its theme
    page.keyboard.press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.textContent.trim()") == "What it shows":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_label("Mail", exact=True).fill(str(failed))
    page.get_by_label("Mail", exact=True).press("Enter")
    page.wait_for_url(re.compile(rf"page/queue\?.*mail={failed}"))
    page.get_by_role("heading", name=f"Mail {failed}: Mail 2").wait_for(timeout=90_000)
    assert page.locator("body").get_attribute("data-jp-theme-name") == "JupyterLab Dark"
    assert page.get_by_text(f"What it shows: mail = {failed}").is_visible()
    screenshot(page, "app-bar-dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_everyone(
    app: tuple[str, int], page_of: Callable[..., Any], screenshot: Callable[..., Path], scheme: str
) -> None:
    """Contrast, names, target sizes, and no page wider than its window."""
    root, failed = app
    found: list[str] = []
    for width in (1280, 800, 390):
        page = page_of(scheme, width)
        for path in (
            "home",
            "queue",
            f"mail/{failed}",
            "status",
            "verdicts",
            "search?q=strict.example",
            "trace",
            "docs/queue",
        ):
            mark = "&" if "?" in path else "?"
            page.goto(f"{root}{path}{mark}token=act-token")
            name = re.sub(r"\W+", "-", path)
            found += [f"{path} {width} pale: {one}" for one in page.evaluate(PALE)]
            found += [f"{path} {width} unnamed: {one}" for one in page.evaluate(UNNAMED)]
            if not path.startswith("docs"):
                found += [f"{path} {width} small: {one}" for one in page.evaluate(SMALL)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{path} is wider than {width}")
            if width != 800:
                screenshot(page, f"app-{name}-{scheme}-{width}")
    assert found == []
