"""Workspaces on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailops import Ops


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ops_on(request: pytest.FixtureRequest, ops_factory: Callable[..., Ops]) -> Callable[..., Ops]:
    """Makes a workspace on each of the two databases."""
    database = request.getfixturevalue("fresh_postgres") if request.param == "postgres" else None

    def make(**more: Any) -> Ops:
        return ops_factory(database=database, **more)

    return make


@pytest.fixture
def sqlite_ops(ops_factory: Callable[..., Ops]) -> Ops:
    """A workspace on SQLite, where the database does not matter."""
    return ops_factory()
