"""Guides that end where mail leaves: Mailjet's server for mass mail alone, branches that open after real failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk
from test_oauth_guides import MailjetDouble

from mailops.guides.checks import Services
from mailops.guides.service import Guided, try_server
from mailops.model.verdict import VerdictState
from mailops.providers.mailjet import MailjetApi
from mailops.secrets import Secret
from mailops.smtp import SmtpTransport
from mailops.testing import SmtpServer
from mailops.testing.certs import Authority


@pytest.fixture
def mailjet() -> Iterator[MailjetDouble]:
    double = MailjetDouble("a" * 32, "b" * 32)
    thread = threading.Thread(target=double.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield double
    double.server.shutdown()
    thread.join()
    double.server.server_close()


@pytest.mark.req("MJ-08", "MJ-14", "MJ-23", "MJ-24", "OUT-20", "OUT-25")
def test_the_mailjet_guide_saves_a_server_for_mass_mail_alone(tmp_path: Path, mailjet: MailjetDouble) -> None:
    desk = Desk(tmp_path / "w")
    desk("company", "domain", "acme.com")
    desk("server", "add", "t", "--host", "mx.acme.com", "--filter", "team@acme.com, notifications@acme.com", "--priority", "1")  # fmt: skip
    authority = Authority(tmp_path / "ca")
    with SmtpServer(tls=authority.server_tls("starttls"), auth={"a" * 32: "b" * 32}) as smtp:
        ops = desk.ops()
        services = Services(
            mailjet=lambda key, reference: MailjetApi("a" * 32, Secret("b" * 32), base=mailjet.url),
            setup=lambda: ops.setup,
            test=lambda server: try_server(ops, server, SmtpTransport(ops.secrets, ops.clock)),
            server_overrides={"host": "localhost", "port": smtp.port, "ca_file": str(authority.ca_file)},
        )
        made = Guided.open(ops, "mailjet", "acme.com", services=services)
        made.submit("settings", {})
        made.submit("keys", {"api_key": "a" * 32, "secret_key": "b" * 32})
        made.submit("senders", {"sender_way": "domain", "domain": "acme.com", "senders": "a@acme.com, b@y.com"})
        mailjet.senders.append({"ID": 2, "Email": "*@acme.com", "Status": "Active"})
        made.submit("server", {})
        asked = made.check("server")
        assert (asked.state, asked.evidence["missing"]) == (
            VerdictState.FAILED,
            ["b@y.com"],
        )  # its domain is not verified
        made.submit("senders", {"sender_way": "domain", "domain": "acme.com", "senders": "a@acme.com"})
        made.submit("server", {})
        assert made.check("server").passed
        verdict = made.check("test")
        assert (verdict.state, "not prove" in verdict.fix) == (VerdictState.PASSED, True)
        [saved] = [s for s in ops.setup.servers if s.key != "t"]
        ops.close()
    assert (saved.from_filter, saved.mail_class, saved.priority) == ("acme.com", "mass", 20)
    assert desk.json("company", "list")["parameters"]["mailops.mass_mailing.server"] == saved.key
    assert desk.json("explain", "send", "--from", "Ann <ann@acme.com>", "--mass")["server"] == saved.key
    codes = [f["code"] for f in desk.json("server", "check")]
    assert not {"plan.mass_priority", "plan.mass_not_chosen", "plan.no_filter"} & set(codes)


@pytest.mark.req("GO-26", "AZ-28", "GO-29")
def test_a_branch_opens_for_the_code_within_the_text(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w")
    ops = desk.ops()
    made = Guided.open(ops, "outlook", "ann@acme.com")
    codes = {trouble.code for step in made.run.guide.steps for trouble in step.troubles if trouble.code}
    for code in sorted(codes)[:5]:
        alone = {t.code for _, t in made.run.explain(code)}
        assert code in {t.code for _, t in made.run.explain(f"{code} What the provider said about it.")} or not alone
        assert code not in {t.code for _, t in made.run.explain(f"x{code}y")}
    ops.close()
