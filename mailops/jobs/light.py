"""Makes the Jupyter libraries quick to import.

``jsonschema`` asks for ``rfc3987_syntax`` to judge values of the format ``iri``, and that package compiles a whole
grammar as it is imported: a second of processor time, in every process that reads ``nbformat``. No schema of Jupyter's
has an ``iri``, and ``jsonschema`` does without the package where it is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def without_iris() -> Iterator[None]:
    """Import Jupyter's libraries in here; afterwards ``rfc3987_syntax`` can be imported as ever."""
    name = "rfc3987_syntax"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails, which is what is meant
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def prepare_report() -> Thread:
    """Import what draws reports while the notebook runs in its own process; the thread that does it. A failure shows
    where the report is drawn."""

    def read() -> None:
        from . import report

        try:
            report.load()
        except ImportError:
            pass

    thread = Thread(target=read, name="mailops-report", daemon=True)
    thread.start()
    return thread
