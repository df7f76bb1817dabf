"""The intake by its faces: nothing lost, nothing doubled, and the sums are right, whatever ends the process."""

from __future__ import annotations

import io
import json
import mailbox
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mailops import Ops
from mailops.cli import main
from mailops.errors import NotFound
from mailops.inbound.counts import Counts
from mailops.inbound.service import Gateway
from mailops.model.setup import AliasDomain, Company
from mailops.store import schema
from mailops.testing import ManualClock

STEPS = ("read", "storing", "stored", "acknowledged", "deciding", "decided")
RAISE = "make-it-fail"


def mail(
    number: int = 1,
    to: str = "help@acme.example",
    *,
    sender: str = "",
    subject: str = "",
    body: str = "",
    more: str = "",
) -> bytes:
    return (
        f"From: {sender or f'Ann <ann{number}@x.example>'}\r\nTo: {to}\r\nSubject: {subject or f'Printer {number}'}\r\n"
        f"Message-ID: <m{number}@x.example>\r\n{more}\r\n{body or f'It is broken, says {number}.'}\r\n"
    ).encode()


def furnish(ops: Ops) -> Ops:
    ops.save_alias_domain(AliasDomain("acme.example", default_from="notifications@acme.example"))
    ops.save_company(Company("acme", "Acme", "info@acme.example"))
    ops.save_alias("help", "ticket")
    return ops


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    return furnish(ops_factory(clock=ManualClock()))


