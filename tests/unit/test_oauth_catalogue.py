"""The error catalogue: every row reachable, told apart, in full words; the cases of what is seen lead to one row each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailops.cli.app import app
from mailops.providers.refusals import KINDS, WHO, Row, clean, explain_reply, explain_token, refusal, row, rows

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "cases" / "oauth.json").read_text("utf-8")
)["cases"]

# A reply as the vendors word it, for each row that is matched by text (fixtures of our own).
SAMPLES = {
    "ms-smtp-disabled-tenant": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [AM0PR02CA0001.eurprd02.prod.outlook.com 2026-11-23T03:00:00.000Z 08DE]",
    "ms-smtp-disabled-mailbox": "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. [X.outlook.com 2026]",
    "ms-smtp-basic": "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
    "ms-smtp-credentials": "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
    "ms-smtp-criteria": "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully.",
    "ms-smtp-5.7.3": "535 5.7.3 Authentication unsuccessful [PR1P264CA0123.FRAP264.PROD.OUTLOOK.COM]",
    "ms-smtp-5.7.30": "550 5.7.30 Basic authentication is not supported for Client Submission.",
    "ms-smtp-5.7.57": "530 5.7.57 Client not authenticated to send mail. [X.outlook.com]",
    "ms-smtp-send-as": "554 5.2.252 SendAsDenied; ann@example.com not allowed to send as info@example.com",
    "ms-smtp-connections": "432 4.3.2 Concurrent connections limit exceeded.",
    "ms-smtp-quota": "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; submission quota exceeded",
    "ms-smtp-5.1.90": "550 5.1.90 Your message can't be sent because you've reached your daily limit",
    "ms-smtp-5.7.705": "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
    "ms-smtp-5.7.5xx": "550 5.7.501 Access denied, spam abuse detected from IP range",
    "ms-smtp-5.7.520": "550 5.7.520 Access denied, Your organization does not allow external forwarding.",
    "ms-smtp-5.5.105": "550 5.5.105 External sending is not supported",
    "ms-smtp-4.7.500": "451 4.7.500 Server busy. Please try again later",
    "ms-smtp-4.4.2": "421 4.4.2 Connection dropped due to ConnectionReset",
    "ms-tls-old": "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1000)",
    "ms-imap-connected": "BAD User is authenticated but not connected.",
    "ms-imap-refused": "NO AUTHENTICATE failed.",
    "ms-pop-refused": "-ERR Authentication failure: unknown user name or bad password.",
    "ms-imap-bye": "* BYE Connection is closed. 13",
    "ms-imap-other-mailbox": "the mailbox is empty, or another's mailbox",
    "google-redirect": ("redirect_uri_mismatch", "Error 400"),
    "google-unverified-tester": ("access_denied", "The app has not completed the Google verification process"),
    "google-cancelled": ("access_denied", ""),
    "google-org-internal": ("org_internal", ""),
    "google-admin-policy": ("admin_policy_enforced", ""),
    "google-not-configured": ("access_not_configured", ""),
    "google-invalid-request": (
        "invalid_request",
        "You can't sign in because this app doesn't comply with Google's OAuth 2.0 policy",
    ),
    "google-useragent": ("disallowed_useragent", ""),
    "google-client": ("deleted_client", "The OAuth client was deleted."),
    "google-delegation": ("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method"),
    "google-unauthorized": ("unauthorized_client", "Unauthorized"),
    "google-rapt": ("invalid_grant", "reauth related error (invalid_rapt)"),
    "google-jwt-time": (
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
    ),
    "google-code": ("invalid_grant", "Bad Request"),
    "google-expired": ("invalid_grant", "Token has been expired or revoked."),
    "google-scope": ("invalid_scope", "Invalid device flow scope: https://mail.google.com/"),
    "google-no-refresh-token": ("no_refresh_token", "no refresh_token in the answer"),
    "google-100-logins": ("unverified_app", "Your app is limited to 100 sensitive scope logins"),
    "google-smtp-challenge": '334 {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}',
    "google-smtp-5.7.9": "534-5.7.9 Application-specific password required.",
    "google-smtp-5.7.14": "534-5.7.14 Please log in via your web browser and then try again.",
    "google-smtp-5.7.8": "535-5.7.8 Username and Password not accepted.",
    "google-imap-app-password": "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)",
    "google-imap-connections": "NO [ALERT] Too many simultaneous connections. (Failure)",
    "google-imap-refused": "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
    "google-smtp-5.4.5": "550-5.4.5 Daily user sending limit exceeded.",
    "google-smtp-recipients": "452-4.5.3 Your message has too many recipients.",
    "google-smtp-rate": "421-4.7.0 Try again later, closing connection.",
    "google-smtp-454": "454 4.7.0 Cannot authenticate due to a temporary system problem.",
    "google-smtp-5.7.26": "550-5.7.26 This mail has been blocked because the sender is unauthenticated.",
    "google-smtp-starttls": "530-5.7.0 Must issue a STARTTLS command first.",
    "mailjet-smtp-535": "535 Authentication failed",
    "mailjet-401": "401 Unauthorized",
    "mailjet-sender": "403 sender has not been validated",
    "mailjet-dns": "DKIMStatus = Error",
    "mailjet-429": "429 Too many requests",
    "mailjet-preblocked": "blocked preblocked",
}


def _by_text(one: Row, sample: str | tuple[str, str]) -> Row | None:
    if isinstance(sample, tuple):
        return explain_token(one.provider, sample[0], text=sample[1])
    return explain_reply(one.provider, one.at, sample)


TABLE = [
    tuple(None if cell == "-" else cell for cell in line.split("\t"))
    for line in (Path(__file__).parent.parent / "fixtures" / "cases" / "refusals.tsv").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_the_table_holds_over_200_refusals_of_each_place() -> None:
    assert len(TABLE) > 200
    places = Counter(row(name).at for *_, name, _text in TABLE if name)
    assert min(places[at] for at in ("token", "smtp", "imap", "pop")) >= 3


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line[6][:60])
def test_a_pasted_refusal_leads_to_cause_who_and_fix(line: tuple[Any, ...]) -> None:
    provider, protocol, grant, kind, who, name, text = line
    result = CliRunner().invoke(
        app,
        [
            "explain",
            "error",
            "--json",
            *(["--provider", provider] if provider else []),
            *(["--protocol", protocol] if protocol else []),
            *(["--grant", grant] if grant else []),
            "--",
            text,
        ],
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["class"], said["who"], said["row"]) == (kind, who, name)
    assert said["cause"]
    assert said["fix"]


def test_every_row_says_where_it_was_read() -> None:
    assert [one.id for one in rows() if not one.source.startswith("https://")] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["x", "--provider", "yahoo"], "explain.option"),
        (["x", "--protocol", "ftp"], "explain.option"),
        ([" "], "explain.empty"),
    ],
)
def test_another_word_is_refused(arguments: list[str], code: str) -> None:
    result = CliRunner().invoke(app, ["explain", "error", *arguments])
    assert result.exception.code == code


def test_the_text_is_read_from_standard_input() -> None:
    result = CliRunner().invoke(app, ["explain", "error", "-"], input="554 5.2.252 SendAsDenied; a@b.example\n")
    assert "Row ms-smtp-send-as" in result.output


def test_a_pop_refusal_is_pasted_as_it_stands() -> None:
    said = "-ERR [SYS/PERM] Your account is not enabled for POP access."
    result = CliRunner().invoke(app, ["explain", "error", said, "--protocol", "pop", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["row"] == "google-imap-off"


def test_rows_have_distinct_ids_and_full_words() -> None:
    assert len(rows()) >= 240
    assert [name for name, n in Counter(r.id for r in rows()).items() if n > 1] == []
    for one in rows():
        assert one.cause.endswith((".", ")"))
        assert one.fix.endswith((".", ")", "`")) or one.fix.split("`")[-1] == ""
        assert one.kind in KINDS
        assert one.who in WHO
        assert one.codes or one.errors or one.text
        assert row(one.id) is one


@pytest.mark.parametrize("one", rows(), ids=lambda r: r.id)
def test_every_row_is_reached_by_what_its_provider_says(one: Row) -> None:
    if one.codes and one.text is None:
        for number in one.codes:
            error, grant = one.errors[0] if one.errors else "invalid_grant", one.grants[0] if one.grants else ""
            assert explain_token("outlook", error, codes=[number], grant=grant) is one
            # the pairing may change
            assert explain_token("outlook", "server_error", codes=[str(number)], grant=grant) is one
            assert explain_token("outlook", None, text=f"AADSTS{number}: words change.", grant=grant) is one
    elif one.id in SAMPLES:
        assert _by_text(one, SAMPLES[one.id]) is one
    else:
        assert one.id in {name for *_, name, _text in TABLE}


def test_the_other_forms_of_rows_with_several() -> None:
    same = [
        ("ms-smtp-send-as", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
        ("ms-smtp-send-as", "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"),
        ("ms-smtp-connections", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
        ("ms-smtp-4.7.500", "451 4.7.0 Server busy"),
        ("ms-smtp-5.7.5xx", "550 5.7.503 Access denied, banned sender"),
        ("ms-smtp-5.7.705", "550 5.7.705 tenant has exceeded threshold"),
        ("google-smtp-rate", "450-4.2.1 The user you are trying to contact is receiving mail too quickly"),
        ("google-smtp-recipients", "550 5.5.3 too many recipients"),
        ("google-smtp-challenge", "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0="),
    ]
    for name, text in same:
        found = explain_reply(row(name).provider, row(name).at, text)
        assert found is row(name), text


def test_an_unknown_number_falls_back_to_the_meaning_of_error() -> None:
    found = explain_token("outlook", "invalid_grant", codes=[99999999], text="AADSTS99999999: something new")
    assert found.kind == "reauth"
    assert found.id == "invalid_grant"
    assert explain_token("outlook", "never_heard", text="?").kind == "config"
    assert explain_reply("outlook", "smtp", "250 2.0.0 OK") is None


def test_server_names_times_and_trace_ids_are_taken_out() -> None:
    text = "5.7.3 no [AM0P.prod.outlook.com 2026-11-23T03:00:00Z 08DE] Trace ID: abc-1 Timestamp: 2026-11-23 03:00:00Z"
    assert clean(text) == "5.7.3 no"


def test_a_refusal_carries_words_ids_and_who_but_no_secret() -> None:
    error = refusal(
        "outlook",
        {
            "error": "invalid_client",
            "error_codes": [7000215],
            "error_description": "AADSTS7000215: Invalid client secret provided. client_secret=hunter2hunter2",
            "trace_id": "t-1",
            "correlation_id": "c-1",
        },
    )
    assert error.code == "auth.ms-7000215"
    assert error.facts["trace_id"] == "t-1"
    assert error.facts["who"]
    assert "hunter2" not in str(error.as_dict())


# --- what is seen, row by row -----------------------------------------------------------------------------------------


def _reached(case: dict[str, Any]) -> list[Row | None]:
    """What the catalogue makes of everything that a case says is seen: each number, each error with each text."""
    vendor, at = case["vendor"], case["at"]
    if "codes" in case:
        return [explain_token(vendor, None, codes=[number]) for number in case["codes"]]
    if at == "token":
        return [explain_token(vendor, error, text=text) for error in case["errors"] for text in case["seen"]]
    return [explain_reply(vendor, at, text) for text in case["seen"]]


def _wrong(cases: list[dict[str, Any]]) -> list[str]:
    """Cases that lead to no row, to several, to another class, or to a row that another case has taken."""
    wrong, taken = [], set()
    for case in cases:
        found = {one.id if one else "nothing": one for one in _reached(case)}
        one = next(iter(found.values()))
        if len(found) > 1 or one is None or one.kind != case["class"] or one.id in taken:
            wrong.append(f"{case}: {sorted(found)}, {one and one.kind}")
        elif one not in rows():
            wrong.append(f"{case}: only what the error means by itself")
        else:
            taken.add(one.id)
    return wrong


def test_each_of_the_125_cases_leads_to_a_row_of_its_own() -> None:
    assert len(CASES) == 125
    assert _wrong(CASES) == []


def test_a_planted_class_and_a_case_twice_are_reported() -> None:
    for case in CASES:
        assert len(_wrong([{**case, "class": "planted"}])) == 1, case
        assert len(_wrong([case, case])) == 1, case


@pytest.mark.parametrize("provider", ["gmail", "outlook"])
def test_nobody_signs_in_again_where_an_application_signs_for_itself(provider: str) -> None:
    told = explain_token(provider, "invalid_grant", text="grant request is invalid", grant="assertion")
    assert (told.kind, told.who) == ("config", "you")
    assert "refresh token" not in told.cause
    assert explain_token(provider, "invalid_grant", text="grant request is invalid", grant="refresh").kind == "reauth"
