"""Everything about an address, its end by request, and the end that each kind has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.model.mail import Submission
from mailops.model.pseudonym import is_pseudonym
from mailops.model.retention import KINDS
from mailops.model.setup import BouncePolicy, MailClass
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.dsn import build_dsn
from mailops.testing.smtp_script import Rule
from mailops.threads.service import Entry
from mailops.widgets import PersonView

m, e, c, d, b = schema.mails, schema.events, schema.contents, schema.deliveries, schema.bounces
ANN, BOB = "Ann.Lee@People.example", "bob@people.example"
SPEC = "ann.lee@people.example"
WORDS = "Ann Lee has left the house"


@pytest.fixture
def house(ops_on: Callable[..., Ops]) -> Any:
    """A workspace where much is kept of Ann: mails to, of and about her."""
    with SmtpServer([Rule("rcpt", "reply", 550, "5.1.1", f"No {SPEC} here", recipient="gone*")]) as smtp:
        ops = ops_on(clock=ManualClock())
        furnish(ops, smtp)
        ops.smtp = smtp  # type: ignore[attr-defined]
        for number in range(2):
            ops.send(to=[ANN], sender="ann@acme.example", subject=f"{WORDS} {number}", text=WORDS)
        ops.send(to=[BOB], sender="desk@acme.example", subject="For Bob", text="Hello Bob")
        record = ops.threads.create_record("lead", WORDS, email=ANN)
        ops.threads.follow(record, ops.threads.add_contact("Ann Lee", ANN))
        ops.threads.post(record, Entry(WORDS))
        ops.queue.run()
        first = smtp.messages[0].data
        ops.bounces.take(
            build_dsn(first, SPEC, "5.1.1", f"550 5.1.1 {WORDS}", "mx.people.example", to="bounce@acme.example")
        )
        ops.suppressions.add(ANN, why=WORDS)
        raw = f"From: Ann Lee <{ANN}>\r\nTo: info@acme.example\r\nMessage-ID: <w@p>\r\nSubject: {WORDS}\r\n\r\nHi\r\n"
        ops.save_alias("info", "lead")
        ops.inbound.receive(raw.encode())
        handed: dict[str, Any] = {"return_path": SPEC, "login": SPEC, "peer": "127.0.0.1", "origin": "smtp"}
        ops.queue.submit(Submission(sender=ANN, to=(BOB,), subject="By a program", text="x", **handed))
        ops.queue.run()
        yield ops


def everything(ops: Ops) -> str:
    """Every cell of every table, as text."""
    with ops.engine.connect() as connection:
        rows = [
            (table.name, value)
            for table in schema.metadata.sorted_tables
            for row in connection.execute(sa.select(table))
            for value in row
        ]
    return "\n".join(
        f"{name}: {value.decode('latin-1') if isinstance(value, bytes) else value}" for name, value in rows
    ).lower()


def test_about_shows_every_table_that_names_an_address(house: Ops, tmp_path: Path) -> None:
    found = house.about("Ann Lee <ANN.LEE@people.example>")
    assert found.address == SPEC
    assert {held.place for held in found.held} >= {
        *("message bytes", "contacts", "records", "entries of threads", "notifications", "inbound log"),
        *("reports", "suppressions", "mails to the address", "facts"),
    }
    assert not house.about(BOB).waiting
    assert {held.place for held in house.about(BOB).held} == {"message bytes", "mails to the address", "facts"}


def test_forgetting_leaves_no_trace_and_changes_no_figure_and_no_state(house: Ops) -> None:
    before = everything(house)
    assert SPEC in before
    assert WORDS.lower() in before
    figures, states = house.analysis.bounce_rate("domain", "30d"), house.queue.counts()
    with house.engine.connect() as connection:
        counts = connection.execute(sa.select(schema.counts)).all()
    receipt = house.forget(ANN)
    after = everything(house)
    assert SPEC not in after
    assert "ann lee" not in after
    assert WORDS.lower() not in after
    assert is_pseudonym(receipt.pseudonym)
    assert receipt.pseudonym.endswith("@people.example")
    assert receipt.beyond
    assert house.queue.counts() == states
    assert house.analysis.bounce_rate("domain", "30d").equals(figures)
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(schema.counts)).all() == counts
    assert house.books().agree, house.books().differences
    assert BOB in after
    assert "for bob" in after
    assert house.about(ANN).forgotten_at == house.clock.now()
    with pytest.raises(NotFound):
        house.forget(ANN)


def test_a_suppression_holds_for_whoever_was_forgotten(house: Ops) -> None:
    house.forget(ANN)
    number = house.queue.submit(
        Submission(sender="news@acme.example", to=(ANN,), subject="News", text="x", mail_class=MailClass.MASS)
    )
    assert house.queue.mail(number).state.value == "failed"
    assert "forgotten" in str(house.queue.mail(number).deliveries[0].reply)
    other = house.queue.submit(
        Submission(sender="news@acme.example", to=(BOB,), subject="News", text="x", mail_class=MailClass.MASS)
    )
    assert house.queue.mail(other).state.value == "outgoing"


def test_the_same_report_after_forgetting_counts_once(house: Ops) -> None:
    with house.engine.connect() as connection:
        raw = bytes(connection.execute(sa.select(b.c.raw)).scalar_one())
    house.forget(ANN)
    assert house.bounces.take(raw).repeated
    assert SPEC not in everything(house)


def test_what_is_not_done_yet_hinders_forgetting(house: Ops) -> None:
    waiting = house.send(to=[ANN], sender="desk@acme.example", subject="Waits", text="x")
    with pytest.raises(ConfigError) as refused:
        house.forget(ANN)
    assert refused.value.code == "forget.waiting"
    assert waiting in refused.value.facts["mails"]
    assert SPEC in everything(house)
    house.queue.cancel(waiting)
    house.forget(ANN)
    assert SPEC not in everything(house)


def test_what_came_in_meanwhile_is_not_taken_along(house: Ops) -> None:
    seen = house.about(ANN)
    house.suppressions.undo([SPEC])
    with pytest.raises(ConfigError) as refused:
        house.forget(ANN, digest=seen.digest)
    assert refused.value.code == "forget.changed"


def test_one_address_is_asked_for(house: Ops) -> None:
    for wrong in ("", "ann", "a@x.test, b@x.test", "forgotten-0123456789abcdef0123@people.example"):
        with pytest.raises(InputRefused):
            house.about(wrong)
    with pytest.raises(NotFound):
        house.forget("nobody@people.example")


def test_a_mail_that_lost_its_message_cannot_be_tried_again(house: Ops) -> None:
    failed = house.send(to=["gone@people.example"], sender="desk@acme.example", subject="Fails", text="x")
    house.queue.run()
    assert house.queue.preview("retry", _only(failed)).count == 1
    house.forget("gone@people.example")
    seen = house.queue.preview("retry", _only(failed))
    assert (seen.count, seen.left_out) == (0, 1)
    assert "with their message kept" in seen.reason
    assert house.queue.retry(failed).count == 0
    assert house.queue.mail(failed).state.value == "failed"


def test_our_own_report_about_somebody_goes_too(house: Ops) -> None:
    raw = b"From: robot@acme.example\r\nTo: gone@people.example\r\nSubject: Fails\r\n\r\nx\r\n"
    path, to = "robot@acme.example", ("gone@people.example",)
    handed = Submission(raw=raw, envelope_to=to, return_path=path, bounces=BouncePolicy.KEEP, origin="smtp")
    house.queue.submit(handed)
    house.queue.run()
    assert "final-recipient: rfc822; gone@people.example" in everything(house)
    house.forget("gone@people.example")
    assert "gone@people.example" not in everything(house)


def _only(number: int) -> Any:
    from mailops.queue.actions import single

    return single(number)


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_auto_vacuum_ends_each_kind_after_its_days(house: Ops) -> None:
    failed = house.send(to=["gone@people.example"], sender="desk@acme.example", subject="Fails", text="x")
    house.queue.run()
    assert house.overdue() == {}
    house.clock.advance(89 * 86_400)  # type: ignore[attr-defined]
    assert house.vacuum().retention == {}
    house.clock.advance(3 * 86_400)  # type: ignore[attr-defined]
    late = house.overdue()
    assert {"messages", "replies", "reports", "received"} <= set(late)
    figures = house.analysis.bounce_rate("domain", "365d")
    done = house.vacuum()
    assert set(done.retention) == set(late)
    assert house.overdue() == {}
    assert house.vacuum().retention == {}
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(c)).scalar() == 0
        assert connection.execute(sa.select(sa.func.sum(sa.func.length(b.c.raw)))).scalar() == 0
        told = connection.execute(sa.select(e.c.data).where(e.c.mail_id == failed, e.c.kind == "failed")).scalar_one()
    assert "reply" not in told
    assert told["code"] == 550
    assert house.queue.mail(failed).state.value == "failed"
    assert house.analysis.bounce_rate("domain", "365d").equals(figures)
    assert SPEC in everything(house), "addresses are kept for ever unless the settings say otherwise"
    assert house.books().agree


def test_addresses_end_where_the_settings_say_so(ops_factory: Callable[..., Ops]) -> None:
    ops = ops_factory(clock=ManualClock(), toml="[retention]\naddresses_days = 30\nmessages_days = 0\n")
    with SmtpServer() as smtp:
        furnish(ops, smtp)
        ops.send(to=[ANN], sender="desk@acme.example", subject="Old", text="x")
        ops.queue.run()
        ops.clock.advance(20 * 86_400)  # type: ignore[attr-defined]
        ops.send(to=[BOB], sender="desk@acme.example", subject="New", text="x")
        ops.queue.run()
        cat = "cat@people.example"
        ops.send(to=[cat], sender="desk@acme.example", subject="Old", text="x")
        ops.queue.run()
        ops.clock.advance(20 * 86_400)  # type: ignore[attr-defined]
        ops.clock.advance(31 * 86_400)  # type: ignore[attr-defined]
        ops.send(to=[BOB], sender="desk@acme.example", subject="Newer", text="x")
        ops.queue.run()
        ops.send(to=[cat], sender="desk@acme.example", subject="Waits", text="x")  # who is written to keeps the name
        assert ops.overdue() == {"addresses": 1}
        assert ops.vacuum().retention == {"addresses": 1}
        ops.queue.run()
        assert smtp.messages[-1].recipients == (cat,)
    after = everything(ops)
    assert SPEC not in after
    assert BOB in after


def test_pages_of_runs_that_name_somebody_go(house: Ops, tmp_path: Path) -> None:
    from mailops.store.runs import Run, finish_run, start_run

    place = house.workspace.runs / "r1"
    place.mkdir()
    (place / "report.html").write_text(f"<p>{ANN}</p>")
    start_run(house.engine, Run("r1", "queue", {"to": ANN}, house.clock.now(), None, "running", None, None, str(place)))
    finish_run(house.engine, "r1", status="passed", exit_code=0, error=None, at=house.clock.now())
    assert "pages of runs" in {held.place for held in house.about(ANN).held}
    assert house.forget(ANN).changed["pages of runs"] == 1
    assert not place.exists()
    assert SPEC not in everything(house)


# --- faces ------------------------------------------------------------------------------------------------------------


def test_the_command_line_looks_writes_asks_and_forgets(
    house: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mailops.cli import commands  # noqa: F401
    from mailops.cli.app import app

    run, place = CliRunner(), ["-w", str(house.workspace.path)]
    seen = json.loads(run.invoke(app, [*place, "about", ANN, "--json"]).stdout)
    assert seen["address"] == SPEC
    assert seen["rows"] == sum(held["count"] for held in seen["held"])
    for name in ("ann.html", "ann.json"):
        file = tmp_path / name
        assert run.invoke(app, [*place, "about", ANN, "--out", str(file)]).exit_code == 0
        assert file.stat().st_mode & 0o777 == 0o600
        assert WORDS in file.read_text()
        assert "http" not in file.read_text().replace("http-equiv", "")
    with pytest.raises(InputRefused):
        run.invoke(app, [*place, "about", ANN, "--out", str(tmp_path / "no" / "a.html")], catch_exceptions=False)
    assert run.invoke(app, [*place, "forget", ANN], input="n\n").exit_code == 1
    assert json.loads(run.invoke(app, [*place, "forget", ANN, "--json"]).stdout)["receipt"] is None
    assert SPEC in everything(house)
    asked = run.invoke(app, [*place, "forget", ANN], input="y\n")
    assert asked.exit_code == 0, asked.output
    assert "Not reached from here" in asked.output
    assert SPEC not in everything(house)
    done = json.loads(run.invoke(app, [*place, "forget", BOB, "--yes", "--json"]).stdout)
    assert is_pseudonym(done["receipt"]["pseudonym"])


def test_the_notebook_shows_saves_and_forgets(house: Ops) -> None:
    view = PersonView(house, address=ANN)
    assert "suppressions" in view.kept.text()
    saved = view.kept._save(".html").run
    assert saved is not None
    assert "Written to" in saved(str)
    forget = view.kept._forget()
    assert "There is no way back" in forget.sentence
    assert forget.run is not None
    assert "Forgotten" in forget.run(str)
    assert SPEC not in everything(house)
    assert "Nothing is kept" in view.kept.text()
    for kind in KINDS:
        assert kind.what in view.retention.text()
    assert "90" in view.retention.text()
    assert "for ever" in view.retention.text()


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_number_is_given_away_once_and_attempts_outlive_their_mails(house: Ops) -> None:
    last = house.send(to=[BOB], sender="desk@acme.example", subject="Last", text="x", auto_delete=True)
    house.queue.run()
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(m.c.id).where(m.c.id == last)).first() is None
        a = schema.attempts
        kept = connection.execute(sa.select(a.c.outcome).where(a.c.mail_id == last)).scalars().all()
    assert kept == ["sent"]
    assert house.send(to=[BOB], sender="desk@acme.example", subject="Next", text="x") == last + 1


def test_sqlite_itself_gives_no_number_twice(house: Ops) -> None:
    if house.engine.dialect.name != "sqlite":
        pytest.skip("a sequence does that on PostgreSQL")
    with sqlite3.connect(house.workspace.database) as store:
        assert "AUTOINCREMENT" in store.execute("SELECT sql FROM sqlite_master WHERE name = 'mails'").fetchone()[0]
    store.close()
