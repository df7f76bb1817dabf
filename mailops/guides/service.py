"""A guide at work in a workspace: what cards, command line and demonstration share.

::

    Guided.open(ops, "azure", "ann@example.com")
      .run        the steps and their answers (:class:`mailops.guides.GuideRun`), in the store
      .progress() which step, how many are done, minutes left
      .keep_secret(step, name, typed)     validate, into the vault; the step keeps the reference
      .begin() ─► address to open;  listener on loopback, or the address pasted back ─► .came_back(...) ─► .keep()
      .check(step)    the machine looks; a passed Test Connection saves the server
      .verdicts()     for a job

Where the web base URL is this machine's loopback, a listener takes the answer of the sign-in page; everywhere else the
browser ends on a page of the database, and a person pastes its address. The sign-in under way is in the vault, so it
may be finished after a restart.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigError, MailopsError, StateConflict
from ..model.setup import MailClass, Server
from ..model.verdict import Finding, Severity, Verdict, VerdictState
from ..oauth.account import Account, FlowKind
from ..oauth.redirects import compare_uris
from ..oauth.signin import Redeemed
from ..secrets import Secret, looks_like_secret, redact
from . import GuideAnswers, GuideRun, Step, StepView, Trouble, guide
from .checks import Services, account_of, checks_for, server_of
from .steps import begun_for
from .validate import validate
from .values import UNNAMED

if TYPE_CHECKING:
    from ..ops import Ops
    from ..smtp import SmtpTransport

PRACTICE = "practice/"  # before the subject of a guide that is walked against the sandbox
_DONE = (VerdictState.PASSED, VerdictState.WARNING)
_WAIT = 900.0  # seconds that a sign-in may take: as long as the pending sign-in lives


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a guide got. ``number`` is the step to do next among ``total``; skipped steps do not count."""

    number: int
    total: int
    passed: int
    minutes: int

    @property
    def done(self) -> bool:
        return self.passed == self.total

    def sentence(self) -> str:
        """``Step 4 of 7, 3 passed, about 6 minutes left``."""
        if self.done:
            return f"All {self.total} steps passed."
        unit = "minute" if self.minutes == 1 else "minutes"
        return f"Step {self.number} of {self.total}, {self.passed} passed, about {self.minutes} {unit} left"


@dataclass(frozen=True, slots=True)
class Opened:
    """A sign-in under way. ``listens``: the answer comes back by itself; else it has to be pasted."""

    address: str = field(repr=False)
    redirect_uri: str
    listens: bool
    code: str = ""  # to type at the address (device code)
    done: bool = False  # nobody had to sign in


@dataclass(frozen=True, slots=True)
class Branch:
    """A trouble as a person reads it; ``step`` is None for a row of the catalogue that no step of the guide names."""

    step: Step | None
    title: str
    why: str
    do: tuple[str, ...]
    code: str
    said: str = ""  # the words that were seen


def services_of(ops: Ops) -> Services:
    """The services of a workspace, for the checks of its guides."""
    from ..dns.names import normalise
    from ..dns.published import check_records

    return Services(
        tokens=ops.tokens,
        test=lambda server: try_server(ops, server),
        setup=lambda: ops.setup,
        mailjet=lambda key, reference: _mailjet(ops, key, reference),
        ask_txt=lambda name: ops.domains.ask(lambda resolver: resolver.ask(normalise(name), "TXT")),
        look_up=lambda records: ops.domains.ask(lambda resolver: check_records(resolver, records)),
    )


def try_server(ops: Ops, server: Server, transport: SmtpTransport | None = None) -> Any:
    """*Test Connection* of a server that need not be saved yet; no mail is sent."""
    from ..routing.mailbox import mailbox_finding
    from ..routing.probe_sender import probe_sender
    from ..smtp import test_connection

    setup = ops.setup
    sender = probe_sender(server, setup.alias_domains, server.login)
    found = test_connection(server, transport or ops.transport(), sender=sender)
    return found.judged(mailbox_finding(server, setup))


