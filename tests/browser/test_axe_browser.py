"""What axe-core says of the app: no violation of WCAG 2.2 AA, nor of its good practice, on any page, light and dark.

axe-core (MPL 2.0) comes in the wheel axe-playwright-python and is loaded into the page by the test alone; nothing of it is
shipped. JupyterLab's own surface is not ours and is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import missing

from mailops.jobs.catalogue import available

pytestmark = [pytest.mark.browser, pytest.mark.timeout(280)]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def broken(page: Any) -> list[str]:
    """Every violation: rule, how many places, and the first of them."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe", "axe-playwright-python is not installed (pip install 'mailops[test]')")
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": RULES}}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {len(one['nodes'])}, first {one['nodes'][0]['html'][:160]}" for one in found]


def seen(page: Any, root: str, path: str) -> None:
    page.goto(f"{root}{path}{'&' if '?' in path else '?'}token=act-token")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_without_a_kernel_breaks_a_rule(
    app: tuple[str, int], page_of: Callable[..., Any], screenshot: Callable[..., Path], scheme: str
) -> None:
    root, failed = app
    page = page_of(scheme)
    paths = ["home", "queue", "queue?show=all", f"mail/{failed}", "status", "verdicts", "search?q=strict.example", "files",
             "trace", "trace?asked=u1@strict.example", "docs/index", "docs/queue", "mail/999999"]  # fmt: skip
    found = {}
    for path in paths:
        seen(page, root, path)
        found[path] = broken(page)
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [one.name for one in available()])
def test_no_notebook_of_the_app_breaks_a_rule(
    app: tuple[str, int], page_of: Callable[..., Any], screenshot: Callable[..., Path], name: str, scheme: str
) -> None:
    root, _ = app
    page = page_of(scheme)
    seen(page, root, f"page/{name}")
    page.wait_for_function(
        "document.querySelector('#page div#main') && !document.getElementById('loading')", timeout=120_000
    )
    page.get_by_role("button", name="Make this a nightly job").wait_for(timeout=120_000)  # the last card
    screenshot(page, f"axe-{name}-{scheme}")
    assert broken(page) == []


def test_a_rule_that_is_broken_is_found(app: tuple[str, int], page_of: Callable[..., Any]) -> None:
    """The check can fail: a picture without a text, a field without a label."""
    page = page_of()
    seen(page, app[0], "home")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"data:,\"><input>')")
    assert {one.partition(":")[0] for one in broken(page)} >= {"image-alt", "label"}
