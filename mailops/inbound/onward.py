"""Received mail is handed on to an application: a Python hook, a signed webhook, or a live Odoo.

::

    a decided mail ─▶ each target that wants its kind ─▶ taken
                        │ not now: again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h ─▶ given up, and told
                        │ refused: told at once, nothing is tried again
                        └ one that waits holds up nobody behind it

A target has a place in the gateway's log, and a short list of what waits. It moves after the receiver has answered, so
a process that dies between the two hands the same mail over again, under the same id: at least once.

Webhooks are as *Standard Webhooks* says: ``webhook-id``, ``webhook-timestamp``, ``webhook-signature`` (``v1,`` and the
HMAC-SHA256 over id, timestamp and body, by the secret behind ``whsec_``); 2xx is taken, 410 switches the target off.
Odoo's ``message_process`` answers the record's number, or false: then the mail was known there already, a report, or
refused, and Odoo does not say which.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http.client import HTTPConnection, HTTPException
from typing import Any, cast
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from ..errors import ConfigError, MailopsError, NotFound, StateConflict
from ..model.text import harmless
from ..ports import Clock, Secrets
from ..secrets import redact
from ..secrets.references import is_reference
from ..store import schema
from ..store.database import explained, reading
from ..store.setup import parameter, set_parameter
from .values import Kind

TARGETS = "mailops.inbound.targets"
STATES = "mailops.inbound.handed"
GROUP = "mailops.inbound"
"""The entry point group of hooks: ``def hook(mail: Handed) -> None``, which raises to have it again."""
RETRIES = tuple(timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000))
MOST_WAITING, BATCH, SECONDS = 1_000, 200, 15.0
DEFAULT_KINDS = (Kind.CREATE.value, Kind.REPLY.value, Kind.UPDATE.value, Kind.BOUNCE.value)
log, i, raws = schema.inbound_log, schema.intake, schema.intake_raw


class Outcome(StrEnum):
    """What a receiver made of a mail."""

    TAKEN = "taken"
    NOTHING = "nothing"  # Odoo's false: known there already, a report, or refused
    LATER = "later"
    REFUSED = "refused"
    OFF = "off"  # 410: it wants no more


@dataclass(frozen=True, slots=True)
class Target:
    """Where mail is handed on to. ``secret`` is a reference: the webhook's ``whsec_…``, or Odoo's password or API key.

    ``name``: the hook's entry point. ``model``: Odoo's model for mail that no alias takes there.
    """

    key: str
    kind: str
    url: str = ""
    secret: str = ""
    name: str = ""
    database: str = ""
    login: str = ""
    model: str = ""
    kinds: tuple[str, ...] = DEFAULT_KINDS
    off: bool = False


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail as it is handed on; ``id`` is the same however often it comes."""

    id: str
    at: datetime
    decision: str
    message_id: str
    sender: str | None
    recipients: tuple[str, ...]
    subject: str
    records: tuple[int, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did at one target."""

    target: str
    taken: int = 0
    nothing: int = 0
    refused: int = 0
    given_up: int = 0
    waiting: int = 0
    without_bytes: int = 0
    notes: tuple[str, ...] = ()


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` of *Standard Webhooks*.

    >>> signature("whsec_a2V5", "msg_1", 1700000000, b"{}")
    'v1,8MIk+Tb2mHVztCDVxPC6hLAjCyKBsdyHWXQJXBGFtQ4='
    """
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text, validate=True) if secret.startswith("whsec_") else text.encode()
    except ValueError:
        key = text.encode()
    mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


