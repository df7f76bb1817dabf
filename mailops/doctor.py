"""``mailops doctor``: what is missing or broken on this machine, and what to do.

Only the standard library is imported, so that it also runs where nothing is installed (``make doctor``).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .model.text import counted

PEERS = {
    "chromium": "the browser tests",
    "postfix": "the comparison in make bench, and a real MTA as test peer",
    "dovecot": "the tests against a real mailbox",
    "node": "the OAuth provider in tests",
}
# Used where this package was never installed (a bare checkout): the ones without which nothing runs.
CORE = ("sqlalchemy", "alembic", "pydantic-settings", "typer", "rich", "dnspython", "cryptography")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``ok`` is None for a remark that blocks nothing."""

    what: str
    ok: bool | None
    seen: str
    fix: str = ""


def examine(folder: Path | None = None, *, workspace: str | None = None) -> list[Finding]:
    """Look at Python, packages, disk and workspace (the one named, else the one that would be found). Reads only."""
    here = folder or Path.cwd()
    return [
        _python(),
        *_platform(),
        *_packages(),
        _disk(here),
        _workspace(workspace),
        *_serving(workspace),
        *_verifications(workspace),
        *_peers(),
    ]


def _python() -> Finding:
    version = ".".join(str(n) for n in sys.version_info[:3])
    return Finding(
        "Python", sys.version_info >= (3, 11), f"{version} at {sys.executable}", "Install Python 3.11 or newer."
    )


def _platform() -> list[Finding]:
    """A remark where the queue and serve cannot run; all else does."""
    from .platforms import lacking

    missing = ", ".join(lacking())
    if not missing:
        return []
    seen = f"mailops queue run and mailops serve do not run on {sys.platform}, which lacks {missing}; all else does"
    return [Finding("Platform", None, seen, "Run these two on Linux or macOS (on Windows: in WSL).")]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def _packages() -> list[Finding]:
    fix = "Run `make env` in the checkout, or `pip install mailops` again."
    try:
        wanted = [r for r in metadata.requires("mailops") or [] if "extra ==" not in r]
    except metadata.PackageNotFoundError:
        wanted = list(CORE)
    bad = []
    for requirement in wanted:
        name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        bound = re.search(r">=\s*([\d.]+)", requirement)
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            bad.append(f"{name} is not installed")
            continue
        if bound and _number(have) < _number(bound.group(1)):
            bad.append(f"{name} {have} is older than {bound.group(1)}")
    if len(bad) == len(wanted):
        return [Finding("Packages", False, f"none of mailops' packages is there for {sys.executable}", fix)]
    return [Finding("Package", False, line, fix) for line in bad] or [
        Finding("Packages", True, f"{len(wanted)} of {len(wanted)} there")
    ]


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    return Finding("Disk", free > 1, f"{free:.1f} GB free at {folder}", "Free at least 1 GB.")


def _verifications(given: str | None) -> list[Finding]:
    """Verifications of sender addresses that wait for their end (IN-34)."""
    from .errors import MailopsError
    from .ops import Ops

    try:
        ops = Ops.open(given)
        if "://" not in ops.workspace.database and not Path(ops.workspace.database).exists():
            return []
        found = ops.verifications
        ops.close()
    except MailopsError:
        return []  # said of the workspace, or by the command that needs the store
    fix = "mailops domain senders {} --restore"
    return [
        Finding("Verification", False, f"the sender addresses of {w.domain} still make leads", fix.format(w.domain))
        for w in found
    ]


def _workspace(given: str | None) -> Finding:
    from .errors import ConfigError
    from .platforms import has_owners
    from .workspace import find

    try:
        path = find(given).path
    except ConfigError as error:
        named = given or os.environ.get("MAILOPS_WORKSPACE")
        return Finding("Workspace", False if named else None, error.message, error.fix)
    if not os.access(path, os.W_OK):
        return Finding("Workspace", False, f"{path} is not writable", "Give this user the folder.")
    open_to_others = has_owners() and path.stat().st_mode & 0o077
    return Finding(
        "Workspace",
        not open_to_others,
        str(path) + (" is open to other users" if open_to_others else ""),
        f"chmod 700 {path}",
    )


def _serving(given: str | None) -> list[Finding]:
    """How ``mailops serve`` goes, as it wrote itself; nothing where it does not run."""
    from .errors import ConfigError
    from .model.running import is_alive, read_running
    from .workspace import find

    try:
        told = read_running(find(given).path)
    except ConfigError:
        return []
    if told is None:
        return []
    at = told.at.isoformat()[:19]
    if not is_alive(told.pid):
        seen = f"process {told.pid} ended without being stopped; last heard of at {at}. {told.words}"
        return [Finding("Serve", None, seen.strip())]
    fix = "Mend what it says; the process goes on by itself, or start it again."
    down = [s for s in told.services if s.failures and not s.ready]
    if down:
        words = "; ".join(f"{s.name}: {s.error}" for s in down)
        return [Finding("Serve", False, f"process {told.pid}: a part of it is down: {words}", fix)]
    if told.failures:
        many = counted(told.failures, "run")
        seen = f"process {told.pid}: {many} of the queue in a row failed, the last at {at}: {told.words}"
        return [Finding("Serve", False, seen, fix)]
    return [Finding("Serve", True, f"process {told.pid}: the queue runs since {told.since.isoformat()[:19]}")]


def _peers() -> list[Finding]:
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return [
        Finding(
            name,
            True if shutil.which(name, path=places) else None,
            "there" if shutil.which(name, path=places) else f"not here; only needed for {use}",
        )
        for name, use in PEERS.items()
    ]


def lines(findings: list[Finding]) -> list[str]:
    """The findings in words."""
    marks = {True: "ok  ", False: "BAD ", None: "note"}
    out = []
    for found in findings:
        out.append(f"{marks[found.ok]}  {found.what}: {found.seen}")
        if found.ok is False:
            out.append(f"      What to do: {found.fix}")
    return out


def main() -> int:
    """Print the findings; 1 when something is broken."""
    findings = examine()
    sys.stdout.write("\n".join(lines(findings)) + "\n")
    return 1 if any(found.ok is False for found in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
