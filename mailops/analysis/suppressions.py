"""The suppression list as a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields

import pandas as pd

from ..suppression.store import Suppression


def frame(rows: Iterable[Suppression]) -> pd.DataFrame:
    """One row for each entry, as given; times are UTC."""
    return pd.DataFrame([asdict(r) for r in rows], columns=[f.name for f in fields(Suppression)])
