"""The mails the gateway itself sends to a sender whose mail it did not take.

To the Return-Path, else to From; never to the null path or in answer to automatic mail (RFC 3834 §2). From is
``MAILER-DAEMON`` at the company's bounce address; the envelope sender is the bounce address of the domain that was
written to, so that a notice that cannot be delivered ends there.
"""

from __future__ import annotations

import re

from ..mime import from_html
from ..model.address import format_address
from ..model.alias import Alias
from ..model.setup import AliasDomain
from ..model.text import counted
from .loops import marked_id
from .values import GatewayView, InboundMail, Notice

QUOTED = 2_000  # characters of the mail that a notice repeats
_BLANK = re.compile(r"[\s\u200b\u00a0]+")


def unanswerable(mail: InboundMail) -> str | None:
    """Why no notice may be sent, or None when one may."""
    if mail.return_path == "":
        return "the mail has the null return path"
    if mail.automatic:
        return "the mail says it was sent automatically"
    if mail.robot:
        return f"the mail is of a list or a robot ({mail.robot})"
    if mail.return_path is None and mail.sender is None:
        return "the mail names no sender"
    return None


def catchall_notice(mail: InboundMail, view: GatewayView) -> Notice | None:
    """The catchall was written to directly: say how to reach the company."""
    domain = written_domain(mail, view)
    company = view.company_at(domain.name) if domain else view.company
    whom = f"{company.name or 'us'} at {company.email}" if company.email else (company.name or "us another way")
    text = (
        f"Hello {_name(mail)},\n\n"
        f"Your mail was not taken: {', '.join(mail.to) or 'the address'} only collects answers to mails we sent, and "
        f"yours answers none of them.\n\nPlease write to {whom} instead.\n"
    )
    return _notice(mail, view, text, "catchall", None, reply_to=company.email)


def policy_notice(mail: InboundMail, view: GatewayView, alias: Alias, code: str) -> Notice | None:
    """The alias does not take mail from this sender; its own text is used when it has a visible one."""
    name = alias.address or alias.local
    own = _visible(alias.bounced_content)
    who = {
        "alias_partners": "it takes mail only from addresses of registered contacts",
        "alias_followers": "it takes mail only from certain addresses",
        "alias_config_error": "it is not set up completely. Please try again later, or reach us another way",
    }[code]
    text = (
        own
        if own and code != "alias_config_error"
        else f"Hello {_name(mail)},\n\nYour mail to {name} was not taken: {who}.\n"
    )
    return _notice(mail, view, text, code, alias)


def loop_notice(mail: InboundMail, view: GatewayView, alias: Alias | None) -> Notice | None:
    """Too many records by this sender in a short time."""
    name = (alias.address or alias.local) if alias else (mail.to[0] if mail.to else "this address")
    text = (
        f"Hello {_name(mail)},\n\nYour mail to {name} was not taken: you have written to it too many times in the last "
        f"{counted(view.limits.minutes, 'minute')}. Please wait a while before you write again.\n"
    )
    return _notice(mail, view, text, "loop", alias)


def failure_notice(mail: InboundMail, view: GatewayView, alias: Alias | None) -> Notice | None:
    """The record could not be made; the fault is on our side."""
    name = (alias.address or alias.local) if alias else "this address"
    text = f"Hello {_name(mail)},\n\nYour mail to {name} could not be handled. Please try again later.\n"
    return _notice(mail, view, text, "creation_failed", alias)


def _notice(
    mail: InboundMail, view: GatewayView, text: str, reason: str, alias: Alias | None, *, reply_to: str | None = None
) -> Notice | None:
    if unanswerable(mail):
        return None
    domain = written_domain(mail, view, alias)
    return Notice(
        to=mail.return_path or (mail.sender.spec if mail.sender else ""),
        sender=_from(mail, view, domain),
        subject=f"Re: {mail.subject}",
        text=f"{text}\n{_quote(mail)}",
        references=(mail.message_id, marked_id(mail.message_id, domain.name if domain else "mailops.invalid")),
        reply_to=reply_to,
        reason=reason,
        return_path=domain.bounce_address if domain else None,
        domain=domain.name if domain else None,
    )


def written_domain(mail: InboundMail, view: GatewayView, alias: Alias | None = None) -> AliasDomain | None:
    """The alias domain that was written to: the alias's, else the first recipient's that is one, else the company's."""
    known = {d.name.lower(): d for d in view.domains}
    names = [alias.domain.lower()] if alias is not None and alias.domain else []
    names += [address.rpartition("@")[2] for address in (*mail.to, *mail.recipients)]
    return next((known[name] for name in names if name in known), view.company.domain)


def _from(mail: InboundMail, view: GatewayView, domain: AliasDomain | None) -> str:
    speaking = (view.company_at(domain.name) if domain else view.company).domain
    bounce = speaking.bounce_address if speaking else None
    if bounce:
        return format_address("MAILER-DAEMON", bounce)
    catchalls = {d.catchall_address for d in view.domains}
    if mail.written_to and not any(a in catchalls for a in mail.to):
        return mail.written_to
    return format_address("MAILER-DAEMON", view.company.email or "mailer-daemon@mailops.invalid")


def _name(mail: InboundMail) -> str:
    if mail.sender is None:
        return ""
    return mail.sender.name or mail.sender.spec


def _quote(mail: InboundMail) -> str:
    body = mail.text.strip()[:QUOTED]
    lines = [f"> {line}" for line in body.splitlines()]
    return "\n".join([f"> Subject: {mail.subject}", ">", *lines]) + "\n"


def _visible(html: str | None) -> str:
    """The text of an HTML fragment; "" when nothing would be seen."""
    if not html:
        return ""
    text = from_html(html).strip()
    return text if _BLANK.sub("", text) else ""
