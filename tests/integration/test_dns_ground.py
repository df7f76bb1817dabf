"""MX, PTR, TLS-RPT, BIMI, MTA-STS over real HTTPS, DANE and DNSSEC over really signed zones, and the watch."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.zone
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mailops.dns.dane import check_dane, judge_tlsa, tlsa_value
from mailops.dns.dnssec import Security, Validation, Validator
from mailops.dns.mtasts import PolicyFetcher, check_mtasts, parse_policy
from mailops.dns.mx import check_mx, check_reverse
from mailops.dns.published import Presence, Watch, authoritative_servers, compare, look
from mailops.dns.records import ZoneRecord
from mailops.dns.resolver import DnsRun, Resolver
from mailops.dns.tag_records import check_bimi, check_tlsrpt
from mailops.testing.dns_server import DnsServer
from mailops.testing.dns_world import dns_world

# -- MX and reverse ----------------------------------------------------------------------------------------------------

MX_ZONE = {
    "good.example": ["MX 10 mx1.good.example.", "MX 20 mx2.good.example."],
    "mx1.good.example": ["A 192.0.2.1"],
    "mx2.good.example": ["AAAA 2001:db8::2"],
    "null.example": ["MX 0 ."],
    "both.example": ["MX 0 .", "MX 10 mx1.good.example."],
    "none.example": ["TXT x"],
    "implicit.example": ["A 192.0.2.9"],
    "alias.example": ["MX 10 www.alias.example."],
    "www.alias.example": ["CNAME mx1.good.example."],
    "ip.example": ["MX 10 192.0.2.1."],
    "gone.example": ["MX 10 mx.gone.example."],
    "down.example": [{"type": "MX", "fault": "servfail"}],
    "half.example": ["MX 10 mx.half.example."],
    "mx.half.example": [{"type": "ANY", "fault": "refused"}],
    "1.2.0.192.in-addr.arpa": ["PTR mx1.good.example."],
    "7.2.0.192.in-addr.arpa": ["PTR mx1.good.example."],
    "8.2.0.192.in-addr.arpa": [{"type": "PTR", "fault": "refused"}],
}


@pytest.mark.parametrize(
    ("domain", "code"),
    [("good", "mx.ok"), ("null", "mx.null"), ("both", "mx.null_with_others"), ("none", "mx.missing"), ("implicit", "mx.missing"),
     ("alias", "mx.target_is_alias"), ("ip", "mx.target_is_address"), ("gone", "mx.target_without_address"),
     ("down", "mx.unknown"), ("half", "mx.target_unknown")],
)  # fmt: skip
def test_mx(domain: str, code: str) -> None:
    with dns_world(MX_ZONE, timeout=0.8) as (_, run):
        assert code in {result.code for result in run.do(lambda r: check_mx(r, f"{domain}.example"))}


@pytest.mark.parametrize(
    ("ip", "result"), [("192.0.2.1", "pass"), ("192.0.2.7", "fail"), ("192.0.2.99", "fail"), ("192.0.2.8", "temperror")]
)
def test_forward_confirmed_reverse(ip: str, result: str) -> None:
    with dns_world(MX_ZONE, timeout=0.8) as (_, run):
        assert run.do(lambda r: check_reverse(r, ip)).result == result


# -- tag records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "code"),
    [(["TXT v=TLSRPTv1; rua=mailto:t@a.example"], "tlsrpt.ok"), (["TXT v=TLSRPTv1; rua=t@a.example"], "tlsrpt.bad_rua"), ([], "tlsrpt.missing"),
     (["TXT v=TLSRPTv1; rua=mailto:t@a.example", "TXT v=TLSRPTv1;rua=https://a.example/t"], "tlsrpt.multiple"),
     ([{"type": "TXT", "fault": "servfail"}], "tlsrpt.unknown")],
)  # fmt: skip
def test_tlsrpt(records: list[object], code: str) -> None:
    with dns_world({"_smtp._tls.a.example": records}, timeout=0.8) as (_, run):  # type: ignore[dict-item]  # mixed forms
        assert run.do(lambda r: check_tlsrpt(r, "a.example")).code == code


@pytest.mark.parametrize(
    ("record", "policy", "code"),
    [("v=BIMI1; l=https://a.example/l.svg", "v=DMARC1; p=reject", "bimi.ok"),
     ("v=BIMI1; l=https://a.example/l.svg", "v=DMARC1; p=none", "bimi.policy_not_enforced"),
     ("v=BIMI1; l=http://a.example/l.svg", "v=DMARC1; p=reject", "bimi.bad_logo"),
     ("v=BIMI1; l=;", "v=DMARC1; p=reject", "bimi.declined")],
)  # fmt: skip
def test_bimi(record: str, policy: str, code: str) -> None:
    with dns_world({"default._bimi.a.example": [f"TXT {record}"], "_dmarc.a.example": [f"TXT {policy}"]}) as (_, run):
        assert run.do(lambda r: check_bimi(r, "a.example")).code == code


# -- MTA-STS over real HTTPS -------------------------------------------------------------------------------------------


def certificate(host: str, folder: Path) -> tuple[Path, Path, bytes]:
    """A throwaway self-signed certificate: file with both parts, CA file, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    both, ca = folder / f"{host}.pem", folder / f"{host}.ca.pem"
    both.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()) + pem)
    ca.write_bytes(pem)
    return both, ca, made.public_bytes(Encoding.DER)


