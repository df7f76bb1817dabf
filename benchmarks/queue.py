"""How fast the queue drains, beside its peers in the same run.

usage: python benchmarks/queue.py [--mails 50000] [--size 10240] [--workers 1 2] [--database sqlite postgres]
                                  [--memory 1000000] [--sink kit]

Every mail is submitted, stored durably, leased, sent over real SMTP to a loopback sink, and settled. The sink is
Postfix's ``smtp-sink`` where it is installed (Debian's package postfix), else (or with ``--sink kit``) the testing
kit's server, which is slower and then sets the ceiling. In the same run
the sink's ceiling is measured with Postfix's ``smtp-source`` (connections reused) and with plain smtplib in a loop.
``--memory N`` queues N mails and reports the peak memory of a worker that sends the first 20,000 of them.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this file's folder: its name would hide the standard library's queue module

import argparse
import contextlib
import os
import platform
import resource
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mailops import Ops
from mailops.model.mail import Submission
from mailops.model.setup import AliasDomain, Company, Encryption, Server
from mailops.model.states import MailState
from mailops.testing.postgres import new_database, postgres
from mailops.workspace import init


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tool(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/libexec/postfix")


@contextlib.contextmanager
def sink(kind: str) -> Iterator[tuple[int, str]]:
    """A loopback SMTP sink in a process of its own: (port, name)."""
    program = tool("smtp-sink") if kind == "postfix" else None
    if program is None:
        from mailops.testing import SmtpServerProcess

        with SmtpServerProcess(trace=False) as smtp:
            yield smtp.port, "mailops.testing"
        return
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    child = subprocess.Popen([program, *user, "-c", f"127.0.0.1:{port}", "1000"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield port, "smtp-sink"
    finally:
        child.terminate()
        child.wait(timeout=10)


def message(size: int) -> bytes:
    """A raw message of about ``size`` bytes."""
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    head = b"From: Ann <ann@acme.example>\r\nTo: Bob <bob@x.example>\r\nSubject: Benchmark\r\n\r\n"
    return head + line * ((size - len(head)) // len(line))


def workspace(folder: Path, port: int, database: str | None) -> Ops:
    made = init(folder)
    if database:
        with (made.path / "mailops.toml").open("a") as file:
            file.write(f'\n[database]\nurl = "{database}"\n')
    ops = Ops.open(made.path)
    ops.save_alias_domain(AliasDomain("acme.example"))
    ops.save_company(Company("acme", "Acme"))
    ops.save_server(
        Server("main", "Main", host="127.0.0.1", port=port, encryption=Encryption.NONE, from_filter="acme.example")
    )
    return ops


def fill(ops: Ops, count: int, size: int) -> float:
    raw = message(size)
    began = time.perf_counter()
    source = (Submission(raw=raw, envelope_to=(f"u{n}@x{n % 50}.example",)) for n in range(count))
    for _ in ops.queue.submit_many(source):
        pass
    return time.perf_counter() - began


def drain(ops: Ops, workers: int, limit: int | None = None) -> tuple[float, int]:
    """Seconds and the peak memory (KiB) of the largest worker; each worker is a process."""
    command = [sys.executable, __file__, "--child", str(ops.workspace.path), str(limit or 0)]
    began = time.perf_counter()
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    peaks = []
    for child in children:
        out, _ = child.communicate(timeout=3600)
        if child.returncode:
            raise SystemExit("a worker failed")
        peaks.append(int(out))
    return time.perf_counter() - began, max(peaks)


def child(path: str, limit: int) -> None:
    Ops.open(path).queue.run(limit=limit or None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def source(port: int, mails: int, size: int, sessions: int) -> float | None:
    program = tool("smtp-source")
    if program is None:
        return None
    began = time.perf_counter()
    command = [program, "-d", "-s", str(sessions), "-m", str(mails), "-l", str(size), f"127.0.0.1:{port}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return mails / (time.perf_counter() - began)


def plain(port: int, mails: int, size: int) -> float:
    raw = message(size)
    client = smtplib.SMTP("127.0.0.1", port)
    began = time.perf_counter()
    for n in range(mails):
        client.sendmail("bounce@acme.example", [f"u{n}@x.example"], raw)
    seconds = time.perf_counter() - began
    client.quit()
    return mails / seconds


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description="How fast the queue drains.")
    parser.add_argument("--mails", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--sink", choices=["postfix", "kit"], default="postfix")
    options = parser.parse_args()
    print(f"{options.mails} mails of {options.size} bytes, {os.cpu_count()} cores, Python {platform.python_version()}")
    with contextlib.ExitStack() as stack:
        port, name = stack.enter_context(sink(options.sink))
        url = stack.enter_context(postgres()) if "postgres" in options.database else None
        print(f"sink: {name}\n")
        print(f"{'what':44} {'mails/s':>9} {'of smtp-source':>15} {'peak MiB':>9}")
        ceilings: dict[int, float | None] = {}
        for sessions in sorted(set(options.workers)):
            ceilings[sessions] = source(port, options.mails, options.size, sessions)
            _row(f"smtp-source, {sessions} session(s)", ceilings[sessions], ceilings[sessions], None)
        _row(
            "smtplib in a loop, 1 session", plain(port, min(options.mails, 20_000), options.size), ceilings.get(1), None
        )
        for kind in options.database:
            for workers in options.workers:
                with tempfile.TemporaryDirectory() as folder:
                    target = new_database(url, f"w{workers}") if kind == "postgres" and url else None
                    ops = workspace(Path(folder) / "ws", port, target)
                    stored = options.mails / fill(ops, options.mails, options.size)
                    seconds, peak = drain(ops, workers)
                    if ops.queue.counts()[MailState.SENT] != options.mails:
                        raise SystemExit("not every mail was sent")
                    ops.close()
                _row(f"mailops {kind}: submitted, durably", stored, ceilings.get(1), None)
                _row(
                    f"mailops {kind}: drained by {workers} worker(s)",
                    options.mails / seconds,
                    ceilings.get(workers),
                    peak,
                )
        if options.memory:
            _memory(port, options.memory)


def _memory(port: int, queued: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ops = workspace(Path(folder) / "ws", port, None)
        stored = queued / fill(ops, queued, 1024)
        seconds, peak = drain(ops, 1, 20_000)
        began = time.perf_counter()
        ops.queue.health()
        page = ops.queue.page(limit=25)
        looked = time.perf_counter() - began
        _row(f"{queued} queued (1 KB each): submitted", stored, None, None)
        _row(f"{queued} queued: first 20,000 drained", 20_000 / seconds, None, peak)
        print(f"{queued} queued: counts and the first page of {page.total} in {looked:.2f} s")
        ops.close()


def _row(what: str, rate: float | None, ceiling: float | None, peak: int | None) -> None:
    share = f"{rate / ceiling:.2f}" if rate and ceiling else "-"
    print(
        f"{what:44} {f'{rate:.0f}' if rate else 'absent':>9} {share:>15} {f'{peak / 1024:.0f}' if peak else '':>9}",
        flush=True,
    )


if __name__ == "__main__":
    main()
