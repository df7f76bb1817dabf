"""Tests over case data that is not the project's own: MAILOPS_TEST_BESIDE names its folder, else none is collected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NAMED = os.environ.get("MAILOPS_TEST_BESIDE", "")
collect_ignore_glob = [] if NAMED else ["*.py"]


@pytest.fixture(scope="session")
def beside() -> Path:
    """That folder. What it lacks fails a test: somebody asked for it."""
    assert NAMED, "MAILOPS_TEST_BESIDE is not set"
    assert Path(NAMED).is_dir(), f"MAILOPS_TEST_BESIDE is no folder: {NAMED}"
    return Path(NAMED)
