"""``mailops explain receive``: one object that says where a mail goes and why, with nothing changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from mailops.model.setup import AliasDomain, Company

DSN = """From: {sender}
To: bounce@acme.example
Return-Path: <>
Message-ID: <{action}@mx.y.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

See below.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.y.example

{blocks}
--b--
"""
BLOCK = "Final-Recipient: rfc822; {who}\nAction: {action}\nStatus: {status}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path / "w")
    ops = made.ops()
    ops.save_alias_domain(AliasDomain("acme.example", default_from="notifications@acme.example"))
    ops.save_alias_domain(AliasDomain("bücher.example", default_from="notifications"))
    first, second = sorted(ops.setup.alias_domains, key=lambda d: d.name != "acme.example")
    ops.save_company(Company("acme", "Acme", "info@acme.example", first))
    ops.save_company(Company("books", "Bücher", "laden@bücher.example", second))
    ops.save_alias("help", "ticket")
    ops.close()
    return made


def told(desk: Desk, text: str, *more: str) -> dict[str, Any]:
    file = desk.folder.parent / "mail.eml"
    file.write_text(text, "utf-8")
    before = dump(desk)
    found: dict[str, Any] = desk.json("explain", "receive", str(file), *more)
    assert dump(desk) == before, "explaining changed something"
    return found


def dump(desk: Desk) -> list[str]:
    with sqlite3.connect(desk.folder / "mailops.db") as connection:
        found = list(connection.iterdump())
    connection.close()
    return found


def mail(to: str, *, sender: str = "Ann <ann@x.example>", number: int = 1, more: str = "", body: str = "Hello.") -> str:
    return f"From: {sender}\nTo: {to}\nSubject: The printer\nMessage-ID: <m{number}@x.example>\n{more}\n{body}\n"


@pytest.mark.req("FAQ-04", "IN-01")
def test_the_decision_is_one_object_with_its_trace(desk: Desk) -> None:
    found = told(desk, mail("help@acme.example"))
    assert (found["kind"], found["code"]) == ("create", "create")
    assert [(route["model"], route["record"]) for route in found["routes"]] == [("ticket", None)]
    assert (found["notices"], found["report"]) == ([], None)
    assert all(set(step) == {"rule", "found"} for step in found["trace"])
    assert next(step["rule"] for step in found["trace"]) == "duplicate"
    found = told(desk, mail("nobody@acme.example"))
    assert (found["kind"], found["routes"]) == ("no_route", [])


@pytest.mark.req("IN-10", "IN-11")
@pytest.mark.parametrize(
    ("to", "sender", "reply_to"),
    [
        ("catchall@acme.example", "bounce@acme.example", "info@acme.example"),
        ("catchall@bücher.example", "bounce@xn--bcher-kva.example", "laden@xn--bcher-kva.example"),
        ("catchall@xn--bcher-kva.example", "bounce@xn--bcher-kva.example", "laden@xn--bcher-kva.example"),
    ],
)
def test_a_notice_comes_from_the_domain_that_was_written_to(desk: Desk, to: str, sender: str, reply_to: str) -> None:
    found = told(desk, mail(to))
    (notice,) = found["notices"]
    assert (found["kind"], found["code"]) == ("refused", "catchall")
    assert notice["to"] == "ann@x.example"
    assert (ascii_of(notice["sender"]), ascii_of(notice["reply_to"])) == (sender, reply_to)
    assert notice["subject"] == "Re: The printer"
    assert ascii_of(notice["reply_to"]) == reply_to
    assert found["message_id"] in notice["references"]
    mark = notice["references"][-1]
    answer = told(desk, mail(to, number=2, more=f"References: {mark}\n"))
    assert (answer["kind"], answer["notices"]) == ("loop_reply", [])


def ascii_of(text: str) -> str:
    spec = text.rpartition("<")[2].rstrip(">")
    return spec.replace("bücher", "xn--bcher-kva")


@pytest.mark.req("IN-17")
@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("failed", "5.1.1", "failed"), ("delayed", "4.4.7", "delayed"), ("delivered", "2.0.0", "delivered"),
        ("relayed", "2.0.0", "relayed"), ("expanded", "2.0.0", "expanded"),
    ],
)  # fmt: skip
def test_every_report_is_a_bounce_with_a_word_for_each_recipient(
    desk: Desk, action: str, status: str, kind: str
) -> None:
    block = BLOCK.format(who="bob@y.example", action=action, status=status)
    found = told(desk, DSN.format(sender="MAILER-DAEMON@mx.y.example", action=action, blocks=block))
    assert found["kind"] == "bounce"
    assert found["report"]["recipients"] == [{"address": "bob@y.example", "kind": kind}]
    assert (found["routes"], found["notices"]) == ([], [])


def test_a_report_about_several_has_a_word_for_each(desk: Desk) -> None:
    blocks = "\n".join(
        BLOCK.format(who=who, action=action, status=status)
        for who, action, status in [("a@y.example", "failed", "5.1.1"), ("b@y.example", "delayed", "4.4.7")]
    )
    found = told(desk, DSN.format(sender="MAILER-DAEMON@mx.y.example", action="two", blocks=blocks))
    kinds = {one["address"]: one["kind"] for one in found["report"]["recipients"]}
    assert kinds == {"a@y.example": "failed", "b@y.example": "delayed"}


def test_a_receipt_is_a_bounce_too(desk: Desk) -> None:
    text = (
        "From: bob@y.example\nTo: ann@acme.example\nSubject: Read: x\nMessage-ID: <r@y.example>\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nRead.\n--b\n"
        "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; bob@y.example\n"
        "Original-Message-ID: <x@acme.example>\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--b--\n"
    )
    found = told(desk, text)
    assert found["kind"] == "bounce"
    assert isinstance(found["report"]["recipients"], list)


@pytest.mark.req("IN-10")
@pytest.mark.parametrize(
    "more", ["Auto-Submitted: auto-replied\n", "Auto-Submitted: auto-generated\n", "Return-Path: <>\n", "Precedence: bulk\n", "X-Autoreply: yes\n", "List-Id: <l.x.example>\n"]
)  # fmt: skip
def test_automatic_mail_and_the_null_path_get_no_notice(desk: Desk, more: str) -> None:
    found = told(desk, mail("catchall@acme.example", more=more))
    assert (found["kind"], found["notices"]) == ("refused", [])


@pytest.mark.req("OUT-06")
@pytest.mark.parametrize(
    "to", ["bounce@acme.example", "notifications@acme.example", "catchall+0123456789abcdef@acme.example"]
)
def test_technical_addresses_make_no_record(desk: Desk, to: str) -> None:
    for more in ((), ("--model", "lead")):
        assert told(desk, mail(to), *more)["kind"] not in ("create", "update", "reply")


def test_the_catchall_in_to_beats_an_alias_in_cc(desk: Desk) -> None:
    found = told(desk, mail("catchall@acme.example", more="Cc: help@acme.example\n"))
    assert (found["kind"], found["code"]) == ("refused", "catchall")


@pytest.mark.req("IN-54")
def test_an_alias_may_count_by_its_local_part_and_both_forms_of_a_domain_are_one(desk: Desk) -> None:
    desk("alias", "add", "laden", "--model", "lead", "--domain", "bücher.example")
    for domain in ("bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example"):
        assert told(desk, mail(f"laden@{domain}"))["kind"] == "create", domain
    assert told(desk, mail("offer@elsewhere.example"))["kind"] == "no_route"
    desk("alias", "add", "offer", "--model", "lead", "--any-domain")
    assert told(desk, mail("offer@elsewhere.example"))["kind"] == "create"
