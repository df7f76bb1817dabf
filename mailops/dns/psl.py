"""The public suffix list, for the organizational domain of RFC 7489 and for grouping sending hosts.

The list is data of publicsuffix.org (MPL 2.0) and ages, so it is not copied into this package: it is read from the
``publicsuffixlist`` distribution, which carries a fresh copy with each release and downloads nothing. Without it the
RFC 7489 side of a report says that it was not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ..errors import MissingExtra


class PublicSuffixes:
    """Rules and the matching algorithm of publicsuffix.org/list (wildcards, exceptions, ``*`` as the default)."""

    def __init__(self, rules: Iterable[str], source: str = "given") -> None:
        self.source = source
        self._rules: set[str] = set()
        self._exceptions: set[str] = set()
        for rule in rules:
            text = rule.strip().lower()
            if not text or text.startswith("//"):
                continue
            text = text.split()[0]
            if not text.isascii():
                text = _ascii(text)
            if text.startswith("!"):
                self._exceptions.add(text[1:])
            else:
                self._rules.add(text)

    def suffix(self, domain: str) -> str:
        """The public suffix of a normalised domain."""
        labels = domain.split(".")
        for start in range(len(labels)):
            name = ".".join(labels[start:])
            if name in self._exceptions:
                return ".".join(labels[start + 1 :])
            if name in self._rules or ".".join(["*", *labels[start + 1 :]]) in self._rules:
                return name
        return labels[-1]

    def names(self, label: str) -> bool:
        """Whether a rule names this label as a top-level domain; of an empty list, none does."""
        return label in self._rules

    def organizational(self, domain: str) -> str:
        """The organizational domain (RFC 7489 section 3.2): the suffix and one label; a suffix is its own."""
        suffix = self.suffix(domain)
        if domain == suffix:
            return domain
        left = domain[: -len(suffix) - 1]
        return f"{left.rpartition('.')[2]}.{suffix}"


def likely_zone(domain: str) -> str:
    """The zone a name most likely is in, where DNS does not say so: its organizational domain; without the list the
    name itself."""
    try:
        return installed().organizational(domain)
    except MissingExtra:
        return domain


def _ascii(rule: str) -> str:
    import idna

    mark = "!" if rule.startswith("!") else ""
    out = []
    for label in rule.removeprefix("!").split("."):
        out.append(label if label.isascii() else idna.alabel(label).decode("ascii"))
    return mark + ".".join(out)


@lru_cache(maxsize=1)
def installed() -> PublicSuffixes:
    """The list of the installed ``publicsuffixlist``; raises :class:`mailops.errors.MissingExtra` without it."""
    from importlib import metadata, resources

    try:
        text = resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as problem:
        raise MissingExtra(
            "the public suffix list is not installed",
            code="extra.publicsuffixlist",
            fix="pip install publicsuffixlist",
        ) from problem
    return PublicSuffixes(text.splitlines(), f"publicsuffixlist {metadata.version('publicsuffixlist')}")
