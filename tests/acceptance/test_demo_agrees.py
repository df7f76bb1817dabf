"""One fact has one number, whoever shows it: the pages, commands and jobs of a workspace that the demonstration filled."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from mailops import Ops
from mailops.app import pages
from mailops.checks import rates
from mailops.cli import commands  # noqa: F401  (registers the top-level commands)
from mailops.cli.app import app
from mailops.clock import SystemClock
from mailops.demo import __main__ as demo
from mailops.demo import month
from mailops.demo.world import World, furnish
from mailops.model.states import MailState
from mailops.page.blocks import text
from mailops.testing import ManualClock
from mailops.webhooks.health import figures
from mailops.widgets import MetricsCard, RatesView

pytestmark = pytest.mark.timeout(400)
SINCE = "30d"
GROUPS = ("all", "domain", "server", "sender", "class", "campaign", "day", "week")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ten days, which end now."""
    from mailops.workspace import init

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(month, "DAYS", 10)
        workspace = init(tmp_path_factory.mktemp("agrees") / "workspace")
        clock = ManualClock(month.start_of_month(SystemClock().now()))
        with World() as world, Ops.open(workspace.path, clock=clock) as ops:
            furnish(ops, world.ports)
            played = demo._play(ops, world, clock)
            yield ops, played


def cli(ops: Ops, *words: str) -> Any:
    done = CliRunner().invoke(app, ["-w", str(ops.workspace.path), *words, "--json"])
    assert done.exit_code in (0, 1, 3), done.output  # 3: nothing runs here, says status
    return json.loads(done.stdout)


def told(card: Any) -> str:
    return " ".join(card.text().split())


def of(words: str) -> tuple[int, int]:
    """The "(n of m" of a sentence."""
    found = re.search(r"\(([\d,]+) of ([\d,]+)", words)
    assert found, words
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_the_bounce_rate_is_one_number_and_that_of_addresses_is_called_so(filled: tuple[Ops, Any]) -> None:
    ops, _ = filled
    whole = ops.analysis.overall(SINCE)
    assert whole.addressed > 500
    assert whole.returned > 20
    view = RatesView(ops, since=SINCE)
    tiles = told(view.tiles())
    assert f"Bounce rate: {whole.rate:.2%}" in tiles or f"Bounce rate {whole.rate:.2%}" in tiles, tiles
    assert f"{whole.addressed:,}" in tiles
    for by in GROUPS:
        rows = cli(ops, "queue", "rates", "--by", by, "--since", SINCE)
        assert sum(row["addressed"] for row in rows) == whole.addressed, by
        assert sum(row["returned"] for row in rows) == whole.returned, by
        assert sum(row["refused"] + row["bounced"] for row in rows) == whole.returned, by
    reasons = cli(ops, "queue", "rates", "--by", "reason", "--since", SINCE)
    assert sum(row["returned"] for row in reasons) == whole.returned
    assert int(ops.analysis.causes(SINCE)["recipients"].sum()) == whole.returned
    split = ops.analysis.split(SINCE)
    assert split.hard + split.soft == whole.returned
    assert ops.analysis.failures(SINCE)[1] == whole.returned
    verdict = rates.bounce_rate(view.addresses, since=SINCE, limit=0.05, now=ops.clock.now())
    assert "addresses" in verdict.title
    assert "Bounce rate" not in verdict.title, "that name is the share of sendings"
    assert int(ops.analysis.causes(SINCE)["addresses"].max()) <= view.addresses.returned
    assert of(verdict.found) == (view.addresses.returned, view.addresses.addressed)
    by_domain = cli(ops, "queue", "rates", "--since", SINCE)
    assert sum(row["addresses"] for row in by_domain) == view.addresses.addressed
    assert sum(row["dead"] for row in by_domain) == view.hard.returned
    asked = cli(ops, "sql", "SELECT outcome, sum(count) AS n FROM counts GROUP BY outcome")
    rows = asked["rows"] if isinstance(asked, dict) else asked
    sums = {
        row["outcome"] if isinstance(row, dict) else row[0]: row["n"] if isinstance(row, dict) else row[1]
        for row in rows
    }
    assert sums["sent"] + sums["failed"] + sums.get("bounced", 0) == whole.addressed


def test_a_metric_is_the_same_by_command_card_check_and_from_the_rows(filled: tuple[Ops, Any]) -> None:
    ops, _ = filled
    own = {one.name: one for one in ops.metrics()}
    printed = cli(ops, "metrics")
    card = told(MetricsCard(ops))
    for name, one in own.items():
        if one.definition.unit != "share":
            continue
        said = printed[name]
        assert (said["numerator"], said["denominator"]) == (one.numerator, one.denominator), name
        assert f"{name}: {one.words}" in card
    held = rates.limits(list(own.values()), now=ops.clock.now())
    assert held.evidence["hard_bounce_rate"] == own["hard_bounce_rate"].value
    days = {row["day"]: row for row in cli(ops, "queue", "rates", "--by", "day", "--since", "")}
    window = own["delivery_rate"]
    first, last = date.fromisoformat(window.first), date.fromisoformat(window.last)
    inside = [days[f"{d}"] for n in range((last - first).days + 1) if f"{(d := first + timedelta(days=n))}" in days]
    assert window.denominator == sum(row["addressed"] for row in inside)
    assert window.numerator == sum(row["addressed"] - row["returned"] for row in inside)
    assert own["hard_bounce_rate"].numerator == sum(row["hard"] for row in inside)


def test_the_queue_has_one_count_on_every_page(filled: tuple[Ops, Any]) -> None:
    ops, played = filled
    counts = ops.queue.counts()
    status = cli(ops, "status")
    gauges = {
        labels["state"]: value
        for figure in figures(ops.status())
        if figure.name == "mailops_queue_mails"
        for labels, value in figure.samples
    }
    listed = {
        state: cli(ops, "queue", "list", "--state", state.value) for state in (MailState.FAILED, MailState.OUTGOING)
    }
    home = " ".join(" ".join(text(block) for block in pages.home(ops, {}).blocks).split())
    health = ops.queue.health()
    assert counts == health.counts
    for state in (MailState.SENT, MailState.OUTGOING, MailState.FAILED):
        assert int(gauges[state.value]) == counts[state], state
    assert json.dumps(counts[MailState.OUTGOING]) in json.dumps(status)
    assert listed[MailState.OUTGOING]["total"] == counts[MailState.OUTGOING]
    assert listed[MailState.FAILED]["total"] == counts[MailState.FAILED] + health.partly
    for state, words in ((MailState.OUTGOING, "Outgoing"), (MailState.SENT, "Sent")):
        assert re.search(rf"{words}\W+{counts[state]:,}\b", home), (words, counts[state], home[:600])
    assert played.sent >= counts[MailState.SENT]


def test_suppressed_addresses_are_as_many_on_every_face(filled: tuple[Ops, Any], capsys: Callable[..., Any]) -> None:
    ops, played = filled
    demo._figures(ops, played)
    printed = " ".join(capsys.readouterr().out.split())  # type: ignore[attr-defined]
    total = ops.suppressions.page(state="active", limit=1)[1]
    assert f"{total:,} addresses get no campaigns any more" in printed
    assert cli(ops, "suppress", "list", "--state", "active")["total"] == total
    facts = demo._facts(ops, played, 1.0)
    assert facts["Bounce rate (30 days)"] == f"{ops.analysis.overall('30d').rate:.2%}"
    assert facts["of the addresses"] == f"{ops.analysis.addresses('30d').rate:.2%}"
