"""Predictions against what their cases expect, field by field.

:func:`score` takes the cases of a suite and its predictions, and gives a :class:`Score` that names every field that is
not as expected. A case passes when each expected field agrees, or each field of one entry of ``also_acceptable`` laid
over it; a case without a prediction fails. How a field is compared is a row in :data:`RULES`; what has no row must be
equal. Bounce messages are labelled in shades and have :mod:`mailops.testing.score_bounces`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import getaddresses, parseaddr
from typing import Any

Case = Mapping[str, Any]
Rule = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Miss:
    """One field that is not as its case expects."""

    case: str
    field: str
    wanted: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.case}: {self.field} is {self.got!r}, expected {self.wanted!r}"


@dataclass(frozen=True)
class Score:
    """How many cases there are, and what is not as expected."""

    cases: int
    misses: tuple[Miss, ...] = ()

    @property
    def passed(self) -> int:
        """Cases without a miss."""
        return self.cases - len({miss.case for miss in self.misses})

    @property
    def clean(self) -> bool:
        """Whether there are cases and all of them pass."""
        return self.cases > 0 and not self.misses

    def __str__(self) -> str:
        return "\n".join([*map(str, self.misses), f"{self.passed} of {self.cases} cases as expected"])


def score(suite: str, cases: Iterable[Case], predictions: Iterable[Case]) -> Score:
    """Compare the predictions of a suite of :data:`mailops.testing.evaluate.SUITES` with its cases."""
    rules = RULES.get(suite, {})
    found = {str(one["id"]): one for one in predictions}
    misses: list[Miss] = []
    ids: Counter[str] = Counter()
    for case in cases:
        ident = str(case["id"])
        ids[ident] += 1
        got = found.get(ident)
        if got is None:
            misses.append(Miss(ident, "prediction", "one", None))
            continue
        tried = [_missed(ident, option, got, rules) for option in options(case)]
        fewest: list[Miss] = min(tried, key=len)
        misses += fewest
    misses += [Miss(ident, "id", "used once", n) for ident, n in ids.items() if n > 1]
    return Score(ids.total(), tuple(misses))


def options(case: Case) -> list[dict[str, Any]]:
    """What a case accepts, the preferred first. SPF cases carry their expectation beside their input."""
    if "result" in case:
        return [{name: case[name] for name in ("result", "explanation") if case.get(name) is not None}]
    first = {**(case["expected"] if "expected" in case else case["expect"]), **(case.get("expected_more") or {})}
    return [first, *({**first, **other} for other in case.get("also_acceptable") or [])]


def _missed(ident: str, wanted: Case, got: Case, rules: Mapping[str, Rule]) -> list[Miss]:
    if not wanted:  # a case that expects nothing could never fail
        return [Miss(ident, "expected", "at least one field", None)]
    return [
        Miss(ident, field, want, got.get(field))
        for field, want in wanted.items()
        if not rules.get(field, equal)(want, got.get(field))
    ]


def equal(want: Any, got: Any) -> bool:
    """Equal, and True is not 1."""
    return isinstance(want, bool) == isinstance(got, bool) and bool(want == got)


def one_of(want: Any, got: Any) -> bool:
    """One of a list of acceptable values, or the only one."""
    return any(equal(each, got) for each in (want if isinstance(want, list) else [want]))


def same_mailboxes(want: Any, got: Any) -> bool:
    """The same names and addresses in the same order, however they are quoted; letter case counts."""
    if want is None or got is None:
        return want is got
    return getaddresses([str(want)]) == getaddresses([str(got)])


def same_records(want: Any, got: Any) -> bool:
    """The same (alias, model) pairs, in any order."""
    return _pairs(want) == _pairs(got)


def same_notices(want: Any, got: Any) -> bool:
    """As many notices, each expected one found: addresses by address, others literally, null not at all."""
    left = list(got or [])
    for notice in want or []:
        hit = next((one for one in left if _same_notice(notice, one)), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


def given_fields(want: Any, got: Any) -> bool:
    """Every field that the expectation gives; the prediction may have more."""
    if isinstance(want, dict) and isinstance(got, dict):
        return all(equal(value, got.get(name)) for name, value in want.items())
    return equal(want, got)


def same_notification(want: Any, got: Any) -> bool:
    """As :func:`given_fields`; ``reason_contains`` is a part of the reason, in any letter case."""
    if not isinstance(want, dict) or not isinstance(got, dict):
        return equal(want, got)
    part = str(want.get("reason_contains") or "").lower()
    rest = {name: value for name, value in want.items() if name != "reason_contains"}
    return part in str(got.get("reason") or "").lower() and given_fields(rest, got)


def same_name(want: Any, got: Any) -> bool:
    """The same domain name: case and the final dot do not count."""
    return bool(_name(want) == _name(got))


def same_names(want: Any, got: Any) -> bool:
    """The same names in the same order."""
    return isinstance(got, list) and [_name(one) for one in want] == [_name(one) for one in got]


def at_least(want: Any, got: Any) -> bool:
    """All of these, and perhaps others."""
    return isinstance(got, list) and set(want) <= set(got)


def same_truth(want: Any, got: Any) -> bool:
    """Said or not said: a missing field and False are the same, and so are a text and True."""
    return bool(want) == bool(got)


def _pairs(records: Any) -> Counter[tuple[Any, Any]]:
    return Counter((one.get("alias"), one.get("model")) for one in records or [])


def _same_notice(want: Case, got: Case) -> bool:
    for field, value in want.items():
        mine = got.get(field)
        if value is None:  # left to the wording of whoever sends it
            continue
        if field in ("to", "from", "reply_to", "return_path"):
            agrees = parseaddr(str(value))[1] == parseaddr(str(mine or ""))[1]
        elif field == "body_contains":
            agrees = str(value) in str(got.get("body") or "")
        else:
            agrees = equal(value, mine)
        if not agrees:
            return False
    return True


def _name(text: Any) -> Any:
    return text.lower().rstrip(".") if isinstance(text, str) else text


RULES: dict[str, dict[str, Rule]] = {
    "routing": {"header_from": same_mailboxes, "reply_to": same_mailboxes, "error": same_truth},
    "gateway": {
        "created": same_records,
        "notices": same_notices,
        "notification": same_notification,
        "error": same_truth,
    },
    "spf": {"result": one_of},
    "dmarc": {
        "policy_domain": same_name,
        "org_domain": same_name,
        "query": same_name,
        "queries": same_names,
    },
    "dkim": {
        "status": one_of,
        "reason": one_of,
        "warnings": at_least,
        "hashes": same_names,
        "cname_target": same_name,
        "found_at": same_name,
    },
    "aggregate": {"domain": same_name, "recovered": same_truth, "error": same_truth},
}
