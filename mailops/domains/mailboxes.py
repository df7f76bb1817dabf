"""Whose mailboxes a recipient domain's are, by its MX: what refuses mail is the provider, not the domain.

Answers are kept for a week in the workspace's ``mx.json`` (domains and host names, nothing of people). The domains most
mailed are asked about first, at most :data:`MOST` in one go, so that a page never waits for ten thousand names; the
rest says so of itself and is asked about the next time.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from ..dns.answer import Answer
from ..dns.psl import installed
from ..errors import MissingExtra
from ..platforms import new_file

FILE = "mx.json"
MOST = 500
KEPT = timedelta(days=7)
NOBODY, UNKNOWN, LATER = "(takes no mail)", "(DNS gave no answer)", "(not asked yet)"


@lru_cache(maxsize=1)
def _named() -> tuple[tuple[str, str], ...]:
    """(end of a host, name), the longest first, so that the closest one counts."""
    data = tomllib.loads((files("mailops.providers") / "mailboxes.toml").read_text("utf-8"))
    return tuple(sorted(((end, name) for name, ends in data.items() for end in ends), key=lambda one: -len(one[0])))


def provider_of(host: str) -> str:
    """The provider of a mail exchanger: by name where it is known, else its registered domain.

    >>> provider_of("aspmx.l.google.com"), provider_of("acme-de.mail.protection.outlook.com"), provider_of("")
    ('Google', 'Microsoft 365', '(takes no mail)')
    """
    host = host.rstrip(".").lower()
    if not host:
        return NOBODY
    for end, name in _named():
        if host == end or host.endswith(f".{end}"):
            return name
    with suppress(MissingExtra):
        return installed().organizational(host) or host
    return ".".join(host.split(".")[-2:])


def exchanger(answer: Answer, domain: str) -> str | None:
    """The first mail exchanger of an answer ("" for a null MX, RFC 7505); the domain itself where it has none (RFC
    5321 section 5.1); None where nothing is known."""
    if answer.unknown:
        return None
    hosts = [host.rstrip(".") for _, host in answer.exchanges] if answer.found else []
    return hosts[0] if hosts else domain


class Mailboxes:
    """The providers of domains, remembered. ``ask`` puts MX questions, all at once."""

    def __init__(
        self, folder: Path, now: Callable[[], datetime], ask: Callable[[Sequence[str]], Mapping[str, Answer]]
    ) -> None:
        self._file, self._now, self._ask = folder / FILE, now, ask

    def of(self, domains: Sequence[str]) -> dict[str, str]:
        """domain → provider, for domains in the order of their weight."""
        kept, now = self._read(), self._now()
        fresh = {d: host for d, (host, at) in kept.items() if now - KEPT < at <= now}
        wanted = [d for d in domains if d and d not in fresh][:MOST]
        found = {d: exchanger(answer, d) for d, answer in self._ask(wanted).items()} if wanted else {}
        if learnt := {d: host for d, host in found.items() if host is not None}:
            still = {d: one for d, one in kept.items() if d in fresh}
            self._write(still | {d: (host, now) for d, host in learnt.items()})
        known = fresh | learnt
        return {d: provider_of(known[d]) if d in known else UNKNOWN if d in found else LATER for d in domains}

    def _read(self) -> dict[str, tuple[str, datetime]]:
        try:
            said = json.loads(self._file.read_text("utf-8"))
            return {str(d): (str(host), datetime.fromisoformat(at)) for d, (host, at) in said.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # what cannot be read is asked anew

    def _write(self, kept: Mapping[str, tuple[str, datetime]]) -> None:
        with suppress(OSError), new_file(self._file, encoding="utf-8") as file:
            json.dump({d: (host, at.isoformat()) for d, (host, at) in sorted(kept.items())}, file)
