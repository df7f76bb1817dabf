"""Delivery reports are well-formed RFC 3464, in each look."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

import pytest

from mailops.errors import ConfigError
from mailops.testing import build_dsn
from mailops.testing.smtp_script import LOOKS

ORIGINAL = (
    b"Return-Path: <bounce@acme.test>\r\nFrom: Ann <ann@acme.test>\r\nTo: bob@x.test\r\n"
    b"Subject: Hello\r\n there\r\nMessage-ID: <7@acme.test>\r\n\r\nSome\r\n.dotted\r\nwords \xe9\r\n"
)
WHEN = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def report(**more):
    raw = build_dsn(ORIGINAL, "bob@x.test", "5.1.1", "550 5.1.1 User unknown", "mx.x.test", arrived=WHEN, **more)
    return raw, email.message_from_bytes(raw, policy=email.policy.SMTP)


@pytest.mark.parametrize("look", LOOKS)
def test_the_parts_of_a_report(look):
    raw, mail = report(look=look)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    assert mail["To"] == "bounce@acme.test"
    assert mail["Auto-Submitted"] == "auto-replied"
    words, status, original = mail.iter_parts()
    plain = words if words.get_content_type() == "text/plain" else next(words.iter_parts())
    assert "bob@x.test" in plain.get_content()
    about, recipient = status.get_payload()
    assert about["Reporting-MTA"] == "dns; mx.x.test"
    assert about["Arrival-Date"] == "Tue, 03 Feb 2026 04:05:06 +0000"
    assert {name: recipient[name] for name in ("Original-Recipient", "Final-Recipient", "Action", "Status")} == {
        "Original-Recipient": "rfc822;bob@x.test",
        "Final-Recipient": "rfc822; bob@x.test",
        "Action": "failed",
        "Status": "5.1.1",
    }
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 User unknown"
    assert b"Message-ID: <7@acme.test>\r\n" in original.as_bytes()
    assert [part.defects for part in mail.walk() if part.defects] == []


@pytest.mark.parametrize("look", ["classic", "webmail"])
def test_the_original_comes_back_byte_for_byte(look):
    assert ORIGINAL in report(look=look)[0]


def test_the_corporate_look_returns_the_header_only():
    raw, mail = report(look="corporate")
    assert list(mail.iter_parts())[2].get_content_type() == "text/rfc822-headers"
    assert b".dotted" not in raw
    assert mail["Subject"] == "Undeliverable: Hello there"


def test_a_delayed_report_says_so():
    raw = build_dsn(ORIGINAL, "bob@x.test", "4.4.1", "no answer", "mx.x.test", "delayed", arrived=WHEN)
    assert b"\r\nAction: delayed\r\n" in raw
    assert b"Last-Attempt-Date:" in raw
    assert b"still trying" in raw


def test_non_ascii_recipients_use_the_utf8_address_type():
    raw = build_dsn(ORIGINAL, "jürgen@x.test", "5.1.1", "550 unbekannt", "mx.x.test", arrived=WHEN)
    assert "Final-Recipient: utf-8; jürgen@x.test".encode() in raw
    assert b"Content-Type: message/global-delivery-status\r\n" in raw


def test_without_return_path_it_goes_to_the_author():
    raw = build_dsn(ORIGINAL.split(b"\r\n", 1)[1], "bob@x.test", "5.1.1", "no", "mx.x.test", arrived=WHEN)
    assert b"\r\nTo: <ann@acme.test>\r\n" in raw


def test_two_reports_about_one_mail_differ_and_repeat():
    def make(serial: int) -> bytes:
        return build_dsn(ORIGINAL, "bob@x.test", "5.1.1", "no", "mx.x.test", arrived=WHEN, serial=serial)

    assert make(1) == make(1) != make(2)


@pytest.mark.parametrize(
    "wrong",
    [{"look": "baroque"}, {"action": "eaten"}, {"status": "550"}, {"recipient": "a@b.test\r\nX: y"}],
)
def test_what_cannot_be_built_is_refused(wrong):
    arguments = {
        "recipient": "bob@x.test",
        "status": "5.1.1",
        "diagnostic": "no",
        "reporting_mta": "mx.x.test",
        **wrong,
    }
    with pytest.raises(ConfigError):
        build_dsn(ORIGINAL, **arguments)
