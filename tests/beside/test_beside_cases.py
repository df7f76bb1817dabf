"""The whole development files of the conformance cases, scored as the project's own are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailops.testing.evaluate import predictions
from mailops.testing.score import score


@pytest.mark.parametrize("file", [
    "odoo/routing_cases_dev.json",
    "odoo/gateway_cases_dev.json",
    "dns/spf_cases_dev.json",
    "dns/dmarc_cases_dev.json",
    "dns/dkim_cases_dev.json",
    "dns/aggregate_cases_dev.json",
])  # fmt: skip
def test_every_case_is_answered_as_expected(file: str, beside: Path) -> None:
    suite = Path(file).name.split("_")[0]
    cases = json.loads((beside / file).read_text("utf-8"))["cases"]
    result = score(suite, cases, predictions(suite, beside / file))
    assert result.clean, str(result)
