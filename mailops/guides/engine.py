"""The guide engine: which step is where, what it says, and what an answer does.

A step is in exactly one state: *waiting* (another comes first), *ready*, *passed*, *warning* (done, with something to
know), *failed* (with the fix), *skipped* (does not apply to these answers). Views are made from the stored answers each
time, so a restart loses nothing. Validation runs before anything is stored; a secret goes into the vault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..clock import SystemClock
from ..errors import ConfigError, MailopsError, StateConflict
from ..model.setup import Hosting, Profile
from ..model.verdict import Finding, Severity, Verdict, VerdictState
from ..ports import Clock
from ..secrets import Secret, SecretStore, is_reference, redact
from .flows import with_flow
from .labels import Label, labels_of
from .model import Condition, Copy, Do, Guide, Input, Step, Trouble, holds
from .steps import Answered, GuideAnswers
from .validate import Checked, validate
from .values import values_of

Check = Callable[["GuideRun", Step], Verdict]
_DONE = (VerdictState.PASSED, VerdictState.WARNING, VerdictState.SKIPPED)


@dataclass(frozen=True, slots=True)
class InputView:
    """An input as it stands: its value (a stored secret shows as its reference), filled in beforehand or not."""

    input: Input
    value: str = ""
    preset: bool = False


@dataclass(frozen=True, slots=True)
class StepView:
    """A step, ready to be shown. ``version`` goes back with the answer."""

    step: Step
    state: VerdictState
    title: str
    why: str
    do: tuple[str, ...]
    copies: tuple[Copy, ...]
    inputs: tuple[InputView, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    note: str = ""
    actor: str = ""
    version: int = 0
    today: tuple[Label, ...] = ()


def _holds_code(said: str, code: str) -> bool:
    """Whether a text holds this error code as a word: ``auth.ms-7000222 The client secret's end date has passed.``"""
    return bool(code) and re.search(rf"(?<![\w.-]){re.escape(code)}(?![\w-]|\.\w)", said) is not None


