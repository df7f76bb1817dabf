"""Gateway cases: configuration + raw message → decision, created records, notices, counters.

The case's configuration becomes a :class:`CaseView`; the raw message is built byte by byte and goes through the
product's own reading and deciding. A report is then received by a real workspace in which the case's mails were sent
(:mod:`.gateway_store`), and counters and notifications are what stands in its tables. ``blacklisted`` is the rule of
the suppression list for bounces that are not told hard from soft, as the case files keep them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mailops.bounces import Ours as Names
from mailops.bounces import Report
from mailops.bounces import parse as read
from mailops.bounces.addressed import Heading, Ours
from mailops.bounces.correlate import clues
from mailops.errors import ConfigError
from mailops.inbound.decide import route_inbound
from mailops.inbound.loops import is_marked, limits
from mailops.inbound.parse import parse
from mailops.inbound.values import (
    CompanyFacts,
    ContactFacts,
    Decision,
    InboundMail,
    Kind,
    LoopLimits,
    MessageFacts,
    ModelFacts,
    RecordFacts,
    SentFacts,
)
from mailops.model.address import parse_first
from mailops.model.alias import Alias, Key, Policy
from mailops.model.setup import AliasDomain
from mailops.suppression.decide import Trace, weigh
from mailops.testing.suites.gateway_store import After, received
from mailops.threads.alias_names import allowed_domains

Case = dict[str, Any]
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WORDS = {
    Kind.DUPLICATE: "duplicate",
    Kind.LOOP_REPLY: "drop_loop_reply",
    Kind.BOUNCE: "bounce_registered",
    Kind.REPLY: "reply",
    Kind.CREATE: "create",
    Kind.UPDATE: "update",
    Kind.FORWARDED: "forward",
    Kind.REFUSED: "bounce",
    Kind.LOOP_BLOCKED: "drop_loop",
    Kind.NO_ROUTE: "reject_no_route",
}


def gateway(document: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """One prediction a case, through the product's own gateway."""
    for case in document["cases"]:
        try:
            yield {"id": case["id"], **predict(case)}
        except Exception as error:
            yield {"id": case["id"], "error": f"{type(error).__name__}: {error}"}


def predict(case: Case) -> dict[str, Any]:
    """The prediction for one case, with all fields a case may expect."""
    view = CaseView(case["config"])
    raw = raw_message(case["inbound"])
    mail = parse(raw, view.read)
    decision = route_inbound(mail, view)
    after = received(case["config"], raw, now=NOW) if decision.kind is Kind.BOUNCE else None
    return _fields(decision, raw, view, after)


def raw_message(inbound: Case) -> bytes:
    """The bytes of a case's message."""
    head = [f"{name}: {value}" for name, value in inbound["headers"].items()]
    report = inbound.get("dsn")
    if report is None:
        return "\r\n".join([*head, "", inbound.get("body") or "", ""]).encode()
    status = ["Reporting-MTA: dns; mx.case.test", ""]
    if report.get("final_recipient") is not None:
        status.append(f"Final-Recipient: rfc822; {report['final_recipient']}")
    status += [f"Action: {report['action']}", f"Status: {report['status']}", f"Diagnostic-Code: {report['diagnostic']}"]
    parts = [("text/plain", [report["explanation"]]), ("message/delivery-status", status)]
    if report.get("original_part"):
        original = [f"{n}: {v}" for n, v in (report.get("original_headers") or {}).items()]
        parts.append((report["original_part"], [*original, "", "Original text."]))
    lines = [*head, "MIME-Version: 1.0", f'Content-Type: {report["content_type"]}; boundary="case-boundary"', ""]
    for kind, body in parts:
        lines += ["--case-boundary", f"Content-Type: {kind}", "", *body, ""]
    return "\r\n".join([*lines, "--case-boundary--", ""]).encode()


