"""One SPF record out of several, or one more sender in the record there is.

The rules, in the order they are applied:

1. Nothing published: ``v=spf1``, the wanted terms, ``~all``.
2. One record: the wanted terms that are not there yet go in directly after ``v=spf1``; everything else keeps its place
   and its text. A record that has them all comes back unchanged, so doing it twice changes nothing.
3. Several records: all terms in order of appearance, each once. A record with a denying term (``-ip4:…``, ``?mx``) goes
   last, so that it cannot act on the senders of another one; two of them cannot be merged.
4. The end: the most lenient ``all`` of the inputs, because a stricter one would make the senders of the lenient record
   fail (an absent ``all`` is neutral). ``+all`` is not merged at all.
   A sender that passes by one of the inputs passes by the result; an address that one of them denies by name may
   end denied.
5. What is never evaluated (terms behind ``all``, a ``redirect`` beside ``all``) does not go into a merged record.

Nothing here asks DNS. Whether the result fits the ten lookups is the business of the caller, who knows the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .spf_parse import VERSION, SpfRecord, Term, TermProblem, is_spf, parse_record, parse_term

_LENIENT = {"-": 0, "~": 1, "?": 2, "+": 3}


@dataclass(frozen=True, slots=True)
class Merged:
    """The outcome: ``text`` to publish, or an empty one and the ``reason`` why there is none."""

    text: str
    reason: str
    changed: bool
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        return not self.text


def _refuse(reason: str) -> Merged:
    return Merged("", reason, False)


def merge(records: Sequence[str], wanted: Iterable[str] = (), *, default_all: str = "~all") -> Merged:
    """Merge published records (texts) and add ``wanted`` terms such as ``include:_spf.odoo.com``."""
    extra: list[Term] = []
    for text in wanted:
        try:
            extra.append(parse_term(text))
        except TermProblem as problem:
            return _refuse(f"{text!r} is no SPF term: {problem}")
    texts = [text for text in records if is_spf(text)]
    if not texts:
        text = " ".join([VERSION, *(term.text for term in _unique(extra)), default_all])
        return Merged(text, "no SPF record is published yet", True)
    parsed = [parse_record(text) for text in dict.fromkeys(texts)]
    for record in parsed:
        if record.mistakes:
            bad = record.mistakes[0]
            return _refuse(f"the record is not valid, mend it first: {bad.term}: {bad.message}")
        if record.all_term is not None and record.all_term.qualifier == "+":
            return _refuse(f"{record.all_term.text} lets everybody send; decide first who may")
    if len(parsed) == 1:
        return _extend(parsed[0], extra, several=len(texts) > 1)
    return _combine(parsed, extra)


def _extend(record: SpfRecord, extra: list[Term], *, several: bool) -> Merged:
    live = _live(record)
    missing = [term for term in _unique(extra) if _key(term) not in {_key(one) for one in live}]
    if not missing:
        if several:
            return Merged(record.text, "the same record stands twice; one is enough", True)
        return Merged(record.text, "everything wanted is in the record already", False)
    text = " ".join([record.text[: len(VERSION)], *(term.text for term in missing)])
    rest = record.text[len(VERSION) :].strip(" ")
    added = ", ".join(term.text for term in missing)
    return Merged(f"{text} {rest}" if rest else text, f"added {added} to the record there is", True)


def _combine(records: list[SpfRecord], extra: list[Term]) -> Merged:
    notes: list[str] = []
    denying = [record for record in records if any(term.qualifier != "+" for term in _live(record))]
    if len(denying) > 1:
        return _refuse("two records have denying terms (-, ~ or ? before a mechanism); put them in order by hand")
    if denying and denying[0] is not records[-1]:
        notes.append(f"{denying[0].text!r} goes last: its denying terms must not act on the others")
    ordered = [record for record in records if record not in denying] + denying
    redirects = [record for record in ordered if record.redirect is not None and record.all_term is None]
    if redirects:
        return _refuse(f"{redirects[0].redirect.text if redirects[0].redirect else 'redirect'} hands over the whole"
                       " record and cannot be merged; use include with an all of your choice")  # fmt: skip
    terms = _unique([*_prepend(extra, ordered), *(term for record in ordered for term in _live(record))])
    ends = [record.all_term.qualifier if record.all_term is not None else "?" for record in records]
    end = max(ends, key=_LENIENT.__getitem__)
    if len(set(ends)) > 1:
        notes.append(f"the records end differently; {end}all is the one that hurts no sender")
    modifiers = _modifiers(ordered, notes)
    text = " ".join([VERSION, *(term.text for term in terms), f"{end}all", *modifiers])
    return Merged(text, f"{len(records)} records merged into one", True, tuple(notes))


def _prepend(extra: list[Term], records: list[SpfRecord]) -> list[Term]:
    known = {_key(term) for record in records for term in _live(record)}
    return [term for term in extra if _key(term) not in known]


def _modifiers(records: list[SpfRecord], notes: list[str]) -> list[str]:
    """Modifiers other than redirect; only one exp may stand."""
    out: list[str] = []
    explained = False
    for record in records:
        for term in record.terms:
            if not term.modifier or term.name == "redirect" or term.text in out:
                continue
            if term.name == "exp":
                if explained:
                    notes.append(f"{term.text} left out: one explanation is allowed")
                    continue
                explained = True
            out.append(term.text)
    return out


def _live(record: SpfRecord) -> list[Term]:
    """The mechanisms before all."""
    out: list[Term] = []
    for term in record.mechanisms:
        if term.name == "all":
            break
        out.append(term)
    return out


def _unique(terms: Iterable[Term]) -> list[Term]:
    out: dict[tuple[object, ...], Term] = {}
    for term in terms:
        out.setdefault(_key(term), term)
    return list(out.values())


def _key(term: Term) -> tuple[object, ...]:
    """What makes two terms the same: written differently, meaning the same. Macro letters keep their case."""
    domain = term.domain
    if domain is not None:
        domain = domain.removesuffix(".")
        domain = domain if "%" in domain else domain.lower()
    full4 = 32 if term.cidr4 is None else term.cidr4
    full6 = 128 if term.cidr6 is None else term.cidr6
    return (term.qualifier, term.name, domain, full4, full6, term.network)
