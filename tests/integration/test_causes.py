"""The analyst's answers from a real store, on both databases: what the database groups is what one by one would give."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from peers import missing

from mailops import Ops
from mailops.analysis.collect import gather
from mailops.analysis.export import write_frames
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.model.mail import Submission
from mailops.model.setup import MailClass
from mailops.queue.frame import queue_frame
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, refuse
from mailops.testing.dsn import build_dsn
from mailops.widgets import RatesView
from mailops.widgets.queue_view import mail_html

START = datetime(2026, 11, 20, 9, tzinfo=UTC)  # a Friday


@pytest.fixture
def ops_on(ops_factory: Callable[..., Ops], store_target: str) -> Callable[..., Ops]:
    database = store_target if "://" in store_target else None
    return lambda **more: ops_factory(database=database, **more)


def causes_card(ops: Ops) -> Any:
    return RatesView(ops, since="").causes()


def posted(ops: Ops, smtp: Any, addresses: list[str], **more: Any) -> None:
    mails = [Submission(sender="Ann <ann@acme.example>", to=(a,), subject="Hi", text="Hi", **more) for a in addresses]
    list(ops.queue.submit_many(mails))
    ops.queue.run()


def came_back(ops: Ops, smtp: Any, address: str, status: str = "5.2.2", text: str = "552 5.2.2 Mailbox full") -> None:
    raw = next(m.data for m in reversed(smtp.messages) if address in m.recipients)
    assert ops.bounces.take(build_dsn(raw, address, status, text, "mx.x.example")).matched == 1


@pytest.mark.req("LIM-05")
def test_of_200_addresses_6_come_back_which_are_three_per_cent(ops_factory: Callable[..., Ops]) -> None:
    clock = ManualClock(START)
    with SmtpServer(script=[refuse("gone*@x.example")]) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        posted(ops, smtp, [f"u{n}@x.example" for n in range(196)] + [f"gone{n}@x.example" for n in range(4)])
        for n in (7, 8):
            came_back(ops, smtp, f"u{n}@x.example")
        overall, addresses = ops.analysis.overall(), ops.analysis.addresses()
        assert (overall.returned, overall.addressed, f"{overall.rate:.2%}") == (6, 200, "3.00%")
        posted(ops, smtp, ["u7@x.example", "u9@x.example"])  # an address counts once, however often it is written to
        addresses = ops.analysis.addresses()
        assert (addresses.returned, addresses.addressed, f"{addresses.rate:.2%}") == (6, 200, "3.00%")
    [line] = ops.analysis.bounce_rate("domain").to_dict("records")
    assert (line["refused"], line["bounced"]) == (4, 2)


def test_causes_split_and_trend_agree_with_what_happened(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock(START)
    script = [refuse("gone*@*"), refuse("full*@*", 452, "4.2.2", "Mailbox full"), refuse("silent*@*", 550, "", "")]
    with SmtpServer(script=script) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        posted(ops, smtp, ["a@x.example", "B@X.example", "gone1@x.example", "gone2@y.example", "silent@y.example"])
        posted(ops, smtp, ['"odd@name"@z.example'], mail_class=MailClass.MASS)
        clock.advance(2 * 86400)  # Sunday: nothing is sent, a report comes
        came_back(ops, smtp, "a@x.example")
        clock.advance(86400)
        posted(ops, smtp, ["c@x.example"])
    a = ops.analysis
    causes = a.causes()
    assert {r["reason"]: (r["recipients"], r["domains"], r["hard"]) for r in causes.to_dict("records")} == {
        "userunknown": (2, 2, "hard"),
        "mailboxfull": (1, 1, "soft"),
        "undefined": (1, 1, "soft"),
    }
    assert list(a.causes(by="domain", value="x.example")["reason"]) == ["mailboxfull", "userunknown"]
    assert list(a.causes(by="sender", value="acme.example")["recipients"]) == [2, 1, 1]
    assert a.causes(by="class", value="mass").empty
    assert len(a.causes(by="server", value="main")) == 3
    split = a.split()
    assert (split.refused_hard, split.refused_soft, split.bounced_hard, split.bounced_soft) == (2, 1, 0, 1)
    days = a.trend().to_dict("records")
    assert [(d["day"], d["addressed"], d["refused"], d["bounced"]) for d in days] == [
        ("2026-11-20", 6, 3, 1),  # Sunday's report counts on Friday, when its mail was sent
        ("2026-11-23", 1, 0, 0),
    ]
    weeks = a.trend(by="week").to_dict("records")
    assert [(d["week"], d["addressed"], d["returned"]) for d in weeks] == [("2026-11-16", 6, 4), ("2026-11-23", 1, 0)]
    assert list(a.bounce_rate("week")["week"]) == ["2026-11-16", "2026-11-23"]
    found, total = a.failures(by="domain", value="y.example")
    assert (total, [f.recipient for f in found]) == (2, ["silent@y.example", "gone2@y.example"])
    assert a.failures(limit=1, offset=3)[0][0].recipient == "gone1@x.example"
    one = a.failure(a.failures()[0][0].id)
    assert (one.recipient, one.sender, one.kind) == ("a@x.example", "acme.example", "bounced")
    assert b"Final-Recipient" in ops.bounces.raw(one.bounce_id or 0)
    assert a.jump().sentence.startswith("There are too few days")
    with pytest.raises(ConfigError):
        a.causes(by="weather", value="rain")
    with pytest.raises(NotFound):
        a.failure(999_999)


@pytest.mark.req("ERR-04")
def test_a_failure_without_a_reason_is_no_error_and_never_a_success(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[refuse("bob@x.example", 550, "", "")]) as smtp:
        ops = ops_on(clock=ManualClock(START))
        furnish(ops, smtp)
        posted(ops, smtp, ["bob@x.example", "eve@x.example"])
    page = ops.queue.page()
    frame = queue_frame(page.mails).set_index("recipient")
    assert frame.loc["bob@x.example", "error"] == "no error"
    assert frame.loc["bob@x.example", "recipient_state"] == "Delivery Failed"
    assert frame.loc["eve@x.example", "error"] == ""
    assert [(f.meaning, f.kind) for f in ops.analysis.failures()[0]] == [("no error", "refused")]
    [cause] = ops.analysis.causes().to_dict("records")
    assert (cause["reason"], cause["meaning"]) == ("undefined", "no error")
    assert (ops.analysis.overall().returned, ops.analysis.overall().addressed) == (1, 2)
    failed = next(mail.id for mail in page.mails if mail.deliveries[0].recipient == "bob@x.example")
    shown = mail_html(ops, failed)
    assert "<td" in shown
    assert re.search(r"<td[^>]*>no error</td>", shown)
    assert ">no error<" in causes_card(ops).html()


@pytest.mark.req("ERR-01")
def test_a_standard_code_gives_class_and_category_and_the_text_is_kept(ops_on: Callable[..., Ops]) -> None:
    text = "Sorry, no mailbox here by that name. (#5.1.1)"
    with SmtpServer(script=[refuse("bob@x.example", 550, "5.1.1", text)]) as smtp:
        ops = ops_on(clock=ManualClock(START))
        furnish(ops, smtp)
        posted(ops, smtp, ["bob@x.example"])
    [delivery] = ops.queue.page().mails[0].deliveries
    assert (delivery.code, delivery.enhanced, delivery.reason) == (550, "5.1.1", "userunknown")
    assert text in (delivery.reply or "")
    [cause] = ops.analysis.causes().to_dict("records")
    assert (cause["meaning"], cause["hard"]) == ("The address does not exist.", "hard")
    assert text in cause["example"]


@pytest.mark.req("ERR-05")
def test_three_unexplained_failures_in_seven_days_are_a_matter_for_support(ops_on: Callable[..., Ops]) -> None:
    clock = ManualClock(START)
    with SmtpServer(script=[refuse("*@x.example", 550, "", ""), refuse("gone@y.example")]) as smtp:
        ops = ops_on(clock=clock)
        furnish(ops, smtp)
        posted(ops, smtp, ["old@x.example"] * 2)
        clock.advance(8 * 86400)
        posted(ops, smtp, ["a@x.example", "a@x.example", "gone@y.example", "gone@y.example", "gone@y.example"])
        assert ops.analysis.recurring() == []  # two, and those of more than a week ago
        posted(ops, smtp, ["b@x.example"])
        assert [(r.what, r.name, r.count) for r in ops.analysis.recurring()] == [("domain", "x.example", 3)]
        posted(ops, smtp, ["A@x.example"])
    found = {(r.what, r.name): r for r in ops.analysis.recurring()}
    assert {key: r.count for key, r in found.items()} == {("address", "a@x.example"): 3, ("domain", "x.example"): 4}
    assert "contact support" in found["domain", "x.example"].suggestion
    assert ops.analysis.unexplained_senders() == [("acme.example", 4)]
    assert len(gather(ops.engine, "x.example", now=clock.now())["failures.csv"].splitlines()) == 7


def test_an_empty_store_answers_everything(ops_on: Callable[..., Ops], tmp_path: Path) -> None:
    a = ops_on().analysis
    for since in ("30d", ""):
        assert a.overall(since).addressed == a.addresses(since).addressed == 0
        assert a.compared(since).verdict == "few"
        assert a.trend(since).empty
        assert a.trend(since, "week").empty
        assert not a.jump(since).found
        assert a.causes(since).empty
        assert a.split(since).hard == 0
        assert a.failures(since) == ([], 0)
        assert a.volume(since).empty
    assert a.recurring() == a.unexplained_senders() == []


def test_many_failures_are_grouped_by_the_database(sqlite_engine: sa.Engine) -> None:
    """The answer is a few rows, whatever the number of events; and the questions read no event one by one."""
    from mailops.analysis.causes import causes, split
    from mailops.analysis.sql import Period

    read = 0

    def counted(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal read
        read += "FROM events" in statement and "GROUP BY" not in statement

    rows = [
        {"at": START + timedelta(seconds=n), "kind": "failed", "recipient": f"u{n}@d{n % 40}.example", "data": data}
        for n in range(20_000)
        for data in [{"reason": "userunknown" if n % 3 else "mailboxfull", "code": 550, "reply": "no"}]
    ]
    with sqlite_engine.begin() as connection:
        connection.execute(sa.insert(schema.events), rows)
    sa.event.listen(sqlite_engine, "before_cursor_execute", counted)
    found = causes(sqlite_engine, since=None, now=START)
    parts = split(sqlite_engine, period=Period())
    assert found[["recipients", "domains"]].to_numpy().tolist() == [[13333, 40], [6667, 40]]
    assert (parts.hard, parts.soft) == (13333, 6667)
    assert read == 0


def test_figures_are_written_as_files_that_no_spreadsheet_runs(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"domain": ["=cmd()", "x.example"], "rate": [-0.5, 0.25]})
    [path] = write_frames({"by_domain": frame}, tmp_path / "out", "csv")
    assert path.read_text().splitlines() == ["domain,rate", "'=cmd(),-0.5", "x.example,0.25"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputRefused):
        write_frames({"by_domain": frame}, tmp_path / "out", "xls")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused):
        write_frames({"by_domain": frame}, tmp_path / "file" / "out", "csv")
    if find_spec("pyarrow") is None:
        missing("parquet", "pyarrow is not installed")
    [path] = write_frames({"by_domain": frame}, tmp_path / "out", "parquet")
    assert pd.read_parquet(path).to_dict("list") == frame.to_dict("list")
