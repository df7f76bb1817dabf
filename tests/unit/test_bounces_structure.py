"""What the reader makes of reports that nobody collected: who speaks, about whom, and whose name it is.

The messages are made here, each for one mechanism, and enter by :func:`mailops.bounces.parse` or by the evaluation
suite, as any caller's do.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mailops.bounces import classify, parse
from mailops.testing.evaluate import predictions

OURS = {"domains": ["acme.example"], "bounce_addresses": ["bounce@acme.example"], "hosts": ["out.acme.example"]}
ORIGINAL = (
    "Return-Path: <bounce+7@acme.example>\nFrom: Sales <sales@acme.example>\nTo: {to}\nSubject: Offer 12\n"
    "Message-ID: <12.7@acme.example>\n\nHello\n"
)


def letter(
    body: str,
    *,
    author: str = "Mail Delivery System <MAILER-DAEMON@mx.relay.example>",
    subject: str = "Undelivered Mail Returned to Sender",
    path: str = "<>",
    to: str = "sales@acme.example",
    more: str = "",
) -> bytes:
    """A message of plain text."""
    head = f"Return-Path: {path}\nFrom: {author}\nTo: {to}\nSubject: {subject}\nMessage-ID: <r1@relay.example>\n{more}"
    return f"{head}MIME-Version: 1.0\n\n{body}".encode()


def dsn(
    fields: str, text: str = "", *, recipient: str = "rfc822; lena@dest.example", to: str = "lena@dest.example"
) -> bytes:
    """A delivery status notification with the fields of one recipient."""
    return (
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.relay.example\nTo: sales@acme.example\nSubject: Delivery report\n"
        "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        f"--b\nContent-Type: text/plain\n\n{text}\n\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.relay.example\n\nFinal-Recipient: {recipient}\nAction: failed\n{fields}\n\n"
        f"--b\nContent-Type: message/rfc822\n\n{ORIGINAL.format(to=to)}\n--b--\n"
    ).encode()


def read_with(tmp_path: Path, raw: bytes, **known: Any) -> dict[str, Any]:
    """One message through the evaluation suite, with what the reading side knows of itself."""
    (tmp_path / "m.eml").write_bytes(raw)
    row = {"id": "m", "file": "m.eml", "ours": OURS, **known}
    (tmp_path / "truth.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return next(iter(predictions("bounces", tmp_path / "truth.jsonl")))


# --- told where it was delivered ---------------------------------------------------------------------------------------


def test_what_is_written_to_our_bounce_address_is_a_report_whoever_wrote_it(tmp_path: Path) -> None:
    body = "We could not hand this over.\n\nAddressee: <lena@dest.example>\nAnswer: 550 no such mailbox here\n"
    robot = letter(body, author="Robot <robot@dest.example>", subject="Not accepted", path="<robot@dest.example>")
    found = read_with(tmp_path, robot.replace(b"To: sales@", b"To: bounce+7@"))
    assert (found["kind"], found["recipients"], found["hard"]) == ("bounce", ["lena@dest.example"], True)
    found = read_with(tmp_path, robot, delivered_to="bounce+7-x@acme.example")
    assert (found["kind"], found["recipients"]) == ("bounce", ["lena@dest.example"])
    assert parse(robot).kind == "ordinary"


def test_a_letter_to_our_bounce_address_that_says_nothing_is_kept_as_unread(tmp_path: Path) -> None:
    raw = letter("Kind regards", author="Ann <ann@x.example>", subject="Hello", path="<ann@x.example>")
    assert read_with(tmp_path, raw, delivered_to="bounce@acme.example")["kind"] == "unread"
    assert read_with(tmp_path, raw)["kind"] == "ordinary"


def test_an_automatic_reply_to_our_bounce_address_stays_one(tmp_path: Path) -> None:
    raw = letter(
        "I am away until Monday. Ask ben@dest.example.",
        author="Lena <lena@dest.example>",
        subject="Automatic reply: Offer 12",
        more="Auto-Submitted: auto-replied\n",
    )
    assert read_with(tmp_path, raw, delivered_to="bounce+7@acme.example")["kind"] == "autoreply"


@pytest.mark.parametrize("local", ["lena", "lena-marie", "lena.koch"])
def test_the_tag_of_our_return_path_names_the_recipient(tmp_path: Path, local: str) -> None:
    raw = letter("The message has been refused.\n550 User unknown\n")
    found = read_with(tmp_path, raw, delivered_to=f"bounce+{local}=dest.example@acme.example")
    assert (found["kind"], found["recipients"], found["reason"]) == ("bounce", [f"{local}@dest.example"], "userunknown")


# --- unread ------------------------------------------------------------------------------------------------------------


def test_a_daemon_without_a_return_path_is_never_ordinary() -> None:
    found = parse(letter("(No Message Collected)\n", subject="..."))
    assert (found.kind, found.results) == ("unread", ())
    assert "a mail system wrote it" in found.evidence


@pytest.mark.parametrize("author", ["Invoices <billing@shop.example>", "Ann <ann@x.example>"])
def test_a_letter_without_a_return_path_is_ordinary_when_no_mail_system_wrote_it(author: str) -> None:
    assert parse(letter("Your invoice is attached.", author=author, subject="Invoice 9")).kind == "ordinary"


# --- unwrapped ---------------------------------------------------------------------------------------------------------


def wrapped(inner: bytes, text: str, author: str) -> bytes:
    head = f"Return-Path: <gw@gw.example>\nFrom: {author}\nTo: bounce@acme.example\nSubject: Mail failure\n"
    mark = f"G{len(inner)}"
    head += f"Message-ID: <{mark}@gw.example>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary={mark}\n\n"
    text = f"{head}--{mark}\nContent-Type: text/plain\n\n{text}\n\n--{mark}\nContent-Type: message/rfc822\n\n"
    return text.encode() + inner + f"\n--{mark}--\n".encode()


def test_a_report_inside_a_gateway_s_mail_is_read_three_deep() -> None:
    inner = dsn("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown")
    raw = wrapped(inner, "A report is attached.", "MAILER-DAEMON@gw.example")
    raw = wrapped(raw, "Mail failed, see below.", "MAILER-DAEMON@gw.example")
    found = parse(raw)
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert found.summary.hard


def test_a_person_who_forwards_a_report_reports_nothing() -> None:
    inner = dsn("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown")
    assert parse(wrapped(inner, "Look what came back.", "Ann <ann@x.example>")).kind == "ordinary"


@pytest.mark.parametrize("envelope", ["sns", "eventbridge", "list"])
def test_a_notification_is_taken_out_of_its_envelopes(envelope: str) -> None:
    bounce = {
        "notificationType": "Bounce",
        "bounce": {
            "bouncedRecipients": [
                {
                    "emailAddress": "lena@dest.example",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 550 5.1.1 unknown user",
                }
            ]
        },
        "mail": {"source": "bounce@acme.example", "destination": ["lena@dest.example"]},
    }
    event = {
        "sns": {"Type": "Notification", "TopicArn": "arn:aws:sns:x:1:b", "Message": json.dumps(bounce)},
        "eventbridge": {"source": "aws.ses", "detail": bounce},
        "list": {"Records": [{"Sns": {"Message": json.dumps(bounce)}}]},
    }[envelope]
    raw = letter(json.dumps(event, indent=1), author="no-reply@sns.amazonaws.com", subject="AWS Notification Message")
    found = parse(raw)
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert (found.summary.reason, found.summary.hard) == ("userunknown", True)


# --- who speaks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diagnostic", "reason", "hard"),
    [
        ("smtp; 5.1.0 - Unknown address error 550-'5.7.1 blocked using bl.spamcop.net'", "blocked", False),
        ("smtp; 5.1.0 - Unknown address error 552-'5.2.2 the quota of this box is used up'", "mailboxfull", False),
        ("smtp; 5.1.0 - Unknown address error 550-'5.1.1 no such user here'", "userunknown", True),
        ("smtp; 554 5.4.0 host said: 550 sender policy framework check failed", "authfailure", False),
        (
            "smtp; 550 5.1.1 (bad destination mailbox address) 553 relaying to that domain is not allowed",
            "norelaying",
            False,
        ),
    ],
)
def test_the_innermost_reply_is_the_peer_s(diagnostic: str, reason: str, hard: bool) -> None:
    found = parse(dsn(f"Status: 5.0.0\nDiagnostic-Code: {diagnostic}")).summary
    assert found is not None
    assert (found.reason, found.hard) == (reason, hard), found.rule


def test_the_gloss_of_a_code_is_no_word_about_a_person() -> None:
    raw = dsn("Status: 5.1.1 (bad destination mailbox address)\nDiagnostic-Code: smtp; 553 relaying is disallowed")
    found = parse(raw).summary
    assert found is not None
    assert (found.reason, found.hard) == ("norelaying", False)


def test_the_program_s_exit_code_is_read_by_its_type() -> None:
    for number, reason in (("127", "mailererror"), ("71", "systemerror"), ("67", "userunknown")):
        found = parse(dsn(f"Status: 5.0.0\nDiagnostic-Code: x-unix; {number}")).summary
        assert found is not None
        assert found.reason == reason, number


def test_supplementary_words_are_read_where_there_is_no_diagnostic() -> None:
    found = parse(dsn('Status: 5.0.0\nX-Supplementary-Info: <192.0.2.9 #5.0.0 smtp; 550 "No such user">')).summary
    assert found is not None
    assert (found.reason, found.hard) == ("userunknown", True)


def test_a_session_is_read_as_one() -> None:
    body = (
        "Transcript of session follows.\n\n Out: 220 mx.dest.example ESMTP\n In:  EHLO out.acme.example\n"
        " Out: 250 ok\n In:  MAIL FROM:<bounce@acme.example>\n Out: 250 2.1.0 Ok\n In:  RCPT TO:<lena@dest.example>\n"
        " Out: 550 5.1.1 <lena@dest.example>: no such user\n In:  QUIT\n Out: 221 2.0.0 Bye\n"
    )
    found = parse(letter(body, subject="Mail delivery failed"))
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert (found.summary.reason, found.summary.hard) == ("userunknown", True)


def test_a_guess_of_the_sending_system_yields_to_the_peer() -> None:
    fields = "Status: 5.1.1\nDiagnostic-Code: smtp;550 5.1.1 <lena@dest.example>: Recipient address rejected\n"
    found = parse(dsn(fields + "X-PowerMTA-BounceCategory: policy-related")).summary
    assert found is not None
    assert (found.reason, found.hard) == ("userunknown", True)


# --- whose name --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("550 acme.example: domain not found", "rejected"),
        ("550 The domain acme.example does not exist", "rejected"),
        ("550 5.1.2 dest.example: domain not found", "hostunknown"),
        ("550 <bounce+7@acme.example> user unknown", "rejected"),
        ("550 <lena@dest.example> user unknown", "userunknown"),
    ],
)
def test_a_missing_name_is_the_recipient_s_or_ours(words: str, reason: str) -> None:
    found = parse(dsn(f"Status: 5.0.0\nDiagnostic-Code: smtp; {words}")).summary
    assert found is not None
    assert (found.reason, found.hard) == (reason, reason != "rejected"), found.rule


@pytest.mark.parametrize(
    "text", ["550 5.1.3 see https://www.spamhaus.org/query/ip/192.0.2.7", "554 5.1.1 psbl.surriel.com refuses you"]
)
def test_the_name_of_a_blocklist_is_a_word(text: str) -> None:
    found = classify(text=text, stage="rcpt")
    assert (found.reason, found.hard) == ("blocked", False)


# --- where in the dialogue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["4.2.1", "5.1.1", "5.2.1", "5.2.2"])
def test_a_code_means_nobody_before_anybody_was_named(code: str) -> None:
    found = classify(text=f"{code[0]}21 {code} try again", stage="connect")
    assert found.reason not in ("suspend", "userunknown", "mailboxfull", "filtered")
    assert not found.hard


def test_the_step_is_kept_where_the_reply_is_cut_out() -> None:
    body = (
        "Hi. This is the qmail-send program at relay.example.\n\n<lena@dest.example>:\nConnected to 192.0.2.9 but my "
        "name was rejected.\nRemote host said: 421 4.2.1 try elsewhere\n"
    )
    found = parse(letter(body, subject="failure notice")).summary
    assert found is not None
    assert found.reason not in ("suspend", "filtered", "userunknown")
    assert not found.hard


@pytest.mark.parametrize(
    "text", ["500 5.5.1 command not recognised", "501 Syntax error in arguments", "502 5.5.2 what?"]
)
@pytest.mark.parametrize("stage", ["connect", "helo", "mail"])
def test_a_command_that_is_not_understood_blocks_nobody(text: str, stage: str) -> None:
    assert classify(text=text, stage=stage).reason == "syntaxerror"


# --- whom --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Delivery of your letter for 'lena@dest.example' failed because that account was not found.",
        "The handover to lena@dest.example ended here: account not found. Questions: postmaster@dest.example",
        "Person concerned: lena@dest.example\nThis account was not found.\nYour sender was bounce+7@acme.example",
    ],
)
def test_the_address_that_is_left_is_the_recipient(text: str) -> None:
    found = parse(letter(text + "\n", subject="Mail failure", to="bounce+7@acme.example"))
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert (found.summary.reason, found.summary.hard) == ("userunknown", True)


def test_nobody_is_suppressed_who_was_only_concluded() -> None:
    body = "Mail failure.\n5.1.1\n\n--- original message ---\n" + ORIGINAL.format(to="lena@dest.example")
    found = parse(letter(body, subject="Mail delivery failed"))
    assert found.recipients == ("lena@dest.example",)
    assert found.summary is not None
    assert not found.summary.hard


@pytest.mark.parametrize("typed", ['rfc822; "mia roth"@dest.example', 'rfc822;"mia roth"@dest.example'])
def test_a_quoted_local_part_stays_whole(typed: str) -> None:
    raw = dsn(
        "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown", recipient=typed, to='"mia roth"@dest.example'
    )
    assert parse(raw).recipients == ('"mia roth"@dest.example',)


def test_a_field_without_a_local_part_names_nobody() -> None:
    raw = dsn("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown", recipient="rfc822; @dest.example")
    assert parse(raw).recipients == ("lena@dest.example",)


# --- which kind --------------------------------------------------------------------------------------------------------


def test_nobody_still_tried_for_is_hard() -> None:
    raw = dsn("Status: 4.0.0\nDiagnostic-Code: smtp; 451 Invalid recipient").replace(b"failed", b"delayed")
    found = parse(raw)
    assert found.kind == "delayed"
    assert found.summary is not None
    assert not found.summary.hard
    assert not classify(450, "4.1.1", "User unknown").hard


def test_a_warning_that_only_its_subject_tells_is_a_delay() -> None:
    body = "There is a problem with this address:\n\nlena@dest.example [Connection refused]\n"
    found = parse(letter(body, subject="Warning: could not send message for past 4 hours"))
    assert (found.kind, found.recipients) == ("delayed", ("lena@dest.example",))


def test_a_report_that_calls_itself_an_automatic_reply_is_one_all_the_same() -> None:
    text = "Mail for lena@dest.example cannot be delivered, there is no such user here.\n"
    more = "Auto-Submitted: auto-replied\nIn-Reply-To: <12.7@acme.example>\n"
    found = parse(letter(text, author="<>", subject="Re: Offer 12", more=more))
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))


@pytest.mark.parametrize(
    "subject", ["【自動返信】お問い合わせ", "[Shop] Automatic reply: Offer", "Autoodpowiedz: Oferta"]
)
def test_an_automatic_reply_is_told_without_accents_and_behind_brackets(subject: str) -> None:
    raw = letter("Bis bald.", author="Jan <jan@dest.example>", subject=subject, path="<jan@dest.example>")
    assert parse(raw).kind == "autoreply"


def test_the_failed_recipient_of_a_mixed_report_stands_for_it() -> None:
    raw = dsn("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown").replace(
        b"\n\n--b\nContent-Type: message/rfc822",
        b"\n\nFinal-Recipient: rfc822; ben@dest.example\nAction: delayed\nStatus: 4.4.1\n\n--b\nContent-Type: message/rfc822",
    )
    found = parse(raw)
    assert found.kind == "bounce"
    assert found.summary is not None
    assert (found.summary.recipient, found.summary.hard) == ("lena@dest.example", True)


# --- hard needs a word or a code about a person --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "enhanced", "text"),
    [(556, None, "556"), (550, "5.1.0", ""), (None, "5.1.0", "no"), (550, "5.3.2", "550 5.3.2 no")],
)
def test_a_code_that_is_sent_for_anything_suppresses_nobody(code: int | None, enhanced: str | None, text: str) -> None:
    assert not classify(code, enhanced, text, "rcpt").hard


@pytest.mark.parametrize("enhanced", ["5.1.1", "5.1.2", "5.1.6", "5.1.10"])
def test_a_code_about_a_person_does(enhanced: str) -> None:
    assert classify(550, enhanced, "", "rcpt").hard


def test_what_is_hard_and_not_sure_is_said_to_be_so() -> None:
    found = classify(550, "5.1.0", "", "rcpt")
    assert (found.reason, found.hard, found.unconfirmed) == ("userunknown", False, True)
    told = parse(dsn("Status: 5.1.0\nDiagnostic-Code: smtp; 550")).summary
    assert told is not None
    assert told.strength == "hard, unconfirmed"


@pytest.mark.parametrize(("code", "hard"), [("5.7.1", False), ("5.1.1", True)])
def test_a_wrapper_s_gloss_is_not_sure_where_the_peer_s_code_speaks_of_something_else(code: str, hard: bool) -> None:
    raw = dsn(
        f"Status: {code}\nDiagnostic-Code: smtp; 550 {code} blurb sixteen",
        f"550 {code} <lena@dest.example>... User unknown",
    )
    found = parse(raw).summary
    assert found is not None
    assert (found.hard, found.unconfirmed) == (hard, not hard)


# --- whatever the language -----------------------------------------------------------------------------------------------

LANGUAGES = {
    "cs": "Doručení se nezdařilo:\n\n{}\nAdresa nebyla nalezena. Zkontrolujte ji.",
    "da": "Levering mislykkedes:\n\n{}\nMailadressen blev ikke fundet.",
    "el": "Η παράδοση απέτυχε:\n\n{}\nΗ διεύθυνση που πληκτρολογήσατε δεν βρέθηκε.",
    "fi": "Toimitus epäonnistui:\n\n{}\nSähköpostiosoitetta ei löytynyt.",
    "hu": "A kézbesítés sikertelen:\n\n{}\nA megadott e-mail-cím nem található.",
    "ja": "配信できません:\n\n{}\n入力された電子メール アドレスが見つかりませんでした。",
    "ko": "배달 실패:\n\n{}\n입력한 전자 메일 주소를 찾을 수 없습니다.",
    "nb": "Levering mislyktes:\n\n{}\nFinner ikke e-postadressen du skrev inn.",
    "pl": "Nie dostarczono:\n\n{}\nNie można znaleźć wprowadzonego adresu e-mail.",
    "ro": "Livrare nereușită:\n\n{}\nAdresa de e-mail introdusă nu a putut fi găsită.",
    "sk": "Doručenie zlyhalo:\n\n{}\nZadaná e-mailová adresa sa nenašla.",
    "sv": "Leveransen misslyckades:\n\n{}\nDet gick inte att hitta e-postadressen du angav.",
    "uk": "Не доставлено:\n\n{}\nНе вдалося знайти введену електронну адресу.",
    "zh": "未能传递:\n\n{}\n找不到您输入的电子邮件地址。",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_exchange_online_is_read_in_its_languages(language: str) -> None:
    body = LANGUAGES[language].format("lena@dest.example")
    raw = letter(body, author="Microsoft Outlook <postmaster@dest.example>", subject="x").replace(
        b"MIME-Version: 1.0", b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8"
    )
    found = parse(raw)
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert (found.summary.reason, found.summary.hard) == ("userunknown", True)


def test_a_language_nobody_tabled_is_a_report_all_the_same() -> None:
    body = "Ní raibh sé indéanta do litir a sheachadadh:\n\nlena@dest.example\n\nSlán.\n"
    found = parse(letter(body, author="postmaster@dest.example", subject="Fadhb"))
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert not found.summary.hard


# --- what the status part does not say -----------------------------------------------------------------------------------

ENCODED = base64.encodebytes(
    b"Reporting-MTA: dns; mx.relay.example\n\nFinal-Recipient: rfc822; lena@dest.example\nAction: failed\nStatus: 5.1.1\n"
).decode()


@pytest.mark.parametrize("fields", [ENCODED, "Content-Transfer-Encoding: base64\n\n" + ENCODED])
def test_status_fields_that_were_encoded_once_more_are_read(fields: str) -> None:
    head = "Return-Path: <>\nFrom: MAILER-DAEMON@mx.relay.example\nTo: sales@acme.example\nSubject: Report\n"
    head += "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n\n"
    found = parse(f"{head}--b\nContent-Type: message/delivery-status\n\n{fields}\n--b--\n".encode())
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))
    assert found.summary is not None
    assert found.summary.status == "5.1.1"


def test_a_message_that_is_nothing_but_status_fields_is_a_report() -> None:
    raw = b"From: status@relay.example\nTo: sales@acme.example\nSubject: x\nContent-Type: message/delivery-status\n\n"
    found = parse(raw + b"Final-Recipient: rfc822; lena@dest.example\nAction: failed\nStatus: 5.1.1\n")
    assert (found.kind, found.recipients) == ("bounce", ("lena@dest.example",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<lena@dest.example>: the account was closed last year", "suspend"),
        ("Your message was not delivered because the quota of the box is used up.", "mailboxfull"),
        (
            "  ----- Transcript of session follows -----\n... while talking to mx.dest.example.:\n>>> DATA\n"
            "<<< 552 5.3.4 message is too large for us\n554 5.0.0 Service unavailable",
            "mesgtoobig",
        ),
    ],
)
def test_the_text_is_asked_where_the_status_part_says_little(text: str, reason: str) -> None:
    found = parse(dsn("Status: 5.0.0", text)).summary
    assert found is not None
    assert (found.reason, found.hard) == (reason, False), found.rule


def test_what_a_gateway_tells_everybody_does_not_beat_the_peer() -> None:
    footer = "Not delivered.\n\nOur gateway looks for spam and viruses. Relay access denied? See our pages."
    found = parse(dsn("Status: 5.0.0\nDiagnostic-Code: smtp; 550 this box is over its quota", footer)).summary
    assert found is not None
    assert found.reason == "mailboxfull"


def test_the_greeting_of_a_mail_system_is_no_verdict() -> None:
    text = "This is the BNS Postfix program at host relay.example.\n\nYour message could not be delivered and is returned.\n"
    found = parse(dsn("Status: 5.0.0", text)).summary
    assert found is not None
    assert found.reason not in ("mailererror", "systemerror")


def test_a_report_that_names_nobody_is_a_report_and_suppresses_nobody() -> None:
    text = "A message that you sent contained no recipient addresses, so no delivery could be attempted.\n"
    raw = letter(text, subject="Mail failure - no recipient addresses", more="Auto-Submitted: auto-replied\n")
    found = parse(raw)
    assert (found.kind, found.recipients) == ("bounce", ())
    assert not any(result.hard for result in found.results)


@pytest.mark.parametrize(
    "more",
    ["In-Reply-To: <12.7@acme.example>\n", "X-Auto-Response-Suppress: All\n", "References: <12.7@acme.example>\n"],
)
def test_an_answer_without_a_return_path_is_an_automatic_reply_in_any_language(more: str) -> None:
    raw = letter("Esmu prombūtnē līdz pirmdienai.", author="Jānis <janis@dest.example>", subject="Prombūtnē", more=more)
    assert parse(raw).kind == "autoreply"


@pytest.mark.parametrize(
    "text", ["Your message to {} was refused:\n550 5.1.1 User unknown\n", "failed:\n\n<{}>: 550 5.1.1 User unknown\n"]
)
def test_a_quoted_local_part_stays_whole_in_a_text(text: str) -> None:
    assert parse(letter(text.format('"mia roth"@dest.example'))).recipients == ('"mia roth"@dest.example',)


def test_a_program_s_end_is_no_delivery() -> None:
    found = parse(dsn("Status: 2.0.0\nDiagnostic-Code: smtp; 250 ok")).summary
    assert found is not None
    assert found.reason != "delivered"


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Your mail is delayed", "We could not reach the host of lena@dest.example during the last 3 hours."),
        ("Delivery delayed 12 hours", "<lena@dest.example>"),
        ("Verspätet: Angebot", "lena@dest.example\n\nEs gibt Schwierigkeiten."),
        ("Sändningen är försenad", "lena@dest.example"),
    ],
)
def test_a_subject_that_tells_a_delay_is_believed(subject: str, text: str) -> None:
    found = parse(letter(text + "\n", subject=subject))
    assert (found.kind, found.recipients) == ("delayed", ("lena@dest.example",))
    assert not any(result.hard for result in found.results)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("temporary failure", "systemerror"),
        ("user unknown", "userunknown"),
    ],
)
def test_the_words_of_an_exit_code_are_read_by_their_type(words: str, reason: str) -> None:
    found = parse(dsn(f"Status: 5.0.0\nDiagnostic-Code: x-unix; {words}")).summary
    assert found is not None
    assert found.reason == reason


def test_an_attached_file_with_a_report_is_opened() -> None:
    inner = dsn("Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 User unknown")
    raw = wrapped(inner, "The report is attached.", "MAILER-DAEMON@gw.example")
    plain = b"--" + raw.split(b"boundary=")[1].split(b"\n")[0] + b"\nContent-Type: message/rfc822\n\n"
    place = raw.index(plain)
    mark = raw.rindex(b"\n--G")
    head = plain.replace(
        b"message/rfc822\n",
        b'application/octet-stream\nContent-Disposition: attachment; filename="report.eml"\n'
        b"Content-Transfer-Encoding: base64\n",
    )
    encoded = raw[:place] + head + base64.encodebytes(raw[place + len(plain) : mark]) + raw[mark:]
    assert parse(encoded).recipients == ("lena@dest.example",)


def test_a_shop_s_letter_about_a_delay_is_no_report() -> None:
    text = "Your parcel is late. Write to lena@dest.example, or track it: reference 550.\n"
    raw = letter(text, author="Shop <parcel@shop.example>", subject="Your order is delayed")
    assert parse(raw).kind == "ordinary"


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        ("5.1.1", "550 5.7.1 IP address blacklisted by recipient", "blocked"),
        ("5.1.1", "552 5.2.2 sorry", "mailboxfull"),
        ("5.7.1", "550 5.1.1 sorry", "userunknown"),
    ],
)
def test_the_code_of_the_peer_outranks_the_field_of_the_reporter(status: str, words: str, reason: str) -> None:
    found = parse(dsn(f"Status: {status}\nDiagnostic-Code: smtp; {words}")).summary
    assert found is not None
    assert (found.reason, found.hard) == (reason, reason == "userunknown"), found.rule


def test_a_changed_table_makes_nobody_hard_who_is_still_tried_for() -> None:
    from mailops.bounces.hardness import read_table, rejudge

    table = read_table("suspend=hard")
    raw = dsn("Diagnostic-Code: smtp; this mailbox is disabled")
    assert [result.hard for result in rejudge(parse(raw), table).results] == [True]
    late = rejudge(parse(raw.replace(b"Action: failed", b"Action: delayed")), table)
    assert [(result.reason, result.hard) for result in late.results] == [("suspend", False)]


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Quota warning", "Dear user sales@acme.example, your mailbox will be full soon. Ask helpdesk@acme.example.\n"),
        ("Please confirm", "To confirm, please reply. Address: lena@dest.example\n"),
    ],
)
def test_a_daemon_s_letter_that_reports_nothing_names_nobody(subject: str, text: str) -> None:
    found = parse(letter(text, subject=subject))
    assert (found.kind, found.results) == ("unread", ())


def test_a_number_in_a_letter_to_our_bounce_address_is_no_reply_code(tmp_path: Path) -> None:
    raw = letter("Call 555 000 or a@b.example", author="X <x@spam.example>", subject="Great", path="<x@spam.example>")
    assert read_with(tmp_path, raw, delivered_to="bounce@acme.example")["kind"] == "unread"


@pytest.mark.parametrize("returned", [True, False])
def test_a_sentence_in_any_language_about_whom_the_original_was_written_to_is_a_report(returned: bool) -> None:
    head = "Return-Path: <>\nFrom: MAILER-DAEMON@dest.example\nTo: sales@acme.example\nSubject: Barua\n"
    words = "Content-Type: text/plain; charset=utf-8\n\nBarua yako kwa lena@dest.example haikufika\n"
    copy = f"\n--b\nContent-Type: message/rfc822\n\n{ORIGINAL.format(to='lena@dest.example')}" if returned else ""
    found = parse(f"{head}Content-Type: multipart/mixed; boundary=b\n\n--b\n{words}{copy}\n--b--\n".encode())
    assert (found.kind, found.recipients) == (("bounce", ("lena@dest.example",)) if returned else ("unread", ()))
    assert not any(result.hard for result in found.results)


@pytest.mark.parametrize(("code", "hard"), [("5.1.1", True), ("5.1.0", False)])
def test_a_code_about_a_person_beside_the_only_candidate_is_hard(code: str, hard: bool) -> None:
    head = "Return-Path: <>\nFrom: MAILER-DAEMON@dest.example\nTo: sales@acme.example\nSubject: Mesaj nelivrat\n\n"
    found = parse(f"{head}Mesajul către <lena@dest.example> nu a putut fi livrat.\n550 {code} Necunoscut\n".encode())
    assert found.summary is not None
    assert (found.recipients, found.summary.hard) == (("lena@dest.example",), hard)


@pytest.mark.parametrize(
    ("pattern", "came_to", "recipient"),
    [
        ("news-*@acme.example", "news-88-lena=dest.example@acme.example", "lena@dest.example"),
        ("*-bounce@acme.example", "lena.k=dest.example-bounce@acme.example", "lena.k@dest.example"),
    ],
)
def test_a_star_in_a_bounce_address_stands_for_the_tag(
    tmp_path: Path, pattern: str, came_to: str, recipient: str
) -> None:
    raw = letter("Nobody of that name.\n550 5.1.1 User unknown", author="postmaster@dest.example", to=came_to)
    ours = {**OURS, "bounce_addresses": [pattern]}
    found = read_with(tmp_path, raw, delivered_to=came_to, ours=ours)
    assert (found["kind"], found["recipients"], found["hard"]) == ("bounce", [recipient], True)
