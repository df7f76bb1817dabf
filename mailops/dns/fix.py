"""Proof before advice: a change is offered only when the evaluation, run again with it applied, clears the finding.

For every result with a change the change goes into an overlay zone (:mod:`mailops.dns.overlay`) and the whole check is
run again over it. The change is withheld when its finding is still there, when another check became worse, or when an
address that passed SPF by any of the published records no longer passes. The reason is kept either way.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ..model.verdict import VerdictState as S
from .domain_model import CheckResult, SendingSetup
from .overlay import Overlay
from .pasted import cleaned
from .records import Change, ZoneRecord
from .resolver import Asker
from .spf import SpfResult, check_domain
from .spf_mend import looks_like_spf
from .spf_parse import select
from .spf_static import analyse
from .zone_rules import admitted

Evaluate = Callable[[Asker, SendingSetup], Awaitable[list[CheckResult]]]

MAX_SAMPLES = 40
_RANK = {S.PASSED: 0, S.SKIPPED: 0, S.WARNING: 1, S.UNKNOWN: 2, S.FAILED: 3}


@dataclass(frozen=True, slots=True)
class Proof:
    """What applying a change did. ``lost`` are addresses that passed before and do not after."""

    cleared: bool
    worse: tuple[str, ...]
    lost: tuple[str, ...]
    lookups_before: int
    lookups_after: int
    refused: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.refused and self.cleared and not self.worse and not self.lost and not self.dropped

    @property
    def reason(self) -> str:
        """Why the change is not offered, in one sentence; empty for a good one."""
        if self.refused:
            return self.refused
        if not self.cleared:
            return "the finding would still be there after the change"
        if self.worse:
            return f"after the change something else would be wrong: {'; '.join(self.worse)}"
        if self.lost:
            return f"addresses that pass now would not pass any more: {', '.join(self.lost)}"
        if self.dropped:
            return f"what you set would be lost without a word: {', '.join(self.dropped)}"
        return ""


async def prove(
    resolver: Asker, setup: SendingSetup, result: CheckResult, before: list[CheckResult], evaluate: Evaluate
) -> Proof:
    """Apply one result's change to an overlay and look again."""
    assert result.change is not None
    _, refused = await admitted(resolver, result.change)
    if refused:
        return Proof(False, (), (), 0, 0, refused)
    overlay = Overlay(resolver, result.change)
    after = await evaluate(overlay, setup)
    same = [
        one
        for one in after
        if one.verdict.check == result.verdict.check and one.verdict.subject == result.verdict.subject
    ]
    cleared = bool(same) and not any(one.code == result.code for one in same)
    known = {(one.verdict.check, one.verdict.subject, one.code) for one in before}
    worst: dict[tuple[str, str], int] = {}
    for one in before:
        key = (one.verdict.check, one.verdict.subject)
        worst[key] = max(worst.get(key, 0), _RANK.get(one.state, 0))
    worse = tuple(
        f"{one.code}: {one.verdict.title}"
        for one in after
        if (one.verdict.check, one.verdict.subject, one.code) not in known
        and _RANK.get(one.state, 0) >= 2
        and _RANK.get(one.state, 0) >= worst.get((one.verdict.check, one.verdict.subject), 0)
    )
    lost: tuple[str, ...] = ()
    first = last = 0
    if result.verdict.check == "spf":
        domain = setup.bounce
        lost = await lost_senders(resolver, overlay, domain, setup.sample_ips, result.change.named)
        tree = await analyse(overlay, domain)
        first, last = (await analyse(resolver, domain)).lookups, tree.lookups
        # an SPF record that is still in error helps nobody, also when it was in error before
        worse += tuple(
            f"{one.code}: {one.message}" for one in tree.problems if one.error and one.code not in str(worse)
        )
    return Proof(cleared, worse, lost, first, last, dropped=dropped_tags(result.change))


def dropped_tags(change: Change) -> tuple[str, ...]:
    """Tags of the records taken away that neither stand in what is published nor are said to be lost."""
    if not all(record.type == "TXT" and record.value.startswith("v=") for record in change.publish):
        return ()
    kept = {name for record in change.publish for name in tag_names(record.value)}
    said = " ".join(change.loses).lower()
    gone = [name for record in change.remove if record.type == "TXT" for name in tag_names(cleaned(record.value).text)]
    return tuple(name for name in dict.fromkeys(gone) if name not in kept and f"{name}=" not in said)


