"""The queue as a person works with it: figures, filters, a paged table, actions with preview, one mail in detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..bounces.reading.advice import cause
from ..model.mail import MailView
from ..model.states import FAILED_DELIVERIES, DeliveryState, MailState
from ..page.theme import MUTED, SANS, box, code, details, esc, heading, html_table, paragraph, state_chip
from ..queue.filters import QueueFilter
from .actions import Action, Actions, Preview
from .controls import choice, field, row
from .faces import Card
from .panel import Tiles
from .table import Column, Rows, Table, state_cell

if TYPE_CHECKING:
    from ..ops import Ops

COLUMNS = (
    Column("number", "Mail"),
    Column("state", "State", kind="state"),
    Column("sender", "From"),
    Column("recipients", "To"),
    Column("subject", "Subject"),
    Column("reason", "Reason", kind="long"),
    Column("age", "Submitted (UTC)"),
    Column("attempts", "Tries", kind="number"),
    Column("server", "Server"),
)
ANY = "Any state"


class QueueView(Card):
    """The queue of a workspace. ``state`` narrows what is shown first; ``limit`` is the size of a page."""

    def __init__(self, ops: Ops, *, state: MailState | None = None, limit: int = 25) -> None:
        self.ops = ops
        self.filter = QueueFilter(state=state)
        self.table = Table(
            COLUMNS,
            self._page,
            caption="Mails, newest first",
            empty="No mail fits. Sent mails leave the queue when they are auto-deleted or vacuumed.",
            limit=limit,
            selectable=True,
            on_open=self.open,
        )
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
        health = self.ops.queue.health()
        counts = health.counts
        failed = counts[MailState.FAILED] + health.partly
        return Tiles(
            [
                (MailState.OUTGOING.label, f"{counts[MailState.OUTGOING]:,}", "info"),
                ("Due now", f"{health.due:,}", None),
                *([("To held domains", f"{health.on_hold:,}", None)] if health.on_hold else []),
                (MailState.FAILED.label, f"{failed:,}", "bad" if failed else "good"),
                (MailState.SENT.label, f"{counts[MailState.SENT]:,}", "good"),
                (MailState.CANCELLED.label, f"{counts[MailState.CANCELLED]:,}", None),
                ("Oldest waits since", f"{health.oldest:%Y-%m-%d %H:%M}" if health.oldest else "–", None),
                *([("Owed to threads or suppressions", f"{health.owed:,}", "bad")] if health.owed else []),
            ]
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        page = self.ops.queue.page(self.filter, offset=offset, limit=limit, sort=sort or "id", descending=descending)
        return Rows([_row(mail) for mail in page.mails], page.total)

    # --- actions ------------------------------------------------------------------------------------------------------

    def chosen(self) -> QueueFilter:
        """The ticked mails; without any, everything the filter shows."""
        return QueueFilter(ids=self.table.selected) if self.table.selected else self.filter

    def _preview(self, label: str, name: str) -> Preview:
        chosen = self.chosen()
        if chosen.is_empty:
            return Preview("Tick mails in the table, or narrow the list first.")
        seen = self.ops.queue.preview(name, chosen)
        mails = "mail" if seen.count == 1 else "mails"
        sentence = f"{seen.count:,} {mails}."
        if seen.left_out:
            sentence += f" {seen.left_out:,} more are left out: {seen.reason}."
        if not seen.count:
            return Preview(f"Nothing to do: {seen.reason} can be taken.")
        return Preview(sentence, seen.examples, lambda say: self._run(label, name, chosen, say))

    def _run(self, label: str, name: str, chosen: QueueFilter, say: Callable[[str], None]) -> str:
        if name == "send_now":
            done = self.ops.queue.send_now(chosen, on_progress=lambda r: say(f"Send Now: {r.handled:,} handled …"))
            self.table.clear_selection()
            return f"Send Now: {done.sent:,} sent, {done.deferred + done.unknown:,} deferred, {done.failed:,} failed."
        queue = self.ops.queue
        moved = {"retry": queue.retry, "cancel": queue.cancel, "ignore": queue.ignore}[name](chosen, actor="notebook")
        self.table.clear_selection()
        busy = f" {moved.busy:,} are being sent right now and were left alone." if moved.busy else ""
        after = " They leave with the next run of the queue job, or by Send Now." if name == "retry" else ""
        return f"{label}: {moved.count:,} {'mail' if moved.count == 1 else 'mails'} done.{after}{busy}"

    # --- one mail -----------------------------------------------------------------------------------------------------

    def open(self, mail_id: int) -> None:
        """Show one mail below the table."""
        if "widget" in self.__dict__:
            self._detail.value = mail_html(self.ops, mail_id)

    # --- faces --------------------------------------------------------------------------------------------------------

    def causes_html(self) -> str:
        """Failures grouped by cause and recipient domain."""
        from ..model.reasons import plain

        rows: list[list[object]] = [[plain(reason), domain, f"{n:,}"] for reason, domain, n in self.ops.queue.causes()]
        if not rows:
            return ""
        return html_table(["Cause", "Recipient domain", "Recipients"], rows, caption="Why mails fail or wait")

    def build(self) -> ipywidgets.Widget:
        self._tiles = ipywidgets.HTML(self.tiles().html())
        self._causes = ipywidgets.HTML(self.causes_html())
        self._detail = ipywidgets.HTML(
            paragraph("Press a mail's number to see its recipients, answers and history.", muted=True)
        )
        self._state = choice("State", [(ANY, ""), *((s.label, s.value) for s in MailState)])
        self._state.value = self.filter.state.value if self.filter.state else ""
        self._text = field("Contains", "subject or reason")
        self._to, self._from = field("To", "address or domain"), field("From", "address or domain")
        controls = (self._state, self._text, self._to, self._from)
        for control in controls:
            control.observe(lambda _: self._narrow(), names="value")
        filters = row(*controls)
        return ipywidgets.VBox(
            [self._tiles, filters, self.actions.widget, self.table.widget, self._detail, self._causes]
        )

    def _narrow(self) -> None:
        state = MailState(self._state.value) if self._state.value else None
        self.filter = QueueFilter(
            state=state,
            text=self._text.value.strip() or None,
            recipient=self._to.value.strip() or None,
            sender=self._from.value.strip() or None,
        )
        self.table.clear_selection()
        self.table.reload(first=True)

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._tiles.value = self.tiles().html()
            self._causes.value = self.causes_html()
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
        "number": mail.id,
        "state": state_cell(mail.state.value, mail.label),
        "sender": mail.header_from or "(notification address)",
        "recipients": shown,
        "subject": mail.subject or "(no subject)",
        "age": f"{mail.created_at:%Y-%m-%d %H:%M}",
        "attempts": mail.attempts,
        "server": mail.server_key,
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
            esc(cause(d.reason, failed=d.state in FAILED_DELIVERIES)),
        ]
        for d in mail.deliveries
    ]
    lines: list[list[object]] = [
        [f"{h.at:%Y-%m-%d %H:%M:%S}", h.kind, h.recipient, h.server_key, h.actor] for h in ops.queue.history(mail_id)
    ]
    leaves = paragraph(f"It {mail.leaves}.") if mail.leaves else ""
    reason = f'<p style="margin:6px 0"><b>Reason:</b> {esc(mail.failure_reason)}</p>' if mail.failure_reason else ""
    return box(
        f'<div style="display:flex;gap:10px;align-items:baseline">{state_chip(mail.state.value, mail.label)}'
        f"{heading(f'Mail {mail.id}: {mail.subject or str()}')}</div>"
        + paragraph(
            f"From {mail.header_from or 'the notification address'}; {mail.size:,} bytes; {mail.message_id}", muted=True
        )
        + leaves
        + reason
        + html_table(["Recipient", "State", "Code", "What the server said", "Cause"], rows, raw=True)
        + details("History (UTC)", html_table(["At", "Event", "Recipient", "Server", "By"], lines))
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
