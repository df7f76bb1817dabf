"""Refusals as servers write them, live or in a report: reason, hard or soft, who acts, and the words that decided."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mailops.bounces import classify
from mailops.bounces.reading.advice import ADVICE, advise
from mailops.bounces.reading.classify import find_enhanced, find_reply, find_stage, match_text, prepare
from mailops.bounces.reading.codes import CODES, reason_of
from mailops.bounces.reading.patterns import phrases
from mailops.bounces.reading.providers import PROVIDERS
from mailops.errors import ConfigError
from mailops.model.reasons import HARD, REASONS, hard_table, is_hard, plain

REPLIES = [
    (
        550,
        "5.1.1",
        "<ann@dest.example>: Recipient address rejected: User unknown in local recipient table",
        "userunknown",
        True,
    ),
    (550, None, "5.1.1 The email account that you tried to reach does not exist. gsmtp", "userunknown", True),
    (550, "5.7.1", "No such user!", "userunknown", True),
    (550, None, "Requested action not taken: mailbox unavailable", "userunknown", True),
    (554, "5.0.0", "rcpt ann@dest.example does not exist", "userunknown", True),
    (550, "5.1.2", "Host unknown", "hostunknown", True),
    (
        451,
        "4.4.3",
        "Host or domain name not found. Name service error: Host not found, try again",
        "networkerror",
        False,
    ),
    (550, "5.1.6", "recipient no longer on server: ann@dest.example", "hasmoved", True),
    (556, "5.1.10", "Domain does not accept mail (nullMX)", "notaccept", True),
    (421, "4.3.2", "System not accepting network messages", "notaccept", False),
    (552, "5.2.2", "Mailbox full", "mailboxfull", False),
    (452, "4.2.2", "The email account that you tried to reach is over quota", "mailboxfull", False),
    (550, "5.1.1", "user is over the storage limit: mailbox quota exceeded", "mailboxfull", False),
    (552, "5.3.4", "Message size exceeds fixed limit", "mesgtoobig", False),
    (552, "5.2.3", "Message length exceeds administrative limit", "exceedlimit", False),
    (550, "5.7.1", "Relaying denied", "norelaying", False),
    (554, None, "Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org", "blocked", False),
    (550, "5.7.606", "Access denied, banned sending IP [192.0.2.9]", "blocked", False),
    (550, "5.7.1", "Our system has detected this message as spam", "spamdetected", False),
    (550, "5.7.26", "This mail is unauthenticated", "authfailure", False),
    (550, "5.7.1", "Email rejected per SPF policy", "authfailure", False),
    (550, "5.7.1", "Message rejected due to DMARC policy", "authfailure", False),
    (550, "5.7.25", "reverse DNS lookup failed", "requireptr", False),
    (
        421,
        "4.7.0",
        "[TSS04] Messages from 192.0.2.9 temporarily deferred due to unexpected volume or user complaints",
        "badreputation",
        False,
    ),
    (421, "4.7.28", "Gmail has detected an unusual rate of mail", "speeding", False),
    (452, "4.5.3", "Too many recipients", "toomanyconn", False),
    (554, "5.7.1", "Your message contains a virus: Eicar-Test-Signature", "virusdetected", False),
    (550, "5.7.13", "User account disabled", "suspend", False),
    (550, "5.2.1", "The email account that you tried to reach is inactive.", "suspend", False),
    (530, "5.7.0", "Must issue a STARTTLS command first", "securityerror", False),
    (553, "5.1.8", "Domain of sender address x@y.example does not exist", "rejected", False),
    (550, None, "The from address does not match a verified Sender Identity", "rejected", False),
    (554, "5.7.9", "Message not accepted for policy reasons", "policyviolation", False),
    (550, "5.6.1", "Message content rejected", "contenterror", False),
    (451, "4.3.0", "Temporary lookup error", "systemerror", False),
    (452, "4.3.1", "Insufficient system storage", "systemfull", False),
    (550, "5.7.1", "Messages with multiple addresses in From: header are not accepted", "notcompliantrfc", False),
    (504, None, "Command parameter not implemented", "syntaxerror", False),
    (None, "4.4.7", "Envelope expired", "expired", False),
    (None, "5.4.6", "Too many hops, routing loop detected", "networkerror", False),
    (250, "2.1.5", "Ok", "delivered", False),
    (450, "4.7.1", "Greylisted, try again later", "onhold", False),
    (550, "5.4.5", "Daily user sending quota exceeded", "speeding", False),
    (
        450,
        "4.1.1",
        "<ann@dest.example>: Recipient address rejected: unverified address: timed out",
        "networkerror",
        False,
    ),
    (550, "5.1.1", "<ann@dest.example>: Recipient address rejected: undeliverable address: no", "userunknown", True),
    (554, "5.7.0", "Reject, id=1234 - spam", "spamdetected", False),
    (550, None, "SPF: 192.0.2.9 is not allowed to send mail from mailops.example", "authfailure", False),
    (550, None, "Verification failed for <bounce@mailops.example>", "rejected", False),
    (None, None, "", "undefined", False),
]


@pytest.mark.req("ERR-01")
@pytest.mark.parametrize(
    ("code", "enhanced", "text", "reason", "hard"), REPLIES, ids=[row[2][:40] or "empty" for row in REPLIES]
)
def test_reply_is_classified(code: int | None, enhanced: str | None, text: str, reason: str, hard: bool) -> None:
    answer = classify(code, enhanced, text)
    assert (answer.reason, answer.hard) == (reason, hard), answer
    assert answer.rule
    assert answer.who_acts == REASONS[reason].actor


@pytest.mark.req("ERR-01")
def test_text_is_kept_and_words_that_decided_are_named() -> None:
    answer = classify("550", None, "5.1.1 <ann@dest.example> User unknown")
    assert answer.matched_text == "user unknown"


@pytest.mark.req("ERR-02")
@pytest.mark.parametrize(
    "text",
    [
        "550 The from address does not match a verified Sender Identity.",
        "Mail Delivery Failed\nMail delivery failed via SMTP server 'None'.\nSMTPDataError: 550\n"
        "The from address does not match a verified Sender Identity",
    ],
)
def test_unverified_sender_gives_its_diagnosis_and_three_tasks(text: str) -> None:
    advice = advise(text)
    assert "not verified" in advice.diagnosis
    assert len(advice.tasks) == 3
    assert "outgoing mail server" in advice.tasks[0]
    assert "default FROM" in advice.tasks[1]
    assert "provider" in advice.tasks[2]


def test_every_reason_but_the_three_without_failure_has_advice() -> None:
    assert set(ADVICE) == set(REASONS) - {"vacation", "feedback", "delivered"}
    assert advise(reason="mailboxfull").diagnosis == "The mailbox is full."
    assert advise("550 user unknown").diagnosis == "The address does not exist."


@pytest.mark.parametrize(
    ("text", "stage", "host", "reason"),
    [
        ("550 Access denied", "mail", None, "rejected"),
        ("550 Access denied", "connect", None, "blocked"),
        ("550 something odd", "connect", None, "blocked"),
        ("550 go away", "mail", None, "rejected"),
        ("550 5.2.1 user unknown", "rcpt", None, "userunknown"),
        ("550 5.2.1 user unknown", None, None, "filtered"),
        ("550 Unknown user ann@docomo.ne.jp", "dot", "mx.docomo.ne.jp", "filtered"),
        ("550 Unknown user ann@docomo.ne.jp", "rcpt", "mx.docomo.ne.jp", "userunknown"),
        ("550 : User unknown", "dot", "lsean.ezweb.ne.jp", "filtered"),
        ("550 <ann@ezweb.ne.jp>: User unknown", "dot", "lsean.ezweb.ne.jp", "userunknown"),
        ("550 user unknown", "dot", "mail.dest.example", "userunknown"),
        ("Boite du destinataire pleine OFR_417", None, "smtp-in.orange.fr", "mailboxfull"),
        ("550 5.4.1 Recipient address rejected: Access denied", None, "x.mail.protection.outlook.com", "userunknown"),
        ("550 5.1.0 sender rejected AUP#In-1310", None, "mx.charter.net", "toomanyconn"),
        ("550 192.0.2.9 has sent too much IB607", None, "smtp.secureserver.net", "speeding"),
        ("550 5.7.1 RCP-P2 http://postmaster.facebook.com", None, "mx.facebook.com", "filtered"),
    ],
)
def test_stage_and_provider(text: str, stage: str | None, host: str | None, reason: str) -> None:
    assert classify(text=text, stage=stage, remote_host=host).reason == reason


def test_words_of_a_specific_class_outrank_a_generic_code() -> None:
    for code in ("5.1.0", "5.1.1", "5.0.0", "5.7.1"):
        assert classify(550, code, "192.0.2.9 has exceeded the daily limit").reason == "speeding"


def test_a_specific_code_outranks_words_every_refusal_has() -> None:
    assert classify(550, "5.7.26", "message blocked").reason == "authfailure"


def test_addresses_and_hosts_do_not_decide() -> None:
    assert classify(550, "5.0.0", "refused: <mailbox.full@dest.example>").reason != "mailboxfull"
    assert classify(550, None, "<spam.detected@dest.example>: user unknown").reason == "userunknown"


def test_codes_are_found_in_text_but_not_in_ip_addresses() -> None:
    assert find_enhanced("mx [5.1.1.9] said 5.2.2 full") == "5.2.2"
    assert find_enhanced("(#5.1.1)") == "5.1.1"
    assert find_enhanced("version 5.5.2652.13") is None
    assert find_enhanced("550-5.7.26 This mail has been blocked because the sender is unauthenticated.") == "5.7.26"
    assert find_enhanced("said: 421-4.7.0 Try again, closing connection (in reply to DATA)") == "4.7.0"
    assert find_enhanced("mx-5.1.1.example") is None
    assert find_enhanced("ticket 1550-5.1.1") is None
    assert find_enhanced("route 10-550-5.1.1") is None
    assert find_reply("host 192.0.2.250 said: 550 no") == "550"
    assert find_stage(prepare("said: 550 no (in reply to end of DATA command)")) == "dot"


def test_unknown_and_broken_input_gives_an_answer() -> None:
    assert classify("x", "9.9.9", "\x00" * 10_000).reason == "undefined"
    assert classify(stage="nowhere", remote_host="" * 3).reason == "undefined"


def test_hardness_is_a_table_that_can_be_changed() -> None:
    mine = hard_table(suspend="hard", hasmoved="soft")
    assert is_hard("suspend", table=mine)
    assert not is_hard("hasmoved", table=mine)
    assert not is_hard("suspend")
    assert is_hard("notaccept")
    assert not is_hard("notaccept", temporary=True)
    with pytest.raises(ConfigError) as caught:
        hard_table(nonsense="hard")
    assert caught.value.code == "config.bounce_reason"
    assert HARD["userunknown"] == "hard"


def test_tables_use_the_vocabulary() -> None:
    used = {one.reason for one in phrases()} | set(CODES.values()) | {r for _, _, rows in PROVIDERS for _, r in rows}
    assert used <= set(REASONS)
    for reason in REASONS.values():
        assert reason.plain
        assert reason.postmark
        assert reason.ses
        assert reason.sendgrid
        assert reason.mailgun in ("permanent", "temporary")
    assert plain("never heard of") == "no error"


def test_microsoft_ban_range() -> None:
    assert reason_of("5.7.642") == "blocked"
    assert reason_of("5.9.9") is None


def test_wildcards_are_bounded() -> None:
    assert match_text("exceeded the " + "x" * 100 + " quota") == ("mailboxfull", "exceeded * quota")
    assert match_text("exceeded the " + "x" * 5000 + " quota") is None


def test_a_pattern_stands_also_where_its_first_words_stood_before() -> None:
    early = "it exceeded " + "x" * 200 + " and exceeded the quota"
    assert match_text(early) == ("mailboxfull", "exceeded * quota")


def test_import_needs_nothing_but_the_standard_library_and_errors() -> None:
    code = (
        "import sys; before = set(sys.modules); import mailops.bounces; "
        "new = sorted(n for n in set(sys.modules) - before if n.startswith('mailops')); print(new); "
        "import sysconfig; std = sysconfig.get_path('stdlib'); "
        "bad = [n for n, m in sys.modules.items() if n not in before and not n.startswith('mailops') "
        "and 'site-packages' in str(getattr(m, '__file__', '') or '')]; print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.strip().splitlines()
    allowed = ("mailops", "mailops.bounces", "mailops.errors", "mailops.mime", "mailops.model", "mailops.model.reasons")
    allowed += ("mailops.model.tag", "mailops.model.words", "mailops.model.setup", "mailops.providers")
    allowed += tuple(
        f"mailops.providers.{name}" for name in ("files", "model", "rules")
    )  # what receivers' answers mean
    assert all(name in allowed or name.startswith("mailops.bounces.") for name in eval(first)), first
    assert second == "[]"