class Onward:
    """The targets, and handing mail on to them."""

    def __init__(
        self, engine: Engine, *, secrets: Secrets, clock: Clock, lock: Callable[[str], AbstractContextManager[bool]]
    ) -> None:
        self._engine, self._secrets, self._clock, self._lock = engine, secrets, clock, lock
        self._senders: dict[str, Callable[[Target, Handed], tuple[Outcome, str]]] = {
            "webhook": self._webhook,
            "odoo": self._odoo,
            "hook": self._hook,
        }

    def targets(self) -> tuple[Target, ...]:
        """All targets, by key."""
        rows = json.loads(parameter(self._engine, TARGETS) or "[]")
        return tuple(Target(**{**row, "kinds": tuple(row["kinds"])}) for row in rows)

    def save(self, target: Target) -> Target:
        """Add a target, or change it; a new one begins with the mail that comes from now on. Raises
        :class:`ConfigError` ``inbound.target``."""
        _check(target)
        with self._alone():
            return self._add(target)

    def _add(self, target: Target) -> Target:
        known = {one.key: one for one in self.targets()}
        if target.key not in known:
            with explained("beginning a target"), reading(self._engine) as connection:
                last = connection.execute(sa.select(sa.func.max(log.c.id))).scalar() or 0
            self._keep(target.key, {"place": int(last), "open": {}})
        self._save({**known, target.key: target})
        return target

    def remove(self, key: str) -> None:
        """Hand nothing on to it any more. Raises :class:`NotFound`."""
        known = {one.key: one for one in self.targets()}
        if key not in known:
            raise NotFound(
                f"There is no target {key!r}.", facts={"target": key}, fix="See: mailops inbound target list"
            )
        with self._alone():
            self._save({name: one for name, one in known.items() if name != key})
            self._keep(key, None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody hands mail on meanwhile. Raises :class:`StateConflict` ``state.handing_on``."""
        with self._lock("targets") as ours:
            if not ours:
                raise StateConflict(
                    "Mail is being handed on just now.",
                    code="state.handing_on",
                    facts={"targets": [one.key for one in self.targets()]},
                    fix="Try again in a moment.",
                )
            yield

    def waiting(self, key: str) -> int:
        """How many mails wait to be tried again at a target."""
        return len(self._state(key)["open"])

    def run(self) -> tuple[Done, ...]:
        """Hand on what has come since, and try again what is due. Nothing raises for what a receiver does."""
        targets = [target for target in self.targets() if not target.off]
        if not targets:
            return ()
        with self._lock("targets") as ours:  # else another run is at it
            return tuple(self._run(target) for target in targets) if ours else ()

    # --- one target ---------------------------------------------------------------------------------------------------

    def _run(self, target: Target) -> Done:
        state, done, notes = self._state(target.key), dict.fromkeys(Outcome, 0), list[str]()
        given_up = without = 0
        now = self._clock.now()
        due = [int(key) for key, (_, at) in state["open"].items() if datetime.fromisoformat(at) <= now]
        ended = False
        while not ended:
            new = self._after(target, state["place"]) if len(state["open"]) < MOST_WAITING else []
            ended = len(new) < BATCH
            for line in (*due, *new):
                state["place"] = max(state["place"], line)
                mail = self._mail(line)
                tries = state["open"].pop(str(line), (0, ""))[0]
                if mail is None:
                    without += 1
                else:
                    outcome, said = self._tried(target, mail)
                    done[outcome] += 1
                    if outcome is Outcome.LATER and tries < len(RETRIES):
                        state["open"][str(line)] = (tries + 1, (now + RETRIES[tries]).isoformat())
                    elif outcome is Outcome.LATER:
                        given_up += 1
                    if outcome in (Outcome.LATER, Outcome.REFUSED, Outcome.OFF):
                        notes.append(f"{mail.message_id}: {said}"[:300])
                    if outcome is Outcome.OFF:
                        self._save({one.key: one for one in (*self.targets(), replace(target, off=True))})
                        ended, new = True, []
                        break
                self._keep(target.key, state)  # after each: what was taken is not handed over twice
            due = []
        return Done(
            target.key,
            done[Outcome.TAKEN],
            done[Outcome.NOTHING],
            done[Outcome.REFUSED],
            given_up,
            len(state["open"]),
            without,
            tuple(notes[:50]),
        )

    def _after(self, target: Target, place: int) -> list[int]:
        """Lines behind this place that the target wants; only of mail that the intake took, whose bytes are kept."""
        query = sa.select(log.c.id).join(i, i.c.log_id == log.c.id)
        which = (log.c.id > place, log.c.decision.in_(target.kinds))
        with explained("looking for mail to hand on"), reading(self._engine) as connection:
            rows = connection.execute(query.where(*which).order_by(log.c.id).limit(BATCH))
            return [int(key) for key in rows.scalars()]

    def _mail(self, line: int) -> Handed | None:
        query = sa.select(log, raws.c.raw).join(i, i.c.log_id == log.c.id).join(raws, raws.c.intake_id == i.c.id)
        with explained("reading mail to hand on"), reading(self._engine) as connection:
            row = connection.execute(query.where(log.c.id == line)).first()
        if row is None:
            return None
        data = row.data or {}
        people = tuple(part.strip() for part in (row.recipients or "").split(",") if part.strip())
        records = tuple(int(key) for key in data.get("records") or ())
        return Handed(
            f"msg_{line}", row.at, row.decision, row.message_id or "", row.sender, people, data.get("subject") or "",
            records, bytes(row.raw),
        )  # fmt: skip

    def _tried(self, target: Target, mail: Handed) -> tuple[Outcome, str]:
        try:
            outcome, said = self._senders[target.kind](target, mail)
        except MailopsError as error:
            outcome, said = Outcome.LATER, error.message
        except (OSError, HTTPException, xmlrpc.client.Error, ValueError, OverflowError) as error:
            outcome, said = Outcome.LATER, f"{type(error).__name__}: {error}"
        return outcome, harmless(redact(said))

    # --- the receivers ------------------------------------------------------------------------------------------------

    def _webhook(self, target: Target, mail: Handed) -> tuple[Outcome, str]:
        import httpx

        stamp = int(self._clock.now().timestamp())
        data = {**asdict(mail), "at": mail.at.isoformat(), "raw": base64.b64encode(mail.raw).decode()}
        body = json.dumps({"type": "mail.received", "timestamp": mail.at.isoformat(), "data": data}).encode()
        head = {
            "content-type": "application/json",
            "webhook-id": mail.id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": signature(self._secrets.reveal(target.secret), mail.id, stamp, body),
        }
        try:
            answer = httpx.post(target.url, content=body, headers=head, timeout=SECONDS, follow_redirects=False)
        except httpx.HTTPError as error:
            return Outcome.LATER, f"{type(error).__name__}: {error}"
        if answer.is_success:
            return Outcome.TAKEN, ""
        said = f"HTTP {answer.status_code}"
        return (Outcome.OFF, f"{said}: it wants no more") if answer.status_code == 410 else (Outcome.LATER, said)

    def _odoo(self, target: Target, mail: Handed) -> tuple[Outcome, str]:
        secret = self._secrets.reveal(target.secret)
        base = target.url.rstrip("/")
        user = _proxy(f"{base}/xmlrpc/2/common").authenticate(target.database, target.login, secret, {})
        if not user:
            return Outcome.LATER, f"Odoo refused the sign-in of {target.login}"
        given = [target.model or False, xmlrpc.client.Binary(mail.raw)]
        models = _proxy(f"{base}/xmlrpc/2/object")
        try:
            found = models.execute_kw(target.database, user, secret, "mail.thread", "message_process", given)
        except xmlrpc.client.Fault as fault:
            last = next((line for line in reversed(str(fault.faultString).splitlines()) if line.strip()), "")
            routeless = "no possible route" in str(fault.faultString).lower()
            return Outcome.REFUSED if routeless else Outcome.LATER, f"Odoo: {last[:300]}"
        return (Outcome.TAKEN, "") if found else (Outcome.NOTHING, "")

    def _hook(self, target: Target, mail: Handed) -> tuple[Outcome, str]:
        from importlib.metadata import entry_points

        found = next(iter(entry_points(group=GROUP, name=target.name)), None)
        if found is None:
            return Outcome.LATER, f"no package offers the entry point {target.name} in the group {GROUP}"
        try:
            found.load()(mail)
        except Exception as error:  # a program of somebody else: whatever it raises, the mail is handed on again
            return Outcome.LATER, f"{type(error).__name__}: {error}"
        return Outcome.TAKEN, ""

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _save(self, targets: dict[str, Target]) -> None:
        rows = [asdict(targets[key]) for key in sorted(targets)]
        set_parameter(self._engine, TARGETS, json.dumps(rows) if rows else None)

    def _state(self, key: str) -> dict[str, Any]:
        states = json.loads(parameter(self._engine, STATES) or "{}")
        return cast("dict[str, Any]", states.get(key) or {"place": 0, "open": {}})

    def _keep(self, key: str, state: dict[str, Any] | None) -> None:
        states = json.loads(parameter(self._engine, STATES) or "{}")
        states.pop(key, None)
        if state is not None:
            states[key] = state
        set_parameter(self._engine, STATES, json.dumps(states) if states else None)


class _Transport(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> HTTPConnection:
        made = super().make_connection(host)
        made.timeout = SECONDS
        return made


class _SafeTransport(xmlrpc.client.SafeTransport):
    def make_connection(self, host: Any) -> Any:
        made = super().make_connection(host)
        made.timeout = SECONDS
        return made


def _proxy(url: str) -> Any:
    transport = _SafeTransport() if url.startswith("https:") else _Transport()
    return xmlrpc.client.ServerProxy(url, transport=transport)


def _check(target: Target) -> None:
    wrong = None
    place = urlsplit(target.url)
    loopback = place.hostname in ("127.0.0.1", "::1", "localhost")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,39}", target.key):
        wrong = f"A target cannot be called {target.key[:60]!r}."
    elif target.kind not in ("webhook", "odoo", "hook"):
        wrong = f"A target is a webhook, an odoo or a hook, not {target.kind[:40]!r}."
    elif set(target.kinds) - {kind.value for kind in Kind} or not target.kinds:
        wrong = (
            f"The gateway decides nothing called {', '.join(sorted(set(target.kinds) - set(Kind)))[:80] or 'nothing'}."
        )
    elif target.kind == "hook" and not target.name:
        wrong = "A hook needs the name of its entry point."
    elif target.kind != "hook" and (place.scheme not in ("http", "https") or not place.hostname):
        wrong = "The address is to be an http or https URL."
    elif target.kind != "hook" and place.scheme == "http" and not loopback:
        wrong = "Mail goes over https only, except to this machine."
    elif target.kind != "hook" and not is_reference(target.secret):
        wrong = "The secret is to be a reference, such as vault:NAME, env:NAME or file:PATH."
    elif target.kind == "odoo" and not (target.database and target.login):
        wrong = "An Odoo needs its database and a login."
    if wrong:
        raise ConfigError(
            wrong,
            code="inbound.target",
            facts={"target": target.key[:60], "kind": target.kind[:40]},
            fix="Give it as mailops inbound target add --help says.",
        )
