"""A service that is killed, hangs or breaks is started again, the next mail leaves, and status and health tell it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from furnish import furnish
from prometheus_client.parser import text_string_to_metric_families
from test_serve import pids, serving
from test_serve_faults import Serving
from test_serve_faults import serving as faulty

from mailops import Ops
from mailops.errors import ConfigError
from mailops.model.running import WORKER_STATE, read_running
from mailops.model.states import MailState
from mailops.secrets import RedactingFilter, register
from mailops.service.decide import HOLD_AFTER, LONGEST, Seen, choose, pause
from mailops.service.export import export
from mailops.service.logs import Out, formatter
from mailops.service.schedule import next_time
from mailops.testing import SmtpServer
from mailops.webhooks import health
from mailops.workspace import init


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One ``mailops serve`` that bears all of it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAILOPS_SERVE__SILENCE", "2")
        with faulty(tmp_path_factory.mktemp("service"), "--webhooks", "0") as made:
            assert made.child.stdout is not None
            made.http = int(made.child.stdout.readline().rpartition("127.0.0.1:")[2].partition("/")[0])  # type: ignore[attr-defined]
            made.until(lambda: set(pids(made.ops)) == {"intake", "queue", "schedule", "mailboxes"}, "not all are up")
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
    found = served.ops.status()
    assert found.health in ("worried", "down")  # down while it starts
    assert any(line.startswith(name) for line in found.why), found.why
    assert state.restarts > 0
    assert {"SIGKILL": "SIGKILL", "SIGTERM": "by itself", "SIGSTOP": "no heartbeat"}[how.name] in state.error
    following = served.submit()
    served.until(lambda: served.arrived()[following], "the next mail stays")


@pytest.mark.parametrize(
    ("point", "kind"),
    [("settle", "hang"), ("step:leased", "kill"), ("step:data", "kill"), ("step:final-reply", "kill"), ("pay", "kill")],
)
def test_the_queue_may_hang_or_die_amid_work(served: Serving, point: str, kind: str) -> None:
    served.now(f"{point} {kind} 1")
    struck = served.submit()
    served.until(served.struck, f"{kind} did not strike at {point}")
    following = served.submit()
    served.until(lambda: served.arrived()[following], "the next mail stays")
    served.until(lambda: served.arrived()[struck], "the mail it struck is lost")
    assert served.ops.books().agree


@pytest.mark.parametrize("kind", ["exit", "kill", "hang"])
def test_intake_may_end_or_hang_amid_a_mail(served: Serving, kind: str) -> None:
    """Its client hears no 250; the next one does, and its mail leaves."""
    served.now(f"accept {kind} 1")
    with pytest.raises((smtplib.SMTPException, OSError)):
        served.submit()
    assert served.struck()
    following = served.submit_patiently()
    served.until(lambda: served.arrived()[following], "the next mail stays")


def test_a_client_s_connection_waits_while_intake_is_started_again(served: Serving) -> None:
    """The socket is the parent's: nobody is refused."""
    for _ in range(6):
        served.until(lambda: "intake" in pids(served.ops), "it is not up")
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