class GuideRun:
    """One guide for one subject. ``checks`` are by name; ``actor`` is who answers."""

    def __init__(
        self,
        guide: Guide,
        answers: GuideAnswers,
        secrets: SecretStore,
        *,
        profile: Profile | None = None,
        checks: Mapping[str, Check] | None = None,
        clock: Clock | None = None,
        actor: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.guide = guide
        self.store = answers
        self.secrets = secrets
        self.profile = profile or Profile()
        self.checks = dict(checks or {})
        self.clock: Clock = clock or SystemClock()
        self.actor = actor
        self.parameters = dict(parameters or {})

    # --- looking ------------------------------------------------------------------------------------------------------

    def answers(self) -> dict[str, Any]:
        """All answers so far, flat by input name; secrets as references."""
        found: dict[str, Any] = {}
        for stored in self.store.load().values():
            found.update(stored.answers)
        return found

    def values(self) -> dict[str, str]:
        """What the templates are filled with."""
        return self._values(self.answers())

    def _values(self, answers: Mapping[str, Any]) -> dict[str, str]:
        return values_of(self.guide, answers, self.profile, self.parameters, self.store.subject)

    def opening(self) -> tuple[str, ...]:
        """What is said before the first step: on hosted kinds that the hosted server is the recommended way (GEN-10),
        and the provider's limits (GEN-11)."""
        hosted = self.profile.hosting in (Hosting.ONLINE, Hosting.SH)
        return tuple(t for t in ((self.guide.hosted_note if hosted else ""), self.guide.limit_note) if t)

    def view(self) -> tuple[StepView, ...]:
        """All steps as they stand now."""
        stored = self.store.load()
        answers = {k: v for s in stored.values() for k, v in s.answers.items()}
        values = self._values(answers)
        states = self._states(stored, answers)
        return tuple(
            self._show(s, stored.get(s.id, Answered(s.id)), states[s.id], answers, values) for s in self.guide.steps
        )

    def step(self, step_id: str) -> StepView:
        self.guide.step(step_id)
        return next(v for v in self.view() if v.step.id == step_id)

    def current(self) -> StepView | None:
        """The first step that can and should be done now; None when the guide is through."""
        views = self.view()
        failed = next((v for v in views if v.state is VerdictState.FAILED), None)
        return failed or next((v for v in views if v.state is VerdictState.READY), None)

    @property
    def done(self) -> bool:
        return all(v.state in _DONE for v in self.view())

    def explain(self, symptom: str) -> tuple[tuple[Step, Trouble], ...]:
        """The branches that fit a symptom: an error code, or words of what the person sees."""
        said, answers = symptom.strip().lower(), with_flow(self.guide.provider, self.answers())
        found = []
        for step in self.guide.steps:
            for trouble in step.troubles:
                if trouble.when and not holds(trouble.when, answers):
                    continue
                if said and (
                    _holds_code(said, trouble.code.lower()) or any(_says(said, s.lower()) for s in trouble.symptoms)
                ):
                    found.append((step, trouble))
        return tuple(found)

    def _states(self, stored: Mapping[str, Answered], answers: Mapping[str, Any]) -> dict[str, VerdictState]:
        states: dict[str, VerdictState] = {}
        for step in self.guide.steps:
            given = with_flow(self.guide.provider, {**self._presets(), **answers})
            if not holds(step.when, given):
                wrong = [name for name, values in step.when if name in given and str(given[name]) not in values]
                undecided = not wrong
                states[step.id] = VerdictState.WAITING if undecided else VerdictState.SKIPPED
            elif any(states.get(need) not in _DONE for need in step.needs):
                states[step.id] = VerdictState.WAITING
            else:
                states[step.id] = stored[step.id].state if step.id in stored else VerdictState.READY
        return states

    def _presets(self) -> dict[str, str]:
        """What choices and switches stand at until somebody answers them."""
        return {n: i.preset for n, i in self.guide.inputs().items() if i.kind in ("choice", "flag") and i.preset}

    def _show(
        self, step: Step, stored: Answered, state: VerdictState, answers: Mapping[str, Any], values: Mapping[str, str]
    ) -> StepView:
        inputs, given = [], with_flow(self.guide.provider, answers)
        for one in step.inputs:
            if one.name in answers:
                inputs.append(InputView(one, str(answers[one.name])))
            else:
                inputs.append(InputView(one, fill(one.preset, values), preset=bool(one.preset)))
        findings: list[Finding] = []
        if stored.version:
            for one in step.inputs:
                if one.name in stored.answers and one.kind != "secret":
                    checked = validate(
                        one, str(stored.answers[one.name]), answers, self.profile, values, self.clock.now()
                    )
                    findings += checked.findings
        return StepView(
            step,
            state,
            fill(step.title, values),
            fill(step.why, values),
            self._lines(step.do, answers, values),
            tuple(replace(c, value=fill(c.value, values)) for c in step.copies if holds(c.when, given)),
            tuple(inputs),
            self._lines(step.notes, answers, values),
            tuple(findings),
            stored.note,
            stored.actor,
            stored.version,
            labels_of(self.guide.id, step.id),
        )

    def _lines(
        self, lines: tuple[str | Do, ...], answers: Mapping[str, Any], values: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The lines that hold for these answers. While the choice they depend on is open, each says for which it is."""
        answers = with_flow(self.guide.provider, answers)
        shown = []
        for line in lines:
            when = () if isinstance(line, str) else line.when
            if not isinstance(line, str) and any(name not in answers for name, _ in when):
                shown.append(f"[{self._condition(when)}] {fill(line.text, values)}")
            elif isinstance(line, str) or holds(when, answers):
                shown.append(fill(line if isinstance(line, str) else line.text, values))
        return tuple(shown)

    def _condition(self, when: Condition) -> str:
        inputs = self.guide.inputs()
        words = []
        for name, wanted in when:
            labels = {c.value: c.label for c in inputs[name].choices} if name in inputs else {}
            words.append(" or ".join(labels.get(value, value) for value in wanted if value))
        return ", ".join(words)

    # --- answering ----------------------------------------------------------------------------------------------------

    def answer(self, step_id: str, given: Mapping[str, Any] | None = None, *, version: int | None = None) -> StepView:
        """Give a step's inputs (or, without inputs, mark it done). Nothing is stored when one of them is refused.

        A step with a check is marked by :meth:`run_check` alone; where nothing can run the check, the person's mark
        stands and says so.

        Raises :class:`ConfigError` ``guide.input`` with the findings, :class:`StateConflict` for a step that waits
        (``guide.locked``) or was changed meanwhile (``guide.stale``).
        """
        view = self.step(step_id)
        if view.state is VerdictState.WAITING:
            missing = [n for n in view.step.needs if self.step(n).state not in _DONE]
            raise StateConflict(
                "This step waits for others.",
                code="guide.locked",
                facts={"step": step_id, "first": missing},
                fix="Do these first: " + ", ".join(self.guide.step(n).title for n in missing),
            )
        given = dict(given or {})
        if view.state is VerdictState.SKIPPED and not given:
            return view  # it does not apply to these answers
        unknown = sorted(set(given) - {i.name for i in view.step.inputs})
        if unknown:
            raise ConfigError(
                f"This step does not ask for {unknown[0]!r}.", code="guide.input", facts={"step": step_id}
            )
        kept, findings, secrets = self._checked(view, given)
        for name, value in secrets.items():
            kept[name] = str(self.secrets.vault.put(f"guide/{self.guide.id}/{self.store.subject}/{name}", value))
        checked_by_machine = view.step.check in self.checks
        warned = any(f.severity is Severity.WARNING for f in findings)
        notes = [f.message for f in findings if f.severity is Severity.WARNING]
        if view.step.check and not checked_by_machine:
            notes.append("Marked by hand: nothing here can check it.")
        state = VerdictState.READY if checked_by_machine else VerdictState.WARNING if warned else VerdictState.PASSED
        self.store.save(
            step_id, kept, state, version=view.version if version is None else version, actor=self.actor,
            note=" ".join(notes),
        )  # fmt: skip
        return self.step(step_id)

    def _checked(
        self, view: StepView, given: dict[str, Any]
    ) -> tuple[dict[str, Any], list[Finding], dict[str, str | Secret]]:
        """The values to keep, the findings, the secrets to store. Raises when a value is refused."""
        answers = {**self.answers(), **{k: v for k, v in given.items() if not isinstance(v, Secret)}}
        values = self._values(answers)
        given_all = with_flow(self.guide.provider, {**self._presets(), **answers})
        kept: dict[str, Any] = {}
        findings: list[Finding] = []
        fields: dict[str, str] = {}
        secrets: dict[str, str | Secret] = {}
        for shown in view.inputs:
            one = shown.input
            raw = given.get(one.name, fill(one.preset, values) if shown.preset else shown.value)
            text = (raw.reveal() if isinstance(raw, Secret) else str(raw)).strip()
            if not text:
                if one.required or any(holds((case,), given_all) for case in one.needed):
                    findings.append(Finding("guide.missing", Severity.ERROR, f"{one.label} is missing.", "Enter it."))
                    fields[one.name] = f"{one.label} is missing. Enter it."
                continue
            if one.kind == "secret" and is_reference(text):
                kept[one.name] = text
                continue
            checked: Checked = validate(one, text, answers, self.profile, values, self.clock.now())
            findings += checked.findings
            bad = [f for f in checked.findings if f.severity in (Severity.ERROR, Severity.BLOCKING)]
            if bad:
                fields[one.name] = redact(" ".join(f"{f.message} {f.fix}".strip() for f in bad))
            if one.kind in ("secret", "json"):
                secrets[one.name] = text
            else:
                kept[one.name] = checked.value
            for name, value in checked.more.items():
                if isinstance(value, Secret):
                    secrets[name] = value
                else:
                    kept[name] = value
        refused = [f for f in findings if f.severity in (Severity.ERROR, Severity.BLOCKING)]
        if refused:
            raise ConfigError(
                " ".join(f.message for f in refused),
                code=refused[0].code,
                facts={
                    "step": view.step.id,
                    "findings": [redact(f.message) for f in refused],
                    "fields": fields,
                    **refused[0].facts,
                },
                fix=" ".join(f.fix for f in refused if f.fix),
            )
        return kept, findings, secrets

    def run_check(self, step_id: str) -> Verdict:
        """Let the machine look; the verdict marks the step. Raises :class:`ConfigError` where no check is bound."""
        view = self.step(step_id)
        check = self.checks.get(view.step.check)
        if check is None:
            raise ConfigError(
                "Nothing can check this step here.",
                code="guide.no_check",
                facts={"step": step_id, "check": view.step.check},
            )
        if view.state is VerdictState.WAITING:
            raise StateConflict("This step waits for others.", code="guide.locked", facts={"step": step_id})
        try:
            verdict = check(self, view.step)
        except MailopsError as error:
            verdict = Verdict(
                f"guide.{step_id}", self.store.subject, VerdictState.FAILED, view.title, error.message, "", error.fix,
                error.code, {k: v for k, v in error.facts.items() if k != "transcript"}, self.clock.now(),
            )  # fmt: skip
        stored = self.store.load().get(step_id, Answered(step_id))
        note = redact(verdict.found if verdict.passed else f"{verdict.found} {verdict.fix}").strip()
        self.store.mark(step_id, verdict.state, read=stored, note=note, actor=self.actor)
        return verdict

    def fail(self, step_id: str, error: MailopsError) -> None:
        """Mark a step as failed by what went wrong outside of its check (a sign-in that came back refused)."""
        stored = self.store.load().get(step_id, Answered(step_id))
        note = redact(f"{error.message} {error.fix}").strip()
        self.store.mark(step_id, VerdictState.FAILED, read=stored, note=note, actor=self.actor)

    def reopen(self, step_id: str) -> StepView:
        """Take a step's mark off; its answers stay."""
        stored = self.store.load().get(step_id)
        if stored is not None:
            self.store.mark(step_id, VerdictState.READY, read=stored, actor=self.actor)
        return self.step(step_id)


def fill(text: str, values: Mapping[str, str]) -> str:
    """A template with its ``{names}`` filled in, in one pass: what somebody answered is no template. A name that is not
    known yet stays as it stands."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def _says(said: str, symptom: str) -> bool:
    """Whether the words stand there as a whole: AADSTS50011 is no part of AADSTS500112."""
    return re.search(rf"(?<![a-z0-9]){re.escape(symptom)}(?![a-z0-9])", said) is not None
