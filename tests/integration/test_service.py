"""A service that is killed, hangs or breaks is started again, the next mail leaves, and status and health tell it."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from furnish import furnish
from test_serve import pids, serving
from test_serve_faults import Serving
from test_serve_faults import serving as faulty

from mailops import Ops
from mailops.errors import StateConflict
from mailops.model.running import read_running
from mailops.service.decide import HOLD_AFTER, LONGEST, Seen, choose, pause
from mailops.service.schedule import next_time
from mailops.testing import Authority, SmtpServer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One ``mailops serve`` that bears all of it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAILOPS_SERVE__SILENCE", "2")
        with faulty(tmp_path_factory.mktemp("service"), "--webhooks", "0") as made:
            made.until(lambda: set(pids(made.ops)) == {"intake", "queue", "schedule"}, "not all are up")
            yield made
            assert made.end() == 0, made.errors.read_text()[-3000:]


def dead(pid: int) -> bool:
    """Whether a process takes nothing any more: gone, or waiting to be fetched by its parent (proc(5), state Z)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def restarted(served: Serving, name: str, before: int) -> bool:
    return pids(served.ops).get(name, before) != before


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("intake", signal.SIGKILL),
        ("queue", signal.SIGKILL),
        ("schedule", signal.SIGKILL),
        ("intake", signal.SIGSTOP),
        ("queue", signal.SIGTERM),
    ],
)
def test_a_service_that_is_killed_ended_or_stopped_is_started_again(
    served: Serving, name: str, how: signal.Signals
) -> None:
    before = pids(served.ops)[name]
    os.kill(before, how)
    served.until(lambda: restarted(served, name, before), f"{name} is not started again")
    told = read_running(served.ops.workspace.path)
    assert told is not None
    [state] = [s for s in told.services if s.name == name]
    assert state.restarts > 0
    assert {"SIGKILL": "SIGKILL", "SIGTERM": "by itself", "SIGSTOP": "no heartbeat"}[how.name] in state.error
    following = served.submit()
    served.until(lambda: served.arrived()[following], "the next mail stays")


@pytest.mark.parametrize(
    ("point", "kind"),
    [("step:data", "hang"), ("settle", "hang"), ("step:leased", "kill"), ("step:final-reply", "kill"), ("pay", "kill")],
)
def test_the_queue_may_hang_or_die_amid_work(served: Serving, point: str, kind: str) -> None:
    served.now(f"{point} {kind} 1")
    struck = served.submit()
    served.until(served.struck, f"{kind} did not strike at {point}")
    following = served.submit()
    served.until(lambda: served.arrived()[following], "the next mail stays")
    served.until(lambda: served.arrived()[struck], "the mail it struck is lost")
    assert served.ops.books().agree


def test_a_client_s_connection_waits_while_intake_is_started_again(served: Serving) -> None:
    """The socket is the parent's: nobody is refused."""
    for _ in range(6):
        before = pids(served.ops)["intake"]
        os.kill(before, signal.SIGKILL)
        served.until(lambda before=before: dead(before), "it lives")  # type: ignore[misc]
        with smtplib.SMTP("127.0.0.1", served.port, timeout=20) as client:
            assert client.noop()[0] == 250
        served.until(lambda before=before: restarted(served, "intake", before), "no new one")  # type: ignore[misc]


