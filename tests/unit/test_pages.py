"""Pages that requirements ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.req("FAQ-01")
def test_what_mailops_is_not_is_explained_and_linked_from_the_queue() -> None:
    page = (ROOT / "docs" / "not-a-mailbox.md").read_text("utf-8")
    for difference in (
        "removed after it was sent",
        "no CC and no BCC",
        "Incoming mail is taken when",
        "refused, not parked",
    ):
        assert difference in page
    for place in ("docs/queue.md", "notebooks/queue.ipynb"):
        assert "not-a-mailbox.md" in (ROOT / place).read_text("utf-8"), place