def subjects_of(ops: Ops, name: str) -> list[str]:
    """For whom this guide was begun, the latest first; practice does not count."""
    found = begun_for(ops.engine, guide(name).id)
    return [subject for subject in found if not subject.startswith(PRACTICE)]


class Guided:
    """One guide for one subject (a mailbox, a domain)."""

    def __init__(self, ops: Ops, run: GuideRun, services: Services, *, base_url: str = "") -> None:
        self.ops = ops
        self.run = run
        self.services = services
        self.base_url = base_url
        self._listener: Any = None
        self._redeemed: Any = None
        self._device: Callable[[], Any] | None = None
        self._guard = threading.Lock()

    @classmethod
    def open(
        cls,
        ops: Ops,
        name: str,
        subject: str = "",
        *,
        services: Services | None = None,
        base_url: str = "",
        actor: str = "",
    ) -> Guided:
        """Open a guide by its name or provider; without a subject, the one last worked on.

        ``services`` and ``base_url`` replace the workspace's own (practice).
        """
        from dataclasses import replace

        one = guide(name)
        chosen = subject.strip() or next(iter(subjects_of(ops, name)), UNNAMED)
        setup = ops.setup
        profile = ops.workspace.settings.as_profile()
        parameters = dict(setup.parameters)
        speaking = setup.domain_of(setup.companies[0] if setup.companies else None)
        if speaking is not None and not setup.is_hosted_domain(speaking):
            parameters["mail.catchall.domain"] = speaking.name  # an alias domain counts before the parameter
        if base_url:
            profile = replace(profile, web_base_url=base_url)
            parameters["web.base.url"] = base_url
        offered = services or services_of(ops)
        run = GuideRun(
            one,
            GuideAnswers(ops.engine, one.id, chosen, ops.clock),
            ops.secrets,
            profile=profile,
            checks=checks_for(offered),
            clock=ops.clock,
            actor=actor,
            parameters=parameters,
        )
        return cls(ops, run, offered, base_url=base_url)

    # --- looking ------------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """How far it got, and how long the rest takes."""
        views = [v for v in self.run.view() if v.state is not VerdictState.SKIPPED]
        now = self.run.current()
        number = next((n for n, v in enumerate(views, start=1) if now and v.step.id == now.step.id), len(views))
        left = [v for v in views if v.state not in _DONE]
        minutes = math.ceil(sum(0.25 + 0.2 * len(v.do) + 0.25 * len(v.inputs) for v in left))
        return Progress(number, len(views), len(views) - len(left), minutes)

    @property
    def title(self) -> str:
        """The guide's title, with whom it is for."""
        subject = self.run.store.subject.removeprefix(PRACTICE)
        return self.run.guide.title + (f" for {subject}" if subject != UNNAMED else "")

    def secret_kept(self, name: str) -> str:
        """The reference of a secret that was saved for this guide, or nothing."""
        answered = self.run.answers().get(name)
        if answered:
            return str(answered)
        return f"vault:{self._name(name)}" if self.run.secrets.vault.find(self._name(name)) is not None else ""

    def branches(self, symptom: str) -> tuple[Branch, ...]:
        """The branches that fit what a person sees; else the catalogue's row for it."""
        from .engine import fill

        values = self.run.values()
        found: dict[str, Branch] = {}
        for step, trouble in self.run.explain(symptom):
            found.setdefault(trouble.code, _branch(step, trouble, lambda text: fill(text, values), symptom))
        return tuple(found.values()) or self._from_catalogue(symptom)

    def _from_catalogue(self, symptom: str) -> tuple[Branch, ...]:
        from ..bounces.explainer import explain

        said = symptom.strip()
        if not said:
            return ()
        vendor = self.run.guide.provider
        found = explain(said, provider=vendor)
        if not found.known:
            found = explain(said)  # another provider's words, or a bounce's
        if not found.known:
            return ()
        code = f"auth.{found.row}" if found.row else f"bounce.{found.reason}" if found.reason else f"auth.{found.kind}"
        why = f"To act: {found.acts}."
        return (Branch(None, found.cause, why, (found.fix,), code, redact(said[:500])),)

    def mended_at(self, said: str) -> tuple[str, ...]:
        """The steps where what was said can be mended, in the guide's order: those that a branch of it belongs to, else
        those that ask for a value which it names ("the Client Secret is wrong")."""
        own = {branch.step.id for branch in self.branches(said) if branch.step is not None}
        words = said.lower()
        if not own:
            own = {
                step.id
                for step in self.run.guide.steps
                if any(len(one.label) > 5 and one.label.lower() in words for one in step.inputs)
            }
        shown = {view.step.id for view in self.run.view() if view.state is not VerdictState.SKIPPED}
        return tuple(step.id for step in self.run.guide.steps if step.id in own & shown)

    def missing(self, step_id: str) -> tuple[str, ...]:
        """The steps that this one waits for."""
        needs = self.run.guide.step(step_id).needs
        return tuple(need for need in needs if self.run.step(need).state not in _DONE)

    def reopen(self, step_id: str) -> StepView:
        """Take a step's mark off, so that it is asked again; its answers stay."""
        return self.run.reopen(step_id)

    def compare(self, registered: str) -> tuple[bool, str]:
        """Whether the registered redirect address is the one that is sent; three lines that mark what differs."""
        sent = self.run.values()["redirect_uri"]
        diff = compare_uris(registered.strip(), sent)
        return diff.equal, diff.marked + ("" if diff.equal else "\n\n" + "; ".join(diff.words))

    # --- typed, not saved yet -----------------------------------------------------------------------------------------

    def typed(self) -> dict[str, dict[str, str]]:
        """What was typed into steps and not saved yet, by step; it outlives the kernel. Never a secret."""
        return {step: {k: str(v) for k, v in kept.answers.items()} for step, kept in self._typed.load().items()}

    def keep_typed(self, step_id: str, values: Mapping[str, str]) -> None:
        """Keep what stands in a step's fields; secrets and files are left out, nothing forgets the step."""
        plain = {i.name for i in self.run.guide.step(step_id).inputs if i.kind not in ("secret", "json")}
        kept = {name: text for name, text in values.items() if name in plain and not looks_like_secret(text)}
        before = self._typed.load().get(step_id)
        if not kept and before is None:
            return
        try:
            self._typed.save(step_id, kept, VerdictState.READY, version=before.version if before else 0)
        except StateConflict:  # typed in two windows at once: the other one's stands
            return

    @property
    def _typed(self) -> GuideAnswers:
        store = self.run.store
        return GuideAnswers(store.engine, f"{self.run.guide.id}#typed", store.subject, store.clock)

    # --- answering ----------------------------------------------------------------------------------------------------

    def keep_secret(self, step_id: str, name: str, typed: str) -> dict[str, str]:
        """Check a typed secret and put it into the vault; gives what the step is answered with (references).

        Raises :class:`ConfigError` with the validator's words; then nothing is stored.
        """
        view = self.run.step(step_id)
        one = next(i.input for i in view.inputs if i.input.name == name)
        checked = validate(one, typed, self.run.answers(), self.run.profile, self.run.values(), self.run.clock.now())
        refused = [f for f in checked.findings if f.severity in (Severity.ERROR, Severity.BLOCKING)]
        if refused:
            raise ConfigError(
                " ".join(f.message for f in refused),
                code=refused[0].code,
                facts=refused[0].facts,
                fix=" ".join(f.fix for f in refused if f.fix),
            )
        kept = {name: typed} if one.kind == "secret" else {}
        given = {}
        for key, value in {**kept, **checked.more}.items():
            if key == name or isinstance(value, Secret):
                given[key] = str(self.run.secrets.vault.put(self._name(key), value))
            else:
                given[key] = str(value)
        return given

    def _name(self, name: str) -> str:
        return f"guide/{self.run.guide.id}/{self.run.store.subject}/{name}"

    def submit(self, step_id: str, given: Mapping[str, Any] | None = None, *, version: int | None = None) -> StepView:
        """Answer a step; what a machine can check is checked at once."""
        view = self.run.answer(step_id, given, version=version)
        if view.step.check and view.step.check in self.run.checks:
            self.check(step_id)
        return self.run.step(step_id)

    def check(self, step_id: str) -> Verdict:
        """Let the machine look. A passed *Test Connection* saves the server, so that mail can leave through it (not in
        practice: a sandbox must never carry real mail)."""
        verdict = self.run.run_check(step_id)
        tested = self.run.guide.step(step_id).check == "test_connection"
        if verdict.passed and tested and not self.run.store.subject.startswith(PRACTICE):
            self._save_server()
        return verdict

    def _save_server(self) -> None:
        """Save the server that was tested; Mailjet's is the dedicated one for mass mail, unless that was declined."""
        from ..model.setup import MASS_PARAMETER

        saved = self.ops.save_server(server_of(self.run, **self.services.server_overrides))
        if saved.mail_class is MailClass.MASS and str(self.run.answers().get("dedicated") or "yes") == "yes":
            self.ops.set_parameter(MASS_PARAMETER, saved.key)

    # --- signing in ---------------------------------------------------------------------------------------------------

    def begin(self, came: Callable[[Any], object] | None = None) -> Opened:
        """Start the sign-in. ``came`` hears the parameters that the listener got, or the error, in its own thread."""
        account = account_of(self.run, **self.services.overrides)
        self.stop()
        if account.flow.app_only:
            self._redeemed = self._sign_in.app_only(account)
            self.keep()
            return Opened("", "", False, done=True)
        if account.flow is FlowKind.DEVICE:
            return self._by_device(account, came)
        uri = self.run.values()["redirect_uri"]
        listener = None
        if account.flow is FlowKind.LOOPBACK and came is not None:
            listener = self._listener_on("localhost", "/", 0)
            uri = listener.redirect_uri if listener is not None else uri
        elif came is not None:
            listener = self._listen(uri)
        try:
            begun = self._sign_in.begin(account, uri)
        except BaseException:
            self.stop()
            raise
        if listener is not None and came is not None:
            listener.expect(begun.state)
            threading.Thread(target=self._wait, args=(listener, came), name="guide-sign-in", daemon=True).start()
        return Opened(begun.address, uri, listener is not None)

    def _by_device(self, account: Account, came: Callable[[Any], object] | None) -> Opened:
        """A code to type in any browser. With ``came`` the wait for it goes on beside; else it is waited for here."""
        asked = self._sign_in.begin_device(account)

        def wait() -> Any:
            try:
                return self._sign_in.finish_device(account, asked)
            except MailopsError as error:
                return error

        opened = Opened(str(asked["verification_uri"]), "", came is not None, code=str(asked["user_code"]))
        if came is not None:
            threading.Thread(target=lambda: came(wait()), name="guide-device", daemon=True).start()
        else:
            self._device = wait
        return opened

    def finish_device(self) -> tuple[Finding, ...]:
        """Wait for the code that :meth:`begin` showed (the command line's way)."""
        if self._device is None:
            raise ConfigError("There is no code to wait for.", code="guide.no_sign_in", fix="Start the sign-in again.")
        found = self._device()
        if isinstance(found, MailopsError):
            raise found
        return self.came_back(found)

    def _listen(self, uri: str) -> Any:
        """The listener for this address, or None where it is not on this machine's loopback."""
        split = urlsplit(uri)
        if split.scheme != "http" or split.hostname not in ("localhost", "127.0.0.1") or not split.port:
            return None
        return self._listener_on(split.hostname, split.path, split.port)

    def _listener_on(self, host: str, path: str, port: int) -> Any:
        from ..oauth.loopback import CallbackListener

        listener = CallbackListener(host=host, path=path, port=port)
        try:
            listener.__enter__()
        except OSError:  # another kernel holds the port: the address can still be pasted
            return None
        with self._guard:
            self._listener = listener
        return listener

    def _wait(self, listener: Any, came: Callable[[Any], object]) -> None:
        try:
            answer: Any = listener.wait(_WAIT)
        except MailopsError as error:
            answer = error
        with self._guard:
            mine = self._listener is listener
            if mine:
                self._listener = None
        if mine:
            listener.__exit__(None, None, None)
            came(answer)

    def stop(self) -> None:
        """Close the listener, where one is open."""
        with self._guard:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.__exit__(None, None, None)

    @property
    def _sign_in(self) -> Any:
        tokens = self.services.tokens
        if tokens is None or tokens is self.ops.tokens:
            return self.ops.sign_in
        from ..oauth.signin import SignIn

        return SignIn(self.run.secrets, clock=self.run.clock, http=tokens._http)

    def came_back(self, answer: str | Mapping[str, str] | Redeemed) -> tuple[Finding, ...]:
        """Redeem what came back (a device code comes redeemed). Without warnings it is kept at once; else
        :meth:`keep` decides."""
        try:
            self._redeemed = answer if isinstance(answer, Redeemed) else self._sign_in.redeem(answer)
        except MailopsError as error:
            self.run.fail(self.connect_step().id, error)
            raise
        warnings: tuple[Finding, ...] = self._redeemed.warnings
        if not warnings:
            self.keep()
        return warnings

    def keep(self) -> Verdict:
        """Store the redeemed sign-in, and let the step look for itself: the green tag."""
        if self._redeemed is None:
            raise ConfigError("There is no sign-in to keep.", code="guide.no_sign_in", fix="Start the sign-in again.")
        self._sign_in.store(self._redeemed)
        self._redeemed = None
        return self.check(self.connect_step().id)

    def connect_step(self) -> Step:
        """The step of this guide that connects the account."""
        return next(s for s in self.run.guide.steps if s.check == "connect")

    # --- for jobs -----------------------------------------------------------------------------------------------------

    def verdicts(self) -> tuple[Verdict, ...]:
        """How the guide stands, and the machine's checks of the steps that are done, made anew. Never raises."""
        made = [self._head()]
        for view in self._checked():
            made.append(self.check(view.step.id))
        return tuple(made)

    def standing(self) -> tuple[Verdict, ...]:
        """The same verdicts as they were left: nothing is looked at again. Never raises."""
        subject, kept = self.run.store.subject, self.run.store.load()
        made = [self._head()]
        for view in self._checked():
            good = view.state in _DONE
            fix = "" if good else "Open this step in the guide."
            made.append(
                Verdict(
                    f"guide.{view.step.id}",
                    subject,
                    view.state,
                    view.title,
                    view.note,
                    "",
                    fix,
                    at=kept[view.step.id].at,
                )
            )
        return tuple(made)

    def _checked(self) -> list[StepView]:
        """The steps that a machine has looked at."""
        return [
            view
            for view in self.run.view()
            if view.step.check in self.run.checks and view.version and view.state in (*_DONE, VerdictState.FAILED)
        ]

    def _head(self) -> Verdict:
        progress, now = self.progress(), self.run.clock.now()
        subject = self.run.store.subject
        begun = bool(self.run.store.load())
        state = VerdictState.PASSED if progress.done else VerdictState.WARNING if begun else VerdictState.SKIPPED
        found = progress.sentence() if begun else "This guide was not begun here."
        current = self.run.current()
        fix = f"Go on with: {current.title}." if current and begun else ""
        return Verdict(
            f"guide.{self.run.guide.id}", subject, state, self.run.guide.title, found, "All steps passed", fix, at=now
        )


def _branch(step: Step, trouble: Trouble, filled: Callable[[str], str], symptom: str) -> Branch:
    said = "" if symptom.startswith(("auth.", "guide.")) else redact(symptom.strip()[:500])
    return Branch(step, filled(trouble.title), filled(trouble.why), tuple(map(filled, trouble.do)), trouble.code, said)


def _mailjet(ops: Ops, key: str, reference: str) -> Any:
    from ..providers.mailjet import MailjetApi

    return MailjetApi(key, ops.secrets.get(reference))
