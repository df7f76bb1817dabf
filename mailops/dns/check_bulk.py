"""Whether a domain meets what large receivers ask of bulk senders: rules as data, held against the results there are.

Pure: the results of SPF, DKIM, DMARC and the reverse names go in, one verdict a receiver comes out, with what is
missing, what could not be seen, and what DNS never shows (unsubscribing, complaints).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..model.text import counted
from ..model.verdict import VerdictState as S
from .domain_model import CheckResult, SendingSetup, verdict
from .names import is_below

_WORDS = {
    "spf": "SPF that passes",
    "dkim": "DKIM with a key of at least 1024 bits",
    "dmarc": "a DMARC record (p=none is enough)",
    "alignment": "SPF or DKIM of the From's own domain",
    "reverse": "a reverse name that leads back for each sending address",
    "spf_or_dkim": "SPF or DKIM",
}


@dataclass(frozen=True, slots=True)
class BulkRule:
    """One receiver's rule: ``needs`` from ``from_volume`` messages a day on, ``always`` below it too; ``mail`` is asked
    of each mail to many, to its ``domains``."""

    key: str
    title: str
    from_volume: int
    since: str
    needs: tuple[str, ...]
    besides: tuple[str, ...]
    always: tuple[str, ...]
    source: str
    url: str
    as_of: str
    domains: tuple[str, ...] = ()
    mail: tuple[str, ...] = ()


@cache
def bulk_rules() -> tuple[BulkRule, ...]:
    """The rules of all receivers in the data."""
    text = (files("mailops.providers") / "bulk.toml").read_text(encoding="utf-8")
    lists = ("needs", "besides", "always", "domains", "mail")
    read: list[dict[str, Any]] = tomllib.loads(text)["receivers"]
    return tuple(BulkRule(**{**one, **{name: tuple(one[name]) for name in lists}}) for one in read)


def check_bulk(setup: SendingSetup, results: Sequence[CheckResult]) -> list[CheckResult]:
    """One verdict for each receiver at the set-up's volume (messages a day to one receiver)."""
    met = _met(setup, results)
    out = []
    for rule in bulk_rules():
        volume = setup.volume or 0
        asked = rule.needs if volume >= rule.from_volume else rule.always
        missing = [_WORDS[need] for need in asked if met[need] is False]
        unseen = [_WORDS[need] for need in asked if met[need] is None]
        evidence = {"since": rule.since, "source": rule.source, "url": rule.url, "as_of": rule.as_of,
                    "volume": volume, "from_volume": rule.from_volume}  # fmt: skip
        besides = f"not seen in DNS: {', '.join(rule.besides)}" if volume >= rule.from_volume else ""
        found = "; ".join(part for part in (", ".join(missing), besides) if part)
        state, code = (S.UNKNOWN, "bulk.unknown") if unseen else (S.PASSED, "bulk.ok")
        state, code = (S.FAILED, "bulk.missing") if missing else (state, code)
        title = f"{rule.title} wants more for {counted(volume, 'message')} a day: {', '.join(missing)}"
        if not missing:
            title = f"{rule.title}: what DNS shows is enough for {counted(volume, 'message')} a day"
            title += f"; not known: {', '.join(unseen)}" if unseen else ""
        fix = f"Mend the findings above; {rule.source}, in force since {rule.since}." if missing else ""
        out.append(verdict("bulk", rule.title, state, code, title, found=found, fix=fix, evidence=evidence))
    return out


def _met(setup: SendingSetup, results: Sequence[CheckResult]) -> dict[str, bool | None]:
    """What is met: yes, no, or not known."""
    codes = {result.code for result in results}
    unknown = {result.verdict.check for result in results if result.state is S.UNKNOWN}
    spf = True if "spf.ok" in codes else None if "spf" in unknown else False
    keys = [r for r in results if r.verdict.check == "dkim"]
    signed = any(one.code in ("dkim.ok", "dkim.weak", "dkim.copied", "dkim.own_ok") for one in keys)
    not_seen = "dkim" in unknown or "dkim.no_selector" in codes
    dkim = True if signed else None if not_seen else False
    dmarc = True if codes & {"dmarc.ok", "dmarc.inherited"} else None if "dmarc" in unknown else False
    same = is_below(setup.bounce, setup.name) or is_below(setup.name, setup.bounce)
    aligned = True if signed or (spf and same) else None if not_seen else False
    reverse = [one for one in results if one.verdict.check == "reverse"]
    # a service's addresses are its own affair; only one's own are looked at
    named = None if not reverse and not setup.services else all(one.state is not S.FAILED for one in reverse)
    either = True if spf or signed else None if None in (spf, dkim) else False
    return {"spf": spf, "dkim": dkim, "dmarc": dmarc, "alignment": aligned, "reverse": named, "spf_or_dkim": either}
