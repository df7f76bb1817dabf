"""The small tag records around mail: TLS-RPT (RFC 8460), BIMI, and the record half of MTA-STS (RFC 8461).

All three are one TXT record of ``tag=value`` pairs; the rules differ in names only, so they share the reading.
"""

from __future__ import annotations

import asyncio
import re

from ..model.verdict import VerdictState as S
from .answer import Answer
from .check_common import readable, standing
from .dmarc import discover
from .dmarc_record import Policy
from .domain_model import CheckResult, verdict
from .names import askable, normalise
from .pasted import cleaned
from .records import Change, ZoneRecord
from .resolver import Asker


def pairs(text: str) -> dict[str, str]:
    """``tag=value`` pairs between semicolons, first one wins, names in lower case."""
    out: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            out.setdefault(name.strip().lower(), value.strip())
    return out


def _only(answer: Answer, version: str) -> tuple[list[str], str]:
    """The records of a version, and what is wrong with their number."""
    pattern = re.compile(rf"\s*v\s*=\s*{version}\s*(?:;|$)")
    found = [text for text in answer.texts if pattern.match(text)] if answer.found else []
    return found, "" if len(found) == 1 else "missing" if not found else "multiple"


_BARE = re.compile(r"(?i)\W*(?:v\s*[=:]\s*(?!d|spf|bimi)[a-z]{1,12}[0-9]{0,2}\s*[;,\s]+)?(?=(?:rua|id)\s*[=:])")
"""Tags without the version, or behind one that is misspelt: at the record's own name they say what was meant."""


def _meant(text: str, version: str, own: bool = False) -> str:
    """The record a value was meant as, put right; empty when it was meant as something else. ``own``: it stands at the
    record's own name."""
    word = re.sub(r"v?[0-9]+$", "", version)
    value = cleaned(text).text
    match = re.match(rf"(?i)\W*(?:v\s*[=:]?\s*)?{word}\s*v?[0-9]?\s*(?=[;,\s]|$)", value)
    match = match or (_BARE.match(value) if own and version != "BIMI1" else None)
    if match is None:
        return ""
    rest = re.sub(r"(?i)[,\s]+(?=(?:id|rua|l|a)\s*[=:])", ";", value[match.end() :])
    tags: dict[str, str] = {}
    for part in rest.split(";"):
        tag = re.match(r"\s*([A-Za-z]+)\s*[=:]\s*(.*?)\s*$", part)
        if tag is not None:
            tags.setdefault(tag[1].lower(), tag[2])
    return "; ".join([f"v={version}", *(f"{name}={content}" for name, content in tags.items())])


async def read_tag_record(
    resolver: Asker, check: str, name: str, version: str, missing: str, missing_state: S = S.SKIPPED
) -> tuple[CheckResult | None, str, Answer]:
    """The single record of a version, or the result that says why there is none (with the record it was meant to be,
    where one was pasted with slips or put at a wrong name)."""
    answer = await resolver.ask(name, "TXT")
    evidence = {"answer": answer.as_dict()}
    if answer.unknown:
        title = f"{name} could not be read ({answer.status})"
        return verdict(check, name, S.UNKNOWN, f"{check}.unknown", title, evidence=evidence), "", answer
    found, wrong = _only(answer, version)
    if not wrong:
        return None, found[0], answer
    place = answer if answer.found and any(_meant(text, version, True) for text in answer.texts) else None
    if place is None and not answer.chain and version != "BIMI1":  # without a logo nothing is wrong
        place = await _misplaced(resolver, name, version)
    here = place is answer
    meant = {text: made for text in (place.texts if place is not None else ()) if (made := _meant(text, version, here))}
    change = None
    if place is not None and len(set(meant.values())) == 1:
        gone = tuple(standing(place.name, text) for text in meant)
        if place.chain:
            gone = (ZoneRecord(name, "CNAME", place.chain[0]),)
        loses = (f"the alias to {place.chain[0]}",) if place.chain else ()
        change = Change("the record, mended", (ZoneRecord(name, "TXT", next(iter(meant.values()))),), gone, loses)
    if wrong == "multiple":
        title = f"{len(found)} records at {name}; one is allowed, so none counts"
        fix = "Keep one of them." if change is None else f"Publish {name}: {change.publish[0].value}"
        result = verdict(check, name, S.FAILED, f"{check}.multiple", title, found=" | ".join(found), fix=fix,
                         evidence=evidence, change=change)  # fmt: skip
        return result, "", answer
    if place is None:
        return verdict(check, name, missing_state, f"{check}.missing", missing, evidence=evidence), "", answer
    causes = list(dict.fromkeys(cause for text in meant for cause in cleaned(text).causes))
    code, title = (
        f"{check}.not_recognised",
        f"{name} has a record nobody takes for one: v={version} is written otherwise",
    )
    if place is not answer:
        code, title = f"{check}.misplaced", f"a record stands at {place.name}, where nobody looks; its place is {name}"
    shown = {**evidence, "causes": causes}
    title += f" ({'; '.join(causes)})" if causes else ""
    made = next(iter(meant.values()))
    result = verdict(check, name, S.FAILED, code, title, found=readable(next(iter(meant))), expected=made,
                     fix=f"Publish {name}: {made}", evidence=shown, change=change)  # fmt: skip
    return result, "", answer


