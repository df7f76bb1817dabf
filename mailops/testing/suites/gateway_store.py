"""A gateway case played in a workspace: its people, records and messages, mailed over loopback; then the report comes.

:func:`received` gives what stands in the tables afterwards. Nothing is written by hand that the product writes itself:
messages are posted, the queue sends them to a peer on loopback, and the gateway receives the report.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mailops.inbound.parse import parse
from mailops.model.alias import Key
from mailops.model.setup import AliasDomain, Company, Encryption, Server
from mailops.ops import Ops
from mailops.testing.clock import ManualClock
from mailops.testing.smtp_server import SmtpServer
from mailops.threads import store
from mailops.threads.models import RecordModel
from mailops.threads.service import Entry
from mailops.workspace import init

Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class After:
    """Bounce counters of contacts and records by the case's keys, and the notification that turned red: its ``reason``
    is what it says, and below it the report's own words."""

    partners: dict[Key, int]
    threads: dict[Key, int]
    notification: dict[str, str] | None


def received(config: Case, raw: bytes, *, now: datetime) -> After:
    """Play the case's configuration, receive the report, and look."""
    clock = ManualClock(now - timedelta(hours=1))
    with tempfile.TemporaryDirectory() as folder, SmtpServer() as smtp:
        ops = Ops.open(init(Path(folder) / "workspace"), clock=clock)
        try:
            people, records = _furnish(ops, config, smtp.port)
            ops.queue.run()
            clock.advance(3600)
            ops.inbound.receive(raw)
            return _look(ops, people, records, raw)
        finally:
            ops.close()


def _furnish(ops: Ops, config: Case, port: int) -> tuple[dict[str, int], dict[str, int]]:
    for domain in config.get("alias_domains") or []:
        ops.save_alias_domain(AliasDomain(**domain))
    ops.save_company(Company("company", "Company", config.get("company_email")))
    ops.save_server(Server("peer", "Peer", "127.0.0.1", port, Encryption.NONE))
    threads = ops.threads
    for kind in config.get("models") or []:
        if threads.models.find(kind["name"]) is None:
            threads.models.register(
                RecordModel(kind["name"], kind["name"], bool(kind.get("bounce_counter")), bool(kind["accepts_mail"]))
            )
    active = [p for p in config.get("partners") or [] if p.get("active", True)]
    people = {p["key"]: threads.add_contact(p["key"], p.get("email")) for p in active}
    records = {
        t["key"]: threads.create_record(t["model"], t["key"], email=t.get("email")) for t in config.get("threads") or []
    }
    with ops.engine.begin() as connection:
        for counted, ids in ((active, people), (config.get("threads") or [], records)):
            for one in counted:
                for _ in range(one.get("bounces") or 0):
                    who = ([ids[one["key"]]], []) if ids is people else ([], [ids[one["key"]]])
                    store.count_bounce(connection, *who)
    for message in config.get("messages") or []:
        _post(ops, message, people, records)
    return people, records


def _post(ops: Ops, message: Case, people: Mapping[str, int], records: Mapping[str, int]) -> None:
    if message.get("thread") not in records:
        with ops.engine.begin() as connection:
            store.add_message(
                connection, {"message_id": message["message_id"], "kind": "comment", "created_at": ops.clock.now()}
            )
        return
    entry = Entry(
        "Hello",
        author_email="Post <post@company.invalid>",
        message_id=message["message_id"],
        addressed=tuple(people[who] for who in message.get("notified") or () if who in people),
    )
    ops.threads.post(records[message["thread"]], entry)


def _look(ops: Ops, people: Mapping[str, int], records: Mapping[str, int], raw: bytes) -> After:
    names = {number: key for key, number in people.items()}
    with ops.engine.connect() as connection:
        contacts = {key: store.contact(connection, number) for key, number in people.items()}
        found = {key: store.record(connection, number) for key, number in records.items()}
        entries = [entry for number in records.values() for entry in store.messages_of(connection, number)]
        told = [x for entry in entries for x in store.notifications_of(connection, entry.id)]
    red = next((x for x in told if x.state == "bounce"), None)
    notification = None
    if red is not None:
        said = dict.fromkeys(text for text in (red.reason, parse(raw).text.strip()) if text)
        notification = {
            "partner": names.get(red.contact_id or 0, ""),
            "status": red.state,
            "failure_type": red.failure_type or "",
            "reason": "\n".join(said),
        }
    return After(
        {key: who.bounces if who else 0 for key, who in contacts.items()},
        {key: int(r.values.get("bounce_count") or 0) if r else 0 for key, r in found.items()},
        notification,
    )
