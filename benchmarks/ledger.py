"""What the ledger costs: sending beside an older checkout in the same run, room a sending takes, and a million events
of an older store brought up to it.

    python benchmarks/ledger.py against CHECKOUT [--mails 4000] [--pairs 3]
    python benchmarks/ledger.py migrate [--events 1000000]

``CHECKOUT`` is a clone at another commit; both are driven by this file with the same Python, one after the other. Every
mail belongs to a notification of a thread, and the suppression list listens. Speed is a ratio, by medians of the pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def drain(mails: int) -> dict[str, float]:
    """Send mails of a thread at 0 ms, in the tree on the path: mails a second, octets a sending (message apart)."""
    import sqlalchemy as sa

    from mailops import Ops
    from mailops.model.mail import Submission
    from mailops.model.setup import AliasDomain, Company, Encryption, Server
    from mailops.store import schema
    from mailops.testing import SmtpServerProcess
    from mailops.threads.service import Entry
    from mailops.workspace import init

    n = schema.notifications
    with tempfile.TemporaryDirectory() as folder, SmtpServerProcess() as smtp:
        ops = Ops.open(init(Path(folder) / "w").path)
        ops.save_alias_domain(AliasDomain("acme.example"))
        ops.save_company(Company("acme", "Acme", "info@acme.example"))
        server = {"host": "127.0.0.1", "port": smtp.port, "encryption": Encryption.NONE}
        ops.save_server(Server(key="main", name="Main", from_filter="acme.example", **server))
        entry = ops.threads.post(ops.threads.create_record("lead", "x"), Entry("Hello")).id
        people = [f"u{number}@x{number % 50}.example" for number in range(mails)]
        letters = (
            Submission(
                sender="ann@acme.example",
                to=(who,),
                subject=f"Mail {number}",
                text="Hi " * 20,
                origin="thread",
                thread_message_id=entry,
            )
            for number, who in enumerate(people)
        )
        ids = list(ops.queue.submit_many(letters))
        rows = [
            {"message_id": entry, "contact_id": 1, "channel": "email", "address": who, "state": "ready", "mail_id": i}
            for i, who in zip(ids, people, strict=True)
        ]
        with ops.engine.begin() as connection:
            connection.execute(sa.insert(n), rows)
        began = time.perf_counter()
        report = ops.queue.run()
        seconds = time.perf_counter() - began
        with ops.engine.connect() as connection:
            told = connection.execute(sa.select(sa.func.count()).where(n.c.state == "sent")).scalar()
        assert report.sent == told == mails, (report, told)
        ops.close()
        with closing(sqlite3.connect(Path(folder) / "w" / "mailops.db", isolation_level=None)) as store:
            raw = store.execute("SELECT sum(length(raw)) FROM contents").fetchone()[0]
            store.execute("DELETE FROM notifications")
            store.execute("VACUUM")
            size = store.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    return {"rate": mails / seconds, "octets": (size - raw) / mails}


def against(checkout: Path, mails: int, pairs: int) -> None:
    """Both trees in turn, and the ratio of their medians."""
    rates: dict[str, list[float]] = {"before": [], "now": []}
    octets = {"before": 0.0, "now": 0.0}
    for _ in range(pairs):
        for name, tree in (("before", checkout.resolve()), ("now", HERE)):
            # -P: this folder has a queue.py, which is not the standard library's
            command = [sys.executable, "-P", str(Path(__file__).resolve()), "drain", "--mails", str(mails)]
            child = subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True
            )
            found = json.loads(child.stdout.splitlines()[-1])
            rates[name].append(found["rate"])
            octets[name] = found["octets"]
            print(f"{name:7} {found['rate']:8,.0f} mails/s  {found['octets']:7,.0f} octets a sending")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"median  {medians['before']:,.0f} before, {medians['now']:,.0f} now: {medians['now'] / medians['before']:.2f}"
    )
    print(f"octets  {octets['before']:,.0f} before, {octets['now']:,.0f} now")


def migrate(events: int) -> None:
    """A store of schema 0003 with so many events, three a mail, opened by this version; then the books."""
    from mailops.ledger.check import check
    from mailops.store.database import open_database

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "mailops.db"
        shutil.copy(HERE / "tests" / "fixtures" / "stores" / "6f79daf" / "mailops.db", place)
        mails = events // 3
        with closing(sqlite3.connect(place)) as store, store:
            (top,) = store.execute("SELECT max(max(id), (SELECT max(mail_id) FROM events)) FROM mails").fetchone()
            store.execute("CREATE TEMP TABLE n (n INTEGER PRIMARY KEY)")
            store.execute(
                "INSERT INTO n WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) "
                "SELECT x + ? FROM c",
                (mails, top),
            )
            at = "'2026-10-01 08:00:00.000000'"
            who = "'u' || n || '@x' || (n % 97) || '.example'"
            mid = "'<' || n || '@acme.example>'"
            born = '\'{"domain": "acme.example", "class": "transactional"}\''
            said = '\'{"code": 451, "reply": "Later", "stage": "rcpt"}\''
            for statement in (
                "INSERT INTO mails (id, message_id, state, mail_class, size, origin, auto_delete, created_at, "
                "queued_at, due_at, attempts) "
                f"SELECT n, {mid}, 'sent', 'transactional', 9, 'api', 0, {at}, {at}, {at}, 2 FROM n",
                "INSERT INTO deliveries (mail_id, recipient, normalised, domain, state, updated_at) "
                f"SELECT n, {who}, {who}, 'x' || (n % 97) || '.example', 'sent', {at} FROM n",
                "INSERT INTO events (at, kind, mail_id, message_id, data) "
                f"SELECT {at}, 'submitted', n, {mid}, {born} FROM n",
                "INSERT INTO events (at, kind, mail_id, message_id, recipient, server_key, data) "
                f"SELECT {at}, 'deferred', n, {mid}, {who}, 'big', {said} FROM n",
                "INSERT INTO events (at, kind, mail_id, message_id, recipient, server_key) "
                f"SELECT {at}, 'sent', n, {mid}, {who}, 'big' FROM n",
                "INSERT INTO tallies SELECT '2026-10-01', 'big', 'acme.example', 'x' || (n % 97) || '.example', "
                "'transactional', k, count(*) FROM n, (SELECT 'sent' AS k UNION SELECT 'deferred') GROUP BY n % 97, k",
            ):
                store.execute(statement)
        size = place.stat().st_size
        began = time.perf_counter()
        engine = open_database(place)
        opened = time.perf_counter() - began
        began = time.perf_counter()
        found = check(engine)
        checked = time.perf_counter() - began
        engine.dispose()
    print(f"{found.facts:,} events, {size / 1e6:,.0f} MB: opened in {opened:.1f} s, books counted in {checked:.1f} s")
    wrong = {what: number for what, number in found.numbers.items() if what != "attempt"}
    print("the books agree" if not wrong else f"the books differ: {wrong} {[str(d) for d in found.differences[:3]]}")
    raise SystemExit(1 if wrong else 0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=["against", "migrate", "drain"])
    parser.add_argument("checkout", nargs="?", type=Path)
    parser.add_argument("--mails", type=int, default=4000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--events", type=int, default=1_000_000)
    chosen = parser.parse_args()
    if chosen.what == "drain":
        print(json.dumps(drain(chosen.mails)))
    elif chosen.what == "migrate":
        migrate(chosen.events)
    elif chosen.checkout is None:
        parser.error("against needs a checkout of another commit")
    else:
        against(chosen.checkout, chosen.mails, chosen.pairs)


if __name__ == "__main__":
    main()
