"""A workspace is a folder that a person can see and back up whole.

::

    mailops.toml     settings, no secrets
    jobs.json        notebooks that run by a schedule
    alerts.json      what was told of them (alerts.jsonl: what went by no other road)
    mailops.db       the store (unless a PostgreSQL address is set)
    journal/         what workers have in flight
    runs/<id>/       notebook runs: notebook, report, evidence, result
    secrets/         the vault, mode 0700
    serve.json       how a running ``mailops serve`` goes (worker.json: ``mailops worker``), beside it its lock
    mx.json          whose mailboxes recipient domains are, asked of DNS, for a week
    schedule.json    when each daily job ran last
    forgotten.txt    pseudonyms of whom the store has forgotten, so that a lost one takes no promise with it
    .store           says that there was a store, so that a lost one is not taken for new

It is found by argument, by ``MAILOPS_WORKSPACE``, or by walking up from the current folder.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from .errors import ConfigError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from .settings import Settings

FILE = "mailops.toml"
JOBS = "jobs.json"
MADE = ".store"
"""A mark that this workspace had a store."""
_FIRST = """\
# mailops settings. No secret belongs in here: passwords are references (env:NAME, file:PATH, keyring:SERVICE/NAME,
# vault:NAME). docs/settings.md lists every key with its default.

[profile]
hosting = "{hosting}"      # online, sh or on_premise
database = "{database}"

# [default_server]          # used while no outgoing server is defined
# host = "localhost"
# port = 25

