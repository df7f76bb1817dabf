"""The round-trip probe over real peers: an outgoing server that delivers into a mailbox, and reports what it cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from furnish import furnish
from test_fetch import add
from test_intake import cli

from mailops import Ops
from mailops.errors import ConfigError
from mailops.inbound.probe import LATE, Probe, Seen, leg_of, verdicts
from mailops.testing import SmtpServer
from mailops.testing.dsn import build_dsn
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes
from mailops.testing.smtp_script import Rule

BOX = "mail@acme.example"


class Post(threading.Thread):
    """The mail server of acme.example: what it takes for the technical addresses goes into one mailbox; for others it
    makes a report. The way that is ``dead`` delivers nothing."""

    def __init__(self, smtp: SmtpServer, boxes: Mailboxes) -> None:
        super().__init__(daemon=True)
        self.smtp, self.boxes, self.dead, self.over = smtp, boxes, "", threading.Event()

    def run(self) -> None:
        done = 0
        while not self.over.wait(0.02):
            for one in self.smtp.messages[done:]:
                done += 1
                for address in one.recipients:
                    self.carry(address, one.data, one.envelope_from)

    def carry(self, address: str, data: bytes, sender: str) -> None:
        if address.partition("@")[0].partition("+")[0] not in ("catchall", "bounce"):
            if self.dead != "bounce":
                report = build_dsn(data, address, "5.1.1", "550 5.1.1 no such user", "mx.acme.example", to=sender)
                self.boxes.deliver(BOX, b"Delivered-To: " + sender.encode() + b"\r\n" + report)
        elif self.dead != ("reply" if b"\r\nSubject: Re: " in data else "out"):
            self.boxes.deliver(BOX, data)


def refusing(recipient: str) -> Rule:
    return Rule("rcpt", code=550, enhanced="5.1.1", text="no such user", recipient=recipient)


@pytest.fixture
def post(request: pytest.FixtureRequest) -> Iterator[Post]:
    with SmtpServer(getattr(request, "param", ())) as smtp:
        made = Post(smtp, Mailboxes(BOX))
        made.start()
        yield made
        made.over.set()
        made.join()


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], post: Post, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ops]:
    monkeypatch.setenv("BOX_PASSWORD", "s3cret")
    made = ops_factory()
    furnish(made, post.smtp)
    with ImapServer(post.boxes, {BOX: "s3cret"}) as imap:
        add(made, imap, login=BOX)
        yield made


def legs(told: dict[str, Any]) -> dict[str, str]:
    return {one["leg"]: one["state"] for one in told["legs"]}


@pytest.mark.parametrize("tokens", [False, True])
def test_each_leg_comes_back_and_is_timed(ops: Ops, tokens: bool) -> None:
    if tokens:
        assert cli(ops, "thread", "tokens", "on")[0] == 0
    code, told = cli(ops, "inbound", "probe", "--seconds", "30")
    assert (code, told["passed"]) == (0, True), told
    assert legs(told) == {"out": "passed", "reply": "passed", "bounce": "passed"}
    assert all(0 < one["seconds"] < 30 for one in told["legs"]), told
    entries = ops.threads.entries(told["record"])
    assert [one.kind for one in entries] == ["comment", "email"]
    assert ops.desk.why(entries[-1].id).rule == ("token" if tokens else "reply")
    assert ops.envelopes.failures() == 0
    assert cli(ops, "inbound", "probe", "--seconds", "30")[1]["record"] == told["record"]  # one record for all
    assert len(ops.desk.records()[0]) == 1


@pytest.mark.parametrize(
    ("dead", "expected"),
    [
        ("out", {"out": "late", "reply": "late", "bounce": "passed"}),
        ("reply", {"out": "passed", "reply": "late", "bounce": "passed"}),
        ("bounce", {"out": "passed", "reply": "passed", "bounce": "late"}),
    ],
)
def test_the_leg_that_is_dead_is_named(ops: Ops, post: Post, dead: str, expected: dict[str, str]) -> None:
    post.dead = dead
    code, told = cli(ops, "inbound", "probe", "--seconds", "6")
    assert (code, told["passed"]) == (1, False)
    assert legs(told) == expected


@pytest.mark.parametrize("post", [[refusing("mailops-probe-*"), refusing("catchall@*")]], indirect=True)
def test_what_the_outgoing_server_refuses_is_told_at_once(ops: Ops) -> None:
    code, told = cli(ops, "inbound", "probe", "--seconds", "30")
    assert code == 1
    assert legs(told) == {"out": "failed", "reply": "late", "bounce": "passed"}
    out, reply, bounce = (one["words"] for one in told["legs"])
    assert "It did not go out" in out
    assert "did not begin" in reply
    assert "by the server it was handed to: " in bounce


def test_without_an_alias_domain_it_is_said_what_is_missing(ops_factory: Callable[..., Ops]) -> None:
    with pytest.raises(ConfigError) as caught:
        ops_factory().probe()
    assert caught.value.code == "inbound.probe"


def test_verdicts_name_the_next_step() -> None:
    now = datetime(2026, 5, 2, tzinfo=UTC)
    found = Probe("acme.example", 1, now, (leg_of("out", Seen(now), now), leg_of("reply", Seen(), now)))
    assert [one.state for one in found.legs] == [LATE, LATE]
    assert all(leg["look"] for leg in found.as_dict()["legs"]), "it says where to look"
    out, reply = verdicts(found, now)
    assert (out.passed, out.code) == (False, "inbound.probe_out")
    assert "mailops trace" in out.fix
    assert "inbound log" in reply.fix