async def _misplaced(resolver: Asker, name: str, version: str) -> Answer | None:
    """Where a tag record is put by mistake: the domain itself, the names without underscores, the domain twice."""
    labels = [label for label in name.split(".") if label.startswith("_") or label == "default"]
    domain = ".".join(name.split(".")[len(labels) :])
    plain = ".".join(label.lstrip("_") for label in labels)
    names = [domain, f"{plain}.{domain}", f"{name}.{domain}"]
    for answer in await asyncio.gather(*(resolver.ask(one, "TXT") for one in names if askable(one))):
        if answer.found and not answer.chain and any(_meant(text, version) for text in answer.texts):
            return answer
    return None


def _alias(name: str, answer: Answer) -> tuple[tuple[ZoneRecord, ...], tuple[str, ...]]:
    """The alias that has to go before a record can stand at a name, and what is lost with it."""
    if not answer.chain:
        return (), ()
    return (ZoneRecord(name, "CNAME", answer.chain[0]),), (f"the alias to {answer.chain[0]}",)


async def check_tlsrpt(resolver: Asker, domain: str, report_to: str = "") -> CheckResult:
    """Where reports about TLS trouble go (RFC 8460 section 3)."""
    domain = normalise(domain)
    name = f"_smtp._tls.{domain}"
    early, text, answer = await read_tag_record(
        resolver, "tlsrpt", name, "TLSRPTv1", "no TLS-RPT record: nobody tells you when TLS to your servers fails"
    )
    rua = f"mailto:{report_to or f'postmaster@{domain}'}"
    publish = ZoneRecord(name, "TXT", f"v=TLSRPTv1; rua={rua}")
    if early is not None:
        if early.code == "tlsrpt.missing":
            return CheckResult(early.verdict, Change("a TLS-RPT record", (publish,), *_alias(name, answer)))
        return early
    evidence = {"answer": answer.as_dict()}
    targets = [part.strip() for part in pairs(text).get("rua", "").split(",") if part.strip()]
    bad = [part for part in targets if not re.match(r"(?:mailto:[^@\s]+@[^@\s]+|https://\S+)$", part)]
    if not targets or bad:
        title = f"{', '.join(bad) or 'rua='} is no address for reports (mailto: or https:)"
        good = [part for part in targets if part not in bad]
        mended = [f"mailto:{part}" for part in bad if re.fullmatch(r"[^@\s:]+@[^@\s:]+", part)]
        kept = ",".join((*good, *mended)) or rua
        loses = tuple(f"rua={part}" for part in bad if f"mailto:{part}" not in mended)
        made = ZoneRecord(name, "TXT", f"v=TLSRPTv1; rua={kept}")
        change = Change("a TLS-RPT record with an address", (made,), (standing(name, text),), loses)
        if answer.chain:
            gone, alias = _alias(name, answer)
            change = Change(change.why, change.publish, gone, (*loses, *alias))
        return verdict("tlsrpt", name, S.FAILED, "tlsrpt.bad_rua", title, found=text, evidence=evidence, change=change)
    return verdict("tlsrpt", name, S.PASSED, "tlsrpt.ok", f"reports go to {', '.join(targets)}", found=text,
                   evidence=evidence)  # fmt: skip


async def check_bimi(resolver: Asker, domain: str, selector: str = "default") -> CheckResult:
    """The logo record; it works only behind an enforced DMARC policy for the whole organization."""
    domain = normalise(domain)
    name = f"{selector}._bimi.{domain}"
    early, text, answer = await read_tag_record(
        resolver, "bimi", name, "BIMI1", "no BIMI record (nothing is wrong with that)"
    )
    if early is not None:
        return early
    evidence = {"answer": answer.as_dict()}
    tags = pairs(text)
    logo = tags.get("l", "")
    if not logo and not tags.get("a"):
        return verdict(
            "bimi", name, S.PASSED, "bimi.declined", "the domain declines to show a logo", found=text, evidence=evidence
        )
    if not logo.startswith("https://") or not logo.lower().split("?")[0].endswith((".svg", ".svgz")):
        title = "l= has to be an https address of an SVG file"
        return verdict("bimi", name, S.FAILED, "bimi.bad_logo", title, found=text, evidence=evidence)
    policy = await discover(resolver, domain)
    if policy.unknown:
        return verdict("bimi", name, S.UNKNOWN, "bimi.unknown", policy.reason, found=text, evidence=evidence)
    record = policy.record
    weak = record is None or policy.policy_applied is Policy.NONE or record.sp is Policy.NONE
    weak = weak or (record is not None and record.tags.get("pct", "100") != "100")
    if weak:
        title = "no receiver shows the logo: BIMI needs a DMARC policy of quarantine or reject, for subdomains too"
        return verdict("bimi", name, S.FAILED, "bimi.policy_not_enforced", title, found=text, evidence=evidence)
    return verdict("bimi", name, S.PASSED, "bimi.ok", "the record is complete and DMARC is enforced", found=text,
                   evidence=evidence)  # fmt: skip
