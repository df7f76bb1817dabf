"""Mailjet's events by webhook, API and file are one event each, in whatever order the roads are taken."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.errors import InputRefused
from mailops.testing import SmtpServer
from mailops.testing.mailjet import MailjetServer
from mailops.webhooks import Webhooks
from mailops.webhooks.elsewhere import from_csv

WHO = ("gone@x.example", "full@x.example", "angry@x.example", "barred@x.example")


@pytest.fixture
def set_up(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ops, MailjetServer]]:
    """Four mails sent through a server whose login is Mailjet's key pair; Mailjet knows what became of them."""
    ops = ops_factory()
    with MailjetServer("acme.example") as mailjet, SmtpServer() as smtp:
        furnish(ops, smtp)
        monkeypatch.setenv("MAILJET_SECRET", mailjet.secret)
        monkeypatch.setenv("HOOK_LOGIN", "user:pass-word")
        ops.set_parameter("mailops.webhook.mailjet.login", "env:HOOK_LOGIN")
        key = next(iter(ops.setup.servers)).key
        for number, who in enumerate(WHO):
            ops.send(sender="ann@acme.example", to=[who], subject="x", text="x")
            ops.queue.run()
            mid = smtp.messages[-1].data
            own = next(line for line in bytes(mid).decode().splitlines() if line.lower().startswith("message-id:"))
            status, kind, state = ((10, "bounced", 1), (9, "bounced", 3), (6, "spam", 0), (8, "blocked", 14))[number]
            mailjet.messages.append(
                {"ID": 100 + number, "UUID": f"u-{number}", "ContactAlt": who, "StateID": state, "status": status,
                 "Status": "hardbounced" if status == 10 else "softbounced", "CustomID": own.split(":", 1)[1].strip().strip("<>"),
                 "history": [{"EventType": "sent", "EventAt": 1, "Comment": ""},
                             {"EventType": kind, "EventAt": 1_700_000_000 + number, "Comment": "said so", "State": ""}]}
            )  # fmt: skip
        server = next(one for one in ops.setup.servers if one.key == key)
        from dataclasses import replace

        ops.save_server(replace(server, login=mailjet.key, password="env:MAILJET_SECRET"))
        yield ops, mailjet


def told(ops: Ops, *words: str) -> dict[str, int]:
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "bounces", "events", *words, "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def by_webhook(ops: Ops, mailjet: MailjetServer, shift: int = 0) -> Any:
    """As Mailjet posts them: ``bounce`` for what its history calls ``bounced``."""
    body = [
        {"event": {"bounced": "bounce"}.get(m["history"][1]["EventType"], m["history"][1]["EventType"]),
         "time": m["history"][1]["EventAt"] + shift, "MessageID": m["ID"], "Message_GUID": m["UUID"], "email": m["ContactAlt"],
         "hard_bounce": m["status"] == 10, "error": {1: "user unknown", 3: "quota exceeded", 14: "preblocked"}.get(m["StateID"], ""),
         "CustomID": m["CustomID"], "comment": "said so"}
        for m in mailjet.messages
    ]  # fmt: skip
    headers = {"authorization": "Basic " + base64.b64encode(b"user:pass-word").decode()}
    return Webhooks(ops).receive("mailjet", headers, json.dumps(body).encode())


def csv_of(mailjet: MailjetServer, folder: Path, mark: str = ",") -> Path:
    lines = [mark.join(("Event", "Email", "Time", "MessageUUID", "Error", "Hard_Bounce", "CustomID"))]
    for m in mailjet.messages:
        at = datetime.fromtimestamp(m["history"][1]["EventAt"], UTC)
        error = {1: "user unknown", 3: "quota exceeded", 14: "preblocked"}.get(m["StateID"], "")
        cells = (
            m["history"][1]["EventType"],
            m["ContactAlt"],
            f"{at:%Y-%m-%d %H:%M:%S}",
            m["UUID"],
            error,
            str(m["status"] == 10),
            m["CustomID"],
        )
        lines.append(mark.join(cells))
    file = folder / "events.csv"
    file.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", "utf-8")
    return file


@pytest.mark.parametrize("first", ["api", "csv", "webhook"])
def test_each_event_counts_once_by_whatever_road_it_comes(set_up: Any, tmp_path: Path, first: str) -> None:
    ops, mailjet = set_up
    server = ops.setup.servers[0].key
    file = csv_of(mailjet, tmp_path)
    roads: dict[str, Callable[[], Any]] = {
        "api": lambda: told(ops, "--server", server, "--api", mailjet.url, "--since", "30d"),
        "csv": lambda: told(ops, str(file)),
        "webhook": lambda: (lambda r: {"events": r.events, "repeated": r.repeated, "matched": r.matched})(
            by_webhook(ops, mailjet)
        ),
    }
    assert roads[first]() == {"events": 4, "repeated": 0, "matched": 4}
    for other in roads:
        assert roads[other]() == {"events": 0, "repeated": 4, "matched": 0}, other
    rows = {one.address: one for one in ops.suppressions.page(limit=50)[0]}
    assert {"gone@x.example", "angry@x.example"} <= rows.keys()
    assert "full@x.example" not in rows, "a full mailbox is no dead address"
    overall = ops.analysis.overall()
    assert (overall.returned, overall.addressed) == (3, 4), "a complaint is not a bounce"


def test_another_time_of_the_same_event_is_the_same_event(set_up: Any) -> None:
    ops, mailjet = set_up
    assert by_webhook(ops, mailjet, shift=7).events == 4
    assert told(ops, "--server", ops.setup.servers[0].key, "--api", mailjet.url)["events"] == 0


def test_a_file_that_cannot_be_events_says_which_columns_are_missing(set_up: Any, tmp_path: Path) -> None:
    ops, _ = set_up
    with pytest.raises(InputRefused) as refused:
        list(from_csv("a;b\n1;2\n"))
    assert refused.value.facts["missing"] == ["event", "email", "time", "Message_GUID or MessageID"]
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "bounces", "events", str(tmp_path / "x.csv")])
    assert done.exit_code
    assert "cannot be read" in done.output + str(done.exception)
    assert [
        one["time"]
        for one in from_csv("event\temail\ttime\tMessageID\nspam\ta@b.example\t2026-01-01T00:00:00+01:00\t5\n")
    ] == [1767222000]


def test_without_the_key_pair_it_is_said_what_to_name(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory()
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "bounces", "events"])
    assert done.exit_code
    assert "Mailjet's key pair" in done.output + str(done.exception)
