"""Rows as files for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Rows as a Parquet file (needs pyarrow)."""
    pd.DataFrame(list(rows)).to_parquet(path, index=False)
