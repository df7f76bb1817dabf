"""Mailboxes in memory, shared by the loopback SMTP, IMAP and POP3 peers of one test world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .smtp_auth import AuthAttempt


@dataclass(slots=True)
class StoredMail:
    """A mail in a mailbox: its UID, bytes with CRLF line ends, IMAP flags, and when it came."""

    uid: int
    data: bytes
    flags: set[str] = field(default_factory=set)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Mailboxes:
    """One inbox per address. Every method may be called from any thread."""

    def __init__(self, *addresses: str) -> None:
        self.changed = threading.Condition()
        self.uidvalidity = 1
        self._boxes: dict[str, list[StoredMail]] = {a.lower(): [] for a in addresses}
        self._next: dict[str, int] = {}

    def deliver(self, address: str, data: bytes) -> int:
        """Put a mail into an inbox (made where it is missing); its UID. Bare line feeds become CRLF."""
        clean = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        key = address.lower()
        with self.changed:
            uid = self._next.get(key, 1)
            self._next[key] = uid + 1
            self._boxes.setdefault(key, []).append(StoredMail(uid, clean))
            self.changed.notify_all()
            return uid

    def mails(self, address: str) -> list[StoredMail]:
        """The mails of an inbox, oldest first (a copy of the list)."""
        with self.changed:
            return list(self._boxes.get(address.lower(), []))

    def remove(self, address: str, uids: set[int]) -> None:
        with self.changed:
            box = self._boxes.get(address.lower(), [])
            box[:] = [mail for mail in box if mail.uid not in uids]
            self.changed.notify_all()

    def next_uid(self, address: str) -> int:
        with self.changed:
            return self._next.get(address.lower(), 1)

    def wait_for(self, address: str, count: int, timeout: float = 10.0) -> list[StoredMail]:
        """The mails, as soon as there are ``count``; raises :class:`TimeoutError`."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self._boxes.get(address.lower(), [])) >= count, timeout):
                raise TimeoutError(f"{len(self.mails(address))} of {count} mails for {address} within {timeout} s")
            return self.mails(address)


@dataclass(frozen=True, slots=True)
class Denied:
    """A refused sign-in in the server's words. ``connected`` False: the sign-in passes, every mailbox command fails
    with ``text`` (Exchange's "authenticated but not connected")."""

    text: str
    challenge: str = '{"status":"400","schemes":"Bearer","scope":"https://mail.example.test/"}'
    connected: bool = True


Judge = Callable[[AuthAttempt], "Denied | None"]


def judge_of(auth: Mapping[str, str] | Judge, text: str) -> Judge:
    """A judge from a mapping of login to password or token, refusing with ``text``."""
    if not isinstance(auth, Mapping):
        return auth
    held = {login.lower(): secret for login, secret in auth.items()}
    return lambda attempt: None if held.get(attempt.login.lower()) == attempt.secret else Denied(text)
