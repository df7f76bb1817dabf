"""A person works with the queue notebook in a real browser: JupyterLab and voila, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.model.states import MailState
from mailops.testing import SmtpServer, refuse

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def furnished(ops: Ops, smtp: SmtpServer) -> int:
    """A queue with a failed mail among sent ones; the server takes it at the second try."""
    furnish(ops, smtp)
    for n in range(3):
        ops.send(sender="Ann <ann@acme.example>", to=[f"u{n}@x.example"], subject=f"Fine {n}", text="Hi")
    failed = ops.send(
        sender="Ann <ann@acme.example>",
        to=["bob@x.example"],
        subject="Your <b>invoice</b>",
        html="<p>Dear Bob</p><script>document.title='stolen'</script><img src='http://tracker.example/p.png'>",
    )
    ops.queue.run()
    assert ops.queue.mail(failed).state is MailState.FAILED
    return failed


def retry_and_send(page: Any, ops: Ops, failed: int) -> None:
    """What a person does: tick, Retry, confirm; Send Now, confirm."""
    page.get_by_text("Mails, newest first").wait_for()
    page.get_by_role("button", name="All", exact=True).click()  # it begins with what needs somebody
    page.get_by_role("checkbox", name=f"Select mail {failed}").check()
    page.get_by_role("button", name="Retry", exact=True).click()
    page.get_by_text("1 mail.").wait_for()
    assert ops.queue.mail(failed).state is MailState.FAILED  # a preview changes nothing
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Retry: 1 mail done.").wait_for()
    assert ops.queue.mail(failed).state is MailState.OUTGOING
    page.get_by_role("checkbox", name=f"Select mail {failed}").check()
    page.get_by_role("button", name="Send Now", exact=True).click()
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Send Now: 1 sent, 0 deferred, 0 failed.").wait_for()
    assert ops.queue.mail(failed).state is MailState.SENT


@pytest.mark.req("QUE-06", "QUE-07", "QUE-08")
def test_jupyterlab_opens_the_queue_and_a_failed_mail_is_retried_and_sent(
    sqlite_file_ops: Ops, lab: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse("bob@x.example", first=1)]) as smtp:
        failed = furnished(ops, smtp)
        with lab(ops.workspace.path) as address:
            page = page_of()
            page.goto(address("queue"))
            page.locator(".jp-Notebook").wait_for()
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # the kernel is up
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
            retry_and_send(page, ops, failed)
            assert [m.recipients for m in smtp.messages][-1] == ("bob@x.example",)
            screenshot(page, "lab-queue-light")


@pytest.mark.req("QUE-02", "QUE-08", "QUE-09")
def test_voila_serves_the_queue_as_an_app(
    sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse("bob@x.example", first=1)]) as smtp:
        failed = furnished(ops, smtp)
        with voila(ops.workspace.path) as address:
            page = page_of()
            page.goto(address("queue"))
            page.get_by_text("Mails, newest first").wait_for()
            page.get_by_role("button", name=f"Open mail {failed}").click()
            page.get_by_text("What the server said").wait_for()
            assert page.get_by_role("cell", name="User unknown", exact=True).first.is_visible()
            page.get_by_text("The message", exact=True).click()
            page.get_by_text("Dear Bob").wait_for()
            assert page.title() != "stolen"
            screenshot(page, "voila-queue-light")
            retry_and_send(page, ops, failed)
            page.get_by_label("State", exact=True).select_option("Cancelled")
            page.get_by_text("No mail fits.").wait_for()


@pytest.mark.parametrize("name", ["start_here", "queue", "outgoing_servers", "bounce_rate"])
def test_every_notebook_shows_its_cards_in_the_dark(
    sqlite_file_ops: Ops, voila: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path], name: str
) -> None:
    ops = sqlite_file_ops
    with SmtpServer(script=[refuse("bob@x.example")]) as smtp:
        furnished(ops, smtp)
        with voila(ops.workspace.path, "dark") as address:
            page = page_of("dark")
            page.goto(address(name))
            titles = {
                "start_here": "How your mail stands",
                "queue": "The queue",
                "outgoing_servers": "Servers, in the order they are asked",
                "bounce_rate": "Bounce rate by domain since 30d",
            }
            page.get_by_text(titles[name]).first.wait_for()
            page.wait_for_load_state("networkidle")
            assert page.get_by_text("Traceback").count() == 0
            screenshot(page, f"voila-{name}-dark")
