"""What the loopback SMTP server does differently from a friendly one: rules as data.

A script is a tuple of :class:`Rule`. At every step of a session the server asks :meth:`ScriptState.decide`; the first
rule that matches and fires is played, with no rule the server just does its work. Rules are plain values, so a
script can be written in Python, kept as JSON, or printed in a report.

Steps: ``connect`` (the greeting), ``tls`` (the handshake, after STARTTLS or at once), ``ehlo``, ``starttls``,
``auth``, ``mail``, ``rcpt``, ``data`` (the command), ``bdat`` (a chunk), ``body`` (the final dot, the last chunk),
``rset``, ``noop``, ``quit``, and ``pipelining`` (a command that came with more input behind it).

Actions:

============  ==========================================================================================
``reply``     answer with ``code``, ``enhanced``, ``text`` (``\\n`` makes it multiline); the step has no effect
``drop``      close the connection without an answer
``garbage``   answer with bytes that are no SMTP reply (``garbage`` = ``text``, ``binary`` or ``long``)
``silence``   no answer for ``seconds`` (0 = never), then go on as if nothing was
``slow``      wait ``seconds``, then answer, ``byte_seconds`` between the bytes
``greylist``  ``reply`` until the (sender, recipient) pair has come ``times`` times and waited ``seconds``
``rate``      ``reply`` when the step was reached more than ``times`` times in the last ``seconds``
``bounce``    accept, and queue a delivery report to the envelope sender (``code``/``enhanced``/``text`` go into it)
============  ==========================================================================================

``after=True`` lets the step take effect first: ``drop`` at ``body`` with ``after`` is the mail that was stored although
the client never saw the 250.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mailops.errors import ConfigError

STEPS = (
    "connect",
    "tls",
    "ehlo",
    "starttls",
    "auth",
    "mail",
    "rcpt",
    "data",
    "bdat",
    "body",
    "rset",
    "noop",
    "quit",
    "pipelining",
)
ACTIONS = ("reply", "drop", "garbage", "silence", "slow", "greylist", "rate", "bounce")
LOOKS = ("classic", "corporate", "webmail")
GARBAGE = {
    "text": b"hello, this is no reply at all\r\n",
    "binary": b"\x00\xff\xfe\x80\x16\x03\x01\x00\r\n",
    "long": b"250-" + b"x" * 100_000 + b"\r\n",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One departure from friendly behaviour: where it applies, and what happens there.

    ``sender`` and ``recipient`` are globs over addresses, case ignored. At ``data`` and ``body`` the recipient glob is
    held against every accepted recipient. ``nth`` fires on the n-th match only, ``first`` on the first k matches
    (counted over all sessions); ``session_messages`` matches once the session has had that many mails accepted.
    ``close`` ends the connection after the answer; None = only after 421 (RFC 5321 section 3.8).
    """

    step: str
    action: str = "reply"
    code: int = 0
    enhanced: str | None = None
    text: str = ""
    sender: str | None = None
    recipient: str | None = None
    nth: int | None = None
    first: int | None = None
    session_messages: int | None = None
    seconds: float = 0.0
    byte_seconds: float = 0.0
    times: int = 0
    garbage: str = "text"
    after: bool = False
    close: bool | None = None
    look: str = "classic"

    def __post_init__(self) -> None:
        problem = None
        if self.step not in STEPS:
            problem = f"unknown step {self.step!r}; one of {', '.join(STEPS)}"
        elif self.action not in ACTIONS:
            problem = f"unknown action {self.action!r}; one of {', '.join(ACTIONS)}"
        elif self.action in ("reply", "greylist", "rate") and not 200 <= self.code <= 599:
            problem = f"action {self.action!r} needs a reply code from 200 to 599, not {self.code}"
        elif self.garbage not in GARBAGE:
            problem = f"unknown garbage {self.garbage!r}; one of {', '.join(GARBAGE)}"
        elif self.look not in LOOKS:
            problem = f"unknown look of a delivery report {self.look!r}; one of {', '.join(LOOKS)}"
        elif self.step == "tls" and self.action not in ("drop", "garbage", "silence"):
            problem = "a TLS handshake can only be dropped, silent or garbage"
        elif self.action == "bounce" and self.step != "rcpt":
            problem = "bounce is decided at step 'rcpt'"
        elif min(self.seconds, self.byte_seconds, self.times) < 0:
            problem = "seconds, byte_seconds and times are not negative"
        elif "\r" in self.text:
            problem = "text holds a carriage return; separate the lines of a reply by \\n"
        if problem:
            raise ConfigError(f"This script rule cannot be played: {problem}.", facts=asdict(self))

    @property
    def closes(self) -> bool:
        return self.code == 421 if self.close is None else self.close


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a session stands when the script is asked."""

    step: str
    sender: str = ""
    recipients: tuple[str, ...] = ()
    session_messages: int = 0
    monotonic: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule to play, and why it fired, for the log."""

    rule: Rule
    reason: str


