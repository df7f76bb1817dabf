"""Tells people that a job has begun to fail, still fails after a day, or is well again; nothing else.

:func:`decide` is pure: it makes of how a job stood, how its last run ended and what time it is the new standing and
what to tell. In the quiet hours nothing is told, and what began and ended in them never is. Standings are kept in
``alerts.json`` of the workspace, so that neither a restart nor a changed clock tells anything twice.

An alert goes by every road that is set up: mail, webhook, file. Mail is what this program is about, so it may be what
is broken: an alert that did not leave at once goes to the file ``alerts.jsonl`` too, whatever is set up. An alert that
went by no road at all is not told, and is tried again.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ..errors import MailopsError
from ..model.verdict import VerdictState
from ..model.zones import zone_of
from ..ports import Clock
from ..secrets import redact
from ..store.exclusive import FileLocks, alone
from ..store.runs import Run, verdicts_of
from ..workspace import Workspace

FILE, LOG = "alerts.json", "alerts.jsonl"
STILL = timedelta(days=1)
"""How long a failing job is kept quiet about after it was told."""
SECONDS = 10.0
"""How long a webhook may take to answer."""
Kind = Literal["failing", "still failing", "recovered"]
Send = Callable[[Sequence[str], str, str], str]
"""Sends a mail (to, subject, text); "" when it left, or why it did not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands. ``since``: the end of the first failed run; ``told``: when that was last told, None = not yet.
    ``run`` is the last run that was looked at."""

    failing: bool = False
    since: datetime | None = None
    told: datetime | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The standing from now on, what to tell (None = nothing), and why in a sentence."""

    standing: Standing
    kind: Kind | None
    reason: str


def decide(before: Standing, run: Run, now: datetime, *, quiet: bool) -> Decision:
    """What to tell of a job whose last finished run is ``run``. What is to be told is taken as told."""
    failing, ended = run.status != "passed", run.finished_at or run.started_at
    here = replace(before, run=run.id)
    if not failing:
        if not before.failing:
            return Decision(replace(Standing(), run=run.id), None, "It is well.")
        if before.told is None:
            return Decision(replace(Standing(), run=run.id), None, "It is well again before anybody was told.")
        if quiet:
            return Decision(before, None, "It is well again; that is told when the quiet hours end.")
        return Decision(replace(Standing(), run=run.id), "recovered", f"It failed since {before.since:%Y-%m-%d %H:%M}.")
    if not before.failing:
        here = Standing(True, ended, None, run.id)
    if here.told is None:
        if quiet:
            return Decision(here, None, "It fails; that is told when the quiet hours end.")
        return Decision(replace(here, told=now), "failing", "It failed, and nobody was told yet.")
    if now - here.told >= STILL and not quiet:
        return Decision(replace(here, told=now), "still failing", "A day has gone by since it was told.")
    return Decision(here, None, f"It was told at {here.told:%Y-%m-%d %H:%M}.")


