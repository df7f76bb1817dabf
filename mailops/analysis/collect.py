"""What to hand to support about one address or domain: its failures, the raw reports, the DNS report; redacted.

Secrets are masked; names and addresses stay, as without them nobody can look for the cause. The reader is told so.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from .. import __version__
from ..errors import InputRefused, NotFound
from ..model.text import counted, csv_rows
from ..secrets import redact
from ..store import schema
from ..store.database import explained, reading
from .causes import failure_page
from .sql import Period, domain_of

b = schema.bounces
MAX_REPORTS, MAX_FAILURES, MAX_RAW = 200, 2000, 2_000_000
_COLUMNS = ("at", "kind", "recipient", "mail_id", "server_key", "reason", "meaning", "code", "error")


def gather(engine: Engine, name: str, *, dns: Sequence[str] = (), now: datetime) -> dict[str, bytes]:
    """The files about an address or a domain: name → bytes. ``dns`` are the lines of the sender's DNS report.

    Raises :class:`NotFound` when nothing is known about it.
    """
    name = name.strip().lower()
    by = "address" if "@" in name else "domain"
    failed, total = failure_page(engine, period=Period(), by=by, value=name, limit=MAX_FAILURES)
    match = b.c.normalised if by == "address" else domain_of(engine, b.c.normalised)
    with explained("reading the reports"), reading(engine) as connection:
        query = sa.select(b.c.id, b.c.digest).where(match == name).order_by(b.c.id.desc()).limit(MAX_REPORTS)
        found = connection.execute(query).all()
        stored = {}
        for number, digest in found:  # the bytes stand in the row of a report's first recipient
            first = sa.select(b.c.id, b.c.raw).where(b.c.digest.startswith(digest[:60]), sa.func.length(b.c.raw) > 0)
            row = connection.execute(first.limit(1)).first()
            if row is not None:
                stored[int(row.id)] = bytes(row.raw[:MAX_RAW])
            else:
                stored.setdefault(int(number), b"")
    if not failed and not found:
        raise NotFound(
            f"Nothing is known about {name[:100]!r}.",
            facts={"name": name[:100]},
            fix="Name an address or a domain that mail came back from: mailops queue causes",
        )
    lines = [
        f"Collected by mailops {__version__} on {now:%Y-%m-%d %H:%M} UTC about {name}.",
        f"failures.csv: {len(failed)} of {total} failures, newest first. reports/: "
        f"{counted(len(stored), 'stored report')} as they"
        " came, newest first.",
        "dns.txt: the DNS report of the sender's domain." if dns else "There is no DNS report: no sender is known.",
        "Passwords and tokens are masked. Addresses and contents are in it: give it only to who may read them.",
    ]
    table = io.StringIO()
    rows = csv_rows(table)
    rows(_COLUMNS)
    for one in failed:
        rows([str(getattr(one, column) or "") for column in _COLUMNS])
    files = {"README.txt": "\n".join(lines) + "\n", "failures.csv": table.getvalue()}
    if dns:
        files["dns.txt"] = "\n".join(dns) + "\n"
    for number, raw in stored.items():
        files[f"reports/{number}.eml"] = raw.decode("utf-8", "surrogateescape") or "(told by a webhook; no message)\n"
    return {path: redact(text).encode("utf-8", "surrogateescape") for path, text in files.items()}


def write_zip(files: Mapping[str, bytes], output: Path) -> int:
    """Write the files as a zip that its owner alone may read; returns its size. An existing file is left alone."""
    try:
        handle = os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise InputRefused(
            "The file cannot be made.",
            code="output.unwritable",
            facts={"file": str(output), "reason": error.strerror or str(error)},
            fix="Name a new file in a folder that exists and that you may write to.",
        ) from error
    with os.fdopen(handle, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return file.tell()
