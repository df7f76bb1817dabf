"""One voice: in every combination of hosting, domains and servers, all faces agree with one another.

Per set-up: explain, the wire, readiness, server check, domain check, what the gateway makes of mail to the technical
addresses, and the relay of a customer's answer. Where mail cannot leave, each of them says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from desk import Desk, head, peer

from mailops.errors import RouteError
from mailops.model.setup import Authentication, Encryption, Server
from mailops.testing import DnsServer, SmtpServer
from mailops.threads.service import Entry

HOSTED = "company-name.odoo.com"
SERVERS = ("none", "own", "mailjet", "microsoft", "google", "cli")
SERVICE = {"own": "", "mailjet": "mailjet", "microsoft": "microsoft365", "google": "google"}
BOX = "notifications@one.com"


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def server(kind: str, smtp: SmtpServer, domains: list[str]) -> Server | None:
    """The record of one way of sending; the provider is named, the host is the peer's."""
    held = {"microsoft": BOX, "google": BOX}.get(kind, ", ".join(domains) or None)
    names = {"own": None, "mailjet": "mailjet", "microsoft": "outlook", "google": "gmail"}
    if kind == "cli":
        return Server("cli", "cli", authentication=Authentication.CLI, from_filter=", ".join([HOSTED, *domains]))
    if kind not in names:
        return None
    return Server(
        kind, kind, "127.0.0.1", smtp.port, Encryption.NONE, from_filter=held, provider=names[kind], timeout=5.0
    )  # type: ignore[arg-type]


@pytest.mark.req(
    "GEN-01", "GEN-03", "GEN-07", "OUT-02", "OUT-06", "OUT-08", "OUT-38", "OUT-45", "OUT-47", "OUT-53", "IN-21"
)
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("own", [0, 1, 2])
@pytest.mark.parametrize("hosting", ["online", "sh", "on_premise"])
def test_all_faces_say_the_same(tmp_path: Path, smtp: SmtpServer, hosting: str, own: int, kind: str) -> None:
    toml = peer(smtp.port) if kind in ("none", "cli") else ""
    desk = Desk(tmp_path / "w", hosting=hosting, toml=toml + '\n[dns]\nresolvers = ["127.0.0.1:9"]\ntimeout = 0.2\n')
    domains = ["one.com", "two.com"][:own]
    with closing(desk.ops()) as ops:
        for n, name in enumerate(domains):
            ops.change_alias_domain(name)
            ops.change_company(f"c{n}", email=f"info@{name}", domain=name)
        record = server(kind, smtp, domains)
        if record is not None:
            ops.save_server(record)
        setup = ops.setup
        speaks = domains[0] if domains else HOSTED if hosting != "on_premise" else None
        report, codes = ops.readiness(dns=False), {f.code for f in ops.findings()}
        assert report.addresses.notification == (f"notifications@{speaks}" if speaks else None)
        assert report.addresses.reply_to == (f"catchall@{speaks}" if speaks else None)
        if kind in ("own", "mailjet", "microsoft", "google") and not own and hosting != "on_premise":
            # an external server cannot send as the hosted subdomain: explain says so, and so do check and readiness
            with pytest.raises(RouteError) as refused:
                ops.explain(sender="Mary <mary@customer.example.com>")
            assert refused.value.code == "route.hosted_domain_external"
            assert {"plan.hosted_domain_external", "plan.single_mismatch"} & codes
            assert not report.ready
            return
        told = ops.explain(sender="Mary <mary@customer.example.com>")
        before = len(smtp.messages)
        mail = ops.send(sender="Mary <mary@customer.example.com>", to="b@x.example", subject="s", text="t", urgent=True)
        assert len(smtp.messages) == before + 1, ops.queue.mail(mail)
        got = smtp.messages[-1]
        # explain and the wire
        assert head(got.data, "From").replace('"', "") == str(told.header_from).replace('"', "")
        assert got.envelope_from == told.envelope_from
        assert head(got.data, "Reply-To").replace('"', "") == str(told.reply_to or "").replace('"', "")
        assert (ops.explain_mail(mail).envelope_from, ops.explain_mail(mail).changed) == (told.envelope_from, False)
        if told.rewritten:
            assert str(told.header_from).endswith(f"<{report.addresses.notification}>")
            assert told.reply_to == '"Mary" <mary@customer.example.com>'
        # thread relays speak as the same address
        record_id = ops.threads.create_record("lead", "Order")
        ben = ops.threads.add_contact("Ben", "ben@x.example")
        ops.threads.add_contact("Mary", "mary@customer.example.com")
        ops.threads.follow(record_id, ben)
        posted = ops.threads.post(record_id, Entry("Hello", author_email="Ann <ann@x.example>"))
        ops.queue.run()
        raw = "From: Mary <mary@customer.example.com>\r\nTo: {}\r\nSubject: s\r\nMessage-ID: <{}@c.example>\r\n{}\r\nYes\r\n"
        if speaks:
            answer = raw.format(f"catchall@{speaks}", "a", f"In-Reply-To: {posted.message_id}\r\n")
            assert ops.inbound.receive(answer.encode()).kind == "reply"
            ops.queue.run()
            got = smtp.messages[-1]
            assert head(got.data, "From") == f'"Mary" <{report.addresses.notification}>'
            assert head(got.data, "Reply-To").endswith(f"<{report.addresses.reply_to}>")
            assert got.envelope_from == told.envelope_from
        # and the gateway makes a record of none of the technical addresses
        for n, address in enumerate(
            filter(None, (report.addresses.notification, report.addresses.reply_to, report.addresses.bounce))
        ):
            assert ops.inbound.receive(raw.format(address, n, "").encode(), fallback_model="lead").kind not in (
                "create",
                "update",
            )
        # the domain check looks at the service that carried the mail
        for name in domains:
            asked = ops.domains.of(setup, name)
            hosted_sends = (
                kind in ("none", "cli") and hosting != "on_premise" and not setup.profile.default_server.configured
            )
            assert asked.service == ("odoo" if hosted_sends else SERVICE.get(kind, ""))
            assert asked.hosting == hosting
        # no blocking finding of the plan where the mail left, but for the missing way in
        blocking = {f.code for f in report.findings if f.severity == "blocking"}
        assert blocking <= {"inbound.no_method", "plan.no_fallback", "plan.single_mismatch"}
        assert ("inbound.no_method" in blocking) == bool(domains or hosting == "on_premise")