@pytest.fixture
def on_both(ops_factory: Callable[..., Ops], store_target: str) -> Ops:
    """The same on each of the two databases."""
    return furnish(ops_factory(clock=ManualClock(), database=store_target if "://" in store_target else None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "received"
    made.mkdir()
    return made


def put(folder: Path, *mails: bytes) -> Path:
    for number, raw in enumerate(mails):
        (folder / f"{number:03}.eml").write_bytes(raw)
    return folder


def rows(ops: Ops, table: sa.Table) -> list[Any]:
    with ops.engine.connect() as connection:
        return list(connection.execute(sa.select(table)).all())


def cli(ops: Ops, *words: str) -> tuple[int, Any]:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["mailops", "-w", str(ops.workspace.path), *words, "--json"])
        patch.setattr("sys.stdout", out)
        with pytest.raises(SystemExit) as left:
            main()
    return int(left.value.code or 0), json.loads(out.getvalue())


def right(ops: Ops) -> Counts:
    """The ledger's total, after a look at whether it adds up and agrees with the rows."""
    found = ops.intake.ledger()
    assert all(one.counts.adds_up for one in found.sums), found
    assert not found.gaps
    return found.total


# --- the sums ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("FAQ-04", "FAQ-05")
def test_every_mail_is_accounted_for(ops: Ops, folder: Path) -> None:
    put(folder, mail(1), mail(2), mail(2), mail(3, to="nobody@acme.example"), mail(4, to="catchall@acme.example"))
    (folder / "photo.png").write_bytes(b"\x89PNG\0\0")
    code, said = cli(ops, "inbound", "ingest", str(folder))
    assert code == 0
    sums = {name: said[name] for name in Counts.__slots__}
    assert sums == {
        "seen": 6, "stored": 4, "doubled": 1, "unreadable": 1, "decided": 4, "delivered": 2, "refused": 2,
        "shelved": 0, "skipped": 0, "waiting": 0, "gap": 0,
    }  # fmt: skip
    code, ledger = cli(ops, "inbound", "ledger")
    assert code == 0
    assert ledger["gaps"] == []
    assert ledger["sums"] == [{"account": "ingest", "folder": "", "uidvalidity": 0, **sums}]
    code, again = cli(ops, "inbound", "ingest", str(folder))
    assert (code, again["seen"], again["stored"], again["decided"], again["doubled"]) == (0, 6, 0, 0, 5)
    assert right(ops).seen == 11
    assert len(rows(ops, schema.records)) == 2


def test_two_mails_with_one_message_id_are_two_mails(ops: Ops, folder: Path) -> None:
    first, other = mail(1), mail(1, body="Something else entirely.")
    done = ops.ingest([put(folder, first, other)])
    assert (done.counts.delivered, done.counts.doubled) == (2, 0)
    (folder / "again.eml").write_bytes(b"Received: from mx.y.example\r\n" + first.replace(b"\r\n", b"\n") + b"\n\n")
    done = ops.ingest([folder / "again.eml"])
    assert (done.counts.stored, done.counts.doubled) == (0, 1)  # on another way, with other line ends, and the same
    assert len(rows(ops, schema.records)) == 2
    third = mail(1, body="And a third.")
    code, said = cli(ops, "explain", "receive", str(put(folder, third) / "000.eml"))
    assert (code, said["kind"]) == (0, "create")


def test_what_the_gateway_took_before_is_known(ops: Ops, folder: Path) -> None:
    assert ops.inbound.receive(mail(1)).kind == "create"
    done = ops.ingest([put(folder, mail(1))])
    assert (done.counts.seen, done.counts.stored, done.counts.doubled) == (1, 0, 1)
    assert rows(ops, schema.intake_raw) == []
    assert right(ops).doubled == 1


def test_mail_comes_out_of_mailboxes_and_pipes(ops: Ops, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "old.mbox")
    for number in range(3):
        box.add(mail(number))
    box.close()
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    for number in range(3, 6):
        maildir.add(mail(number))
    assert ops.ingest([tmp_path / "old.mbox"]).counts.delivered == 3
    assert ops.ingest([tmp_path / "Maildir"]).counts.delivered == 3
    assert ops.ingest(stream=io.BytesIO(mail(7))).counts.delivered == 1
    assert ops.ingest(stream=io.BytesIO((tmp_path / "old.mbox").read_bytes())).counts.doubled == 3
    nothing = ops.ingest(stream=io.BytesIO(b""))
    assert [error.code for error in nothing.errors] == ["input.no_message"]
    assert right(ops).delivered == 7


def test_a_pipe_takes_whatever_comes(ops: Ops) -> None:
    for raw in (b"\0\0\0", b"no field at all", b"\n\n", b"Subject: \xff\xfe\0\n\n\0"):
        done = ops.ingest(stream=io.BytesIO(raw)).counts
        assert (done.seen, done.decided) == (1, 1), raw
    assert right(ops).refused == 4


def test_the_envelope_recipient_and_the_model_count(ops: Ops, folder: Path) -> None:
    ops.ingest([put(folder, mail(1, to="undisclosed-recipients:;"))], delivered_to="help@acme.example")
    ops.ingest([put(folder, mail(2, to="anybody@else.example"))], model="lead")
    assert [row.model for row in rows(ops, schema.records)] == ["ticket", "lead"]
    with pytest.raises(NotFound):
        ops.ingest([folder], model="nothing")


# --- what ends in the middle ------------------------------------------------------------------------------------------


def killed_at(workspace: Path, folder: Path, step: str, number: int) -> None:
    """Run ``ingest`` in a process of its own that dies (-9) at this step, the so-many-th time it comes."""
    child = os.fork()
    if child == 0:
        try:
            found = Ops.open(workspace, clock=ManualClock())
            left = [number]

            def on_step(name: str) -> None:
                left[0] -= name == step
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            found.intake.on_step, found.intake.most = on_step, 3
            found.ingest([folder])
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, step


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_any_two_steps_is_settled(ops: Ops, folder: Path, step: str) -> None:
    put(folder, *(mail(number) for number in range(8)))  # two batches
    ops.close()
    killed_at(ops.workspace.path, folder, step, 2)
    done = ops.ingest([folder]).counts
    assert done.adds_up
    assert done.waiting == 0
    assert done.seen == 8
    total = right(ops)
    assert (total.stored, total.delivered, total.waiting) == (8, 8, 0)
    names = [row.name for row in rows(ops, schema.records)]
    assert sorted(names) == sorted(f"Printer {number}" for number in range(8))
    assert ops.ingest([folder]).counts.stored == 0


def test_what_was_left_is_settled_by_a_run_over_something_else(ops: Ops, folder: Path, tmp_path: Path) -> None:
    put(folder, mail(1), mail(2))
    ops.close()
    killed_at(ops.workspace.path, folder, "stored", 1)
    other = tmp_path / "other"
    other.mkdir()
    done = ops.ingest([put(other, mail(3))])
    assert (done.counts.decided, done.resumed) == (3, 2)
    assert right(ops).delivered == 3


def test_a_mail_that_takes_the_process_with_it_is_shelved(ops: Ops, folder: Path) -> None:
    put(folder, mail(1))
    ops.close()
    killed_at(ops.workspace.path, folder, "deciding", 1)
    for _ in range(2):
        killed_at(ops.workspace.path, folder, "taken up", 1)
    done = ops.ingest([folder]).counts
    assert (done.shelved, done.decided) == (1, 0)
    assert "3 times" in ops.shelf.mails()[0].reason
    assert ops.shelf.retry().words == "1 of 1 left the shelf."
    assert right(ops).delivered == 1


@pytest.mark.parametrize("at", ["storing", "deciding"])
def test_a_full_disk_loses_nothing(ops: Ops, folder: Path, at: str) -> None:
    import sqlite3

    put(folder, *(mail(number) for number in range(5)))

    def full(name: str) -> None:
        if name == at:
            cause = sqlite3.OperationalError("database or disk is full")
            cause.sqlite_errorcode = sqlite3.SQLITE_FULL  # as the driver sets it
            raise sa.exc.OperationalError("INSERT", {}, cause)

    ops.intake.on_step = full
    done = ops.ingest([folder])
    assert [error.code for error in done.errors] == ["store.full"]
    assert done.counts.adds_up
    assert done.counts.waiting == (5 if at == "deciding" else 0)
    ops.intake.on_step = lambda name: None
    assert ops.ingest([folder]).counts.delivered == 5
    assert right(ops).delivered == 5
    assert len(rows(ops, schema.records)) == 5


def test_two_ingests_of_one_folder_take_each_mail_once(on_both: Ops, folder: Path) -> None:
    ops = on_both
    put(folder, *(mail(number) for number in range(20)))
    ops.close()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                found = Ops.open(ops.workspace.path)
                found.intake.most = 3
                code = 0 if found.ingest([folder]).well else 4
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    ops.ingest([folder])
    total = right(ops)
    assert (total.delivered, total.waiting, len(rows(ops, schema.records))) == (20, 0, 20)


# --- the shelf --------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A fault of ours: the gateway falls over certain mails, until it is mended."""
    whole = Gateway.take

    def take(self: Gateway, tx: Any, received: Any, raw: bytes, view: Any) -> Any:
        done = whole(self, tx, received, raw, view)
        if RAISE in received.subject:
            raise RuntimeError("index out of range")
        return done

    monkeypatch.setattr(Gateway, "take", take)
    return lambda: monkeypatch.setattr(Gateway, "take", whole)


def test_what_cannot_be_processed_is_kept_and_blocks_nobody(
    on_both: Ops, folder: Path, failing: Callable[[], None]
) -> None:
    ops = on_both
    put(folder, mail(1, subject=f"{RAISE} 1"), mail(2), mail(3, subject=f"{RAISE} 3"), mail(4))
    code, said = cli(ops, "inbound", "ingest", str(folder))
    assert (code, said["shelved"], said["delivered"], said["stored"]) == (0, 2, 2, 4)
    assert len(rows(ops, schema.records)) == 2  # what the fault had begun is rolled back
    code, shelf = cli(ops, "inbound", "shelf", "list")
    assert [(x["subject"], x["sender"]) for x in shelf["mails"]] == [
        (f"{RAISE} 1", "ann1@x.example"),
        (f"{RAISE} 3", "ann3@x.example"),
    ]
    assert shelf["mails"][0]["reason"] == "RuntimeError: index out of range"
    first, second = (x["id"] for x in shelf["mails"])
    assert ops.shelf.raw(first).startswith(b"From: Ann <ann1@x.example>")
    assert cli(ops, "inbound", "shelf", "retry", "--preview")[1]["left"] == 2
    failing()
    code, preview = cli(ops, "inbound", "shelf", "retry", "--preview")
    assert (preview["done"], preview["read"], preview["left"]) == (False, 2, 0)
    assert len(ops.shelf.mails()) == 2
    assert len(rows(ops, schema.records)) == 2
    assert cli(ops, "inbound", "shelf", "retry", str(second))[1]["mails"] == [
        {"id": second, "state": "delivered", "reason": None}
    ]
    assert ops.shelf.retry().words == "1 of 1 left the shelf."
    assert ops.shelf.mails() == []
    assert len(rows(ops, schema.records)) == 4
    assert right(ops).delivered == 4
    assert cli(ops, "inbound", "shelf", "retry", str(second))[0] == 2


def test_what_fails_again_stays_with_its_reason(ops: Ops, folder: Path, failing: Callable[[], None]) -> None:
    ops.ingest([put(folder, mail(1, subject=RAISE))])
    done = ops.shelf.retry()
    assert done.words == "0 of 1 left the shelf."
    assert done.mails[0].reason == "RuntimeError: index out of range"
    assert ops.shelf.mails()[0].tries == 2
    assert right(ops).shelved == 1


# --- people and time --------------------------------------------------------------------------------------------------


@pytest.mark.req("FAQ-05")
def test_a_refused_mail_leaves_its_line_of_the_log_only(ops: Ops, folder: Path) -> None:
    silent = mail(1, to="nobody@acme.example")
    answered = mail(2, to="catchall@acme.example")
    ops.ingest([put(folder, silent, answered)])
    kept = {row.intake_id for row in rows(ops, schema.intake_raw)}
    second = next(row for row in rows(ops, schema.intake) if row.message_id == "<m2@x.example>")
    assert kept == {second.id}  # until its notice has left
    notice = ops.queue.page(limit=10).mails[0]
    ops.queue.cancel(notice.id, actor="ann")
    ops.ingest([folder])
    assert rows(ops, schema.intake_raw) == []
    assert [(row.sender, row.recipients) for row in rows(ops, schema.intake)] == [(None, None)] * 2
    assert [line.decision for line in ops.inbound.log()[0]] == ["refused", "no_route"]


@pytest.mark.req("FAQ-05")
def test_a_notice_that_cannot_leave_keeps_nothing_for_more_than_a_day(ops: Ops, folder: Path) -> None:
    ops.ingest([put(folder, mail(2, to="catchall@acme.example"))])
    ops.clock.advance(23 * 3600)  # type: ignore[attr-defined]  # a clock set by hand
    ops.vacuum()
    assert len(rows(ops, schema.intake_raw)) == 1
    ops.clock.advance(2 * 3600)  # type: ignore[attr-defined]  # as above
    ops.vacuum()
    assert rows(ops, schema.intake_raw) == []


def test_received_mail_ends_with_its_kind_and_the_shelf_stays(
    ops: Ops, folder: Path, failing: Callable[[], None]
) -> None:
    ops.ingest([put(folder, mail(1), mail(2, subject=RAISE))])
    ops.clock.advance(91 * 86_400)  # type: ignore[attr-defined]  # a clock set by hand
    assert ops.vacuum().retention["received"] >= 1
    assert [row.state for row in rows(ops, schema.intake) if row.sender] == ["shelved"]
    assert len(rows(ops, schema.intake_raw)) == 1
    assert right(ops).delivered == 1


def test_a_person_is_found_in_and_forgotten_from_what_came_in(
    ops: Ops, folder: Path, failing: Callable[[], None]
) -> None:
    ops.ingest([put(folder, mail(1), mail(2, subject=RAISE, sender="ann1@x.example"), mail(3))])
    held = {one.place: one.count for one in ops.about("ann1@x.example").held}
    assert held["received mail"] == 2
    before = right(ops)
    ops.forget("ann1@x.example")
    assert "received mail" not in {one.place for one in ops.about("ann1@x.example").held}
    assert len(rows(ops, schema.intake_raw)) == 1
    assert right(ops) == replace(before, shelved=0, skipped=1)


def test_the_notebook_shows_the_sums_and_tries_the_shelf_again(
    ops: Ops, folder: Path, failing: Callable[[], None]
) -> None:
    from mailops.widgets import InboxView

    ops.ingest([put(folder, mail(1, subject=RAISE), mail(2))])
    view = InboxView(ops)
    (sums,) = view.intake.table.widget.rows
    assert (sums["account"], sums["seen"], sums["delivered"], sums["shelved"], sums["missing"]) == (
        "ingest",
        2,
        1,
        1,
        "",
    )
    (lying,) = view.shelf.table.widget.rows
    assert (lying["subject"], lying["reason"]) == (RAISE, "RuntimeError: index out of range")
    (again,) = view.shelf.actions.actions
    seen = again.preview()
    assert (seen.sentence, seen.examples) == (
        "This version can read 0 of 1.",
        (f"{lying['id']}: RuntimeError: index out of range",),
    )
    failing()
    seen = again.preview()
    assert seen.sentence == "This version can read 1 of 1."
    assert seen.run is not None
    assert seen.run(lambda text: None) == "1 of 1 left the shelf."
    view.shelf.refresh()
    assert view.shelf.table.widget.rows == []
    assert again.preview().run is None
    assert view.intake.actions.actions[0].preview().run is None  # no mailbox is confirmed
