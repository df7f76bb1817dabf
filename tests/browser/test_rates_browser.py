"""The way from a bounce rate down to a single failure in a real browser, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.model.mail import Submission
from mailops.testing import DnsServer, ManualClock, SmtpServer, refuse
from mailops.testing.dsn import build_dsn

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
TEXT = "550 5.7.1 Message refused <b>by policy</b> for gone0@big.example (queue id 4F2A99B1C0, client 192.0.2.7)"


def month(ops: Ops, smtp: SmtpServer, clock: ManualClock) -> None:
    """Three weeks of quiet, then a domain that sends everything back."""
    furnish(ops, smtp)
    for day in range(24):
        names = [f"u{n}@small{n % 5}.example" for n in range(30)] + ["silent@mute.example"] * (day > 20)
        names += [f"gone{n}@big.example" for n in range(8)] if day > 20 else [f"ok{n}@big.example" for n in range(8)]
        mails = [Submission(sender="Ann <ann@acme.example>", to=(a,), subject="Hi", text="Hi") for a in names]
        list(ops.queue.submit_many(mails))
        ops.queue.run()
        clock.advance(86400)
    raw = next(m.data for m in reversed(smtp.messages) if "u3@small3.example" in m.recipients)
    assert ops.bounces.take(build_dsn(raw, "u3@small3.example", "5.2.2", "552 Mailbox full", "mx.small3.example"))


@pytest.mark.req("ERR-03", "ERR-05", "ERR-06")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 800)])
def test_from_the_rate_to_the_single_failure(
    ops_factory: Callable[..., Ops],
    voila: Any,
    page_of: Callable[..., Any],
    screenshot: Callable[..., Path],
    scheme: str,
    width: int,
) -> None:
    clock = ManualClock(datetime.now(UTC) - timedelta(days=24))
    script = [refuse("gone*@big.example", 550, "5.7.1", TEXT[10:]), refuse("*@mute.example", 550, "", "")]
    with SmtpServer(script=script) as smtp, DnsServer({"acme.example": ['TXT "v=spf1 -all"']}, ttl=60) as dns:
        ops = ops_factory(clock=clock, toml=f'\n[dns]\nresolvers = ["127.0.0.1:{dns.port}"]\n')
        month(ops, smtp, clock)
        with voila(ops.workspace.path, scheme) as address:
            page = page_of(scheme, width)
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.goto(address("bounce_rate"))
            page.get_by_role("button", name="Write CSV").wait_for()
            assert page.get_by_text("This jump began on").first.is_visible()
            page.get_by_role("button", name="Open big.example").click()
            page.get_by_text("Why mail of big.example came back").wait_for()
            page.get_by_role("button", name="Open failure").first.click()
            copy = page.get_by_role("button", name="Copy For a web search")
            copy.scroll_into_view_if_needed()
            copy.click()
            page.get_by_text("copied").wait_for()
            copied = page.evaluate("navigator.clipboard.readText()")
            assert "Message refused" in copied
            assert not any(private in copied for private in ("@", "big.example", "192.0.2.7", "4F2A99B1C0"))
            screenshot(page, f"voila-bounce_rate-failure-{scheme}-{width}")
            page.get_by_role("button", name="Open small3.example").click()
            page.get_by_text("Why mail of small3.example came back").wait_for()
            page.get_by_role("button", name="Open failure").first.click()
            page.get_by_text("Report 1", exact=True).click()
            page.get_by_text("The raw report").click()
            page.get_by_text("Final-Recipient").first.wait_for()
            assert page.get_by_text("mailops bounces collect silent@mute.example").is_visible()
            page.get_by_role("button", name="Run the DNS report of acme.example").last.click()
            page.get_by_text("DNS of acme.example: not in order").wait_for()
            page.get_by_label("Group by").select_option(label="Server")
            page.get_by_role("button", name="Open main").wait_for()
            page.get_by_role("button", name="Write CSV").click()
            page.get_by_text("9 files are in").wait_for()
            assert page.get_by_text("Traceback").count() == 0
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, "the page is wider than the window"
            screenshot(page, f"voila-bounce_rate-end-{scheme}-{width}")