def is_quiet(hours: str, now: datetime, zone: str) -> bool:
    """Whether it is within ``hours`` (22:00-07:00, also over midnight) in a zone; "" = never.

    >>> from datetime import UTC
    >>> is_quiet("22:00-07:00", datetime(2026, 1, 1, 23, tzinfo=UTC), "Europe/Berlin")
    True
    """
    if not hours:
        return False
    begin, _, end = hours.partition("-")
    here = f"{now.astimezone(zone_of(zone)):%H:%M}"
    return begin <= here < end if begin <= end else here >= begin or here < end


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told of a job: a ``subject`` and a ``text`` for people, ``facts`` for programs."""

    job: str
    kind: str
    subject: str
    text: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """By which roads an alert went: road → "" when it arrived, or why it did not."""

    alert: Alert
    roads: Mapping[str, str]

    @property
    def arrived(self) -> bool:
        return any(not why for why in self.roads.values())


class Alerts:
    """The alerts of a workspace's jobs. ``send`` sends a mail at once."""

    def __init__(self, workspace: Workspace, clock: Clock, send: Send) -> None:
        self._workspace, self._clock, self._send = workspace, clock, send

    @property
    def quiet(self) -> bool:
        """Whether it is in the quiet hours now."""
        settings = self._workspace.settings
        return is_quiet(settings.alerts.quiet, self._clock.now(), settings.profile.zone)

    def standings(self) -> dict[str, Standing]:
        """How each job stood when it was last looked at. A file that cannot be read counts as none."""
        try:
            kept = json.loads((self._workspace.path / FILE).read_text("utf-8"))
            return {name: Standing(**{**one, **_times(one)}) for name, one in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def pending(self, runs: Mapping[str, Run]) -> bool:
        """Whether :meth:`look` would tell something now."""
        known, now, quiet = self.standings(), self._clock.now(), self.quiet
        return any(decide(known.get(job, Standing()), run, now, quiet=quiet).kind for job, run in runs.items())

    def look(self, runs: Mapping[str, Run]) -> tuple[Told, ...]:
        """Tell what is to be told. ``runs``: job → its last finished run; jobs that are not named are forgotten."""
        if not runs and not (self._workspace.path / FILE).exists():
            return ()
        with alone(FileLocks(self._workspace.path, "telling of jobs"), f".{FILE}.lock") as free:
            if not free:
                return ()  # somebody else is telling
            known, now, quiet = self.standings(), self._clock.now(), self.quiet
            told: list[Told] = []
            after: dict[str, Standing] = {}
            for job, run in runs.items():
                before = known.get(job, Standing())
                decision = decide(before, run, now, quiet=quiet)
                after[job] = decision.standing
                if decision.kind is None:
                    continue
                told.append(self.tell(self._alert(job, decision.kind, run, before)))
                if not told[-1].arrived:  # nobody heard: as if it had not been told
                    after[job] = before if before.failing else replace(decision.standing, told=None)
            if after != known:
                self._keep(after)
            return tuple(told)

    def test(self) -> Told:
        """Send a test by every road, whatever the hour."""
        text = "This is a test of mailops' alerts. Nothing is wrong."
        return self.tell(Alert("test", "test", "mailops: a test of the alerts", text, {"job": "test", "kind": "test"}))

    def tell(self, alert: Alert) -> Told:
        """Send an alert by every road that is set up; by the file also where mail did not leave, or nothing is set
        up."""
        settings, roads = self._workspace.settings.alerts, {}
        if settings.mail:
            roads["mail"] = self._send(settings.mail, alert.subject, alert.text)
        if settings.webhook:
            roads["webhook"] = _post(settings.webhook, alert)
        if settings.file or not roads or any(roads.values()):
            roads["file"] = _append(self._workspace.path / (settings.file or LOG), alert, self._clock.now(), roads)
        return Told(alert, roads)

    def _alert(self, job: str, kind: Kind, run: Run, before: Standing) -> Alert:
        ended = run.finished_at or run.started_at
        since = before.since or ended
        lines = [] if kind == "recovered" else _reasons(self._workspace, run)
        if kind == "recovered":
            first = (
                f"The job {job} is well again since {ended:%Y-%m-%d %H:%M} UTC; it failed since {since:%Y-%m-%d %H:%M}."
            )
        else:
            still = "still fails" if kind == "still failing" else "fails"
            first = f"The job {job} {still}, since {since:%Y-%m-%d %H:%M} UTC."
        text = "\n".join([first, *(f"- {line}" for line in lines), f"The run: mailops jobs show {run.id}"])
        subject = f"mailops: {job} {'is well again' if kind == 'recovered' else kind if kind != 'failing' else 'fails'}"
        facts = {"job": job, "kind": kind, "since": since.isoformat(), "run": run.id, "status": run.status}
        return Alert(job, kind, subject, redact(text), {**facts, "reasons": [redact(line) for line in lines]})

    def _keep(self, standings: Mapping[str, Standing]) -> None:
        file = self._workspace.path / FILE
        part = file.with_name(f".{FILE}.part")
        plain = {
            job: {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(one).items()}
            for job, one in sorted(standings.items())
        }
        with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
            out.write(json.dumps(plain, indent=1) + "\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)


def _times(kept: Mapping[str, Any]) -> dict[str, datetime | None]:
    return {name: datetime.fromisoformat(kept[name]) if kept[name] else None for name in ("since", "told")}


def _reasons(workspace: Workspace, run: Run) -> list[str]:
    """Why a run failed: its error, or the checks that did."""
    if run.error:
        return [str(run.error.get("error", ""))]
    failed = [v for v in verdicts_of(workspace.engine, run.id) if v.state is VerdictState.FAILED]
    return [f"{v.title or v.check}: {v.found}".rstrip(": ").replace("\n", "; ")[:300] for v in failed[:10]]


def _post(url: str, alert: Alert) -> str:
    """POST the facts as JSON, with the text as ``text`` (what chat services show)."""
    body = json.dumps({**alert.facts, "subject": alert.subject, "text": alert.text}).encode()
    try:
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310 (the settings allow http and https)
            answer.read(1000)
        return ""
    except (OSError, ValueError) as error:  # an HTTP status is an OSError too
        return redact(str(error))[:200] or type(error).__name__


def _append(file: Path, alert: Alert, now: datetime, roads: Mapping[str, str]) -> str:
    line = {"at": now.isoformat(), **alert.facts, "text": alert.text}
    line |= {"not_by": dict(lost)} if (lost := {road: why for road, why in roads.items() if why}) else {}
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        return ""
    except OSError as error:
        return error.strerror or str(error)


def no_mail(to: Sequence[str], _subject: str, _text: str) -> str:
    """Where nothing sends mail."""
    return f"nothing here sends mail to {', '.join(to)}"


def by_queue(submit: Callable[..., int], state: Callable[[int], str], sender: str) -> Send:
    """Sends by the queue, at once: ``submit`` stores a mail and tries it, ``state`` says how it stands."""

    def send(to: Sequence[str], subject: str, text: str) -> str:
        try:
            number = submit(to=list(to), sender=sender or None, subject=subject, text=text, urgent=True)
            stands = state(number)
        except MailopsError as error:
            return error.message
        return "" if stands == "sent" else f"mail {number} did not leave at once ({stands})"

    return send