@contextmanager
def https(pem: Path, status: int, body: bytes) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/.well-known/mta-sts.txt" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]  # a refused certificate is expected here
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: *.a.example\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("status", "body", "mx", "name", "code"),
    [(200, POLICY, "mx1.a.example", "mta-sts.a.example", "mtasts.enforce"),
     (200, POLICY.replace(b"enforce", b"testing"), "mx1.a.example", "mta-sts.a.example", "mtasts.testing"),
     (200, POLICY, "deep.mx1.a.example", "mta-sts.a.example", "mtasts.mx_not_covered"),
     (200, b"mode: enforce", "mx1.a.example", "mta-sts.a.example", "mtasts.bad_policy"),
     (301, POLICY, "mx1.a.example", "mta-sts.a.example", "mtasts.bad_status"),
     (200, POLICY, "mx1.a.example", "other.a.example", "mtasts.certificate")],
)  # fmt: skip
def test_mtasts_policy(status: int, body: bytes, mx: str, name: str, code: str, tmp_path: Path) -> None:
    zone = {
        "_mta-sts.a.example": ["TXT v=STSv1; id=20261123"],
        "mta-sts.a.example": ["A 127.0.0.1"],
        "a.example": [f"MX 10 {mx}."],
    }
    pem, ca, _ = certificate(name, tmp_path)
    with https(pem, status, body) as port, dns_world(zone) as (_, run):
        fetcher = PolicyFetcher(port, str(ca), 5)
        assert [one.code for one in run.do(lambda r: check_mtasts(r, "a.example", fetcher))] == [code]


def test_policy_files_are_read_with_all_mistakes() -> None:
    policy = parse_policy(b"version: STSv2\nmode: on\nmax_age: \xd9\xa3\n:::\nnonsense\n")
    assert len(policy.mistakes) == 5


# -- DNSSEC and DANE ---------------------------------------------------------------------------------------------------


