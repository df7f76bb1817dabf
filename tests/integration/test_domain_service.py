"""Domains over time on a loopback name server: kept, compared, watched; the command line's answers and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.cli.app import run as run_cli
from mailops.demo.names import ask_here, write_reports, zone
from mailops.domains import folded
from mailops.domains.service import Waiting
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.jobs import run_notebook
from mailops.model.setup import AliasDomain
from mailops.model.verdict import VerdictState
from mailops.testing import ManualClock
from mailops.testing.dns_server import DnsServer

DOMAIN = "northwind.example"
SPF = "v=spf1 include:_spf.odoo.com mx ip4:203.0.113.40 -all"
DMARC = f"v=DMARC1; p=none; rua=mailto:postmaster@{DOMAIN}"


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(zone(), ttl=60) as running:
        yield running


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], server: DnsServer) -> Ops:
    made = ops_factory(clock=ManualClock(datetime(2026, 5, 4, 8, tzinfo=UTC)))
    ask_here(made.workspace.path / "mailops.toml", server.port)
    return made


def publish(server: DnsServer) -> None:
    server.replace(DOMAIN, "TXT", f"TXT {SPF}")
    server.add(f"_dmarc.{DOMAIN}", f"TXT {DMARC}")


def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    if words[1] in ("check", "fix", "export", "watch") and "--service" not in words:
        words = (*words, "--service", "odoo")  # nobody sends in this workspace yet
    monkeypatch.setattr("sys.argv", ["mailops", *words])
    with pytest.raises(SystemExit) as end:
        run_cli()
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


def test_a_check_asks_whom_the_settings_name_and_is_kept(ops: Ops, server: DnsServer) -> None:
    report = ops.domains.check(ops.domains.setup(DOMAIN))
    assert report.asked_of == f"127.0.0.1:{server.port} (given)"
    (kept,) = ops.domains.history(DOMAIN)
    assert kept.at == ops.clock.now()
    assert kept.state == "failed"
    assert {row["code"] for row in kept.report["results"]} == report.codes()


def test_two_dates_are_compared(ops: Ops, server: DnsServer) -> None:
    ops.domains.check(ops.domains.setup(DOMAIN))
    monday = ops.clock.now()
    publish(server)
    ops.clock.sleep(86_400)
    ops.domains.check(ops.domains.setup(DOMAIN))
    older, newer, changed = ops.domains.compare(DOMAIN)
    assert newer.at - older.at == timedelta(days=1)
    told = {(one.kind, one.check) for one in changed}
    assert {("gone", "spf"), ("gone", "dmarc"), ("record", "spf")} <= told
    assert not any(kind == "new" for kind, _ in told)
    back = ops.domains.compare(DOMAIN, older=ops.clock.now(), newer=monday)[2]
    assert {("new", "spf"), ("new", "dmarc")} <= {(one.kind, one.check) for one in back}
    with pytest.raises(NotFound) as error:
        ops.domains.compare(DOMAIN, older=monday - timedelta(days=1))
    assert error.value.code == "dns.no_history"


def test_spf_and_dkim_both_missing_are_proved_together(ops: Ops, server: DnsServer) -> None:
    """Each alone would leave mail that fails DMARC; the proposal for both is offered."""
    server.remove(f"odoo._domainkey.{DOMAIN}")
    report = ops.domains.check(ops.domains.setup(DOMAIN))
    spf = report.result("spf")
    assert spf.proved
    assert f"odoo._domainkey.{DOMAIN}" in spf.verdict.evidence["proof"]["together"]
    for change in report.changes:
        for gone in change.remove:
            server.remove(gone.name, gone.type)
        for record in change.publish:
            server.add(record.name, f"{record.type} {record.rdata}")
    assert ops.domains.check(ops.domains.setup(DOMAIN)).green


# --- watching ---------------------------------------------------------------------------------------------------------


class Steps:
    """Publishes while the clock of the watch sleeps: the watch itself is never touched."""

    def __init__(self, ops: Ops, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
        acting, sleep = iter(acts), ops.clock.sleep

        def step(seconds: float) -> None:
            sleep(seconds)
            next(acting, lambda: None)()

        monkeypatch.setattr(ops.clock, "sleep", step)


def watch(ops: Ops, limit: float = 3600) -> list[Waiting]:
    return list(ops.domains.watch(ops.domains.setup(DOMAIN), limit=limit))


def test_a_watch_ends_when_all_name_servers_have_the_records_and_the_check_agrees(
    ops: Ops, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = zone()
    with DnsServer(records, ttl=60) as second:
        server.add(DOMAIN, f"NS ns2.{DOMAIN}.")
        with (ops.workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
            file.write(f'"ns2.{DOMAIN}" = "127.0.0.1:{second.port}"\n')
        Steps(ops, monkeypatch, lambda: publish(server), lambda: None, lambda: publish(second))
        steps = watch(ops)
    assert [step.line for step in steps[:3]] == [
        "published on 0 of 2 name servers",
        "published on 1 of 2 name servers",
        "published on 1 of 2 name servers",
    ]
    assert all(not step.report.green for step in steps[:-1]), "one server of two is not published"
    assert (steps[-1].cleared, steps[-1].report.green) == (True, True)
    assert [step.cleared for step in steps].count(True) == 1, "no flip-flop"
    pauses = [step.pause for step in steps[:2]]
    assert 0 < pauses[0] <= pauses[1] or pauses[1] == 2.0
    assert ops.domains.history(DOMAIN)[0].state == "passed"


def test_a_watch_is_bounded_by_its_limit(ops: Ops) -> None:
    steps = watch(ops, limit=120)
    assert steps[-1].done
    assert not steps[-1].cleared
    assert "not published within 2 min" in steps[-1].line
    assert sum(step.pause for step in steps) <= 120
    pauses = [step.pause for step in steps[:-1]]
    assert pauses == sorted(pauses)
    assert len(pauses) > 2


def test_another_record_that_serves_as_well_ends_the_watch(
    ops: Ops, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> None:
        server.replace(DOMAIN, "TXT", "TXT v=spf1 mx include:_spf.odoo.com -all")
        server.add(f"_dmarc.{DOMAIN}", f"TXT v=DMARC1; p=quarantine; rua=mailto:d@{DOMAIN}")

    Steps(ops, monkeypatch, other)
    last = watch(ops)[-1]
    assert (last.cleared, last.line) == (True, "every check passes now")


# --- the notebooks ----------------------------------------------------------------------------------------------------


def test_the_notebook_is_a_job_with_verdicts_and_a_gate(ops: Ops, server: DnsServer) -> None:
    ops.save_alias_domain(AliasDomain(DOMAIN))
    broken = run_notebook("domain_dns", {"service": "odoo"}, workspace=ops.workspace.path, timeout=120)
    text = broken.report.read_text("utf-8") if broken.report else ""
    assert (broken.exit_code, "spf" in broken.message) == (1, True)
    assert SPF in text
    assert "Proved: after publishing this, SPF" in text
    publish(server)
    mended = run_notebook("domain_dns", {"service": "odoo"}, workspace=ops.workspace.path, timeout=120)
    assert mended.exit_code == 0, mended.message
    assert "no longer wrong" in (mended.report.read_text("utf-8") if mended.report else "")


@pytest.mark.req("DMARC-01", "DMARC-06", "SPF-08", "DKIM-09", "DNSP-01", "DNSP-02")
def test_what_belongs_below_the_cards_is_there(ops: Ops, server: DnsServer) -> None:
    publish(server)
    done = run_notebook("domain_dns", {"service": "odoo", "domain": DOMAIN}, workspace=ops.workspace.path, timeout=120)
    assert done.report is not None
    text = done.report.read_text("utf-8")
    assert "A pass is no promise: receivers apply rules of their own" in text
    for link in (
        "https://mxtoolbox.com/spf.aspx",
        "https://mxtoolbox.com/dkim.aspx",
        "https://www.mail-tester.com/",
        "https://www.mail-tester.com/spf/",
        "https://dmarc.org/",
    ):
        assert f'href="{link}"' in text
    assert f"paste {DOMAIN}:odoo" in text
    assert "send one mail from your system to the address it shows" in text
    assert "DMARC joins SPF and DKIM and tells receivers what to do with failures" in text


def test_the_job_waits_for_the_records_at_most_its_minutes(ops: Ops, server: DnsServer) -> None:
    parameters = {"service": "odoo", "domain": DOMAIN, "watch_minutes": 0.02}
    waited = run_notebook("domain_dns", parameters, workspace=ops.workspace.path, timeout=120)
    assert waited.exit_code == 1
    assert "Waited: Not published within 1 s" in (waited.report.read_text("utf-8") if waited.report else "")


def test_dmarc_reports_as_a_job(ops: Ops) -> None:
    none = run_notebook("dmarc_reports", {}, workspace=ops.workspace.path, timeout=120)
    assert none.exit_code == 1
    assert "There is no DMARC report to look at" in (none.report.read_text("utf-8") if none.report else "")
    write_reports(ops.workspace.path / "dmarc", datetime(2026, 5, 4, tzinfo=UTC))
    strict = run_notebook("dmarc_reports", {}, workspace=ops.workspace.path, timeout=120)
    text = strict.report.read_text("utf-8") if strict.report else ""
    assert strict.exit_code == 0, strict.message  # strangers whom the policy keeps off are told, and fail nobody
    assert "192.0.2.200" in text
    assert "cut-off.xml.gz" in text
    loose = run_notebook("dmarc_reports", {"limit": 0.5}, workspace=ops.workspace.path, timeout=120)
    assert loose.exit_code == 0, loose.message


# --- the command line -------------------------------------------------------------------------------------------------


def test_check_fix_export_history_compare_and_watch(
    ops: Ops, server: DnsServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILOPS_WORKSPACE", str(ops.workspace.path))
    code, out, _ = cli(capsys, monkeypatch, "domain", "check", DOMAIN)
    assert code == 1
    assert f"expected: {SPF}" in out
    code, out, _ = cli(capsys, monkeypatch, "domain", "check", DOMAIN, "tools.example", "--json")
    broken, fine = json.loads(out)
    assert (code, broken["green"], fine["green"]) == (1, False, True)
    code, out, _ = cli(capsys, monkeypatch, "domain", "fix", DOMAIN)
    assert code == 0
    assert "Name, where the panel appends the domain: _dmarc\n" in out
    assert f"Name, where it does not: _dmarc.{DOMAIN}\n" in out
    assert "Proved: after publishing this, SPF no longer has this finding" in out
    code, out, _ = cli(capsys, monkeypatch, "domain", "fix", DOMAIN, "--json")
    assert {row["publish"][0]["value"] for row in json.loads(out)["changes"]} == {SPF, DMARC}
    forms = {"zone": "IN TXT", "octodns": "values:", "terraform": "dns_txt_record_set", "panel": "Type: TXT"}
    forms |= {"cloudflare": "cloudflare_dns_record", "route53": "aws_route53_record"}
    for form, mark in forms.items():
        code, out, _ = cli(capsys, monkeypatch, "domain", "export", DOMAIN, "--format", form)
        assert (code, mark in out) == (0, True), form
        assert "take away: @ IN TXT" in out
    code, out, _ = cli(capsys, monkeypatch, "domain", "watch", DOMAIN, "--minutes", "0")
    assert code == 1
    assert "published on 0 of 1 name servers" in out
    publish(server)
    code, out, _ = cli(capsys, monkeypatch, "domain", "check", DOMAIN)
    assert (code, "in order" in out) == (0, True)
    code, out, _ = cli(capsys, monkeypatch, "domain", "compare", DOMAIN)
    assert (code, "gone" in out) == (0, True)
    code, out, _ = cli(capsys, monkeypatch, "domain", "history", DOMAIN, "--json")
    assert json.loads(out)[0]["state"] == "passed"
    code, out, _ = cli(capsys, monkeypatch, "domain", "compare", DOMAIN, "--json")
    assert json.loads(out)["differences"]


def test_explain_tells_what_a_policy_would_do(
    ops: Ops, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILOPS_WORKSPACE", str(ops.workspace.path))
    send = ("domain", "explain", "--from", "ann@tools.example", "--ip", "198.51.100.9")
    code, out, _ = cli(capsys, monkeypatch, *send)
    assert code == 0
    assert "SPF of tools.example: pass" in out
    code, out, _ = cli(capsys, monkeypatch, *send, "--bounce", "x@elsewhere.example", "--json")
    assert code == 1
    assert json.loads(out)["what_if"]["reject"] != json.loads(out)["what_if"]["none"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("check", "not a domain"), "input.domain"),
        (("check", "ann@example.com bob@example.com"), "input.domain"),
        (("check", "example.com", "--resolver", "somewhere"), "input.resolver"),
        (("check", "example.com", "--resolver", "127.0.0.1:99999"), "input.resolver"),
        (("check", "example.com", "--service", "pigeon"), "dns.unknown_service"),
        (("export", "example.com", "--format", "clay"), "input.format"),
        (("explain", "--from", "nobody", "--ip", "192.0.2.1"), "input.address"),
        (("explain", "--from", "a@b.example", "--ip", "here"), "input.ip"),
        (("compare", "example.com", "--from", "yesterday"), "input.date"),
        (("compare", "example.com"), "dns.no_history"),
    ],
)
def test_bad_input_is_told_with_its_code(
    ops: Ops,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: str,
) -> None:
    monkeypatch.setenv("MAILOPS_WORKSPACE", str(ops.workspace.path))
    status, out, _ = cli(capsys, monkeypatch, "domain", *words, "--json")
    assert (status, json.loads(out)["code"]) == (2, code)


def test_without_a_workspace_a_check_works_and_nothing_is_kept(
    server: DnsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAILOPS_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    status, out, _ = cli(
        capsys, monkeypatch, "domain", "check", "tools.example", "--resolver", f"127.0.0.1:{server.port}"
    )
    assert (status, "in order" in out) == (0, True)
    assert list(tmp_path.iterdir()) == []
    status, _, err = cli(capsys, monkeypatch, "domain", "compare", "tools.example")
    assert (status, "workspace.not_found" in err) == (2, True)


def test_dmarc_report_reads_every_wrapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reports(tmp_path / "dmarc", datetime(2026, 5, 4, tzinfo=UTC))
    status, out, _ = cli(capsys, monkeypatch, "dmarc", "report", str(tmp_path / "dmarc"), "--json")
    told: dict[str, Any] = json.loads(out)
    assert (status, told["reports"], len(told["refused"])) == (0, 12, 1)
    assert told["messages"] > told["passed"] > 0
    by_source = {row["source_ip"]: row["verdict"] for row in told["sources"]}
    assert by_source["198.51.100.17"] == "permitted"
    assert by_source["192.0.2.77"] == "known"
    assert by_source["192.0.2.200"] == "without permission"
    status, out, _ = cli(capsys, monkeypatch, "dmarc", "report", str(tmp_path / "dmarc"), "--limit", "1")
    assert (status, "pass DMARC" in out) == (0, True)
    twice = [str(tmp_path / "dmarc"), str(tmp_path / "dmarc"), "--limit", "1", "--json"]
    status, out, _ = cli(capsys, monkeypatch, "dmarc", "report", *twice)
    again = json.loads(out)
    assert (again["messages"], again["repeated"]) == (told["messages"], 12)
    (tmp_path / "empty").mkdir()
    assert cli(capsys, monkeypatch, "dmarc", "report", str(tmp_path / "empty"))[0] == 2


def test_a_warning_does_not_cover_a_failure_of_the_same_check(ops: Ops, server: DnsServer) -> None:
    server.add(DOMAIN, "TXT v=spf1 ptr -all")
    report = ops.domains.check(ops.domains.setup(DOMAIN))
    verdicts = folded(report.results)
    spf = [verdict for verdict in verdicts if verdict.check == "spf"]
    assert [verdict.state for verdict in spf] == [VerdictState.FAILED]
    assert len({(verdict.check, verdict.subject) for verdict in verdicts}) == len(verdicts)


def test_errors_of_the_service(ops: Ops) -> None:
    from mailops.domains import Domains

    with pytest.raises(InputRefused):
        ops.domains.setup("localhost")
    with pytest.raises(NotFound):
        ops.domains.first(ops.setup)
    with pytest.raises(ConfigError):
        Domains(ops.clock).history(DOMAIN)
