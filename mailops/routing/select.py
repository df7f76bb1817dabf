"""Which server carries a mail: a pure decision, with its reason and why every other server was passed over.

The steps, each over all active servers before the next (order: priority, then name, then creation)::

    0  a server forced on the mail            From is never rewritten
    1  filter holds the sender's address      From stays
    2  filter holds the sender's domain       From stays
    3  filter holds the notification address  From becomes the notification address
    4  filter holds its domain                ″
    5  the first server without filter        ″
    6  the first server of all                ″  (with a warning)
    7  no server record: the default server, under mail.default.from_filter or its own filter

A complete default-from address replaces every sender first (except with a forced server). A mail without From is
sent as the notification address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RouteError
from ..model.address import Address, normalise, parse_addresses
from ..model.filters import FromFilter, read_filter
from ..model.setup import AliasDomain, BouncePolicy, Hosting, Server, Setup


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What is asked: the From text (None = the mail has none), the sending company's alias domain, a forced server by
    key, and a Return-Path the caller gave (``<>``: the null one). ``bounces`` is set for mail relayed for a program."""

    sender: str | None
    alias_domain: AliasDomain | None = None
    forced_server: str | None = None
    return_path: str | None = None
    bounces: BouncePolicy | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One step of the selection: its number, a stable id, and what it says."""

    number: int
    id: str
    words: str


RULES = {
    rule.id: rule
    for rule in (
        Rule(0, "forced", "the server is set on the mail itself, so nothing is searched and the From is kept"),
        Rule(1, "address", "its FROM filter holds the sender's full address"),
        Rule(2, "domain", "its FROM filter holds the sender's domain"),
        Rule(3, "notification-address", "no filter fits the sender; this one holds the notification address"),
        Rule(4, "notification-domain", "no filter fits the sender; this one holds the notification address's domain"),
        Rule(5, "unfiltered", "no filter fits; it is the first server without FROM filter"),
        Rule(6, "first", "no filter fits and every server has one; it is the first of all"),
        Rule(7, "default", "no outgoing server is defined, so the default server sends"),
    )
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen server (None = the default server), by which rule, and ``(server key, reason)`` for each other one.

    ``send_as`` is the address the session is opened as: when it differs from the sender, the From is rewritten to it.
    """

    server: Server | None
    rule: Rule
    send_as: str | None
    passed_over: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def in_order(servers: Sequence[Server]) -> list[Server]:
    """Active servers in the order they are asked: priority, name (alphabetical), creation."""
    return sorted(
        (s for s in servers if s.active), key=lambda s: (s.priority, s.name.lower(), s.name, s.created, s.key)
    )


def notification_address(alias_domain: AliasDomain | None, setup: Setup) -> str | None:
    """The address that speaks for those without a server of their own: of the alias domain; while nobody saved one, of
    the parameters ``mail.default.from`` and ``mail.catchall.domain``; else of the hosted subdomain or the default
    server."""
    if alias_domain is not None and not setup.is_hosted_domain(alias_domain) and alias_domain.notification_address:
        return alias_domain.notification_address
    local, domain = (setup.parameters.get(f"mail.{key}", "").strip() for key in ("default.from", "catchall.domain"))
    if alias_domain is None or setup.is_hosted_domain(alias_domain):
        if "@" in local:
            return local
        if local and domain:
            return f"{local}@{domain}"
    hosted = setup.profile.hosted
    if hosted is not None and (alias_domain is None or setup.is_hosted_domain(alias_domain)):
        return hosted.notification_address
    return setup.profile.default_server.email_from or None


def default_filter(setup: Setup) -> tuple[FromFilter, str]:
    """What the default server may send as, and what says so: the parameter ``mail.default.from_filter``, else the
    server's own FROM filter, else (hosted) the subdomain and the alias domains that mail leaves with."""
    own = (
        ("mail.default.from_filter", setup.parameters.get("mail.default.from_filter")),
        ("its own FROM filter", setup.profile.default_server.from_filter),
    )
    for origin, text in own:
        held = read_filter(text)
        if not held.is_empty:
            return held, origin
    if setup.profile.hosted is None:
        return FromFilter(), "no FROM filter"
    names = tuple(dict.fromkeys((setup.profile.hosted.name, *(d.name.lower() for d in setup.speaking))))
    return FromFilter((), names), f"mail.default.from_filter (by default {', '.join(names)})"


def sender_of(text: str | None) -> Address | None:
    """The sender of a From text: its first address."""
    found = parse_addresses(text)
    return found[0] if found else None


