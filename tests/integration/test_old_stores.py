"""Stores of landed versions open with today's code, lose nothing, and are drained to the last mail.

``tests/fixtures/stores`` holds one workspace for each landed schema, left behind by a worker killed amid a batch; its
README says what is in them. Older schemas than the first of these are built here by the migrations themselves.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mailops import Ops
from mailops.cli import main
from mailops.model.mail import Submission
from mailops.model.setup import MailClass
from mailops.store import migrate, schema
from mailops.store.database import make_engine, open_database
from mailops.testing import ManualClock, SmtpServer

ROOT = Path(__file__).parents[2]
STORES = ROOT / "tests" / "fixtures" / "stores"
FOLDERS = sorted(folder.name for folder in STORES.iterdir() if (folder / "expected.json").is_file())


@dataclass
class OldStore:
    """A copy of a fixture as if it had always stood here."""

    folder: Path
    expected: dict[str, Any]

    @property
    def clock(self) -> ManualClock:
        """An hour after it was made: what was put off is due, nothing is too old to be tried."""
        return ManualClock(datetime.fromisoformat(self.expected["made_at"]) + timedelta(hours=1))

    def pairs(self, *names: str) -> Counter[tuple[str, str]]:
        return Counter((mail, who) for name in names for mail, who in self.expected[name])


@pytest.fixture(params=FOLDERS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> OldStore:
    folder = tmp_path / "workspace"
    shutil.copytree(STORES / request.param, folder)
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    (folder / "expected.json").unlink()
    (folder / "secrets").mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    with contextlib.closing(sqlite3.connect(folder / "mailops.db", isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET folder = replace(folder, ?, ?)", (expected["place"], str(folder)))
    return OldStore(folder, expected)


@pytest.fixture
def opened() -> Iterator[Callable[..., Ops]]:
    made: list[Ops] = []

    def make(folder: Path, clock: ManualClock | None = None) -> Ops:
        made.append(Ops.open(folder, clock=clock))
        return made[-1]

    yield make
    for ops in made:
        ops.close()


def cli(folder: Path, *words: str) -> Any:
    """What a command says with ``--json``; nothing else may stand on standard output."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["mailops", "-w", str(folder), *words, "--json"])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 0, out.getvalue()
    return json.loads(out.getvalue())


def rows_of(ops: Ops) -> dict[str, int]:
    with ops.engine.connect() as connection:
        count = sa.select(sa.func.count())
        names = sa.inspect(connection).get_table_names()
        return {n: connection.execute(count.select_from(sa.table(n))).scalar_one() for n in names}


def test_the_newest_schema_has_a_store_here() -> None:
    """Who adds a migration adds a store made by it: tests/fixtures/stores/README.md says how."""
    have = {json.loads((STORES / name / "expected.json").read_text("utf-8"))["schema"] for name in FOLDERS}
    assert migrate.newest() in have, f"make one with tests/fixtures/stores/make.py; there are {sorted(have)}"


@pytest.mark.slow
def test_the_script_makes_a_store_of_todays_schema(tmp_path: Path) -> None:
    """So that it works on the day a migration needs it."""
    words = [sys.executable, str(STORES / "make.py"), str(tmp_path / "today"), str(tmp_path / "place")]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    made, landed = (
        json.loads((f / "expected.json").read_text("utf-8")) for f in (tmp_path / "today", STORES / FOLDERS[0])
    )
    assert made["schema"] == migrate.newest()
    assert set(made) == set(landed)
    assert made["mails"] == landed["mails"]


def test_nothing_is_lost_by_opening(old: OldStore, opened: Callable[..., Ops]) -> None:
    ops = opened(old.folder, old.clock)
    states = {state.value: number for state, number in ops.queue.counts().items() if number}
    assert states == old.expected["mails"]
    have = rows_of(ops)
    kept = {table: rows for table, rows in old.expected["tables"].items() if table != "tallies"}  # counted anew by hour
    assert {table: have.get(table) for table in kept} == kept
    assert not {what for what in ops.books().numbers if what == "counter"}
    with ops.engine.connect() as connection:
        d = schema.deliveries.c.state
        found = connection.execute(sa.select(d, sa.func.count()).group_by(d)).all()
    assert {row[0]: row[1] for row in found} == old.expected["deliveries"]
    ops.close()
    status = cli(old.folder, "queue", "status")
    assert {k: v for k, v in status["counts"].items() if v} == old.expected["mails"]
    assert status["held"] > 0


