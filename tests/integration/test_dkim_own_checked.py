"""The domain check knows the keys that mailops signs with: published, right, and the next one; the fix proposes the
record, and publishing it clears the finding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, peer

from mailops.model.mail import Submission
from mailops.testing import DnsServer, SmtpServer
from mailops.testing.dkim_keys import dkim_key_pair

DOMAIN = "acme.example"
ZONE = {
    DOMAIN: [f"SOA ns.{DOMAIN}. h.{DOMAIN}. 1 3600 600 86400 120", f"NS ns.{DOMAIN}.", "TXT v=spf1 ip4:192.0.2.7 -all"],
    f"ns.{DOMAIN}": ["A 127.0.0.1"],
    f"_dmarc.{DOMAIN}": [f"TXT v=DMARC1; p=none; rua=mailto:post@{DOMAIN}"],
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Desk, DnsServer, SmtpServer]]:
    with DnsServer(ZONE) as names, SmtpServer() as smtp:
        host, port = names.address
        toml = f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n{peer(smtp.port)}'
        desk = Desk(tmp_path / "w", toml=toml)
        desk("company", "domain", DOMAIN)
        desk("server", "add", "own", "--host", "127.0.0.1", "--port", str(smtp.port), "--encryption", "none",
             "--filter", DOMAIN)  # fmt: skip
        yield desk, names, smtp


def keys_of(desk: Desk, status: int = 0) -> dict[str, dict[str, Any]]:
    """What the check says of each key, by the beginning of its name."""
    told = desk.json("domain", "check", DOMAIN, status=status)
    return {row["subject"].partition(".")[0]: row for row in told["results"] if row["check"] == "dkim"}


def add(names: DnsServer, rows: list[dict[str, str]]) -> None:
    for row in rows:
        names.add(row["name"], {"type": row["type"], "text": row["value"]})


def signed(desk: Desk, smtp: SmtpServer) -> bool:
    with closing(desk.ops()) as ops:
        raw = f"From: ann@{DOMAIN}\r\nTo: bob@x.example\r\nSubject: Hi\r\n\r\nHello\r\n".encode()
        ops.queue.submit(Submission(raw=raw, envelope_to=("bob@x.example",)))
        ops.queue.run()
    return b"DKIM-Signature" in smtp.messages[-1].data


@pytest.mark.req("DKIM-01", "DNS-05")
def test_a_first_key_waits_until_its_record_is_seen(place: tuple[Desk, DnsServer, SmtpServer]) -> None:
    desk, names, smtp = place
    made = desk.json("dkim", "add", DOMAIN, "s1")
    assert (made["state"], made["then"]) == ("next", f"mailops dkim activate {DOMAIN} s1")
    assert not signed(desk, smtp)
    row = keys_of(desk)["s1"]
    assert (row["code"], row["state"], row["expected"]) == ("dkim.own_waiting", "warning", made["value"])
    assert made["then"] in row["fix"]
    assert "not published" in desk("dkim", "activate", DOMAIN, "s1", status=2)
    [change] = [row for row in desk.json("domain", "fix", DOMAIN)["changes"] if row["check"] == "dkim"]
    assert change["publish"] == [{"name": made["name"], "type": "TXT", "value": made["value"]}]
    add(names, change["publish"])
    row = keys_of(desk)["s1"]
    assert (row["code"], row["state"]) == ("dkim.own_ready", "passed")
    desk("dkim", "activate", DOMAIN, "s1")
    assert signed(desk, smtp)
    assert keys_of(desk)["s1"]["code"] == "dkim.own_ok"


def test_a_key_may_sign_before_its_record_is_seen_when_that_is_said(place: tuple[Desk, DnsServer, SmtpServer]) -> None:
    desk, names, smtp = place
    assert "until it is published its signatures fail" in desk("dkim", "add", DOMAIN, "s1", "--unseen")
    assert signed(desk, smtp)
    row = keys_of(desk, status=1)["s1"]
    assert (row["code"], row["state"]) == ("dkim.own_missing", "failed")
    add(names, row["publish"])
    assert keys_of(desk)["s1"]["code"] == "dkim.own_ok"


@pytest.mark.req("DKIM-01")
def test_another_key_at_the_name_is_told_and_replaced(place: tuple[Desk, DnsServer, SmtpServer]) -> None:
    desk, names, _ = place
    other = dkim_key_pair()[1]
    names.add(f"s1._domainkey.{DOMAIN}", {"type": "TXT", "text": other})
    desk("dkim", "add", DOMAIN, "s1", "--unseen")
    row = keys_of(desk, status=1)["s1"]
    assert row["code"] == "dkim.own_other"
    assert [one["value"] for one in row["remove"]] == [other]
    assert row["publish"][0]["value"] == row["expected"] != other


def test_the_next_selector_is_a_check_of_its_own_and_the_former_one_a_note(
    place: tuple[Desk, DnsServer, SmtpServer],
) -> None:
    desk, names, _ = place
    for selector in ("s1", "s2"):
        desk("dkim", "add", DOMAIN, selector)
        add(names, keys_of(desk)[selector]["publish"])
        desk("dkim", "activate", DOMAIN, selector)
    desk("dkim", "add", DOMAIN, "s3")
    found = {name: (row["code"], row["state"]) for name, row in keys_of(desk).items()}
    assert found == {
        "s1": ("dkim.own_former", "passed"),
        "s2": ("dkim.own_ok", "passed"),
        "s3": ("dkim.own_waiting", "warning"),
    }
    shown = desk("domain", "check", DOMAIN, "--selector", "s2")  # named besides: still one check
    assert shown.count("the key s2") == 1


def test_a_service_and_an_own_key_stand_side_by_side(place: tuple[Desk, DnsServer, SmtpServer]) -> None:
    desk, _, _ = place
    desk("dkim", "add", DOMAIN, "s1")
    told = desk.json("domain", "check", DOMAIN, "--service", "google", status=1)
    assert {"dkim.own_waiting", "dkim.no_record"} <= {row["code"] for row in told["results"]}


def test_the_notebook_page_shows_the_record_and_its_proof(place: tuple[Desk, DnsServer, SmtpServer]) -> None:
    from mailops.widgets import DomainView

    desk, names, _ = place
    made = desk.json("dkim", "add", DOMAIN, "s1")
    with closing(desk.ops()) as ops:
        view = DomainView(ops, ops.domains.of(ops.setup, DOMAIN))
        assert made["value"] in view.text()
        assert "Proved" in view.text()
        names.add(made["name"], {"type": "TXT", "text": made["value"]})
        view = view.other(view.setup)
        assert made["then"] in view.text()
