"""Takes secrets and widget state out of a finished notebook before anyone can read it.

A value is masked three times over: by the kernel as it leaves (:mod:`mailops.jobs.kernel` knows what it revealed), here
once more with every secret the workspace refers to, and by the patterns of the redactor. ``metadata.widgets`` holds the
final value of every widget, a password field's included, so it goes as a whole; cards carry their own HTML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import MailopsError

if TYPE_CHECKING:
    from ..workspace import Workspace

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_SECRET_NAME = re.compile(r"(?i)(?:password|passwd|passphrase|secret|token|api_?key|private_?key|credentials?)$")


def register_environment() -> None:
    """Have the values of environment variables with telling names masked."""
    from ..secrets import is_reference, register

    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= 8 and not is_reference(value):
            register(value)


def register_known(workspace: Workspace, parameters: Mapping[str, Any]) -> None:
    """Have every secret masked that the set-up, the settings, the vault or the parameters refer to."""
    from ..secrets import SecretStore, is_reference
    from ..store.setup import load

    register_environment()
    store = SecretStore(workspace.path)
    settings = workspace.settings
    setup = load(workspace.engine, settings.as_profile())
    texts = {t for value in (asdict(setup), settings.model_dump(), dict(parameters)) for t in _texts(value)}
    try:
        texts |= {f"vault:{entry.name}" for entry in store.vault.entries()}
    except MailopsError:
        pass  # a vault that cannot be opened here reveals nothing to the notebook either
    for text in texts:
        if is_reference(text) and not text.startswith("keyring:"):  # a keyring may ask a person; the kernel masks those
            store.trouble(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield str(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)


def clean_notebook(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook without widget state, machine paths of the run, and secrets; pictures stay as they are."""
    from ..secrets import redact, redact_value

    metadata = {k: v for k, v in notebook.get("metadata", {}).items() if k != "widgets"}
    for path in ("input_path", "output_path"):
        metadata.get("papermill", {}).pop(path, None)
    cells = []
    for cell in notebook["cells"]:
        kept = {**cell, "source": redact("".join(cell["source"])), "metadata": redact_value(cell.get("metadata", {}))}
        if "outputs" in cell:
            kept["outputs"] = [_clean_output(output) for output in cell["outputs"]]
        cells.append(kept)
    return {**notebook, "metadata": redact_value(metadata), "cells": cells}


def _clean_output(output: dict[str, Any]) -> dict[str, Any]:
    from ..secrets import redact_value

    joined = {k: "".join(v) if k == "text" and isinstance(v, list) else v for k, v in output.items() if k != "data"}
    clean: dict[str, Any] = redact_value(joined)
    if "data" in output:
        clean["data"] = clean_bundle(output["data"])
    return clean


def clean_bundle(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """A display bundle with its texts redacted, and without the pointer to a widget that is no more."""
    from ..secrets import redact_value

    return {
        kind: value if kind.startswith("image/") and kind != "image/svg+xml" else redact_value(_join(value))
        for kind, value in bundle.items()
        if kind != WIDGET_VIEW
    }


def _join(value: Any) -> Any:
    return "".join(value) if isinstance(value, list) and all(isinstance(part, str) for part in value) else value
