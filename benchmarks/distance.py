"""How fast mail leaves over a distance: every round trip takes so many milliseconds, sessions work side by side.

    python benchmarks/distance.py [--delays 0 5 20 100] [--sessions 1 5 20] [--seconds 5] [--size 10240]
                                  [--database sqlite postgres]

The sink is a process of its own: whatever arrives together (a flight) is answered together, that much later. Counted
are mails *recorded* as sent, not those that the sink took. A row is beside what the distance allows (sessions, over
round trips a mail times the delay: two with PIPELINING, one with CHUNKING too), and beside Postfix's ``smtp-source``
with as many sessions in the same run (Debian's package postfix; where it is absent the row says so). ``smtp-source``
waits for each command's answer: four round trips a mail, MAIL, RCPT, DATA and the message.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this file's folder: its queue.py would hide the standard library's

import argparse
import asyncio
import contextlib
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

OFFERS = ("PIPELINING", "8BITMIME", "SIZE 52428800", "CHUNKING")


class Sink(asyncio.Protocol):
    """One connection. Answers to what came in one piece leave in one piece, ``delay`` seconds later."""

    open_now = 0
    most = 0

    def __init__(self, delay: float, chunking: bool) -> None:
        self.delay = delay
        self.offers = OFFERS if chunking else OFFERS[:-1]
        self.buffer = bytearray()
        self.out: list[bytes] = []
        self.wants = 0  # octets of a chunk that are still to come
        self.in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.loop = asyncio.get_running_loop()
        Sink.open_now += 1
        Sink.most = max(Sink.most, Sink.open_now)
        self.out.append(b"220 sink\r\n")
        self.answer()

    def connection_lost(self, exc: Exception | None) -> None:
        Sink.open_now -= 1

    def answer(self) -> None:
        if not self.out:
            return
        data = b"".join(self.out)
        self.out.clear()
        if self.delay:
            self.loop.call_later(self.delay, self.transport.write, data)
        else:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.step():
            pass
        self.answer()

    def step(self) -> bool:
        """Take one command, chunk or message off the buffer; False when more has to come first."""
        if self.wants:
            if len(self.buffer) < self.wants:
                return False
            del self.buffer[: self.wants]
            self.wants = 0
            self.out.append(b"250 2.0.0 OK\r\n")
            return True
        if self.in_data:
            end = self.buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            del self.buffer[: end + 5]
            self.in_data = False
            self.out.append(b"250 2.0.0 OK\r\n")
            return True
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self.buffer[:end]).upper()
        del self.buffer[: end + 2]
        if line.startswith(b"BDAT "):
            self.wants = int(line.split()[1])
            if not self.wants:
                self.out.append(b"250 2.0.0 OK\r\n")
        elif line == b"DATA":
            self.in_data = True
            self.out.append(b"354 Go on\r\n")
        elif line.startswith(b"EHLO"):
            lines = ["sink", *self.offers]
            self.out += [f"250{'-' if n < len(lines) else ' '}{text}\r\n".encode() for n, text in enumerate(lines, 1)]
        elif line == b"QUIT":
            self.out.append(b"221 Bye\r\n")
            self.loop.call_later(self.delay + 0.01, self.transport.close)  # after the answer
        else:
            self.out.append(b"250 2.0.0 OK\r\n")
        return True


async def listen(delay: float, chunking: bool) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Sink(delay, chunking), "127.0.0.1", 0, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until who started it closes the pipe


@contextlib.contextmanager
def sink(delay: float, chunking: bool) -> Iterator[int]:
    """The sink as a process; its port."""
    command = [sys.executable, __file__, "--sink", str(delay), "--chunking" if chunking else "--no-chunking"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.communicate(timeout=10)


def drained(port: int, sessions: int, mails: int, size: int, database: str | None) -> float:
    """Mails recorded as sent a second, by one run of the queue with at most so many sessions."""
    from mailops import Ops
    from mailops.model.mail import Submission
    from mailops.model.setup import AliasDomain, Company, Encryption, Server
    from mailops.model.states import MailState
    from mailops.workspace import init

    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    head = b"From: Ann <ann@acme.example>\r\nTo: Bob <bob@x.example>\r\nSubject: Distance\r\n\r\n"
    raw = head + line * ((size - len(head)) // len(line))
    with tempfile.TemporaryDirectory() as folder:
        made = init(Path(folder) / "w")
        if database:
            with (made.path / "mailops.toml").open("a") as file:
                file.write(f'\n[database]\nurl = "{database}"\n')
        ops = Ops.open(made.path)
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme"))
        ops.save_server(
            Server(
                "main", "Main", host="127.0.0.1", port=port, encryption=Encryption.NONE, from_filter="acme.example",
                max_sessions=sessions,
            )
        )  # fmt: skip
        source = (Submission(raw=raw, envelope_to=(f"u{n}@x{n % 50}.example",)) for n in range(mails))
        for _ in ops.queue.submit_many(source):
            pass
        began = time.perf_counter()
        ops.queue.run()
        seconds = time.perf_counter() - began
        recorded = ops.queue.counts()[MailState.SENT]
        ops.close()
    if recorded != mails:
        raise SystemExit(f"{recorded} of {mails} are recorded as sent")
    return recorded / seconds


def source(port: int, sessions: int, mails: int, size: int) -> float | None:
    """The same by ``smtp-source``; None where it is absent."""
    program = which("smtp-source") or which("smtp-source", path="/usr/sbin:/usr/libexec/postfix")
    if program is None:
        return None
    began = time.perf_counter()
    command = [program, "-d", "-s", str(sessions), "-m", str(mails), "-l", str(size), f"127.0.0.1:{port}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return mails / (time.perf_counter() - began)


def allowed(sessions: int, trips: int, delay: float) -> float | None:
    """What the distance allows, mails a second; None at no distance."""
    return sessions / (trips * delay) if delay else None


def row(what: str, rate: float | None, most: float | None) -> None:
    told = "absent" if rate is None else f"{rate:,.0f}"
    share = f"{rate / most:.2f}" if rate is not None and most else "-"
    print(f"{what:58} {told:>9} {f'{most:,.0f}' if most else '-':>9} {share:>6}", flush=True)


def main() -> None:
    """The command line."""
    from mailops.testing.postgres import new_database, postgres

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 5, 20, 100], help="milliseconds a round trip")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--seconds", type=float, default=5.0, help="for about so long each row runs")
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--database", nargs="+", default=["sqlite"])
    parser.add_argument("--chunking", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--sink", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.sink is not None:
        asyncio.run(listen(chosen.sink, bool(chosen.chunking)))
        return
    ways = [False, True] if chosen.chunking is None else [chosen.chunking]
    print(f"mails of {chosen.size} octets, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'what':58} {'recorded':>9} {'allowed':>9} {'share':>6}")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres()) if "postgres" in chosen.database else None
        number = 0
        for delay in (ms / 1000 for ms in chosen.delays):
            for sessions in chosen.sessions:
                most = allowed(sessions, 4, delay)
                mails = _mails(most, chosen.seconds)
                with sink(delay, False) as port:
                    rate = source(port, sessions, mails, chosen.size)
                row(f"smtp-source, {sessions} sessions, {delay * 1000:g} ms", rate, most)
                for database in chosen.database:
                    for chunking in ways:
                        most = allowed(sessions, 1 if chunking else 2, delay)
                        number += 1
                        target = new_database(url, f"d{number}") if database == "postgres" and url else None
                        with sink(delay, chunking) as port:
                            mails = _mails(most, chosen.seconds)
                            rate = drained(port, sessions, mails, chosen.size, target)
                        how = "CHUNKING" if chunking else "DATA"
                        row(f"mailops {database}, {sessions} sessions, {delay * 1000:g} ms, {how}", rate, most)


def _mails(most: float | None, seconds: float) -> int:
    return int(min(max((most or 4000.0) * seconds, 20), 4000 * seconds))


if __name__ == "__main__":
    main()
