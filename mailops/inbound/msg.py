"""Outlook's ``.msg`` files as mail: a compound file (MS-CFB) of MAPI properties (MS-OXMSG), made into one message.

::

    __substg1.0_007D001F   the header as it came over the wire, where Outlook kept it; else one is made of
    __substg1.0_0037, 5D01, 1035 …                             subject, sender, Message-ID, time, recipients
    __substg1.0_1000 / 1013                                    the text / the HTML
    __recip_version1.0_#…, __attach_version1.0_#…              recipients, attachments (also mail in mail)

The compound file is read by olefile; what stands in it is read here. A body that is there as RTF alone is told, not
shown.
"""

from __future__ import annotations

import io
import re
import struct
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from typing import Any

from ..errors import InputRefused, MailopsError
from ..mime import storable

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MOST_PARTS, DEEPEST = 1_000, 5
_BODY_FIELDS = re.compile(r"(?:mime-version|content-[a-z-]+|bcc|x-ms-tnef-correlator)\s*:", re.IGNORECASE)
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_FIELDS = {1: "To", 2: "Cc"}  # PidTagRecipientType; a Bcc is not told to anybody


def is_msg(head: bytes) -> bool:
    """Whether a file begins as a compound file."""
    return head.startswith(MAGIC)


def from_msg(data: bytes) -> bytes:
    """The message in an ``.msg`` file (RFC 5322). Raises :class:`InputRefused` ``input.msg`` for what holds none."""
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as file:
            made = _Storage(file, ()).message(0)
            return made
    except MailopsError:
        raise
    except Exception as error:  # whatever a broken compound file does to its reader
        raise InputRefused(
            "This .msg file cannot be read.",
            code="input.msg",
            facts={"reason": f"{type(error).__name__}: {error}"[:200]},
            fix="Save the mail again in Outlook, or as .eml.",
        ) from error


