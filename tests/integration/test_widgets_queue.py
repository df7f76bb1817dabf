"""The queue's view over a real store: what was previewed is what happens, whatever is ticked or typed in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from furnish import furnish

from mailops import Ops
from mailops.model.states import MailState
from mailops.queue.filters import QueueFilter
from mailops.testing import SmtpServer, refuse
from mailops.widgets import QueueView


@pytest.fixture
def failed(sqlite_ops: Ops) -> tuple[int, ...]:
    """Three mails in Delivery Failed."""
    with SmtpServer(script=[refuse(f"u{n}@x.example") for n in range(3)]) as smtp:
        furnish(sqlite_ops, smtp)
        mails = tuple(
            sqlite_ops.send(sender="ann@acme.example", to=[f"u{n}@x.example"], subject=f"Mail {n}", text="Hi")
            for n in range(3)
        )
        sqlite_ops.queue.run()
    return mails


def press(view: QueueView, label: str) -> None:
    parts = view.actions.widget.children
    buttons = [b for part in parts if hasattr(part, "children") for b in part.children]
    next(b for b in buttons if b.description == label).click()


def wait_for(what: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if what():
            return
        pause.wait(0.05)
    pytest.fail("it did not happen in time")


def states(ops: Ops, mails: tuple[int, ...]) -> list[MailState]:
    return [ops.queue.mail(mail).state for mail in mails]


def untick(view: QueueView) -> None:
    view.table.widget.selected = []


def tick_another(view: QueueView) -> None:
    view.table.widget.selected = [row["id"] for row in view.table.widget.rows]


def narrow_otherwise(view: QueueView) -> None:
    view.filter = QueueFilter(state=MailState.FAILED)
    untick(view)


@pytest.mark.req("QUE-06")
@pytest.mark.parametrize("meanwhile", [untick, tick_another, narrow_otherwise], ids=lambda f: f.__name__)
def test_confirm_does_what_was_previewed(sqlite_ops: Ops, failed: tuple[int, ...], meanwhile: Any) -> None:
    view = QueueView(sqlite_ops, state=MailState.FAILED)
    assert view.table.widget.total == 3
    view.table.widget.selected = [failed[1]]
    press(view, "Retry")
    meanwhile(view)
    press(view, "Confirm")
    wait_for(lambda: view.actions.said.startswith("Retry: 1 mail done."))
    assert states(sqlite_ops, failed) == [MailState.FAILED, MailState.OUTGOING, MailState.FAILED]


def test_without_ticks_or_filter_nothing_is_offered(sqlite_ops: Ops, failed: tuple[int, ...]) -> None:
    view = QueueView(sqlite_ops)
    assert view.table.widget.total == 3
    press(view, "Retry")
    press(view, "Confirm")
    assert states(sqlite_ops, failed) == [MailState.FAILED] * 3
