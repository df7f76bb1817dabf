"""A check's card: what we looked at, what we found, what we expected, what to do next."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic

import ipywidgets

from ..errors import MailopsError
from ..model.verdict import Verdict, VerdictState
from ..page.theme import MUTED, box, code, details, esc, paragraph, titled
from .controls import button, row
from .faces import Card, follow, said

LONG = 600  # characters of a raw answer shown before it has to be opened
ACCENTS = {"passed": "good", "warning": "warn", "failed": "bad", "unknown": "warn", "ready": "info", "checking": "info"}


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
        self._unkept = ""

    def html(self) -> str:
        v = self.verdict
        parts = [titled(v.state.value, v.title), paragraph(f"Looked at: {v.subject}", muted=True)]
        if v.found:
            parts.append(f'<div style="margin-top:4px"><b>Found</b>{_raw(v.found)}</div>')
        if v.expected:
            parts.append(f'<div style="margin-top:4px"><b>Expected</b>{code(v.expected)}</div>')
        apart = self._apart()
        if apart:
            rows = "".join(f"<li><b>{kind}:</b> {esc(words)}</li>" for kind, words in apart)
            parts.append(f'<ul aria-label="Difference" style="margin:4px 0;padding-left:20px">{rows}</ul>')
        if v.fix and v.state is not VerdictState.PASSED:
            parts.append(f'<p style="margin:6px 0"><b>What to do next:</b> {esc(v.fix)}</p>')
        if self._unkept:
            parts.append(f'<p style="margin:6px 0"><b>This verdict is not stored:</b> {esc(self._unkept)}</p>')
        if v.evidence:
            parts.append(
                details("Evidence", code(json.dumps(v.evidence, indent=2, default=str, ensure_ascii=False)[:20_000]))
            )
        if v.at:
            parts.append(f'<div style="font-size:12px;color:{MUTED}">Checked {esc(_when(v.at))}</div>')
        role = "alert" if v.state is VerdictState.FAILED else "status"
        return box("".join(parts), accent=ACCENTS.get(v.state.value), role=role)

    def _apart(self) -> tuple[tuple[str, str], ...]:
        near = self.verdict.state in (VerdictState.WARNING, VerdictState.FAILED)
        return difference(self.verdict.expected, self.verdict.found) if near else ()

    def text(self) -> str:
        v = self.verdict
        lines = [f"{v.state.icon} {v.title} [{v.state.value}] — {v.subject}"]
        lines += [f"  found: {v.found}"] if v.found else []
        lines += [f"  expected: {v.expected}"] if v.expected else []
        lines += [f"  {kind}: {words}" for kind, words in self._apart()]
        lines += [f"  next: {v.fix}"] if v.fix and v.state is not VerdictState.PASSED else []
        return "\n".join(lines)

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.HTML(self.html())
        if self._run is None:
            return self._shown
        press = button("Check now", tooltip=f"Run this check now: {self.verdict.title}")
        press.on_click(lambda _: self.check_now())
        return ipywidgets.VBox([self._shown, row(press)])

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._shown.value = self.html()

    def check_now(self) -> None:
        """Run the check in the background; a second press while it runs does nothing (the button stays enabled, so
        that the keyboard does not lose its place)."""
        if self._run is None or not self._busy.acquire(blocking=False):
            return
        before = self.verdict
        self.verdict = replace(before, state=VerdictState.CHECKING, found="", fix="", evidence={}, at=None)
        self._unkept = ""
        self.refresh()
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
        except Exception as error:  # the verdict still stands; that it is not kept must be told
            self._unkept = said(error)
        finally:
            self._busy.release()
            self.refresh()

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


class LiveCheck(CheckCard):
    """A check that stays true: recorded for the run, made again by *Check now*, and after everything that is done on
    its page."""

    def __init__(self, look: Callable[[], Verdict], record: Callable[[Verdict], Verdict]) -> None:
        super().__init__(record(look()), run=look, on_verdict=record)
        self._record = record

    def build(self) -> ipywidgets.Widget:
        follow(self)
        return super().build()

    def hear(self) -> None:
        """Look again at once, where no look is under way (that one is as new)."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            self.verdict = self._record(self._outcome(self.verdict))
        finally:
            self._busy.release()
        self.refresh()


def _raw(text: str) -> str:
    """A raw answer: whole, or its beginning with the rest to open."""
    if len(text) <= LONG:
        return code(text)
    return code(text[:LONG] + " …") + details(f"All {len(text):,} characters", code(text))


def difference(expected: str, found: str) -> tuple[tuple[str, str], ...]:
    """For a near miss (same beginning, much in common): the words ``missing`` from and ``not expected`` in what was
    found; empty when the two are no two forms of one record."""
    wanted, got = expected.split(), found.split()
    if not wanted or not got or wanted[0] != got[0] or expected == found:
        return ()
    common = sum((Counter(wanted) & Counter(got)).values())
    if 2 * common < min(len(wanted), len(got)):
        return ()
    missing = list((Counter(wanted) - Counter(got)).elements())
    extra = list((Counter(got) - Counter(wanted)).elements())
    if not missing and not extra:
        return (("order", "the same words, in another order"),)
    return tuple((kind, " ".join(words)) for kind, words in (("missing", missing), ("not expected", extra)) if words)


def _when(moment: datetime) -> str:
    local = moment.astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({local:%H:%M %Z})"
