"""What to do when a peer (a database, a browser, a mail server of Debian) is not on this machine."""

from __future__ import annotations

import os

import pytest


def missing(what: str, reason: str) -> None:
    """Skip because a peer is not here, or fail when it was required."""
    wanted = {w.strip() for w in os.environ.get("MAILOPS_TEST_REQUIRE", "").split(",")}
    if wanted & {"all", what}:
        pytest.fail(f"{what} is required here: {reason}", pytrace=False)
    pytest.skip(f"{what}: {reason}")
