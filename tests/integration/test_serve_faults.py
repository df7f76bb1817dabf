"""Whatever goes wrong inside a running ``mailops serve``, the next mail leaves; and while none can, none is taken."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import smtplib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from furnish import furnish
from serve_child import ERRORS, POINTS

from mailops import Ops
from mailops.doctor import examine
from mailops.errors import StoreError
from mailops.model.setup import RetryPolicy
from mailops.model.states import MailState
from mailops.queue import journal as journals
from mailops.queue.filters import QueueFilter
from mailops.queue.journal import Journal
from mailops.testing import SmtpServer
from mailops.workspace import init

CHILD = Path(__file__).with_name("serve_child.py")
STEPS = ("leased", "connected", "journaled", "mail", "rcpt", "data", "body", "final-reply", "recorded", "settled")
IN_FLIGHT = {"step:body", "step:final-reply", "step:data", "step:rcpt", "step:mail", "send!"}
"""Points at which the peer may have the mail, and nobody has read its answer yet."""


class Serving:
    """A ``mailops serve`` of its own, with a file that says what goes wrong in it."""

    def __init__(self, folder: Path, smtp: SmtpServer, *more: str) -> None:
        self.smtp, self.faults = smtp, folder / "faults"
        self.ops = Ops.open(init(folder / "workspace").path)
        furnish(self.ops, smtp, retry=RetryPolicy(first=1, cap=1))
        self.now("none none 0")
        command = [sys.executable, str(CHILD), str(self.faults), str(self.ops.workspace.path), "--port", "0"]
        self.errors = folder / "stderr"
        with self.errors.open("w") as errors:
            self.child = subprocess.Popen(
                [*command, "--queue-every", "0.05", *more], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.child.stdout is not None
        assert select.select([self.child.stdout], [], [], 30)[0]
        found = re.search(r":(\d+) ", self.child.stdout.readline())
        assert found, self.errors.read_text()
        self.port = int(found[1])
        self.sent = 0

    def now(self, fault: str) -> None:
        new = self.faults.with_suffix(".test")
        new.write_text(fault)
        os.replace(new, self.faults)

    def struck(self) -> bool:
        return self.faults.read_text().endswith(" 0")

    def submit(self) -> str:
        """Hand a mail over; its subject."""
        self.sent += 1
        with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
            data = f"From: ann@acme.example\r\nTo: b@x.example\r\nSubject: {self.sent}\r\n\r\nHi\r\n"
            client.sendmail("ann@acme.example", ["b@x.example"], data)
        return str(self.sent)

    def submit_patiently(self) -> str:
        """As a client does that hears 451: come back until it is taken."""
        said: list[str] = []

        def taken() -> bool:
            with contextlib.suppress(smtplib.SMTPSenderRefused, smtplib.SMTPDataError, OSError):
                said.append(self.submit())
            return bool(said)

        self.until(taken, "it is taken no more")
        return said[0]

    def arrived(self) -> Counter[str]:
        subjects = (re.search(rb"^Subject: (\d+)", m.data, re.M) for m in self.smtp.messages)
        return Counter(found[1].decode() for found in subjects if found)

    def until(self, what: Callable[[], object], words: str, seconds: float = 20) -> None:
        limit = time.monotonic() + seconds
        while not what():
            assert self.child.poll() is None, (words, self.errors.read_text()[-3000:])
            assert time.monotonic() < limit, (words, self.errors.read_text()[-3000:])
            time.sleep(0.02)

    def end(self) -> int:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        self.child.communicate(timeout=40)
        return self.child.returncode


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[Serving]:
    with SmtpServer() as smtp:
        made = Serving(folder, smtp, *more)
        try:
            yield made
        finally:
            made.end()
            made.ops.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One process that bears all of it."""
    with serving(tmp_path_factory.mktemp("serve")) as made:
        yield made
        assert made.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", [*(f"step:{s}" for s in STEPS), *POINTS, "lease!", "settle!", "send!"])
def test_after_each_fault_at_each_point_the_next_mail_leaves(served: Serving, point: str) -> None:
    """Each class of exception strikes once; the mail it struck is not lost, and comes twice only where it was out."""
    before = served.arrived()
    taken: list[str] = []
    for kind in ERRORS:
        if kind == "exit" or (kind == "delivery" and "connect" in point):  # that says: the server rests for 30 s
            continue
        served.now(f"{point} {kind} 1")
        taken.append(served.submit_patiently())
        served.until(served.struck, f"{kind} did not strike at {point}")
        following = served.submit_patiently()
        taken.append(following)
        served.until(lambda n=following: served.arrived()[n], f"{kind} at {point}: the next mail stays")  # type: ignore[misc]
    if point == "route":  # no server was chosen yet, so its pauses are the usual ones
        served.ops.queue.send_now(QueueFilter())
    served.until(lambda: set(taken) <= set(served.arrived()), f"a mail was lost at {point}")
    if point not in IN_FLIGHT:
        assert {n: times for n, times in (served.arrived() - before).items() if times > 1} == {}
    served.until(lambda: served.ops.queue.counts()[MailState.OUTGOING] == 0, f"{point}: a mail that left still waits")
    assert served.ops.queue.counts()[MailState.FAILED] == 0
    assert served.ops.books().agree