ZONE = {
    **{
        f"{n}.com": [f"SOA ns.{n}.com. h.{n}.com. 1 3600 600 86400 120", f"NS ns.{n}.com.", f"MX 5 mx.{n}.com."]
        for n in ("one", "two")
    },
    **{f"mx.{n}.com": ["A 192.0.2.25"] for n in ("one", "two")},
}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.mark.req("GEN-01", "GEN-05", "DNS-04", "OUT-44", "OUT-45", "OUT-47")
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("own", [1, 2])
@pytest.mark.parametrize("hosting", ["online", "sh", "on_premise"])
def test_the_command_line_says_the_same_of_the_records(
    tmp_path: Path, smtp: SmtpServer, dns: DnsServer, hosting: str, own: int, kind: str
) -> None:
    """With records missing: who sends, what is to be published, and which task says so, agree; nowhere are the hosted
    server's records asked for where another one sends."""
    host, port = dns.address
    toml = peer(smtp.port) if kind == "cli" else ""
    desk = Desk(tmp_path / "w", hosting=hosting, toml=toml + f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 2.0\n')
    domains = ["one.com", "two.com"][:own]
    with closing(desk.ops()) as ops:
        for n, name in enumerate(domains):
            ops.change_alias_domain(name)
            ops.change_company(f"c{n}", email=f"info@{name}", domain=name)
        record = server(kind, smtp, domains)
        if record is not None:
            ops.save_server(record)
    ready = desk.json("server", "readiness", status=1)
    tasks = {task["id"]: task for task in ready["tasks"]}
    speaking = {
        c["key"]: f"{c['alias_domain']['default_from']}@{c['alias_domain']['name']}"
        for c in desk.json("company", "list")["companies"]
    }
    assert speaking == {f"c{n}": f"notifications@{name}" for n, name in enumerate(domains)}
    assert ready["addresses"]["notification"] == speaking["c0"]
    for n, name in enumerate(domains):
        way = kind != "none" or hosting != "on_premise"  # else nothing can leave, and both say so
        asked = ("explain", "send", "--from", "Mary <mary@customer.example.com>", "--company", f"c{n}")
        told = desk.json(*asked, status=0 if way else 2)
        assert way or told["code"] == "route.no_server"
        assert not way or told["from_after"].endswith(f"<notifications@{name}>")
        assert ("plan.no_server" in {f["code"] for f in ready["findings"]}) is not way
        report = desk.json("domain", "check", name, status=1)
        hosted = kind == "none" and hosting != "on_premise"
        assert report["service"] == ("odoo" if hosted else SERVICE.get(kind, ""))
        wanted = " ".join(str(one) for one in report["results"])
        assert ("_spf.odoo.com" in wanted) is hosted
        for key, include in (("mailjet", "spf.mailjet.com"), ("google", "_spf.google.com")):
            assert (include in wanted) is (kind == key)
        assert (f"dns.spf:{name}" in tasks) is (ready["outgoing"] == "hosted")
        assert ("_spf.odoo.com" in str(tasks.get(f"dns.spf:{name}"))) is (ready["outgoing"] == "hosted")
        assert (f"dns.provider:{name}" in tasks) is (ready["outgoing"] == "own")
