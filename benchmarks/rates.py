"""What the page of bounce rates costs over many facts: seconds, of them processor, and memory.

``python benchmarks/rates.py [--mails 500000]``. A store is filled with so many mails of a year to 400 domains (a fact
that each was handed in, one of what became of it, and returns that came days later): somewhat over two facts a mail.
Then each question of the page ``bounce_rate`` is asked once in a fresh process, as a person who opens it does, and the
whole page is timed with the memory it took.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REASONS = ("userunknown", "mailboxfull", "blocked", "spamdetected")


def fill(folder: Path, mails: int) -> int:
    """Fill a store; the number of its facts."""
    from mailops import Ops
    from mailops.store import schema
    from mailops.workspace import init

    chance, end = random.Random(5), datetime.now(UTC)
    facts, total = [], 0
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    with Ops.open(init(folder).path) as ops:

        def write() -> None:
            nonlocal total
            with ops.engine.begin() as connection:
                connection.execute(schema.events.insert(), facts)
            total += len(facts)
            facts.clear()

        for mail in range(mails):
            left = end - timedelta(seconds=(mails - mail) * 365 * 86_400 / mails)
            domain = f"d{min(int(chance.expovariate(0.02)), 399)}.example"
            who, server, sender = f"u{chance.randrange(60_000)}@{domain}", f"s{mail % 3}", f"own{mail % 4}.example"
            common = {"mail_id": mail + 1, "message_id": None, "server_key": None, "actor": "api", "left_at": None}
            facts.append({**common, "at": left, "kind": "submitted", "recipient": None,
                          "data": {"domain": sender, "class": "mass", "recipients": 1}})  # fmt: skip
            luck, reason = chance.random(), chance.choice(REASONS)
            kind = "failed" if luck < 0.012 else "sent"
            refused = {"reason": reason, "enhanced": "5.1.1", "reply": "550 no", "stage": "rcpt"}
            said = refused if kind == "failed" else {}
            there = {**common, "recipient": who, "server_key": server}
            facts.append({**there, "at": left, "kind": kind, "data": said})
            outcome = kind
            if 0.012 <= luck < 0.022 and left + timedelta(days=2) < end:
                outcome = "bounced"
                came, why = left + timedelta(days=chance.random() * 2), {"reason": reason, "status": "5.1.1"}
                facts.append({**there, "at": came, "kind": "bounced", "left_at": left, "data": why})
            counts[f"{left:%Y-%m-%dT%H}", server, sender, domain, outcome] += 1
            if len(facts) > 40_000:
                write()
        write()
        names = ("hour", "server_key", "sender_domain", "recipient_domain", "outcome")
        rows = [
            {**dict(zip(names, group, strict=True)), "mail_class": "mass", "count": sendings}
            for group, sendings in counts.items()
        ]
        with ops.engine.begin() as connection:
            connection.execute(schema.counts.insert(), rows)
    return total


def ask(folder: Path) -> None:
    """Ask every question of the page once; prints seconds by question, and the process's peak."""
    began = time.monotonic()
    from mailops import Ops
    from mailops.widgets import MetricsCard, RatesView

    with Ops.open(folder) as ops:
        view = RatesView(ops)
        questions: dict[str, Callable[[], object]] = {
            "imports": lambda: None,
            "tiles": lambda: view.tiles().html(),
            "what changed": lambda: view.notice().html(),
            "incidents": lambda: ops.analysis.incidents("30d"),
            "by day": lambda: view.trend("day").html(),
            "by week": lambda: view.trend("week").html(),
            "groups": lambda: view.groups().html(),
            "causes": lambda: view.causes().html(),
            "metrics": lambda: MetricsCard(ops).html(),
        }
        spent = {}
        for name, question in questions.items():
            at = began if name == "imports" else time.monotonic()
            question()
            spent[name] = time.monotonic() - at
    whole = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"spent": spent, "whole": whole, "processor": time.process_time(), "peak": peak}))


def main() -> None:
    """Fill, ask and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--mails", type=int, default=500_000)
    asked.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.ask:
        ask(options.ask)
        return
    with tempfile.TemporaryDirectory() as place:
        facts = fill(Path(place) / "workspace", options.mails)
        command = [sys.executable, __file__, "--ask", str(Path(place) / "workspace")]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name, seconds in found["spent"].items():
        print(f"{name:14} {seconds:6.2f} s")
    whole, used, peak = (found[name] for name in ("whole", "processor", "peak"))
    print(f"the page over {facts:,} facts: {whole:.2f} s, of it {used:.2f} s processor, peak {peak} MB")


if __name__ == "__main__":
    main()
