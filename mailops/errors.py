"""Every error mailops raises, as one tree.

::

    MailopsError                      code, facts, fix
    ├── ConfigError                   config.*    a setting, server or workspace is not usable
    ├── StoreError                    store.*     the database refuses, is locked, full or too new
    ├── NotFound                      not_found   the named thing is not in the store
    ├── StateConflict                 state.*     the move is not allowed from where the thing stands
    ├── MessageRefused                message.*   refused before anything was stored or sent
    ├── RouteError                    route.*     no server can carry the mail
    ├── DeliveryError                 smtp.*      the other side, or the way to it
    │   ├── TemporaryFailure                      4xx, or the connection broke: worth another try
    │   └── PermanentFailure                      5xx: another try gives the same answer
    ├── AuthError                     auth.*      tokens, consent, login
    ├── DnsError                      dns.*       a question could not be answered
    ├── InputRefused                  input.*     foreign data is broken, hostile or too large
    ├── RunError                      run.*       a notebook run could not be started or finished
    │   └── ChecksFailed              run.checks_failed
    ├── PlatformError                 platform.*  this operating system lacks what was asked for
    └── MissingExtra                  extra.*     an optional part is not installed

``code`` is stable and searchable, ``facts`` holds what was seen, ``fix`` says what a person does next. The command
line, the cards and the reports print the same three.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MailopsError(Exception):
    """The base of all mailops errors.

    ``message`` is one plain sentence. ``facts`` are the values seen (never a secret); ``fix`` is the next step.
    """

    default_code = "mailops.error"
    default_fix = "Run `mailops doctor` and read what it reports."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        facts: Mapping[str, Any] | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.facts: dict[str, Any] = dict(facts or {})
        self.fix = fix or self.default_fix

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.code, self.facts, self.fix)

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON-ready values: ``{"error", "code", "facts", "fix"}``."""
        return {"error": self.message, "code": self.code, "facts": self.facts, "fix": self.fix}


def _rebuild(kind: type[MailopsError], message: str, code: str, facts: dict[str, Any], fix: str) -> MailopsError:
    """Unpickle an error with its three parts (errors cross process borders in jobs)."""
    return kind(message, code=code, facts=facts, fix=fix)


class ConfigError(MailopsError):
    """A setting, a server or the workspace is not usable as it stands."""

    default_code = "config.invalid"
    default_fix = "Correct the named setting and try again."


class StoreError(MailopsError):
    """The database refuses, is locked, full, or of a schema this version does not know."""

    default_code = "store.error"
    default_fix = "Check free disk space and that the workspace is on a local disk, then try again."


class NotFound(MailopsError):
    """The named thing is not in the store."""

    default_code = "not_found"
    default_fix = "List what there is and use one of those names."


class StateConflict(MailopsError):
    """The move is not allowed from the state the thing is in."""

    default_code = "state.conflict"
    default_fix = "Reload and look at the present state."


class MessageRefused(MailopsError):
    """The message was refused before anything was stored or sent."""

    default_code = "message.refused"
    default_fix = "Correct the message and submit it again."


class RouteError(MailopsError):
    """No server can carry the mail."""

    default_code = "route.none"
    default_fix = "Define at least one outgoing server, or give the default server in mailops.toml."


class DeliveryError(MailopsError):
    """The other side, or the way to it, did not take the mail."""

    default_code = "smtp.error"
    default_fix = "Read the server's answer; run Test Connection on this server."


class TemporaryFailure(DeliveryError):
    """Worth another try: a 4xx answer, or the connection broke."""

    default_code = "smtp.temporary"


class PermanentFailure(DeliveryError):
    """Another try gives the same answer: 5xx."""

    default_code = "smtp.permanent"


class AuthError(MailopsError):
    """Tokens, consent or login."""

    default_code = "auth.error"
    default_fix = "Connect the mailbox again."


class DnsError(MailopsError):
    """A DNS question could not be answered."""

    default_code = "dns.error"
    default_fix = "Try again, or name another resolver."


class InputRefused(MailopsError):
    """Foreign data (mail, report, archive) is broken, hostile or larger than the bound."""

    default_code = "input.refused"
    default_fix = "Keep the file as it is and look at it with `mailops bounces explain` or a hex viewer."


class RunError(MailopsError):
    """A notebook run could not be started or finished."""

    default_code = "run.failed"
    default_fix = "Open the run's notebook and look at the last cell."


class ChecksFailed(RunError):
    """The last cell's gate: some checks of this run failed."""

    default_code = "run.checks_failed"
    default_fix = "Open the report: each failed check says what to do next."


class PlatformError(MailopsError):
    """This operating system lacks what was asked for."""

    default_code = "platform.error"
    default_fix = "Use Linux or macOS for this."


class MissingExtra(MailopsError):
    """An optional part is not installed."""

    default_code = "extra.missing"
    default_fix = "Install the named extra."
