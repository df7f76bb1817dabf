"""The logs of the demonstration: that of two real Postfix instances, and a week of Odoo's, dated and compressed.

``mail.log.gz`` is what the suite's Postfix wrote (``tests/integration/test_logs_postfix.py``), with nothing but its day
changed. Odoo's lines are made here in its own words: a mail that failed twice, then went out by that Postfix.
"""

from __future__ import annotations

import gzip
import re
from datetime import datetime, timedelta
from pathlib import Path

from ..ops import Ops

ASKED = "<1.log@acme.example>"
"""A mail that is followed from Odoo over both instances."""
_STAMP = re.compile(r"^[A-Z][a-z]{2} [ \d]\d (?=\d\d:\d\d:\d\d )", re.MULTILINE)
_LOGGER = "INFO acme odoo.addons.mail.models.mail_mail:"


def write_logs(folder: Path, now: datetime) -> Path:
    """Write the files to a folder, as if they ended the day before ``now``."""
    folder.mkdir(exist_ok=True)
    day = now - timedelta(days=1)
    postfix = gzip.decompress((Path(__file__).parent / "mail.log.gz").read_bytes()).decode()
    (folder / "mail.log.1").write_text(_STAMP.sub(f"{day:%b} {day.day:2d} ", postfix), encoding="utf-8")
    for back in range(1, 8):
        at = now - timedelta(days=back)
        lines = [_sent(at, hour, f"{at:%Y%m%d}{hour}", f"<{at:%Y%m%d}.{hour}@acme.example>") for hour in (6, 9)]
        if back in (3, 5):
            lines.append(
                f"{at:%Y-%m-%d} 10:00:00,123 77 {_LOGGER} MemoryError while processing mail with ID 7 and Msg-Id"
                f" '{ASKED}'. Consider raising the --limit-memory-hard startup option"
            )
        if back == 1:
            lines.append(_sent(at, 15, "7", ASKED))
        text = "".join(f"{line}\n" for line in lines)
        if back == 1:
            (folder / "odoo.log.1").write_text(text, encoding="utf-8")
        else:
            (folder / f"odoo.log.{at:%Y-%m-%d}.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def _sent(at: datetime, hour: int, number: str, message_id: str) -> str:
    stamp = f"{at:%Y-%m-%d} {hour:02d}:00:00,123"
    return f"{stamp} 77 {_LOGGER} Mail with ID {number} and Message-Id '{message_id}' successfully sent"


def take_logs(ops: Ops, folder: Path) -> list[str]:
    """Take them, and ask where one mail is: lines to print."""
    done = ops.logs.take(folder, zone="UTC")
    (journey,) = ops.trace(ASKED, since=None).journeys
    lines = [done.says, f"{ASKED}: {' → '.join(journey.holders)}"]
    return [*lines, *(f"{path.recipient}: {path.says}" for path in journey.paths)]
