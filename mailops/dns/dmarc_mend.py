"""A DMARC record as its owner meant it: read through the slips, mended, several merged, every tag kept.

Rules, each with its cause in a sentence: what pasting left is taken out (:mod:`mailops.dns.pasted`); a version in the
wrong case, lost or foreign semicolons and colons for equals signs are put right; a value that is a slip of one word
(``rejct``, ``adkim=strict``) becomes that word; an address without ``mailto:`` gets it; a tag that stands twice becomes
one. The order of the tags stays. What cannot be kept is named in ``loses``; the policy is the owner's choice, so where
it is not plain the most lenient one, which stops no mail, is proposed and the others stand in ``choices``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from .dmarc_record import KNOWN_TAGS, POLICIES, REMOVED_TAGS, parse_uri
from .pasted import cleaned

_ALL_TAGS = (*KNOWN_TAGS, *REMOVED_TAGS)
_VERSION = re.compile(r"^[^A-Za-z]*(?:v[\s]*[=:]?[\s]*)?DMARC[\s_-]*1?(?![A-Za-z0-9])", re.IGNORECASE)
_LOST = re.compile(
    rf"(?<![;\s])([,\s]{{1,40}}|\s{{0,20}}[,|]\s{{0,20}})(?=(?:{'|'.join(_ALL_TAGS)})\s{{0,20}}[=:])", re.IGNORECASE
)
_ALIGNMENT = {"r": "r", "relaxed": "r", "s": "s", "strict": "s"}
_VALUES = {
    "adkim": _ALIGNMENT,
    "aspf": _ALIGNMENT,
    "t": {"y": "y", "yes": "y", "n": "n", "no": "n"},
    "psd": {"y": "y", "n": "n", "u": "u"},
}
_AFTER = r"(?=(?:sp|np|p|fo|pct|t|psd)=)"
_GLUED = re.compile(
    rf"(?<=[a-z0-9])(?=(?:rua|ruf|adkim|aspf)\s*=)|(?<=none){_AFTER}|(?<=reject){_AFTER}|(?<=quarantine){_AFTER}",
    re.IGNORECASE,
)
_TAG = re.compile(r"\s*([^=:\s]*)\s*([=:]?)\s*(.*?)\s*$", re.DOTALL)
_MEANT = re.compile(r"(?:^|[;,|\s])(?:s?p\s{0,9}[=:]\s{0,9}[nqr][a-z]{2,11}\b|ru[af]\s{0,9}[=:])", re.IGNORECASE)
_OTHERS = re.compile(r"v\s*=\s*(?:spf|dkim|sts|tlsrpt|bimi)", re.IGNORECASE)
_LIMIT = 512


@dataclass(frozen=True, slots=True)
class MendedDmarc:
    """``text`` to publish; ``causes`` what was wrong, ``loses`` what is not in it any more, ``choices`` the same record
    with the other policies the owner may have meant."""

    text: str
    causes: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def looks_like_dmarc(text: str) -> bool:
    """Whether a value was meant as a DMARC record, however it is written."""
    return _VERSION.match(cleaned(text[: _LIMIT * 8]).text) is not None


def is_meant_as_dmarc(text: str) -> bool:
    """Whether a value at a ``_dmarc`` name is one: there its tags tell it, where the version is lost or misspelt."""
    value = cleaned(text[: _LIMIT * 8]).text
    return _VERSION.match(value) is not None or (_OTHERS.match(value) is None and _MEANT.search(value) is not None)


def mend(texts: Sequence[str], report_to: str = "") -> MendedDmarc:
    """One record out of those there are (each :func:`is_meant_as_dmarc`); ``report_to`` only where none of them names
    an address and none has a policy of its own."""
    causes: list[str] = []
    loses: list[str] = []
    tags: dict[str, list[str]] = {}
    for text in texts:
        for name, value in _read(text, causes):
            held = tags.setdefault(name, [])
            if value not in held:
                held.append(value)
    policy, others = _policy(tags, causes, loses)
    out: dict[str, str] = {"v": "DMARC1"}
    tags.setdefault("p", [])
    for name, values in tags.items():
        value = policy if name == "p" else _value(name, values, causes, loses)
        if value:
            out[name] = value
    if "rua" not in out and report_to and not texts:
        out["rua"] = f"mailto:{report_to}"
    # v and p first (RFC 7489 wants them so), the rest as the owner wrote it
    ordered = {"v": out.pop("v"), "p": out.pop("p"), **out}
    choices = tuple(_written({**ordered, "p": other}) for other in others)
    return MendedDmarc(_written(ordered), tuple(dict.fromkeys(causes)), tuple(dict.fromkeys(loses)), choices)


def _written(tags: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in tags.items())


def _read(text: str, causes: list[str]) -> list[tuple[str, str]]:
    """The tags of one value after its version, slips of writing put right."""
    pasted = cleaned(text)
    causes += pasted.causes
    body = pasted.text
    match = _VERSION.match(body)
    if match is not None:
        if match.group().rstrip() != "v=DMARC1":
            causes.append("the record has to begin with v=DMARC1, written so")
        rest = body[match.end() :]
        if rest.strip() and not rest.lstrip().startswith(";"):
            causes.append("a semicolon is missing after v=DMARC1")
        body = rest.lstrip(" ,:|")
    else:
        causes.append("the record has to begin with v=DMARC1, written so")
    body, lost = _LOST.subn(";", body)
    body, glued = _GLUED.subn(";", body)
    if lost or glued:
        causes.append("a semicolon is missing between two tags")
    out: list[tuple[str, str]] = []
    for part in body.split(";"):
        match = _TAG.match(part)
        assert match is not None  # every part is optional
        name, sign, value = (str(one) for one in match.groups())
        if not part.strip():
            continue
        name = name.lower()
        if sign == ":" and name in _ALL_TAGS:
            causes.append(f"{name}: has to be {name}=")
        elif sign != "=":
            if name.lower() in POLICIES and not value:  # the policy alone, its tag lost
                causes.append(f"the tag of {name} is missing")
                out.append(("p", name))
            elif "@" in part:
                causes.append(f"the tag of {part.strip()} is missing")
                out.append(("rua", part.strip()))
            continue
        if name == "v":
            if value.upper() != "DMARC1":
                causes.append(f"v={value} is not DMARC1")
            else:
                causes.append("v=DMARC1 stands only once, at the beginning")
            continue
        if name not in _ALL_TAGS:
            near = difflib.get_close_matches(name, ("policy", *(tag for tag in _ALL_TAGS if len(tag) > 2)), 1, 0.75)
            meant = {"policy": "p"}.get(near[0], near[0]) if near else name
            if meant != name and meant not in {tag for tag, _ in out}:
                causes.append(f"{name}= is no tag; {meant}= was meant")
                name = meant
        out.append((name, value))
    return out


def _nearest(value: str) -> str:
    """The policy a word is a slip of, or nothing."""
    word = re.sub(r"[^a-z]", "", value.lower())
    if word in POLICIES:
        return word
    if word in ("monitor", "monitoring", "no", "nothing", "non"):
        return "none"
    near = difflib.get_close_matches(word, POLICIES, 1, 0.7)
    return near[0] if near else ""


def _policy(tags: dict[str, list[str]], causes: list[str], loses: list[str]) -> tuple[str, tuple[str, ...]]:
    """The policy to publish and the others to choose from."""
    written = tags.get("p", [])
    meant = list(dict.fromkeys(found for value in written if (found := _nearest(value))))
    for value in written:
        near = _nearest(value)
        if value.lower() not in POLICIES:
            causes.append(f"p={value} is no policy" + (f"; {near} was meant" if near else ""))
    if not written:
        causes.append("the policy p is missing; receivers take none")
    if not meant:
        return "none", POLICIES[1:] if written else ()
    chosen = min(meant, key=POLICIES.index)
    if len(meant) > 1:
        loses += [f"p={other}" for other in meant if other != chosen]
        return chosen, tuple(other for other in meant if other != chosen)
    slip = any(value.lower() not in POLICIES for value in written)
    return chosen, tuple(other for other in POLICIES if other != chosen) if slip else ()


def _value(name: str, values: list[str], causes: list[str], loses: list[str]) -> str:
    """One value of a tag out of all that were written."""
    if name in ("rua", "ruf"):
        return _addresses(name, values, causes, loses)
    kept = []
    for value in values:
        good = value
        if name in ("sp", "np"):
            good = _nearest(value)
            if good and good != value.lower():
                causes.append(f"{name}={value} is no policy; {good} was meant")
        elif name in _VALUES:
            good = _VALUES[name].get(value.lower(), "")
            if good and good != value.lower():
                causes.append(f"{name}={value} has to be {name}={good}")
        if good:
            kept.append(value if value.lower() == good else good)
        else:
            causes.append(f"{name}={value} means nothing to a receiver")
            loses.append(f"{name}={value}")
    if not kept:
        return ""
    kept = list({one.lower(): one for one in kept}.values())
    if len(kept) > 1:
        order = {one: at for at, one in enumerate((*POLICIES, "r", "s", "n", "y"))}
        chosen = min(kept, key=lambda one: order.get(one.lower(), 0))
        causes.append(f"the tag {name} stands with different values")
        loses += [f"{name}={one}" for one in kept if one != chosen]
        return chosen
    return kept[0]


def _addresses(name: str, values: Iterable[str], causes: list[str], loses: list[str]) -> str:
    out: list[str] = []
    many = 0
    for written in values:
        many += 1
        joined = re.sub(r"\s*,\s*", ",", written.strip().strip("<>"))
        for one in re.split(r"[,\s]+(?=\S)", re.sub(r"(?i)mailto:\s+", "mailto:", joined)):
            part = one.strip().strip("<>,;")
            if not part:
                continue
            fixed = re.sub(r"(?i)^(?:mail\s*to|mailto)\s*[:=]?\s*(?://)?|^email:|^mail:", "mailto:", part)
            if not re.match(r"(?i)[a-z][a-z0-9+.-]*:", fixed) and "@" in fixed:
                fixed = f"mailto:{fixed}"
            fixed = re.sub(r"![0-9]+[kmgtKMGT]?$", lambda size: size.group(), fixed)
            fixed = fixed if fixed.isascii() else quote(fixed, safe=":@/?#[]!$&'()*+,;=%.-_~")
            if parse_uri(fixed) is None:
                causes.append(f"{part!r} is no address for reports")
                loses.append(f"{name}={part}")
                continue
            if fixed != part:
                causes.append(f"{name}: an address is written {fixed}")
            if fixed.lower() not in [known.lower() for known in out]:
                out.append(fixed)
    if many > 1:
        causes.append(f"the tag {name} stands more than once; its addresses go into one, with commas")
    return ",".join(out)