def tag_names(text: str) -> tuple[str, ...]:
    """The known tag names of a tag list (DMARC, TLS-RPT, MTA-STS, BIMI); none for an SPF record."""
    if looks_like_spf(text):
        return ()
    return tuple(dict.fromkeys(name.lower() for name in re.findall(r"(?:^|[;,\s])\s*([A-Za-z]{1,5})\s*=", text)))


async def lost_senders(
    resolver: Asker, overlay: Asker, domain: str, extra: tuple[str, ...] = (), named: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Addresses that pass by one of the published records alone, or by one of those ``named`` (records as they were
    meant), and do not pass after the change."""
    answer = await resolver.ask(domain, "TXT")
    texts = select(answer.texts) if answer.found else ()
    lost: list[str] = []
    for text in dict.fromkeys((*texts, *named)):
        others = tuple(ZoneRecord(domain, "TXT", other) for other in texts if other != text)
        alone = Overlay(resolver, Change("one record alone", (ZoneRecord(domain, "TXT", text),), others))
        tree = await analyse(alone, domain)
        networks = [network for branch in tree.branches() for network in branch.networks]
        samples = [str(network.network_address) for network in networks] + [
            str(network.broadcast_address) for network in networks if network.num_addresses > 1
        ]
        for ip in dict.fromkeys([*extra, *samples][:MAX_SAMPLES]):
            if (await check_domain(alone, ip, domain)).result is not SpfResult.PASS:
                continue
            if (await check_domain(overlay, ip, domain)).result is not SpfResult.PASS:
                lost.append(str(ip_network(ip).network_address))
    return tuple(dict.fromkeys(lost))


async def proved(
    resolver: Asker, setup: SendingSetup, results: list[CheckResult], evaluate: Evaluate
) -> tuple[CheckResult, ...]:
    """The results with every change proved or withheld."""
    proofs = {
        at: await prove(resolver, setup, result, results, evaluate)
        for at, result in enumerate(results)
        if result.change is not None
    }
    good = [results[at].change for at, proof in proofs.items() if proof.good]
    out: list[CheckResult] = []
    for at, result in enumerate(results):
        if result.change is None:
            out.append(result)
            continue
        proof = proofs[at]
        together: tuple[str, ...] = ()
        if not proof.good:
            # SPF mended before DKIM is there makes DMARC complain: neither helps alone, both do
            company = _company(result.change, [change for change in good if change is not None])
            joint = (
                await prove(resolver, setup, replace(result, change=company), results, evaluate) if company else proof
            )
            if company and joint.good:
                others = [record.name for record in company.publish if record not in result.change.publish]
                proof, together = joint, tuple(dict.fromkeys(others))
            elif proof.worse and all(one.startswith("dmarc.needs_dkim:") for one in proof.worse):
                # that DKIM lacks was so before; with SPF mended it is only what is left to do
                proof = replace(proof, worse=())
        shown = {
            "cleared": proof.cleared,
            "worse": list(proof.worse),
            "lost": list(proof.lost),
            "lookups_before": proof.lookups_before,
            "lookups_after": proof.lookups_after,
            "together": list(together),
        }
        verdict = replace(result.verdict, evidence={**result.verdict.evidence, "proof": shown})
        if proof.good:
            fitted, _ = await admitted(resolver, result.change)
            out.append(CheckResult(verdict, fitted, True))
        else:
            fix = f"No record is proposed: {proof.reason.rstrip('.')}."
            fix += "".join(f" {step[0].upper()}{step[1:]}." for step in verdict.evidence.get("plan", ()))
            out.append(CheckResult(replace(verdict, fix=fix), None, False, proof.reason))
    return tuple(out)


def _company(change: Change, others: list[Change]) -> Change | None:
    """A change with those proved alone that touch other records; None where there are none."""
    taken = {(record.name, record.type) for record in (*change.publish, *change.remove)}
    publish, remove = list(change.publish), list(change.remove)
    for other in others:
        places = {(record.name, record.type) for record in (*other.publish, *other.remove)}
        if not places & taken:
            publish += other.publish
            remove += other.remove
            taken |= places
    if len(publish) == len(change.publish):
        return None
    return Change(change.why, tuple(publish), tuple(remove))
