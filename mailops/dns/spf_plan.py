"""What to do when an SPF record needs more than it may: the cost of each term, what can go, and in which order.

First what costs and permits nothing or nothing more (a dead include, a loop, ``a`` and ``mx`` that find nothing, an
include whose addresses another one permits too), then what only the owner can decide, and as a last resort the copy of
a service's addresses with its price. Pure: a reading of the fetched tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from ..model.text import counted
from ..providers.records import SENDERS
from .spf import MAX_LOOKUPS
from .spf_parse import Network, Term
from .spf_static import Branch, SpfTree

MAX_FLAT = 400  # octets a copied address list may take: beyond 450 a record is lost on some paths


@dataclass(frozen=True, slots=True)
class SpfPlan:
    """``costs`` are (term, lookups) of the domain's own record, dearest first; ``free`` terms that can go without a
    sender lost (term and reason in one text); ``steps`` sentences, in order."""

    costs: tuple[tuple[str, int], ...]
    free: tuple[str, ...]
    steps: tuple[str, ...]


def plan(tree: SpfTree) -> SpfPlan:
    """The plan for a domain's own record; empty where it has none."""
    if tree.record is None:
        return SpfPlan((), (), ())
    by_via = {child.via: child for child in tree.root.children}
    live = [term for term in tree.record.terms if term.costs_lookup]
    costs = {term.text: 1 + (by_via[term.text].lookups if term.text in by_via else 0) for term in live}
    free = _free(tree, live, by_via)
    order = sorted(costs.items(), key=lambda one: (-one[1], one[0]))
    steps = [
        f"{counted(tree.lookups, 'lookup')} of {MAX_LOOKUPS}: "
        + ", ".join(f"{term} costs {cost}" for term, cost in order)
    ]
    steps += [f"take out {one.replace(' ', ': ', 1)}" for one in free]
    left = tree.lookups - sum(costs.get(one.split(" ", 1)[0], 0) for one in free)
    if left > MAX_LOOKUPS:
        for term, cost in order:
            owner = _service_of(term)
            if owner:
                steps.append(f"{term} (−{cost}): {owner} bounces to a domain of its own unless you set another")
        steps.append("take out what no longer sends for you; or give a service a sub-domain of its own for its bounces")
        steps += _flattened(order, by_via)
    return SpfPlan(tuple(order), tuple(free), tuple(steps))


def _service_of(term: str) -> str:
    target = term.partition(":")[2].rstrip(".").lower()
    found = next((one for one in SENDERS.values() if one.own_bounce and one.spf_include == target), None)
    return found.title if found is not None else ""


def _free(tree: SpfTree, live: list[Term], by_via: dict[str, Branch]) -> list[str]:
    """Terms that can go: each as ``term reason``."""
    domain, out, gone = tree.domain, [], set()
    voids = {problem.term for problem in tree.problems if problem.code == "spf.void" and problem.domain == domain}
    for term in live:
        branch = by_via.get(term.text)
        if branch is not None and any(one.domain == domain for one in _all(branch)):
            out.append(f"{term.text} it leads back to this record")
            gone.add(term.text)
        elif (
            branch is not None
            and branch.record is None
            and not (branch.unknown or branch.texts or "@" in branch.domain)
        ):
            out.append(f"{term.text} there is no SPF record at {branch.domain}")
            gone.add(term.text)
        elif term.text in voids:
            out.append(f"{term.text} it finds nothing")
            gone.add(term.text)
    for term in sorted(live, key=lambda one: -(by_via[one.text].lookups if one.text in by_via else 0)):
        branch = by_via.get(term.text)
        if branch is None or term.text in gone or term.modifier or term.qualifier != "+" or not _fixed(branch):
            continue
        others = [one for one in live if one.text not in gone | {term.text} and one.qualifier == "+"]
        rest = [network for one in others if one.text in by_via for network in _networks(by_via[one.text])]
        own = tree.record.terms if tree.record is not None else ()
        rest += [one.network for one in own if one.network is not None and one.qualifier == "+"]
        mine = _networks(branch)
        if mine and _covered(mine, rest):
            out.append(f"{term.text} the other terms permit all of its addresses too")
            gone.add(term.text)
    return out


def _all(branch: Branch) -> list[Branch]:
    return [branch, *(below for child in branch.children for below in _all(child))]


def _networks(branch: Branch) -> list[Network]:
    return [network for one in _all(branch) for network in one.networks]


def _fixed(branch: Branch) -> bool:
    """Whether the branch is nothing but known addresses, so that a copy of them is complete."""
    for one in _all(branch):
        if one.unknown or one.record is None or one.record.mistakes:
            return False
        for term in one.record.mechanisms:
            if term.has_macros or term.name in ("exists", "ptr") or (term.qualifier != "+" and term.name != "all"):
                return False
    return True


def _covered(mine: list[Network], rest: list[Network]) -> bool:
    four = list(collapse_addresses(one for one in rest if isinstance(one, IPv4Network)))
    six = list(collapse_addresses(one for one in rest if isinstance(one, IPv6Network)))
    return all(
        any(one.subnet_of(wide) for wide in four) if isinstance(one, IPv4Network)
        else any(one.subnet_of(wide) for wide in six)
        for one in mine
    )  # fmt: skip


def _flattened(order: list[tuple[str, int]], by_via: dict[str, Branch]) -> list[str]:
    """The last resort, for the dearest term whose addresses fit."""
    for term, cost in order:
        branch = by_via.get(term)
        if branch is None or not _fixed(branch):
            continue
        four = collapse_addresses(one for one in _networks(branch) if isinstance(one, IPv4Network))
        six = collapse_addresses(one for one in _networks(branch) if isinstance(one, IPv6Network))
        copied = " ".join([*(f"ip4:{one}".removesuffix("/32") for one in four), *(f"ip6:{one}" for one in six)])
        if copied and len(copied) <= MAX_FLAT:
            return [f"as a last resort copy the addresses of {term} (−{cost}): {copied}. The price: when the service "
                    "changes its addresses, your mail fails until you copy them again"]  # fmt: skip
    return []
