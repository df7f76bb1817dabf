"""Many mails at once: decided together as each would be by itself, in few statements, in little memory."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from desk import Desk
from test_fetch import BOX, LOGINS, add
from test_fuzz_set import FUZZ
from test_intake import cli, furnish, mail, put, right, rows

from mailops import Ops
from mailops.inbound.intake import INGEST, Run, Shown
from mailops.inbound.intake_rows import Place
from mailops.store import schema
from mailops.testing import ManualClock
from mailops.testing.imap_server import ImapServer
from mailops.testing.mailboxes import Mailboxes


def story() -> list[bytes]:
    """Mails whose decisions hang on the ones before them."""
    alike = [
        mail(n, sender=f"robot{n}@bot.example", subject=f"Status {n}", body="All is well.") for n in range(100, 125)
    ]
    one_sender = [mail(n, sender="eager@y.example", subject=f"Wish {n}", body="w" * n) for n in range(200, 225)]
    reply = b"In-Reply-To: <m1@x.example>\r\n"
    return [
        mail(1),
        mail(2, to="nobody@acme.example"),
        mail(3, more=reply.decode(), body="It works again."),
        mail(1),
        mail(1, body="Another mail under one id."),
        mail(4, to="catchall@acme.example"),
        mail(5, sender="known@y.example"),
        mail(6, more="In-Reply-To: <m5@x.example>\r\n", sender="known@y.example"),
        *alike,
        *one_sender,
        mail(7, more="In-Reply-To: <m6@x.example>\r\n"),
    ]


def became(ops: Ops) -> list[tuple[Any, ...]]:
    return [(line.decision, line.code, line.reason, line.answer) for line in reversed(ops.inbound.log(limit=500)[0])]


def kept(ops: Ops) -> tuple[list[Any], ...]:
    records = [(row.model, row.name, row.email_from, row.values) for row in rows(ops, schema.records)]
    names = ("record_id", "message_id", "kind", "author_id", "author_email", "subject", "body")
    entries = [tuple(getattr(row, name) for name in names) for row in rows(ops, schema.messages)]
    followers = [(row.record_id, row.contact_id, row.subtypes) for row in rows(ops, schema.followers)]
    return records, entries, followers, [row.settings for row in rows(ops, schema.aliases)]


def test_mails_decided_together_are_decided_as_each_by_itself(ops_on: Callable[..., Ops], ops_factory: Any) -> None:
    together, singly = furnish(ops_on(clock=ManualClock())), furnish(ops_factory("other", clock=ManualClock()))
    for ops in (together, singly):
        ops.threads.add_contact("Known", "known@y.example")
    run = Run()
    together.intake.take(run, Place(INGEST), [Shown(raw) for raw in story()])
    for raw in story():
        singly.inbound.receive(raw)
    seen = {line[0] for line in became(singly)}
    assert {"create", "reply", "duplicate", "no_route", "refused", "loop_blocked"} <= seen
    twice = [line for line in became(singly) if line[0] == "duplicate"]
    assert became(together) == [line for line in became(singly) if line not in twice]  # the intake knows these before
    assert kept(together) == kept(singly)
    lines = {row.id: row.message_id for row in rows(together, schema.inbound_log)}
    assert all(lines[row.log_id] == row.message_id for row in rows(together, schema.intake) if row.log_id)
    assert right(together).adds_up


@pytest.mark.parametrize("to", ["nobody@acme.example", "help@acme.example"])
def test_a_portion_costs_few_statements(ops_factory: Callable[..., Ops], to: str) -> None:
    ops = furnish(ops_factory("other", clock=ManualClock()))
    asked: list[str] = []
    sa.event.listen(ops.engine, "before_cursor_execute", lambda c, cur, text, *more: asked.append(text))

    def take(first: int, number: int) -> int:
        asked.clear()
        batch = [Shown(mail(n, to=to, sender=f"p{n}@d{n}.example")) for n in range(first, first + number)]
        ops.intake.take(Run(), Place(INGEST), batch)
        return len(asked)

    take(0, 1)
    few, many = take(100, 5), take(200, 50)
    assert many <= few + 5, (few, many)
    assert right(ops).decided == 56


def test_one_bad_mail_among_many_is_one_bad_mail(ops_factory: Callable[..., Ops], monkeypatch: Any) -> None:
    from mailops.inbound.service import Gateway

    ops = furnish(ops_factory("other", clock=ManualClock()))
    whole = Gateway.take

    def take(self: Any, tx: Any, received: Any, raw: Any, view: Any) -> Any:
        done = whole(self, tx, received, raw, view)
        if "poison" in received.subject:
            raise ValueError("a fault of ours")
        return done

    monkeypatch.setattr(Gateway, "take", take)
    run = Run()
    mails = [mail(n, subject="poison" if n == 7 else "") for n in range(20)]
    ops.intake.take(run, Place(INGEST), [Shown(raw) for raw in mails])
    counts = ops.intake.finish(run)
    assert (counts.stored, counts.delivered, counts.shelved) == (20, 19, 1)
    assert len(rows(ops, schema.records)) == 19


# --- large mail -------------------------------------------------------------------------------------------------------


def large(megabytes: int, number: int = 1) -> bytes:
    head = mail(number).partition(b"\r\n\r\n")[0]
    head += b"\r\nContent-Type: multipart/mixed; boundary=zz\r\n\r\n--zz\r\n\r\nSee the picture.\r\n--zz\r\n"
    head += b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    line = b"iVBORw0KGgo" * 6 + b"AAAAAAAAAA\r\n"
    return head + line * (megabytes * 1_000_000 // len(line)) + b"--zz--\r\n"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel says how much memory was used at most")
def test_a_large_mail_is_kept_whole_and_never_in_memory(desk_of: Desk, tmp_path: Path) -> None:
    raw = large(50)
    (tmp_path / "in").mkdir()
    put(tmp_path / "in", raw, *(mail(n) for n in range(2, 30)))
    code = (
        "import sys; from pathlib import Path; from mailops.cli import main\n"
        f"sys.argv = ['mailops', '-w', {str(desk_of.folder)!r}, 'inbound', 'ingest', {str(tmp_path / 'in')!r}, '--json']\n"
        "try: main()\n"
        "finally: sys.stderr.write(Path('/proc/self/status').read_text())"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    peak = int(next(line for line in child.stderr.split(b"\n") if line.startswith(b"VmHWM")).split()[1]) / 1000
    assert peak < 100, f"{peak:.0f} MB"
    ops = desk_of.ops()
    key = next(row.id for row in rows(ops, schema.intake) if row.size == len(raw))
    with ops.engine.connect() as connection:
        found = connection.execute(sa.select(schema.intake_raw.c.raw).where(schema.intake_raw.c.intake_id == key))
        assert found.scalar_one() == raw
    again = ops.ingest([tmp_path / "in"]).counts
    assert (again.stored, again.doubled) == (0, 29)
    ops.close()


@pytest.fixture
def desk_of(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "w")
    furnish(made.ops()).close()
    return made


def test_a_large_mail_comes_over_imap_in_pieces(ops_on: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_PASSWORD", LOGINS[BOX])
    ops, boxes = furnish(ops_on()), Mailboxes(BOX)
    for raw in (large(9), mail(2)):
        boxes.deliver(BOX, raw)
    with ImapServer(boxes, LOGINS) as server:
        add(ops, server)
        code, said = cli(ops, "inbound", "fetch")
    assert (code, said["delivered"], said["gap"]) == (0, 2, 0)
    with ops.engine.connect() as connection:
        found = connection.execute(sa.select(schema.intake_raw.c.raw).order_by(schema.intake_raw.c.intake_id)).scalars()
        assert [bytes(one) for one in found] == [large(9), mail(2)]


# --- broken mail ------------------------------------------------------------------------------------------------------


@pytest.mark.fuzz
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_malformed_mails_are_taken_and_none_is_lost(ops_on: Callable[..., Ops]) -> None:
    ops, luck = furnish(ops_on(clock=ManualClock())), random.Random(20_261_300)
    seeds = FUZZ.mails()
    seeds += [seed.replace(b"To:", b"To: help@acme.example,", 1) for seed in seeds[:40]]
    number = 2_000 if ops.engine.dialect.name == "sqlite" else 200
    mails = [
        *FUZZ.mail_bombs(),
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 10_000,
        b"From: a@x.example\n" + b"X-Long: " + b"y" * 3_000_000 + b"\n\nhello",
        b"\0" * 1_000,
        b"To: help@acme.example\nSubject: =?nonsense?b?////?=\nContent-Type: text/plain; charset=x-none\n\n\xff\xfe\0",
    ]
    mails += [FUZZ.mutate(luck.choice(seeds), seeds, luck) for _ in range(number - len(mails))]
    run, longest = Run(), 0.0
    for raw in mails:
        begun = time.perf_counter()
        ops.intake.take(run, Place(INGEST), [Shown(raw)])
        longest = max(longest, time.perf_counter() - begun)
    counts = ops.intake.finish(run)
    assert longest < 2, f"{longest:.2f} s"
    assert counts.adds_up
    assert counts.seen == len(mails)
    assert (counts.waiting, counts.unreadable, counts.gap) == (0, 0, 0)
    assert counts.shelved == 0, [one.reason for one in ops.shelf.mails()]


@pytest.mark.parametrize(
    "raw", [b"\x89PNG\0\0\xff" * 40, b"no field at all", b"\n\n", bytes(random.Random(4).randbytes(500))]
)
def test_what_is_ingested_is_explained_by_the_same_reading(desk_of: Desk, tmp_path: Path, raw: bytes) -> None:
    for name in ("mail.eml", "photo.png"):
        file = tmp_path / name
        file.write_bytes(raw)
        code, done = cli(ops := desk_of.ops(), "inbound", "ingest", str(file))
        decided = ops.inbound.log(limit=1)[0] if done["decided"] else []
        ops.close()
        assert (code, done["decided"] + done["unreadable"]) == (0, 1), name
        told = desk_of.json("explain", "receive", str(file), status=0 if decided else 2)
        if decided:
            assert told["kind"] in (decided[0].decision, "duplicate"), name
        else:
            assert told["code"] == "input.no_message", name


def test_explain_reads_standard_input(desk_of: Desk) -> None:
    for words in ((), ("-",)):
        told = desk_of("explain", "receive", *words, "--json", stdin=mail(1))
        assert '"create"' in told, words