def test_the_journal_is_settled_and_the_queue_drained(old: OldStore, opened: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = opened(old.folder, old.clock)
        [server] = cli(old.folder, "server", "list")
        cli(
            old.folder, "server", "add", server["key"], "--host", "127.0.0.1", "--port", str(smtp.port),
            "--encryption", "none", "--filter", server["from_filter"],
        )  # fmt: skip
        report = ops.queue.run()
        mail_ids = lambda name: {mail for mail, _ in old.expected[name]}  # noqa: E731
        recovered = report.recovered
        assert (recovered.settled, recovered.unknown) == (len(mail_ids("answered")), len(mail_ids("in_flight")))
        assert recovered.released == len(mail_ids("never_started"))
        ops.queue.run()
        left = Counter((_message_id(m.data), who) for m in smtp.messages for who in m.recipients)
    once = old.pairs("never_started", "queued")
    flight = old.pairs("in_flight")
    assert left - flight == once  # each exactly once; nothing that was answered, suppressed or is for later
    assert not left - once - flight
    with ops.engine.connect() as connection:
        m, d = schema.mails.c, schema.deliveries.c
        joined = sa.join(schema.mails, schema.deliveries, m.id == d.mail_id)
        found = connection.execute(sa.select(m.message_id, d.recipient, d.state).select_from(joined)).all()
        held = connection.execute(
            sa.select(sa.func.count()).select_from(schema.mails).where(m.lease_owner.is_not(None))
        ).scalar_one()
    states = {(row.message_id, row.recipient): row.state for row in found}
    # A notification is removed once it is sent; its event tells that it was.
    with ops.engine.connect() as connection:
        e = schema.events.c
        told = connection.execute(sa.select(e.message_id, e.recipient).where(e.kind == "sent")).all()
    sent = Counter((row.message_id, row.recipient) for row in told)
    for pair in old.pairs("answered", "in_flight", "never_started", "queued"):
        assert states.get(pair, "sent") == "sent", pair
        assert sent[pair] == 1, pair
    assert {states[pair] for pair in old.pairs("later")} == {"pending"}
    assert "sent" not in {states[pair] for pair in old.pairs("never")}
    # The books of both servers together: what the queue says was sent, left, and left once but for the one in flight.
    books = left + old.pairs("left_before")
    assert set(books) == set(sent)
    assert books - sent == flight & left
    assert held == 0
    assert not list(ops.workspace.journals.glob("*.journal"))


def _message_id(raw: bytes) -> str:
    from email.parser import BytesHeaderParser

    return str(BytesHeaderParser().parsebytes(raw)["Message-ID"]).strip()


def test_old_runs_are_listed_and_the_dead_one_is_settled(old: OldStore) -> None:
    runs = {run["id"]: run for run in cli(old.folder, "jobs", "history")}
    assert set(runs) == set(old.expected["runs"])
    finished = old.expected["finished_run"]
    [dead] = set(runs) - {finished}
    assert (runs[finished]["status"], runs[dead]["status"]) == ("passed", "error")
    assert runs[dead]["error"]["code"] == "run.abandoned"
    assert not list((old.folder / "runs").glob(".work-*"))
    shown = cli(old.folder, "jobs", "show", finished)
    assert set(shown["files"]) == {"notebook.ipynb", "report.html", "verdicts.json", "result.json"}
    assert len(shown["verdicts"]) == old.expected["tables"]["verdicts"]


def test_suppressions_still_hold(old: OldStore, opened: Callable[..., Ops]) -> None:
    ops = opened(old.folder, old.clock)
    for address, scope in old.expected["suppressed"].items():
        found = ops.suppressions.find(address)
        assert found is not None
        assert found.scope == scope
        mail = Submission(sender="ann@acme.example", to=(address,), text="x", mail_class=MailClass.MASS)
        queued = ops.queue.mail(ops.queue.submit(mail))
        assert queued.state.value == "failed", address
        assert "suppress" in (queued.failure_reason or "").lower()


# --- schemas before the first landed store ----------------------------------------------------------------------------

EARLIER = ["0001", "0002"]
AT = "2026-01-05 09:00:00.000000"


def build(target: str, revision: str) -> None:
    """A store of an early schema with a mail, a report and (from 0002 on) a suppression."""
    if "://" not in target:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = make_engine(target)
    migrate.upgrade(engine, revision)
    fill = [
        "INSERT INTO mails (id, message_id, state, mail_class, subject, size, created_at, queued_at, due_at)"
        f" VALUES (1, '<1@acme.example>', 'sent', 'transactional', 'Old', 9, '{AT}', '{AT}', '{AT}')",
        "INSERT INTO deliveries (id, mail_id, recipient, normalised, domain, state, updated_at)"
        f" VALUES (1, 1, 'Bob@x.example', 'bob@x.example', 'x.example', 'bounced', '{AT}')",
        f"INSERT INTO events (id, at, kind, mail_id, recipient) VALUES (1, '{AT}', 'sent', 1, 'Bob@x.example')",
    ]
    if revision >= "0002":
        fill.append(
            "INSERT INTO suppressions (id, address, scope, state, source, reason, why, hard, since, actor, changed_at)"
            f" VALUES (1, 'bob@x.example', 'all', 'active', 'person', 'undefined', 'x', true, '{AT}', 'ann', '{AT}')"
        )
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO bounces (id, received_at, kind, recipient, digest, raw)"
                " VALUES (1, :at, 'failed', 'Bob@x.example', 'd', :raw)"
            ),
            {"at": datetime(2026, 1, 5, 9, tzinfo=UTC).replace(tzinfo=None), "raw": b"report"},
        )
        for line in fill:
            connection.exec_driver_sql(line)
    engine.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_an_early_schema_is_brought_up_with_its_rows(store_target: str, revision: str) -> None:
    build(store_target, revision)
    engine = open_database(store_target)
    with engine.connect() as connection:
        assert migrate.present(connection) == migrate.newest()
        assert connection.execute(sa.select(schema.mails.c.subject)).scalars().all() == ["Old"]
        [report] = connection.execute(sa.select(schema.bounces)).all()
        assert (report.raw, report.normalised, report.source) == (
            b"report",
            *(("bob@x.example", "report") if revision == "0001" else (None, None)),
        )
        assert connection.execute(sa.select(schema.events.c.recipient)).scalars().all() == ["Bob@x.example"]
        listed = connection.execute(sa.select(schema.suppressions.c.address)).scalars().all()
        assert listed == ([] if revision == "0001" else ["bob@x.example"])
    engine.dispose()
    if "://" not in store_target:
        assert Path(f"{store_target}.{revision}").is_file()
