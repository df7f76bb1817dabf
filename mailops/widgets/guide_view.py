"""A guide as a card: where one stands, the step to do now, and every other step within reach.

Everything is drawn from the store, so a restarted kernel shows the same step with the same answers. Secrets go through
:class:`SecretField` straight into the vault. What was typed into a step stays there when a person goes back and forth.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets

from ..guides import Input, StepView
from ..guides.engine import InputView
from ..guides.service import Branch, Guided
from ..model.verdict import Verdict, VerdictState
from ..page.theme import MUTED, box, chip, code, esc, heading, html_table, paragraph, state_chip
from .check import CheckCard
from .controls import button, row
from .copyfield import CopyField
from .faces import Card, changed, follow, said
from .finish import FinishCard
from .form import SecretField
from .panel import Headline
from .stepper import Stepper, Stop

Draw = Callable[[], None]
ACCENTS = {"passed": "good", "warning": "warn", "failed": "bad", "unknown": "warn", "ready": "info", "checking": "info"}
_WIDE = "min(760px, 98%)"
TO_PRACTICE, TO_REAL = "Practise first: nothing leaves this machine", "End the practice: do it for real"
_TYPED = (
    "What you type is kept, also over a restart of the kernel. A secret is the exception: it is kept once it is saved "
    "into the vault, and nowhere before."
)
_FACES = {
    "console": "In the provider's console",
    "database": "In the database; mailops does its own side when you save",
}


def marked(text: str) -> str:
    """A guide's line as HTML: ``*label*`` of somebody's console in bold, ``` `value` ``` as typed."""
    safe = esc(text)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"(?<![\w*])\*([^*\n]+)\*(?!\w)", r"<b>\1</b>", safe)


def plain(text: str) -> str:
    """The same line as text."""
    return re.sub(r"(?<![\w*])\*([^*\n]+)\*(?!\w)", r"\1", text).replace("`", "")


def link(label: str, url: str) -> str:
    """A link that looks like one (the notebook's own style hides it in outputs) and opens beside the guide."""
    style = "color:var(--jp-content-link-color, #0860c4);text-decoration:underline;font-weight:600"
    return f'<a href="{esc(url)}" target="_blank" rel="noopener noreferrer" style="{style}">{esc(label)}</a>'


def step_html(number: int, view: StepView) -> str:
    """One step's own card, without its inputs; its heading takes the focus when a person comes to it."""
    step = view.step
    title = heading(f"{number}. {plain(view.title)}").replace("<h3 ", f'<h3 tabindex="-1" data-mo-step="{step.id}" ', 1)
    top = (
        f'<div style="display:flex;gap:10px;align-items:baseline;flex-wrap:wrap">{state_chip(view.state.value)}'
        f"{title}</div>"
    )
    parts = [top, paragraph(_FACES[step.face], muted=True)] if step.face in _FACES else [top]
    parts += [f'<p style="margin:4px 0">{marked(view.why)}</p>'] if view.why else []
    if view.do:
        rows = "".join(f'<li style="margin:3px 0">{marked(line)}</li>' for line in view.do)
        parts.append(f'<ol style="margin:6px 0;padding-left:24px">{rows}</ol>')
    if view.today:
        parts.append(today_html(view))
    parts += [f'<p style="margin:4px 0;color:{MUTED}">{marked(note)}</p>' for note in view.notes]
    if step.links:
        links = " · ".join(link(one.label, one.url) for one in step.links)
        parts.append(f'<p style="margin:6px 0">{links}</p>')
    if view.note and step.check == "connect" and view.state is VerdictState.PASSED:
        parts.append(f'<p style="margin:6px 0" role="status">{chip(view.note, "good", "✓")}</p>')
    elif view.note:
        role = "alert" if view.state is VerdictState.FAILED else "status"
        parts.append(f'<p style="margin:6px 0" role="{role}"><b>{esc(view.note)}</b></p>')
    if view.actor and view.version:
        parts.append(f'<div style="font-size:12px;color:{MUTED}">Last change by {esc(view.actor)}</div>')
    return box("".join(parts), accent=ACCENTS.get(view.state.value))


def today_html(view: StepView) -> str:
    """The documentation's labels beside the console's of today, dated and with their source."""
    rows: list[list[object]] = [
        [marked(one.written), marked(one.today), link("source", one.source)] for one in view.today
    ]
    table = html_table(["In the documentation", "In the console today", ""], rows, raw=True)
    dated = f'<p style="margin:2px 0;color:{MUTED}">As of {esc(view.today[0].seen)}.</p>'
    return f'<div style="margin:6px 0">{table}{dated}</div>'


def branch_html(branch: Branch) -> str:
    """A branch: what it is, why, and what to do."""
    rows = "".join(f'<li style="margin:3px 0">{marked(line)}</li>' for line in branch.do)
    why = f'<p style="margin:4px 0">{marked(branch.why)}</p>' if branch.why else ""
    why += f"<p style='margin:4px 0;color:{MUTED}'>What was said: {esc(branch.said)}</p>" if branch.said else ""
    return box(
        f"{heading(plain(branch.title))}{why}<ol style='margin:6px 0;padding-left:24px'>{rows}</ol>"
        f'<div style="font-size:12px;color:{MUTED}">{esc(branch.code)}</div>',
        accent="warn",
        role="status",
    )


class GuideView(Card):
    """The guide of one subject. ``console_url`` is the practice console, where there is one; ``switch`` opens the other
    world (practice for real, real for practice) and gives its guide and console."""

    def __init__(
        self, guided: Guided, *, console_url: str = "", switch: Callable[[], tuple[Guided, str]] | None = None
    ) -> None:
        self.guided = guided
        self.console_url = console_url
        self._switch = switch
        self._worlds: list[tuple[Guided, str]] = []
        self._shown = ""
        self._drafts: dict[str, dict[str, str]] = guided.typed()
        self._fields: dict[str, Any] = {}
        self._wrong: dict[str, Any] = {}
        self._secrets: list[SecretField] = []
        self._busy = threading.Lock()

    # --- static faces -------------------------------------------------------------------------------------------------

    def _views(self) -> list[tuple[int, StepView]]:
        views = [v for v in self.guided.run.view() if v.state is not VerdictState.SKIPPED]
        return list(enumerate(views, start=1))

    def _head(self) -> Headline:
        progress = self.guided.progress()
        now = self.guided.run.current()
        state = "passed" if progress.done else now.state.value if now else "waiting"
        return Headline(self.guided.title, progress.sentence(), state=state)

    def html(self) -> str:
        notes = "".join(box(esc(text), accent="info") for text in self.guided.run.opening())
        rows: list[list[object]] = [
            [str(n), state_chip(v.state.value), esc(plain(v.title)), esc(v.note)] for n, v in self._views()
        ]
        table = html_table(["Step", "State", "What", "Note"], rows, raw=True)
        now = self.guided.run.current()
        card = next((step_html(n, v) for n, v in self._views() if now and v.step.id == now.step.id), "")
        return self._head().html() + notes + card + table

    def text(self) -> str:
        lines = [self._head().text()]
        for n, v in self._views():
            lines.append(f"{v.state.icon} {n}. {plain(v.title)} [{v.state.value}]" + (f" {v.note}" if v.note else ""))
        return "\n".join(lines)

    # --- live ---------------------------------------------------------------------------------------------------------

    def build(self) -> ipywidgets.Widget:
        self._top = ipywidgets.HTML()
        self._go_on = button("Continue", main=True, tooltip="Go to the step to do next")
        self._go_on.on_click(lambda _: self.show("", move=True))
        self._notes = ipywidgets.VBox([])
        self._body = ipywidgets.VBox([])
        self._answer = ipywidgets.VBox([])
        self._help = self._helper()
        self._finish = ipywidgets.VBox([])
        self._steps = Stepper(lambda step: self.show(step, move=True))
        self._draw_notes()
        self.show("")
        way = ipywidgets.VBox([self._steps])
        way.layout.flex = "0 1 300px"
        way.layout.min_width = "min(260px, 98%)"
        inner = ipywidgets.VBox([self._finish, self._body, self._answer, self._help])
        inner.layout.flex = "1 1 560px"
        inner.layout.min_width = "min(300px, 98%)"
        inner.layout.max_width = "100%"  # a long value scrolls or wraps in the card, and makes no page wider
        for part in (self._body, self._answer, self._finish):
            part.layout.min_width = "0"
        beside = ipywidgets.HBox([way, inner])
        beside.layout.flex_flow = "row wrap"
        beside.layout.grid_gap = "0 16px"
        beside.layout.align_items = "flex-start"
        return ipywidgets.VBox([self._top, row(self._go_on), self._notes, beside])

    @property
    def rehearsing(self) -> bool:
        """Whether a sandbox stands for the provider."""
        return bool(self.console_url)

    def _draw_notes(self) -> None:
        notes: list[Any] = [ipywidgets.HTML(box(esc(text), accent="info")) for text in self.guided.run.opening()]
        if self.rehearsing:
            way = link("Open the practice console", self.console_url)
            notes.append(ipywidgets.HTML(box(f"Practice: a sandbox stands for the provider. {way}", accent="warn")))
        if self._switch is not None:
            label = (
                "End the practice: do it for real" if self.rehearsing else "Practise first: nothing leaves this machine"
            )
            over = button(label)
            over.on_click(lambda _: self._work(self._other_world))
            notes.append(row(over))
        self._notes.children = tuple(notes)

    def _other_world(self) -> Draw:
        """Go over to the other world; one that was open already is taken up again where it was left."""
        here = (self.guided, self.console_url)
        there = self._worlds.pop() if self._worlds else self._switch() if self._switch else here
        self._worlds.append(here)
        self.guided.stop()
        self.guided, self.console_url = there

        def drawn() -> None:
            self._drafts = self.guided.typed()
            self._draw_notes()
            self.show("", move=True)

        return drawn

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._draw_frame()

    def show(self, step_id: str, *, move: bool = False) -> None:
        """Show a step; without one, the step to do now (or the last). ``move``: the focus goes with it."""
        now = self.guided.run.current()
        self._shown = step_id or (now.step.id if now else self._views()[-1][1].step.id)
        self._answer.children = ()
        self._draw()
        if move:
            self._steps.move()

    def _draw_frame(self) -> None:
        self._top.value = self._head().html()
        now = self.guided.run.current()
        elsewhere = now is not None and now.step.id != self._shown
        self._go_on.layout.display = "" if elsewhere else "none"  # on the step itself its own button leads on
        parts, views = self.guided.run.guide.parts, self._views()
        stops = [
            Stop(v.step.id, n, plain(v.title), parts[v.step.part - 1], v.state.icon, v.state.value) for n, v in views
        ]
        progress = self.guided.progress()
        self._steps.draw(stops, self._shown, progress.passed)
        self._finish.children = self._finished() if progress.done else ()

    def _finished(self) -> tuple[Any, ...]:
        """What a person does next, when all is done: hear from the mailbox, let it be watched, connect the next one."""
        kept = self.__dict__.setdefault("_endings", {})
        key = self.guided.run.store.subject
        if key not in kept:
            ending = FinishCard(self.guided, rehearsed=self.rehearsing)
            kept[key] = ending.widget
        return (kept[key],)

    def _draw(self) -> None:
        number, view = next((n, v) for n, v in self._views() if v.step.id == self._shown)
        self._fields, self._secrets, self._wrong = {}, [], {}
        self._steps.mark({})
        parts: list[Any] = [ipywidgets.HTML(step_html(number, view))]
        inner: list[Any] = [CopyField(plain(c.label), c.value).widget for c in view.copies]
        inner += [self._field(view, one) for one in view.inputs]
        if any(one.input.kind in ("secret", "json") for one in view.inputs):
            inner.append(ipywidgets.HTML(paragraph(_TYPED, muted=True)))
        if view.state is VerdictState.WAITING:
            inner = [ipywidgets.HTML(paragraph("This step waits for another one.", muted=True))]
            inner.append(row(*self._ways_to(self.guided.missing(view.step.id))))
        elif view.step.check == "connect":
            inner.append(self._sign_in())
        else:
            inner.append(self._save_row(view))
        inside = ipywidgets.VBox(inner)
        inside.layout.margin = "0 0 0 20px"
        self._body.children = (*parts, inside, self._ways(number))
        self._draw_frame()

    def _ways(self, number: int) -> Any:
        views = self._views()
        back = button("Back", tooltip="The step before; answers stay")
        back.disabled = number == 1
        back.on_click(lambda _: self.show(views[max(0, number - 2)][1].step.id, move=True))
        view = views[number - 1][1]
        again = button("Open again", tooltip="Takes the mark off this step; answers stay")
        again.disabled = view.state not in (VerdictState.PASSED, VerdictState.WARNING, VerdictState.FAILED)
        again.on_click(lambda _: self._work(lambda: self._reopen(view.step.id)))
        return row(back, again)

    def _reopen(self, step_id: str) -> Draw:
        self.guided.reopen(step_id)
        return lambda: self.show(step_id)

    def _save_row(self, view: StepView) -> Any:
        label = "Check now" if view.step.check and not view.inputs else "Save and continue" if view.inputs else "Done"
        press = button(label, main=True)
        press.on_click(lambda _: self._take_secrets(list(self._secrets), lambda: self._work(lambda: self._save(view))))
        return row(press)

    def _take_secrets(self, fields: list[SecretField], then: Callable[[], object]) -> None:
        """First keep what stands typed in the secret fields: one button saves the step. The first one that is refused
        says so at its field, and the step is not saved."""
        if not fields:
            then()
            return
        first, *others = fields

        def taken(trouble: str) -> None:
            if trouble:
                self._say(f"{first.label}: {trouble}", bad=True)
            else:
                self._take_secrets(others, then)

        first.ask(taken)

    # --- inputs -------------------------------------------------------------------------------------------------------

    def _field(self, view: StepView, shown: InputView) -> Any:
        one, drafts = shown.input, self._drafts.setdefault(view.step.id, {})
        if one.kind in ("secret", "json"):
            instead = one.kind == "json" and not one.required
            label = f"{one.label} (or the fields below)" if instead else one.label
            card = SecretField(label, lambda typed: self._keep_secret(view.step.id, one, typed))
            self._secrets.append(card)
            card.state = "Saved in the vault." if self.guided.secret_kept(one.name) and one.kind == "secret" else ""
            return card.widget
        value = drafts.get(one.name, shown.value)
        options: dict[str, Any] = {
            "description": one.label if one.required else f"{one.label} (optional)",
            "style": {"description_width": "230px"},
        }
        if one.kind == "choice":
            choices = [("Choose …", ""), *((c.label, c.value) for c in one.choices)]
            known = {c.value for c in one.choices}
            made: Any = ipywidgets.Dropdown(options=choices, value=value if value in known else "", **options)
        elif one.kind == "flag":
            made = ipywidgets.Checkbox(value=value == "yes", indent=False, description=one.label)
        elif one.kind == "emails":
            made = ipywidgets.Textarea(value=value, rows=3, **options)
        else:
            made = ipywidgets.Text(
                value=value, placeholder="2028-11-30" if one.kind == "date" else "", continuous_update=False, **options
            )
        made.layout.width = _WIDE

        def note(change: Mapping[str, Any]) -> None:
            drafts[one.name] = _text_of(change["new"])
            self.guided.keep_typed(view.step.id, drafts)

        made.observe(note, "value")
        self._fields[one.name] = made
        wrong = ipywidgets.HTML()
        wrong.layout.margin = "0 0 0 238px"
        self._wrong[one.name] = (made.description, wrong)
        parts = [made, wrong]
        if one.help:
            told = ipywidgets.HTML(paragraph(one.help, muted=True))
            told.layout.margin = "0 0 0 238px"
            parts.append(told)
        return ipywidgets.VBox(parts)

    def _keep_secret(self, step_id: str, one: Input, typed: str) -> str:
        given = self.guided.keep_secret(step_id, one.name, typed)
        self._drafts.setdefault(step_id, {}).update(given)
        for name, value in given.items():
            if name in self._fields:
                self._fields[name].value = value
        return "Saved in the vault." if one.kind == "secret" else "Read: Client ID and Client Secret are taken from it."

    def _given(self, view: StepView) -> dict[str, str]:
        given = {}
        for shown in view.inputs:
            name = shown.input.name
            if name in self._fields:
                given[name] = _text_of(self._fields[name].value)
            elif shown.input.kind == "secret":
                kept = self._drafts.get(view.step.id, {}).get(name) or self.guided.secret_kept(name)
                if kept:
                    given[name] = kept
        return given

    def _save(self, view: StepView) -> Draw:
        done = self.guided.submit(view.step.id, self._given(view), version=view.version)
        self._drafts.pop(view.step.id, None)
        self.guided.keep_typed(view.step.id, {})
        return lambda: self._after_save(done)

    def _after_save(self, done: StepView) -> None:
        if done.state in (VerdictState.PASSED, VerdictState.WARNING):
            self.show("", move=True)
            if done.note:
                self._say(f"{plain(done.title)}: {done.note}", good=True)
        else:
            self.show(done.step.id)
            self._answer_with(*self._branches_for(done.note), *self._mend(done.note))

    # --- signing in ---------------------------------------------------------------------------------------------------

    def _sign_in(self) -> Any:
        from ..providers import provider

        label = provider(self.guided.run.guide.provider).connect_label
        press = button(label, main=True)
        press.on_click(lambda _: self._work(self._begin))
        pasted = ipywidgets.Text(
            description="Pasted address",
            placeholder="only when the page after the sign-in cannot be opened",
            style={"description_width": "230px"},
        )
        pasted.layout.width = _WIDE

        def finish(_: Any) -> None:
            text, pasted.value = pasted.value, ""  # it holds a code: it must not stay in the notebook
            self._work(lambda: self._came_back(text))

        take = button("Take this address")
        take.on_click(finish)
        return ipywidgets.VBox([row(press), pasted, row(take)])

    def _begin(self) -> Draw:
        opened = self.guided.begin(self._came)
        if opened.done:
            return self._after_connect
        if opened.code:
            page = link("Open the sign-in page", opened.address)
            told = (
                f"{page}<p style='margin:4px 0'>Enter the code {code(opened.code)} there; it comes back by itself.</p>"
            )
            return lambda: self._answer_with(ipywidgets.HTML(box(told, accent="info", role="status")))
        way = "It comes back by itself." if opened.listens else "Then paste the address of the last page below."
        page = link("Open the sign-in page", opened.address)
        sent = f"Redirect address sent: {code(opened.redirect_uri)}"
        shown = box(f"{page}<p style='margin:4px 0'>{way}</p>{sent}", accent="info", role="status")
        return lambda: self._answer_with(ipywidgets.HTML(shown))

    def _answer_with(self, *widgets: Any) -> None:
        self._answer.children = widgets

    def _came(self, answer: Any) -> None:
        """What the listener heard, in its thread."""
        if isinstance(answer, Exception):
            self._say(said(answer), bad=True)
            return
        self._work(lambda: self._came_back(answer), wait=True)

    def _came_back(self, answer: Any) -> Draw:
        warnings = self.guided.came_back(answer)
        if not warnings:
            return self._after_connect
        keep = button("Keep it all the same")
        keep.on_click(lambda _: self._work(self._keep))
        words = " ".join(f"{w.message} {w.fix}" for w in warnings)
        asked = ipywidgets.HTML(box(esc(words), accent="warn", role="alert"))
        return lambda: self._answer_with(asked, row(keep))

    def _keep(self) -> Draw:
        self.guided.keep()
        return self._after_connect

    def _after_connect(self) -> None:
        step = self.guided.connect_step()
        view = self.guided.run.step(step.id)
        if view.state in (VerdictState.PASSED, VerdictState.WARNING):
            self.show("", move=True)
            self._answer.children = (
                ipywidgets.HTML(box(chip(view.note, "good", "✓") + " Connected.", accent="good", role="status")),
            )
        else:
            self.show(step.id)
            self._answer_with(*self._branches_for(view.note), *self._mend(view.note))

    # --- trouble ------------------------------------------------------------------------------------------------------

    def _helper(self) -> Any:
        seen = ipywidgets.Text(
            description="What do you see instead?",
            placeholder="an error's text or number, as shown",
            style={"description_width": "230px"},
        )
        registered = ipywidgets.Text(
            description="Address in the console",
            placeholder="for redirect errors: the registered address, to compare",
            style={"description_width": "230px"},
        )
        for field in (seen, registered):
            field.layout.width = _WIDE
        press = button("Explain")
        answer = ipywidgets.VBox([])

        def explain(_: Any) -> None:
            try:
                cards = [branch_html(b) for b in self.guided.branches(seen.value)]
                ways = self._mend(seen.value) if cards else []
                if registered.value.strip():
                    equal, drawing = self.guided.compare(registered.value)
                    words = "The two addresses are the same." if equal else "The two addresses differ here:"
                    cards.append(
                        box(paragraph(words) + code(drawing), accent="good" if equal else "bad", role="status")
                    )
                shown = "".join(cards) or box(esc("Nothing is known of this. Paste the whole text."), accent="warn")
            except Exception as error:
                shown, ways = box(esc(said(error)), accent="bad", role="alert"), []
            answer.children = (ipywidgets.HTML(shown), *ways)

        press.on_click(explain)
        inside = ipywidgets.VBox([seen, registered, row(press), answer])
        opened = ipywidgets.Accordion(children=[inside], titles=("Something else happened?",), selected_index=None)
        opened.layout.max_width = "1140px"
        return opened

    def _branches_for(self, text: str) -> list[Any]:
        """The branches that fit what was said of a step that did not pass; its words stand beside already."""
        found = [b for b in self.guided.branches(text) if b.step is not None or b.code.startswith("auth.")]
        return [ipywidgets.HTML(branch_html(replace(b, said=""))) for b in found]

    # --- work ---------------------------------------------------------------------------------------------------------

    def _work(self, job: Callable[[], Draw], *, wait: bool = False) -> None:
        """Answer at once, work in the background; a second press meanwhile does nothing (``wait``: comes after it).

        What the job hands back is drawn once the next press is taken, or a quick press on the new card would be lost.
        """
        if not self._busy.acquire(blocking=wait):
            return
        self._say("Working …")

        def run() -> None:
            try:
                draw = job()
            except Exception as error:
                draw = partial(self._failed, error)
            finally:
                self._busy.release()
            draw()
            changed()

        threading.Thread(target=run, name="guide-work", daemon=True).start()

    def _failed(self, error: Exception) -> None:
        text = said(error)
        if getattr(error, "code", "") == "guide.stale":
            self._both(text)
            return
        facts = getattr(error, "facts", {})
        at_fields = self._at_fields(facts.get("fields") or {})
        words = f"Nothing is saved yet: see {at_fields}." if at_fields else text
        told = ipywidgets.HTML(box(esc(words), accent="bad", role="status" if at_fields else "alert"))
        seen = f"{getattr(error, 'code', '')} {text}"
        self._draw_frame()  # a sign-in that failed has marked its step
        self._answer_with(told, *self._branches_for(seen), *self._mend(seen, facts.get("first") or ()))

    def _at_fields(self, wrong: Mapping[str, str]) -> str:
        """Say at each field what is wrong with it; gives the fields' names, where all of them are on the card."""
        if not wrong or not set(wrong) <= set(self._wrong):
            return ""
        marks = {}
        for name, (label, told) in self._wrong.items():
            words = wrong.get(name, "")
            mark = f"{chip('here', 'bad', '✗')} <b>{esc(words)}</b>"
            told.value = (
                f'<p role="alert" data-mo-wrong="{esc(label)}" style="margin:2px 0">{mark}</p>' if words else ""
            )
            if words:
                marks[label] = words
        self._steps.mark(marks)
        return " and ".join(marks)

    def _mend(self, text: str, first: Sequence[str] = ()) -> list[Any]:
        """Buttons to the steps where what was said can be mended: those of its branches, of the values it names, and
        those that come first; never to the step that is open."""
        ways = self._ways_to([*first, *self.guided.mended_at(text)])
        return [row(*ways)] if ways else []

    def _ways_to(self, steps: Sequence[str]) -> list[Any]:
        made = []
        for number, view in self._views():
            if view.step.id in steps and view.step.id != self._shown:
                go = button(f"Go to step {number}: {plain(view.title)}")
                go.on_click(lambda _, s=view.step.id: self.show(s, move=True))
                made.append(go)
        return made

    def _both(self, told: str) -> None:
        """Other answers came meanwhile: the card as it stands now, what differs, and one press for either."""
        step_id, mine = self._shown, dict(self._drafts.get(self._shown, {}))
        mine.update({name: _text_of(field.value) for name, field in self._fields.items()})
        self._drafts[step_id] = mine
        view = next(v for _, v in self._views() if v.step.id == step_id)
        rows: list[list[object]] = [
            [one.input.label, mine[one.input.name], one.value]
            for one in view.inputs
            if one.input.name in mine and mine[one.input.name] != one.value
        ]
        self._draw()
        use_mine = button("Use mine", main=True, tooltip="Save what stands in the fields")
        use_theirs = button("Use theirs", tooltip="Keep what is stored, and forget what stands in the fields")
        use_mine.on_click(lambda _: self._work(lambda: self._save(view)))
        use_theirs.on_click(lambda _: self._work(lambda: self._theirs(step_id)))
        table = html_table(["Field", "Yours", "Stored"], rows) if rows else ""
        self._answer_with(
            ipywidgets.HTML(box(esc(told) + table, accent="warn", role="alert")), row(use_mine, use_theirs)
        )

    def _theirs(self, step_id: str) -> Draw:
        self._drafts.pop(step_id, None)
        self.guided.keep_typed(step_id, {})
        return lambda: self.show(step_id)

    def _say(self, text: str, *, good: bool = False, bad: bool = False) -> None:
        accent = "good" if good else "bad" if bad else "info"
        self._answer.children = (ipywidgets.HTML(box(esc(text), accent=accent, role="alert" if bad else "status")),)


class Standing(Card):
    """How a guide stands, as checks: looked at anew at first (and recorded for the run) and by *Check again*; after
    each step as the step's own check left it, so that this never says otherwise than the guide above."""

    def __init__(
        self, guided: Guided, record: Callable[[Verdict], Verdict], *, beside: GuideView | None = None
    ) -> None:
        self.guided, self._record, self._beside = guided, record, beside
        self.verdicts = [record(verdict) for verdict in guided.verdicts()]
        self._busy = threading.Lock()

    def html(self) -> str:
        at = f"As of {self.guided.run.clock.now():%Y-%m-%d %H:%M:%S} UTC."
        return "".join(CheckCard(verdict).html() for verdict in self.verdicts) + paragraph(at, muted=True)

    def text(self) -> str:
        return "\n".join(CheckCard(verdict).text() for verdict in self.verdicts)

    def build(self) -> ipywidgets.Widget:
        follow(self)
        self._shown = ipywidgets.HTML(self.html())
        press = button("Check again", tooltip="Let the machine look at every step that is done")
        press.on_click(lambda _: self.check_again())
        return ipywidgets.VBox([self._shown, row(press)])

    def hear(self) -> None:
        """Redraw from what the guide has stored; a guide that went over to practice is none of the run's."""
        if self._beside is not None and self._beside.guided is not self.guided:
            self.guided, self._record = self._beside.guided, lambda verdict: verdict
        self.verdicts = [self._record(verdict) for verdict in self.guided.standing()]
        self.refresh()

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._shown.value = self.html()

    def check_again(self) -> None:
        """Look again in the background; a second press meanwhile does nothing."""
        if self._busy.acquire(blocking=False):
            self._shown.value = box("Checking …", accent="info", role="status")
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        try:
            self.verdicts = [self._record(verdict) for verdict in self.guided.verdicts()]
        finally:
            self._busy.release()
            self.refresh()


def _text_of(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value or "")
