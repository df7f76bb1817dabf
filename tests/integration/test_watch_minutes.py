"""A watch over minutes of the real clock, as a person leaves it running: name servers that catch up one by one, fall
silent and go back to an old zone; growing pauses; nothing that grows with the time."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailops import Ops
from mailops.demo.names import ask_here, zone
from mailops.testing.dns_server import DnsServer

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(420)]
DOMAIN = "northwind.example"
SPF = "TXT v=spf1 include:_spf.odoo.com mx ip4:203.0.113.40 -all"
DMARC = f"TXT v=DMARC1; p=none; rua=mailto:postmaster@{DOMAIN}"
OLD = "TXT v=spf1 mx ip4:203.0.113.40 -all"


def publish(server: DnsServer) -> None:
    server.replace(DOMAIN, "TXT", SPF)
    server.add(f"_dmarc.{DOMAIN}", DMARC)


def burden(pid: int) -> tuple[int, int]:
    """Open files and threads of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the burden is read from /proc")
def test_a_watch_lasts_through_minutes_of_servers_that_catch_up_one_by_one(ops_factory: Callable[..., Ops]) -> None:
    records = zone()
    records[DOMAIN] += [f"NS ns2.{DOMAIN}."]
    with DnsServer(records, ttl=60) as first, DnsServer(records, ttl=60) as second:
        ops = ops_factory()
        ask_here(ops.workspace.path / "mailops.toml", first.port)
        with (ops.workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
            file.write(f'"ns2.{DOMAIN}" = "127.0.0.1:{second.port}"\n')
        words = ["-w", str(ops.workspace.path), "domain", "watch", DOMAIN, "--service", "odoo", "--minutes", "6"]
        told: list[tuple[float, str]] = []
        burdens: list[tuple[int, int]] = []

        def restarted() -> None:
            """A secondary that comes up again with the zone it had before, at the moment it was first seen complete."""
            second.replace(DOMAIN, "TXT", OLD)
            later(40, second.replace, DOMAIN, "TXT", SPF)

        def silent() -> None:
            second.fault(DOMAIN, "TXT", "timeout", times=6)
            later(50, publish, second)

        acts: list[tuple[str, Callable[[], object]]] = [
            ("published on 0 of 2", lambda: later(15, publish, first)),
            ("published on 1 of 2", silent),
            ("seen on 2 of 2", restarted),
        ]
        began = time.monotonic()
        command = [sys.executable, "-u", "-m", "mailops", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                told.append((time.monotonic() - began, line.rstrip()))
                if acts and line.startswith(acts[0][0]):
                    acts.pop(0)[1]()
                if "next look in" in line:
                    time.sleep(0.5)  # a thread that ended is taken off the table a moment later
                    burdens.append(burden(child.pid))
            code = child.wait(30)
        asked = first.asked("TXT").count(DOMAIN)
    lines = [line for _, line in told]
    assert code == 0, lines
    assert acts == [], lines
    assert lines[-1].startswith("published on all 2 name servers"), lines
    assert not any("published on all" in line for line in lines[:-1]), "said once, and when it holds"
    again = next(at for at, line in told if line.startswith("seen on 2 of 2"))
    assert told[-1][0] > again + 40 > 60 + 40, "not before the restarted server has it for good"
    pauses = [int(found[1]) for line in lines if (found := re.search(r"next look in (\d+) s", line))]
    assert max(pauses) >= 20, pauses
    assert 6 <= len(pauses) <= 30, pauses
    assert min(burdens[-3:]) <= max(burdens[:3]), "no socket, file or thread is left by a look"
    assert asked <= 8 * len(pauses), "a look asks each record a bounded number of times"


def later(seconds: float, act: Callable[..., object], *arguments: object) -> None:
    timer = threading.Timer(seconds, act, arguments)
    timer.daemon = True
    timer.start()
