"""The calendar of ends, and who still uses passwords."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mailops.model.setup import Authentication, Server
from mailops.model.verdict import Severity, VerdictState
from mailops.oauth import Account, Connected, FlowKind, Grant, ends_of, icalendar, password_servers, verdict_of_end
from mailops.oauth.calendar import End
from mailops.secrets import Secret, SecretStore

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ANN = "ann@example.com"


def _outlook(**fields: object) -> Account:
    return Account(ANN, "outlook", FlowKind.WEB, ANN, "id", "vault:s", **fields)  # type: ignore[arg-type]


def _grant(granted: datetime, renewed: datetime | None = None) -> Grant:
    return Grant(Secret("a"), NOW, Secret("r"), granted, renewed or granted)


@pytest.mark.req("AZ-18")
@pytest.mark.parametrize(
    ("days", "state", "code", "level"),
    [
        (61, VerdictState.PASSED, "calendar.fine", ""),
        (60, VerdictState.WARNING, "calendar.soon", "notice"),
        (30, VerdictState.WARNING, "calendar.soon", "warning"),
        (8, VerdictState.WARNING, "calendar.soon", "warning"),
        (7, VerdictState.FAILED, "calendar.critical", "critical"),
        (1, VerdictState.FAILED, "calendar.critical", "critical"),
        (0, VerdictState.FAILED, "calendar.over", "error"),
        (-5, VerdictState.FAILED, "calendar.over", "error"),
    ],
)
def test_a_secrets_end_is_told_in_time(days: int, state: VerdictState, code: str, level: str) -> None:
    end = End("client_secret", ANN, NOW + timedelta(days=days), ("main", "second"))
    verdict = verdict_of_end(end, NOW)
    assert (verdict.state, verdict.code, verdict.evidence["level"]) == (state, code, level)
    if state is VerdictState.FAILED:
        assert "main, second" in verdict.found  # the servers that are hit


@pytest.mark.req("AZ-17", "AZ-18")
def test_ends_of_accounts_name_the_servers_they_hit() -> None:
    servers = [
        Server("main", "Main", authentication=Authentication.OAUTH, login=ANN),
        Server("other", "Other", authentication=Authentication.OAUTH, login="bob@example.com"),
    ]
    connected = Connected(
        _outlook(secret_ends=date(2026, 12, 20)), _grant(NOW - timedelta(days=80), NOW - timedelta(days=10))
    )
    ends = ends_of([connected], servers=servers, api_keys=[("mailjet", date(2027, 3, 1))])
    assert [(e.kind, e.at.date(), e.affects) for e in ends] == [
        ("client_secret", date(2026, 12, 20), ("main",)),
        ("refresh_token", date(2027, 2, 11), ("main",)),  # 90 days after the last use
        ("api_key", date(2027, 3, 1), ("mailjet",)),
    ]


def test_google_in_testing_ends_seven_days_after_the_sign_in_however_much_it_is_used() -> None:
    account = Account("g", "gmail", FlowKind.WEB, "g@example.com", "id", "vault:s", testing=True)
    granted = NOW - timedelta(days=3)
    assert ends_of([Connected(account, _grant(granted, NOW))])[0].at == granted + timedelta(days=7)
    account = Account("g", "gmail", FlowKind.WEB, "g@example.com", "id", "vault:s")
    assert ends_of([Connected(account, _grant(granted, NOW))])[0].at == NOW + timedelta(days=182)


def test_a_certificates_end_is_read_from_it(tmp_path: Path) -> None:
    from mailops.testing import Authority

    pair = Authority(tmp_path).client()
    account = Account(
        ANN,
        "outlook",
        FlowKind.APP_CERTIFICATE,
        ANN,
        "id",
        certificate="vault:k",
        certificate_public=pair.certfile,
        tenant="t",
    )
    ends = ends_of([Connected(account, _grant(NOW))], secrets=SecretStore(tmp_path))
    assert [e.kind for e in ends] == ["certificate"]
    assert abs((ends[0].at - datetime.now(UTC)).total_seconds() - 86_400) < 3600
    gone = Account(
        ANN,
        "outlook",
        FlowKind.APP_CERTIFICATE,
        ANN,
        "id",
        certificate="vault:k",
        certificate_public="/nowhere",
        tenant="t",
    )
    (missing,) = ends_of([Connected(gone)], secrets=SecretStore(tmp_path))
    assert "/nowhere cannot be read" in missing.said
    assert verdict_of_end(missing, NOW).code == "calendar.dead"


def test_icalendar_is_well_formed_with_three_alarms() -> None:
    long = "a name, with; signs \\ and ümlauts " * 3
    text = icalendar([End("client_secret", long, NOW + timedelta(90), ("main",), "Make a new one;\nnow")], NOW)
    assert text.startswith("BEGIN:VCALENDAR\r\n")
    assert text.endswith("END:VCALENDAR\r\n")
    lines = text.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    assert text.count("BEGIN:VALARM") == text.count("END:VALARM") == 3
    assert [line for line in lines if line.startswith("TRIGGER")] == ["TRIGGER:-P60D", "TRIGGER:-P30D", "TRIGGER:-P7D"]
    assert "DTSTART;VALUE=DATE:20270221" in lines
    unfolded = text.replace("\r\n ", "")
    assert "a name\\, with\\; signs \\\\ and" in unfolded
    assert "Make a new one\\;\\nnow" in unfolded
    assert "\n" not in text.replace("\r\n", "")


def test_uids_stay_the_same_and_differ_between_ends() -> None:
    def uid(end: End) -> str:
        return next(line for line in icalendar([end], NOW).split("\r\n") if line.startswith("UID"))

    one = End("client_secret", ANN, NOW)
    assert uid(one) == uid(End("client_secret", ANN, NOW + timedelta(days=700)))
    assert uid(one) != uid(End("certificate", ANN, NOW))


def test_password_servers_meet_the_dates_of_the_rules() -> None:
    servers = [
        Server("a", "Office", "smtp.office365.com", authentication=Authentication.LOGIN, login=ANN),
        Server("b", "Office by token", "smtp.office365.com", authentication=Authentication.OAUTH, login=ANN),
        Server("c", "Gmail", "smtp.gmail.com", authentication=Authentication.LOGIN, login=ANN),
        Server("d", "Own", "mail.example.com", authentication=Authentication.LOGIN, login=ANN),
        Server("e", "Mailjet", "in-v3.mailjet.com", authentication=Authentication.LOGIN, login="key"),
    ]
    before = {f.facts["server"]: f for f in password_servers(servers, date(2026, 11, 23))}
    assert sorted(before) == ["a", "c"]
    assert before["a"].severity is Severity.WARNING
    assert "39 days from now" in before["a"].message
    assert (before["c"].severity, before["c"].code) == (Severity.NOTE, "auth.app_password")  # it works all the same
    after = {f.facts["server"]: f for f in password_servers(servers, date(2027, 1, 1))}
    assert after["a"].severity is Severity.ERROR
    assert after["a"].code == "auth.password_retired"
