"""What a person hands in and takes away by the browser.

A file comes in pieces over HTTP, so that its size is no matter (a web socket ends at 10 MiB): each piece says where it
begins, and one that comes twice or out of turn is answered with where to go on. A whole file goes to the folder of its
kind, and is looked at at once: what was made of it is the answer. Files that go out are made from the same functions as
the command line's.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputRefused, NotFound, StateConflict
from ..model.text import counted
from ..platforms import new_file
from ..queue.filters import QueueFilter

if TYPE_CHECKING:
    import pandas as pd

    from ..ops import Ops

PIECE = 4 * 1024 * 1024
"""The most bytes of one piece."""
MOST = 1024 * 1024 * 1024
"""The most bytes of a file."""
ROWS = 100_000
"""The most mails of a list that is taken away."""
KINDS = {
    "dmarc": "DMARC and TLS reports (.xml, .gz, .zip, .json, .eml)",
    "bounces": "Mails that came back (.eml, mbox)",
    "recipients": "A list of recipients (.csv with a column email)",
}
_FOLDERS = {"dmarc": "dmarc", "bounces": "taken", "recipients": "lists"}
_NAME = re.compile(r"[^\w.+@ -]")


@dataclass(frozen=True, slots=True)
class Handed:
    """How far a file has come (``at``, in bytes), and once it is whole, where it lies."""

    at: int
    path: Path | None = None


def file_name(given: str) -> str:
    """A name that is safe to keep: no folder, no hidden file, at most 120 characters. Raises :class:`InputRefused`."""
    name = _NAME.sub("_", given.replace("\\", "/").rpartition("/")[2]).strip(" .")[-120:]
    if not name:
        raise InputRefused("The file has no name.", code="upload.name", fix="Give it a name and hand it in again.")
    return name


def take(folder: Path, kind: str, name: str, *, size: int, at: int, piece: bytes) -> Handed:
    """Take a piece of a file of ``size`` bytes that begins at ``at``. The last one puts the file into its folder; where
    one of that name lies already, the new one gets a number.

    Raises :class:`InputRefused` for a kind, name or size that cannot be, :class:`StateConflict` ``upload.order`` (with
    ``at`` in its facts: go on there) for a piece out of turn.
    """
    if kind not in KINDS:
        raise InputRefused(
            f"There is no kind {kind[:40]!r}.",
            code="upload.kind",
            facts={"kinds": list(KINDS)},
            fix="Choose one of the page.",
        )
    if not 0 < size <= MOST or len(piece) > PIECE or at < 0 or at + len(piece) > size:
        raise InputRefused(
            "This file cannot be taken.",
            code="upload.size",
            facts={"size": size, "most": MOST, "piece": len(piece)},
            fix="Hand in files of at most 1 GiB that are not empty; larger ones by the command line.",
        )
    clean = file_name(name)
    part = folder / "uploads" / f"{kind}-{size}-{clean}.part"
    part.parent.mkdir(mode=0o700, exist_ok=True)
    if at == 0:
        part.unlink(missing_ok=True)
    have = part.stat().st_size if part.exists() else 0
    if at != have:
        raise StateConflict(
            "This piece is out of turn.", code="upload.order", facts={"at": have}, fix="Go on where the answer says."
        )
    if have:
        with part.open("ab") as file:
            file.write(piece)
    else:
        with new_file(part) as file:
            file.write(piece)
    if at + len(piece) < size:
        return Handed(at + len(piece))
    goal = folder / _FOLDERS[kind]
    goal.mkdir(mode=0o700, exist_ok=True)
    path = next(one for one in _names(goal / clean) if not one.exists())
    part.replace(path)
    return Handed(size, path)


def _names(path: Path) -> list[Path]:
    return [path, *(path.with_name(f"{n}-{path.name}") for n in range(2, 1000))]


def look(ops: Ops, kind: str, path: Path) -> str:
    """What was made of a whole file, in a sentence. One that nothing can be made of is taken away again, and raises
    :class:`InputRefused`."""
    try:
        return _LOOKS[kind](ops, path)
    except InputRefused:
        path.unlink(missing_ok=True)
        raise


def _reports(ops: Ops, path: Path) -> str:
    made, encrypted = ops.dmarc.read([path]), ops.dmarc.tls([path])
    found = len(made.reports) + len(encrypted.reports)
    if not found:
        reason = made.refused[0].reason if made.refused else "there is no report in it"
        raise InputRefused(
            f"{path.name} is no report: {reason}",
            code="upload.no_report",
            fix="Hand in what receivers send: .xml, .gz, .zip, .json or the whole mail.",
        )
    return f"{counted(found, 'report')}, {counted(made.messages, 'message')}; the page of DMARC reports has them."


def _returned(ops: Ops, path: Path) -> str:
    from ..bounces.reading.sources import messages

    counts: Counter[str] = Counter()
    skipped: list[str] = []
    for source in messages([path], lambda one: skipped.append(f"{one.name}: {one.reason}")):
        taken = ops.bounces.take(source.raw, None)
        counts["taken before" if taken.repeated else taken.kind] += 1
        counts["tied to a delivery"] += taken.matched
    if not sum(counts.values()):
        raise InputRefused(
            f"{path.name} holds no mail{': ' + skipped[0] if skipped else ''}.",
            code="upload.no_mail",
            fix="Hand in single mails (.eml) or an mbox.",
        )
    return ", ".join(f"{number} {what}" for what, number in counts.items() if number) + "."


def _listed(ops: Ops, path: Path) -> str:
    from ..campaigns.listing import rows_of

    rows = with_one = 0
    for row in rows_of(path):
        rows += 1
        with_one += bool(row.get("email"))
    if not with_one:
        raise InputRefused(
            f"{path.name} has no column email with an address in it.",
            code="upload.no_list",
            fix="Name the column of the addresses email, in the first line.",
        )
    return (
        f"{counted(rows, 'row')}, {with_one:,} with an address. A campaign takes it: "
        f"mailops campaign create KEY --recipients {path.parent.name}/{path.name}"
    )


_LOOKS = {"dmarc": _reports, "bounces": _returned, "recipients": _listed}


# --- taken away -------------------------------------------------------------------------------------------------------

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "ics": "text/calendar; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}
FILES = {
    "queue": ("The mails of the queue, one line a recipient", ("csv", "parquet")),
    "bounces": ("The reports that came back", ("csv", "parquet")),
    "suppressions": ("The suppression list", ("csv",)),
    "ends": ("What ends when, as a calendar with alarms", ("ics",)),
}


def given_away(ops: Ops, name: str, form: str, query: Mapping[str, str], chosen: QueueFilter) -> bytes:
    """The bytes of a file: one of :data:`FILES`, or ``records`` (``?domain=``, ``?format=zone``): what has to be
    published. Raises :class:`NotFound` for one that there is not."""
    if name == "records" and form == "txt":
        return _records(ops, query.get("domain", ""), query.get("format", "zone")).encode()
    if form not in FILES.get(name, ("", ()))[1]:
        raise NotFound(f"There is no file {name[:40]}.{form[:10]}.", code="download.not_found", fix="Look at files.")
    if name == "ends":
        from ..oauth.calendar import icalendar

        return icalendar(ops.ends(network=False), ops.clock.now()).encode()
    if name == "suppressions":
        from ..suppression.lists import export

        return export(ops.suppressions.page(state="active", limit=1_000_000)[0]).encode()
    frame = ops.queue.frame(chosen, limit=ROWS) if name == "queue" else ops.bounces.recent(ROWS)
    return _written(frame, name, form)


def _written(frame: pd.DataFrame, name: str, form: str) -> bytes:
    from ..analysis.export import write_frames
    from ..secrets import redact

    def clean(value: object) -> object:
        return redact(value) if isinstance(value, str) else value

    words = [column for column in frame.columns if frame[column].map(lambda one: isinstance(one, str)).any()]
    safe = frame.assign(**{column: frame[column].map(clean) for column in words})
    with tempfile.TemporaryDirectory() as folder:
        return write_frames({name: safe}, Path(folder) / "out", form)[0].read_bytes()


def _records(ops: Ops, domain: str, form: str) -> str:
    from ..dns.export import exported, known_format

    known_format(form)
    zones = exported(ops.domains.check(ops.domains.of(ops.setup, domain)), form)
    return "\n".join(zones.values()) or "; there is nothing to publish\n"