def test_services_end_with_a_parent_that_is_killed(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0.3") as (child, port):
            limit = time.monotonic() + 20
            while len(pids(ops)) < 4 and time.monotonic() < limit:
                time.sleep(0.05)
            services = pids(ops)
            assert len(services) == 4
            child.kill()
            child.wait(timeout=10)
            while any(Path(f"/proc/{pid}").exists() for pid in services.values()):
                assert time.monotonic() < limit + 10, "a service outlives its parent"
                time.sleep(0.05)
            with contextlib.suppress(ConnectionRefusedError):
                smtplib.SMTP("127.0.0.1", port, timeout=2)
                pytest.fail("somebody still listens")


# --- what is told -----------------------------------------------------------------------------------------------------


def get(served: Serving, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{served.http}{path}", headers=headers, trust_env=False, timeout=20)  # type: ignore[attr-defined]


def test_health_and_metrics_say_what_status_says(served: Serving) -> None:
    served.until(lambda: get(served, "/healthz").status_code == 200, "it stays down")
    assert get(served, "/healthz").json()["health"] in ("well", "worried")
    text = get(served, "/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    up = {sample.labels["service"]: sample.value for sample in families["mailops_service_up"].samples}
    assert up == {"intake": 1.0, "queue": 1.0, "schedule": 1.0, "mailboxes": 1.0}
    restarts = {sample.labels["service"]: sample.value for sample in families["mailops_service_restarts"].samples}
    assert restarts == {s.name: s.restarts for s in served.ops.status().running[0].services}
    sent = [s.value for s in families["mailops_queue_mails"].samples if s.labels["state"] == "sent"]
    assert sent == [served.ops.queue.counts()[MailState.SENT]]
    written = {
        f.name: f for f in text_string_to_metric_families(health.written(health.figures(served.ops.status())).decode())
    }
    assert written.keys() == families.keys()  # without the library it reads the same
    assert get(served, "/healthz", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 404
    assert httpx.post(f"http://127.0.0.1:{served.http}/healthz", trust_env=False).status_code == 405  # type: ignore[attr-defined]


def status(ops: Ops) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def test_the_command_says_it_with_its_exit_code(served: Serving, ops_factory: Callable[..., Ops]) -> None:
    mine = served.submit()
    served.until(lambda: served.arrived()[mine], "it stays")
    served.until(lambda: served.ops.queue.counts()[MailState.OUTGOING] == 0, "it is not recorded")
    code, told = status(served.ops)
    assert (code, told["exit_code"]) == (0, 0)
    assert [s["name"] for s in told["running"][0]["services"]] == ["intake", "queue", "schedule", "mailboxes"]
    assert all(s["pid"] and s["heard"] for s in told["running"][0]["services"])
    assert told["queue"]["counts"]["sent"] > 0
    assert sum(w["sent"] for w in told["workers"]) > 0
    ops = ops_factory()
    ops.setup  # noqa: B018  (there is a store)
    assert ops.status().exit_code == 3
    served.now("recover lookup 1000000")
    served.until(lambda: served.ops.status().exit_code == 1, "nobody says that nothing is sent")
    assert any("451" in line for line in served.ops.status().why)
    assert get(served, "/healthz").status_code == 503
    served.now("none none 0")
    served.until(lambda: served.ops.status().exit_code == 0, "it stays down")


def test_a_line_of_log_is_json_or_words_and_holds_no_secret() -> None:
    said = io.StringIO()
    register("grapefruit-77")
    record = logging.LogRecord("mailops.mail", logging.INFO, __file__, 1, "mail %s sent\x1b[31m", (7,), None)
    record.fields = {"mail": 7, "reason": "say grapefruit-77 \x1b[31m", "login": None}
    for kind, found in (("json", json.loads), ("text", str)):
        handler = logging.StreamHandler(said)
        handler.setFormatter(formatter(kind))
        handler.addFilter(RedactingFilter())
        handler.handle(record)
        line = said.getvalue()
        assert found(line)
        assert "grapefruit" not in line
        assert "\x1b" not in line
        said.seek(said.truncate(0))
    assert line.count("\n") == 1
    assert " mail=7 " in line
    assert "login" not in line


def test_mail_does_not_wait_for_who_reads_the_log() -> None:
    """A reader that stops holds a line up once; what is lost meanwhile is counted when it reads again."""
    reads, writes = os.pipe()
    out = Out(writes)
    began = time.monotonic()
    for number in range(3000):
        out.write(f"{number} {'x' * 100}\n")
    assert time.monotonic() - began < 5
    os.set_blocking(reads, False)
    got = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reads, 65_536):
            got += piece
    kept = got.count(b"\n")
    out.write("again\n")
    said = os.read(reads, 65_536).decode()
    assert said == f"{3000 - kept} lines of log were lost, as nobody read them\nagain\n"
    for descriptor in (reads, writes):
        os.close(descriptor)


@pytest.mark.parametrize("worker", [False, True])
def test_units_for_systemd_and_compose_are_what_these_read(
    ops_factory: Callable[..., Ops], tmp_path: Path, worker: bool
) -> None:
    ops = ops_factory("work 100% $HOME 'x'", toml="\n[serve]\nport = 587\ngrace = 20\n")
    name = "worker" if worker else "serve"
    text = export("systemd", ops.workspace.path, ops.workspace.settings.serve, command=name)
    assert "TimeoutStopSec=32" in text
    assert ("CAP_NET_BIND_SERVICE" in text) is not worker
    if shutil.which("systemd-analyze"):
        unit = tmp_path / f"mailops-{name}.service"
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    [(title, service)] = yaml.safe_load(
        export("compose", ops.workspace.path, ops.workspace.settings.serve, command=name)
    )["services"].items()
    assert title == f"mailops-{name}"
    assert service["command"][-1] == name
    assert service["volumes"][0]["source"] == str(ops.workspace.path.resolve())
    assert service["stop_grace_period"] == "32s"
    assert ("ports" in service) is not worker
    with pytest.raises(ConfigError, match="docker"):
        export("docker", ops.workspace.path, ops.workspace.settings.serve)


def test_workers_of_two_machines_share_a_queue_and_are_shown(
    ops_factory: Callable[..., Ops], fresh_postgres: str
) -> None:
    """Each in a workspace of its own, as on two machines; the store is one."""
    with SmtpServer() as smtp:
        ops = ops_factory(database=fresh_postgres)
        furnish(ops, smtp)
        other = init(ops.workspace.path.parent / "other")
        other.path.joinpath("mailops.toml").write_text(ops.workspace.path.joinpath("mailops.toml").read_text())
        folders = (ops.workspace.path, other.path)
        command = [sys.executable, "-m", "mailops.cli", "worker", "--queue-every", "0.05"]
        children = [
            subprocess.Popen(command, env={**os.environ, "MAILOPS_WORKSPACE": str(f)}, stdout=subprocess.DEVNULL)
            for f in folders
        ]
        try:
            limit = time.monotonic() + 40
            while not all(pids(ops, f, WORKER_STATE) for f in folders):
                assert time.monotonic() < limit, [c.poll() for c in children]
                time.sleep(0.05)
            sent = 0
            while len({w.worker for w in ops.status().workers if w.sent}) < 2:
                assert time.monotonic() < limit, "one of them sends all"
                ops.send(sender="ann@acme.example", to=f"u{sent}@x.example", subject="s", text="t")
                sent += 1
            while ops.queue.counts()[MailState.OUTGOING]:
                assert time.monotonic() < limit, "a mail stays"
                time.sleep(0.05)
            found = ops.status()
            assert [one.kind for one in found.running] == ["worker"]
            assert found.exit_code == 0
            assert sum(w.sent for w in found.workers) == sent
        finally:
            for child in children:
                child.send_signal(signal.SIGTERM)
            assert [child.wait(timeout=30) for child in children] == [0, 0]
        assert sorted(r for m in smtp.messages for r in m.recipients) == sorted(f"u{n}@x.example" for n in range(sent))


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
