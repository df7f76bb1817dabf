"""Logs taken into the store: facts of their own, once, across files and runs; what is asked of them, by every face."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mailops import Ops
from mailops.errors import InputRefused, NotFound
from mailops.ledger import key_of
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer, build_dsn

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
e, g = schema.events, schema.log_mails


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    return ops_factory(clock=ManualClock(NOW))


def app_of() -> Any:
    from mailops.cli import commands  # noqa: F401
    from mailops.cli.app import app

    return app


def cli(ops: Ops, *words: str) -> Any:
    """A command with --json, in the same workspace."""
    done = CliRunner().invoke(app_of(), ["-w", str(ops.workspace.path), *words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def written(folder: Path, name: str, *lines: str) -> Path:
    """A log whose lines are `day hour:minute:second program words`, of November 2026."""
    text = "".join(f"2026-11-{line.replace(' ', 'T', 1).replace(' ', '+00:00 mx1 ', 1)}\n" for line in lines)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


def mail(queue: str, number: int, day: int = 28, *, name: str = "postfix", login: str = "odoo") -> list[str]:
    return [
        f"{day} 09:00:01 {name}/smtpd[1]: {queue}: client=app[10.0.0.5], sasl_method=PLAIN, sasl_username={login}",
        f"{day} 09:00:01 {name}/cleanup[2]: {queue}: message-id=<{number}@acme.example>",
        f"{day} 09:00:01 {name}/qmgr[3]: {queue}: from=<ann@acme.example>, size=900, nrcpt=1 (queue active)",
    ]


def answer(queue: str, to: str, status: str, words: str, at: str = "28 09:00:02", *, by: str = "postfix/smtp") -> str:
    dsn = {"sent": "2.0.0", "deferred": "4.7.1"}.get(status, "5.1.1")
    relay = "mx.x.example[192.0.2.9]:25"
    return f"{at} {by}[4]: {queue}: to=<{to}>, relay={relay}, delay=1, delays=0/0/0/0, dsn={dsn}, status={status} ({words})"


NO = "host mx.x.example[192.0.2.9] said: 550 5.1.1 No such user here (in reply to RCPT TO command)"
LATER = "host mx.x.example[192.0.2.9] said: 451 4.7.1 Greylisted, try again (in reply to RCPT TO command)"


def rows(ops: Ops, table: sa.Table) -> list[Any]:
    with ops.engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.id)))


def test_mail_that_never_passed_mailops_has_rates_causes_and_failures_but_no_place_in_the_queue(
    ops: Ops, tmp_path: Path
) -> None:
    lines = [line for n in range(8) for line in mail(f"AB00{n}", n)]
    lines += [answer(f"AB00{n}", f"u{n}@x.example", "sent", "250 2.0.0 Ok: queued as 4X") for n in range(6)]
    lines += [answer("AB006", "gone@x.example", "bounced", NO), answer("AB007", "slow@x.example", "deferred", LATER)]
    path = written(tmp_path, "mail.log", *lines)
    done = cli(ops, "logs", "take", str(path))
    assert done["taken"] == {"mails": 8, "answers": 8, "refusals": 0, "facts": 16, "unjoined": 0}
    assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (7, 1)
    (cause,) = ops.analysis.causes().to_dict("records")
    assert (cause["reason"], cause["recipients"], cause["hard"]) == ("userunknown", 1, "hard")
    assert list(ops.analysis.bounce_rate(by="server")["server"]) == ["mx1/postfix"]
    assert list(ops.analysis.bounce_rate(by="sender")["sender"]) == ["acme.example"]
    (failed,), total = ops.analysis.failures()
    assert (total, failed.recipient, failed.code, failed.error) == (1, "gone@x.example", "5.1.1", NO)
    assert not rows(ops, schema.mails)
    assert ops.queue.run().sent == 0
    assert not ops.suppressions.page()[1]  # nobody is suppressed by mail that is not ours
    assert ops.books().agree


def test_the_same_log_again_from_an_archive_or_from_journald_changes_nothing(
    ops_on: Callable[..., Ops], tmp_path: Path
) -> None:
    ops = ops_on(clock=ManualClock(NOW))
    lines = [
        *mail("AB001", 1),
        answer("AB001", "bob@x.example", "sent", "250 ok"),
        "28 09:00:02 postfix/qmgr[3]: AB001: removed",
    ]
    lines += ["28 09:06:04 postfix/smtpd[4]: NOQUEUE: reject: RCPT from u[203.0.113.7]: 550 5.1.1 <x@acme.example>: Recipient address rejected: User unknown; from=<s@y.example> to=<x@acme.example> proto=ESMTP helo=<x>"]  # fmt: skip
    first = written(tmp_path, "mail.log", *lines)
    assert ops.logs.take(first).taken.facts == 3
    before = [tuple(row) for table in (e, g) for row in rows(ops, table)]
    bsd = tmp_path / "bsd.log"
    bsd.write_text("".join(f"Nov {line.replace(' postfix', ' mx1.acme.example postfix')}\n" for line in lines))
    journal = tmp_path / "journal.json"
    entries = []
    for line in lines:
        day, time, name, words = line.split(" ", 3)
        at = datetime.fromisoformat(f"2026-11-{day}T{time}+00:00")
        entries.append({"__REALTIME_TIMESTAMP": f"{int(at.timestamp())}123456", "_HOSTNAME": "mx1", "SYSLOG_IDENTIFIER": name.partition("[")[0], "MESSAGE": words})  # fmt: skip
    journal.write_text("\n".join(map(json.dumps, entries)))
    for again in (first, written(tmp_path, "mail.log.1.gz", *lines), bsd, journal, tmp_path):
        assert ops.logs.take(again, zone="UTC").taken.facts == 0, again
    assert [tuple(row) for table in (e, g) for row in rows(ops, table)] == before


@pytest.mark.parametrize("cut", range(1, 7))
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_mail_is_joined_over_a_rotation_at_any_line_and_in_either_order(
    ops: Ops, tmp_path: Path, cut: int, newest_first: bool
) -> None:
    lines = [*mail("AB001", 1), answer("AB001", "bob@x.example", "deferred", LATER),
             answer("AB001", "bob@x.example", "sent", "250 2.0.0 Ok: queued as 4X", "28 09:05:02"),
             "28 09:05:02 postfix/qmgr[3]: AB001: removed", *mail("AB001", 2, 29),
             answer("AB001", "cat@x.example", "bounced", NO, "29 09:00:02")]  # fmt: skip
    files = [written(tmp_path, "mail.log.1", *lines[:cut]), written(tmp_path, "mail.log", *lines[cut:])]
    for path in reversed(files) if newest_first else files:
        ops.logs.take(path)
    found = ops.trace("<1@acme.example>")
    (journey,) = found.journeys
    assert (found.by, journey.sender, journey.unjoined) == ("message_id", "ann@acme.example", ())
    (path_,) = journey.paths
    assert (path_.recipient, path_.state, path_.answer) == ("bob@x.example", "held", "250 2.0.0 Ok: queued as 4X")
    assert ops.trace("2@acme.example").journeys[0].paths[0].state == "refused"
    assert ops.trace("AB001").total == 2
    assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (2, 1)
    assert ops.books().agree


def test_one_mail_through_two_instances_is_one_sending(ops: Ops, tmp_path: Path) -> None:
    first = mail("AB001", 1)
    second = [
        line.replace("sasl_method=PLAIN, sasl_username=odoo", "orig_queue_id=AB001")
        for line in mail("CD002", 1, name="postfix-out")
    ]
    path = written(
        tmp_path, "mail.log", *first, *second,
        answer("AB001", "bob@x.example", "sent", "250 2.0.0 Ok: queued as CD002"),
        answer("CD002", "bob@x.example", "bounced", NO, "28 09:00:03", by="postfix-out/smtp"),
    )  # fmt: skip
    ops.logs.take(path)
    assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (1, 1)
    (journey,) = ops.trace("1@acme.example").journeys
    assert [step.what for step in journey.steps][2] == "mx1/postfix passed it on within this log, as CD002"
    assert journey.paths[0].state == "refused"


def test_what_a_queue_gave_up_names_whoever_it_had_put_off_in_an_earlier_file(ops: Ops, tmp_path: Path) -> None:
    ops.logs.take(written(tmp_path, "1", *mail("AB001", 1), answer("AB001", "bob@x.example", "deferred", LATER)))
    ops.logs.take(written(tmp_path, "2", "29 09:00:01 postfix/qmgr[3]: AB001: from=<ann@acme.example>, status=expired, returned to sender"))  # fmt: skip
    (path,) = ops.trace("1@acme.example").journeys[0].paths
    assert (path.recipient, path.state, path.answer) == ("bob@x.example", "refused", LATER)
    assert ops.analysis.overall().returned == 1


@pytest.mark.req("INC-01")
def test_refused_incoming_mail_is_counted_per_day_and_reason_with_the_answer(ops: Ops, tmp_path: Path) -> None:
    def refused(day: int, second: int, address: str, words: str) -> str:
        return (
            f"{day} 10:00:{second:02} postfix/smtpd[4]: NOQUEUE: reject: RCPT from u[{address}]: {words};"
            f" from=<s{second}@y.example> to=<ann@acme.example> proto=ESMTP helo=<x>"
        )

    unknown = "550 5.1.1 <ann@acme.example>: Recipient address rejected: User unknown in local recipient table"
    listed = "554 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.example"
    lines = [refused(27, n, "192.0.2.1", unknown) for n in range(2)]
    lines += [refused(28, n, "203.0.113.7", listed) for n in range(3)] + [refused(28, 9, "192.0.2.1", unknown)]
    cli(ops, "logs", "take", str(written(tmp_path, "mail.log", *lines)))
    told = cli(ops, "logs", "refused")
    assert [(r["day"], r["reason"], r["number"], r["answer"]) for r in told["rows"]] == [
        ("2026-11-28", "blocked", 3, listed), ("2026-11-28", "userunknown", 1, unknown),
        ("2026-11-27", "userunknown", 2, unknown),
    ]  # fmt: skip
    assert told["rows"] == json.loads(json.dumps(told["rows"]))
    assert [row.number for row in ops.logs.refused()] == [3, 1, 2]
    found = ops.trace("ann@acme.example")
    assert (len(found.refused), found.refused[0].answer) == (6, unknown)


@pytest.mark.req("INC-02")
@pytest.mark.parametrize(
    ("hosting", "says"),
    [("online", "Contact support, since it recurs: "), ("sh", "~/logs"), ("on_premise", "/var/log")],
)
def test_what_to_do_follows_the_hosting_kind_and_what_recurs(ops: Ops, tmp_path: Path, hosting: str, says: str) -> None:
    ops.change_profile(hosting=hosting)
    ops.__dict__.pop("logs", None)
    line = "28 10:00:0{} postfix/smtpd[4]: NOQUEUE: reject: RCPT from u[192.0.2.1]: 550 5.7.1 no; from=<a@y.example> to=<b@acme.example>"
    ops.logs.take(written(tmp_path, "mail.log", *(line.format(n) for n in range(4))))
    told = cli(ops, "logs", "refused")["advice"]
    assert any(says in one for one in told)
    assert any("domain y.example" in one and "4 times" in one for one in told)


def odoo_week(folder: Path) -> None:
    """A week of Odoo's logs as hosting leaves them: today's, the day before, older ones dated and compressed."""
    for day in range(22, 29):
        text = "".join(
            f"2026-11-{day} 0{hour}:00:00,123 77 INFO acme odoo.addons.mail.models.mail_mail: Mail with ID {day}{hour} and"
            f" Message-Id '<{day}{hour}@acme.example>' successfully sent\n"
            for hour in (6, 7)
        )
        if day in (23, 26):
            text += (
                f"2026-11-{day} 08:00:00,123 77 INFO acme odoo.addons.mail.models.mail_mail: MemoryError while processing"
                " mail with ID 9 and Msg-Id '<nine@acme.example>'. Consider raising the --limit-memory-hard\n"
            )
        if day == 28:
            text += (
                "2026-11-28 08:00:00,123 77 INFO acme odoo.addons.mail.models.mail_mail: Mail with ID 9 and Message-Id"
                " '<nine@acme.example>' successfully sent\n"
            )
        name = {28: "odoo.log", 27: "odoo.log.1"}.get(day, f"odoo.log.2026-11-{day}.gz")
        (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())


@pytest.mark.req("INC-03")
def test_a_folder_of_odoo_logs_is_searched_across_days_in_order_of_time(ops: Ops, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    odoo_week(folder)
    hits = cli(ops, "logs", "search", "<nine@acme.example>", str(folder))
    assert [(hit["at"][:10], hit["file"]) for hit in hits] == [
        ("2026-11-23", "odoo.log.2026-11-23.gz"), ("2026-11-26", "odoo.log.2026-11-26.gz"), ("2026-11-28", "odoo.log"),
    ]  # fmt: skip
    assert not rows(ops, e)
    done = cli(ops, "logs", "take", str(folder))
    assert [Path(name).name for name in done["files"]] == [
        *(f"odoo.log.2026-11-{day}.gz" for day in range(22, 27)), "odoo.log.1", "odoo.log",
    ]  # fmt: skip
    assert len(cli(ops, "trace", "226@acme.example")["journeys"]) == 1


@pytest.mark.req("INC-04")
def test_one_mail_has_a_timeline_of_all_attempts_from_odoo_to_the_last_server(ops: Ops, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    odoo_week(folder)
    lines = [line.replace("<1@acme", "<nine@acme") for line in mail("AB001", 1)]
    lines += [answer("AB001", "bob@x.example", "deferred", LATER, f"28 09:{minute}:02") for minute in (10, 20)]
    lines += [answer("AB001", "bob@x.example", "sent", "250 2.0.0 Ok: queued as 4X", "29 09:00:00")]
    written(folder, "mail.log", *lines)
    cli(ops, "logs", "take", str(folder))
    (journey,) = cli(ops, "trace", "<nine@acme.example>")["journeys"]
    told = [(step["at"][8:16], step["state"]) for step in journey["steps"]]
    assert told == sorted(told)
    attempts = [(step["at"][8:16], step["state"]) for step in journey["steps"] if step["answer"]]
    assert attempts == [
        ("23T08:00", "refused"), ("26T08:00", "refused"), ("28T08:00", "held"), ("28T09:10", "waiting"),
        ("28T09:20", "waiting"), ("29T09:00", "held"),
    ]  # fmt: skip
    (path,) = journey["paths"]
    assert path["ask"] == "the postmaster of mx.x.example"
    assert "250 2.0.0 Ok: queued as 4X" in path["text"]
    assert "Your queue id is 4X." in path["text"]
    said = CliRunner().invoke(_app(), ["-w", str(ops.workspace.path), "trace", "<nine@acme.example>"])
    assert "To the postmaster of mx.x.example" in said.stdout


def _app() -> Any:
    from mailops.cli import commands  # noqa: F401
    from mailops.cli.app import app

    return app


def test_our_own_mail_is_followed_beyond_the_server_that_took_it(
    ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    from furnish import furnish

    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(NOW))
        furnish(ops, smtp)
        number = ops.send(sender="ann@acme.example", to=["bob@x.example", "cat@x.example"], subject="Hi", text="Hello")
        assert ops.queue.run().sent == 1
        name = ops.queue.mail(number).message_id
        raw = smtp.messages[0].data
    lines = [line.replace("<1@acme.example>", name) for line in mail("AB001", 1, 30)]
    lines += [
        answer("AB001", "bob@x.example", "sent", "250 2.0.0 Ok: queued as 4X", "30 12:00:05"),
        answer("AB001", "cat@x.example", "bounced", NO, "30 12:00:06"),
    ]
    path = written(tmp_path, "mail.log", *lines)
    for _ in range(2):
        ops.logs.take(path)
    states = {d.recipient: d.state.value for d in ops.queue.mail(number).deliveries}
    assert states == {"bob@x.example": "sent", "cat@x.example": "bounced"}
    assert (ops.analysis.overall().addressed, ops.analysis.overall().returned) == (2, 1)
    ops.bounces.take(build_dsn(raw, "cat@x.example", "5.1.1", "550 5.1.1 No", "mx1", to="bounce@acme.example"))
    assert ops.analysis.overall().returned == 1  # told by the log already
    (journey,) = ops.trace(str(number)).journeys
    assert journey.mail == number
    assert {(p.recipient, p.state) for p in journey.paths} == {("bob@x.example", "held"), ("cat@x.example", "refused")}
    assert {step.source for step in journey.steps} >= {"queue", "log"}
    assert ops.books().agree


def test_a_report_leaves_the_words_of_acceptance_as_they_were_given(
    ops_factory: Callable[..., Ops], tmp_path: Path
) -> None:
    from furnish import furnish

    with SmtpServer() as smtp:
        ops = ops_factory(clock=ManualClock(NOW))
        furnish(ops, smtp)
        number = ops.send(sender="ann@acme.example", to=["cat@x.example"], subject="Hi", text="Hello")
        assert ops.queue.run().sent == 1
        raw = smtp.messages[0].data
    took = ops.queue.mail(number).deliveries[0].reply
    assert took
    before = cli(ops, "trace", str(number))["journeys"][0]["steps"]
    ops.bounces.take(build_dsn(raw, "cat@x.example", "5.1.1", "550 5.1.1 No", "mx1", to="bounce@acme.example"))
    after = cli(ops, "trace", str(number))["journeys"][0]["steps"]
    assert after[: len(before)] == before
    assert [step["answer"] for step in after if step["what"].endswith(" took it")] == [took]
    told = {line["kind"]: line["data"] for line in cli(ops, "queue", "history", str(number))}
    assert told["sent"]["reply"] == took
    assert "5.1.1" in told["bounced"]["reply"]
    shown = CliRunner().invoke(app_of(), ["-w", str(ops.workspace.path), "queue", "show", str(number)])
    assert took in shown.stdout


def test_of_a_fragment_what_is_not_known_is_said(ops: Ops, tmp_path: Path) -> None:
    late = answer("AB009", "bob@x.example", "deferred", "connect to mx: timed out")
    done = ops.logs.take(written(tmp_path, "mail.log", late.replace("relay=mx.x.example[192.0.2.9]:25", "relay=none")))
    assert done.says.startswith("1 file, 1 line: "), done.says
    assert "1 answers" not in done.says
    (journey,) = cli(ops, "trace", "AB009")["journeys"]
    assert (journey["mail"], journey["sender"]) == (None, None)
    assert journey["steps"][-1]["what"] == "no server was reached; it waits at mx1/postfix"
    assert "from an unknown sender" in journey["paths"][0]["text"]
    shown = CliRunner().invoke(app_of(), ["-w", str(ops.workspace.path), "trace", "AB009"]).stdout
    assert "from an unknown sender" in shown
    assert "<>" not in shown


def test_who_still_sends_past_mailops_is_told_by_sign_in(ops: Ops, tmp_path: Path) -> None:
    lines = [*mail("AB001", 1), *mail("AB002", 2), *mail("AB003", 3, login="scanner@acme.example")]
    lines += [answer(f"AB00{n}", "bob@x.example", "sent", "250 ok") for n in (1, 2, 3)]
    cli(ops, "logs", "take", str(written(tmp_path, "mail.log", *lines)))
    told = [(one["login"], one["mails"], one["domains"]) for one in cli(ops, "logs", "senders")]
    assert told == [("odoo", 2, ["acme.example"]), ("scanner@acme.example", 1, ["acme.example"])]


def test_an_address_gives_its_mails_of_the_period_and_what_is_not_known_is_said(ops: Ops, tmp_path: Path) -> None:
    lines = [line for n, day in ((1, 10), (2, 27), (3, 29)) for line in mail(f"AB00{n}", n, day)]
    lines += [
        answer(f"AB00{n}", "Bob@x.example", "sent", "250 ok", f"{day} 09:00:03")
        for n, day in ((1, 10), (2, 27), (3, 29))
    ]
    ops.logs.take(
        written(tmp_path, "mail.log", *lines, answer("AB009", "zoe@x.example", "sent", "250 ok", "29 10:00:00"))
    )
    assert [j.message_id for j in ops.trace("bob@x.example").journeys] == ["<3@acme.example>", "<2@acme.example>"]
    assert ops.trace("bob@x.example", since=None).total == 3
    (journey,) = ops.trace("zoe@x.example").journeys
    assert "do not show how it came to mx1/postfix as AB009" in journey.unjoined[0]
    with pytest.raises(NotFound):
        ops.trace("nobody@x.example")
    with pytest.raises(InputRefused):
        ops.trace("  ")


def test_people_in_logs_are_shown_forgotten_and_expire(ops: Ops, tmp_path: Path) -> None:
    lines = [
        *mail("AB001", 1, login="ann@acme.example"),
        answer("AB001", "bob@x.example", "bounced", f"{NO} bob@x.example"),
    ]
    lines += ["28 10:00:01 postfix/smtpd[4]: NOQUEUE: reject: RCPT from u[192.0.2.1]: 550 5.7.1 no; from=<ann@acme.example> to=<bob@x.example>"]  # fmt: skip
    path = written(tmp_path, "mail.log", *lines)
    ops.logs.take(path)
    before = ops.analysis.overall()
    for address in ("ann@acme.example", "bob@x.example"):
        assert ops.about(address).rows
        ops.forget(address)
    kept = "\n".join(str(tuple(row)) for table in (e, g) for row in rows(ops, table))
    assert "bob@x.example" not in kept
    assert "ann@acme.example" not in kept
    assert ops.analysis.overall() == before
    assert ops.books().agree
    ops.clock.advance(200 * 86_400)  # type: ignore[attr-defined]
    assert ops.vacuum().retention["logs"] == 1
    assert not rows(ops, g)
    assert not ops.overdue()


def test_a_log_is_followed_over_rotation_and_a_new_run_goes_on_where_the_last_ended(ops: Ops, tmp_path: Path) -> None:
    lines = [*mail("AB001", 1), answer("AB001", "bob@x.example", "sent", "250 ok")]
    path = written(tmp_path, "mail.log", *lines[:2])
    assert ops.logs.follow(path, stop=lambda: True).seen.lines == 2
    path.rename(tmp_path / "mail.log.1")
    written(tmp_path, "mail.log", *lines[2:])
    again = ops.logs.follow(path, stop=lambda: True)
    assert again.seen.lines == 2
    assert ops.trace("1@acme.example").journeys[0].paths[0].state == "held"
    assert ops.logs.follow(path, stop=lambda: True).seen.lines == 0


def test_the_demonstration_follows_a_mail_from_odoo_over_a_real_postfix(ops: Ops, tmp_path: Path) -> None:
    from mailops.demo.logs import take_logs, write_logs

    said = take_logs(ops, write_logs(tmp_path / "logs", NOW))
    assert "0 lines broken" in said[0]
    assert "mx/mta-in → " in said[1]
    assert [line.partition(": ")[0] for line in said[2:]] == ["file1@pipe.example", "ok1@away.example"]
    assert ops.books().agree


def test_either_files_are_taken_or_one_log_is_followed(ops: Ops) -> None:
    done = CliRunner().invoke(_app(), ["-w", str(ops.workspace.path), "logs", "take", "--json"])
    assert getattr(done.exception, "code", None) == "logs.which"


def test_a_key_never_holds_an_address() -> None:
    assert "@" not in key_of("l", "b", key_of("l", "mx1", "bob@x.example"))
