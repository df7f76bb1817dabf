"""``mailops serve check``: would programs get their mail through? TLS, logins, and one mail round each listener.

Where ``mailops serve`` runs, its own listeners are asked, by the mail of a ticket (:mod:`mailops.relay.round`). Else
each listener of the settings is started on a free port of this machine with a throw-away login. A mail is handed over
as a program would; it is compared octet by octet and stored nowhere.
"""

from __future__ import annotations

import contextlib
import secrets as randomness
import smtplib
import ssl
from typing import TYPE_CHECKING

from .checks.services import listening
from .errors import ConfigError, MailopsError
from .model.running import Listening
from .model.text import counted
from .model.verdict import Verdict, VerdictState
from .oauth.certificates import file_end
from .relay.round import DOMAIN, TEXT, UNCHANGED, Ticket, ticket
from .serve import listening as listening_at
from .serve import make_servers
from .submission import SubmissionServer, SubmittedMail, hash_password

if TYPE_CHECKING:
    from .ops import Ops

SOON = 14
"""Days before its end from which a certificate is warned of."""
PATIENCE = 20.0
"""Seconds for each answer of a listener."""


def check(ops: Ops) -> list[Verdict]:
    """What a listener needs, looked at in order. Nothing is stored."""
    found = [*_certificate(ops), *_logins(ops)]
    running = listening(ops.workspace.path, ops.clock.now())
    try:
        servers = make_servers(ops)
    except ConfigError as error:
        found.append(_verdict("listener", "the settings", "failed", error.message, fix=error.fix, code=error.code))
        servers = []
    if running is None:
        return [*found, *(_twin(server) for server in servers)]
    if not running:
        fix = "See why with: mailops status"
        return [*found, _verdict("round", "mailops serve", "failed", "it runs, and its intake is down", fix=fix)]
    try:
        with ticket(ops.workspace.path, ops.clock) as held:
            return [*found, *(_running(one, held) for one in running)]
    except OSError as error:
        said = f"the workspace cannot be written: {error.strerror or error}"
        return [*found, _verdict("round", "mailops serve", "failed", said, fix="Make room, or run it as its owner.")]


def _running(one: Listening, held: Ticket) -> Verdict:
    """One mail through a listener that runs."""
    where = f"{one.host}:{one.port}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(one.host, one.host)  # noqa: S104
    try:
        said = _hand_over(host, one, held.name, held.password, held.sender)
    except (OSError, smtplib.SMTPException) as error:
        fix = "Read what was said; mailops status shows how the services are."
        return _verdict("round", where, "failed", f"{type(error).__name__}: {error}", fix=fix)
    if UNCHANGED not in said:
        return _verdict("round", where, "failed", f"the mail came through changed: {said}", fix="Please report this.")
    return _passed(where, one, "the listener that runs")


def _certificate(ops: Ops) -> list[Verdict]:
    path = ops.workspace.settings.serve.tls_cert
    end = file_end(path, "mailops serve") if path else None
    if end is None:
        return []
    days = end.days(ops.clock.now())
    state = "failed" if days < 0 else "warning" if days < SOON else "passed"
    said = end.said or f"it ends on {end.at:%Y-%m-%d}, in {counted(days, 'day')}"
    return [_verdict("certificate", str(path), state, said, fix=end.fix if state != "passed" else "")]


def _logins(ops: Ops) -> list[Verdict]:
    companies, found = {c.key for c in ops.setup.companies}, []
    for login in ops.logins.all():
        trouble = None if login.password.startswith("scrypt$") else ops.secrets.trouble(login.password)
        if trouble is not None:
            found.append(_verdict("login", login.name, "failed", trouble.message, fix=trouble.fix, code=trouble.code))
        elif login.company and login.company not in companies:
            fix = f"mailops company add {login.company}, or give the login another."
            found.append(_verdict("login", login.name, "failed", f"there is no company {login.company!r}", fix=fix))
        else:
            found.append(
                _verdict("login", login.name, "passed", f"may send as {', '.join(login.senders) or 'anybody'}")
            )
    return found


def _twin(server: SubmissionServer) -> Verdict:
    """One mail through a listener like this one."""
    where = f"{server.host}:{server.port}"
    login, password = f"check-{randomness.token_hex(4)}", randomness.token_urlsafe(12)
    got: list[SubmittedMail] = []
    twin = SubmissionServer(
        lambda mail: got.append(mail) or 1,  # type: ignore[func-returns-value]
        "127.0.0.1",
        0,
        tls_context=server.tls_context,
        implicit_tls=server.implicit_tls,
        users={login: hash_password(password)} if server.users or server.require_auth else {},
        require_auth=server.require_auth,
        allow_insecure_loopback=server.allow_insecure_loopback,
        max_size=server.max_size,
        hostname=server.hostname,
    )
    try:
        with twin:
            _hand_over("127.0.0.1", listening_at(twin), login, password, f"check@{DOMAIN}")
    except (OSError, smtplib.SMTPException, MailopsError) as error:
        return _verdict("round", where, "failed", f"{type(error).__name__}: {error}", fix="Read what was said.")
    if not got or not got[0].data.endswith(TEXT):
        return _verdict("round", where, "failed", "the mail came through changed", fix="Please report this.")
    return _passed(where, listening_at(server), "a twin of it, as mailops serve does not run here")


def _passed(where: str, one: Listening, through: str) -> Verdict:
    how = {"implicit": "TLS from the start", "starttls": "STARTTLS", "none": "no TLS"}[one.tls]
    signed = {"required": "sign-in required", "offered": "sign-in offered", "none": "no sign-in"}[one.sign_in]
    said = f"a mail came through unchanged ({how}, {signed}) as {one.name}; through {through}"
    return _verdict("round", where, "passed", said)


def _hand_over(host: str, one: Listening, login: str, password: str, sender: str) -> str:
    """Hand the mail over; the answer to it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whose it is was looked at before
    line: smtplib.SMTP = (
        smtplib.SMTP_SSL(host, one.port, timeout=PATIENCE, context=context)
        if one.tls == "implicit"
        else smtplib.SMTP(host, one.port, timeout=PATIENCE)
    )
    with contextlib.closing(line):
        line.ehlo()
        if one.tls == "starttls":
            line.starttls(context=context)
            line.ehlo()
        if one.sign_in != "none":
            line.login(login, password)
        for code, said in (line.mail(sender, ["BODY=8BITMIME"]), line.rcpt(f"check@{DOMAIN}"), line.data(TEXT)):
            if code >= 400:
                raise smtplib.SMTPResponseException(code, said)
        return said.decode("utf-8", errors="replace")


def _verdict(check: str, subject: str, state: str, found: str, *, fix: str = "", code: str = "") -> Verdict:
    titles = {
        "certificate": "The certificate can be served with",
        "login": "The login can sign in",
        "listener": "The listeners can be opened",
        "round": "A mail comes through the listener",
    }
    return Verdict(f"serve.{check}", subject, VerdictState(state), titles[check], found, fix=fix, code=code)
