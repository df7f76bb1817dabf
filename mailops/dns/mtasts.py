"""MTA-STS (RFC 8461): the record, the policy behind HTTPS, and whether the policy covers the real MX hosts.

The policy is fetched from the address our resolver gives for ``mta-sts.DOMAIN``, with the certificate verified for that
name. Redirects are not followed (section 3.3), the answer is bounded, and a policy that cannot be fetched is unknown.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from dataclasses import dataclass, field

from ..model.verdict import VerdictState as S
from .domain_model import CheckResult, verdict
from .names import normalise
from .resolver import Asker
from .tag_records import pairs, read_tag_record

MAX_POLICY = 64 * 1024
MAX_AGE = 31_557_600
SHORT_AGE = 86_400  # under a day a policy protects nobody
GOOD_AGE = 604_800


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy file. ``mode`` is ``enforce``, ``testing`` or ``none``; ``max_age`` in seconds."""

    mode: str
    max_age: int
    mx: tuple[str, ...]
    mistakes: tuple[str, ...] = ()

    def covers(self, host: str) -> bool:
        """Whether an MX host is named: literally, or by ``*.`` standing for exactly one label (section 4.1)."""
        host = host.lower().rstrip(".")
        rest = host.partition(".")[2]
        return any(one == host or (one.startswith("*.") and one[2:] == rest) for one in self.mx)


