"""Who the sources of aggregate reports are: their names, whose servers they are, and what a person said of them.

What is known is weighed in one order: a person's mark, the domain's own SPF record and hosts, the addresses a sending
service publishes in its SPF, a name that leads back (RFC 8601 section 2.7.3), a signature that survived a forwarder.
The nearest mark counts: an address before its network. Marks are kept as dated verdicts outside any run, as the checks
of domains are; the newest of an address or network counts.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..dns.mx import check_reverse
from ..dns.names import is_below, reverse_name
from ..dns.resolver import Asker, together
from ..dns.spf_parse import Network
from ..dns.spf_static import Branch, analyse
from ..errors import InputRefused
from ..model.verdict import Verdict, VerdictState
from ..ports import Clock
from ..providers.records import SENDERS, SendingProfile
from ..store import schema
from ..store.database import explained, reading
from ..store.runs import record_verdict

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from ..dns.resolver import DnsRun

CHECK = "dmarc.source"
MINE, NOT_MINE, FORGOTTEN = "mine", "not mine", "forgotten"
MAX_SOURCES = 500
WIDEST = {4: 8, 6: 16}  # a mark on more than that is a slip
ORIGIN = {4: "origin.asn.cymru.com", 6: "origin6.asn.cymru.com"}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a person said of an address or network: ``mine`` or ``not mine``, and a note."""

    network: Network
    word: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What DNS says of one source. ``permitted`` are (domain, term of its SPF record, key of the service or empty);
    ``service`` is the key of a service whose own SPF holds the address; ``host`` a host of one's own at it."""

    ip: str
    names: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    permitted: tuple[tuple[str, str, str], ...] = ()
    service: str = ""
    host: str = ""
    network: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """One source as it is told. ``kind``: ``yours``, ``service``, ``permitted``, ``forwarder``, ``stranger``,
    ``unknown`` (DNS could not be read) or, by a person's word, ``mine`` and ``not mine``."""

    ip: str
    kind: str
    who: str
    reason: str
    name: str = ""
    confirmed: bool = False
    network: str = ""
    mark: str = ""
    note: str = ""


def judge(seen: Seen, domains: Sequence[str], mark: Mark | None = None, *, survives: bool = False) -> Source:
    """Who a source is, and why that is thought. ``survives`` = all of its mail carries the domain's own signature."""
    name = (*seen.confirmed, *seen.names, "")[0]
    kind, who, reason = _weighed(seen, domains, survives)
    if mark is not None:
        said = f"marked on {mark.network}" + (f": {mark.note}" if mark.note else "")
        kind, reason = mark.word, f"{said}; by DNS: {reason}" if reason else said
        who = who if mark.word == MINE and who else "yours" if mark.word == MINE else who or "not yours"
    word, note = (mark.word, mark.note) if mark is not None else ("", "")
    return Source(seen.ip, kind, who, reason, name, bool(seen.confirmed), seen.network, word, note)


def _weighed(seen: Seen, domains: Sequence[str], survives: bool) -> tuple[str, str, str]:
    if seen.host:
        return "yours", "your server", f"it is {seen.host}"
    for domain, term, service in seen.permitted:
        reason = f"the SPF record of {domain} permits it ({term})"
        if service:
            return "service", SENDERS[service].title, reason
        if not term.startswith(("include:", "redirect=")):
            return "yours", "your server", reason
        return "permitted", term.partition(":")[2] or term.partition("=")[2], reason
    under = next((name for name in seen.confirmed if any(is_below(name, domain) for domain in domains)), "")
    if under:
        return "yours", "your server", f"its name {under} leads back to it"
    if seen.service:
        found = SENDERS[seen.service]
        return "service", found.title, f"{found.title} names it (include:{found.spf_include}); no SPF of yours does"
    for name in seen.confirmed:
        if (profile := _named(name)) is not None:
            return "service", profile.title, f"its name {name} leads back to it; no SPF of yours permits it"
    if survives:
        return "forwarder", f"a forwarder ({seen.confirmed[0] if seen.confirmed else 'without a name'})", (
            "your DKIM signature survives there: it passes your mail on"
        )  # fmt: skip
    if seen.unknown:
        return "unknown", "", "its name could not be read"
    return "stranger", "", f"its name {seen.confirmed[0]} leads back to it" if seen.confirmed else "no name leads back"


