"""The redactor: registered values in all their forms, patterns, ordinary text left alone, logging."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mailops.cli import commands  # noqa: F401  (registers the commands)
from mailops.cli.app import app
from mailops.secrets import (
    MASK,
    Secret,
    find_leaks,
    install_log_redaction,
    redact,
    redact_value,
    register,
)

VALUE = 'pä$$ "w0rd" & <more>/+='


def test_registered_values_go_in_every_form() -> None:
    register(VALUE)
    forms = [
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        urlencode({"x": VALUE}),
        json.dumps({"x": VALUE}),
        json.dumps({"x": VALUE}, ensure_ascii=False),
        json.dumps(json.dumps({"x": VALUE})),
        html.escape(VALUE),
        repr(VALUE),
    ]
    for form in forms:
        clean = redact(f"before {form} after")
        assert MASK in clean, form
        assert "w0rd" not in clean
        assert clean.startswith("before ")
        assert clean.endswith(" after")


@pytest.mark.parametrize("login", ["a", "ab", "abc", "ann@example.com"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_registered_values_go_inside_base64(login: str, encode: object) -> None:
    token = "Zt0k3n-of-some-l3ngth>>>???"
    register(token)
    for raw in (f"\0{login}\0{token}", f"user={login}\x01auth=Bearer {token}\x01\x01", token):
        blob = encode(raw.encode()).decode()  # type: ignore[operator]
        assert redact(f"C: {blob} end") == f"C: {MASK} end"


@settings(max_examples=60, deadline=None)
@given(
    value=st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=12, max_size=40),
    before=st.binary(max_size=7),
    after=st.binary(max_size=7),
)
def test_no_alignment_lets_a_value_through(value: str, before: bytes, after: bytes) -> None:
    register(value)
    blob = base64.b64encode(before + value.encode() + after).decode()
    clean = redact(blob)
    assert MASK in clean
    assert value not in redact(f"({value})")


def test_short_values_do_not_eat_words() -> None:
    register("abc")  # below the bound: never registered
    assert redact("abc abcd") == "abc abcd"
    register("tango7")
    assert redact("tango7 tango77 'tango7'") == f"{MASK} tango77 '{MASK}'"


def test_private_keys_go_line_by_line() -> None:
    lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" + c for c in "ABC"]
    pem = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END PRIVATE KEY-----\n"
    register(pem)
    assert not [line for line in lines if line in redact(f"found {lines[1]} and {lines[0]}")]
    assert "MIIE" not in redact(pem)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "Authorization: Bearer abc.def.ghi",
        '{"Authorization": "Bearer 0123456789abcdef"}',
        "auth=Bearer ya29.a0AfB_byCxxxxxxxxxxxx",
        "C: AUTH PLAIN AGFubgBodW50ZXIyaHVudGVy",
        "a1 AUTHENTICATE XOAUTH2 dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXI=",
        "dXNlcj1hbm5AZXhhbXBsZS5jb20BYXV0aD1CZWFyZXIgdG9rZW4BAQ==",
        "bixhPWFubkBleGFtcGxlLmNvbSwBaG9zdD1sb2NhbGhvc3QBcG9ydD0xNDMBYXV0aD1CZWFyZXI=",
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl",
        "client_secret=hunter2hunter2&x=1",
        "grant_type=refresh_token&refresh_token=0.AXAAfoo&client_id=x",
        '{"refresh_token": "abcdef"}',
        "{'password': 'hunter2'}",
        'smtp_password="hunter2"',
        "a001 LOGIN ann@example.com hunter2",
        'a001 LOGIN "ann@example.com" "hunter2"',
        "C: PASS hunter2",
        "http://127.0.0.1:8080/callback?code=0.AXoABCDEF&state=x",
        "postgresql://mailops:hunter2@db.example/mail",
        "GOCSPX-abcdefghijkl_mno",
        "1//0gabcdefghijklmnopqrstuvw",
        "value abc8Q~abcdefghijklmnopqrstuvwxyz01234567 end",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_patterns_catch_what_nobody_registered(text: str) -> None:
    clean = redact(text)
    assert MASK in clean
    assert "hunter2" not in clean
    assert find_leaks(text)
    assert redact(clean) == clean
    assert find_leaks(clean) == []


@pytest.mark.parametrize(
    "text",
    [
        "250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER",
        "S: 250 AUTH LOGIN CRAM-MD5",
        "C: AUTH XOAUTH2 ***",
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect",
        'password = "env:SMTP_PASSWORD"',
        "client_secret=vault:azure/secret",
        "The password is wrong; password: see the docs.",
        "refresh_token: str | None = None",
        "https://mail.example.com/microsoft_outlook/confirm",
        "https://login.microsoftonline.com:443/common/oauth2/v2.0/token",
        "Bearer authentication is offered",
        "AADSTS7000215: Invalid client secret provided. Trace ID: 0f8fad5b-d9cb-469f-a165-70867728950e",
        "the code=250 of the reply",
        "Message-ID: <20261123.abc@example.com>",
        "Secret ID, client secret, Value",
        "dXNlcm5hbWU=",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text
    assert find_leaks(text) == []


def test_json_values() -> None:
    register("plAnted-in-json")
    value = {
        "a": ["plAnted-in-json", 1, None],
        "password": "short",
        "client_secret": "vault:x",
        "s": Secret("zz"),
        "note": "fine",
    }
    assert redact_value(value) == {
        "a": [MASK, 1, None],
        "password": MASK,
        "client_secret": "vault:x",
        "s": MASK,
        "note": "fine",
    }


def test_log_redaction_for_the_whole_process() -> None:
    register("plAnted-process-wide")
    before = logging.getLogRecordFactory()
    try:
        install_log_redaction()
        installed = logging.getLogRecordFactory()
        install_log_redaction()
        assert logging.getLogRecordFactory() is installed
        out = io.StringIO()
        logger = logging.getLogger("mailops.test.process")
        logger.propagate = False
        logger.addHandler(logging.StreamHandler(out))
        logger.error("%s", "plAnted-process-wide")
        assert out.getvalue() == MASK + "\n"
    finally:
        logging.setLogRecordFactory(before)


def test_the_registry_is_bounded() -> None:
    from mailops.secrets import redact as module_function
    from mailops.secrets.redact import KEPT, _registered

    for number in range(KEPT + 20):
        register(f"bounded-value-{number:06d}")
    assert len(_registered) == KEPT
    assert module_function(f"bounded-value-{KEPT + 19:06d}") == MASK


def test_files_that_leave_the_house_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("PGPASSWORD=hunter2hunter psql\n")
    (tmp_path / "page.html").write_text("<p>Nothing here.</p>")
    run = CliRunner()
    done = run.invoke(app, ["secrets", "leaks", str(tmp_path / "run.log"), str(tmp_path / "page.html"), "--json"])
    assert done.exit_code == 1
    assert {row["file"] for row in json.loads(done.stdout)} == {"run.log"}
    assert "hunter2hunter" not in done.stdout
    assert run.invoke(app, ["secrets", "leaks", str(tmp_path / "page.html")]).exit_code == 0
    assert getattr(run.invoke(app, ["secrets", "leaks", str(tmp_path)]).exception, "code", "") == "input.file"
