"""Lines of logs, their order, and how they are joined: without a store."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailops.errors import InputRefused
from mailops.logs import Joiner, Line, Seen, Stamps, find, follow, lines_of, read
from mailops.logs.reports import Recurring, advice

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
MAIL = """\
Nov 28 09:00:01 mx1 postfix/smtpd[1]: A1B2C3D4: client=app[10.0.0.5], sasl_method=PLAIN, sasl_username=odoo
Nov 28 09:00:01 mx1 postfix/cleanup[2]: A1B2C3D4: message-id=<one@acme.example>
Nov 28 09:00:01 mx1 postfix/qmgr[3]: A1B2C3D4: from=<ann@acme.example>, size=900, nrcpt=2 (queue active)
Nov 28 09:00:02 mx1 postfix/smtp[4]: A1B2C3D4: to=<bob@x.example>, relay=mx.x.example[192.0.2.9]:25, delay=0.4, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4XyZ)
Nov 28 09:00:03 mx1 postfix/smtp[4]: A1B2C3D4: to=<cat@x.example>, orig_to=<cats@acme.example>, relay=none, delay=0.4, delays=0/0/0/0, dsn=4.4.1, status=deferred (connect to mx.x.example[192.0.2.9]:25: Connection refused)
Nov 28 14:00:03 mx1 postfix/qmgr[3]: A1B2C3D4: from=<ann@acme.example>, status=expired, returned to sender
Nov 28 14:00:03 mx1 postfix/cleanup[2]: B1B2C3D4: message-id=<report@mx1>
Nov 28 14:00:03 mx1 postfix/bounce[9]: A1B2C3D4: sender non-delivery notification: B1B2C3D4
Nov 28 14:00:03 mx1 postfix/qmgr[3]: B1B2C3D4: from=<>, size=2900, nrcpt=1 (queue active)
Nov 28 14:00:03 mx1 postfix/qmgr[3]: A1B2C3D4: removed
"""


def stamps(zone: Any = UTC, reference: datetime = NOW) -> Stamps:
    return Stamps(zone=zone, reference=reference)


def times(*lines: str, zone: Any = UTC, reference: datetime = NOW) -> list[str]:
    found = read(lines, stamps(zone, reference))
    return [f"{datetime.fromtimestamp(line.at, UTC):%Y-%m-%d %H:%M:%S}" for line in found]


def joined(text: str) -> Joiner:
    seen = Seen()
    return Joiner(seen).take(read(text.splitlines(), stamps(), seen))


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("Dec 31 23:59:59 mx postfix/smtp[1]: x", "2026-12-31 23:59:59"),
        ("Jan  1 00:00:01 mx postfix/smtp[1]: x", "2027-01-01 00:00:01"),
        ("Jan 11 11:00:00 mx postfix/smtp[1]: x", "2027-01-11 11:00:00"),
        ("Jan 12 13:00:00 mx postfix/smtp[1]: x", "2026-01-12 13:00:00"),
        ("Feb 29 10:00:00 mx postfix/smtp[1]: x", "2024-02-29 10:00:00"),
        ("<22>Nov 28 09:00:01 mx postfix/smtp[1]: x", "2026-11-28 09:00:01"),
        ("Nov 28 09:00:01.123456 mx postfix/smtp[1]: x", "2026-11-28 09:00:01"),
        ("2026-11-28T09:00:01.123456+01:00 mx postfix/smtp[1]: x", "2026-11-28 08:00:01"),
        ("2026-11-28T09:00:01Z mx postfix/smtp[1]: x", "2026-11-28 09:00:01"),
        ("2026-11-28T09:00:01+0200 mx postfix/smtp[1]: x", "2026-11-28 07:00:01"),
        ("<22>1 2026-11-28T09:00:01.1-05:00 mx postfix/smtp 77 - - x", "2026-11-28 14:00:01"),
        ("2026-11-28 09:00:01,999 77 INFO acme odoo.addons.mail.models.mail_mail: x", "2026-11-28 09:00:01"),
    ],
)
def test_stamps_of_every_shape_are_moments(line: str, at: str) -> None:
    assert times(line) == [at]


def test_a_year_is_guessed_from_when_the_file_was_written_and_local_time_ends_at_its_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert times("Jul  1 10:00:00 mx postfix/smtp[1]: x", zone=berlin) == ["2026-07-01 08:00:00"]
    written = datetime(2020, 3, 1, tzinfo=UTC)
    assert times("Feb 29 10:00:00 mx postfix/smtp[1]: x", reference=written) == ["2020-02-29 10:00:00"]
    twice = [f"Oct 25 {at} mx postfix/smtp[1]: x" for at in ("02:10:00", "02:50:00", "02:10:00", "03:10:00")]
    assert [at[11:16] for at in times(*twice, zone=berlin)] == ["00:10", "00:50", "01:10", "02:10"]


def test_an_entry_of_journald_is_a_line_also_when_its_text_is_octets() -> None:
    entry: dict[str, Any] = {
        "__REALTIME_TIMESTAMP": "1764320401123456",
        "_HOSTNAME": "mx1.acme.example",
        "SYSLOG_IDENTIFIER": "postfix/smtp",
        "MESSAGE": list(b"A1B2C3D4: to=<b\xff@x>"),
    }
    (line,) = read([json.dumps(entry)], stamps())
    assert line == Line(1764320401, "mx1", "postfix/smtp", "A1B2C3D4: to=<b\ufffd@x>")


def test_a_traceback_belongs_to_its_line_and_empty_lines_are_none() -> None:
    seen = Seen()
    text = [
        "2026-11-28 09:00:01,1 7 ERROR acme odoo.addons.mail.models.mail_mail: failed sending mail (id: 7) due to no",
        "Traceback (most recent call last):",
        "  File x",
        "",
        "what is this",
        "\0\0\0",
        "Nov 28 09:00:01 mx kernel: hello",
        "broken",
        "Nov 99 09:00:01 mx postfix/smtp[1]: hello",
    ]
    first, second = read(text, stamps(), seen)
    assert first.text.endswith("due to no\nTraceback (most recent call last):\n  File x\nwhat is this")
    assert (second.name, seen.lines, seen.broken, seen.continued) == ("kernel", 7, 2, 3)


def test_each_recipient_has_its_last_answer_and_the_end_of_the_queue_is_one() -> None:
    joiner = joined(MAIL)
    answers, refusals, touched = joiner.drain()
    mail, report = touched
    assert (mail.message_id, mail.sender, mail.client, mail.login) == (
        "<one@acme.example>", "ann@acme.example", "app[10.0.0.5]", "odoo",
    )  # fmt: skip
    assert report.notice
    assert report.notice_of == "A1B2C3D4"
    assert not mail.notice
    assert [(a.recipient, a.status) for a in answers] == [
        ("bob@x.example", "sent"), ("cat@x.example", "deferred"), ("cat@x.example", "expired"),
    ]  # fmt: skip
    assert answers[-1].reply == "connect to mx.x.example[192.0.2.9]:25: Connection refused"
    assert answers[-1].original == "cats@acme.example"
    assert not refusals
    assert joiner.seen.unknown == 0


@pytest.mark.parametrize("queue_id", ["4fGh2k3JzQz9yWl", "3AB12CD", "4XKzBh1lDqzV2Yc"])
@pytest.mark.parametrize("name", ["postfix", "postfix-out", "mail.acme", "postfix/submission"])
def test_queue_ids_long_and_short_under_any_name_of_the_instance(queue_id: str, name: str) -> None:
    text = MAIL.replace("A1B2C3D4", queue_id).replace("postfix/", f"{name}/")
    answers, _, touched = joined(text).drain()
    assert len(answers) == 3
    assert {(t.instance, t.queue_id) for t in touched} == {
        (name.split("/")[0], queue_id), (name.split("/")[0], "B1B2C3D4"),
    }  # fmt: skip


def test_two_instances_with_the_same_short_id_are_two_mails() -> None:
    other = MAIL.replace("postfix/", "postfix-in/").replace("one@acme", "two@acme").replace("bob@", "eve@")
    lines = [line for pair in zip(MAIL.splitlines(), other.splitlines(), strict=True) for line in pair]
    answers, _, touched = joined("\n".join(lines)).drain()
    assert {(a.transaction.message_id, a.recipient) for a in answers if a.status == "sent"} == {
        ("<one@acme.example>", "bob@x.example"), ("<two@acme.example>", "eve@x.example"),
    }  # fmt: skip
    assert len(touched) == 4


def test_an_id_that_is_used_again_is_another_mail() -> None:
    again = MAIL.replace("Nov 28", "Nov 30").replace("one@acme", "late@acme")
    _, _, touched = joined(MAIL + again).drain()
    assert [t.message_id for t in touched if not t.notice] == ["<one@acme.example>", "<late@acme.example>"]


REJECTS = {
    "smtpd[4]: NOQUEUE: reject: RCPT from unknown[203.0.113.7]: 554 5.7.1 Service unavailable; Client host [203.0.113.7]"
    " blocked using zen.example; from=<s@spam.example> to=<ann@acme.example> proto=ESMTP helo=<x>": (
        "RCPT", "203.0.113.7", "s@spam.example", "ann@acme.example",
        "554 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.example",
    ),
    "smtpd[4]: NOQUEUE: reject: RCPT from mx.y.example[2001:db8::7]: 550 5.1.1 <nobody@acme.example>: Recipient address"
    " rejected: User unknown; from=<> to=<nobody@acme.example> proto=ESMTP helo=<mx.y.example>": (
        "RCPT", "2001:db8::7", "", "nobody@acme.example",
        "550 5.1.1 <nobody@acme.example>: Recipient address rejected: User unknown",
    ),
    "postscreen[4]: NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.7.1 Service unavailable; client [203.0.113.9]"
    " blocked using b.example; from=<a@b.example>, to=<ann@acme.example>, proto=ESMTP, helo=<x>": (
        "RCPT", "203.0.113.9", "a@b.example", "ann@acme.example",
        "550 5.7.1 Service unavailable; client [203.0.113.9] blocked using b.example",
    ),
    "cleanup[4]: 3AB12CD: milter-reject: END-OF-MESSAGE from mx.y.example[192.0.2.8]: 5.7.1 Spam message rejected;"
    " from=<a@b.example> to=<ann@acme.example> proto=ESMTP helo=<x>": (
        "END-OF-MESSAGE", "192.0.2.8", "a@b.example", "ann@acme.example", "5.7.1 Spam message rejected",
    ),
    "cleanup[4]: 3AB12CD: reject: header Subject: buy from mx.y.example[192.0.2.8]; from=<a@b.example>"
    " to=<ann@acme.example> proto=ESMTP helo=<x>: 5.7.1 No such words here": (
        "header", "192.0.2.8", "a@b.example", "ann@acme.example", "5.7.1 No such words here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", REJECTS)
def test_what_was_refused_at_the_door_keeps_its_answer(words: str) -> None:
    _, refusals, _ = joined(f"Nov 28 09:00:01 mx1 postfix/{words}").drain()
    (one,) = refusals
    assert (one.step, one.address, one.sender, one.recipient, one.reply) == REJECTS[words]


@pytest.mark.req("INC-04")
def test_odoo_tells_of_mails_by_message_id_or_number() -> None:
    text = """\
