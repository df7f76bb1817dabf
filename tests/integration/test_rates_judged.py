"""How bounce rates are judged: hard bounces against the limits that count them, addresses as the unit, days of a zone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from furnish import furnish
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.errors import ConfigError
from mailops.store import schema
from mailops.testing import ManualClock, SmtpServer
from mailops.testing.smtp_script import Rule
from mailops.widgets import RatesView
from mailops.workspace import init

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = [
    Rule("rcpt", "reply", 550, "5.1.1", "User unknown", recipient="dead*"),
    Rule("rcpt", "reply", 550, "5.7.1", "Blocked by our policy", recipient="*@strict.example"),
]
COUNTERS = schema.metadata.tables.get("counts", schema.metadata.tables.get("tallies"))
HOUR = ("hour", "%Y-%m-%dT%H") if "hour" in COUNTERS.c else ("day", "%Y-%m-%d")  # by day before there were hours
SMTP = {"sender": "ann@acme.example", "subject": "x", "text": "x"}


def sent(ops: Ops, people: list[str]) -> None:
    for who in people:
        ops.send(to=[who], **SMTP)
    ops.queue.run()


def rates(ops: Ops, *words: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "queue", "rates", "--json", "--since", "", *words])
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def verdicts(ops: Ops, by: str = "domain") -> dict[str, str]:
    return {row[by]: row["verdict"] for row in rates(ops, "--by", by)}


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Any:
    with SmtpServer(RULES) as smtp:
        made = ops_factory(clock=ManualClock(NOON))
        furnish(made, smtp)
        yield made


def test_a_policy_s_refusals_are_not_held_against_limits_of_dead_addresses(ops: Ops) -> None:
    """strict.example refuses us; at lost.example every fourth address is dead; mail of both leaves by one server."""
    sent(ops, [f"u{n}@strict.example" for n in range(40)])
    sent(ops, [f"{'dead' if n % 4 == 0 else 'u'}{n}@lost.example" for n in range(80)])
    found = verdicts(ops)
    assert found["strict.example"] not in ("critical", "warning"), "no address is dead there"
    assert found["lost.example"] == "critical"
    rows = {row["domain"]: row for row in rates(ops)}
    assert (rows["strict.example"]["returned"], rows["strict.example"].get("hard")) == (40, 0)
    assert (rows["lost.example"]["returned"], rows["lost.example"].get("hard")) == (20, 20)


def test_the_coloured_tile_is_that_of_the_dead_addresses(ops: Ops) -> None:
    sent(ops, [f"u{n}@strict.example" for n in range(40)] + [f"u{n}@good.example" for n in range(160)])
    tiles = {words: tone for words, _, tone in RatesView(ops, since="30d").tiles().figures}
    assert tiles["Bounce rate"] is None, "20 % came back, but nothing of it counts against the limits of 5 and 10 %"
    assert tiles["Dead addresses"] == "good"


def test_one_dead_address_makes_no_domain_critical_however_often_it_is_mailed(ops: Ops) -> None:
    sent(ops, ["dead@a.example"] * 2)
    sent(ops, ["dead@b.example"] * 6 + ["good@b.example"] * 2)
    sent(ops, [f"dead{n}@c.example" for n in range(12)])
    found = verdicts(ops)
    assert (found["a.example"], found["b.example"]) == ("few", "few")
    assert found["c.example"] == "critical"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Ops]:
    """A workspace for facts and counters that no mail stands behind: its books cannot agree."""
    with closing(Ops.open(init(tmp_path / "bare").path, clock=ManualClock(NOON))) as made:
        yield made


def filled(ops: Ops, random: Random, domains: int, addresses: int, mails: int, dead: float) -> None:
    """The facts and counters of ``mails`` sendings to each address of healthy domains, some addresses dead."""
    facts, counts = [], []
    number = 0
    for d in range(domains):
        failed = 0
        for a in range(addresses):
            gone = random.random() < dead
            failed += mails * gone
            for _ in range(mails):
                number += 1
                data = {"reason": "userunknown", "code": 550, "status": "5.1.1", "stage": "rcpt"} if gone else {}
                facts.append({
                    "at": NOON, "kind": "failed" if gone else "sent", "mail_id": number,
                    "recipient": f"u{a}@d{d}.example", "server_key": "main", "data": data,
                })  # fmt: skip
        key = {
            "server_key": "main",
            "sender_domain": "acme.example",
            "mail_class": "mass",
            HOUR[0]: f"{NOON:{HOUR[1]}}",
        }
        key["recipient_domain"] = f"d{d}.example"
        ends = (("failed", failed), ("sent", addresses * mails - failed))
        counts += [{**key, "outcome": outcome, "count": n} for outcome, n in ends if n]
    with ops.engine.begin() as connection:
        connection.execute(sa.insert(schema.events), facts)
        connection.execute(sa.insert(COUNTERS), counts)


def test_of_many_healthy_domains_none_is_called_high(bare: Ops) -> None:
    """400 domains of 12 addresses, each mailed four times, 2 % of them dead: chance makes some look bad."""
    filled(bare, Random(7), 400, 12, 4, 0.02)
    assert [v for v in verdicts(bare).values() if v in ("warning", "critical")] == []


def test_the_interval_holds_where_addresses_repeat(bare: Ops) -> None:
    """200 domains of 200 addresses mailed four times, 5 % dead: the interval covers that in 93 to 98 of 100."""
    filled(bare, Random(11), 200, 200, 4, 0.05)
    covered = [row["low"] <= 0.05 <= row["high"] for row in rates(bare)]
    assert 0.92 <= sum(covered) / len(covered) <= 0.985


# --- days of a zone ---------------------------------------------------------------------------------------------------

MIDNIGHT = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # half past midnight of 1 April in Berlin


@pytest.fixture
def berlin(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ops, ManualClock]]:
    """Three mails of 31 March, two of half past midnight of 1 April, one of which comes back; now it is noon."""
    monkeypatch.setenv("MAILOPS_PROFILE__ZONE", "Europe/Berlin")
    clock = ManualClock(datetime(2026, 3, 31, 12, tzinfo=UTC))
    with SmtpServer(RULES) as smtp:
        ops = ops_factory(clock=clock)
        furnish(ops, smtp)
        sent(ops, [f"u{n}@x.example" for n in range(3)])
        clock.advance((MIDNIGHT - clock.now()).total_seconds())
        sent(ops, ["late@x.example", "dead@x.example"])
        clock.advance(14 * 3600)
        yield ops, clock


def test_the_first_of_april_begins_at_midnight_here(berlin: tuple[Ops, ManualClock]) -> None:
    ops, _ = berlin
    done = CliRunner().invoke(
        app, ["-w", str(ops.workspace.path), "queue", "rates", "--by", "day", "--json", "--since", ""]
    )
    assert done.exit_code == 0, done.exception
    found = [(row["day"], row["returned"], row["addressed"]) for row in json.loads(done.stdout)]
    assert found == [("2026-03-31", 0, 3), ("2026-04-01", 1, 2)]
    overall = ops.analysis.overall("2026-04-01")
    assert (overall.returned, overall.addressed) == (1, 2)
    assert (ops.analysis.overall("1d").addressed, ops.analysis.overall("2d").addressed) == (2, 5)
    assert ops.analysis.failures(None, by="day", value="2026-04-01")[1] == 1
    assert ops.analysis.failures(None, by="day", value="2026-03-31")[1] == 0
    assert (ops.analysis.addresses("2026-04-01").addressed, ops.analysis.split("2026-04-01").hard) == (2, 1)
    assert ops.analysis.volume(None)["day"].tolist() == ["2026-03-31", "2026-04-01"]
    assert ops.analysis.trend(None, "week")["week"].tolist() == ["2026-03-30"]
    windows = {one.name: (one.first, one.last) for one in ops.metrics()}
    assert windows["block_rate"] == ("2026-03-26", "2026-04-01")


def test_days_that_are_not_over_or_still_get_returns_are_marked(berlin: tuple[Ops, ManualClock]) -> None:
    ops, clock = berlin
    assert ops.analysis.trend(None)["complete"].tolist() == [False, False]
    clock.advance(4 * 86_400)
    assert ops.analysis.trend(None)["complete"].tolist() == [True, True]
    assert ops.analysis.trend(None, "week")["complete"].tolist() == [False], "the week ends on 5 April"


@pytest.mark.parametrize("since", ["2027-01-01", "0d", "-3d", "tomorrow"])
def test_a_period_without_days_is_refused(ops_factory: Callable[..., Ops], since: str) -> None:
    ops = ops_factory(clock=ManualClock(NOON))
    words = ["-w", str(ops.workspace.path), "queue", "rates", "--json", f"--since={since}"]
    done = CliRunner().invoke(app, words)
    assert getattr(done.exception, "code", None) == "analysis.since"


@pytest.mark.parametrize("since", ["7D", " 7d", "1W"])
def test_a_period_is_read_however_it_is_typed(ops_factory: Callable[..., Ops], since: str) -> None:
    ops = ops_factory(clock=ManualClock(NOON))
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), "queue", "rates", "--json", f"--since={since}"])
    assert done.exception is None


def test_an_unknown_zone_is_named(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILOPS_PROFILE__ZONE", "Europe/Nowhere")
    with pytest.raises(ConfigError) as refused:
        ops_factory().analysis  # noqa: B018
    assert "Europe/Nowhere" in str(refused.value.as_dict())