def signed(text: str, origin: str) -> tuple[str, str]:
    """A zone signed with throwaway keys: its text and its DS."""
    zone = dns.zone.from_text(text, origin, relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    ends = datetime.now(UTC) + timedelta(days=1)
    with zone.writer() as writer:
        dns.dnssec.sign_zone(zone, writer, [(key, dnskey)], add_dnskey=True, dnskey_ttl=300, expiration=ends)
    return zone.to_text(relativize=False), dns.dnssec.make_ds(dns.name.from_text(origin), dnskey, "SHA256").to_text()


CHILD = """@ 300 IN SOA ns1 host 1 7200 900 1209600 30
@ 300 IN NS ns1
@ 300 IN MX 10 mx
mx 300 IN A 127.0.0.1
_25._tcp.mx 300 IN TLSA {tlsa}
"""
PARENT = """@ 300 IN SOA ns1 host 1 7200 900 1209600 30
@ 300 IN NS ns1
a 300 IN NS ns1.a
a 300 IN DS {ds}
plain 300 IN NS ns1.plain
"""
PLAIN = "plain.example. 300 IN SOA ns1 host 1 7200 900 1209600 30\nplain.example. 300 IN TXT unsigned\n"


def test_a_signed_zone_with_tlsa_validates_and_a_tampered_one_does_not(tmp_path: Path) -> None:
    _, _, der = certificate("mx.a.example", tmp_path)
    _, _, other = certificate("mx.other.example", tmp_path)
    child, ds = signed(CHILD.format(tlsa=tlsa_value(der)), "a.example.")
    parent, anchor = signed(PARENT.format(ds=ds), "example.")
    with dns_world(f"{parent}\n{child}\n{PLAIN}") as (server, run):

        def validate(name: str, kind: str, anchors: dict[str, tuple[str, ...]] | None = None) -> Validation:
            return run.do(lambda r: Validator(r, anchors or {"example": (anchor,)}).validate(name, kind))

        good = validate("_25._tcp.mx.a.example", "TLSA")
        assert good.security is Security.SECURE, good.reason
        assert good.chain == ("a.example", "example")
        assert validate("plain.example", "TXT").security is Security.INSECURE
        assert validate("a.example", "MX", {"a.example": (ds,)}).security is Security.SECURE
        assert validate("a.example", "MX", {"a.example": (anchor,)}).security is Security.BOGUS
        assert validate("a.example", "MX", {"test": (anchor,)}).security is not Security.SECURE

        def dane(cert: bytes) -> str:
            job = {"mx.a.example": cert}
            return run.do(lambda r: check_dane(r, Validator(r, {"example": (anchor,)}), "a.example", certificates=job))[
                0
            ].code

        assert dane(der) == "dane.ok"
        assert dane(other) == "dane.mismatch"
        server.replace("_25._tcp.mx.a.example", "TLSA", f"TLSA {tlsa_value(other)}")
        run.resolver._answers.clear()
        tampered = validate("_25._tcp.mx.a.example", "TLSA")
        assert tampered.security is Security.BOGUS
        assert dane(other) == "dane.bogus"
        server.remove("_25._tcp.mx.a.example", "RRSIG")
        assert validate("_25._tcp.mx.a.example", "TLSA").security is Security.BOGUS


def test_tlsa_values() -> None:
    assert judge_tlsa("3 1 1 " + "ab" * 32) == ""
    assert "usage 1" in judge_tlsa("1 1 1 " + "ab" * 32)
    assert "digits" in judge_tlsa("3 1 1 abcd")


# -- published? --------------------------------------------------------------------------------------------------------

TXT = ZoneRecord("acme.com", "TXT", "mj-verify=abc123")
KEY = ZoneRecord("odoo._domainkey.acme.com", "CNAME", "odoo._domainkey.odoo.com")


@pytest.mark.req("MJ-16")
@pytest.mark.parametrize(
    ("entries", "presence"),
    [
        (["TXT mj-verify=abc123", "TXT other"], Presence.PRESENT),
        (["TXT v=spf1 -all"], Presence.ABSENT),
        ([], Presence.ABSENT),
        (["TXT mj-verify=abc999"], Presence.DIFFERENT),
        ([{"type": "TXT", "fault": "servfail"}], Presence.UNKNOWN),
    ],
)
def test_a_pasted_host_and_value_is_present_absent_or_different(entries: list[object], presence: Presence) -> None:
    with dns_world({"acme.com": entries}, timeout=0.8) as (_, run):  # type: ignore[dict-item]  # mixed forms
        assert compare(TXT, run.do(lambda r: r.ask(TXT.name, TXT.type))).presence is presence


@pytest.mark.req("DKIM-04")
def test_a_target_counts_with_and_without_its_final_dot() -> None:
    with dns_world({KEY.name: ["CNAME odoo._domainkey.odoo.com."]}) as (_, run):
        for value in ("odoo._domainkey.odoo.com", "odoo._domainkey.odoo.com."):
            seen = compare(ZoneRecord(KEY.name, "CNAME", value), run.do(lambda r: r.ask(KEY.name, "CNAME")))
            assert seen.presence is Presence.PRESENT


def test_the_watch_asks_every_authoritative_server_and_does_not_flip() -> None:
    old = {"acme.com": ["TXT v=spf1 -all", "NS ns1.acme.com.", "NS ns2.acme.com."]}
    with DnsServer(old) as one, DnsServer(old) as two, DnsRun(Resolver([one.address], timeout=0.8)) as run:
        ends = {"ns1.acme.com": one.address, "ns2.acme.com": two.address}
        servers = run.do(lambda r: authoritative_servers(r, "acme.com", ends))
        assert servers == ends
        watch = Watch()

        def step() -> str:
            return watch.see(run.do(lambda r: look(r, servers, [TXT])))

        assert step() == "published on 0 of 2 name servers"
        one.add("acme.com", "TXT mj-verify=abc123")
        assert step() == "published on 1 of 2 name servers"
        assert watch.pause > 5
        two.add("acme.com", "TXT mj-verify=abc123")
        assert "once more" in step()
        assert not watch.published
        assert step() == "published on all 2 name servers; old answers may be cached for up to 5 min"
        two.fault("acme.com", "TXT", "servfail")
        step()
        assert watch.published