def _named(host: str) -> SendingProfile | None:
    """The service whose hosts have such names."""
    return next(
        (one for one in SENDERS.values() if any(fnmatch.fnmatchcase(host, pattern) for pattern in one.host_names)), None
    )


# --- what DNS says ----------------------------------------------------------------------------------------------------


async def look_up(
    resolver: Asker, ips: Sequence[str], domains: Sequence[str], hosts: Sequence[str] = (), *, networks: bool = False
) -> list[Seen]:
    """What DNS says of each source. ``hosts`` are names of one's own servers; ``networks`` also asks for the origin
    (number and prefix of the network), which tells its operator the addresses."""
    trees, services, own = await asyncio.gather(
        together(analyse(resolver, domain) for domain in domains),
        together(analyse(resolver, one.spf_include) for one in SENDERS.values() if one.spf_include),
        _own_hosts(resolver, domains, hosts),
    )
    keys = [key for key, one in SENDERS.items() if one.spf_include]

    async def one(ip: str) -> Seen:
        address = ip_address(ip)
        reverse, network = await asyncio.gather(check_reverse(resolver, ip), _origin(resolver, ip, networks))
        permitted = [
            (tree.domain, term, service) for tree in trees for term, service in _permitting(tree.root, ip)[:1]
        ]  # fmt: skip
        served = (key for key, tree in zip(keys, services, strict=True)
                  if any(address in network for network in _networks(tree.root)))  # fmt: skip
        lost = reverse.result == "temperror"
        return Seen(ip, reverse.names, reverse.confirmed, tuple(permitted), next(served, ""), own.get(ip, ""), network,
                    lost)  # fmt: skip

    return await together(one(ip) for ip in ips)


async def _own_hosts(resolver: Asker, domains: Sequence[str], hosts: Sequence[str]) -> dict[str, str]:
    """The addresses of one's own servers: hosts given and MX hosts, where they stand below a domain of one's own."""
    answers = await together(resolver.ask(domain, "MX") for domain in domains)
    exchanges = [(host, f"{host}, a mail server of {one.name}") for one in answers if one.found
                 for _, host in one.exchanges]  # fmt: skip
    named = [*((host, f"{host}, a server of this workspace") for host in hosts), *exchanges]
    mine = {host: says for host, says in reversed(named) if any(is_below(host, domain) for domain in domains)}
    asked = [(host, kind) for host in mine for kind in ("A", "AAAA")]
    found = await together(resolver.ask(host, kind) for host, kind in asked)
    return {str(ip_address(text)): mine[host] for (host, _), answer in zip(asked, found, strict=True) if answer.found
            for text in answer.names}  # fmt: skip


def _permitting(root: Branch, ip: str) -> list[tuple[str, str]]:
    """The terms of a record that permit an address, each with the service it stands for."""
    address = ip_address(ip)
    out = []
    if any(address in network for network in root.networks):
        terms = root.record.mechanisms if root.record else ()
        exact = [term.text for term in terms if term.network is not None and address in term.network]
        out.append((exact[0] if exact else "a or mx", ""))
    for child in root.children:
        if not child.via.startswith(("-", "~", "?")) and any(address in network for network in _networks(child)):
            out.append((child.via.removeprefix("+"), _service_of(child, ip)))
    return out


def _service_of(branch: Branch, ip: str) -> str:
    """The service whose include holds the address, at the branch or below it."""
    for key, profile in SENDERS.items():
        if branch.domain in (profile.spf_include, *profile.spf_alternatives):
            return key
    address = ip_address(ip)
    below = (child for child in branch.children if any(address in network for network in _networks(child)))
    return next((key for child in below if (key := _service_of(child, ip))), "")


def _networks(branch: Branch) -> Iterable[Network]:
    yield from branch.networks
    for child in branch.children:
        if not child.via.startswith(("-", "~", "?")):
            yield from _networks(child)


