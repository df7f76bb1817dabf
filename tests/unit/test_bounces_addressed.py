"""Whether a mail is a report to us, and what each of its blocks says: pure, for every road a report takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailops.bounces import RecipientResult, Report
from mailops.bounces.addressed import (
    SHOWN,
    Heading,
    Ours,
    foreseen,
    heading_of,
    kind_of,
    sign,
    understood,
)

OURS = Ours(frozenset({"bounce@acme.example"}), frozenset({"notifications@acme.example", "jo@acme.example"}))
NOTHING = Report("ordinary", rule="gate")


def head(**fields: str) -> bytes:
    return "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\n"


@pytest.mark.parametrize(("fields", "is_report"), [
    ({"To": "bounce@acme.example", "From": "a@x.test"}, True),
    ({"To": "Bounce+12-abc@Acme.example", "From": "a@x.test"}, True),
    ({"Delivered_To": "Bounce@Acme.example", "From": "a@x.test"}, True),
    ({"Cc": "bounce@acme.example", "To": "info@acme.example", "From": "a@x.test"}, False),
    ({"From": "Mail <MAILER-daemon@mx.test>", "To": "info@acme.example"}, True),
    ({"From": "mailer-daemon-fan@mx.test", "To": "info@acme.example"}, False),
    ({"From": "a@x.test", "Content_Type": "multipart/report; boundary=b"}, True),
    ({"From": "a@x.test", "Content_Type": "multipart/report report-type=delivery-status; boundary=b"}, True),
    ({"From": "a@x.test", "Content_Type": "report-type=delivery-status"}, True),
    ({"From": "a@x.test", "Content_Type": "multipart/mixed; boundary=b"}, False),
    ({"From": "a@x.test", "To": "jo@acme.example", "Return_Path": "<>"}, True),
    ({"From": "a@x.test", "To": "jo+tag@acme.example", "Return_Path": "< >"}, True),
    ({"From": "a@x.test", "To": "jo@acme.example", "Return_Path": "<a@x.test>"}, False),
    ({"From": "a@x.test", "To": "jo@acme.example"}, False),
    ({"From": "a@x.test", "To": "else@acme.example", "Return_Path": "<>"}, False),
])  # fmt: skip
def test_the_signs_of_a_report(fields: dict[str, str], is_report: bool) -> None:
    assert (sign(heading_of(head(**fields)), NOTHING, OURS) is not None) is is_report


def test_the_null_return_path_is_a_sign_where_the_mail_reads_as_a_report() -> None:
    heading = heading_of(head(From="postmaster@x.test", To="former@acme.example", Return_Path="<>"))
    assert sign(heading, NOTHING, OURS) is None
    assert sign(heading, Report("autoreply"), OURS) is None
    assert sign(heading, Report("delayed"), OURS)


@pytest.mark.parametrize(("heading", "kind"), [
    (Heading(daemon=True), "bounce"),
    (Heading(null_path=True), "bounce"),
    (Heading(report_type="delivery-status"), "bounce"),
    (Heading(report_type=""), "bounce"),
    (Heading(report_type="disposition-notification"), "unread"),
    (Heading(), "unread"),
])  # fmt: skip
def test_what_nobody_can_read_is_a_failure_only_when_a_machine_wrote_it(heading: Heading, kind: str) -> None:
    assert kind_of(understood(NOTHING, heading, "it has a sign"), None) == kind


@pytest.mark.parametrize(("report", "action", "text", "kind"), [
    ("bounce", "failed", "550 no", "bounce"),
    ("bounce", None, "550 no", "bounce"),
    ("bounce", "delayed", "450 later", "delayed"),
    ("bounce", "delivered", "", "success-dsn"),
    ("bounce", "relayed", "", "success-dsn"),
    ("delayed", "delayed", "450 later", "delayed"),
    ("delayed", "delayed", "Envelope expired", "bounce"),
    ("delayed", "expanded", "", "success-dsn"),
    ("success-dsn", "delivered", "", "success-dsn"),
    ("complaint", None, "", "complaint"),
    ("autoreply", None, "", "autoreply"),
])  # fmt: skip
def test_each_block_says_its_own(report: str, action: str | None, text: str, kind: str) -> None:
    result = RecipientResult("a@x.test", action=action, diagnostic=text)
    assert kind_of(Report(report, (result,)), result) == kind  # type: ignore[arg-type]  # a word of the table above


def test_a_receipt_is_one_however_it_is_worded() -> None:
    receipt = Report("ordinary", rule="receipt")
    assert kind_of(understood(receipt, Heading(null_path=True, report_type="disposition-notification"), "x"), None) == (
        "receipt"
    )


def test_what_a_report_will_change_is_told_block_by_block() -> None:
    blocks = foreseen(
        Report(
            "bounce", (RecipientResult("a@x.test", action="delivered"), RecipientResult("b@x.test", action="failed"))
        )
    )
    assert [(x.recipient, x.kind, x.counted) for x in blocks] == [
        ("a@x.test", "success-dsn", False),
        ("b@x.test", "bounce", True),
    ]
    assert SHOWN["success-dsn"] in blocks[0].words


@given(st.binary(max_size=400))
def test_no_bytes_make_the_heading_raise(data: bytes) -> None:
    for raw in (data, b"To: " + data, b"From: " + data, b"Content-Type: multipart/report" + data):
        heading_of(raw)
