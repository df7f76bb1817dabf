"""Takes a provider's webhook: verified, each event once, recorded as a report is, each in a commit of its own.

The proof of each provider is set as a system parameter, secrets as references: ``mailops.webhook.ses.topic``,
``mailops.webhook.sendgrid.key`` (public), ``mailops.webhook.mailgun.key``, ``mailops.webhook.mailjet.login`` and
``mailops.webhook.postmark.login`` (``user:password``). A provider without its parameter is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..bounces.correlate import Clues
from ..bounces.own import aware
from ..bounces.reading.classify import classify
from ..bounces.reading.report import Kind, OriginalMessage, RecipientResult, Report
from ..errors import ConfigError, NotFound
from ..ledger import Fact, note
from ..store import schema
from ..store.database import explained
from .elsewhere import from_api, known_as
from .events import Event, read_events
from .proofs import claim
from .verify import (
    PROOFS,
    FetchCertificate,
    fetch_certificate,
    refused,
    verify_basic,
    verify_mailgun,
    verify_sendgrid,
    verify_sns,
)

if TYPE_CHECKING:
    from ..ops import Ops

w = schema.webhook_events
PROOF = {provider: proof.parameter for provider, proof in PROOFS.items()}


@dataclass(frozen=True, slots=True)
class Received:
    """What one call brought: new events, repeated ones, and how many were tied to a delivery."""

    events: int = 0
    repeated: int = 0
    matched: int = 0


class Webhooks:
    """The provider webhooks of a workspace. ``fetch`` gets SNS certificates."""

    def __init__(self, ops: Ops, *, fetch: FetchCertificate = fetch_certificate) -> None:
        self._ops, self._fetch = ops, fetch
        self._certificates: dict[str, bytes] = {}

    def receive(self, provider: str, headers: Mapping[str, str], body: bytes) -> Received:
        """Verify and record. ``headers`` have lower-case names. Raises AuthError, InputRefused or StoreError; what was
        not recorded may be sent again."""
        self._verify(provider, headers, body)
        events = read_events(provider, body)
        new = repeated = matched = 0
        for event in events:
            with explained("recording a webhook"), self._ops.engine.begin() as connection:
                if not self._first_time(connection, provider, event):
                    repeated += 1
                    continue
                matched += self._record(connection, provider, event)
            new += 1
        return Received(new, repeated, matched)

    def take_mailjet(self, items: Iterable[Mapping[str, Any]]) -> Received:
        """Record Mailjet's events that came by another road (:mod:`.elsewhere`); what the webhook has told is known."""
        new = repeated = matched = 0
        for item in items:
            for event in read_events("mailjet", json.dumps(item).encode()):
                with explained("recording events"), self._ops.engine.begin() as connection:
                    known = self._known(connection, known_as(item))
                    if known or not self._first_time(connection, "mailjet", event):
                        repeated += 1
                        continue
                    matched += self._record(connection, "mailjet", event)
                new += 1
        return Received(new, repeated, matched)

    def ask_mailjet(self, server: str = "", since: str = "7d", *, base: str = "") -> Received:
        """Ask Mailjet's API what became of the mail sent since then, with the key pair of an outgoing server: the one
        named, else the one that is Mailjet's. Raises :class:`NotFound` and :class:`AuthError`."""
        from ..providers.mailjet import BASE, MailjetApi
        from ..providers.rules import provider_of_host

        named = [one for one in self._ops.setup.servers if one.key == server or not server]
        ours = [one for one in named if server or getattr(provider_of_host(one.host), "id", "") == "mailjet"]
        found = next((one for one in ours if one.login and one.password), None)
        if found is None or not found.login or not found.password:
            raise NotFound(
                "There is no outgoing server with Mailjet's key pair.",
                code="server.not_found",
                facts={"server": server, "known": [one.key for one in self._ops.setup.servers]},
                fix="Name one with --server: its login is the API key, its password the secret key.",
            )
        now, start = self._ops.clock.now(), self._ops.analysis.period(since).start
        with MailjetApi(found.login, self._ops.secrets.get(found.password), base=base or BASE) as api:
            return self.take_mailjet(from_api(api, start or now - timedelta(days=7), now))

    def _known(self, connection: Connection, beginnings: Sequence[str]) -> bool:
        fits = [w.c.event_id.startswith(beginning, autoescape=True) for beginning in beginnings]
        query = sa.select(w.c.event_id).where(w.c.provider == "mailjet", sa.or_(sa.false(), *fits)).limit(1)
        return connection.execute(query).first() is not None

    def _verify(self, provider: str, headers: Mapping[str, str], body: bytes) -> None:
        if provider not in PROOF:
            raise refused(provider[:40], "this provider is not known")
        proof, now = self._proof(provider), self._ops.clock.now()
        if provider == "mailgun":
            claim(self._ops.engine, provider, *verify_mailgun(body, proof, now=now), now=now)
        elif provider == "sendgrid":
            verify_sendgrid(headers, body, proof, now=now)
        elif provider == "ses":
            fields = verify_sns(body, proof, self._certificate, now=now)
            if fields["Type"] == "SubscriptionConfirmation":
                self._note_subscription(fields)
        else:
            verify_basic(provider, headers, proof)

    def _proof(self, provider: str) -> str:
        from ..secrets import is_reference

        name = f"mailops.webhook.{provider}.{PROOF[provider]}"
        value = self._ops.setup.parameters.get(name, "").strip()
        if not value:
            raise refused(provider, f"the parameter {name} is not set")
        if is_reference(value):
            return self._ops.secrets.reveal(value)
        if PROOF[provider] == "login" or provider == "mailgun":
            raise ConfigError(
                "A webhook's secret must be a reference.",
                code="config.webhook_secret",
                facts={"parameter": name},
                fix="Store it in the vault (mailops secrets) and set the parameter to vault:NAME.",
            )
        return value

    def _certificate(self, url: str) -> bytes:
        if url not in self._certificates:
            if len(self._certificates) >= 20:
                self._certificates.clear()
            self._certificates[url] = self._fetch(url)
        return self._certificates[url]

    def _note_subscription(self, fields: Mapping[str, Any]) -> None:
        """SNS wants the address confirmed: a person opens the link; nothing is fetched on a message's word."""
        data = {"topic": str(fields["TopicArn"]), "open_to_confirm": str(fields["SubscribeURL"])[:2000]}
        with explained("recording a webhook"), self._ops.engine.begin() as connection:
            note(connection, Fact("webhook_subscription", self._ops.clock.now(), actor="ses", data=data))

    def _first_time(self, connection: Connection, provider: str, event: Event) -> bool:
        from ..store.database import dialect_insert

        insert = dialect_insert(self._ops.engine)(w).values(
            provider=provider, event_id=event.event_id[: schema.EVENT_KEY], at=self._ops.clock.now(), kind=event.kind
        )
        # by what comes back, not by rowcount, which psycopg does not give for an insert
        return connection.execute(insert.on_conflict_do_nothing().returning(w.c.event_id)).first() is not None

    def _record(self, connection: Connection, provider: str, event: Event) -> int:
        result = RecipientResult(
            recipient=event.address[:320],
            reason=event.reason,
            hard=event.hard,
            status=event.status,
            diagnostic=event.text,
            rule=f"webhook {provider}",
        )
        if event.kind == "bounce":
            words = classify(text=event.text, enhanced=event.status).matched_text
            result = aware(result, words, self._ops.bounces.names(connection))
        report = Report(
            kind=cast(Kind, event.kind),
            results=(result,),
            feedback_type=event.feedback,
            original=OriginalMessage(message_id=event.message_id),
            rule=f"webhook {provider}",
        )
        found = Clues((("message-id", event.message_id),) if event.message_id else ())
        raw = json.dumps({"provider": provider, **asdict(event)}, ensure_ascii=False).encode()
        return self._ops.bounces.enter(connection, report, found, raw=raw, source=provider).matched