def test_a_second_one_is_told_of_the_first(served: Serving) -> None:
    command = [sys.executable, "-m", "mailops.cli", "-w", str(served.ops.workspace.path), "serve", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "serve.running" in done.stderr
    assert str(served.child.pid) in done.stderr
    assert issubclass(StateConflict, Exception)


def test_services_end_with_a_parent_that_is_killed(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0.3") as (child, port):
            limit = time.monotonic() + 20
            while len(pids(ops)) < 3 and time.monotonic() < limit:
                time.sleep(0.05)
            services = pids(ops)
            assert len(services) == 3
            child.kill()
            child.wait(timeout=10)
            while any(Path(f"/proc/{pid}").exists() for pid in services.values()):
                assert time.monotonic() < limit + 10, "a service outlives its parent"
                time.sleep(0.05)
            with contextlib.suppress(ConnectionRefusedError):
                smtplib.SMTP("127.0.0.1", port, timeout=2)
                pytest.fail("somebody still listens")


def test_sighup_brings_certificate_logins_and_limits_and_drops_no_session(
    ops_factory: Callable[..., Ops], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import ssl

    first, second = (Authority(tmp_path_factory.mktemp(name)) for name in ("first", "second"))
    folder = tmp_path_factory.mktemp("pair")
    cert, key = folder / "cert.pem", folder / "key.pem"

    def put(authority: Authority) -> None:
        pair = authority.server()
        cert.write_bytes(Path(pair.certfile).read_bytes())
        key.write_bytes(Path(pair.keyfile).read_bytes())

    put(first)
    ops = ops_factory(toml=f'\n[serve]\ntls_cert = "{cert}"\ntls_key = "{key}"\nmax_recipients = 1\n')
    old, new = (ssl.create_default_context(cafile=str(a.ca_file)) for a in (first, second))
    settings = ops.workspace.path / "mailops.toml"
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0") as (child, port):
            with smtplib.SMTP("localhost", port, timeout=20) as stands:
                stands.starttls(context=old)
                put(second)
                text = settings.read_text().replace("max_recipients = 1", "max_recipients = 2")
                settings.write_text(text + '[serve.users]\nshop = "env:NOT_THERE"\n')
                child.send_signal(signal.SIGHUP)
                limit = time.monotonic() + 20
                while True:
                    with smtplib.SMTP("localhost", port, timeout=20) as line:
                        try:
                            line.starttls(context=new)
                        except ssl.SSLError:
                            assert time.monotonic() < limit, "the old certificate is shown"
                            continue
                        line.ehlo()
                        assert line.esmtp_features["limits"] == "RCPTMAX=2"
                        break
                assert stands.noop()[0] == 250  # the same session
                settings.write_text("[serve]\nmax_recipients = 'many'\n")
                child.send_signal(signal.SIGHUP)
                time.sleep(0.5)
                assert stands.noop()[0] == 250
                with smtplib.SMTP("localhost", port, timeout=20) as line:
                    line.starttls(context=new)  # what cannot be used changes nothing
            settings.write_text(text)


# --- decisions --------------------------------------------------------------------------------------------------------


def test_what_is_done_about_a_service() -> None:
    def done(**seen: object) -> str:
        return choose(Seen(**seen), silence=60).action  # type: ignore[arg-type]

    assert done(alive=True, silent=59.0) == "wait"
    assert done(alive=True, silent=60.0) == "end"
    assert done(alive=True, silent=59.0, ready=False) == "wait"
    assert choose(Seen(alive=True, silent=9.0, ready=False), silence=2).action == "wait"  # it is just starting
    assert done(alive=True, stuck="it stands") == "end"
    assert done(alive=True, silent=99.0, ending=1.0) == "wait"
    assert done(alive=True, silent=99.0, ending=5.0) == "kill"
    assert done(alive=False, due=0.1) == "wait"
    assert done(alive=False, failures=HOLD_AFTER) == "start"
    assert choose(Seen(alive=False, failures=HOLD_AFTER), silence=60, vital=True).action == "give_up"
    assert [pause(n) for n in (1, 2, 3, 4, 99)] == [0.2, 0.4, 0.8, 1.6, LONGEST]


def test_a_missed_day_is_made_up_for_and_a_clock_that_was_ahead_does_not_stop_it() -> None:
    now = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
    assert next_time("03:30", None, now) == now
    assert next_time("03:30", now - timedelta(days=3), now) == now
    assert next_time("03:30", now - timedelta(hours=8), now) == datetime(2026, 5, 3, 3, 30, tzinfo=UTC)
    assert next_time("03:30", now + timedelta(days=400), now) == now
