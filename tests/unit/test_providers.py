"""Providers as data: one file each, read whole, figures with unit and window, and no figure of a limit in prose."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailops import providers as room
from mailops.cli.app import app
from mailops.model.reasons import REASONS
from mailops.model.setup import Encryption
from mailops.providers import CATALOGUED, PROVIDERS, provider, provider_of_host
from mailops.providers.files import FILES, RECEIVERS, read
from mailops.providers.model import Limit, Provider
from mailops.providers.outgoing import server_for
from mailops.providers.records import SENDERS, service_named
from mailops.providers.refusals import rows

DATA = files(room) / "data"


def test_every_file_is_one_provider_and_nothing_else_holds_one() -> None:
    names = {one.name.removesuffix(".toml") for one in DATA.iterdir() if one.name.endswith(".toml")}
    assert names == set(FILES) == set(SENDERS)
    ids = [one.id for one in FILES.values() if one.id]
    assert len(ids) == len(set(ids)), "an id names one provider"
    assert set(ids) == set(PROVIDERS)
    assert {one.id for one in FILES.values() if service_named(one.id or one.dns.key) not in ("", one.dns.key)} == set()


@pytest.mark.parametrize("key", sorted(FILES))
def test_a_file_says_where_it_is_from_and_what_rests_on_general_knowledge(key: str) -> None:
    about = FILES[key].dns
    assert about.source
    assert about.help_url.startswith("https://")
    assert about.basis in ("source", "general knowledge")
    assert re.fullmatch(r"20\d\d(-\d\d-\d\d)?", about.as_of)
    assert (about.basis == "source") <= (len(about.as_of) == 10), "compared with its source on a day"
    assert FILES[key].limit


@pytest.mark.parametrize("key", sorted(FILES))
@pytest.mark.parametrize("place", ["", "server", "spf", "dkim", "return_path", "limits"])
def test_a_key_nobody_knows_is_no_data(key: str, place: str) -> None:
    text = (DATA / f"{key}.toml").read_text("utf-8")
    data = tomllib.loads(text)
    if place and place not in data:
        return
    head = {"": "", "limits": "[[limits]]\n"}.get(place, f"[{place}]\n")
    broken = text.replace(head, f"{head}nonsense = 1\n", 1) if head else f"nonsense = 1\n{text}"
    with pytest.raises(TypeError):
        read(key, broken)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (Limit(2000, "messages", "day", "with Workspace"), "2,000 messages a day with Workspace"),
        (Limit(3, "connections"), "3 connections"),
        (Limit(5, "messages", "day", "by plan", 200), "5 to 200 messages a day by plan"),
    ],
)
def test_a_limit_is_said_from_its_figures(limit: Limit, said: str) -> None:
    assert limit.said == said


def test_no_figure_of_a_limit_stands_in_prose() -> None:
    """Gmail's limit stood in five places, as three figures of two units."""
    figures = {f"{one.count:,}" for p in FILES.values() for one in p.limits if one.count >= 30}
    unit = r"(?:messages?|mails?|recipients?)\b"
    wrong = re.compile(rf"\b(?:{'|'.join(sorted(figures))})\s+(?:{unit}|with Workspace|a user)", re.I)
    rooms = ("providers", "guides", "routing", "oauth", "checks", "widgets")
    package = Path(room.__file__).parent.parent
    sources = [*package.rglob("*.py"), *(package / "providers" / "data" / "refusals").glob("*.toml")]
    found = [f"{path.name}: {hit[0]}" for path in sources if path.relative_to(package).parts[0] in rooms
             for hit in wrong.finditer(path.read_text("utf-8"))]  # fmt: skip
    assert found == []


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the package, its data and its pages, with where it stands."""
    package = Path(room.__file__).parent.parent
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{file.name}:{node.lineno}", node.value
    root = package.parent
    pages = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "notebooks" / "text").glob("*.py")]
    for file in [*pages, *(package / "providers" / "data").rglob("*.toml")]:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            yield f"{file.name}:{number}", line


def figures(text: str, one: Provider) -> set[int]:
    """The figures of a provider's limits that stand in a text which names it."""
    names = "|".join(re.escape(name) for name in {one.name, one.product, one.dns.title, one.dns.key})
    if not re.search(rf"\b(?:{names})\b", text, re.IGNORECASE):
        return set()
    wanted = {count for limit in one.limits for count in (limit.count, limit.upto) if count and count >= 200}
    number = r"(?<![\d,.:]){}(?![\d,.:]?\d)"
    return {n for n in wanted if re.search(number.format(f"(?:{n:,}|{n})"), text)}


