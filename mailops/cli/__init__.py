"""The command line: thin commands over :class:`mailops.Ops`.

Nouns then verbs. Every command has ``--json``. Exit status: 0 fine, 1 checks failed, 2 could not run.
"""

from __future__ import annotations


def main() -> None:
    """The ``mailops`` command."""
    from .app import run

    run()
