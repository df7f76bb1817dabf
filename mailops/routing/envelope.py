"""From on the wire, envelope sender, Return-Path, Reply-To: pure rules once the server is chosen."""

from __future__ import annotations

from ..mime import decode_words
from ..model.address import envelope_address, is_valid, normalise, parse_addresses, parse_single, reads_alike
from ..model.filters import FromFilter
from ..model.setup import AliasDomain, BouncePolicy, Hosting, Server, Setup
from .select import notification_address, sender_of
from .usage import is_hosted

REPLY_TO_LIMIT = 68  # characters; longer ones lose the company's name, then the name altogether


def header_from(text: str | None, send_as: str | None) -> str | None:
    """The From on the wire: the text as written when it already is ``send_as`` (or nothing is to change), else the
    sender's name with that address. Without a display name the old local part becomes the name.

    Of several addresses the first is the sender; that, and a text that is no proper RFC 5322 mailbox
    (``Name mail@x.test``), is written anew.
    """
    sender = sender_of(text)
    if sender is None:
        return send_as
    if send_as is not None and normalise(send_as) != sender.normalised:
        return format_address_unencoded(plain_name(sender.name) or sender.local, send_as)
    if text is not None and text.isprintable() and len(parse_addresses(text)) == 1 and reads_alike(text, sender):
        return text
    return format_address_unencoded(plain_name(sender.name), sender.spec)


def plain_name(name: str) -> str:
    """A display name as people read it: encoded words (RFC 2047) decoded, control characters gone."""
    return "".join(c if c.isprintable() else " " for c in decode_words(name)).strip()


def format_address_unencoded(name: str, spec: str) -> str:
    """``"Name" <spec>`` with the name as plain text, for showing; composing encodes it (RFC 2047)."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{spec}>' if name else spec


def return_path(given: str | None, alias_domain: AliasDomain | None, setup: Setup) -> str | None:
    """The address for reports: the caller's own, else the alias domain's bounce address, else the default sender."""
    if given:
        return given
    if alias_domain is not None and alias_domain.bounce_address:
        return alias_domain.bounce_address
    return setup.profile.default_server.email_from or None


def forced_return_path(server: Server | None, setup: Setup) -> str | None:
    """On ``online`` the hosted server forces the return path to ``bounce@<database>.<suffix>``, whatever caller and
    alias domain say and whatever a filter holds; None anywhere else."""
    if setup.profile.hosting is not Hosting.ONLINE or not is_hosted(server, setup):
        return None
    return f"bounce@{setup.profile.hosted_domain}"


def envelope_from(candidate: str | None, sender: str | None, allowed: FromFilter) -> str | None:
    """The envelope sender on the wire (RFC 5321 §4.1.1.2): the bounce candidate if the server's filter allows it, else
    the From address; domain as A-labels. None when neither is usable."""
    bounces = [a for a in parse_addresses(candidate) if is_valid(a.spec)]
    person = sender_of(sender)
    # Several addresses are no sender a filter could hold; where there is no filter the last one is taken.
    fits = allowed.allows(bounces[0].normalised) if len(bounces) == 1 else allowed.is_empty
    if bounces and (fits or person is None):
        return envelope_address(bounces[-1].spec)
    return envelope_address(person.spec) if person else None


def relayed_paths(given: str | None, bounces: BouncePolicy, alias_domain: AliasDomain | None) -> tuple[str, ...]:
    """The reverse-paths that relayed mail may leave with, the best first (RFC 5321 §3.3: errors go where the client
    said); after them comes the From."""
    ours = alias_domain.bounce_address if alias_domain else None
    order = (given, ours) if bounces is BouncePolicy.KEEP else (ours, given)
    return tuple(path for path in order if path)


def relayed_envelope(paths: tuple[str, ...], sender: str | None, allowed: FromFilter) -> str | None:
    """The first of these paths that the server's filter allows, else the From address; domain as A-labels."""
    for path in paths:
        found = parse_single(path)
        if found and is_valid(found.spec) and allowed.allows(found.normalised):
            return envelope_address(found.spec)
    return envelope_from(None, sender, allowed)


def reply_to(
    alias_domain: AliasDomain | None, *, alias: str | None = None, company: str | None = None, record: str | None = None
) -> str | None:
    """Where replies go: the record's alias (complete address), else the catchall; named after company and record as
    far as :data:`REPLY_TO_LIMIT` allows. None without either: a mail without Reply-To gets its From."""
    spec = alias or (alias_domain.catchall_address if alias_domain else None)
    if not spec:
        return None
    for name in (" ".join(filter(None, (company, record))), record or "", ""):
        text = format_address_unencoded(name, spec) if name else spec
        if len(text) <= REPLY_TO_LIMIT:
            return text
    return spec


def answers_to(before: str | None, after: str | None, alias_domain: AliasDomain | None) -> str | None:
    """The Reply-To that a mail needs when its From is rewritten and it has none: who wrote it, else (nobody, or one of
    the domain's own addresses) the catchall. None when the From stays."""
    author, final = sender_of(before), sender_of(after)
    if final is None or (author is not None and author.normalised == final.normalised):
        return None
    catchall = alias_domain.catchall_address if alias_domain else None
    own = {normalise(a) for a in (alias_domain.bounce_address, catchall) if a} if alias_domain else set()
    if author is None or author.normalised in own:
        return catchall
    return format_address_unencoded(plain_name(author.name), author.spec)


def relay_from(author: str, alias_domain: AliasDomain | None, setup: Setup) -> str:
    """The From of a follower's reply that is relayed to the others: kept when its domain is the alias domain, else the
    author's name with the notification address (OUT-53)."""
    person = sender_of(author)
    notification = notification_address(alias_domain, setup)
    if person is None or notification is None or alias_domain is None:
        return author
    if person.domain == alias_domain.name.lower():
        return author
    return format_address_unencoded(person.name or person.local, notification)