async def _origin(resolver: Asker, ip: str, wanted: bool) -> str:
    """``AS64500 192.0.2.0/24`` of an address, from the origin service's TXT record; empty where there is none."""
    if not wanted:
        return ""
    version = ip_address(ip).version
    turned = reverse_name(ip).rsplit(".", 2)[0]
    answer = await resolver.ask(f"{turned}.{ORIGIN[version]}", "TXT")
    parts = [part.strip() for part in answer.texts[0].split("|")] if answer.found and answer.texts else []
    return f"AS{parts[0].split()[0]} {parts[1]}" if len(parts) >= 2 and parts[0][:1].isdigit() else ""


# --- what a person said -----------------------------------------------------------------------------------------------


def network_of(text: str) -> Network:
    """An address or network as a person writes it. Raises ``input.source``."""
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        network = None
    if network is None or network.prefixlen < WIDEST[network.version]:
        raise InputRefused(
            f"{text[:60]!r} is no address or network to mark.",
            code="input.source",
            facts={"given": text[:60]},
            fix="Give an address or a network of one operator, such as 192.0.2.25 or 192.0.2.0/24.",
        )
    return network


def nearest(marks: Iterable[Mark], ip: str) -> Mark | None:
    """The mark on an address: that of the smallest network it is in."""
    address = ip_address(ip)
    fitting = [mark for mark in marks if address in mark.network]
    return max(fitting, key=lambda mark: mark.network.prefixlen, default=None)


class Sources:
    """The sources of reports for one workspace. ``engine`` None = nothing is marked or kept."""

    def __init__(
        self,
        look: Callable[[], DnsRun],
        clock: Clock,
        *,
        engine: Callable[[], Engine] | None = None,
        hosts: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._look, self._clock, self._engine, self._hosts = look, clock, engine, hosts

    def marks(self) -> tuple[Mark, ...]:
        """Every mark that holds, by network."""
        if self._engine is None:
            return ()
        t = schema.verdicts
        query = sa.select(t.c.subject, t.c.code, t.c.title).where(t.c.check == CHECK).order_by(t.c.at, t.c.id)
        with explained("reading the marks of sources"), reading(self._engine()) as connection:
            last = {row.subject: row for row in connection.execute(query)}
        kept = [Mark(ip_network(row.subject), row.code, row.title) for row in last.values() if row.code != FORGOTTEN]
        return tuple(sorted(kept, key=lambda one: (one.network.version, one.network.network_address.packed)))

    def mark(self, places: Sequence[str], word: str, note: str = "") -> tuple[Mark, ...]:
        """Mark addresses and networks as ``mine`` or ``not mine``, or take their marks away (``forgotten``)."""
        from ..secrets import redact

        if self._engine is None:
            raise InputRefused(
                "Marks are kept in a workspace, and there is none here.",
                code="config.no_workspace",
                fix="Go to your workspace folder, or name it: mailops -w FOLDER …",
            )
        made = [Mark(network_of(place), word, redact(note.strip()[:200])) for place in places]
        for one in made:
            verdict = Verdict(CHECK, str(one.network), VerdictState.PASSED, one.note, code=word, at=self._clock.now())
            record_verdict(self._engine(), "", verdict)
        return tuple(made)

    def of(self, ips: Mapping[str, bool], domains: Sequence[str], *, networks: bool = False) -> tuple[Source, ...]:
        """Who the sources are, at most :data:`MAX_SOURCES` in the order given. The value says whether all mail of a
        source carries the domain's own signature and none of it passes SPF."""
        wanted = [ip for ip in ips if is_address(ip)][:MAX_SOURCES]
        said = self.marks()
        with self._look() as run:
            seen = run.do(lambda asker: look_up(asker, wanted, domains, self._hosts(), networks=networks))
        return tuple(judge(one, domains, nearest(said, one.ip), survives=ips[one.ip]) for one in seen)


def is_address(text: str) -> bool:
    """Whether a text is an IP address; reports hold others too."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