def refused(served: Serving) -> smtplib.SMTPResponseException | None:
    try:
        served.submit()
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["busy", "store", "lookup"])
def test_nothing_is_taken_while_sending_is_dead_and_all_of_it_when_it_is_not(tmp_path: Path, kind: str) -> None:
    with serving(tmp_path) as served:
        served.now(f"recover {kind} 1000000")
        said: list[smtplib.SMTPResponseException] = []
        served.until(lambda: said.extend(filter(None, [refused(served)])) or said, "mail is taken that nobody sends")
        assert said[0].smtp_code == 451
        taken = served.sent - 1
        told = next(found for found in examine(workspace=str(served.ops.workspace.path)) if found.what == "Serve")
        assert told.ok is False
        assert "in a row failed" in told.seen
        served.now("none none 0")
        served.until(lambda: not refused(served), "it is not taken again")
        served.until(lambda: len(served.arrived()) == taken + 1, "what was taken does not leave")
        assert served.end() == 0
        words = served.errors.read_text()
        assert "answered 451" in words
        assert "sending goes on" in words
        assert ("Traceback" in words) is (kind != "store")  # what is no error of ours comes with its trace


def test_a_part_that_ends_ends_the_process_with_a_status(tmp_path: Path) -> None:
    """The queue's process is started again; while it cannot be kept up nothing is taken, and the status says so."""
    with serving(tmp_path) as served:
        served.now("recover exit 1")
        served.until(served.struck, "no fault")
        following = served.submit()
        served.until(lambda: served.arrived()[following], "the next mail stays")
        served.now("recover exit 1000000")
        said: list[smtplib.SMTPResponseException] = []
        served.until(
            lambda: said.extend(filter(None, [refused(served)])) or said, "mail is taken that nobody sends", 40
        )
        assert said[0].smtp_code == 451
        assert served.end() == 2
        assert "serve.part_ended" in served.errors.read_text()
        assert "Traceback" in served.errors.read_text()


def test_a_mail_that_mailops_stumbles_over_each_time_keeps_nobody_else(tmp_path: Path) -> None:
    """The first mail in the queue is the poison; the second one leaves, and the first says why it waits."""
    with serving(tmp_path) as served:
        served.now("explained lookup 1")
        first = served.submit()
        served.until(served.struck, "no fault")
        served.now("route lookup 1")
        served.submit()
        served.until(served.struck, "no fault")
        following = served.submit()
        served.until(lambda: served.arrived()[following], "the next mail waits for the poisoned one")
        assert served.arrived()[first] == 1  # its answer had been read: not sent again
    told = [line.data for line in served.ops.queue.history(2) if line.kind == "deferred"]
    assert told
    assert "LookupError" in str(told[0])


def test_pauses_grow_and_end() -> None:
    from mailops.serve import LONGEST, pause

    assert [pause(30, n) for n in (0, 1, 2, 9)] == [30, 60, 60, 60]
    assert [pause(0.5, n) for n in (0, 1, 2, 3, 1000)] == [0.5, 1, 2, 4, LONGEST]
    assert pause(900, 5) == 900


def test_a_journal_that_cannot_be_made_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of a service has one name for its life: what fails once must not fail for ever."""
    for number in range(3):
        with monkeypatch.context() as patched:
            name = ("posix_fallocate", "ftruncate", "open")[number]
            patched.setattr(journals.os, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StoreError) as caught:
                Journal(tmp_path, "w1")
        assert caught.value.code == "store.full"
        Journal(tmp_path, "w1").close()
    held = Journal(tmp_path, "w1")
    with pytest.raises(StoreError) as caught:
        Journal(tmp_path, "w1")
    assert caught.value.code == "store.journal_in_use"
    held.close()


def test_the_doctor_tells_a_process_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        where = str(served.ops.workspace.path)
        served.until(lambda: [f.ok for f in examine(workspace=where) if f.what == "Serve"] == [True], "nothing is told")
        served.child.kill()
        served.child.wait(timeout=20)
        [told] = [found for found in examine(workspace=where) if found.what == "Serve"]
        assert (told.ok, "ended without" in told.seen) == (None, True)
