"""Pure pieces: addresses of name servers, one verdict a check, the line that tells the proof, the forms of a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import ip_address

from ..dns.domain_model import CheckResult, DomainReport
from ..dns.transport import Endpoint
from ..errors import InputRefused
from ..model.verdict import Verdict, VerdictState

_WEIGHT = {VerdictState.FAILED: 3, VerdictState.UNKNOWN: 2, VerdictState.WARNING: 1}
NAMES = {
    "domain": "Domain",
    "spf": "SPF",
    "dkim": "DKIM",
    "dmarc": "DMARC",
    "mx": "MX",
    "mtasts": "MTA-STS",
    "tlsrpt": "TLS-RPT",
}


def endpoint(text: str) -> Endpoint:
    """``192.0.2.53``, ``192.0.2.53:5353`` or ``[2001:db8::53]:53`` as host and port (default 53)."""
    wanted = text.strip()
    host, port = wanted, "53"
    if wanted.startswith("["):
        host, _, rest = wanted[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif wanted.count(":") == 1:
        host, _, port = wanted.partition(":")
    try:
        ip_address(host)
        number = int(port)
    except ValueError as error:
        raise _no_endpoint(text) from error
    if not 0 < number < 65536:
        raise _no_endpoint(text)
    return host, number


def _no_endpoint(text: str) -> InputRefused:
    return InputRefused(
        f"{text[:80]!r} is no address of a name server.",
        code="input.resolver",
        facts={"given": text[:80]},
        fix="Give an IP address and, where it is not 53, the port: 192.0.2.53:5353 or [2001:db8::53]:53.",
    )


def folded(results: Iterable[CheckResult]) -> tuple[Verdict, ...]:
    """One verdict for each check and subject: the worst decides, the others stand in its evidence as ``also``.

    Stores and gates count a check on a subject once, so a warning must not cover a failure of the same check.
    """
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for result in results:
        groups.setdefault((result.verdict.check, result.verdict.subject), []).append(result.verdict)
    out = []
    for group in groups.values():
        worst = max(group, key=lambda verdict: _WEIGHT.get(verdict.state, 0))  # the first of the worst
        also = [f"{one.state}: {one.title}" for one in group if one is not worst]
        out.append(replace(worst, evidence={**worst.evidence, "also": also}) if also else worst)
    return tuple(out)


def state_of(report: DomainReport) -> VerdictState:
    """The state of a whole report: the worst of its results; failed too where an external service sends and neither SPF
    nor DKIM is published for it: each alone is recommended, one of them is what its mail needs to arrive."""
    if nothing_published(report):
        return VerdictState.FAILED
    worst = max((result.state for result in report.results), key=lambda s: _WEIGHT.get(s, 0), default=None)
    return worst if worst in _WEIGHT else VerdictState.PASSED


TO_CONFIRM = "Held back until you agree to that: give --accept-losses, or confirm it in the notebook."


def nothing_published(report: DomainReport) -> bool:
    """Whether an external service sends for the domain, and neither its SPF nor its DKIM is there."""
    if report.absent or not any(key != "odoo" for key in report.setup.services):
        return False
    states = [r.state for r in report.results if r.verdict.check in ("spf", "dkim")]
    return bool(states) and not {VerdictState.PASSED, VerdictState.UNKNOWN}.intersection(states)


def meant(report: DomainReport, known: Iterable[str]) -> DomainReport:
    """The report on a domain that is not there, with the known one that its writer most likely meant."""
    name = report.setup.name
    like = get_close_matches(name, sorted(set(known) - {name}), n=1, cutoff=0.75) if report.absent else []
    if not like:
        return report
    told = report.results[0].verdict
    asked = replace(told, title=f"{told.title}. Did you mean {like[0]}?", fix=f"Ask for {like[0]}, if that was meant.")
    return replace(report, results=(replace(report.results[0], verdict=asked),))


def verdicts_of(report: DomainReport) -> tuple[Verdict, ...]:
    """What a run records of a report: one verdict for each check and subject, and the one that fails where an external
    service sends and nothing is published for it."""
    found = folded(report.results)
    if not nothing_published(report):
        return found
    name, service = report.setup.name, report.setup.service_key
    sends = Verdict(
        check="domain.sends",
        subject=name,
        state=VerdictState.FAILED,
        title=f"Neither SPF nor DKIM of {name} is published for {service}: its mail will not arrive reliably",
        expected="At least one of both, better both",
        fix=f"Publish what the findings below name: mailops domain fix {name}",
        code="domain.nothing_published",
    )
    return (sends, *found)


def proof_line(result: CheckResult) -> str:
    """What was proved of a result's change, or why none is offered; empty where there is nothing to say."""
    if result.change is None or not result.proved:
        return f"No record is proposed: {result.withheld.rstrip('.')}." if result.withheld else ""
    name = NAMES.get(result.verdict.check, result.verdict.check.upper())
    proof = result.verdict.evidence.get("proof", {})
    with_others = f" together with {', '.join(proof['together'])}" if proof.get("together") else ""
    lost = "".join(f" Gone afterwards, so make sure that you agree: {one}." for one in result.change.loses)
    asked = "".join(f" Or, as you choose: {one}." for one in result.change.choices)
    line = (
        f"Proved: after publishing this{with_others}, {name} no longer has this finding and no other check gets worse"
    )
    if result.verdict.check == "spf":
        line += f"; every address that passes now still passes; {proof.get('lookups_after', 0)} of 10 lookups"
    return f"{line}.{lost}{asked}"


OVERVIEW = ("Domain", "SPF", "DKIM", "DMARC", "Besides", "To do")
_MAIN = ("spf", "dkim", "dmarc")


def overview(reports: Iterable[DomainReport]) -> list[tuple[str, ...]]:
    """One line a domain: the worst state of SPF, DKIM and DMARC, of the rest, and the findings that need somebody."""
    rows = []
    for report in reports:
        cells = [_worst([one for one in report.results if one.verdict.check == name]) for name in _MAIN]
        rest = _worst([one for one in report.results if one.verdict.check not in _MAIN])
        wrong = dict.fromkeys(one.code for one in report.results if one.state in _WEIGHT)
        rows.append((report.setup.name, *cells, rest, ", ".join(wrong)))
    return rows


def _worst(results: list[CheckResult]) -> str:
    """The worst state in a word; a dash where nothing was looked at."""
    worst = max(results, key=lambda one: _WEIGHT.get(one.state, 0), default=None)
    return f"{worst.state.icon} {worst.state}" if worst is not None else "–"
