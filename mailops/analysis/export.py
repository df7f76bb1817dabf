"""Frames as files for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from ..errors import InputRefused, MissingExtra
from ..model.text import cell
from ..platforms import new_file

FORMATS = ("csv", "parquet")


def write_frames(frames: Mapping[str, pd.DataFrame], folder: Path, form: str) -> list[Path]:
    """Each frame as ``folder/name.form``; the folder is made. Only its owner may read what is written.

    Raises :class:`InputRefused` for a format that is none, :class:`MissingExtra` for Parquet without pyarrow.
    """
    if form not in FORMATS:
        raise InputRefused(
            f"Figures cannot be written as {form!r}.",
            code="input.format",
            facts={"format": form},
            fix="Use csv or parquet.",
        )
    if form == "parquet" and find_spec("pyarrow") is None:
        raise MissingExtra(
            "Parquet needs the package pyarrow.",
            code="extra.parquet",
            facts={"format": "parquet"},
            fix="Install it with: pip install 'mailops[parquet]'. Or write CSV.",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return [_write(frame, folder / f"{name}.{form}", form) for name, frame in frames.items()]
    except OSError as error:
        raise InputRefused(
            "The figures cannot be written.",
            code="output.unwritable",
            facts={"folder": str(folder), "reason": error.strerror or str(error)},
            fix="Check the folder's owner and mode, and the space left.",
        ) from error


def _write(frame: pd.DataFrame, path: Path, form: str) -> Path:
    with new_file(path) as file:
        if form == "parquet":
            frame.to_parquet(file, index=False)
        else:
            words = frame.select_dtypes(exclude="number").columns
            safe = frame.assign(**{name: frame[name].map(_cell) for name in words})
            safe.columns = [cell(str(name)) for name in safe.columns]
            file.write(safe.to_csv(index=False).encode("utf-8"))
    return path


def _cell(value: object) -> object:
    return cell(value) if isinstance(value, str) else value
