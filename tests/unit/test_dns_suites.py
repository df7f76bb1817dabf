"""The case files beside the project, through the public code and a real loopback server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mailops.testing.suites import dns as suites


@pytest.mark.parametrize("name", ["spf", "dmarc", "dkim", "aggregate"])
def test_all_cases_pass(name: str, shared: Path, tmp_path: Path) -> None:
    cases = shared / "dns" / f"{name}_cases_dev.json"
    predictions = tmp_path / "predictions.jsonl"
    count = suites.write(getattr(suites, name)(json.loads(cases.read_text("utf-8")), cases), predictions)
    scored = subprocess.run(
        [sys.executable, shared / "dns" / "score.py", cases, predictions, "--json"], capture_output=True, check=True
    )
    result = json.loads(scored.stdout)
    assert result["passed"] == result["cases"] == count
