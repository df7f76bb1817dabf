"""The services that bring mail in, inside a real ``mailops serve``: they may be killed, hang or break, and no mail is
lost or doubled; who listens and who watches is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import yaml
from test_fetch import BOX, LOGINS, add
from test_intake import furnish, mail, right, rows
from test_serve import pids
from test_serve_faults import Serving
from test_serve_faults import serving as faulty

from mailops import Ops
from mailops.checks.services import listening
from mailops.inbound.accounts import CONFIRMED, DRAFT, Account
from mailops.model.running import read_running
from mailops.model.setup import Encryption
from mailops.service.export import export
from mailops.service.pulse import Standing, one_stands
from mailops.service.receiving import changes
from mailops.store import schema
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes

RECEIVERS = [{"protocol": "lmtp", "port": 0}, {"protocol": "smtp", "port": 0}]
ALL = {"intake", "queue", "schedule", "mailboxes", "receive"}


@pytest.fixture(scope="module")
def boxes() -> Mailboxes:
    return Mailboxes(BOX)


@pytest.fixture(scope="module")
def imap(boxes: Mailboxes) -> Iterator[ImapServer]:
    with ImapServer(boxes, LOGINS) as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, imap: ImapServer) -> Iterator[Serving]:
    """One ``mailops serve`` that watches a mailbox and listens by LMTP and SMTP."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("MAILOPS_SERVE__SILENCE", "2")
            patched.setenv("MAILOPS_SERVE__RECEIVER", json.dumps(RECEIVERS))
            patched.setenv("BOX_PASSWORD", "s3cret")
            made = stack.enter_context(faulty(tmp_path_factory.mktemp("receiving")))
            furnish(made.ops)
            add(made.ops, imap)  # while it runs: it needs no restart
            made.until(lambda: set(pids(made.ops)) == ALL, "not all are up")
        yield made
        assert made.end() == 0, made.errors.read_text()[-3000:]
        right(made.ops)


def ports(served: Serving) -> dict[str, int]:
    told = read_running(served.ops.workspace.path)
    assert told is not None
    return {one.takes: one.port for one in told.listening}


def subjects(ops: Ops) -> list[str]:
    return [row.name for row in rows(ops, schema.records)]


def received(served: Serving, number: int) -> None:
    served.until(lambda: f"Printer {number}" in subjects(served.ops), f"mail {number} does not come in")
    assert subjects(served.ops).count(f"Printer {number}") == 1


def hand_over(served: Serving, protocol: str, number: int) -> None:
    kind = smtplib.LMTP if protocol == "lmtp" else smtplib.SMTP
    with kind("127.0.0.1", ports(served)[protocol], timeout=20) as client:
        assert client.sendmail("ann@x.example", [BOX], mail(number)) == {}


def test_mail_comes_in_by_every_way_at_once(served: Serving, boxes: Mailboxes) -> None:
    boxes.deliver(BOX, mail(1))
    hand_over(served, "lmtp", 2)
    hand_over(served, "smtp", 3)
    for number in (1, 2, 3):
        received(served, number)
    assert {one.account for one in served.ops.intake.ledger().sums} >= {"box", "lmtp", "smtp"}


def test_the_listener_takes_no_mail_for_others(served: Serving) -> None:
    with smtplib.SMTP("127.0.0.1", ports(served)["smtp"], timeout=20) as client:
        client.ehlo()
        client.mail("ann@x.example")
        assert client.rcpt("bob@elsewhere.example")[0] == 550


@pytest.mark.parametrize(
    ("name", "how", "number"),
    [
        ("mailboxes", signal.SIGKILL, 10),
        ("mailboxes", signal.SIGSTOP, 11),
        ("mailboxes", signal.SIGTERM, 12),
        ("receive", signal.SIGKILL, 13),
        ("receive", signal.SIGSTOP, 14),
        ("receive", signal.SIGTERM, 15),
    ],
)
def test_a_service_that_is_killed_stopped_or_ended_is_started_again(
    served: Serving, boxes: Mailboxes, name: str, how: signal.Signals, number: int
) -> None:
    before = pids(served.ops)[name]
    os.kill(before, how)
    served.until(lambda: pids(served.ops).get(name, before) != before, f"{name} is not started again")
    if name == "mailboxes":
        boxes.deliver(BOX, mail(number))
    else:
        hand_over(served, "lmtp" if number % 2 else "smtp", number)
    received(served, number)
    found = served.ops.status()
    assert any(line.startswith(name) for line in found.why), found.why


