"""Signed thread tokens, why an entry is where it is, and moving it; by the faces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from desk import Desk, head
from test_intake import furnish, mail

from mailops import Ops
from mailops.store import schema
from mailops.threads.service import Entry


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "w")
    ops = furnish(made.ops())
    ops.threads.add_contact("Ann", "ann1@x.example")
    ops.threads.add_contact("Bob", "bob@acme.example", is_user=True)
    ops.close()
    return made


def take(desk: Desk, raw: bytes) -> dict[str, object]:
    file = desk.folder.parent / "in.eml"
    file.write_bytes(raw)
    found = desk.json("inbound", "receive", str(file))
    return dict(found[0] if isinstance(found, list) else found)


def reply_to(ops: Ops, kind: str = "comment", *, follower: int = 1) -> str:
    """Post on record 1 and see where its mail says that answers go."""
    subtypes = ("discussion", "note")
    ops.threads.follow(1, follower, subtypes)
    posted = ops.threads.post(1, Entry("We look at it.", kind=kind))
    return re.sub(r".*<|>.*", "", head(ops.queue.raw(posted.mails[0]), "Reply-To"))


def records_of(ops: Ops) -> dict[str, tuple[int, str]]:
    with ops.engine.connect() as connection:
        rows = connection.execute(
            sa.select(schema.messages.c.message_id, schema.messages.c.record_id, schema.messages.c.kind)
        )
        return {row[0]: (row[1], row[2]) for row in rows}


@pytest.mark.req("IN-04", "IN-05")
def test_an_answer_finds_its_thread_by_the_signed_token_alone(desk: Desk) -> None:
    take(desk, mail(1))
    ops = desk.ops()
    assert reply_to(ops) == "help@acme.example"
    assert desk.json("thread", "tokens", "on")["tokens"] is True
    address = reply_to(ops)
    assert re.fullmatch(r"help\+r1-\d+-[a-z2-7]{16}@acme\.example", address)
    answer = mail(
        2, to=address, sender="ann1@x.example", subject="Another subject", more="References: <lost@relay>\r\n"
    )
    file = desk.folder.parent / "answer.eml"
    file.write_bytes(answer)
    told = desk.json("explain", "receive", str(file))
    assert (told["kind"], told["routes"][0]["record"]) == ("reply", 1)
    assert "token" in [step["rule"] for step in told["trace"]]
    take(desk, answer)
    assert records_of(ops)["<m2@x.example>"] == (1, "email")
    entry = next(one.id for one in ops.threads.entries(1) if one.message_id == "<m2@x.example>")
    assert desk.json("thread", "why", str(entry))["rule"] == "token"
    desk("thread", "tokens", "off")
    assert reply_to(ops) == "help@acme.example"
    take(desk, mail(3, to=address, sender="ann1@x.example"))  # it was out, and stays good
    assert records_of(ops)["<m3@x.example>"][0] == 1
    ops.close()


def test_a_spoofed_token_leads_nowhere(desk: Desk) -> None:
    take(desk, mail(1))
    take(desk, mail(9))
    ops = desk.ops()
    ops.thread_tokens.sign()
    good = reply_to(ops)
    forged = [good.replace("+r1-", "+r2-"), good[:-20] + "aaaa" + good[-16:], good.replace("help+", "catchall+")]
    before = records_of(ops)
    for number, address in enumerate(forged, 20):
        assert take(desk, mail(number, to=address))["kind"] in ("no_route", "refused"), address
    assert records_of(ops) == before
    ops.close()


def test_an_answer_to_a_note_stays_a_note(desk: Desk) -> None:
    take(desk, mail(1))
    ops = desk.ops()
    ops.thread_tokens.sign()
    ops.threads.follow(1, 1)  # Ann, who wrote it, follows the discussion
    address = reply_to(ops, "note", follower=2)
    assert "n-" in address
    take(desk, mail(2, to=address, sender="Bob <bob@acme.example>", more="In-Reply-To: <lost@relay>\r\n"))
    take(desk, mail(3, to=address, sender="Bob <bob@acme.example>", more="In-Reply-To: <m1@x.example>\r\n"))
    found = records_of(ops)
    assert (found["<m2@x.example>"], found["<m3@x.example>"]) == ((1, "note"), (1, "note"))
    told = [
        x.contact_id for one in ops.threads.entries(1) if one.kind == "note" for x in ops.threads.notifications(one.id)
    ]
    assert 1 not in told
    ops.close()


def test_an_entry_is_moved_where_it_belongs_and_its_answers_follow(desk: Desk) -> None:
    take(desk, mail(1))
    take(desk, mail(2, more="In-Reply-To: <m1@x.example>\r\n", subject="Something else"))
    ops = desk.ops()
    entry = next(one.id for one in ops.threads.entries(1) if one.message_id == "<m2@x.example>")
    assert desk.json("thread", "why", str(entry))["rule"] == "reply"
    moved = desk.json("thread", "move", str(entry), "--new", "task")
    assert (moved["source"], moved["made"]) == (1, True)
    target = moved["target"]
    assert ops.desk.record(target).name == "Something else"
    assert desk.json("thread", "why", str(entry))["rule"] == "moved"
    take(desk, mail(3, more="In-Reply-To: <m2@x.example>\r\n", to="catchall@acme.example"))
    assert records_of(ops)["<m3@x.example>"][0] == target
    notes = [one.body for key in (1, target) for one in ops.threads.entries(key) if one.kind == "note"]
    assert all("was moved" in str(body) for body in notes)
    assert len(notes) == 2
    assert desk.json("thread", "move", str(entry), "--to", str(target), status=2)["code"] == "state.moved_already"
    assert desk.json("thread", "move", str(entry), "--to", "1")["target"] == 1
    listed = desk.json("thread", "list")
    assert {(x["model"], x["id"]) for x in listed["records"]} == {("ticket", 1), ("task", target)}
    shown = desk.json("thread", "show", "1")
    assert [x["kind"] for x in shown["entries"]].count("note") == 2
    assert "no record 99" in desk.json("thread", "show", "99", status=2)["error"]
    ops.close()


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (mail(5), "alias"),
        (mail(5, to="task@acme.example"), "bound"),
        (mail(5, to="catchall@acme.example", more="In-Reply-To: <m1@x.example>\r\n"), "reply"),
    ],
)
def test_why_here_names_the_rule(desk: Desk, raw: bytes, rule: str) -> None:
    take(desk, mail(1))
    ops = desk.ops()
    ops.save_alias("task", "ticket", record=1)
    take(desk, raw)
    with ops.engine.connect() as connection:
        key = connection.execute(sa.select(sa.func.max(schema.messages.c.id))).scalar_one()
    found = ops.desk.why(key)
    assert found.rule == rule
    assert found.trace
    posted = ops.threads.post(1, Entry("By hand."))
    assert ops.desk.why(posted.id).rule == "written"
    ops.close()


def test_the_notebook_shows_why_and_moves(desk: Desk) -> None:
    from mailops.widgets import InboundSetupView, InboxView

    take(desk, mail(1))
    take(desk, mail(2, more="In-Reply-To: <m1@x.example>\r\n", subject="Something else"))
    ops = desk.ops()
    view = InboxView(ops)
    newest, first = view.entries.table.widget.rows
    assert (newest["record"], newest["rule"], first["rule"]) == (1, "reply", "alias")
    move, why = view.entries.actions.actions
    assert move.preview().run is None
    assert why.preview().sentence == "Tick an entry."
    view.entries.table.widget.selected = [newest["id"]]
    told = why.preview()
    assert (told.run, "by References or In-Reply-To" in told.sentence) == (None, True)
    assert any(line.startswith("reply: ") for line in told.examples)
    seen = move.preview()
    assert seen.sentence == "Move 1 to a new lead each."
    assert seen.run is not None
    assert "answers follow" in seen.run(lambda text: None)
    view.entries.refresh()
    assert view.entries.table.widget.rows[0]["rule"] == "moved"
    shown = [row["state"] for row in InboundSetupView(ops).methods.table.widget.rows]
    assert shown[0] == "recommended"
    ops.close()
