"""A store of 6f79daf becomes one with a ledger: nothing that was told is lost, and the books agree."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailops import Ops
from mailops.ledger.check import check
from mailops.store.database import open_database

OLD = Path(__file__).parents[1] / "fixtures" / "stores" / "6f79daf"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    shutil.copytree(OLD, place)
    return place


def rows(place: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(place / "mailops.db")) as connection:
        return connection.execute(query).fetchall()


def run(place: Path, *statements: str) -> None:
    with closing(sqlite3.connect(place / "mailops.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_the_books_of_an_old_store_agree_as_soon_as_it_is_open(old: Path) -> None:
    events = rows(old, "SELECT count(*) FROM events")[0][0]
    engine = open_database(old / "mailops.db")
    found = check(engine)
    assert {key for key in found.numbers if key != "attempt"} == set(), [str(one) for one in found.differences]
    assert found.facts >= int(str(events))
    engine.dispose()


def test_what_was_changed_in_place_becomes_two_facts(old: Path) -> None:
    (mail, recipient), *_ = rows(
        old,
        "SELECT e.mail_id, e.recipient FROM events e JOIN mails m ON m.id = e.mail_id WHERE e.kind = 'sent' AND NOT "
        "EXISTS (SELECT 1 FROM events b WHERE b.mail_id = e.mail_id AND b.kind LIKE 'bounced%') LIMIT 1",
    )
    run(
        old,
        "INSERT INTO events (at, kind, mail_id, recipient, data) VALUES ('2026-11-01 08:00:00.000000', "
        f"'bounced_in_error', {mail}, '{recipient}', '{{\"reason\": \"userunknown\"}}')",
    )
    engine = open_database(old / "mailops.db")
    told = rows(old, f"SELECT at, kind, undoes FROM events WHERE mail_id = {mail} AND kind LIKE 'bounced%' ORDER BY id")
    number = rows(old, f"SELECT id FROM events WHERE mail_id = {mail} AND kind = 'bounced'")[0][0]
    assert [(kind, undoes) for _, kind, undoes in told] == [("bounced", None), ("bounced_in_error", number)]
    assert told[0][0] == told[1][0]
    assert not {key for key in check(engine).numbers if key != "attempt"}
    engine.dispose()


def test_a_person_s_ignore_that_left_no_trace_is_told(old: Path) -> None:
    (mail, recipient), *_ = rows(old, "SELECT mail_id, recipient FROM deliveries WHERE state = 'failed' LIMIT 1")
    run(
        old,
        f"UPDATE deliveries SET state = 'ignored' WHERE mail_id = {mail} AND recipient = '{recipient}'",
        f"UPDATE mails SET state = 'cancelled' WHERE id = {mail} AND NOT EXISTS "
        f"(SELECT 1 FROM deliveries d WHERE d.mail_id = {mail} AND d.state <> 'ignored')",
    )
    ops = Ops.open(old)
    line = [x for x in ops.queue.history(int(str(mail))) if x.kind == "ignored"]
    assert [(x.recipient, (x.data or {}).get("migrated")) for x in line] == [(recipient, True)]
    assert not {key for key in ops.books().numbers if key != "attempt"}
    ops.close()


def test_a_notification_that_never_heard_of_its_mail_catches_up(old: Path) -> None:
    (number, address, state), *_ = rows(
        old,
        "SELECT n.id, n.address, d.state FROM notifications n JOIN deliveries d ON d.mail_id = n.mail_id "
        "AND d.normalised = n.address WHERE d.state IN ('failed', 'sent') LIMIT 1",
    ) or [(None, None, None)]
    if number is None:  # the store's threads have none left: make one of a failed mail
        (mail, address), *_ = rows(old, "SELECT mail_id, normalised FROM deliveries WHERE state = 'failed' LIMIT 1")
        state = "failed"
        run(old, f"UPDATE notifications SET mail_id = {mail}, address = '{address}', state = 'ready' WHERE id = 1")
        number = 1
    else:
        run(old, f"UPDATE notifications SET state = 'ready' WHERE id = {number}")
    open_database(old / "mailops.db").dispose()
    wanted = {"failed": "exception", "sent": "sent"}[str(state)]
    assert rows(old, f"SELECT state FROM notifications WHERE id = {number}") == [(wanted,)]
