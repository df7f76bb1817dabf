"""Metrics that every face tells alike, and questions of one's own that can neither change nor steal anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.errors import InputRefused
from mailops.model.setup import MailClass
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.dsn import build_dsn
from mailops.testing.smtp_script import Rule
from mailops.widgets import MetricsCard

DAY = 86_400
RULES = [
    Rule("rcpt", "reply", 550, "5.1.1", "User unknown", recipient="gone*"),
    Rule("rcpt", "reply", 550, "5.7.1", "Your mail was taken for spam", recipient="spam*"),
    Rule("rcpt", "reply", 451, "4.2.0", "Come again", recipient="later*"),
]


@pytest.fixture
def month(ops_on: Callable[..., Ops]) -> Any:
    """Mail on 1 March, returns on 2 March; then ten days; and mail of today that is not counted yet."""
    clock = ManualClock(datetime(2026, 3, 1, 9, tzinfo=UTC))
    with SmtpServer(RULES) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        people = [f"u{n}@x.example" for n in range(14)] + ["gone@x.example", "spam@x.example", "later@x.example"]
        for who in people:
            ops.send(to=[who], sender="ann@acme.example", subject="x", text="secret words")
        ops.queue.run()
        clock.advance(DAY)
        first = next(bytes(one.data) for one in smtp.messages if one.recipients[0] == "u0@x.example")
        ops.bounces.take(build_dsn(first, "u0@x.example", "5.1.1", "550 5.1.1 User unknown", "mx.x.example"))
        clock.advance(9 * DAY)
        ops.send(to=["u0@x.example"], sender="a@acme.example", subject="x", text="x", mail_class=MailClass.MASS)
        ops.send(to=["u1@x.example"], sender="ann@acme.example", subject="x", text="x")
        ops.send(to=["spam2@x.example"], sender="ann@acme.example", subject="x", text="x")
        ops.queue.run()
        ops.send(to=["u2@x.example"], sender="ann@acme.example", subject="x", text="x")
        clock.advance(600)
        yield ops


def test_every_metric_has_its_right_value_and_every_face_tells_it(month: Ops) -> None:
    ops = month
    found = {one.name: one for one in ops.metrics()}
    told = {name: (one.numerator, one.denominator) for name, one in found.items() if one.definition.unit == "share"}
    assert told["hard_bounce_rate"] == (2, 16), "gone at once, u0 later; what left today is not ripe"
    assert told["soft_bounce_rate"] == (1, 16)
    assert told["delivery_rate"] == (13, 16)
    assert told["block_rate"] == (1, 2), "of the last seven days: one went out, one was taken for spam"
    assert told["complaint_rate"] == (0, 14)
    assert told["not_handed_over_rate"][0] == told["unknown_rate"][0] == 0
    assert found["hard_bounce_rate"].state == "watch", "two of sixteen may be chance"
    assert found["queue_age_p95"].value == pytest.approx(10 * DAY + 600, abs=60), "the one that was put off"
    lag = found["report_lag_p95"]
    assert (lag.value, lag.denominator) == (1.0, 1)
    ops_json = json.loads(CliRunner().invoke(app, ["-w", str(ops.workspace.path), "metrics", "--json"]).stdout)
    assert ops_json.keys() == found.keys()
    both = {"numerator", "denominator", "value"}
    rate = ops_json["hard_bounce_rate"]
    # the command line's clock is the real one: it tells the same definition of its own days
    assert both < rate.keys()
    assert rate["limits"] == [0.02, 0.05]
    assert "SES" in rate["source"]
    assert found["delivery_rate"].words in MetricsCard(ops).html()
    assert found["delivery_rate"].words in MetricsCard(ops).text()
    overall = ops.analysis.overall("30d")
    assert overall.addressed == 16 + 2, "the tile counts days that are not ripe too"


def test_a_question_of_one_s_own(month: Ops) -> None:
    answer = month.sql("SELECT kind, count(*) AS n FROM facts GROUP BY kind ORDER BY kind")
    assert answer.columns == ("kind", "n")
    assert dict(answer.rows)["submitted"] == 21
    assert dict(answer.rows)["bounced"] == 1
    joined = month.sql("WITH x AS (SELECT * FROM recipients) SELECT m.state FROM mails m JOIN x ON x.mail_id = m.id")
    assert len(joined.rows) == 21
    assert month.sql("SELECT reason FROM facts WHERE code = 550 AND kind = 'failed' ORDER BY 1 LIMIT 1").rows
    assert month.sql("SELECT sum(count) FROM counts WHERE outcome = 'sent'").rows[0][0] == 14


@pytest.mark.parametrize(
    "text",
    [
        "SELECT raw FROM contents",
        "SELECT * FROM main.contents",
        "SELECT count(*) FROM main.logins",
        "WITH facts AS (SELECT raw FROM main.contents) SELECT * FROM facts",
        "WITH mails AS (SELECT * FROM main.mails) SELECT login FROM mails",
        "SELECT (SELECT value FROM main.parameters LIMIT 1) FROM facts",
        "SELECT name, sql FROM sqlite_master",
        "SELECT * FROM temp.sqlite_master",
        "SELECT * FROM sqlite_temp_schema",
        "SELECT * FROM pragma_database_list",
        "ATTACH 'other.db' AS other",
        "PRAGMA table_info(mails)",
        "PRAGMA query_only = 0",
        "DELETE FROM mails",
        "UPDATE facts SET kind = 'x'",
        "INSERT INTO counts VALUES (1)",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x AS SELECT * FROM facts",
        "DROP VIEW mails",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT 1; DELETE FROM mails",
        "EXPLAIN SELECT 1; SELECT 2",
        "COPY mails TO '/tmp/x'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "INSTALL httpfs",
        "BEGIN",
        "",
    ],
)
def test_what_is_no_question_is_refused_and_changes_nothing(month: Ops, text: str) -> None:
    before = month.queue.health()
    with pytest.raises(InputRefused) as refused:
        month.sql(text)
    assert refused.value.code in ("sql.refused", "sql.wrong")
    assert refused.value.fix
    assert month.queue.health() == before


def test_a_question_that_takes_too_long_ends(month: Ops) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(InputRefused) as slow:
        month.sql(endless, seconds=0.5)
    assert slow.value.code == "sql.slow"
    huge = month.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT i FROM n")
    assert (len(huge.rows), huge.more) == (100_000, True)


def test_the_command_line(month: Ops) -> None:
    run, place = CliRunner(), ["-w", str(month.workspace.path)]
    done = run.invoke(app, [*place, "sql", "SELECT count(*) AS n FROM mails", "--json"])
    assert done.exception is None, done.exception
    found = json.loads(done.stdout)
    assert found == [{"n": 21}]
    assert "facts" in run.invoke(app, [*place, "sql", "--views"]).stdout
    assert json.loads(run.invoke(app, [*place, "sql", "--views", "--json"]).stdout)["counts"]["columns"]["hour"]
    assert isinstance(run.invoke(app, [*place, "sql"]).exception, InputRefused)
    assert "hard_bounce_rate" in run.invoke(app, [*place, "metrics"]).stdout


def test_who_was_forgotten_is_in_no_view(month: Ops) -> None:
    month.forget("u3@x.example")
    for view, column in (("recipients", "recipient"), ("facts", "recipient"), ("suppressions", "address")):
        rows = month.sql(f"SELECT {column} FROM {view} WHERE {column} LIKE 'u3@%'").rows
        assert rows == ()
