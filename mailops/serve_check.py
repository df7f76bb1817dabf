"""``mailops serve check``: would programs get their mail through? TLS, logins, and one mail round each listener.

Each listener of the settings is started on a free port of this machine with a throw-away login, and a mail is handed
over to it as a program would. It is compared octet by octet and stored nowhere.
"""

from __future__ import annotations

import contextlib
import secrets as randomness
import smtplib
import ssl
from typing import TYPE_CHECKING

from .errors import ConfigError, MailopsError
from .model.text import counted
from .model.verdict import Verdict, VerdictState
from .oauth.certificates import file_end
from .serve import make_servers
from .submission import SubmissionServer, SubmittedMail, hash_password

if TYPE_CHECKING:
    from .ops import Ops

TEXT = (
    b"From: check@mailops.invalid\r\nTo: check@mailops.invalid\r\nSubject: Round\r\n\r\n.dots\r\n..two\r\n\xc3\xa4\r\n"
)
SOON = 14
"""Days before its end from which a certificate is warned of."""


def check(ops: Ops) -> list[Verdict]:
    """What a listener needs, looked at in order. Nothing is stored, and a listener that runs is left alone."""
    found = [*_certificate(ops), *_logins(ops)]
    try:
        servers = make_servers(ops)
    except ConfigError as error:
        return [*found, _verdict("listener", "the settings", "failed", error.message, fix=error.fix, code=error.code)]
    return [*found, *(_round(server) for server in servers)]


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


def _round(server: SubmissionServer) -> Verdict:
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
            _hand_over(twin, login, password)
    except (OSError, smtplib.SMTPException, MailopsError) as error:
        return _verdict("round", where, "failed", f"{type(error).__name__}: {error}", fix="Read what was said.")
    if not got or not got[0].data.endswith(TEXT):
        return _verdict("round", where, "failed", "the mail came through changed", fix="Please report this.")
    how = "TLS from the start" if server.implicit_tls else "STARTTLS" if server.tls_context else "no TLS"
    signed = "sign-in required" if server.require_auth else "sign-in offered" if server.users else "no sign-in"
    return _verdict("round", where, "passed", f"a mail came through unchanged ({how}, {signed}) as {server.hostname}")


def _hand_over(twin: SubmissionServer, login: str, password: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whose it is was looked at before
    line: smtplib.SMTP = (
        smtplib.SMTP_SSL("127.0.0.1", twin.port, timeout=20, context=context)
        if twin.implicit_tls
        else smtplib.SMTP("127.0.0.1", twin.port, timeout=20)
    )
    with contextlib.closing(line):
        line.ehlo()
        if twin.tls_context is not None and not twin.implicit_tls:
            line.starttls(context=context)
        if twin.users:
            line.login(login, password)
        line.sendmail("check@mailops.invalid", ["check@mailops.invalid"], TEXT, mail_options=["BODY=8BITMIME"])


def _verdict(check: str, subject: str, state: str, found: str, *, fix: str = "", code: str = "") -> Verdict:
    titles = {
        "certificate": "The certificate can be served with",
        "login": "The login can sign in",
        "listener": "The listeners can be opened",
        "round": "A mail comes through the listener",
    }
    return Verdict(f"serve.{check}", subject, VerdictState(state), titles[check], found, fix=fix, code=code)
