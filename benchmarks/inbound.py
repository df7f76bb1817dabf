"""How fast mail comes in, beside what the standard library needs only to read it.

    python benchmarks/inbound.py [--mails 1000] [--size 16000] [--imap] [--dovecot [--delay 20]]

``parse + route + store`` takes made mail through the whole intake (stored durably, decided, each with its row) into a
fresh workspace: mail for nobody, which costs the intake alone, and mail that makes a record each. Beside it stands the
bare ``email.message_from_bytes`` (compat32) over the same bytes, in the same run. ``--imap`` fetches the mails from
the loopback IMAP server of the kit, beside plain IMAPClient and imaplib; ``--dovecot`` from a real Dovecot 2.3, at
loopback and with ``--delay`` milliseconds a round trip.
"""

from __future__ import annotations

import argparse
import email
import imaplib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dovecot import delayed, dovecot

from mailops import Ops
from mailops.inbound.accounts import Account
from mailops.inbound.intake import INGEST, Run, Shown, batches
from mailops.inbound.intake_rows import Place
from mailops.model.setup import AliasDomain, Company, Encryption
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes
from mailops.workspace import init

BOX = "box@acme.example"


def made(number: int, size: int, to: str) -> bytes:
    line = f"Line of mail {number}: the quick brown fox jumps over the lazy dog.\r\n"
    head = (
        f"Received: from mx.y.example by mx.acme.example; Sun, 29 Nov 2026 10:00:00 +0000\r\nFrom: Ann <a{number}@"
        f"d{number % 500}.example>\r\nTo: {to}\r\nSubject: Mail {number}\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{to}.{number}@y.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    return (head + line * max(1, size // len(line))).encode()


@contextmanager
def workspace() -> Iterator[Ops]:
    with tempfile.TemporaryDirectory(prefix="mailops-bench-") as folder:
        ops = Ops.open(init(Path(folder) / "w"))
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme", "info@acme.example"))
        ops.save_alias("help", "ticket")
        yield ops
        ops.close()


def timed(name: str, number: int, work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:44} {number / wall:9.0f} /s   {number / cpu:9.0f} per CPU second")
    return number / wall, number / cpu


def take(ops: Ops, mails: list[bytes]) -> None:
    run = Run()
    for batch in batches(Shown(raw) for raw in mails):
        ops.intake.take(run, Place(INGEST), batch)
    counts = ops.intake.finish(run)
    assert counts.decided == len(mails), counts


def store(mails: int, size: int) -> None:
    with workspace() as ops:
        take(ops, [made(-1, size, "help@acme.example")])  # the modules are read, the store is open
        nobody = [made(n, size, "nobody@acme.example") for n in range(mails)]
        tickets = [made(n, size, "help@acme.example") for n in range(mails)]
        bare = timed("email.message_from_bytes, compat32", mails, lambda: [email.message_from_bytes(m) for m in nobody])
        refused = timed("parse + route + store, no route", mails, lambda: take(ops, nobody))
        created = timed("parse + route + store, a record each", mails, lambda: take(ops, tickets))
    print(
        f"beside the bare parse, by CPU: {refused[1] / bare[1]:.2f} (no route), {created[1] / bare[1]:.2f} (a record)"
    )


def fetch(mails: int, size: int) -> None:
    boxes = Mailboxes(BOX)
    for number in range(mails):
        boxes.deliver(BOX, made(number, size, "nobody@acme.example"))
    with ImapServer(boxes, {BOX: "x"}) as server:
        fetch_from(server.port, mails)


def fetch_real(mails: int, size: int, delay: float) -> None:
    for late in (0.0, delay):
        print(f"Dovecot, {late:g} ms a round trip")
        with dovecot(made(number, size, "nobody@acme.example") for number in range(mails)) as port:
            if late:
                with delayed(port, late / 1000) as wire:
                    fetch_from(wire, mails)
            else:
                fetch_from(port, mails)


def fetch_from(port: int, mails: int) -> None:
    from imapclient import IMAPClient

    os.environ["BENCH_PASSWORD"] = "x"
    with workspace() as ops:

        def plain() -> None:
            with IMAPClient("127.0.0.1", port, ssl=False) as client:
                client.login(BOX, "x")
                client.select_folder("INBOX", readonly=True)
                uids = client.search()
                for at in range(0, len(uids), 50):
                    client.fetch(uids[at : at + 50], ["BODY.PEEK[]"])

        def library() -> None:
            client = imaplib.IMAP4("127.0.0.1", port)
            client.login(BOX, "x")
            client.select("INBOX", readonly=True)
            for at in range(1, mails + 1, 50):
                client.uid("FETCH", f"{at}:{at + 49}", "(BODY.PEEK[])")
            client.logout()

        timed("imaplib, 50 at a time", mails, library)
        timed("IMAPClient, 50 at a time", mails, plain)
        ops.mailboxes.save(Account("box", "imap", "127.0.0.1", port, Encryption.NONE, BOX, "env:BENCH_PASSWORD"))
        ops.fetching.test("box")
        timed("mailops inbound fetch", mails, lambda: ops.fetch("box"))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--mails", type=int, default=1000)
    words.add_argument("--size", type=int, default=16_000)
    words.add_argument("--imap", action="store_true", help="also fetch from the loopback IMAP server")
    words.add_argument("--dovecot", action="store_true", help="also fetch from a real Dovecot")
    words.add_argument("--delay", type=float, default=20.0, help="milliseconds a round trip, beside loopback")
    words.add_argument("--only", action="store_true", help="fetch only")
    given = words.parse_args()
    if not given.only:
        store(given.mails, given.size)
    if given.imap:
        fetch(given.mails, given.size)
    if given.dovecot:
        fetch_real(given.mails, given.size, given.delay)


if __name__ == "__main__":
    main()