@dataclass(frozen=True, slots=True)
class PolicyFetcher:
    """Fetches the policy. ``port`` and ``ca_file`` are for loopback tests; the defaults are the real ones."""

    port: int = 443
    ca_file: str | None = None
    timeout: float = 10.0

    def fetch(self, address: str, host: str) -> tuple[int, bytes]:
        """``(HTTP status, body)``; raises OSError (ssl.SSLError included) or http.client.HTTPException."""
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = _Connection(host, address, self.port, context, self.timeout)
        try:
            connection.request("GET", "/.well-known/mta-sts.txt", headers={"Host": host, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(MAX_POLICY + 1)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Remembered(PolicyFetcher):
    """A fetcher that keeps what it got, so that a proof does not fetch again."""

    kept: dict[tuple[str, str], tuple[int, bytes] | Exception] = field(default_factory=dict)

    def fetch(self, address: str, host: str) -> tuple[int, bytes]:
        """The first answer again."""
        if (address, host) not in self.kept:
            try:
                self.kept[address, host] = PolicyFetcher.fetch(self, address, host)
            except (OSError, http.client.HTTPException) as problem:
                self.kept[address, host] = problem
        held = self.kept[address, host]
        if isinstance(held, Exception):
            raise held
        return held


def remembered(fetcher: PolicyFetcher) -> PolicyFetcher:
    """The same fetcher, with a memory."""
    if isinstance(fetcher, _Remembered):
        return fetcher
    return _Remembered(fetcher.port, fetcher.ca_file, fetcher.timeout)


class _Connection(http.client.HTTPSConnection):
    """HTTPS to a given address under a given name."""

    def __init__(self, host: str, address: str, port: int, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._where, self._context_used = (address, port), context

    def connect(self) -> None:
        plain = socket.create_connection(self._where, self.timeout)
        try:
            self.sock = self._context_used.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def parse_policy(body: bytes) -> StsPolicy:
    """Read a policy file (section 3.2); mistakes are part of the result."""
    values: dict[str, str] = {}
    hosts: list[str] = []
    mistakes: list[str] = []
    for line in body.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not line.strip():
            continue
        if not colon:
            mistakes.append(f"{line.strip()[:40]!r} is no key and value")
        elif key == "mx":
            hosts.append(value.lower().rstrip("."))
        else:
            values.setdefault(key, value)
    if values.get("version") != "STSv1":
        mistakes.append("version is not STSv1")
    mode = values.get("mode", "")
    if mode not in ("enforce", "testing", "none"):
        mistakes.append(f"mode {mode!r} is none of enforce, testing, none")
    age = values.get("max_age", "")
    number = int(age) if age.isascii() and age.isdigit() and len(age) <= 10 else -1
    if not 0 <= number <= MAX_AGE:
        mistakes.append(f"max_age {age[:20]!r} is not between 0 and {MAX_AGE}")
    if not hosts and mode != "none":
        mistakes.append("no mx is named")
    return StsPolicy(mode, number, tuple(hosts), tuple(mistakes))


async def check_mtasts(resolver: Asker, domain: str, fetcher: PolicyFetcher | None = None) -> list[CheckResult]:
    """Record, policy and coverage. Without ``fetcher`` the policy is not fetched and the check says so."""
    domain = normalise(domain)
    name = f"_mta-sts.{domain}"
    missing = "no MTA-STS record: a man in the middle can keep mail to you from being encrypted"
    early, text, answer = await read_tag_record(resolver, "mtasts", name, "STSv1", missing)
    if early is not None:
        return [early]
    evidence: dict[str, object] = {"answer": answer.as_dict()}
    ident = pairs(text).get("id", "")
    if not (ident.isascii() and ident.isalnum() and len(ident) <= 32):
        title = f"id={ident!r} has to be 1 to 32 letters and digits"
        return [verdict("mtasts", name, S.FAILED, "mtasts.bad_id", title, found=text, evidence=evidence)]
    if fetcher is None:
        title = "the record is there; the policy file was not fetched"
        return [verdict("mtasts", name, S.UNKNOWN, "mtasts.not_fetched", title, found=text, evidence=evidence)]
    host = f"mta-sts.{domain}"
    four, six = await asyncio.gather(resolver.ask(host, "A"), resolver.ask(host, "AAAA"))
    addresses = [*(four.names if four.found else ()), *(six.names if six.found else ())]
    if not addresses:
        state = S.UNKNOWN if four.unknown or six.unknown else S.FAILED
        return [
            verdict(
                "mtasts",
                name,
                state,
                "mtasts.no_host",
                f"{host} has no address ({four.status})",
                evidence=evidence,
            )
        ]
    try:
        status, body = await asyncio.to_thread(_fetch_any, fetcher, addresses, host)
    except ssl.SSLCertVerificationError as problem:
        title = f"the certificate of {host} is not valid for it: {problem.verify_message}"
        return [verdict("mtasts", name, S.FAILED, "mtasts.certificate", title, evidence=evidence)]
    except (OSError, http.client.HTTPException) as problem:
        title = f"the policy could not be fetched: {problem}"
        return [verdict("mtasts", name, S.UNKNOWN, "mtasts.unreachable", title, evidence=evidence)]
    if status != 200 or len(body) > MAX_POLICY:
        title = f"https://{host}/.well-known/mta-sts.txt answers {status}; senders take only 200"
        return [verdict("mtasts", name, S.FAILED, "mtasts.bad_status", title, evidence=evidence)]
    return await _judge(resolver, domain, name, parse_policy(body), evidence)


def _fetch_any(fetcher: PolicyFetcher, addresses: list[str], host: str) -> tuple[int, bytes]:
    """From the first address that answers; the last problem is raised when none does."""
    for address in addresses[:-1]:
        try:
            return fetcher.fetch(address, host)
        except (OSError, http.client.HTTPException):
            continue
    return fetcher.fetch(addresses[-1], host)


async def _judge(
    resolver: Asker, domain: str, name: str, policy: StsPolicy, evidence: dict[str, object]
) -> list[CheckResult]:
    if policy.mistakes:
        title = f"the policy file is not valid: {'; '.join(policy.mistakes)}"
        return [verdict("mtasts", name, S.FAILED, "mtasts.bad_policy", title, evidence=evidence)]
    answer = await resolver.ask(domain, "MX")
    outside = [host for _, host in answer.exchanges if host and not policy.covers(host)] if answer.found else []
    if outside and policy.mode != "none":
        title = f"the policy does not name {', '.join(outside)}"
        title += ": senders will not deliver there" if policy.mode == "enforce" else ""
        fix = "Add to the policy file: " + ", ".join(f"mx: {host}" for host in outside) + "; then change id="
        state = S.FAILED if policy.mode == "enforce" else S.WARNING
        return [verdict("mtasts", name, state, "mtasts.mx_not_covered", title, fix=fix, evidence=evidence)]
    if policy.mode != "none" and policy.max_age < SHORT_AGE:
        title = f"max_age {policy.max_age} s: senders forget the policy at once; RFC 8461 section 3.2 wants weeks"
        fix = f"Write max_age: {GOOD_AGE} into the policy file, then change id=."
        return [verdict("mtasts", name, S.WARNING, "mtasts.short_age", title, fix=fix, evidence=evidence)]
    state = S.PASSED if policy.mode == "enforce" else S.WARNING
    title = f"mode {policy.mode}; all mail servers are named"
    return [verdict("mtasts", name, state, f"mtasts.{policy.mode}", title, evidence=evidence)]
