"""Rows that were replayed by hand with other values, and what was not met then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk

from mailops.testing import DnsServer, SmtpServer

APEX = "SOA ns.{0}. h.{0}. 1 3600 600 86400 120"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    zone = {
        "org": [APEX.format("org"), "NS ns.org."],
        "com": [APEX.format("com"), "NS ns.com."],
        "tin-whistle.org": [APEX.format("tin-whistle.org"), "NS ns.tin-whistle.org."],
    }
    with DnsServer(zone) as server:
        yield server


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def at(folder: Path, dns: DnsServer | None = None, hosting: str = "online") -> Desk:
    host, port = dns.address if dns else ("127.0.0.1", 9)
    toml = f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n'
    return Desk(folder, hosting=hosting, database="quay", toml=toml)


def own(desk: Desk, smtp: SmtpServer) -> Desk:
    desk("company", "domain", "tin-whistle.org")
    where = ("--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none")
    desk("server", "add", "day", *where, "--filter", "tin-whistle.org")
    return desk


@pytest.mark.req("OUT-09")
def test_a_domain_that_dns_denies_is_to_be_bought_says_its_check_too(tmp_path: Path, dns: DnsServer) -> None:
    desk = at(tmp_path / "w", dns)
    desk("company", "domain", "nobody-owns.org")
    first = desk.json("domain", "check", "nobody-owns.org", status=1)["results"][0]
    assert (first["code"], first["state"]) == ("domain.absent", "failed")
    assert "GoDaddy" in first["fix"]
    assert "Namecheap" in first["fix"]
    told = desk.json("domain", "check", "tin-whistle.org", status=1)["results"]
    assert "domain.absent" not in {one["code"] for one in told}


@pytest.mark.req("DNS-02")
def test_only_the_database_s_own_subdomain_is_managed(tmp_path: Path, dns: DnsServer) -> None:
    desk = at(tmp_path / "w", dns)
    assert {one["code"] for one in desk.json("domain", "check", "quay.odoo.com")["results"]} == {"managed"}
    for name in ("other.odoo.com", "notquay.odoo.com"):
        (told,) = desk.json("domain", "check", name, status=1)["results"]
        assert (told["code"], told["state"]) == ("hosted.other", "failed")
    premise = at(tmp_path / "p", dns, "on_premise")
    assert premise.json("domain", "check", "quay.odoo.com", status=1)["results"][0]["code"] == "hosted.other"


@pytest.mark.req("OUT-25")
def test_the_list_of_servers_marks_the_dedicated_one(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = own(at(tmp_path / "w", hosting="on_premise"), smtp)
    desk("server", "add", "bulk", "--host", "127.0.0.1", "--priority", "20", "--filter", "tin-whistle.org")
    assert "Dedicated Server" not in desk("server", "list")
    desk("company", "parameter", "mailops.mass_mailing.server", "bulk")
    (line,) = [line for line in desk("server", "list").splitlines() if line.startswith("bulk")]
    assert "Dedicated Server" in line
    assert {s["key"]: s["dedicated"] for s in desk.json("server", "list")} == {"day": False, "bulk": True}


@pytest.mark.req("IN-34")
def test_a_verification_that_was_not_ended_stands_in_the_readiness(tmp_path: Path, smtp: SmtpServer) -> None:
    desk = own(at(tmp_path / "w", hosting="on_premise"), smtp)
    desk("domain", "senders", "tin-whistle.org", "--begin")
    codes = [f["code"] for f in desk.json("server", "readiness", status=1)["findings"]]
    assert "verification.pending" in codes
    desk("domain", "senders", "tin-whistle.org", "--restore")
    codes = [f["code"] for f in desk.json("server", "readiness", status=1)["findings"]]
    assert "verification.pending" not in codes


@pytest.mark.req("FAQ-02")
@pytest.mark.parametrize("urgent", [True, False])
def test_a_mail_may_go_when_it_has_left(tmp_path: Path, smtp: SmtpServer, urgent: bool) -> None:
    desk = own(at(tmp_path / "w", hosting="on_premise"), smtp)
    mail = ("--from", "a@tin-whistle.org", "--to", "b@x.example", "--subject", "s", "--text", "t", "--auto-delete")
    told = desk.json("send", *mail, *(["--urgent"] if urgent else []))
    if urgent:
        assert told == {"id": 1, "state": "sent", "removed": True}
    else:
        desk("queue", "run")
    assert smtp.accepted == 1
    assert "no mail 1" in desk("queue", "show", "1", status=2)
    assert [line["kind"] for line in desk.json("queue", "history", "1")] == ["submitted", "sent"]
    assert len(desk.json("queue", "rates")) > 0


@pytest.mark.req("OUT-02", "GEN-03")
def test_a_mail_without_a_from_is_not_from_none(tmp_path: Path) -> None:
    desk = at(tmp_path / "w")
    desk("send", "--to", "b@x.example", "--subject", "s", "--text", "t")
    for said in (desk("queue", "show", "1"), desk("queue", "list")):
        assert "None" not in said
        assert "the notification address" in said


@pytest.mark.req("IN-22")
def test_online_has_the_one_subdomain_that_was_chosen(tmp_path: Path) -> None:
    desk = at(tmp_path / "w")
    assert "quay.odoo.com" in desk("company", "domain", "harbour.odoo.com", status=2)
    desk("company", "domain", "quay.odoo.com", "--catchall", "answers", "--yes")
    at(tmp_path / "s", hosting="sh")("company", "domain", "harbour.odoo.com", "--yes")


@pytest.mark.req("IN-18", "ERR-04")
@pytest.mark.parametrize(
    ("body", "said"), [("", "no error"), ("Sorry.", "no error (Sorry.)"), ("qux 7", "no error (qux 7)")]
)
def test_the_queue_says_no_error_of_what_nobody_can_interpret(
    tmp_path: Path, smtp: SmtpServer, body: str, said: str
) -> None:
    desk = own(at(tmp_path / "w", hosting="on_premise"), smtp)
    desk("send", "--from", "a@tin-whistle.org", "--to", "gone@x.example", "--subject", "s", "--text", "t")
    desk("queue", "run")
    report = tmp_path / "report.eml"
    report.write_bytes(
        b"From: MAILER-DAEMON <mailer-daemon@x.example>\r\nTo: bounce@tin-whistle.org\r\nSubject: Undelivered\r\n"
        b"Message-ID: <r@x.example>\r\nReferences: <%b>\r\n\r\n%b\r\n"
        % (smtp.messages[0].message_id.strip("<>").encode(), body.encode())
    )
    desk("bounces", "take", str(report))
    told = desk.json("queue", "show", "1")["mail"]
    assert told["failure_reason"] == f"Came back from gone@x.example: {said}"
    (one,) = told["deliveries"]
    assert (one["state"], one["code"], one["enhanced"]) == ("bounced", None, None)  # never as the success it was first
    assert (one["reply"] or "") == (body or "no error")
    assert said in desk("queue", "list")
