"""The whole answer for one mail: server, From before and after, envelope sender, and every reason.

The queue asks the same :class:`Router` that explains, so an explanation is what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import MailopsError, RouteError
from ..model.address import NULL_PATH, is_valid, normalise
from ..model.filters import FromFilter, read_filter
from ..model.setup import DEFAULT_KEY, Authentication, BouncePolicy, Encryption, Hosting, Server, Setup
from ..model.states import FailureType
from . import envelope
from .effect import PARAMETERS_PATH
from .mailbox import mailbox_finding
from .select import RULES, Choice, RouteRequest, Rule, choose_server, default_filter, notification_address, sender_of
from .usage import HOSTED_FIX, HOSTED_ONLY, hosted_sender_finding, stays_inside


@dataclass(frozen=True, slots=True)
class Route:
    """How a mail would leave. ``server`` is None for the default server. ``failure`` is set when it cannot leave."""

    request: RouteRequest
    server: Server | None
    rule: Rule
    header_from_before: str | None
    header_from: str | None
    envelope_from: str | None
    return_path: str | None
    notification: str | None
    passed_over: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    failure: FailureType | None = None
    parameter_ignored: bool = False
    reply_to: str | None = None  # put in where the mail has none

    @property
    def rewritten(self) -> bool:
        return bool(self.header_from_before) and self.header_from != self.header_from_before

    def effective_server(self, setup: Setup) -> Server:
        """The server to connect to; the default server as a :class:`Server`."""
        return self.server if self.server is not None else default_server(setup)

    def sentences(self) -> list[str]:
        """The explanation in words: what, why, and why not the others."""
        name = f"server {self.server.name!r} ({self.server.key})" if self.server else "the default server"
        lines = [f"The mail leaves through {name}: {self.rule.words} (rule {self.rule.number}, {self.rule.id})."]
        if not self.header_from_before:
            lines.append(f"The mail has no From; it is sent as {self.header_from or 'nobody: it cannot leave'}.")
        elif self.rewritten:
            lines.append(f"From is rewritten: {self.header_from_before} → {self.header_from}.")
        else:
            lines.append(f"From stays: {self.header_from}.")
        if self.reply_to:
            lines.append(f"Answers go to {self.reply_to}, unless the mail has a Reply-To of its own.")
        lines += self._of_envelope()
        if self.server is not None and self.request.forced_server is None and self.parameter_ignored:
            lines.append("mail.default.from_filter is ignored, since an outgoing server is configured.")
            lines.append(f"In Odoo parameters stand under {PARAMETERS_PATH}.")
        lines += [f"Not {key}: {reason}." for key, reason in self.passed_over]
        lines += [f"Warning: {text}" for text in self.warnings]
        if self.failure:
            lines.append(f"It cannot leave: {self.trouble()} ({self.failure.value})")
        return lines

    def trouble(self) -> str:
        """Why it cannot leave, and what helps; only with a ``failure``."""
        if self.failure is FailureType.FROM_MISSING:
            return (
                "it has no From, and there is no notification address. Give it one, or make an alias domain: "
                "mailops company domain example.com."
            )
        given = self.header_from if self.header_from_before is None else self.header_from_before
        return (
            f"{given} is no address. Give one with its domain: mailops explain send --from 'Ann <ann@example.com>' "
            "(a notification address: mailops company domain)."
        )

    def _of_envelope(self) -> list[str]:
        if self.envelope_from == NULL_PATH:
            return ["Envelope sender: the null path (<>), as it was given; nothing answers this mail."]
        lines = [f"Envelope sender (bounces come back there): {self.envelope_from or 'none'}."]
        given, policy = self.request.return_path, self.request.bounces
        if policy is not None and given and self.envelope_from:
            if given.lower() == self.envelope_from.lower():
                lines.append("It is the program's own, and is kept.")
            elif policy is BouncePolicy.KEEP:
                lines.append(f"The program's own {given} is not used: {self._not_held()}")
            else:
                later = " and passes them on there" if policy is BouncePolicy.BOTH else ""
                lines.append(f"The program's own is {given}; mailops reads the reports{later} (bounces = {policy}).")
            if policy is BouncePolicy.KEEP:
                return lines
        if self.return_path and self.envelope_from and self.return_path.lower() != self.envelope_from.lower():
            lines.append(f"The bounce address {self.return_path} is not used: {self._not_held()}")
        return lines

    def _not_held(self) -> str:
        if self.return_path and self.envelope_from and self.return_path.lower() == self.envelope_from.lower():
            return "the hosted server forces another."
        return "the server's FROM filter does not hold it."

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON-ready values, with stable names."""
        return {
            "server": self.server.key if self.server else None,
            "server_name": self.server.name if self.server else "default server",
            "rule": {"number": self.rule.number, "id": self.rule.id, "words": self.rule.words},
            "from_before": self.header_from_before,
            "from_after": self.header_from,
            "rewritten": self.rewritten,
            "envelope_from": self.envelope_from,
            "return_path": self.return_path,
            "notification_address": self.notification,
            "passed_over": [{"server": key, "reason": reason} for key, reason in self.passed_over],
            "warnings": list(self.warnings),
            "failure": self.failure.value if self.failure else None,
            "sentences": self.sentences(),
            **(
                {"bounces": self.request.bounces.value, "given": self.request.return_path}
                if self.request.bounces
                else {}
            ),
        }


