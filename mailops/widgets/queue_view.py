"""The queue as a person works with it: what needs somebody, figures and causes that narrow, a paged table, actions with
preview, one mail in detail.

It begins with *Needs you* where something does. Figures are buttons: each shows its mails. What is shown when the page
opens is no choice of a person: an action wants ticks, or a list that somebody has narrowed.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import ref

import ipywidgets

from ..bounces.reading.advice import cause
from ..model.mail import MailView
from ..model.reasons import plain
from ..model.states import FAILED_DELIVERIES, DeliveryState, MailState
from ..model.text import counted
from ..page.theme import INK, MUTED, SANS, box, code, details, esc, heading, html_table, paragraph, state_chip
from ..queue.filters import QueueFilter
from .actions import Action, Actions, Outcome, Preview
from .controls import button, choice, field, row
from .faces import Card, changed, said
from .panel import Tiles
from .spot import Spot
from .table import Column, Rows, Table, state_cell

if TYPE_CHECKING:
    from ..ops import Ops

COLUMNS = (
    Column("id", "Mail", sortable=True),
    Column("state", "State", kind="state"),
    Column("sender", "From"),
    Column("recipients", "To"),
    Column("subject", "Subject"),
    Column("reason", "Reason", kind="long"),
    Column("created_at", "Submitted (UTC)", sortable=True),
)
CAUSES = (
    Column("show", "Show"),
    Column("cause", "Cause", kind="long"),
    Column("domain", "Recipient domain"),
    Column("number", "Deliveries", kind="number"),
)
CAUSES_CAPTION = "Why mails fail or wait (a mail to three people is three deliveries)"
TABS: tuple[tuple[str, MailState | None], ...] = (
    ("Needs you", MailState.FAILED),
    ("Waiting", MailState.OUTGOING),
    ("All", None),
)
ANY = "Any state"
_PLAIN = f"font-family:{SANS};font-size:13px;color:{INK};padding:0 14px 0 4px;white-space:nowrap"
PERIODS = (("Any time", ""), ("The last day", "1"), ("The last 7 days", "7"), ("The last 30 days", "30"))
SOON = frozenset({"speeding", "toomanyconn", "systemerror", "systemfull", "networkerror", "mailboxfull", "expired"})
"""Reasons of other servers that mean *not now*: a Retry helps only when that has ended."""
EVERY = 30.0  # seconds between two looks of a live page
EXPORTED = 10_000


class QueueView(Card):
    """The queue of a workspace. ``state`` narrows what is shown first, ``mail`` is a mail to begin with (0: none);
    ``limit`` is the size of a page."""

    _state: Any
    _text: Any
    _to: Any
    _from: Any
    _server: Any
    _since: Any

    def __init__(self, ops: Ops, *, state: MailState | None = None, limit: int = 25, mail: int = 0) -> None:
        self.ops = ops
        self.mail = mail
        self.narrowed = state is not None or mail > 0
        self.filter = QueueFilter(state=state, ids=(mail,) if mail > 0 else None)
        self.table = Table(
            COLUMNS,
            self._page,
            caption="Mails, newest first",
            empty="No mail fits. Sent mails leave the queue when they are auto-deleted or vacuumed.",
            limit=limit,
            selectable=True,
            on_open=self.open,
        )
        self.causes = Table(CAUSES, self._causes_page, caption=CAUSES_CAPTION, limit=10, on_open=self._show_cause)
        self.actions = Actions(
            [
                Action("Retry", lambda: self._preview("Retry", "retry")),
                Action("Send Now", lambda: self._preview("Send Now", "send_now")),
                Action("Cancel Email", lambda: self._preview("Cancel Email", "cancel")),
                Action("Ignore", lambda: self._preview("Ignore", "ignore")),
            ],
            on_done=self.refresh,
        )

    # --- figures ------------------------------------------------------------------------------------------------------

    def tiles(self) -> Tiles:
        """Counts by state and what is due."""
        return Tiles([figure[:3] for figure in self._figures()])

    def _figures(self) -> list[tuple[str, str, str | None, MailState | None]]:
        """Label, value, tone, and the state of the mails that a figure counts (None: it counts none of a state)."""
        health = self.ops.queue.health()
        counts = health.counts
        failed = counts[MailState.FAILED] + health.partly
        return [
            (MailState.OUTGOING.label, f"{counts[MailState.OUTGOING]:,}", "info", MailState.OUTGOING),
            ("Due now", f"{health.due:,}", None, None),
            *([("To held domains", f"{health.on_hold:,}", None, None)] if health.on_hold else []),
            (MailState.FAILED.label, f"{failed:,}", "bad" if failed else "good", MailState.FAILED),
            (MailState.SENT.label, f"{counts[MailState.SENT]:,}", "good", MailState.SENT),
            (MailState.CANCELLED.label, f"{counts[MailState.CANCELLED]:,}", None, MailState.CANCELLED),
            ("Oldest waits since", f"{health.oldest:%Y-%m-%d %H:%M}" if health.oldest else "–", None, None),
            *([("Owed to threads or suppressions", f"{health.owed:,}", "bad", None)] if health.owed else []),
        ]

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        page = self.ops.queue.page(self.filter, offset=offset, limit=limit, sort=sort or "id", descending=descending)
        return Rows([_row(mail) for mail in page.mails], page.total)

    def _causes_page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.queue.causes()
        rows = [
            {"id": n, "label": f"{word} at {domain}", "show": "Show", "cause": plain(word), "domain": domain,
             "number": f"{count:,}"}
            for n, (word, domain, count) in enumerate(found, start=1)
        ]  # fmt: skip
        return Rows(rows[offset : offset + limit], len(rows))

    # --- narrowing ----------------------------------------------------------------------------------------------------

    def show(self, chosen: QueueFilter) -> None:
        """Show these mails, as a person chose them; the fields say what was chosen."""
        self.filter, self.narrowed = chosen, True
        if "widget" not in self.__dict__:
            return
        self._quiet = True
        self._state.value = chosen.state.value if chosen.state else ""
        self._text.value, self._to.value = chosen.text or "", chosen.recipient or ""
        self._from.value, self._cause = chosen.sender or "", chosen.reason
        known = {value for _, value in self._server.options}
        self._server.value = chosen.server if chosen.server in known else ""
        self._since.value = ""
        self._quiet = False
        self._marks()
        self.table.clear_selection()
        self.table.reload(first=True)

    def _show_cause(self, number: int) -> None:
        found = self.ops.queue.causes()
        if 0 < number <= len(found):
            word, domain, _ = found[number - 1]
            self.show(QueueFilter(reason=word, recipient=domain))

    def _narrow(self) -> None:
        if self._quiet:
            return
        days = self._since.value
        self.show_kept(
            QueueFilter(
                state=MailState(self._state.value) if self._state.value else None,
                text=self._text.value.strip() or None,
                recipient=self._to.value.strip() or None,
                sender=self._from.value.strip() or None,
                server=self._server.value or None,
                after=self.ops.clock.now() - timedelta(days=int(days)) if days else None,
                reason=self._cause,
            )
        )

    def show_kept(self, chosen: QueueFilter) -> None:
        """Show these mails; the fields stay as they are."""
        self.filter, self.narrowed = chosen, True
        self._marks()
        self.table.clear_selection()
        self.table.reload(first=True)

    def _marks(self) -> None:
        """Say which tab and which cause are chosen."""
        only = replace(self.filter, state=None).is_empty
        for (_, state), tab in zip(TABS, self._tabs, strict=True):
            tab.style.font_weight = "700" if only and self.filter.state is state else "400"
        self._picked.value = (
            paragraph(f"Only: {plain(self._cause)} (press All to see the others)") if self._cause else ""
        )

    # --- actions ------------------------------------------------------------------------------------------------------

    def chosen(self) -> QueueFilter:
        """The ticked mails; without any, everything that the person has narrowed the list to."""
        if self.table.selected:
            return QueueFilter(ids=self.table.selected)
        return self.filter if self.narrowed else QueueFilter()

    def _preview(self, label: str, name: str) -> Preview:
        chosen = self.chosen()
        if chosen.is_empty:
            return Preview("Tick mails in the table, or narrow the list first.")
        seen = self.ops.queue.preview(name, chosen)
        sentence = f"{counted(seen.count, 'mail')}."
        if seen.left_out:
            sentence += f" {seen.left_out:,} more are left out: {seen.reason}."
        if not seen.count:
            return Preview(f"Nothing to do: {seen.reason} can be taken.")
        if name == "retry":
            sentence += self._put_off_again(chosen)
        more = seen.count - len(seen.examples)
        return Preview(sentence, seen.examples, lambda say: self._run(label, name, chosen, say), more)

    def _put_off_again(self, chosen: QueueFilter) -> str:
        """What to know before a Retry: who said *not now* the last time."""
        soon = [(word, domain, n) for word, domain, n in self.ops.queue.causes(chosen) if word in SOON]
        if not soon:
            return ""
        word, domain, _ = soon[0]
        number = sum(n for _, _, n in soon)
        return (
            f' {counted(number, "delivery", "deliveries")} of them ended with "not now" ({domain}: {plain(word)}): '
            "where that has not ended, they will only be put off again."
        )

    def _run(self, label: str, name: str, chosen: QueueFilter, say: Callable[[str], None]) -> str | Outcome:
        if name == "send_now":
            return self._send_now(chosen, say)
        queue = self.ops.queue
        moved = {"retry": queue.retry, "cancel": queue.cancel, "ignore": queue.ignore}[name](chosen, actor="notebook")
        self.table.clear_selection()
        busy = f" {moved.busy:,} are being sent right now and were left alone." if moved.busy else ""
        after = " They leave with the next run of the queue job, or by Send Now." if name == "retry" else ""
        return f"{label}: {moved.count:,} {'mail' if moved.count == 1 else 'mails'} done.{after}{busy}"

    def _send_now(self, chosen: QueueFilter, say: Callable[[str], None]) -> str | Outcome:
        """Send, and say it in the colour of what came of it, with the commonest reason and the way to those mails."""
        done = self.ops.queue.send_now(chosen, on_progress=lambda r: say(f"Send Now: {r.handled:,} handled …"))
        self.table.clear_selection()
        put_off = done.deferred + done.unknown
        sentence = f"Send Now: {done.sent:,} sent, {put_off:,} deferred, {done.failed:,} failed."
        if not put_off and not done.failed:
            return sentence
        causes = self.ops.queue.causes(chosen)
        if causes:
            word, domain, number = causes[0]
            sentence += f" Most often ({number:,}): {plain(word)} ({domain})"
        state = MailState.FAILED if done.failed > put_off else MailState.OUTGOING
        number = done.failed if state is MailState.FAILED else put_off
        left = chosen if chosen.ids is not None else replace(chosen, state=state)
        tone = "bad" if done.failed else "warn"
        return Outcome(sentence, tone, f"Show {number:,} of them", lambda: self.show(left))

    # --- one mail -----------------------------------------------------------------------------------------------------

    def open(self, mail_id: int) -> None:
        """Show one mail above the table, with the focus on it."""
        if "widget" in self.__dict__:
            self._opened(mail_id)

    def _opened(self, mail_id: int) -> None:
        try:
            self._detail.show(mail_html(self.ops, mail_id))
        except Exception as error:
            self._detail.show(box(esc(said(error)), accent="bad", role="alert"))

    # --- faces --------------------------------------------------------------------------------------------------------

    def causes_html(self) -> str:
        """Failures grouped by cause and recipient domain."""
        rows: list[list[object]] = [[plain(reason), domain, f"{n:,}"] for reason, domain, n in self.ops.queue.causes()]
        return html_table(["Cause", "Recipient domain", "Deliveries"], rows, caption=CAUSES_CAPTION) if rows else ""

    def build(self) -> ipywidgets.Widget:
        health = self.ops.queue.health()
        if not self.narrowed and health.counts[MailState.FAILED] + health.partly:
            self.filter = QueueFilter(state=MailState.FAILED)
        self._quiet, self._cause = False, self.filter.reason
        self._figure_row = row()
        self._tabs = []
        for label, state in TABS:
            tab = button(label, tooltip=f"Show the mails: {label}")
            tab.on_click(lambda _, s=state: self.show(QueueFilter(state=s)))
            self._tabs.append(tab)
        self._picked = ipywidgets.HTML("")
        self._detail = Spot(label="The mail that was opened")
        self._state = choice("State", [(ANY, ""), *((s.label, s.value) for s in MailState)])
        self._state.value = self.filter.state.value if self.filter.state else ""
        self._text = field("Contains", "subject or reason")
        self._to, self._from = field("To", "address or domain"), field("From", "address or domain")
        self._server = choice("Server", [("Any server", ""), *((s.name, s.key) for s in self.ops.setup.servers)])
        self._since = choice("Submitted", PERIODS)
        controls = (self._state, self._text, self._to, self._from, self._server, self._since)
        for control in controls:
            control.observe(lambda _: self._narrow(), names="value")
        self._marks()
        self._draw_figures()
        if self.mail > 0:
            self._opened(self.mail)
        made = ipywidgets.VBox(
            [
                self._figure_row, row(*self._tabs, *self._live(), *self._export()), self._file, row(*controls),
                self._picked, self.actions.widget, self._detail, self.table.widget, self.causes.widget,
            ]
        )  # fmt: skip
        return made

    def _draw_figures(self) -> None:
        """The figures as buttons where they count mails of a state, else as words."""
        cells: list[Any] = []
        for label, value, _, state in self._figures():
            if state is None:
                cells.append(ipywidgets.HTML(f'<span style="{_PLAIN}"><b>{esc(value)}</b> {esc(label)}</span>'))
                continue
            press = button(f"{value} {label}", tooltip=f"Show the mails in state {label}")
            press.style.font_weight = "650"
            press.on_click(lambda _, s=state: self.show(QueueFilter(state=s)))
            cells.append(press)
        self._figure_row.children = tuple(cells)

    def _live(self) -> list[Any]:
        """A live page looks again by itself, until it is paused or gone."""
        from IPython import get_ipython

        self._paused = ipywidgets.ToggleButton(value=False, description="Pause", tooltip="Stop looking again by itself")
        self._paused.layout.height, self._paused.layout.width = "34px", "auto"
        if get_ipython() is None:
            return []
        mine, over = ref(self), threading.Event()

        def watch() -> None:
            while not over.wait(EVERY):
                view = mine()
                if view is None:
                    return
                if not view._paused.value:
                    view.refresh()
                    changed()
                del view

        threading.Thread(target=watch, name="queue-live", daemon=True).start()
        return [self._paused]

    def _export(self) -> list[Any]:
        """The shown list as a file of the browser."""
        press = button("Export CSV", tooltip=f"The mails that are listed, at most {EXPORTED:,}, as a file")
        self._file = ipywidgets.HTML("")
        press.on_click(lambda _: self._write_file())
        return [press]

    def _write_file(self) -> None:
        from ..secrets import redact

        frame = self.ops.queue.frame(self.filter, limit=EXPORTED)
        data = base64.b64encode(redact(frame.to_csv(index=False)).encode()).decode()
        self._file.value = paragraph(f"{counted(len(frame), 'line')}, one a recipient:") + (
            f'<a download="queue.csv" href="data:text/csv;base64,{data}">Save queue.csv</a>'
        )

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._draw_figures()
            self.causes.reload()
            self.table.reload()

    def html(self) -> str:
        return self.tiles().html() + self.table.html() + self.causes_html()

    def text(self) -> str:
        return f"{self.tiles().text()}\n{self.table.text()}"


def _row(mail: MailView) -> dict[str, Any]:
    people = [d.recipient for d in mail.deliveries]
    shown = ", ".join(people[:2]) + (f" and {len(people) - 2} more" if len(people) > 2 else "")
    return {
        "id": mail.id,
        "label": f"mail {mail.id}",
        "state": state_cell(mail.state.value, mail.label),
        "sender": mail.header_from or "(notification address)",
        "recipients": shown,
        "subject": mail.subject or "(no subject)",
        "created_at": f"{mail.created_at:%Y-%m-%d %H:%M}",
        "reason": _why(mail),
    }


def _why(mail: MailView) -> str:
    """The reason as short as a table wants it: what the other side said of the first recipient in trouble."""
    for delivery in mail.deliveries:
        if delivery.reply and delivery.state in (DeliveryState.FAILED, DeliveryState.BOUNCED, DeliveryState.PENDING):
            said = " ".join(str(x) for x in (delivery.code, delivery.enhanced, delivery.reply) if x)
            return said if len(said) <= 90 else said[:89] + "…"
    reason = mail.failure_reason or mail.leaves or ("no error" if mail.state is MailState.FAILED else "")
    return reason if len(reason) <= 90 else reason[:89] + "…"


def mail_html(ops: Ops, mail_id: int) -> str:
    """One mail: recipients with the server's answers, history, and what it looks like (sanitised)."""
    mail = ops.queue.mail(mail_id)
    rows: list[list[object]] = [
        [
            esc(d.recipient),
            state_chip(d.state.value, d.state.label),
            esc(" ".join(str(x) for x in (d.code, d.enhanced) if x)),
            esc(d.reply),
            esc(cause(d.cause, failed=d.state in FAILED_DELIVERIES)),
        ]
        for d in mail.deliveries
    ]
    lines: list[list[object]] = [
        [f"{h.at:%Y-%m-%d %H:%M:%S}", h.kind, h.recipient, h.server_key, h.why, h.actor]
        for h in ops.queue.history(mail_id)
    ]
    leaves = paragraph(f"It {mail.leaves}.") if mail.leaves else ""
    reason = f'<p style="margin:6px 0"><b>Reason:</b> {esc(mail.failure_reason)}</p>' if mail.failure_reason else ""
    return box(
        f'<div style="display:flex;gap:10px;align-items:baseline">{state_chip(mail.state.value, mail.label)}'
        f"{heading(f'Mail {mail.id}: {mail.subject or str()}')}</div>"
        + paragraph(
            f"From {mail.header_from or 'the notification address'}; {mail.size:,} bytes; {mail.message_id}", muted=True
        )
        + paragraph(
            f"Submitted {mail.created_at:%Y-%m-%d %H:%M} UTC; {counted(mail.attempts, 'try', 'tries')}; "
            f"server {mail.server_key or '(none yet)'}.",
            muted=True,
        )
        + leaves
        + reason
        + html_table(["Recipient", "State", "Code", "What the server said", "Cause"], rows, raw=True)
        + details("History (UTC)", html_table(["At", "Event", "Recipient", "Server", "Why this server", "By"], lines))
        + details("The message", preview_html(ops.queue.raw(mail_id)))
    )


def preview_html(raw: bytes) -> str:
    """A message's main headers and its body, sanitised, as HTML."""
    import email
    import email.policy

    from ..page.sanitise import safe_html

    message = email.message_from_bytes(raw[:500_000], policy=email.policy.default)
    head = "\n".join(f"{name}: {message[name]}" for name in ("From", "To", "Cc", "Subject", "Date") if message[name])
    body = message.get_body(("html", "plain"))
    try:
        content = body.get_content() if body is not None else ""
    except (LookupError, ValueError):
        content = "(this body cannot be decoded)"
    html = body is not None and body.get_content_subtype() == "html"
    shown = (
        f'<div style="font-family:{SANS};color:inherit">{safe_html(content)}</div>' if html else code(content[:20_000])
    )
    note = (
        f'<div style="font-size:12px;color:{MUTED}">Pictures and scripts of the mail are left out.</div>'
        if html
        else ""
    )
    return code(head) + shown + note
