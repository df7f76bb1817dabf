"""Speed of the bounce reader beside the standard library's parse and flufl.bounce, in one run on one core.

    python benchmarks/bounces.py [FOLDER] [--seconds 3]

FOLDER holds ``.eml`` files (default: the messages that the reader is tested with, tests/fixtures/bounces and
bounces_field; without any, messages are made here). Messages are read into memory first. Reports and ordinary mail are
told apart by the reader itself and timed apart; the classifier's cache is emptied before every round, so that no round
profits from the one before.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailops.bounces import classify as _classify
from mailops.bounces import parse
from mailops.bounces.reading.classify import _classify as _cached

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def made() -> list[bytes]:
    """Messages for machines without a folder: reports of three systems and letters."""
    out = []
    for number in range(200):
        address = f"user{number}@dest{number % 17}.example"
        out.append(
            (
                "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail Returned to Sender\n"
                'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\n'
                "Content-Type: text/plain\n\nThis is the mail system at host mx.example.\n\n"
                f"<{address}>: host mail.example[192.0.2.{number % 250}] said: 550 5.1.1 User unknown\n\n--b\n"
                "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
                f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1\n"
                f"Diagnostic-Code: smtp; 550 5.1.1 User {number} unknown\n\n--b\nContent-Type: message/rfc822\n\n"
                f"Message-ID: <{number}@app.example>\nTo: {address}\nSubject: Offer\n\nHello\n--b--\n"
            ).encode()
        )
        out.append(
            (
                f"Return-Path: <ann{number}@example.com>\nReceived: from a by b; Mon, 13 Apr 2026 09:00:00 +0200\n"
                f"From: Ann <ann{number}@example.com>\nTo: Bob <bob@example.net>\nSubject: Lunch {number}\n"
                f"Date: Mon, 13 Apr 2026 09:00:00 +0200\nMessage-ID: <{number}@example.com>\n\n" + "Hello again.\n" * 80
            ).encode()
        )
    return out


def letters(count: int = 400) -> list[bytes]:
    """Ordinary mail of 1 to 40 kB, as a mailbox holds it: text, HTML alternatives, an attachment, a list header."""
    out = []
    for number in range(count):
        body = "Dear all, here are the numbers of the week and some words about them.\n" * (10 + number % 300)
        head = (
            f"Return-Path: <ann{number}@example.com>\nReceived: from mx1.example.com (mx1.example.com [192.0.2.1]) by "
            "mx2.example.net with ESMTPS id 4abc; Mon, 13 Apr 2026 09:00:00 +0200\n"
            "DKIM-Signature: v=1; a=rsa-sha256; "
            "d=example.com; s=s1; h=from:to:subject;\n bh=abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG=;\n b="
            + "A"
            * 300
            + f"\nFrom: Ann Lee <ann{number}@example.com>\nTo: Bob <bob@example.net>\n"
            f"Subject: Numbers of week {number}\n"
            f"Date: Mon, 13 Apr 2026 09:00:00 +0200\nMessage-ID: <{number}.abc@example.com>\nMIME-Version: 1.0\n"
        )
        if number % 3:
            text = f'{head}Content-Type: multipart/alternative; boundary="x"\n\n'
            text += f"--x\nContent-Type: text/plain\n\n{body}\n--x\n"
            text += f"Content-Type: text/html\n\n<p>{body}</p>\n--x--\n"
        else:
            text = f"{head}List-Id: <week.example.com>\nContent-Type: text/plain; charset=utf-8\n\n{body}"
        out.append(text.replace("\n", "\r\n").encode() if number % 2 else text.encode())
    return out


BEST: dict[Callable[[bytes], object], float] = {}
"""The best round of each work timed last: what the others of a busy machine took least from."""


def rate(work: Callable[[bytes], object], messages: list[bytes], seconds: float) -> float:
    """Messages a second of processor time, so that a busy machine changes little: the median of the rounds that fit in
    the time (at least three)."""
    rounds = []
    end = time.process_time() + seconds
    while len(rounds) < 3 or time.process_time() < end:
        _cached.cache_clear()
        start = time.process_time()
        for raw in messages:
            work(raw)
        rounds.append(len(messages) / (time.process_time() - start))
    BEST[work] = max(rounds)
    return statistics.median(rounds)


def others() -> dict[str, Callable[[bytes], object]]:
    """What is timed beside the reader."""
    found: dict[str, Callable[[bytes], object]] = {
        "email, compat32": lambda raw: [
            part.get_payload(decode=True) for part in email.message_from_bytes(raw).walk() if not part.is_multipart()
        ],
        "email, policy.default": lambda raw: list(email.message_from_bytes(raw, policy=email.policy.default).walk()),
    }
    try:
        from flufl.bounce import all_failures
    except ImportError:
        return found

    def flufl(raw: bytes) -> object:
        try:
            return all_failures(email.message_from_bytes(raw))
        except Exception:
            return None

    logging.disable(logging.CRITICAL)  # its detectors log a traceback for each message they cannot read
    found["flufl.bounce"] = flufl
    return found


def main() -> int:
    """Print a table: messages a second, and how many times as fast the reader is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of .eml files (default: the project's own messages)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each row")
    arguments = parser.parse_args()
    folders = [arguments.folder] if arguments.folder else [FIXTURES / "bounces", FIXTURES / "bounces_field"]
    messages = [file.read_bytes() for folder in folders for file in sorted(folder.rglob("*.eml"))]
    source = str(arguments.folder or "the project's own") if messages else "made here"
    messages = messages or made()
    reports = [raw for raw in messages if parse(raw).kind != "ordinary"]
    ordinary = [raw for raw in messages if parse(raw).kind == "ordinary"]
    mail = letters()
    size = sum(map(len, reports)) / max(len(reports), 1)
    print(f"messages: {source}; {len(reports)} reports (mean {size / 1000:.1f} kB), {len(ordinary)} others")
    own = rate(parse, reports, arguments.seconds)
    print(f"{'mailops, reports':<28} {own:>10,.0f}/s   best round {BEST[parse]:,.0f}/s")
    for name, work in others().items():
        other = rate(work, reports, arguments.seconds)
        mark = f"best round {BEST[work]:,.0f}/s"
        print(f"{name + ', reports':<28} {other:>10,.0f}/s   {mark}; mailops is {own / other:.2f} times as fast")
    if ordinary:
        print(f"{'mailops, others in folder':<28} {rate(parse, ordinary, arguments.seconds):>10,.0f}/s")
    own = rate(parse, mail, arguments.seconds)
    print(
        f"{'mailops, ordinary mail':<28} {own:>10,.0f}/s   ({len(mail)} letters, "
        f"mean {sum(map(len, mail)) / len(mail) / 1000:.1f} kB)"
    )
    for name, work in others().items():
        other = rate(work, mail, arguments.seconds)
        print(f"{name + ', ordinary':<28} {other:>10,.0f}/s   mailops is {own / other:.2f} times as fast")
    replies = [
        f"550 5.1.1 <user{number}@dest.example>: Recipient address rejected: User unknown" for number in range(2000)
    ]
    _cached.cache_clear()
    start = time.process_time()
    for reply in replies:
        _classify(550, "5.1.1", reply)
    print(f"{'mailops, SMTP replies':<28} {len(replies) / (time.process_time() - start):>10,.0f}/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
