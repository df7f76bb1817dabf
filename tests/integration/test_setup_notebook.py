"""The notebook *setup*: every form saves what the command line saves, and the page has the documentation's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, head, peer

from mailops import Ops
from mailops.testing import SmtpServer
from mailops.widgets import SetupView
from mailops.widgets.form import Form


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def press(card: Any, **values: str) -> str:
    """Fill in the form of a card and press its button, as the browser does; what is shown below it."""
    forms = [card] if isinstance(card, Form) else [c for c in card.cards if isinstance(c, Form)]
    form = next(f for f in forms if set(values) <= {name for name, _, _ in f.fields})
    form.build()
    form._busy.acquire()
    form._work({name: values.get(name, "") for name, _, _ in form.fields})
    return str(form._answer.children[0].value if hasattr(form._answer.children[0], "value") else "card")


@pytest.mark.req(
    "GEN-04", "IN-12", "OUT-11", "OUT-12", "OUT-17", "OUT-18", "OUT-23", "OUT-25", "OUT-48", "IN-49", "IN-50", "AZ-40"
)
def test_the_page_has_the_words_of_the_documentation(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w", hosting="online")
    desk("company", "domain", "acme.com")
    done = desk.json("run", "setup", "-p", "dns=false", status=1)
    assert "setup.ready" in done["message"]
    page = Path(done["report"]).read_text("utf-8")
    for words in (
        "Alias Domain", "Bounce Alias", "Catchall Alias", "Default From Alias", "FROM Filtering", "Priority", "SMTP Server",
        "SMTP Port", "Connection Encryption", "Use Custom Email Servers", "Dedicated Server", "Brevo", "Mailgun",
        "Settings → Technical → Emails: Alias Domains", "Settings → Technical → Parameters → System Parameters",
        "Settings → Technical → Email: Outgoing Mail Servers", "Settings → Technical → Aliases",
        "replies will not reach the database", "include:_spf.odoo.com", "dns.dkim:acme.com", "technical knowledge",
    ):  # fmt: skip
        assert words in page, words
    first = desk.json("run", "start_here", "-p", "dns=false", status=1)
    assert "setup.ready" in first["message"]
    assert "dns.spf:acme.com" in Path(first["report"]).read_text("utf-8")


@pytest.mark.req("OUT-25", "OUT-49", "OUT-55", "GEN-01", "IN-12")
@pytest.mark.parametrize("hosting", ["online", "sh", "on_premise"])
def test_from_an_empty_workspace_to_a_sent_and_answered_mail(tmp_path: Path, smtp: SmtpServer, hosting: str) -> None:
    desk = Desk(tmp_path / "w", toml=peer(smtp.port))
    with closing(desk.ops()) as ops:
        view = SetupView(ops, dns=False)
        assert f"hosting: on_premise → {hosting}" in press(view.hosting, hosting=hosting, database="company-name") or hosting == "on_premise"  # fmt: skip
        assert ops.setup.profile.hosting == hosting
        assert "Saved" in press(view.domains, name="acme.com")
        assert "Saved" in press(view.companies, key="acme", name="Acme", email="info@acme.com")
        assert "no mail domain" in press(view.domains, name="http://acme.com")
        assert "generally not recommended" in press(view.domains, name="acme.com", catchall_alias="replies")
        assert ops.setup.alias_domains[0].catchall_alias == "catchall"
        assert "Catchall Alias: catchall → replies" in press(
            view.domains, name="acme.com", catchall_alias="replies", yes="yes"
        )
        assert "info@acme.com makes" in press(view.aliases, local="info", model="lead")
        values = {
            "key": "s",
            "host": "127.0.0.1",
            "port": str(smtp.port),
            "encryption": "none",
            "from_filter": "acme.com",
        }
        assert "Saved" in press(view.servers, **values)
        assert "priority: 10 → 1" in press(view.servers, key="s", priority="1")
        assert "Use: none, starttls, tls" in press(view.servers, key="s", encryption="ssl")
        assert "Saved" in press(view.parameters, key="mail.gateway.loop.minutes", value="10")
        press(view.path, method="redirection")
        assert ops.readiness(dns=False).methods == ("redirection",)
        ops.send(sender="Joe <joe@partner.example>", to="c@x.example", subject="s", text="t", urgent=True)
        got = smtp.messages[-1]
        assert head(got.data, "From") == '"Joe" <notifications@acme.com>'
        answer = f"From: c@x.example\r\nTo: notifications@acme.com\r\nMessage-ID: <1@x.example>\r\nIn-Reply-To: {head(got.data, 'Message-ID')}\r\n\r\nYes\r\n"  # fmt: skip
        assert ops.inbound.receive(answer.encode()).kind == "forwarded"
    with closing(Ops.open(desk.folder)) as again:
        assert again.setup.profile.hosting == hosting
        assert [s.priority for s in again.setup.servers] == [1]
