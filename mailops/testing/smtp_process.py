"""The loopback SMTP server as a process of its own, for tests that kill one side (see ``smtp_books``)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import mailops

from .smtp_books import read_books
from .smtp_core import ServerTls
from .smtp_script import Rule, rule_to_dict


class SmtpServerProcess:
    """``with SmtpServerProcess(script=[...]) as smtp:`` runs the server in a child process; ``.host .port .pid``.

    ``log_file`` (default: in a folder that ends with the server) holds a line per accepted mail. ``auth`` is a mapping
    of login to password or token. The child ends when this process closes its standard input or dies, and after
    ``max_seconds`` at the latest.
    """

    def __init__(
        self,
        script: Iterable[Rule] = (),
        *,
        tls: ServerTls | None = None,
        auth: Mapping[str, str] | None = None,
        extensions: Iterable[str] | None = None,
        log_file: str | Path | None = None,
        port: int = 0,
        store: bool = False,
        fsync: bool = False,
        max_seconds: float = 3600.0,
        start_timeout: float = 30.0,
        **settings: Any,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.pid = 0
        wire: dict[str, Any] = {"rules": [rule_to_dict(rule) for rule in script], **settings}
        if tls is not None:
            wire["tls"] = asdict(tls)
        if auth is not None:
            wire["auth"] = dict(auth)
        if extensions is not None:
            wire["extensions"] = sorted(extensions)
        self._settings = wire
        self._folder: TemporaryDirectory[str] | None = None
        self._log_file = log_file
        self._options = [f"--max-seconds={max_seconds}"]
        self._options += [] if store else ["--no-store"]
        self._options += ["--fsync"] if fsync else []
        self._start_timeout = start_timeout
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        assert self._log_file is not None, "the server has not been started"
        return Path(self._log_file)

    def accepted(self) -> list[dict[str, Any]]:
        """The mails the server took, from its log file, oldest first."""
        return [line for line in read_books(self.log_file) if line["event"] == "accepted"]

    def start(self) -> SmtpServerProcess:
        """Start the child and wait until it listens; raises :class:`RuntimeError` when it does not."""
        self._folder = TemporaryDirectory(prefix="mailops-smtp-")
        if self._log_file is None:
            self._log_file = Path(self._folder.name) / "accepted.jsonl"
        script = Path(self._folder.name) / "script.json"
        script.write_text(json.dumps(self._settings), "utf-8")
        script.chmod(0o600)
        home = str(Path(mailops.__file__).resolve().parent.parent)
        path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [
            sys.executable,
            "-m",
            "mailops.testing.smtp_server",
            f"--port={self.port}",
            f"--log={self._log_file}",
        ]
        self._child = subprocess.Popen(
            [*command, f"--script={script}", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._child.stdout is not None
        readable, _, _ = select.select([self._child.stdout], [], [], self._start_timeout)
        line = self._child.stdout.readline() if readable else b""
        if not line:
            self.close()
            raise RuntimeError("the SMTP server process did not start; its standard error says why")
        ready = json.loads(line)
        self.port, self.pid = ready["port"], ready["pid"]
        return self

    def kill(self) -> None:
        """End the child at once (SIGKILL), as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(timeout=10)

    def close(self) -> None:
        """Ask the child to end, and see that it does. The log file stays when it was named by the caller."""
        child, self._child = self._child, None
        if child is not None:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.close()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(timeout=10)
            child.stdout.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> SmtpServerProcess:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