class CaseView:
    """A case's configuration as the facts a decision asks for."""

    def __init__(self, config: Case) -> None:
        self.config = config
        self.domains = tuple(AliasDomain(**d) for d in config.get("alias_domains") or [])
        self.company = CompanyFacts("", config.get("company_email"), self.domains[0] if self.domains else None)
        parameters = {k: str(v) for k, v in (config.get("params") or {}).items() if v is not None}
        self.allowed_domains = allowed_domains(parameters.get("mail.catchall.domain.allowed"), self.domains)
        self.limits = _limits(parameters)
        self.fallback_model: str | None = config.get("fallback_model")
        self.now = NOW
        self.allowed_senders = frozenset(_address(a) for a in config.get("allowed_senders") or [])
        self.aliases = tuple(sorted((_alias(a) for a in config.get("aliases") or []), key=lambda a: a.local))
        self._models = {
            m["name"]: ModelFacts(m["name"], bool(m["accepts_mail"]), bool(m.get("bounce_counter")))
            for m in config.get("models") or []
        }
        self._threads = {t["key"]: t for t in config.get("threads") or []}
        self._messages = {m["message_id"]: self._message(n, m) for n, m in enumerate(config.get("messages") or [])}
        self._partners = tuple(
            ContactFacts(p["key"], _address(p.get("email")), bool(p.get("user")), p.get("bounces") or 0)
            for p in config.get("partners") or []
            if p.get("active", True)
        )

    def _message(self, order: int, message: Case) -> MessageFacts:
        thread = self._threads.get(message.get("thread"))
        return MessageFacts(
            message["message_id"],
            order,
            message.get("thread"),
            thread["model"] if thread else message.get("model"),
            message.get("author"),
            bool(message.get("internal")),
            bool(message.get("force_new")),
            tuple(message.get("notified") or ()),
        )

    def handled(self, mail: InboundMail) -> bool:
        return any(i in self._messages for i in (mail.message_id, *mail.other_ids))

    def company_at(self, domain: str) -> CompanyFacts:
        return self.company

    def sent(self, message_id: str) -> SentFacts | None:
        return None  # the cases know messages of threads alone

    def message(self, message_id: str) -> MessageFacts | None:
        return self._messages.get(message_id)

    def model(self, name: str) -> ModelFacts | None:
        return self._models.get(name)

    def record(self, key: Key) -> RecordFacts | None:
        thread = self._threads.get(key)
        return RecordFacts(key, thread["model"], frozenset(thread.get("followers") or ())) if thread else None

    def contacts(self, address: str) -> tuple[ContactFacts, ...]:
        return tuple(p for p in self._partners if p.email == address)

    def contact(self, key: Key) -> ContactFacts | None:
        return next((p for p in self._partners if p.key == key), None)

    def created_by(self, sender: str, since: datetime) -> int:
        return sum(
            int(p["count"])
            for p in self.config.get("prior_records") or []
            if _address(p["sender"]) == sender and self.now - timedelta(minutes=p["minutes_ago"]) >= since
        )

    def read(self, raw: bytes) -> Report:
        """The reader with the names of the case, as the product's gateway has those of its workspace."""
        bounces = [d.bounce_address for d in self.domains if d.bounce_address]
        return read(raw, ours=Names.of({"domains": [d.name for d in self.domains], "bounce_addresses": bounces}))

    def alike(self, domain: str, likeness: str, since: datetime) -> int:
        return 0  # the cases know no text of earlier mails

    def automatic_on(self, record: Key, since: datetime) -> int:
        return 0  # as above

    def ours(self, heading: Heading) -> Ours:
        bounces = frozenset(d.bounce_address.lower() for d in self.domains if d.bounce_address)
        sent_from = frozenset(d.notification_address.lower() for d in self.domains if d.notification_address)
        return Ours(bounces, sent_from & set(heading.to) if heading.null_path else frozenset())

    def campaigns(self, address: str, message_ids: Collection[str]) -> list[datetime]:
        """When campaign mails to this address bounced, the one among ``message_ids`` as of now."""
        earlier = [
            self.now - timedelta(days=b["days_ago"])
            for b in self.config.get("prior_bounces") or []
            if _address(b["email"]) == address
        ]
        traced = [
            self.now
            for m in self.config.get("messages") or []
            if m["message_id"] in message_ids and _address(m.get("mass_mailing_trace")) == address
        ]
        return earlier + traced

    def counters(self) -> list[Key]:
        """Keys of the records that have a bounce counter."""
        return [k for k, t in self._threads.items() if (m := self._models.get(t["model"])) and m.bounce_counter]

    @property
    def partners(self) -> tuple[ContactFacts, ...]:
        return self._partners

    def thread_address(self, key: Key) -> str:
        return _address(self._threads[key].get("email"))

    def thread_bounces(self, key: Key) -> int:
        return int(self._threads[key].get("bounces") or 0)


def _alias(a: Case) -> Alias:
    return Alias(
        key=a["key"],
        local=a["local"],
        domain=a.get("domain"),
        model=a["model"],
        policy=Policy(a.get("contact") or "everyone"),
        any_domain=bool(a.get("incoming_local")),
        record=a.get("force_thread"),
        automatic=a.get("automatic", True),
        parent=a.get("parent_thread"),
        bounced_content=a.get("bounced_content"),
    )


def _limits(parameters: dict[str, str]) -> LoopLimits:
    try:
        return limits(parameters)
    except ConfigError:
        return LoopLimits()


def _address(text: str | None) -> str:
    found = parse_first(text)
    return found.normalised if found else ""


def _fields(d: Decision, raw: bytes, view: CaseView, after: After | None) -> dict[str, Any]:
    reset = d.reset
    return {
        "decision": WORDS[d.kind],
        "reason": d.code,
        "created": [{"alias": r.alias.key if r.alias else None, "model": r.model} for r in d.routes if r.creates],
        "author": d.author,
        "thread": next((r.record for r in d.routes if not r.creates), None),
        "parent": d.parent.message_id if d.parent else None,
        "internal": d.internal,
        "alias_status": next((status.value for _, status in d.statuses), None),
        "partner_bounces": after.partners
        if after
        else {p.key: 0 if reset and p.email == reset else p.bounces for p in view.partners},
        "thread_bounces": {
            k: after.threads[k] if after else 0 if reset and view.thread_address(k) == reset else view.thread_bounces(k)
            for k in view.counters()
        },
        "notification": after.notification if after else None,
        "blacklisted": _blacklisted(d, raw, view) if after else {},
        "notices": [
            {
                "to": n.to,
                "from": n.sender,
                "subject": n.subject,
                "body": n.text,
                "reply_to": n.reply_to,
                "return_path": n.return_path,
                "loop_tag": is_marked(n.references),
            }
            for n in d.notices
        ],
    }


def _blacklisted(d: Decision, raw: bytes, view: CaseView) -> dict[str, bool]:
    """Of each address that the report names, whether campaigns leave it out afterwards."""
    assert d.report is not None
    ids = {value for _, value in clues(raw, d.report).message_ids}
    found: dict[str, bool] = {}
    for block in d.blocks:
        if block.recipient is None:
            continue
        address = _address(block.recipient)
        traces = [Trace(at, "bounce") for at in view.campaigns(address, ids if block.kind == "bounce" else ())]
        contacts = [p.bounces + (block.kind == "bounce") for p in view.contacts(address)]
        due = weigh(traces, now=view.now, counter=max(contacts, default=None))
        found[address] = found.get(address, False) or due.suppress
    return found
