"""The faces as a person meets them: ``mailops`` in this process, and the Ops of the same workspace."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.cli import main


class Desk:
    """Runs ``mailops`` on one workspace; ``status`` is the exit status that must come."""

    def __init__(
        self, folder: Path, *, hosting: str = "on_premise", database: str = "company-name", toml: str = ""
    ) -> None:
        self.folder = folder
        self("init", str(folder), "--hosting", hosting, "--database", database)
        if toml:
            with (folder / "mailops.toml").open("a", encoding="utf-8") as file:
                file.write(toml)

    def __call__(self, *words: str, status: int = 0, stdin: bytes = b"") -> str:
        """What was printed; with status 2 what was complained of."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["mailops", "-w", str(self.folder), *words])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            before = signal.getsignal(signal.SIGTERM)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
                main()
            signal.signal(signal.SIGTERM, before)
        assert left.value.code == status, f"{words}: {left.value.code}\n{out.getvalue()}\n{err.getvalue()}"
        return err.getvalue() if status == 2 and "--json" not in words else out.getvalue()

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self(*words, "--json", status=status))

    def ops(self) -> Ops:
        """The same workspace in a program; to be closed."""
        return Ops.open(self.folder)


def peer(port: int) -> str:
    """A ``[default_server]`` on loopback, for the settings."""
    return f'\n[default_server]\nhost = "127.0.0.1"\nport = {port}\n'


def head(data: bytes, name: str) -> str:
    """One header field of a message on the wire, unfolded; "" when there is none."""
    import email

    return str(email.message_from_bytes(data)[name] or "").replace("\r\n", "")
