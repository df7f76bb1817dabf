"""Pseudonyms for what a bundle names: one for each value, of its length, and back again for who keeps the table.

An address is cut into *atoms* (runs of letters and digits); each atom has one stand-in wherever it comes, so that the
same domain, the same person and the same bounce tag are known again, and dots, plus signs and lengths stay:
``ann.lee+x@acme.example`` → ``bod.sul+k@wemi.example``. The public suffix of a domain stays, so that what a receiver
makes of it stays too. What no atom is made of (tokens, secrets) is replaced as a whole, letter by letter of its kind.

A stand-in is no atom of anybody real, as far as they are known before the first is made (:meth:`Names.learn`). The
table is the key: it stays with the customer (:mod:`.keeping`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from ..dns.psl import PublicSuffixes, installed
from ..errors import MissingExtra

ATOM = re.compile(r"[^\W_]{1,253}")
VOWELS, CONSONANTS, DIGITS = "aeiou", "bdfgklmnprstvwz", "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
HOSTS = frozenset(
    [
        "mail",
        "smtp",
        "smtps",
        "imap",
        "pop",
        "pop3",
        "mx",
        "mta",
        "relay",
        "www",
        "web",
        "ns",
        "dns",
        "autodiscover",
        "autoconfig",
        "spf",
        "dkim",
        "dmarc",
        "bounce",
        "bounces",
        "mx1",
        "mx2",
        "mx3",
        "mx4",
        "ns1",
        "ns2",
        "ns3",
        "ns4",
        "mail1",
        "mail2",
        "smtp1",
        "smtp2",
        "out",
        "in",
        "gw",
    ]
)
"""Names of hosts that tell what a host is for, and nothing of whose it is."""
SPECIAL = frozenset({"example", "test", "invalid", "localhost", "local", "internal", "lan", "arpa", "onion"})


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixes:
    try:
        return installed()
    except MissingExtra:
        return PublicSuffixes(())


@lru_cache(maxsize=20_000)
def is_suffix(label: str) -> bool:
    """Whether a label is a top-level domain that is in use, or one of RFC 2606 and its like."""
    return label in SPECIAL or _suffixes().names(_ascii(label))


def _ascii(label: str) -> str:
    try:
        return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
    except UnicodeError:
        return label


@lru_cache(maxsize=20_000)
def own_labels(domain: str) -> int:
    """How many labels of a domain are its holder's: all but the public suffix, at least one."""
    labels = domain.split(".")
    kept = _suffixes().suffix(domain).count(".") + 1
    return max(1, len(labels) - (kept if kept < len(labels) else 1))


def organisation(domain: str) -> str:
    """The part of a domain under which all is one holder's."""
    own = own_labels(domain)
    return ".".join(domain.split(".")[max(0, own - 1) :])


