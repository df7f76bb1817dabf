"""The ground: MTA-STS fetched in check and proof, slips in the small records, DANE, reverse names, unreachable hosts."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dns_kit import DOMAIN, Zone, codes, mended, proposals, report, row_of, text, values, zone
from typer.testing import CliRunner

from mailops.cli.app import app
from mailops.dns.dane import judge_tlsa
from mailops.dns.domain import check_domain
from mailops.dns.domain_model import SendingSetup
from mailops.dns.mtasts import PolicyFetcher
from mailops.testing.certs import Authority
from mailops.testing.dns_server import DnsServer
from mailops.testing.dns_world import dns_world

STS = {f"_mta-sts.{DOMAIN}": ["TXT v=STSv1; id=20261129"], f"mta-sts.{DOMAIN}": ["A 127.0.0.1"]}
TLSRPT = {f"_smtp._tls.{DOMAIN}": [f"TXT v=TLSRPTv1; rua=mailto:tls@{DOMAIN}"]}
POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: *.acme.example\r\nmax_age: {age}\r\n"


def cli(where: Zone, *words: str) -> tuple[int, str]:
    with DnsServer(where) as server:  # type: ignore[arg-type]  # mixed forms
        host, port = server.address
        done = CliRunner().invoke(app, ["domain", *words, "--resolver", f"{host}:{port}", "--timeout", "1"])
    return done.exit_code, done.output


@contextmanager
def policy_host(folder: Path, mode: str = "enforce", age: int = 604_800) -> Iterator[PolicyFetcher]:
    authority = Authority(folder / f"ca-{mode}-{age}")
    made = authority.server("valid", f"mta-sts.{DOMAIN}")
    body = POLICY.format(mode=mode, age=age).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certfile, made.keyfile)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield PolicyFetcher(server.server_address[1], str(authority.ca_file), 3)
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def ground(where: Zone, fetcher: PolicyFetcher | None = None, **options: Any) -> dict[str, Any]:
    with dns_world(where, timeout=1.0) as (_, run):  # type: ignore[arg-type]  # mixed forms
        made = SendingSetup(DOMAIN, **options)
        return run.do(lambda resolver: check_domain(resolver, made, ground=True, fetcher=fetcher)).as_dict()


def test_the_command_line_fetches_the_policy() -> None:
    _, out = cli(zone({**STS, **TLSRPT}), "check", DOMAIN, "--all", "--json")
    found = {row["code"] for row in json.loads(out)["results"]}
    assert "mtasts.not_fetched" not in found
    assert "mtasts.unreachable" in found  # nothing listens on port 443 here: it was tried


def test_another_fix_is_proved_with_the_policy_in_sight(tmp_path: Path) -> None:
    with policy_host(tmp_path) as fetcher:
        shown = ground(zone(STS), fetcher)
    row = row_of(shown, "tlsrpt.missing")
    assert not row["withheld"]
    assert values(row) == [(f"_smtp._tls.{DOMAIN}", "TXT", f"v=TLSRPTv1; rua=mailto:postmaster@{DOMAIN}")]


@pytest.mark.parametrize("four", [[], ["A 192.0.2.1"]])
def test_every_address_of_the_policy_host_is_tried(four: list[str], tmp_path: Path) -> None:
    where = zone({**STS, f"mta-sts.{DOMAIN}": [*four, "AAAA ::ffff:127.0.0.1"]})
    with policy_host(tmp_path) as fetcher:
        shown = ground(where, PolicyFetcher(fetcher.port, fetcher.ca_file, 1))
    assert "mtasts.enforce" in {row["code"] for row in shown["results"]}


def test_a_policy_that_is_forgotten_at_once_is_no_pass(tmp_path: Path) -> None:
    with policy_host(tmp_path, age=60) as fetcher:
        shown = ground(zone({**STS, **TLSRPT}), fetcher)
    assert [row["state"] for row in shown["results"] if row["check"] == "mtasts"] == ["warning"]


SMALL = {
    "quotes typed": (f"_mta-sts.{DOMAIN}", '"v=STSv1; id=1"', "v=STSv1; id=1"),
    "lower case": (f"_smtp._tls.{DOMAIN}", "v=tlsrptv1; rua=mailto:t@acme.example", "v=TLSRPTv1; rua=mailto:t@acme.example"),
    "lost semicolon": (f"_smtp._tls.{DOMAIN}", "v=TLSRPTv1 rua=mailto:t@acme.example", "v=TLSRPTv1; rua=mailto:t@acme.example"),
    "version lost": (f"_smtp._tls.{DOMAIN}", "rua=mailto:t@acme.example", "v=TLSRPTv1; rua=mailto:t@acme.example"),
    "version misspelt": (f"_smtp._tls.{DOMAIN}", "v=TLSRTPv1; rua=mailto:t@acme.example", "v=TLSRPTv1; rua=mailto:t@acme.example"),
    "policy id alone": (f"_mta-sts.{DOMAIN}", "id=20260101", "v=STSv1; id=20260101"),
    "without digit": (f"_mta-sts.{DOMAIN}", "v=STS; id=20260101", "v=STSv1; id=20260101"),
    "bare address": (f"_smtp._tls.{DOMAIN}", "v=TLSRPTv1; rua=t@acme.example", "v=TLSRPTv1; rua=mailto:t@acme.example"),
    "logo in quotes": (f"default._bimi.{DOMAIN}", '"v=BIMI1; l=https://acme.example/l.svg"', "v=BIMI1; l=https://acme.example/l.svg"),
}  # fmt: skip


@pytest.mark.parametrize("slip", SMALL)
def test_slips_in_the_small_records_are_mended_with_their_values(slip: str) -> None:
    name, written, right = SMALL[slip]
    where = zone({name: [text(written)], f"_dmarc.{DOMAIN}": ["TXT v=DMARC1; p=reject"]})
    before, _, after = mended(where, {"_m": "mtasts", "_s": "tlsrpt", "de": "bimi"}[name[:2]], ground=True)
    rows = [row for row in proposals(before) if values(row)[0][0] == name]
    assert rows, [(row["code"], row["title"]) for row in before["results"]]
    assert values(rows[0]) == [(name, "TXT", right)]
    assert rows[0]["code"] not in codes(after)


@pytest.mark.parametrize(
    ("place", "name", "record"),
    [
        (DOMAIN, f"_smtp._tls.{DOMAIN}", "v=TLSRPTv1; rua=mailto:t@acme.example"),
        (f"smtp.tls.{DOMAIN}", f"_smtp._tls.{DOMAIN}", "v=TLSRPTv1; rua=mailto:t@acme.example"),
        (f"_mta-sts.{DOMAIN}.{DOMAIN}", f"_mta-sts.{DOMAIN}", "v=STSv1; id=1"),
    ],
)
def test_a_small_record_at_the_wrong_name_is_moved(place: str, name: str, record: str) -> None:
    where = zone()
    where[place] = [*where.get(place, []), f"TXT {record}"]
    before, after_zone, _ = mended(
        where, name.split(".")[0].strip("_").replace("smtp", "tlsrpt").replace("-", ""), ground=True
    )
    rows = [row for row in proposals(before) if row["publish"] and values(row)[0][0] == name]
    assert rows, [(row["code"], row["title"]) for row in before["results"]]
    assert values(rows[0]) == [(name, "TXT", record)]
    assert values(rows[0], "remove") == [(place, "TXT", record)]
    assert f"TXT {record}" not in after_zone.get(place, [])


@pytest.mark.parametrize(
    ("address", "state"),
    [("127.0.0.1", "failed"), ("10.0.0.5", "failed"), ("169.254.1.1", "failed"), ("100.64.0.1", "failed"),
     ("192.0.2.25", "passed"), ("8.8.8.8", "passed")],
)  # fmt: skip
def test_a_mail_server_nobody_can_reach_is_no_pass(address: str, state: str) -> None:
    where = zone({f"mx.{DOMAIN}": [f"A {address}"]})
    rows = [row for row in report(where, ground=True)["results"] if row["check"] == "mx"]
    assert [row["state"] for row in rows] == [state]


def test_dane_and_reverse_names_are_shown_by_the_check() -> None:
    where = zone(
        {f"_25._tcp.mx.{DOMAIN}": ["TLSA 3 1 1 " + "ab" * 32], "25.2.0.192.in-addr.arpa": [f"PTR mx.{DOMAIN}."]}
    )
    shown = report(where, ground=True, service="odoo", spf_terms=("ip4:192.0.2.25", "ip4:192.0.2.26"))
    checks = {(row["check"], row["subject"]): row["state"] for row in shown["results"]}
    assert ("dane", f"_25._tcp.mx.{DOMAIN}") in checks
    assert checks["reverse", "192.0.2.25"] == "passed"
    assert checks["reverse", "192.0.2.26"] == "failed"


def test_the_command_line_takes_sending_addresses() -> None:
    code, out = cli(zone(), "check", DOMAIN, "--all", "--ip", "192.0.2.77", "--json")
    assert code == 1
    row = next(row for row in json.loads(out)["results"] if row["check"] == "reverse")
    assert row["subject"] == "192.0.2.77"


@pytest.mark.parametrize("value", ["3 1 1 zz" + "a" * 62, "3 1 0 xyz", "3 1 1 "])
def test_tlsa_data_has_to_be_hexadecimal(value: str) -> None:
    assert judge_tlsa(value)


REJECT: Zone = zone({f"_dmarc.{DOMAIN}": ["TXT v=DMARC1; p=reject"]})


def test_explain_reads_a_display_name() -> None:
    words = ["explain", "--ip", "198.51.100.9", "--json"]
    plain = cli(REJECT, *words, "--from", f"ann@{DOMAIN}")
    for written in (f"Ann <ann@{DOMAIN}>", f'"Doe, Ann" <ann@{DOMAIN}>', f"<ann@{DOMAIN}>"):
        assert cli(REJECT, *words, "--from", written)[0] == plain[0] == 0
        assert json.loads(cli(REJECT, *words, "--from", written)[1])["spf"]["domain"] == DOMAIN


@pytest.mark.parametrize("written", ["Ann <ann>", "ann@", f"a@{DOMAIN}>, b@{DOMAIN}", "Ann <ann@acme .example>"])
def test_explain_refuses_what_is_no_address(written: str) -> None:
    with DnsServer(REJECT) as server:  # type: ignore[arg-type]  # mixed forms
        host, port = server.address
        words = ["domain", "explain", "--ip", "198.51.100.9", "--from", written, "--resolver", f"{host}:{port}"]
        done = CliRunner().invoke(app, words)
    assert getattr(done.exception, "code", "") == "input.address"


@pytest.mark.parametrize("held", [[], ["TXT v=TLSRPTv1; rua=nonsense"]])
def test_a_tls_report_record_never_stands_beside_an_alias(held: list[str]) -> None:
    name, host = f"_smtp._tls.{DOMAIN}", "tls.host.example"
    where = zone({name: [f"CNAME {host}."], **({host: held} if held else {})})
    before, _, after = mended(where, "tlsrpt", ground=True)
    row = proposals(before, "tlsrpt")[0]
    assert values(row, "remove") == [(name, "CNAME", host)]
    assert host in " ".join(row["loses"])
    assert "tlsrpt.ok" in {one["code"] for one in after["results"]}
