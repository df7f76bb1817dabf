"""The marked set (``make incidents``): 20 kinds of incidents and eight kinds of quiet years, each over 20 fixed seeds.

What is demanded is what the 95 % interval over the seeds bears; the figures are printed (``-s``).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from statistics import mean

import pytest

from mailops.analysis.share import rate

_FILE = Path(__file__).parents[2] / "benchmarks" / "incidents.py"
_SPEC = importlib.util.spec_from_file_location("incidents_marked", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
made = sys.modules["incidents_marked"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made)
pytestmark = [pytest.mark.incidents, pytest.mark.timeout(1800)]
SEEDS = range(20)


@pytest.mark.parametrize("one", made.PLANTED, ids=lambda one: one.name)
def test_an_incident_is_found_within_two_days_of_what_can_be_seen(one: object) -> None:
    planted = next(other for other in made.PLANTED if other is one)
    found = [made.seen(planted, seed) for seed in SEEDS]
    in_time = rate(sum(x.in_time for x in found), len(found))
    told = rate(sum(x.delay is not None for x in found), len(found))
    sys.stdout.write(f"{planted.name}: told {told}, in time {in_time}, first day {sum(x.right for x in found)}\n")
    assert told.low > 0.6, "found, as surely as 20 seeds can say"
    stays = [x.still for x in found if x.still is not None]
    assert all(stays), "and told for as long as it lasts"
    if not planted.drift:  # a drift has no first day, and begins below what chance does
        assert in_time.low > 0.55
        assert sum(x.right for x in found) >= 0.9 * told.returned


@pytest.mark.parametrize("kind", list(made.QUIET))
def test_a_quiet_year_raises_at_most_three_alarms(kind: str) -> None:
    """A look every third day."""
    found = [made.alarms(kind, seed, 3) for seed in SEEDS]
    half = made.half(found)
    sys.stdout.write(f"{kind}: {mean(found):.2f} ± {half:.2f} new alarms a year, at most {max(found)}\n")
    assert mean(found) + half <= 3