2026-11-28 09:00:01,123 77 INFO acme odoo.addons.mail.models.mail_mail: Mail with ID 41 and Message-Id '<41@acme>' successfully sent
2026-11-28 09:00:02,123 77 ERROR acme odoo.addons.mail.models.mail_mail: failed sending mail (id: 42) due to Mail Delivery Failed
2026-11-28 09:00:03,123 77 INFO acme odoo.addons.base.models.ir_mail_server: Mail delivery failed via SMTP server 'smtp.x.example'.
SMTPRecipientsRefused: {'eve@x.example': (550, b'5.1.1 unknown')}
2026-11-28 09:00:04,123 77 INFO acme odoo.addons.mail.models.mail_thread: Routing mail from Bob <bob@x.example> to info@acme with Message-Id <in@x>: direct alias match: ('lead', 0, {}, 1)
2026-11-28 09:00:05,123 77 INFO acme odoo.addons.mail.models.mail_thread: Routing mail from Bob <bob@x.example> to catchall@acme.example with Message-Id <c@x>: direct write to catchall, bounce
2026-11-28 09:00:06,123 77 INFO acme odoo.addons.mail.models.mail_thread: Ignored mail from Bob <bob@x.example> to info@acme with Message-Id <in@x>: found duplicated Message-Id during processing
2026-11-28 09:00:07,123 77 ERROR acme odoo.addons.fetchmail.models.fetchmail: Failed to process mail
ValueError: No possible route found for incoming message from Eve <eve@y.example> to sales@acme.example (Message-Id <n@y>:). Create an appropriate mail.alias or force the destination model.
2026-11-28 09:00:08,123 77 INFO acme werkzeug: GET /
"""
    joiner = joined(text)
    answers, refusals, _ = joiner.drain()
    assert [(a.transaction.message_id, a.recipient, a.status) for a in answers] == [
        ("<41@acme>", "", "sent"), ("", "", "failed"), ("", "eve@x.example", "failed"),
        ("<in@x>", "info@acme", "routed"), ("<c@x>", "catchall@acme.example", "refused"),
        ("<in@x>", "info@acme", "ignored"),
    ]  # fmt: skip
    assert answers[2].relay == "smtp.x.example"
    assert [(r.queue_id, r.sender, r.recipient) for r in refusals] == [
        ("<c@x>", "bob@x.example", "catchall@acme.example"), ("<n@y>", "eve@y.example", "sales@acme.example"),
    ]  # fmt: skip
    assert joiner.seen.foreign == 1


def test_broken_and_foreign_lines_are_counted_and_invent_nothing() -> None:
    """Lines are spoiled, cut and put between: what is told of the lines that stayed whole is what was told before."""
    rng = random.Random(17)
    spoiled_words = [
        '{"MESSAGE": [256]}', '{"__REALTIME_TIMESTAMP": "1e99"}', "[" * 5000, "{" * 5000, "\ud800" * 9,
        "Nov 31 25:61:61 mx postfix/smtp[1]: A1B2C3D4: to=<", "9999-99-99T00:00:00Z mx postfix/smtp[1]: x",
        "0000-01-01 00:00:00,1 1 INFO a odoo: x", "Nov 28 09:00:01 mx1 sshd[1]: A1B2C3D4: removed",
        "Nov 28 09:00:01 mx1 CRON[1]: to=<bob@x.example>, relay=x, dsn=2.0.0, status=sent (no)",
    ]  # fmt: skip
    for _ in range(300):
        lines = [
            f"Nov 28 09:00:02 mx1 postfix/smtp[4]: E{100_000 + n}: to=<r{n}@x.example>, relay=mx[192.0.2.9]:25, delay=1,"
            " delays=0/0/0/0, dsn=2.0.0, status=sent (250 ok)"
            for n in range(12)
        ]
        whole, foreign = set(range(12)), 0
        for at in rng.sample(range(12), 4):  # cut before its status: no answer may come of it
            lines[at] = lines[at][: rng.randrange(lines[at].index("status="))]
            whole.discard(at)
        for _ in range(rng.randrange(6)):
            foreign += 1
            lines.insert(rng.randrange(len(lines)), rng.choice(spoiled_words))
        joiner = joined("\n".join(lines))
        assert {a.recipient for a in joiner.answers} == {f"r{n}@x.example" for n in whole}
        seen = joiner.seen
        assert seen.lines <= len(lines)
        assert seen.broken + seen.foreign >= foreign
        assert seen.lines == len(whole) + seen.broken + seen.foreign + seen.beside + seen.unknown


def test_a_folder_is_read_in_the_order_of_its_stamps_compressed_files_too(tmp_path: Path) -> None:
    def odoo(day: int) -> str:
        return "".join(
            f"2026-11-{day} 0{n}:00:00,1 7 INFO acme odoo.addons.mail.models.mail_mail: Mail with ID {day}{n} and"
            f" Message-Id '<{day}{n}@acme>' successfully sent\n"
            for n in range(5, 8)
        )

    (tmp_path / "odoo.log").write_text(odoo(28))
    (tmp_path / "odoo.log.1").write_text(odoo(27))
    for day in (24, 25, 26):
        with gzip.open(tmp_path / f"odoo.log.2026-11-{day}.gz", "wt") as file:
            file.write(odoo(day))
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    found = [source.path.name for source in find([tmp_path])]
    assert found == [*(f"odoo.log.2026-11-{day}.gz" for day in (24, 25, 26)), "odoo.log.1", "odoo.log"]
    whole = (tmp_path / "odoo.log.2026-11-24.gz").read_bytes()
    (tmp_path / "cut.log.gz").write_bytes(whole[:-12])
    assert next(iter(lines_of(tmp_path / "cut.log.gz"))).startswith("2026-11-24")
    with pytest.raises(InputRefused) as refused:
        find([tmp_path / "none.log"])
    assert refused.value.code == "logs.unreadable"


def test_a_growing_file_is_followed_over_rotation_truncation_and_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text("1\n2\n3")
    told: list[str] = []

    def rotated() -> None:
        with path.open("a") as file:
            file.write("a\n4\n")
        path.rename(tmp_path / "mail.log.1")
        with (tmp_path / "mail.log.1").open("a") as late:  # the daemon writes on until it is told
            late.write("5\n")

    def cut() -> None:
        path.write_text("")

    acts = iter(
        [rotated, lambda: path.write_text("6\n7\n"), lambda: None, cut, lambda: path.write_text("8\n"), lambda: None]
    )
    ended: list[bool] = []

    def sleep(_: float) -> None:
        act = next(acts, None)
        ended.append(True) if act is None else act()

    place = None
    for lines, reached in follow(path, stop=lambda: bool(ended), sleep=sleep):
        told += lines
        place = reached
    assert told == ["1", "2", "3a", "4", "5", "6", "7", "8"]
    with path.open("a") as file:
        file.write("9\n")
    shutil.move(path, tmp_path / "mail.log.1")
    path.write_text("10\n")
    again = [line for lines, _ in follow(path, place=place, stop=lambda: True) for line in lines]
    assert again == ["9", "10"]


@pytest.mark.req("INC-02")
@pytest.mark.parametrize(
    ("hosting", "word"), [("online", "Contact support"), ("sh", "~/logs"), ("on_premise", "/var/log")]
)
def test_advice_follows_where_the_database_lives(hosting: str, word: str) -> None:
    again = [Recurring("domain", "y.example", 4, "550 5.7.1 no")]
    alone, recurs = advice(hosting, [], seen=True), advice(hosting, again, seen=True)
    assert any(word in line for line in alone)
    assert not any("y.example" in line for line in alone)
    assert any("y.example" in line for line in recurs)
