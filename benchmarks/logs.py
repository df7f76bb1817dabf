"""How quickly logs are read, joined and taken into the store, beside Debian's pflogsumm on the same lines.

    python benchmarks/logs.py [--lines 1000000] [--facts 200000] [--pflogsumm PATH]

Makes the log of a busy Postfix (both kinds of stamps), reads and joins it in a process of its own, whose memory is
told, and takes part of it into a new store. pflogsumm is run on the same file in the same run; where it is neither in
PATH nor named, that is said. Rates are lines a second of processor time, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailops.logs import Joiner, Stamps, join_lines, lines_of

LOG = "mail.log"
TIMES = 5
"""How many times as fast as pflogsumm is wanted."""


def made(number: int, *, iso: bool) -> Iterator[str]:
    """Lines of Postfix: a mail every third of a second, one in twelve deferred, one in twenty refused, some rejects."""
    at, mail, out = datetime(2026, 11, 2, tzinfo=UTC), 0, 0
    while out < number:
        at += timedelta(seconds=0.3)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S.%f+00:00}" if iso else f"{at:%b} {at.day:2d} {at:%H:%M:%S}"
        mail += 1
        queue = f"{0xA00000000 + mail:X}"
        to, relay = f"u{mail}@d{mail % 300}.example", f"mx.d{mail % 300}.example[192.0.2.{mail % 250}]:25"
        head = f"{stamp} mx1 postfix"
        tail = f"to=<{to}>, relay={relay}, delay=0.4, delays=0.1/0/0.2/0.1"
        host = relay.removesuffix(":25")
        lines = [
            f"{head}/smtpd[123]: connect from app[10.0.0.1]",
            f"{head}/smtpd[123]: {queue}: client=app[10.0.0.1], sasl_method=PLAIN, sasl_username=odoo",
            f"{head}/cleanup[124]: {queue}: message-id=<{mail}.x@acme.example>",
            f"{head}/qmgr[125]: {queue}: from=<ann@acme.example>, size=2345, nrcpt=1 (queue active)",
            f"{head}/smtpd[123]: disconnect from app[10.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        ]
        if mail % 12 == 0:
            lines.append(
                f"{head}/smtp[126]: {queue}: {tail}, dsn=4.7.1, status=deferred (host {host} said: 451 4.7.1"
                " Greylisted, try again (in reply to RCPT TO command))"
            )
        if mail % 20 == 0:
            lines.append(
                f"{head}/smtp[126]: {queue}: {tail}, dsn=5.1.1, status=bounced (host {host} said: 550 5.1.1"
                f" <{to}>: User unknown (in reply to RCPT TO command))"
            )
        else:
            lines.append(
                f"{head}/smtp[126]: {queue}: {tail}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4F{mail:X})"
            )
        if mail % 10 == 0:
            lines.append(
                f"{head}/smtpd[127]: NOQUEUE: reject: RCPT from unknown[203.0.113.{mail % 250}]: 554 5.7.1 Service"
                f" unavailable; Client host [203.0.113.{mail % 250}] blocked using zen.example;"
                f" from=<s{mail}@spam.example> to=<ann@acme.example> proto=ESMTP helo=<x>"
            )
        lines.append(f"{head}/qmgr[125]: {queue}: removed")
        yield from lines
        out += len(lines)


def joined(path: Path) -> dict[str, float]:
    """Read and join a file: lines a second of processor time, the answers, and the most memory in MB."""
    start = time.process_time()
    joiner, answers = Joiner(), 0
    stamps = Stamps(zone=UTC, reference=datetime(2026, 12, 1, tzinfo=UTC))
    for _ in join_lines(joiner, lines_of(path), stamps):
        answers += len(joiner.drain()[0])
    took = time.process_time() - start
    return {"lines": joiner.seen.lines, "rate": joiner.seen.lines / took, "answers": answers, "memory": memory()}


def taken(path: Path) -> dict[str, float]:
    """Take a file into a new store: lines a second, of processor time and by the clock on the wall."""
    from mailops import Ops
    from mailops.workspace import init

    with tempfile.TemporaryDirectory() as folder:
        ops = Ops.open(init(Path(folder) / "w"))
        _ = ops.engine
        start, wall = time.process_time(), time.monotonic()
        done = ops.logs.take(path, zone="UTC")
        took, waited = time.process_time() - start, time.monotonic() - wall
        again = ops.logs.take(path, zone="UTC").taken.facts
        ops.close()
    lines = done.seen.lines
    return {"lines": lines, "rate": lines / took, "wall": lines / waited, "facts": done.taken.facts, "again": again,
            "memory": memory()}  # fmt: skip


def memory() -> float:
    """The most memory this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(what: str, path: Path) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--measure", what, str(path)], capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def summed(program: str, path: Path) -> float:
    """The processor time of pflogsumm on a file."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--facts", type=int, default=200_000, help="lines that are taken into the store")
    parser.add_argument("--pflogsumm", default=shutil.which("pflogsumm"), help="the program, where it is not in PATH")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, file = arguments.measure
        print(json.dumps({"joined": joined, "taken": taken}[what](Path(file))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for iso in (False, True):
            path = Path(folder) / LOG
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in made(arguments.lines, iso=iso))
            os.utime(path, (1_796_083_200, 1_796_083_200))
            found = apart("joined", path)
            name = "RFC 3339" if iso else "BSD"
            print(f"{name:<9} {found['lines']:>10,.0f} lines read and joined: {found['rate']:>10,.0f} lines/s,"
                  f" {found['answers']:,.0f} answers, {found['memory']:.0f} MB")  # fmt: skip
            if arguments.pflogsumm:
                theirs = found["lines"] / summed(arguments.pflogsumm, path)
                print(f"{'':<9} pflogsumm on the same lines: {theirs:>10,.0f} lines/s; mailops is"
                      f" {found['rate'] / theirs:.1f} times as fast (wanted: {TIMES})")  # fmt: skip
            else:
                print(f"{'':<9} pflogsumm is not here, so nothing is compared (apt-get install pflogsumm)")
        part = Path(folder) / "part.log"
        with part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in made(arguments.facts, iso=True))
        found = apart("taken", part)
        print(f"facts     {found['lines']:>10,.0f} lines taken: {found['rate']:>10,.0f} lines/s of processor time,"
              f" {found['wall']:,.0f} by the clock; {found['facts']:,.0f} facts, {found['again']:.0f} new when taken"
              f" again, {found['memory']:.0f} MB")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
