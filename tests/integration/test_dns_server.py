"""The loopback name server, asked with dnspython as an independent client."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from mailops.testing.dns_server import DnsServer, ZoneError

ZONE = """
$ORIGIN example.com.
$TTL 60
@ SOA ns1 hostmaster 1 7200 900 1209600 30
@ NS ns1
@ TXT "v=spf1 -all"
ns1 A 192.0.2.53
*.w MX 10 mx
alias CNAME deep.alias
deep.alias CNAME @
loop CNAME pool
pool CNAME loop
"""


def ask(server: DnsServer, name: str, kind: str, *, tcp: bool = False, payload: int = 1232) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0, payload=payload)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, server.address[0], port=server.port, timeout=2)


def test_zone_text_wildcards_chains_and_negative_answers() -> None:
    with DnsServer(ZONE) as server:
        assert ask(server, "example.com", "TXT").answer[0].to_text() == 'example.com. 60 IN TXT "v=spf1 -all"'
        assert ask(server, "any.thing.w.example.com", "MX").answer[0][0].exchange.to_text() == "mx.example.com."
        chain = ask(server, "ALIAS.example.com", "TXT").answer
        assert [rrset.rdtype.name for rrset in chain] == ["CNAME", "CNAME", "TXT"]
        missing = ask(server, "nope.example.com", "A")
        assert missing.rcode() == dns.rcode.NXDOMAIN
        assert missing.authority[0].name.to_text() == "example.com."
        empty = ask(server, "w.example.com", "A")  # only a wildcard below it: it exists, without data
        assert empty.rcode() == dns.rcode.NOERROR
        assert not empty.answer
        assert len(ask(server, "loop.example.com", "A").answer) == 2


def test_large_answers_are_cut_over_udp_and_whole_over_tcp() -> None:
    with DnsServer({"big.example": ["TXT " + "x" * 3000]}) as server:
        assert ask(server, "big.example", "TXT").flags & dns.flags.TC
        whole = ask(server, "big.example", "TXT", tcp=True).answer[0][0]
        assert b"".join(whole.strings) == b"x" * 3000
        assert [len(part) for part in whole.strings] == [255] * 11 + [195]


def test_faults_come_and_go() -> None:
    with DnsServer({"a.example": ["A 192.0.2.1"], "f.example": [{"type": "MX", "fault": "servfail"}]}) as server:
        assert ask(server, "f.example", "MX").rcode() == dns.rcode.SERVFAIL
        assert ask(server, "f.example", "A").rcode() == dns.rcode.NOERROR
        server.fault("a.example", "A", "refused", times=1)
        assert ask(server, "a.example", "A").rcode() == dns.rcode.REFUSED
        assert ask(server, "a.example", "A").rcode() == dns.rcode.NOERROR
        server.fault("a.example", "ANY", "truncated")
        assert ask(server, "a.example", "A").flags & dns.flags.TC
        assert ask(server, "a.example", "A", tcp=True).answer
        server.fault("a.example", "ANY", "timeout")
        with pytest.raises(dns.exception.Timeout):
            dns.query.udp(dns.message.make_query("a.example", "A"), server.address[0], port=server.port, timeout=0.1)
        server.clear_faults()
        assert ask(server, "a.example", "A").rcode() == dns.rcode.NOERROR
        assert ask(server, "f.example", "MX").rcode() == dns.rcode.NXDOMAIN


def test_the_zone_changes_while_it_is_served() -> None:
    with DnsServer({"a.example": ["A 192.0.2.1"]}) as server:
        assert ask(server, "b.example", "A").rcode() == dns.rcode.NXDOMAIN
        server.add("b.example", "A 192.0.2.2")
        server.replace("a.example", "A", "A 192.0.2.9")
        assert ask(server, "b.example", "A").answer
        assert ask(server, "a.example", "A").answer[0][0].address == "192.0.2.9"
        server.remove("b.example")
        assert ask(server, "b.example", "A").rcode() == dns.rcode.NXDOMAIN
        assert server.asked("A") == ["b.example", "b.example", "a.example", "b.example"]


@pytest.mark.parametrize(
    "zone",
    [
        {"example.com": [{"type": "TXT", "strings": ["x" * 256]}]},
        {"a" * 64 + ".example": ["A 192.0.2.1"]},
        {"example.com": ["A 192.0.2.256"]},
        {"example.com": [{"type": "TXT", "fault": "sulks"}]},
        "example.com. MX nonsense",
    ],
)
def test_a_zone_that_does_not_encode_is_an_error_not_an_empty_answer(zone: object) -> None:
    with pytest.raises(ZoneError):
        DnsServer(zone)  # type: ignore[arg-type]  # wrong on purpose


def test_an_error_while_answering_is_raised_when_the_server_stops() -> None:
    server = DnsServer({"a.example": ["A 192.0.2.1"]}).start()
    server._data.records[next(iter(server._data.records))][1].rdatas = [object()]  # type: ignore[list-item]  # broken behind its back
    assert ask(server, "a.example", "A").rcode() == dns.rcode.SERVFAIL
    with pytest.raises(AttributeError):
        server.stop()