def choose_server(request: RouteRequest, setup: Setup) -> Choice:
    """Choose the server for a request. Raises :class:`RouteError` when nothing can carry the mail."""
    notification = notification_address(request.alias_domain, setup)
    if request.forced_server is not None:
        return _forced(request.forced_server, setup)
    sender = sender_of(request.sender)
    complete = request.alias_domain.complete_default_from if request.alias_domain else None
    spec = complete or (sender.spec if sender else notification)
    servers = in_order(setup.servers)
    if not servers:
        return _default(spec, notification, setup)
    address = normalise(spec) if spec else None
    fallback = normalise(notification) if notification else None
    filters = {s.key: read_filter(s.from_filter) for s in servers}
    for rule_id, wanted, test in (
        ("address", address, FromFilter.holds_address),
        ("domain", address, FromFilter.holds_domain),
        ("notification-address", fallback, FromFilter.holds_address),
        ("notification-domain", fallback, FromFilter.holds_domain),
    ):
        if wanted is None:
            continue
        fitting = [s for s in servers if test(filters[s.key], wanted)]
        if fitting:
            send_as = spec if rule_id in ("address", "domain") else notification
            return _chosen(fitting[0], rule_id, send_as, setup, servers, filters, address)
    unfiltered = next((s for s in servers if filters[s.key].is_empty), None)
    if unfiltered is not None:
        warnings = () if notification or not spec else (_SPOOF,)
        return _chosen(unfiltered, "unfiltered", notification or spec, setup, servers, filters, address, warnings)
    warning = (
        f"No FROM filter holds {spec or 'the missing sender'}"
        + (f" nor the notification address {notification}" if notification else "")
        + f"; {servers[0].name} may refuse the mail or spoil its authentication."
    )
    more = () if notification or not spec else (_SPOOF,)
    return _chosen(servers[0], "first", notification or spec, setup, servers, filters, address, (warning, *more))


_SPOOF = (
    "There is no notification address to fall back on, so the mail leaves with a sender this server may not be "
    "trusted for."
)


def _forced(key: str, setup: Setup) -> Choice:
    server = next((s for s in setup.servers if s.key == key), None)
    if server is None:
        raise RouteError(
            f"The server {key!r} set on this mail does not exist any more.",
            code="route.forced_unknown",
            facts={"server": key, "servers": [s.key for s in setup.servers]},
            fix="Set another server on the mail or campaign, or none.",
        )
    if not server.active:
        raise RouteError(
            f'The server "{server.name}" cannot be used because it is archived.',
            code="route.forced_archived",
            facts={"server": key},
            fix="Make the server active again, or set another one.",
        )
    rule = RULES["forced"]
    others = tuple((s.key, "another server is forced on this mail") for s in setup.servers if s.key != key)
    return Choice(server, rule, None, others)


def _default(spec: str | None, notification: str | None, setup: Setup) -> Choice:
    default = setup.profile.default_server
    if not default.configured and setup.profile.hosting is Hosting.ON_PREMISE:
        raise RouteError(
            "Missing SMTP Server: please define at least one outgoing server, or give the default server.",
            code="route.no_server",
            facts={"servers": 0, "default_server": None},
            fix="mailops server add KEY --host …, or section [default_server] in mailops.toml.",
        )
    chosen_filter, origin = default_filter(setup)
    archived = tuple((s.key, "it is archived") for s in setup.servers)
    if spec is None or chosen_filter.allows(normalise(spec)):
        return Choice(None, RULES["default"], spec, archived)
    if notification:
        note = f"{spec} does not fit {origin}, so the notification address is used."
        return Choice(None, RULES["default"], notification, archived, (note,))
    return Choice(None, RULES["default"], spec, archived, (f"{spec} does not fit {origin}. {_SPOOF}",))


def _chosen(
    server: Server,
    rule_id: str,
    send_as: str | None,
    setup: Setup,
    servers: Sequence[Server],
    filters: dict[str, FromFilter],
    address: str | None,
    warnings: tuple[str, ...] = (),
) -> Choice:
    rule = RULES[rule_id]
    at = {s.key: n for n, s in enumerate(servers)}
    passed = tuple(
        (other.key, _why_not(other, server, rule, filters.get(other.key), address, at))
        for other in sorted(setup.servers, key=lambda s: at.get(s.key, len(at)))
        if other.key != server.key
    )
    return Choice(server, rule, send_as, passed, warnings)


def _why_not(
    other: Server, chosen: Server, rule: Rule, held: FromFilter | None, address: str | None, at: dict[str, int]
) -> str:
    if held is None:
        return "it is archived"
    if held.is_empty:
        if rule.id in ("unfiltered", "first"):
            return f"it has no FROM filter either, but comes after {chosen.name} ({_order(other, chosen)})"
        return "it has no FROM filter, and is asked only when no filter fits"
    if address and rule.id == "address" and held.holds_address(address):
        return f"its filter holds {address} too, but it comes after {chosen.name} ({_order(other, chosen)})"
    if address and rule.id in ("address", "domain") and held.holds_domain(address):
        if rule.id == "address":
            return f"its filter holds only the domain; {chosen.name} holds the full address, which goes first"
        return f"its filter holds the domain too, but it comes after {chosen.name} ({_order(other, chosen)})"
    parts = ", ".join((*held.addresses, *held.domains))
    if rule.id == "first":
        return f"its filter ({parts}) does not fit either, and it comes after {chosen.name} ({_order(other, chosen)})"
    if at[other.key] > at[chosen.key] and rule.number in (3, 4) and address and not held.allows(address):
        return (
            f"its filter ({parts}) does not hold {address}, and it is not before {chosen.name} for the notification "
            "address"
        )
    return f"its filter ({parts}) does not hold {address or 'the missing sender'}"


def _order(other: Server, chosen: Server) -> str:
    if other.priority != chosen.priority:
        return f"priority {other.priority} against {chosen.priority}"
    if other.name != chosen.name:
        return f"same priority {other.priority}; {chosen.name!r} is before {other.name!r} in the alphabet"
    return f"same priority {other.priority} and name; {chosen.key!r} was made first"
