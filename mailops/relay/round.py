"""The one mail that ``mailops serve check`` hands to listeners that run: they know it, and store it nowhere.

Who asks writes a ticket into the workspace: a name and the hash of a password, both made up for this check, readable by
the workspace's owner alone, and good for a minute. A listener lets that name sign in and answers its mail with whether
it came through unchanged. Whoever can write the ticket can read the store, so it opens nothing new.
"""

from __future__ import annotations

import contextlib
import json
import secrets as randomness
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ..platforms import new_file
from ..ports import Clock
from ..submission import SubmittedMail, hash_password

FILE, DOMAIN = "check.json", "mailops.invalid"
GOOD_FOR = timedelta(minutes=1)
UNCHANGED, CHANGED = "checked and not stored", "checked, and changed on the way"
TEXT = (
    b"From: check@mailops.invalid\r\nTo: check@mailops.invalid\r\nSubject: Round\r\n\r\n.dots\r\n..two\r\n\xc3\xa4\r\n"
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """The name and the password of one check."""

    name: str
    password: str

    @property
    def sender(self) -> str:
        """The envelope sender by which its mail is known."""
        return f"{self.name}@{DOMAIN}"


@contextlib.contextmanager
def ticket(folder: Path, clock: Clock) -> Iterator[Ticket]:
    """A ticket, while it is held. Raises OSError where the workspace cannot be written."""
    made = Ticket(f"check-{randomness.token_hex(8)}", randomness.token_urlsafe(18))
    told = {"name": made.name, "password": hash_password(made.password), "until": (clock.now() + GOOD_FOR).isoformat()}
    with new_file(folder / FILE, encoding="utf-8") as out:
        json.dump(told, out)
    try:
        yield made
    finally:
        (folder / FILE).unlink(missing_ok=True)


def _hash_of(folder: Path, name: str, now: datetime) -> str | None:
    if not name.startswith("check-"):
        return None
    try:
        told = json.loads((folder / FILE).read_bytes()[:1000])
        good = told["name"] == name and now < datetime.fromisoformat(told["until"])
        return str(told["password"]) if good else None
    except (OSError, ValueError, TypeError, LookupError):
        return None


class WithTicket(Mapping[str, str]):
    """Logins, and that of a ticket while there is one: it is not among those that are listed or counted."""

    def __init__(self, logins: Mapping[str, str], folder: Path, clock: Clock) -> None:
        self._logins, self._folder, self._clock = logins, folder, clock

    def __getitem__(self, name: str) -> str:
        return _hash_of(self._folder, name, self._clock.now()) or self._logins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._logins)

    def __len__(self) -> int:
        return len(self._logins)


def answer_to(mail: SubmittedMail, folder: Path, now: datetime) -> str | None:
    """What a listener answers to the mail of a ticket; None for every other mail."""
    name, _, domain = mail.envelope_from.rpartition("@")
    if domain != DOMAIN or _hash_of(folder, name, now) is None:
        return None
    return UNCHANGED if mail.data.endswith(TEXT) else CHANGED