def test_no_text_that_names_a_provider_has_a_figure_of_its_limits() -> None:
    assert (
        figures("Gmail takes 2,000 a day", FILES["google"]) == figures("google: 2000 a day", FILES["google"]) == {2000}
    )
    assert not figures("an id such as 1.2000 at Gmail", FILES["google"])
    found = [(where, hit) for where, text in texts() for one in FILES.values() for hit in figures(text, one)]
    assert found == []


def test_the_words_of_refusals_stand_in_a_file_a_provider() -> None:
    held = {one.name.removesuffix(".toml") for one in (DATA / "refusals").iterdir()}
    assert held == {PROVIDERS[known].dns.key for known in CATALOGUED}
    assert {one.provider for one in rows()} == set(CATALOGUED)
    assert all(one.source.startswith("https://") for one in rows())


def test_one_figure_is_told_everywhere() -> None:
    from mailops.guides import GUIDES
    from mailops.providers.refusals import row
    from mailops.routing.plan import campaign_findings

    daily = "2,000 messages a day with Workspace"
    assert daily in provider("gmail").limit
    assert daily in SENDERS["google"].limits
    assert daily in GUIDES["google"].limit_note
    assert daily in row("google-smtp-5.4.5").cause
    (found,) = campaign_findings(server_for("gmail", login="a@example.com"), 5_000, "a@example.com")
    assert daily in found.message
    assert "10,000 recipients a day" in row("ms-smtp-quota").cause
    shown = (
        CliRunner()
        .invoke(app, ["explain", "error", "554 5.2.0 submission quota exceeded", "--provider", "microsoft", "--json"])
        .output
    )
    assert "30 messages a minute" in shown


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("smtp.sendgrid.net", "sendgrid"), ("email-smtp.us-east-1.amazonaws.com", "ses"), ("SMTP.eu.mailgun.org.", "mailgun"),
        ("smtp-relay.brevo.com", "brevo"), ("smtp.resend.com", "resend"), ("smtp.postmarkapp.com", "postmark"),
        ("smtp.mandrillapp.com", "mandrill"), ("smtppro.zoho.eu", "zoho"), ("acme.mail.protection.outlook.com", "outlook"),
        ("smtp.office365.us", "outlook"), ("smtp.googlemail.com", "gmail"), ("in-v3.mailjet.com", "mailjet"),
        ("mail.example.com", None), ("evil-smtp.sendgrid.net.example", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_the_provider_is_told_from_the_host(host: str | None, known: str | None) -> None:
    found = provider_of_host(host)
    assert (found.id if found else None) == known


@pytest.mark.parametrize("known", sorted(set(PROVIDERS) - {"hosted"}))
def test_a_server_record_as_the_provider_wants_it(known: str) -> None:
    about = PROVIDERS[known]
    assert about.smtp is not None
    for port in about.ports:
        made = server_for(known, login="a@example.com", port=port)
        assert (made.host, made.port, made.provider) == (about.smtp.name, port, known)
        assert (made.encryption is Encryption.TLS) == (port == 465)
        assert provider_of_host(made.host) is about


def test_proofs_of_webhooks_and_the_answers_of_receivers_stand_in_the_files() -> None:
    from mailops.bounces.reading.providers import CARRIERS, provider_answer
    from mailops.webhooks.verify import PROOFS

    assert {one.webhook.name: one.webhook for one in FILES.values() if one.webhook} == PROOFS
    assert set(PROOFS) == {"mailjet", "ses", "sendgrid", "mailgun", "postmark"}
    ranks = [one.rank for one in RECEIVERS]
    assert ranks == sorted(set(ranks))
    assert {"google", "microsoft", "yahoo", "apple"} <= {one.name for one in RECEIVERS}
    assert provider_answer("gmail-smtp-in.l.google.com", "p=nosuchuser", "") == (
        "userunknown",
        "provider:google",
        "p=nosuchuser",
    )
    assert CARRIERS == ("docomo.ne.jp",)
    assert {reason for one in RECEIVERS for _, reason in one.says} <= set(REASONS)
