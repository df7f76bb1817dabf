"""Rates by whose mailboxes they are, by campaign and by reason: on every face, each group to be opened, and summing up to
the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.domains.mailboxes import LATER, NOBODY, UNKNOWN, Mailboxes, provider_of
from mailops.testing import DnsServer, ManualClock, SmtpServer, refuse
from mailops.testing.dsn import build_dsn
from mailops.widgets.rates_view import GroupsCard, RatesView

ZONE = {
    "a.example": ["MX 10 aspmx.l.google.com."],
    "b.example": ["MX 10 alt1.aspmx.l.google.com.", "MX 20 mx.elsewhere.example."],
    "c.example": ["MX 0 c-example.mail.protection.outlook.com."],
    "own.example": ["MX 10 mx1.hosting.example."],
    "null.example": ["MX 0 ."],
}


def address(dns: DnsServer) -> str:
    return f"{dns.address[0]}:{dns.address[1]}"


@pytest.fixture
def mailed(ops_factory: Callable[..., Ops]) -> Any:
    """Six addresses by hand, two campaigns of three; three are refused, one comes back."""
    clock = ManualClock(datetime.now(UTC) - timedelta(days=2))
    with DnsServer(ZONE) as dns, SmtpServer(
        script=[refuse("dead@a.example"), refuse("dead@b.example"),
                refuse("full@c.example", 552, "5.2.2", "Mailbox full")]
    ) as smtp:  # fmt: skip
        ops = ops_factory(clock=clock, toml=f'\n[dns]\nresolvers = ["{address(dns)}"]\n')
        furnish(ops, smtp)
        for who in (
            "dead@a.example",
            "x@a.example",
            "x@b.example",
            "full@c.example",
            "x@own.example",
            "x@null.example",
        ):
            ops.send(sender="ann@acme.example", to=[who], subject="x", text="x")
        ops.queue.run()
        for key, domain in (("spring", "b.example"), ("summer", "c.example")):
            rows = [{"email": f"{name}@{domain}"} for name in ("dead", "one", "two")]
            ops.campaigns.create(key, sender="Ann <ann@acme.example>", subject="News", text="News.", recipients=rows)
            ops.campaigns.send(key)
            ops.queue.run()
        raw = next(bytes(m.data) for m in smtp.messages if list(m.recipients) == ["two@c.example"])
        clock.advance(60)
        ops.bounces.take(build_dsn(raw, "two@c.example", "5.7.1", "550 5.7.1 Message rejected as spam", "mx.example"))
        yield ops


def by(ops: Ops, what: str) -> dict[str, tuple[int, int, int]]:
    """group → addressed, returned, dead: as the command line prints it, which is what ``Ops`` says."""
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "queue", "rates", "--by", what, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    frame = ops.analysis.bounce_rate(what)
    assert [row[what] for row in rows] == list(frame[what])
    return {row[what]: (row["addressed"], row["returned"], row["dead"]) for row in rows}


def test_providers_campaigns_and_reasons_each_sum_up_to_the_whole(mailed: Ops) -> None:
    whole = mailed.analysis.overall()
    assert (whole.returned, whole.addressed) == (4, 12)
    providers, campaigns, reasons = (by(mailed, what) for what in ("provider", "campaign", "reason"))
    assert providers == {
        "Google": (6, 2, 2),
        "Microsoft 365": (4, 2, 0),
        "hosting.example": (1, 0, 0),
        NOBODY: (1, 0, 0),
    }
    assert campaigns == {"spring": (3, 1, 1), "summer": (3, 1, 0), "": (6, 2, 1)}
    assert {name: line[:2] for name, line in reasons.items()} == {
        "userunknown": (12, 2), "mailboxfull": (12, 1), "spamdetected": (12, 1),
    }  # fmt: skip
    for groups in (providers, campaigns, reasons):
        assert sum(line[1] for line in groups.values()) == whole.returned
        assert sum(line[2] for line in groups.values()) == 2
    for groups in (providers, campaigns):
        assert sum(line[0] for line in groups.values()) == whole.addressed


@pytest.mark.parametrize(
    ("what", "group", "who"),
    [
        ("provider", "Google", {"dead@a.example", "dead@b.example"}),
        ("campaign", "summer", {"two@c.example"}),
        ("campaign", "", {"dead@a.example", "full@c.example"}),
        ("reason", "mailboxfull", {"full@c.example"}),
    ],
)
def test_a_group_opens_to_its_failures(mailed: Ops, what: str, group: str, who: set[str]) -> None:
    page, number = mailed.analysis.failures(by=what, value=group)
    assert {one.recipient for one in page} == who
    split = mailed.analysis.split(by=what, value=group)
    assert number == split.hard + split.soft == len(who)
    assert int(mailed.analysis.causes(by=what, value=group)["recipients"].sum()) == len(who)


def test_the_page_groups_by_them_too(mailed: Ops) -> None:
    card = GroupsCard(mailed, "30d", "provider")
    assert {str(name) for name in card.frame["provider"]} == {"Google", "Microsoft 365", "hosting.example", NOBODY}
    assert "Google" in card.table.text()
    assert "by_provider" in RatesView(mailed, by="provider").frames()
    assert {"by_campaign", "by_reason"} <= RatesView(mailed).frames().keys()


def test_exchangers_are_remembered_a_week_and_what_is_not_known_says_so(mailed: Ops) -> None:
    asked: list[list[str]] = []
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))

    def ask(names: Any) -> Any:
        asked.append(list(names))
        return mailed.domains.exchangers(names)

    mailboxes = Mailboxes(mailed.workspace.path, clock.now, ask)
    (mailed.workspace.path / "mx.json").write_text("[")
    assert mailboxes.of(["a.example", "c.example"]) == {"a.example": "Google", "c.example": "Microsoft 365"}
    assert mailboxes.of(["a.example"]) == {"a.example": "Google"}
    assert asked == [["a.example", "c.example"]]
    clock.advance(8 * 86_400)
    mailboxes.of(["a.example"])
    assert asked[1:] == [["a.example"]]
    many = [f"d{n}.example" for n in range(510)]
    silent = Mailboxes(mailed.workspace.path, clock.now, lambda names: {})
    assert set(silent.of(many).values()) == {LATER}
    with DnsServer({}) as dns:
        lost = mailed.domains.asking([address(dns)], 0.5)
    assert Mailboxes(mailed.workspace.path, clock.now, lost.exchangers).of(["z.example"]) == {"z.example": UNKNOWN}


def test_a_host_belongs_to_its_registered_domain_where_it_has_no_name() -> None:
    assert provider_of("mx.strange.co.uk") == "strange.co.uk"
    assert provider_of("olc.protection.outlook.com") == "Outlook.com"
    assert provider_of("notgoogle.com") == "notgoogle.com"