class Names:
    """The table of one workspace. ``known`` are stand-ins of earlier bundles (atom → stand-in)."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self.atoms: dict[str, str] = dict(known or {})
        self._taken = set(self.atoms.values())
        self._real: set[str] = set(self.atoms)
        self.addresses: dict[str, str] = {}
        self.domains: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.real: set[str] = set()
        self.organisations: set[str] = set()

    def learn(self, address: str) -> None:
        """A real address: no stand-in is made of its atoms, and its domain is known wherever it stands alone."""
        spec = address.lower()
        if spec in self.real:
            return
        self.real.add(spec)
        self._real.update(ATOM.findall(spec))
        domain = spec.rpartition("@")[2]
        if "." in domain and not domain.startswith("["):
            self.organisations.add(organisation(domain))

    # --- one value ----------------------------------------------------------------------------------------------------

    def local(self, local: str) -> str:
        """The stand-in of a local part."""
        return ATOM.sub(lambda found: self._atom(found[0]), local)

    def domain(self, domain: str) -> str:
        """The stand-in of a domain, or of a host below one: labels that tell a use (``mail``, ``_dmarc``) stay."""
        if domain.startswith("["):
            return ATOM.sub(lambda found: self._atom(found[0]), domain)
        labels = domain.split(".")
        own = own_labels(domain.lower())
        for count in range(2, own):  # acme.example._report._dmarc.other.example (RFC 7489 §7.1)
            if organisation(".".join(labels[:count]).lower()) in self.organisations and is_suffix(
                labels[count - 1].lower()
            ):
                return f"{self.domain('.'.join(labels[:count]))}.{self.domain('.'.join(labels[count:]))}"
        made = [
            label if number >= own or (number < own - 1 and self._tells(labels, number)) else self.label(label)
            for number, label in enumerate(labels)
        ]
        done = ".".join(made)
        self.domains[domain.lower()] = done.lower()
        return done

    @staticmethod
    def _tells(labels: list[str], number: int) -> bool:
        label = labels[number].lower()
        return label in HOSTS or label.startswith("_") or labels[number + 1].lower() == "_domainkey"

    def label(self, label: str) -> str:
        """The stand-in of one label; an A-label's is that of its letters (RFC 5891), of the same length."""
        if not label.lower().startswith("xn--"):
            return ATOM.sub(lambda found: self._atom(found[0]), label)
        try:
            letters = label.lower()[4:].encode("ascii").decode("punycode")
        except (UnicodeError, ValueError):
            return "xn--" + ATOM.sub(lambda found: self._atom(found[0]), label[4:])
        return "xn--" + self.label(letters).encode("punycode").decode("ascii")

    def token(self, token: str) -> str:
        """The stand-in of a token or secret: each letter and digit another of its kind."""
        if token not in self.tokens:
            for _ in range(50):
                made = "".join(map(_same_kind, token))
                if made != token:
                    break
            self.tokens[token] = made
        return self.tokens[token]

    def _atom(self, atom: str) -> str:
        low = atom.lower()
        if len(low) != len(atom):  # a letter whose small form is longer
            low = atom
        if low not in self.atoms:
            made = self._fresh(low)
            self.atoms[low] = made
            self._taken.add(made)
            self._real.add(low)
        return "".join(
            new.upper() if old.isupper() and len(new.upper()) == 1 else new
            for old, new in zip(atom, self.atoms[low], strict=True)
        )

    def _fresh(self, atom: str) -> str:
        ways: Iterable[tuple[int, Callable[[str], str]]] = ((60, _spoken), (400, _letters), (2_000, _anything))
        if not atom.isascii():
            ways = ((300, _letters),)
        last = ""
        for tries, way in ways:
            for _ in range(tries):
                made = way(atom)
                if made == atom or made in self._taken or made in HOSTS or is_suffix(made):
                    continue
                last = made
                if made not in self._real and _wide(made) == _wide(atom):
                    return made
        return last or _anything(atom)

    # --- and back -----------------------------------------------------------------------------------------------------

    @property
    def issued(self) -> frozenset[str]:
        """Every stand-in of an address, a domain and a token."""
        return frozenset((*self.addresses.values(), *self.domains.values(), *self.tokens.values()))


def _wide(atom: str) -> int:
    """The length of an atom in an A-label."""
    return len(atom) if atom.isascii() else len(atom.encode("punycode"))


def _spoken(atom: str) -> str:
    """Consonant, vowel, consonant …; digits stay digits."""
    kinds = (CONSONANTS, VOWELS)
    return "".join(
        secrets.choice(DIGITS) if letter.isdigit() else secrets.choice(kinds[number % 2])
        for number, letter in enumerate(atom)
    )


def _letters(atom: str) -> str:
    return "".join(map(_same_kind, atom)).lower()


def _anything(atom: str) -> str:
    return "".join(secrets.choice(LETTERS + DIGITS) for _ in atom)


def _same_kind(letter: str) -> str:
    if letter in DIGITS:
        return secrets.choice(DIGITS)
    if letter.isascii():
        other = secrets.choice(LETTERS) if letter.isalpha() else letter
        return other.upper() if letter.isupper() else other
    near = chr(ord(letter) + secrets.randbelow(9) - 4)
    return near if near.isalpha() and near.lower() == near and not near.isascii() else letter
