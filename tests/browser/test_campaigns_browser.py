"""A person works with campaigns in a real browser; a recipient leaves by the link, and comes back on the page."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from furnish import furnish

from mailops import Ops
from mailops.model.setup import Encryption, Server
from mailops.testing import SmtpServer
from mailops.webhooks.server import WebhookServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
BASE = "https://mail.acme.example"


@contextlib.contextmanager
def web(ops: Ops) -> Iterator[str]:
    """The listener that takes unsubscribing, at its address."""
    ready, over, port = threading.Event(), threading.Event(), [0]

    async def run() -> None:
        server = WebhookServer(ops, 0)
        await server.start()
        port[0] = server.port
        ready.set()
        try:
            while not over.is_set():
                await asyncio.sleep(0.02)
        finally:
            await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(20)
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        over.set()
        thread.join(20)


def fill(page: Any, form: str, button: str, **values: str) -> None:
    """Fill in the fields of a form, found by its title, and press its button."""
    box = (
        page.locator(".widget-vbox")
        .filter(has_text=form)
        .filter(has=page.get_by_role("button", name=button, exact=True))
        .last
    )
    for label, value in values.items():
        field = box.get_by_label(label.replace("_", " "), exact=False).first
        field.fill(value)
        field.press("Tab")
    box.get_by_role("button", name=button, exact=True).click()


@pytest.mark.req("CAM-05", "CAM-06")
def test_a_blocked_campaign_is_named_and_cancelled_and_the_next_one_goes_out(
    sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer() as smtp, voila(ops.workspace.path) as address:
        furnish(ops, smtp)
        ops.save_server(Server("other", "Other", host="127.0.0.1", port=smtp.port, encryption=Encryption.NONE))
        given = {"sender": "Ann <ann@acme.example>", "subject": "News", "text": "Hello {{ name }}"}
        ops.campaigns.create("one", recipients=[{"email": "u@x.example", "name": "U"}], server="other", **given)
        ops.campaigns.send("one")
        ops.remove_server("other")
        ops.queue.run()
        page = page_of()
        page.goto(address("campaigns"))
        page.get_by_text("A new campaign: checked row by row").wait_for(timeout=120_000)
        (ops.workspace.path / "list.csv").write_text("email,name\nv@y.example,Vera\n", encoding="utf-8")
        fill(page, "A new campaign", "Create", Key="two", From="Ann <ann@acme.example>", Subject="News",
             Text="Hello {{ name }}", List=str(ops.workspace.path / "list.csv"))  # fmt: skip
        page.get_by_text("Campaign two: Draft.").wait_for()
        fill(page, "Send or schedule a campaign", "Send", Campaign="two")
        page.get_by_text("to 1 recipient? Then write yes.").wait_for()
        fill(page, "Send or schedule a campaign", "Send", Campaign="two", Really="yes")
        page.get_by_text("Campaign two: In Queue.").wait_for()
        page.get_by_text(re.compile("no outgoing server 'other'")).first.wait_for()
        screenshot(page, "campaigns-blocked")
        ops.queue.run()
        assert smtp.messages == []
        fill(page, "Cancel a campaign", "Cancel", Campaign="one")
        page.get_by_text("Campaign one: Cancelled.").wait_for()
        screenshot(page, "campaigns-cancelled")
        with closing(Ops.open(ops.workspace.path)) as job:
            job.queue.run()
        assert [m.recipients for m in smtp.messages] == [("v@y.example",)]


def test_one_post_leaves_and_the_page_takes_it_back(
    sqlite_file_ops: Ops, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer() as smtp, web(ops) as address:
        furnish(ops, smtp)
        ops.set_parameter("web.base.url", BASE)
        ops.campaigns.create(
            "one", sender="Ann <ann@acme.example>", subject="News", text="Hello", recipients=[{"email": "u@x.example"}]
        )
        ops.campaigns.send("one")
        ops.queue.run()
        found = re.search(rb"List-Unsubscribe: <([^>\s]+)>", smtp.messages[0].data)
        assert found is not None
        path = found[1].decode().removeprefix(BASE)
        page = page_of()
        page.goto(address + path)
        page.get_by_text("u@x.example").first.wait_for()
        assert ops.suppressions.find("u@x.example") is None  # looking changes nothing
        posted = httpx.post(address + path, data={"List-Unsubscribe": "One-Click"}, trust_env=False)
        assert posted.status_code == 200
        assert ops.suppressions.find("u@x.example") is not None
        page.reload()
        page.get_by_text("gets no more campaigns").wait_for()
        screenshot(page, "unsubscribed")
        page.get_by_role("button").first.click()
        page.get_by_text("gets our campaigns again").wait_for()
        screenshot(page, "unsubscribing-undone")
        assert ops.suppressions.find("u@x.example") is None
