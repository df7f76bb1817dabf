"""Whose the sources of aggregate reports are: by DNS, by a person's mark that is kept, on all three faces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.cli.app import run as run_cli
from mailops.demo.names import ask_here
from mailops.testing.dns_server import DnsServer
from mailops.widgets import SourcesCard, TlsView

Cli = Callable[..., tuple[int, Any]]
DOMAIN = "acme.example"
ZONE = {
    DOMAIN: ["TXT v=spf1 ip4:192.0.2.25 include:spf.mailjet.com include:spf.partner.example ~all", "MX 10 mx.acme.example."],
    "mx.acme.example": ["A 192.0.2.26"],
    "spf.mailjet.com": ["TXT v=spf1 include:all.mailjet.example -all"],
    "all.mailjet.example": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
    "spf.partner.example": ["TXT v=spf1 ip4:203.0.113.64/26 -all"],
    "_spf.google.com": ["TXT v=spf1 ip4:203.0.113.128/26 -all"],
    "8.2.0.192.in-addr.arpa": ["PTR shop.acme.example."],
    "shop.acme.example": ["A 192.0.2.8"],
    "9.2.0.192.in-addr.arpa": ["PTR mail.acme.example."],  # says so, and does not lead back
    "mail.acme.example": ["A 192.0.2.25"],
    "10.2.0.192.in-addr.arpa": ["PTR o1.ptr.sendgrid.net."],
    "o1.ptr.sendgrid.net": ["A 192.0.2.10"],
    "11.2.0.192.in-addr.arpa": ["PTR lists.school.example."],
    "lists.school.example": ["A 192.0.2.11"],
    "9.2.0.192.origin.asn.cymru.com": ["TXT 64500 | 192.0.2.0/24 | ZZ | test | 2026-01-01"],
}  # fmt: skip
ROW = (
    "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>"
    "<dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>"
    "<identifiers><header_from>acme.example</header_from></identifiers></record>"
)
SOURCES = {
    "192.0.2.25": (100, "pass", "pass"), "192.0.2.26": (9, "pass", "pass"), "198.51.100.7": (80, "pass", "pass"),
    "203.0.113.70": (5, "fail", "pass"), "203.0.113.130": (4, "fail", "fail"), "192.0.2.8": (7, "fail", "fail"),
    "192.0.2.9": (60, "fail", "fail"), "192.0.2.10": (3, "fail", "fail"), "192.0.2.11": (2, "pass", "fail"),
}  # fmt: skip


def written(folder: Path, kinds: dict[str, tuple[int, str, str]] = SOURCES) -> Path:
    folder.mkdir(exist_ok=True)
    rows = "".join(ROW.format(ip=ip, count=n, dkim=dkim, spf=spf) for ip, (n, dkim, spf) in kinds.items())
    (folder / "r.xml").write_text(
        "<feedback><report_metadata><org_name>r.example</org_name><email>a@r.example</email><report_id>1</report_id>"
        "<date_range><begin>1767225600</begin><end>1767312000</end></date_range></report_metadata>"
        f"<policy_published><domain>{DOMAIN}</domain><p>none</p></policy_published>{rows}</feedback>"
    )
    return folder


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as running:
        yield running


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], server: DnsServer) -> Ops:
    made = ops_factory()
    ask_here(made.workspace.path / "mailops.toml", server.port)
    written(made.workspace.path / "dmarc")
    return made


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Any]]:
    def run(ops: Ops, *words: str) -> tuple[int, Any]:
        monkeypatch.setattr("sys.argv", ["mailops", "-w", str(ops.workspace.path), "dmarc", *words, "--json"])
        with pytest.raises(SystemExit) as end:
            run_cli()
        return int(end.value.code or 0), json.loads(capsys.readouterr().out)

    return run


EXPECTED = {
    "192.0.2.25": ("yours", "your server"),
    "192.0.2.26": ("yours", "your server"),
    "198.51.100.7": ("service", "Mailjet"),
    "203.0.113.70": ("permitted", "spf.partner.example"),
    "203.0.113.130": ("service", "Google Workspace"),
    "192.0.2.8": ("yours", "your server"),
    "192.0.2.9": ("stranger", ""),
    "192.0.2.10": ("service", "SendGrid"),
    "192.0.2.11": ("forwarder", "a forwarder (lists.school.example)"),
}


def test_each_source_is_named_for_its_own_reason(ops: Ops, cli: Cli) -> None:
    code, shown = cli(ops, "sources", str(ops.workspace.path / "dmarc"))
    assert code == 1, "a stranger sends"
    found = {one["ip"]: one for one in shown["sources"]}
    assert {ip: (one["kind"], one["who"]) for ip, one in found.items()} == EXPECTED
    assert [one["ip"] for one in shown["sources"]][:2] == ["192.0.2.25", "198.51.100.7"], "largest first"
    assert found["192.0.2.25"]["reason"] == "the SPF record of acme.example permits it (ip4:192.0.2.25)"
    assert found["192.0.2.26"]["reason"] == "it is mx.acme.example, a mail server of acme.example"
    assert "no SPF of yours" in found["203.0.113.130"]["reason"]
    assert (found["192.0.2.9"]["name"], found["192.0.2.9"]["confirmed"]) == ("mail.acme.example", False)
    assert found["192.0.2.9"]["network"] == "", "nobody else is told the addresses unless asked for"


def test_the_network_of_a_source_is_asked_for_on_request(ops: Ops, server: DnsServer, cli: Cli) -> None:
    _, shown = cli(ops, "sources", str(ops.workspace.path / "dmarc"), "--asn")
    found = {one["ip"]: one["network"] for one in shown["sources"]}
    assert found["192.0.2.9"] == "AS64500 192.0.2.0/24"
    assert found["192.0.2.8"] == ""


def test_a_name_server_that_is_silent_makes_nobody_a_stranger(ops: Ops, server: DnsServer, cli: Cli) -> None:
    server.fault("9.2.0.192.in-addr.arpa", "PTR", "timeout")
    _, shown = cli(ops, "sources", str(ops.workspace.path / "dmarc"), "--timeout", "0.3")
    assert next(one for one in shown["sources"] if one["ip"] == "192.0.2.9")["kind"] == "unknown"


def test_a_mark_is_kept_and_what_is_not_mine_counts_against_nobody(ops: Ops, cli: Cli) -> None:
    folder = str(ops.workspace.path / "dmarc")
    code, before = cli(ops, "report", folder)
    assert code == 0, "what nobody has claimed counts against nobody"
    code, made = cli(ops, "mark", "192.0.2.9", "--not-mine", "--note", "spoofer")
    assert (code, made) == (0, [{"source": "192.0.2.9/32", "mark": "not mine", "note": "spoofer"}])
    cli(ops, "mark", "192.0.2.8/29", "--mine")
    code, after = cli(ops, "report", folder)
    assert code == 1, "two of the own sources do not pass"
    verdicts = [next(v for v in shown["verdicts"] if v["check"] == "dmarc.reports") for shown in (before, after)]
    assert "196 of 270" in verdicts[0]["title"]
    assert "196 of 210" in verdicts[1]["title"]
    assert "60 mails of sources marked not yours do not count" in verdicts[1]["found"]
    assert "192.0.2.9" not in str(verdicts[1]["evidence"])
    marks = {one["source_ip"]: one["mark"] for one in after["sources"]}
    assert (marks["192.0.2.9"], marks["192.0.2.8"], marks["192.0.2.25"]) == ("not mine", "mine", "")
    again = Ops.open(ops.workspace.path)  # kept, and the nearest mark counts
    reports = again.dmarc.read()
    found = {one.ip: one for one in again.domains.sources.of(reports.surviving, reports.domains)}
    again.close()
    assert (found["192.0.2.9"].kind, found["192.0.2.9"].note) == ("not mine", "spoofer")
    assert (found["192.0.2.10"].kind, found["192.0.2.10"].who) == ("mine", "SendGrid")
    cli(ops, "mark", "192.0.2.9", "--forget")
    _, kept = cli(ops, "marks")
    assert [one["source"] for one in kept] == ["192.0.2.8/29"]


@pytest.mark.parametrize("place", ["", "acme.example", "192.0.2.300", "0.0.0.0/0", "::/8", "10.0.0.0/4"])
def test_what_is_no_source_is_not_marked(ops: Ops, place: str, cli: Cli) -> None:
    code, shown = cli(ops, "mark", place, "--mine")
    assert (code, shown["code"]) == (2, "input.source")
    assert cli(ops, "marks")[1] == []


def test_one_word_is_said_of_a_source(ops: Ops, cli: Cli) -> None:
    assert cli(ops, "mark", "192.0.2.9")[1]["code"] == "input.mark"
    assert cli(ops, "mark", "192.0.2.9", "--mine", "--not-mine")[1]["code"] == "input.mark"


def test_the_card_marks_what_is_ticked_after_a_preview(ops: Ops) -> None:
    reports = ops.dmarc.read()
    card = SourcesCard(ops, reports)
    assert "stranger" in card.text()
    card.widget  # noqa: B018 (builds the live face)
    number = 1 + [one.ip for one in card.found].index("192.0.2.9")
    card.table.widget.selected = [number]
    preview = next(action for action in card.actions.actions if action.label == "Not Mine").preview()
    assert preview.run is not None
    assert "not mine" in preview.sentence
    assert ops.domains.sources.marks() == (), "a preview changes nothing"
    assert preview.run(lambda _: None) == "192.0.2.9: not mine."
    card.refresh()
    assert "marked not mine" in card.text()


TLS = {
    "organization-name": "Receiver", "report-id": "t1", "date-range": {}, "contact-info": "tls@receiver.example",
    "policies": [{
        "policy": {"policy-type": "sts", "policy-domain": DOMAIN},
        "summary": {"total-successful-session-count": 198, "total-failure-session-count": 2},
        "failure-details": [{"result-type": "certificate-expired", "receiving-mx-hostname": "mx.acme.example",
                             "sending-mta-ip": "192.0.2.77", "failed-session-count": 2}],
    }],
}  # fmt: skip


def test_tls_reports_stand_beside_dmarc_reports_and_have_a_card(ops: Ops) -> None:
    (ops.workspace.path / "dmarc" / "tls.json").write_text(json.dumps(TLS))
    tls = ops.dmarc.tls()
    assert tls.refused == (), "an aggregate report in the same folder is no bad file"
    card = TlsView(tls)
    for shown in (card.text(), card.html()):
        for word in ("99.0%", "certificate-expired", "mx.acme.example", "192.0.2.77"):
            assert word in shown
    files = ops.dmarc.read().verdicts()[0]
    assert (files.state, files.title) == ("passed", "Every file was read")


def test_the_notebook_tells_whose_the_sources_are_and_what_was_encrypted(ops: Ops) -> None:
    from mailops.jobs import run_notebook

    (ops.workspace.path / "dmarc" / "tls.json").write_text(json.dumps(TLS))
    result = run_notebook("dmarc_reports", workspace=ops.workspace)
    page = (result.folder / "report.html").read_text("utf-8")
    for word in ("Whose the sources are", "Mailjet", "a forwarder", "certificate-expired", "Encrypted as asked"):
        assert word in page