def default_server(setup: Setup) -> Server:
    """The default server of the profile as a server value."""
    default = setup.profile.default_server
    return Server(
        key=DEFAULT_KEY,
        name="default server",
        host=default.host or "",
        port=default.port,
        encryption=default.encryption if default.host else Encryption.NONE,
        authentication=Authentication.LOGIN if default.login else Authentication.NONE,
        login=default.login,
        password=default.password,
        ca_file=default.ca_file,
        from_filter=default.from_filter,
    )


def route(request: RouteRequest, setup: Setup) -> Route:
    """Decide how a mail leaves. Raises :class:`RouteError` when no server can carry it."""
    return _route(request, setup, choose_server(request, setup))


def _route(request: RouteRequest, setup: Setup, choice: Choice) -> Route:
    notification = notification_address(request.alias_domain, setup)
    before = request.sender if request.sender and request.sender.strip() else None
    sender = sender_of(before)
    failure = None
    if before and sender is None:
        failure = FailureType.FROM_INVALID
    null = request.return_path == NULL_PATH
    # A notification speaks for the system that wrote it (RFC 3464 §2): its From stays.
    after = envelope.header_from(before, None if null else choice.send_as) if sender else choice.send_as or notification
    if failure:
        after = before
    elif after is None:
        failure = FailureType.FROM_MISSING
    forced = None if null else envelope.forced_return_path(choice.server, setup)
    allowed = _filter_of(choice, setup)
    wanted: str | None
    bounce: str | None
    wire: str | None
    if null:
        wanted = bounce = NULL_PATH
        wire = NULL_PATH if after else None
    elif request.bounces is not None:
        paths = envelope.relayed_paths(request.return_path, request.bounces, request.alias_domain)
        wanted = paths[0] if paths else None
        bounce = forced or wanted
        wire = forced or envelope.relayed_envelope(paths, after, allowed)
    else:
        wanted = envelope.return_path(request.return_path, request.alias_domain, setup)
        bounce = forced or wanted
        wire = envelope.envelope_from(bounce, after, allowed)
        wire = wire and (forced or wire)
    wire = None if failure else wire
    warnings = choice.warnings
    if forced and wanted and wanted.lower() != forced.lower():
        warnings = (*warnings, f"reports go to {forced} and not to {wanted}: the hosted server forces it")
    final = sender_of(after)
    if failure is None and (wire is None or final is None or not is_valid(final.spec)):
        failure, wire = FailureType.FROM_INVALID, None
    if choice.server is not None and final and (refused := hosted_sender_finding(choice.server, final.spec, setup)):
        raise RouteError(refused.message, code="route.hosted_domain_external", facts=refused.facts, fix=refused.fix)
    complete = request.alias_domain.complete_default_from if request.alias_domain else None
    if choice.rule.number == 0 and complete and final and final.normalised != normalise(complete):
        warnings = (*warnings, f"the complete Default From Alias {complete} does not count here: {SET_ON_IT}")
    if stays_inside(choice.server, setup):
        warnings = (*warnings, f"{HOSTED_ONLY.rstrip('.')}; {HOSTED_FIX.rstrip('.')}")
    if choice.server is not None and wire and not null and (judged := mailbox_finding(choice.server, setup, wire)):
        warnings = (*warnings, f"{judged.message.rstrip('.')}; {judged.fix.rstrip('.')}")
    return Route(
        request=request,
        server=choice.server,
        rule=choice.rule,
        header_from_before=before,
        header_from=after,
        envelope_from=wire,
        return_path=bounce,
        notification=notification,
        passed_over=choice.passed_over,
        warnings=warnings,
        failure=failure,
        parameter_ignored=bool(setup.parameters.get("mail.default.from_filter")),
        reply_to=None if failure else envelope.answers_to(before, after, request.alias_domain),
    )


def composed_return_path(request: RouteRequest, setup: Setup) -> str | None:
    """The address for the ``Return-Path`` field of a mail that is being written: the caller's own, else the bounce
    address, unless the server that would take it now forces another (:func:`.envelope.forced_return_path`)."""
    domain = request.alias_domain
    plain = request.return_path or (domain.bounce_address if domain else None)
    if setup.profile.hosting is not Hosting.ONLINE:
        return plain
    try:
        return envelope.forced_return_path(choose_server(request, setup).server, setup) or plain
    except RouteError:
        return plain


def _filter_of(choice: Choice, setup: Setup) -> FromFilter:
    return read_filter(choice.server.from_filter) if choice.server is not None else default_filter(setup)[0]


class Router:
    """Routes mail for one set-up, remembering answers: many mails share few senders."""

    LIMIT = 50_000

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._known: dict[RouteRequest, Route | MailopsError] = {}

    def route(self, request: RouteRequest) -> Route:
        """As :func:`route`."""
        found = self._known.get(request)
        if found is None:
            try:
                found = route(request, self.setup)
            except RouteError as error:
                found = error
            if len(self._known) >= self.LIMIT:
                self._known.clear()
            self._known[request] = found
        if isinstance(found, MailopsError):
            raise found
        return found


SET_ON_IT = "a server is set on this mail, or it is mass mail through a Dedicated Server: such mail keeps its From"

__all__ = ["DEFAULT_KEY", "RULES", "Route", "RouteRequest", "Router", "default_server", "route"]
