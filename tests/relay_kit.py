"""A program that hands mail over, and the command line that is asked about it afterwards."""

from __future__ import annotations

import contextlib
import json
import smtplib
from collections.abc import Iterator
from typing import Any

from test_serve import serving
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli import commands  # noqa: F401  (registers the commands)
from mailops.cli.app import app

MAIL = "From: {sender}\r\nTo: bob@x.example\r\nSubject: Hi\r\n\r\nHello\r\n"


def told(ops: Ops, *words: str) -> Any:
    """What a command says as JSON; its error is raised."""
    result = CliRunner().invoke(app, ["-w", str(ops.workspace.path), *words, "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


@contextlib.contextmanager
def handing_over(ops: Ops, *more: str) -> Iterator[smtplib.SMTP]:
    """A client of a real listener in a process of its own."""
    with serving(ops, "--queue-every", "0", *more) as (_, port), smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        yield client


def relayed(
    ops: Ops, path: str, sender: str = "Ann <ann@acme.example>", to: tuple[str, ...] = ("bob@x.example",)
) -> None:
    """One mail through a real listener."""
    with handing_over(ops) as client:
        client.sendmail(path, list(to), MAIL.format(sender=sender))
