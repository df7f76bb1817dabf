"""The small tag records around mail: TLS-RPT (RFC 8460), BIMI, and the record half of MTA-STS (RFC 8461).

All three are one TXT record of ``tag=value`` pairs; the rules differ in names only, so they share the reading.
"""

from __future__ import annotations

import re

from ..model.verdict import VerdictState as S
from .answer import Answer
from .dmarc import discover
from .dmarc_record import Policy
from .domain_model import CheckResult, verdict
from .names import normalise
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


async def read_tag_record(
    resolver: Asker, check: str, name: str, version: str, missing: str, missing_state: S = S.SKIPPED
) -> tuple[CheckResult | None, str, Answer]:
    """The single record of a version, or the result that says why there is none."""
    answer = await resolver.ask(name, "TXT")
    evidence = {"answer": answer.as_dict()}
    if answer.unknown:
        title = f"{name} could not be read ({answer.status})"
        return verdict(check, name, S.UNKNOWN, f"{check}.unknown", title, evidence=evidence), "", answer
    found, wrong = _only(answer, version)
    if wrong == "missing":
        return verdict(check, name, missing_state, f"{check}.missing", missing, evidence=evidence), "", answer
    if wrong:
        title = f"{len(found)} records at {name}; one is allowed, so none counts"
        return verdict(check, name, S.FAILED, f"{check}.multiple", title, evidence=evidence), "", answer
    return None, found[0], answer


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
            return CheckResult(early.verdict, Change("a TLS-RPT record", (publish,)))
        return early
    evidence = {"answer": answer.as_dict()}
    targets = [part.strip() for part in pairs(text).get("rua", "").split(",") if part.strip()]
    bad = [part for part in targets if not re.match(r"(?:mailto:[^@\s]+@[^@\s]+|https://\S+)$", part)]
    if not targets or bad:
        title = f"{', '.join(bad) or 'rua='} is no address for reports (mailto: or https:)"
        change = Change("a TLS-RPT record with an address", (publish,), (ZoneRecord(name, "TXT", text),))
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