class ScriptState:
    """A script with the counters and waiting pairs of one running server. Not thread-safe: one loop owns it."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._by_step: dict[str, list[tuple[int, Rule]]] = {}
        for index, rule in enumerate(self.rules):
            self._by_step.setdefault(rule.step, []).append((index, rule))
        self._matches: Counter[int] = Counter()
        self._pairs: dict[tuple[int, str, str], tuple[float, int]] = {}
        self._windows: dict[int, deque[float]] = {}

    def covers(self, step: str) -> bool:
        """Whether any rule speaks of this step; the quick way round for the server."""
        return step in self._by_step

    def decide(self, moment: Moment) -> Decision | None:
        """The first rule that matches and fires, or None: be friendly."""
        for index, rule in self._by_step.get(moment.step, ()):
            if not _matches(rule, moment):
                continue
            self._matches[index] += 1
            count = self._matches[index]
            if (rule.nth is not None and count != rule.nth) or (rule.first is not None and count > rule.first):
                continue
            reason = f"rule {index + 1}, match {count}: {rule.action} at {rule.step}"
            if rule.action == "greylist":
                waited = self._greylisted(index, rule, moment)
                if waited is None:
                    continue
                reason += f", {waited}"
            elif rule.action == "rate":
                window = self._windows.setdefault(index, deque())
                window.append(moment.monotonic)
                while window and window[0] <= moment.monotonic - rule.seconds:
                    window.popleft()
                if len(window) <= rule.times:
                    continue
                reason += f", {len(window)} in {rule.seconds:g} s, {rule.times} allowed"
            return Decision(rule, reason)
        return None

    def _greylisted(self, index: int, rule: Rule, moment: Moment) -> str | None:
        """Why the pair still has to wait, or None when it may pass. A pair that passed once passes always."""
        recipient = moment.recipients[-1] if moment.recipients else ""
        pair = (index, moment.sender.lower(), recipient.lower())
        since, seen = self._pairs.get(pair, (moment.monotonic, 0))
        waited = moment.monotonic - since
        if seen and seen >= rule.times and waited >= rule.seconds:
            return None
        self._pairs[pair] = (since, seen + 1)
        return f"pair seen {seen} times before, waited {waited:g} of {rule.seconds:g} s"


def _matches(rule: Rule, moment: Moment) -> bool:
    if rule.session_messages is not None and moment.session_messages < rule.session_messages:
        return False
    if rule.sender is not None and not fnmatchcase(moment.sender.lower(), rule.sender.lower()):
        return False
    if rule.recipient is None:
        return True
    pattern = rule.recipient.lower()
    return any(fnmatchcase(recipient.lower(), pattern) for recipient in moment.recipients)


# -- builders ---------------------------------------------------------------------------------------------------------


def refuse(
    recipient: str | None,
    code: int = 550,
    enhanced: str | None = "5.1.1",
    text: str = "User unknown",
    *,
    step: str = "rcpt",
    **more: Any,
) -> Rule:
    """Refuse for good: ``refuse("bob@x.test", 550, "5.1.1", "User unknown")``; at RCPT unless ``step`` is given."""
    return Rule(step, "reply", code, enhanced, text, recipient=recipient, **more)


def defer(
    recipient: str | None = None,
    code: int = 451,
    enhanced: str | None = "4.3.0",
    text: str = "Try again later",
    *,
    step: str = "rcpt",
    **more: Any,
) -> Rule:
    """Refuse for now."""
    return Rule(step, "reply", code, enhanced, text, recipient=recipient, **more)


def drop(step: str, *, after: bool = False, **more: Any) -> Rule:
    """Close the connection instead of answering; ``after=True`` when the step has taken effect (mail stored)."""
    return Rule(step, "drop", after=after, **more)


def silence(step: str, seconds: float = 0.0, **more: Any) -> Rule:
    """No answer for ``seconds``; 0 = until the client gives up."""
    return Rule(step, "silence", seconds=seconds, **more)


def slow(step: str, seconds: float = 0.0, *, byte_seconds: float = 0.0, **more: Any) -> Rule:
    """Answer late, or byte by byte."""
    return Rule(step, "slow", seconds=seconds, byte_seconds=byte_seconds, **more)


def garbage(step: str, kind: str = "text", **more: Any) -> Rule:
    """Answer with something that is no SMTP reply: ``text``, ``binary`` or an over-``long`` line."""
    return Rule(step, "garbage", garbage=kind, **more)


def greylist(
    recipient: str | None = None,
    *,
    seconds: float = 0.0,
    times: int = 1,
    code: int = 450,
    enhanced: str | None = "4.2.0",
    text: str = "Greylisted, come back later",
    **more: Any,
) -> Rule:
    """4xx until the (sender, recipient) pair was turned away ``times`` times and ``seconds`` have passed."""
    return Rule("rcpt", "greylist", code, enhanced, text, recipient=recipient, seconds=seconds, times=times, **more)


def rate_limit(
    times: int,
    seconds: float,
    *,
    step: str = "connect",
    code: int = 421,
    enhanced: str | None = "4.7.0",
    text: str = "Too many connections, slow down",
    **more: Any,
) -> Rule:
    """``code`` once a step is reached more than ``times`` times in ``seconds``."""
    return Rule(step, "rate", code, enhanced, text, times=times, seconds=seconds, **more)


def session_limit(
    messages: int,
    *,
    code: int = 421,
    enhanced: str | None = "4.7.0",
    text: str = "Too many messages in this session",
    **more: Any,
) -> Rule:
    """Refuse MAIL once a session has had ``messages`` mails accepted (421 closes, 452 would not)."""
    return Rule("mail", "reply", code, enhanced, text, session_messages=messages, **more)


def bounce_later(
    recipient: str,
    enhanced: str = "5.1.1",
    text: str = "User unknown",
    *,
    code: int = 550,
    look: str = "classic",
    **more: Any,
) -> Rule:
    """Accept now, return a delivery report to the envelope sender later (see ``SmtpServer.pending_bounces``)."""
    return Rule("rcpt", "bounce", code, enhanced, text, recipient=recipient, look=look, **more)


def forbid_pipelining(
    code: int = 503, enhanced: str | None = "5.5.0", text: str = "Improper use of pipelining", **more: Any
) -> Rule:
    """Announce PIPELINING, then refuse commands that arrive with more input behind them."""
    return Rule("pipelining", "reply", code, enhanced, text, **more)


# -- JSON -------------------------------------------------------------------------------------------------------------

_FIELDS = {entry.name for entry in fields(Rule)}


def rule_from_dict(raw: Mapping[str, Any]) -> Rule:
    """A rule from JSON values; an unknown key is a :class:`~mailops.errors.ConfigError`."""
    unknown = sorted(set(raw) - _FIELDS)
    if unknown or "step" not in raw:
        what = f"unknown key {unknown[0]!r}" if unknown else "no 'step'"
        raise ConfigError(f"This script rule has {what}.", facts={"rule": dict(raw), "keys": sorted(_FIELDS)})
    return Rule(**raw)


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """The rule as JSON values, without the fields that have their default."""
    plain = Rule.__dataclass_fields__
    return {key: value for key, value in asdict(rule).items() if key == "step" or value != plain[key].default}


def load_script(path: str | Path) -> dict[str, Any]:
    """Read a script file: a list of rules, or an object with ``rules`` and the server's other settings."""
    try:
        raw = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The script {path} cannot be read: {error}", facts={"path": str(path)}) from error
    settings: dict[str, Any] = {"rules": raw} if isinstance(raw, list) else dict(raw)
    settings["rules"] = tuple(rule_from_dict(entry) for entry in settings.get("rules", ()))
    return settings
