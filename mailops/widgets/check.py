"""A check's card: what we looked at, what we found, what we expected, what to do next."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic

import ipywidgets

from ..errors import MailopsError
from ..model.verdict import Verdict, VerdictState
from .faces import Card
from .theme import MUTED, box, code, details, esc, heading, paragraph, state_chip

ACCENTS = {"passed": "good", "warning": "warn", "failed": "bad", "unknown": "warn", "checking": "info"}


class CheckCard(Card):
    """Shows a verdict; with ``run`` it has a *Check now* button.

    The button answers at once with *checking*, shows how long it takes past two seconds, and after ``deadline``
    seconds says so and stops waiting. ``on_verdict`` hears each new verdict (to store it).
    """

    def __init__(
        self,
        verdict: Verdict,
        run: Callable[[], Verdict] | None = None,
        *,
        on_verdict: Callable[[Verdict], object] | None = None,
        deadline: float = 60.0,
    ) -> None:
        self.verdict = verdict
        self._run = run
        self._on_verdict = on_verdict
        self._deadline = deadline
        self._busy = threading.Lock()

    def html(self) -> str:
        v = self.verdict
        parts = [
            f'<div style="display:flex;gap:10px;align-items:baseline;flex-wrap:wrap">{state_chip(v.state.value)}{heading(v.title)}</div>'
        ]
        parts.append(paragraph(f"Looked at: {v.subject}", muted=True))
        if v.found:
            parts.append(f'<div style="margin-top:4px"><b>Found</b>{code(v.found)}</div>')
        if v.expected:
            parts.append(f'<div style="margin-top:4px"><b>Expected</b>{code(v.expected)}</div>')
        if v.fix and v.state is not VerdictState.PASSED:
            parts.append(f'<p style="margin:6px 0"><b>What to do next:</b> {esc(v.fix)}</p>')
        if v.evidence:
            parts.append(
                details("Evidence", code(json.dumps(v.evidence, indent=2, default=str, ensure_ascii=False)[:20_000]))
            )
        if v.at:
            parts.append(f'<div style="font-size:12px;color:{MUTED}">Checked {esc(_when(v.at))}</div>')
        role = "alert" if v.state is VerdictState.FAILED else "status"
        return box("".join(parts), accent=ACCENTS.get(v.state.value), role=role)

    def text(self) -> str:
        v = self.verdict
        lines = [f"{v.state.icon} {v.title} [{v.state.value}] — {v.subject}"]
        lines += [f"  found: {v.found}"] if v.found else []
        lines += [f"  expected: {v.expected}"] if v.expected else []
        lines += [f"  next: {v.fix}"] if v.fix and v.state is not VerdictState.PASSED else []
        return "\n".join(lines)

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.HTML(self.html())
        if self._run is None:
            return self._shown
        self._button = ipywidgets.Button(description="Check now", tooltip=f"Run this check now: {self.verdict.title}")
        self._button.on_click(lambda _: self.check_now())
        return ipywidgets.VBox([self._shown, self._button])

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._shown.value = self.html()

    def check_now(self) -> None:
        """Run the check in the background; a second press while it runs does nothing."""
        if self._run is None or not self._busy.acquire(blocking=False):
            return
        before = self.verdict
        self.verdict = replace(before, state=VerdictState.CHECKING, found="", fix="", evidence={}, at=None)
        self.refresh()
        if "widget" in self.__dict__:
            self._button.disabled = True
        threading.Thread(target=self._check, args=(before,), daemon=True).start()

    def _check(self, before: Verdict) -> None:
        answer: list[Verdict] = []
        worker = threading.Thread(target=lambda: answer.append(self._outcome(before)), daemon=True)
        began = monotonic()
        worker.start()
        try:
            while worker.is_alive() and monotonic() - began < self._deadline:
                worker.join(0.5)
                if worker.is_alive() and monotonic() - began > 2:
                    self.verdict = replace(self.verdict, found=f"still checking, {monotonic() - began:.0f} s")
                    self.refresh()
            late = replace(
                before,
                state=VerdictState.UNKNOWN,
                found=f"no answer within {self._deadline:.0f} s",
                fix="Try again; if it stays so, check the network between this machine and the other side.",
            )
            self.verdict = answer[0] if answer else late
            if self._on_verdict:
                self._on_verdict(self.verdict)
        finally:
            self._busy.release()
            self.refresh()
            if "widget" in self.__dict__:
                self._button.disabled = False

    def _outcome(self, before: Verdict) -> Verdict:
        assert self._run is not None
        try:
            return self._run()
        except MailopsError as error:
            return replace(before, state=VerdictState.FAILED, found=error.message, fix=error.fix, code=error.code)
        except Exception as error:
            return replace(
                before,
                state=VerdictState.UNKNOWN,
                found=f"{type(error).__name__}: {error}",
                fix="This is a fault of mailops; report it with this text.",
            )


def _when(moment: datetime) -> str:
    local = moment.astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({local:%H:%M %Z})"