@pytest.mark.parametrize(("kind", "number"), [("kill", 20), ("hang", 21), ("lookup", 22), ("exit", 23)])
def test_a_mailbox_s_mail_is_neither_lost_nor_doubled(
    served: Serving, boxes: Mailboxes, kind: str, number: int
) -> None:
    """It strikes amid a fetch, before the mail is stored."""
    served.now(f"fetch {kind} 1")
    boxes.deliver(BOX, mail(number))
    served.until(served.struck, f"{kind} did not strike")
    received(served, number)


@pytest.mark.parametrize(("point", "kind", "number"), [("receive", "kill", 30), ("receive", "hang", 31),
                                                       ("receive!", "kill", 32)])  # fmt: skip
def test_a_mail_server_that_hears_nothing_comes_again(served: Serving, point: str, kind: str, number: int) -> None:
    """Its mail is there once, also where it had been stored before the answer was lost."""
    served.now(f"{point} {kind} 1")
    with pytest.raises((smtplib.SMTPException, OSError)):
        hand_over(served, "lmtp", number)
    assert served.struck()
    served.until(lambda: "receive" in pids(served.ops), "it is not started again")
    hand_over(served, "lmtp", number)
    received(served, number)


def test_mailboxes_that_cannot_be_looked_at_are_looked_at_again(served: Serving, boxes: Mailboxes) -> None:
    served.now("look store 1")
    served.until(served.struck, "it did not strike")
    boxes.deliver(BOX, mail(40))
    received(served, 40)


def test_health_and_status_name_them(served: Serving) -> None:
    command = [sys.executable, "-m", "mailops.cli", "-w", str(served.ops.workspace.path), "status", "--json"]
    served.until(lambda: served.ops.status().exit_code == 0, "it stays down")
    told = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout)
    assert {one["name"] for one in told["running"][0]["services"]} == ALL
    assert [one["takes"] for one in told["running"][0]["listening"]] == ["submission", "lmtp", "smtp"]
    mine = listening(served.ops.workspace.path, served.ops.clock.now())
    assert mine is not None
    assert [one.port for one in mine] == [served.port]  # those that serve check sends its mails through


# --- settings, units, decisions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "mail.acme.example"])
def test_lmtp_for_everybody_is_refused_at_the_start(ops_factory: Callable[..., Ops], host: str) -> None:
    ops = ops_factory(toml=f'\n[[serve.receiver]]\nprotocol = "lmtp"\nhost = "{host}"\nport = 0\n')
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "serve", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert ("inbound.lmtp_public" if host == "0.0.0.0" else "config.submission_bind") in done.stderr


def test_nothing_is_watched_where_that_is_set(ops_factory: Callable[..., Ops]) -> None:
    from test_serve import serving, wait_for

    ops = ops_factory(toml="\n[serve]\nwatch = false\n")
    with serving(ops):
        wait_for(lambda: len(pids(ops)) == 3)
    assert ops.workspace.settings.serve.watch is False


def test_units_open_the_receivers_ports(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(
        toml='\n[serve]\nport = 2525\n[[serve.receiver]]\nprotocol = "smtp"\nhost = "0.0.0.0"\nport = 25\n'
    )
    settings = ops.workspace.settings.serve
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in export("systemd", ops.workspace.path, settings)
    (made,) = yaml.safe_load(export("compose", ops.workspace.path, settings))["services"].values()
    assert made["ports"] == ["127.0.0.1:2525:2525", "25:25"]


def account(key: str, state: str = CONFIRMED, **more: object) -> Account:
    return Account(key, "imap", "127.0.0.1", 143, Encryption.NONE, key, "env:X", state=state, **more)  # type: ignore[arg-type]


def test_which_watches_end_and_begin() -> None:
    same, moved, gone, draft = (account(key) for key in ("same", "moved", "gone", "draft"))
    looked = account("same", error="broken")  # where it stands is no change
    now = [looked, account("moved", folder="Archive"), account("draft", DRAFT), account("new")]
    ended, begun = changes([same, moved, gone, draft], now)
    assert ended == {"moved", "gone", "draft"}
    assert sorted(one.key for one in begun) == ["moved", "new"]


def test_a_thread_that_waits_for_its_server_is_no_thread_that_stands() -> None:
    waits, stands = Standing("mailbox a", 70.0, True), Standing("mailbox b", 70.0, False)
    assert one_stands([waits], silence=60, wire=120) == ""
    assert "mailbox b" in one_stands([waits, stands], silence=60, wire=120)
    assert "mailbox a" in one_stands([waits], silence=60, wire=65)
