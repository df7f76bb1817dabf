"""Whether SPF really lets a service pass, and whether it lets everybody: asked by evaluation, not by looking for text.

A service's own addresses are sampled and ``check_host`` (RFC 7208 section 4) is run for each. So an include behind
``?``, an address list copied from the service, and a macro are judged by what receivers would answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from .overlay import Overlay
from .records import Change, ZoneRecord
from .resolver import Asker
from .spf import SpfResult, check_domain
from .spf_parse import Network, Term, parse_term
from .spf_static import Branch, SpfTree, analyse

MAX_SAMPLES = 24
PROBE = "mailops-spf-probe"
NOBODYS = ("8.8.4.4", "77.1.2.3", "133.5.6.7", "201.8.9.10", "2a00:1:2::3", "2600:4:5::6")
WIDE_BITS = {4: 30, 6: 124}  # a quarter of all IPv4 addresses; of IPv6 half of what is in use (2000::/3)


@dataclass(frozen=True, slots=True)
class Permission:
    """``allowed`` None = nobody can know from here; ``passed`` of ``asked`` sample addresses pass."""

    allowed: bool | None
    reason: str
    asked: int = 0
    passed: int = 0


async def permission(resolver: Asker, domain: str, tree: SpfTree, term: str) -> Permission:
    """Whether the senders a wanted term stands for pass SPF of ``domain``."""
    wanted = parse_term(term)
    if _plainly(tree.root, wanted):
        return Permission(True, f"{term} stands in the record")
    # the term alone in a record at a name nobody has, so that neither an alias nor other records are in the way
    bare = wanted.domain is None and wanted.name in ("a", "mx")
    spelt = term.replace(wanted.name, f"{wanted.name}:{domain}", 1) if bare else term
    probe = f"{PROBE}.{domain}"
    alone = Overlay(resolver, Change("the term alone", (ZoneRecord(probe, "TXT", f"v=spf1 {spelt} -all"),)))
    own = await analyse(alone, probe)
    asked = passed = 0
    for ip in sample_addresses(network for branch in own.branches() for network in branch.networks):
        if (await check_domain(alone, ip, probe)).result is not SpfResult.PASS:
            continue
        asked += 1
        passed += (await check_domain(resolver, ip, domain)).result is SpfResult.PASS
    if asked and passed == asked:
        return Permission(True, f"all {asked} sample addresses of {term} pass", asked, passed)
    if not asked and _plainly(tree.root, wanted):
        return Permission(True, f"{term} stands in the record")
    if has_macros(tree):
        return Permission(None, "the record holds macros: what it answers is decided for each mail", asked, passed)
    if tree.unknown or not asked:
        unknown = own.unknown or tree.unknown
        return Permission(None if unknown else False, f"no address of {term} is known", asked, passed)
    return Permission(False, f"{passed} of {asked} sample addresses of {term} pass", asked, passed)


def sample_addresses(networks: Iterable[Network], limit: int = MAX_SAMPLES) -> list[str]:
    """The first and last address of each network, each once, spread over all of them."""
    ends: dict[str, None] = {}
    for network in networks:
        ends[str(network.network_address)] = None
        if network.num_addresses > 1:
            ends[str(network.broadcast_address)] = None
    found = list(ends)
    step = max(1, -(-len(found) // limit))
    return found[::step]


def has_macros(tree: SpfTree) -> bool:
    """Whether a macro anywhere in the tree makes the answer depend on the mail."""
    return any(term.has_macros for branch in tree.branches() if branch.record for term in branch.record.terms)


def _plainly(branch: Branch, wanted: Term) -> bool:
    """Whether the term stands with ``+`` on a way of plain includes, with nothing before it that could answer."""
    if branch.record is None:
        return False
    for one in branch.record.mechanisms:
        if one.name == "all" or (one.qualifier != "+" and one.name != "all"):
            return False
        if _key(one) == _key(wanted):
            return True
    return False


def _key(term: Term) -> tuple[object, ...]:
    domain = (term.domain or "").rstrip(".").lower()
    return term.name, domain, term.network, term.cidr4, term.cidr6


def wide_networks(tree: SpfTree) -> tuple[Network, ...]:
    """The networks of the tree when together they are so large that everybody may send; else none."""
    four = [one for branch in _live(tree.root) for one in branch.networks if isinstance(one, IPv4Network)]
    six = [one for branch in _live(tree.root) for one in branch.networks if isinstance(one, IPv6Network)]
    wide: list[Network] = []
    both: tuple[tuple[int, list[Network]], ...] = ((4, [*collapse_addresses(four)]), (6, [*collapse_addresses(six)]))
    for version, merged in both:
        if sum(one.num_addresses for one in merged) >= 1 << WIDE_BITS[version]:
            wide += sorted(merged, key=lambda one: one.prefixlen)[:4]
    return tuple(wide)


def _live(branch: Branch) -> Iterable[Branch]:
    """The branches whose pass is a pass of the root."""
    yield branch
    for child in branch.children:
        if not child.via.startswith(("-", "~", "?")):
            yield from _live(child)


async def lets_everybody(resolver: Asker, domain: str, tree: SpfTree) -> str:
    """Why everybody may send as the domain, or an empty text (RFC 7208 section 11.1)."""
    wide = wide_networks(tree)
    if wide:
        return f"{', '.join(map(str, wide))} lets everybody send as {domain}"
    odd = {"exists", "ptr"}
    if any(term.name in odd or term.has_macros for b in _live(tree.root) if b.record for term in b.record.terms):
        results = [(await check_domain(resolver, ip, domain)).result for ip in NOBODYS]
        if all(result is SpfResult.PASS for result in results):
            return f"addresses of strangers pass ({', '.join(NOBODYS[:2])} …): everybody may send as {domain}"
    return ""