class _Storage:
    """The properties of a message, a recipient or an attachment: a folder of the compound file."""

    def __init__(self, file: Any, path: tuple[str, ...]) -> None:
        self._file, self._path = file, path
        self._here = {
            entry[len(path)]: entry[: len(path) + 1]
            for entry in file.listdir(streams=True, storages=True)
            if tuple(entry[: len(path)]) == path and len(entry) == len(path) + 1
        }
        self._fixed = self._properties()

    def _stream(self, name: str) -> bytes | None:
        found = self._here.get(name)
        return bytes(self._file.openstream(found).read()) if found else None

    def _properties(self) -> dict[int, bytes]:
        """The values of fixed length: 16 bytes each after a head of 8 (parts), 24 (mail in mail) or 32 (the mail)."""
        data = self._stream("__properties_version1.0") or b""
        head = len(data) % 16 or 32
        if head == 8 and self._path and self._path[-1].startswith("__substg1.0_3701000D"):
            head = 24
        rows = (data[at : at + 16] for at in range(head, len(data) - 15, 16))
        return {struct.unpack("<HH", row[:4])[1]: row[8:16] for row in rows}

    def text(self, tag: int) -> str:
        """A text property; "" for none."""
        wide = self._stream(f"__substg1.0_{tag:04X}001F")
        if wide is not None:
            return storable(wide.decode("utf-16-le", "replace")).rstrip("\0")
        narrow = self._stream(f"__substg1.0_{tag:04X}001E")
        if narrow is None:
            return ""
        page = self.number(0x3FDE) or self.number(0x3FFD) or 1252
        try:
            return storable(narrow.decode("utf-8" if page == 65001 else f"cp{page}", "replace"))
        except LookupError:
            return storable(narrow.decode("cp1252", "replace"))

    def data(self, tag: int) -> bytes | None:
        """A binary property."""
        return self._stream(f"__substg1.0_{tag:04X}0102")

    def number(self, tag: int) -> int:
        """A number of 32 bits; 0 for none."""
        return int.from_bytes(self._fixed.get(tag, b"")[:4], "little")

    def time(self, tag: int) -> datetime | None:
        """A moment (100 nanoseconds since 1601)."""
        ticks = int.from_bytes(self._fixed.get(tag, b""), "little")
        try:
            return _EPOCH + timedelta(microseconds=ticks // 10) if ticks else None
        except OverflowError:
            return None

    def parts(self, kind: str) -> list[_Storage]:
        """Recipients or attachments, in order."""
        names = sorted(name for name in self._here if name.startswith(kind))[:MOST_PARTS]
        return [_Storage(self._file, (*self._path, name)) for name in names]

    # --- the mail -----------------------------------------------------------------------------------------------------

    def message(self, depth: int) -> bytes:
        """The whole message."""
        body = self._body()
        for part in self.parts("__attach_version1.0_#"):
            part.attach_to(body, depth)
        head = _lines(self.text(0x007D)) or self._made_head()
        if not head and body.get_payload() in ("", "\n", None):
            raise InputRefused(
                "This file holds no mail.", code="input.msg", facts={"depth": depth}, fix="Save the mail again as .eml."
            )
        own = body.as_bytes(policy=SMTP)
        return "".join(f"{line}\r\n" for line in head).encode("utf-8", "replace") + own

    def _body(self) -> EmailMessage:
        body, text = EmailMessage(policy=SMTP), self.text(0x1000)
        html = self.data(0x1013)
        shown = html.decode("utf-8", "replace") if html is not None else self.text(0x1013)
        if not text and not shown and self.data(0x1009):
            text = "(The body of this mail is there as RTF alone.)"
        body.set_content(storable(text).replace("\0", ""))
        if shown:
            body.add_alternative(storable(shown), subtype="html")
        return body

    def _made_head(self) -> list[str]:
        address = self.text(0x5D01) or self.text(0x0C1F)
        made = EmailMessage(policy=SMTP)
        fields: list[tuple[str, str]] = []
        if "@" in address:
            fields.append(("From", formataddr((self.text(0x0C1A), address))))
        people: dict[str, list[str]] = {}
        for person in self.parts("__recip_version1.0_#"):
            spec = person.text(0x39FE) or person.text(0x3003)
            field = _FIELDS.get(person.number(0x0C15) or 1)
            if field and "@" in spec:
                people.setdefault(field, []).append(formataddr((person.text(0x3001), spec)))
        fields += [(name, ", ".join(found)) for name, found in people.items()]
        fields += [("Subject", self.text(0x0037))] if self.text(0x0037) else []
        moment = self.time(0x0039) or self.time(0x0E06)
        fields += [("Date", format_datetime(moment))] if moment else []
        named = (("Message-ID", 0x1035), ("In-Reply-To", 0x1042), ("References", 0x1039))
        fields += [(name, self.text(tag)) for name, tag in named if self.text(tag)]
        for name, value in fields:
            made[name] = " ".join(value.split())
        return made.as_bytes().decode("ascii", "replace").split("\r\n\r\n")[0].split("\r\n") if fields else []

    def attach_to(self, body: EmailMessage, depth: int) -> None:
        """Put this attachment into the mail."""
        name = self.text(0x3707) or self.text(0x3704) or "attachment"
        inner = self._here.get("__substg1.0_3701000D")
        if inner is not None and depth < DEEPEST:
            data = _Storage(self._file, tuple(inner)).message(depth + 1)
            body.add_attachment(data, maintype="application", subtype="octet-stream", filename=f"{name}.eml")
            return
        main, _, sub = self.text(0x370E).strip().lower().partition("/")
        word = re.compile(r"[a-z0-9][a-z0-9.+_-]{0,80}\Z")
        known = word.match(main) and word.match(sub) and main not in ("multipart", "message", "text")
        body.add_attachment(
            self.data(0x3701) or b"",
            maintype=main if known else "application",
            subtype=sub if known else "octet-stream",
            filename=storable(name)[:200],
        )


def _lines(head: str) -> list[str]:
    """The header lines of the wire, without those of the body, which is made anew."""
    lines: list[str] = []
    keep = False
    for line in head.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line[:1] in (" ", "\t"):
            lines += [line] if keep and line.strip() else []
            continue
        keep = bool(re.match(r"[!-9;-~]+\s*:", line)) and not _BODY_FIELDS.match(line)
        lines += [line] if keep else []
    return lines