[queue]
interval_minutes = 15
"""


@dataclass(frozen=True)
class Workspace:
    """An open workspace folder."""

    path: Path

    @cached_property
    def settings(self) -> Settings:
        from .settings import load_settings

        return load_settings(self.path / FILE)

    @cached_property
    def engine(self) -> Engine:
        """The store, opened and brought up to date on first use. Raises :class:`StoreError` ``store.emptied`` or
        ``store.missing`` for an empty file, or none, where this workspace had a store: a loss, after a crash, a full
        disk or a wrong mount, and no new store."""
        from .store.database import open_database

        self._refuse_lost()
        engine = open_database(self.database, busy_seconds=self.settings.database.busy_seconds)
        with suppress(OSError):  # where it cannot be written, the store is used all the same
            descriptor = os.open(self.path / MADE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, self._mark().encode())
            finally:
                os.close(descriptor)
        return engine

    def renew(self) -> None:
        """After another store was put in its place: bring it up to date; an engine that is in use goes on with it."""
        from .store.database import open_database

        if "engine" in self.__dict__:
            self.engine.dispose()
            open_database(self.database, busy_seconds=self.settings.database.busy_seconds).dispose()
        else:
            self.engine.dispose()

    def _mark(self) -> str:
        """Which store the mark is about: another one that the settings name later may be new."""
        url = self.settings.database.url
        return "server" if "://" in url else url

    @property
    def lost(self) -> bool:
        """Whether this workspace had a store, and its file is empty or not there."""
        if "://" in self.database:
            return False
        try:
            marked = (self.path / MADE).read_text("utf-8", errors="replace").strip()
        except OSError:
            return False  # there was none yet
        if marked and marked != self._mark():
            return False
        place = Path(self.database)
        return not place.exists() or (place.is_file() and _has_no_table(place))

    def _refuse_lost(self) -> None:
        if not self.lost:
            return
        place = Path(self.database)
        missing = not place.exists()
        raise StoreError(
            "The store's file is not there, and there was one."
            if missing
            else "The store's file is empty, and there was a store in it.",
            code="store.missing" if missing else "store.emptied",
            facts={"file": place.name},
            fix="Put the backup back: mailops restore FILE. "
            f"To begin with an empty store, remove {MADE} (and the empty file) from the workspace.",
        )

    def files(self, *, secrets: bool = False) -> dict[str, Path]:
        """The workspace's own files for a backup, by their place in it: the settings; with ``secrets`` the vault."""
        found = {name: self.path / name for name in (FILE, JOBS) if name == FILE or (self.path / name).is_file()}
        if secrets and self.secrets.is_dir():
            found |= {f"secrets/{p.name}": p for p in sorted(self.secrets.iterdir()) if _plain(p)}
        return found

    @property
    def database(self) -> str:
        """Where the store is: a file's path, or a database server's address."""
        url = self.settings.database.url
        return url if "://" in url else str(self.path / url)

    @property
    def journals(self) -> Path:
        return self.path / "journal"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _has_no_table(place: Path) -> bool:
    """Whether nothing is in a file where a store should be; what cannot be read is for who opens it to tell."""
    if place.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(f"file:{quote(str(place))}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    except sqlite3.Error:
        return False


def init(path: Path | str, *, hosting: str = "on_premise", database: str = "mailops") -> Workspace:
    """Make a workspace folder (0700) with a first ``mailops.toml``; an existing one is left as it is."""
    path = Path(path)
    for key, value in (("hosting", hosting), ("database", database)):
        _check_profile(key, value)
    if path.exists() and not path.is_dir():
        raise ConfigError(
            "This is a file, and a workspace is a folder.",
            code="workspace.is_file",
            facts={"file": str(path)},
            fix="Name another folder, new or empty; the file stays as it is.",
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in ("runs", "secrets", "journal"):
            (path / folder).mkdir(mode=0o700, exist_ok=True)
        file = path / FILE
        if not file.exists():
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
                out.write(_FIRST.format(hosting=hosting, database=database))
    except OSError as error:
        raise ConfigError(
            "The workspace folder cannot be made.",
            code="workspace.not_writable",
            facts={"folder": str(path), "reason": error.strerror or str(error)},
            fix="Choose a folder you may write to.",
        ) from error
    return Workspace(path.resolve())


def _check_profile(key: str, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ConfigError(
            f"{key} cannot be {value[:60]!r}.",
            code="config.bad_setting",
            facts={"setting": f"profile.{key}", "value": value[:100]},
            fix="hosting: online, sh or on_premise; database: its name, as in name.odoo.com.",
        )


def with_profile(workspace: Workspace, *, hosting: str | None, database: str | None) -> Workspace:
    """The workspace with another hosting kind or database in its ``mailops.toml``; everything else of the file stays.
    Raises :class:`ConfigError` with the file as it was."""
    from .settings import load_settings

    file = workspace.path / FILE
    before = text = file.read_text("utf-8")
    for key, value in (("hosting", hosting), ("database", database)):
        if value is None:
            continue
        _check_profile(key, value)
        line = f'{key} = "{value}"'
        text, known = re.subn(rf'(?m)^(\[profile\](?:\n(?!\[).*)*?\n){key} *= *"[^"]*"', rf"\g<1>{line}", text, count=1)
        if not known:
            text = re.sub(r"(?m)^\[profile\]$", f"[profile]\n{line}", text, count=1)
            text = text if line in text else f"{text.rstrip()}\n\n[profile]\n{line}\n"
    file.write_text(text, "utf-8")
    try:
        load_settings(file)
    except ConfigError:
        file.write_text(before, "utf-8")
        raise
    fresh = Workspace(workspace.path)
    if "engine" in workspace.__dict__:
        fresh.__dict__["engine"] = workspace.engine
    return fresh


def with_interval(workspace: Workspace, minutes: int) -> Workspace:
    """The workspace with another ``queue.interval_minutes`` in its ``mailops.toml``; everything else of the file
    stays. Raises :class:`ConfigError` with the file as it was, also where the environment says otherwise."""
    from .settings import load_settings

    file = workspace.path / FILE
    before = file.read_text("utf-8")
    line = f"interval_minutes = {minutes}"
    text, known = re.subn(
        r"(?m)^(\[queue\](?:\n(?!\[).*)*?\n)interval_minutes *= *\d+", rf"\g<1>{line}", before, count=1
    )
    if not known:
        text, known = re.subn(r"(?m)^\[queue\][ \t]*$", f"[queue]\n{line}", before, count=1)
    if not known:
        text = f"{before.rstrip()}\n\n[queue]\n{line}\n"
    file.write_text(text, "utf-8")
    try:
        if load_settings(file).queue.interval_minutes != minutes:
            raise ConfigError(
                "The environment says how often the queue job runs, and it goes before the file.",
                code="config.from_environment",
                facts={"variable": "MAILOPS_QUEUE__INTERVAL_MINUTES"},
                fix="Change or unset the variable MAILOPS_QUEUE__INTERVAL_MINUTES.",
            )
    except ConfigError:
        file.write_text(before, "utf-8")
        raise
    fresh = Workspace(workspace.path)
    if "engine" in workspace.__dict__:
        fresh.__dict__["engine"] = workspace.engine
    return fresh


@contextmanager
def borrowed(workspace: Workspace | Path) -> Iterator[Workspace]:
    """A workspace that somebody has open and keeps so, or that of a folder, whose store is closed again at the end."""
    if isinstance(workspace, Workspace):
        yield workspace
        return
    own = find(workspace)
    try:
        yield own
    finally:
        if "engine" in own.__dict__:  # it was used
            own.engine.dispose()


def find(given: str | Path | None = None) -> Workspace:
    """The workspace: the one given, else ``MAILOPS_WORKSPACE``, else the nearest folder upwards with mailops.toml."""
    named = given or os.environ.get("MAILOPS_WORKSPACE")
    if named:
        path = Path(named).expanduser()
        if (path / FILE).is_file():
            return Workspace(path.resolve())
        raise ConfigError(
            "This folder is not a mailops workspace.",
            code="workspace.not_found",
            facts={"folder": str(path), "missing": FILE},
            fix=f"Make it one with: mailops init {shlex.quote(str(path))}",
        )
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return Workspace(folder)
    raise ConfigError(
        "No mailops workspace here or above.",
        code="workspace.not_found",
        facts={"folder": str(here)},
        fix="Make one with `mailops init FOLDER`, or name one with --workspace or MAILOPS_WORKSPACE.",
    )
