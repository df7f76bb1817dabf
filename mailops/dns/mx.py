"""MX records (RFC 5321 section 5.1, RFC 7505 null MX) and forward-confirmed reverse DNS of a sending address."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass

from ..model.verdict import VerdictState as S
from .answer import Answer
from .domain_model import CheckResult, SendingSetup, verdict
from .names import normalise, reverse_name
from .resolver import Asker, together
from .spf_parse import TermProblem, is_spf, parse_term

MAX_SENDING = 20


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_STATES = {"mx.target_unknown": S.UNKNOWN, "mx.target_partly_reachable": S.WARNING}
# RFC 5737, RFC 3849, RFC 9637: written about, never used
_EXAMPLES = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))


def reachable(text: str) -> bool:
    """Whether a server elsewhere can connect to an address: not loopback, private, link-local or otherwise special.

    The addresses of documentation count as reachable: what stands in an example has to pass in an example.
    """
    address = ipaddress.ip_address(text)
    if any(address in network for network in _EXAMPLES):
        return True
    return address.is_global and not address.is_multicast


async def check_mx(resolver: Asker, domain: str) -> list[CheckResult]:
    """Whether mail for the domain has somewhere to go."""
    domain = normalise(domain)
    answer = await resolver.ask(domain, "MX")
    evidence = {"answer": answer.as_dict()}
    found = ", ".join(answer.lines)
    if answer.unknown:
        title = f"the MX records could not be read ({answer.status})"
        return [verdict("mx", domain, S.UNKNOWN, "mx.unknown", title, evidence=evidence)]
    if not answer.found:
        address = await resolver.ask(domain, "A")
        title = "no MX record: " + (
            "mail goes to the address of the domain itself" if address.found else "no mail arrives"
        )
        fix = f"Publish an MX record for {domain}, or a null MX (0 .) when no mail is wanted."
        state = S.WARNING if address.found else S.FAILED
        return [verdict("mx", domain, state, "mx.missing", title, fix=fix, evidence=evidence)]
    hosts = [host for _, host in answer.exchanges]
    if hosts == [""]:
        title = "a null MX: the domain takes no mail, so no bounces or replies either"
        return [verdict("mx", domain, S.WARNING, "mx.null", title, found=found, evidence=evidence)]
    results = []
    if "" in hosts:
        title = "a null MX beside others: receivers of mail for this domain cannot tell what is meant (RFC 7505)"
        results.append(verdict("mx", domain, S.FAILED, "mx.null_with_others", title, found=found, evidence=evidence))
    looked = await together(_target(resolver, host) for host in hosts if host)
    for host, code, text, answers in looked:
        if code:
            evidence_one = {"answer": answer.as_dict(), "asked": [one.as_dict() for one in answers]}
            state = _STATES.get(code, S.FAILED)
            results.append(verdict("mx", domain, state, code, text, found=host, evidence=evidence_one))
    if not results:
        title = f"{len(hosts)} mail server{'s' if len(hosts) > 1 else ''}, each with an address"
        results.append(verdict("mx", domain, S.PASSED, "mx.ok", title, found=found, evidence=evidence))
    return results


async def _target(resolver: Asker, host: str) -> tuple[str, str, str, tuple[Answer, ...]]:
    if _is_address(host):
        return host, "mx.target_is_address", f"{host} is an address; an MX needs a name (RFC 1035 section 3.3.9)", ()
    four, six = await asyncio.gather(resolver.ask(host, "A"), resolver.ask(host, "AAAA"))
    if four.chain or six.chain:
        return (
            host,
            "mx.target_is_alias",
            f"{host} is an alias; an MX must not point to one (RFC 2181 section 10.3)",
            (four,),
        )
    if four.found or six.found:
        texts = [*(four.names if four.found else ()), *(six.names if six.found else ())]
        inside = [text for text in texts if not reachable(text)]
        if inside and len(inside) == len(texts):
            title = f"{host} is {', '.join(inside)}: no server outside can reach that"
            return host, "mx.target_not_reachable", title, (four, six)
        if inside:
            title = f"{host} is also {', '.join(inside)}, which no server outside can reach"
            return host, "mx.target_partly_reachable", title, (four, six)
        return host, "", "", (four, six)
    if four.unknown or six.unknown:
        return host, "mx.target_unknown", f"the address of {host} could not be read", (four, six)
    return host, "mx.target_without_address", f"{host} has no address", (four, six)


@dataclass(frozen=True, slots=True)
class ReverseCheck:
    """The names of an address and those that lead back to it (RFC 8601 section 2.7.3 ``iprev``)."""

    ip: str
    result: str  # pass, fail, temperror
    names: tuple[str, ...]
    confirmed: tuple[str, ...]
    reason: str


async def check_sending(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """The names of the addresses one's own server sends from: those given, and single ones the SPF record names."""
    given = [*setup.sample_ips, *(ip for term in setup.spf_terms if (ip := _single(term)))]
    answer = await resolver.ask(setup.bounce, "TXT")
    terms = [term for text in (answer.texts if answer.found else ()) if is_spf(text) for term in text.split()]
    named = [ip for term in terms if (ip := _single(term))]
    addresses = list(dict.fromkeys([*given, *named]))[:MAX_SENDING]
    looked = await together(check_reverse(resolver, ip) for ip in addresses)
    results = []
    for one in looked:
        state, code = _REVERSE[one.result]
        state = S.WARNING if state is S.FAILED and one.ip not in given else state
        fix = "" if one.result == "pass" else f"Have the PTR of {one.ip} set to a name that leads back to it."
        results.append(verdict("reverse", one.ip, state, code, one.reason, found=", ".join(one.names), fix=fix))
    return results


_REVERSE = {"pass": (S.PASSED, "reverse.ok"), "fail": (S.FAILED, "reverse.not_confirmed"),
            "temperror": (S.UNKNOWN, "reverse.unknown")}  # fmt: skip


def _single(term: str) -> str:
    """The address of an ``ip4`` or ``ip6`` term that names just one; else nothing."""
    try:
        network = parse_term(term).network
    except TermProblem:
        return ""
    return str(network.network_address) if network is not None and network.num_addresses == 1 else ""


async def check_reverse(resolver: Asker, ip: str, *, limit: int = 10) -> ReverseCheck:
    """Forward-confirmed reverse DNS of a sending address."""
    address = ipaddress.ip_address(ip)
    answer = await resolver.ask(reverse_name(ip), "PTR")
    if answer.unknown:
        return ReverseCheck(ip, "temperror", (), (), f"the PTR of {ip} could not be read ({answer.status})")
    if not answer.found:
        return ReverseCheck(ip, "fail", (), (), f"{ip} has no name (PTR); many receivers refuse such senders")
    names = answer.names[:limit]
    kind = "A" if address.version == 4 else "AAAA"
    answers = await asyncio.gather(*(resolver.ask(name, kind) for name in names))
    good = tuple(
        name
        for name, one in zip(names, answers, strict=True)
        if one.found and any(ipaddress.ip_address(text) == address for text in one.names)
    )
    if good:
        return ReverseCheck(ip, "pass", names, good, f"{good[0]} leads back to {ip}")
    if any(one.unknown for one in answers):
        return ReverseCheck(ip, "temperror", names, (), "the names of the address could not all be read")
    return ReverseCheck(ip, "fail", names, (), f"{', '.join(names)} does not lead back to {ip}")
