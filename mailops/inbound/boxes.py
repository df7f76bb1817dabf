"""Mailboxes on the wire: IMAP through IMAPClient, POP3 through ``poplib``, both signed in by password or token.

Whatever the other side does ends in an error of ours; a mail is flagged, moved or deleted only when it is told to be.
"""

from __future__ import annotations

import imaplib
import poplib
import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from time import monotonic
from types import TracebackType
from typing import Any, Self

from ..errors import AuthError, ConfigError, MailopsError, TemporaryFailure
from ..model.setup import Encryption, Server
from ..oauth.sasl import Token, imap_sign_in, pop_sign_in
from ..ports import Secrets
from ..secrets import redact
from ..smtp.tls import context_for
from ..smtp.tls import explain as explain_tls
from .accounts import OAUTH, Account
from .parse import message_ids
from .raw import PIECE, OnDisk

imaplib._MAXLINE = poplib._MAXLINE = 64 << 20  # type: ignore[attr-defined]  # a list of UIDs, or a mail, in one long line
_FOLDED = re.compile(rb"\r?\n[ \t]+")
CHUNK = 500
HEAD = "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
_BODY = re.compile(rb"\d{1,10} \((?:UID (?P<uid>\d{1,10}) )BODY\[\] \{\d{1,12}\} \)\Z")
_HEAD = re.compile(
    rb"\d{1,10} \(UID (?P<uid>\d{1,10}) RFC822\.SIZE (?P<size>\d{1,12}) FLAGS \((?P<seen>[^()]{0,200})\) "
    rb"BODY\[HEADER\.FIELDS \(\"?(?i:MESSAGE-ID)\"?\)\] \{\d{1,12}\} \)\Z"
)
"""The answers to them, with the literal left out, in the order that was asked for."""

TokenOf = Callable[[Account], Token]


@dataclass(frozen=True, slots=True)
class Head:
    """What a mailbox says of a mail without giving it."""

    uid: str
    message_id: str | None
    size: int
    seen: bool


class ImapBox:
    """One folder over IMAP, opened by ``with``; ``uidvalidity`` is known then."""

    def __init__(self, account: Account, secrets: Secrets, token: TokenOf) -> None:
        self._account, self._secrets, self._token = account, secrets, token
        self._client: Any = None
        self.uidvalidity = 0

    def __enter__(self) -> Self:
        from imapclient import IMAPClient
        from imapclient.exceptions import IMAPClientError, LoginError

        account, context = self._account, _context(self._account, self._secrets)
        with _explained(account, "signing in"):
            client = IMAPClient(
                account.host,
                account.port,
                ssl=account.encryption is Encryption.TLS,
                ssl_context=context,
                timeout=account.timeout,
            )
            self._client = client
            try:
                if account.encryption is Encryption.STARTTLS:
                    client.starttls(context)
                _refuse_open_line(account, client.socket())
                if account.password == OAUTH:
                    client._imap.capabilities = tuple(c.decode() for c in client.capabilities())
                    imap_sign_in(client._imap, account.login, self._token(account))
                else:
                    client.login(account.login, self._secrets.reveal(account.password))
            except LoginError as error:
                self.close()
                raise _refused(account, error) from error
            except BaseException:
                self.close()
                raise
        with _explained(account, "opening the folder"):
            try:
                found = client.select_folder(account.folder)
            except IMAPClientError as error:
                self.close()
                raise ConfigError(
                    f"The folder {account.folder!r} cannot be opened.",
                    code="inbound.folder",
                    facts={"account": account.key, "folder": account.folder, "said": redact(str(error))[:200]},
                    fix="Name a folder of this mailbox (--folder), as its mail program shows it.",
                ) from error
            except BaseException:
                self.close()
                raise
        self.uidvalidity = int(found.get(b"UIDVALIDITY", 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with suppress(Exception):
                self._client.logout()
        self.close()

    def close(self) -> None:
        """Drop the connection without a word."""
        with suppress(Exception):
            self._client.shutdown()

    def uids(self, what: str = "ALL") -> list[int]:
        """The UIDs in the folder, in order; ``UNSEEN`` for those nobody has read."""
        with _explained(self._account, "listing the folder"):
            return sorted(int(uid) for uid in self._client.search([what]))

    def heads(self, uids: Sequence[int]) -> dict[int, Head]:
        """Size, Message-ID and whether it was read, of these mails; those that are gone are left out."""
        found: dict[int, Head] = {}
        for at in range(0, len(uids), CHUNK):
            some = uids[at : at + CHUNK]
            with _explained(self._account, "asking for sizes"):
                for uid, line, size, seen in self._quickly(some, HEAD, _HEAD):
                    found[uid] = _head(uid, line, int(size), b"\\SEEN" in seen.upper())
            left = [uid for uid in some if uid not in found]
            if not left:
                continue
            with _explained(self._account, "asking for sizes"):
                answer = self._client.fetch(left, ["RFC822.SIZE", "FLAGS", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"])
            for uid, data in answer.items():
                fields = next((value for name, value in data.items() if name.startswith(b"BODY[HEADER")), b"")
                size = int(data.get(b"RFC822.SIZE") or 0)
                found[int(uid)] = _head(int(uid), fields or b"", size, b"\\Seen" in data.get(b"FLAGS", ()))
        return found

    def _quickly(self, uids: Sequence[int], items: str, shape: re.Pattern[bytes]) -> Iterator[tuple[Any, ...]]:
        """A FETCH of one literal a mail, as nearly every server answers it: what ``shape`` finds before and behind the
        literal, with the literal second. An answer of another shape is left out (the general parser asks for it
        again): a literal of 16 kB passes that parser at a tenth of this speed."""
        _, answer = self._client._imap.uid("FETCH", ",".join(map(str, uids)), items)
        wanted = set(uids)
        for at, piece in enumerate(answer or ()):
            if not isinstance(piece, tuple):
                continue
            behind = answer[at + 1] if at + 1 < len(answer) and isinstance(answer[at + 1], bytes) else b""
            said = shape.match(piece[0][:400] + b" " + behind[:400])
            if said and behind.endswith(b")") and int(said["uid"]) in wanted:
                rest = [value for name, value in said.groupdict().items() if name != "uid"]
                yield int(said["uid"]), piece[1], *rest

    def mails(self, uids: Sequence[int]) -> dict[int, bytes]:
        """The bytes of these mails; those that the server does not give are left out. Nothing is marked as read."""
        with _explained(self._account, "fetching mail"):
            found = {uid: raw for uid, raw in self._quickly(uids, "(UID BODY.PEEK[])", _BODY) if raw}
            left = [uid for uid in uids if uid not in found]
            answer = self._client.fetch(left, ["BODY.PEEK[]"]) if left else {}
        return found | {int(uid): data[b"BODY[]"] for uid, data in answer.items() if data.get(b"BODY[]")}

    def large(self, uid: int) -> OnDisk | None:
        """As :meth:`mails`, of one that is not to be in memory whole: it comes piece by piece (RFC 3501 §6.4.5) into a
        file without a name."""
        file = TemporaryFile()  # noqa: SIM115 - the mail is this file, and ends with it
        while True:
            with _explained(self._account, "fetching a large mail"):
                answer = self._client.fetch([uid], [f"BODY.PEEK[]<{file.tell()}.{PIECE}>"])
            piece = next((v for k, v in answer.get(uid, {}).items() if k.startswith(b"BODY[]")), None) or b""
            file.write(piece)
            if len(piece) < PIECE:
                break
        file.flush()
        return OnDisk(file) if file.tell() else None

    @property
    def can_wait(self) -> bool:
        """Whether the server tells of new mail by itself (IDLE, RFC 2177)."""
        with _explained(self._account, "asking what the server can do"):
            return bool(self._client.has_capability("IDLE"))

    def wait(self, seconds: float, stop: Callable[[], bool]) -> bool:
        """Wait for new mail, at most so long; whether some came. ``stop`` is asked each second."""
        with _explained(self._account, "waiting for new mail"):
            self._client.idle()
            end = monotonic() + seconds
            try:
                while monotonic() < end and not stop():
                    if any(b"EXISTS" in said for said in self._client.idle_check(timeout=min(1.0, seconds))):
                        return True
            finally:
                with suppress(Exception):
                    self._client.idle_done()
        return False

    def done(self, uids: Collection[str]) -> None:
        """These mails are stored: mark them as read, and move them where the account says so."""
        which = [int(uid) for uid in uids]
        if not which:
            return
        with _explained(self._account, "marking mail as read"):
            self._client.add_flags(which, [b"\\Seen"], silent=True)
            if self._account.move_to:
                if self._client.has_capability("MOVE"):
                    self._client.move(which, self._account.move_to)
                else:
                    self._client.copy(which, self._account.move_to)
                    self._client.delete_messages(which, silent=True)
                    self._client.uid_expunge(which) if self._client.has_capability("UIDPLUS") else None


class PopBox:
    """A mailbox over POP3, opened by ``with``. What is deleted goes when the session ends well, else nothing does."""

    def __init__(self, account: Account, secrets: Secrets, token: TokenOf) -> None:
        self._account, self._secrets, self._token = account, secrets, token
        self._pop: Any = None

    def __enter__(self) -> Self:
        account, context = self._account, _context(self._account, self._secrets)
        with _explained(account, "signing in"):
            if account.encryption is Encryption.TLS:
                self._pop = poplib.POP3_SSL(account.host, account.port, timeout=account.timeout, context=context)
            else:
                self._pop = poplib.POP3(account.host, account.port, timeout=account.timeout)
            try:
                if account.encryption is Encryption.STARTTLS:
                    self._pop.stls(context)
                _refuse_open_line(account, self._pop.sock)
                if account.password == OAUTH:
                    pop_sign_in(self._pop, account.login, self._token(account))
                else:
                    password = self._secrets.reveal(account.password)
                    try:
                        self._pop.user(account.login)
                        self._pop.pass_(password)
                    except poplib.error_proto as error:
                        raise _refused(account, error) from error
            except BaseException:
                self._pop.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with _explained(self._account, "ending the session"):
                    self._pop.quit()
        finally:
            with suppress(Exception):
                self._pop.close()

    def listing(self) -> list[tuple[int, str, int]]:
        """(number, UIDL, size) of every mail; the UIDL is "" where the server has none."""
        with _explained(self._account, "listing the mailbox"):
            sizes = dict(_pairs(self._pop.list()[1]))
            try:
                names = dict(_pairs(self._pop.uidl()[1]))
            except poplib.error_proto:
                names = {}
        return [(number, names.get(number, ""), int(size)) for number, size in sorted(sizes.items())]

    def mail(self, number: int) -> bytes | None:
        """The bytes of a mail, or None when the server does not give it."""
        with _explained(self._account, "fetching mail"):
            try:
                return b"\r\n".join(self._pop.retr(number)[1]) + b"\r\n"
            except poplib.error_proto as error:
                if str(error).startswith(("b'-ERR", "-ERR")):
                    return None
                raise

    def delete(self, numbers: Iterable[int]) -> None:
        """Mark mails for deletion at the end of the session."""
        with _explained(self._account, "deleting mail"):
            for number in numbers:
                self._pop.dele(number)


def _head(uid: int, field: bytes, size: int, seen: bool) -> Head:
    ids = message_ids(_FOLDED.sub(b" ", field).decode("utf-8", "replace").partition(":")[2])
    return Head(str(uid), ids[0] if ids else None, size, seen)


def _pairs(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    for line in lines:
        number, _, rest = line.decode("ascii", "replace").strip().partition(" ")
        if number.isdigit() and rest:
            yield int(number), rest.strip()[:100]


def _context(account: Account, secrets: Secrets) -> ssl.SSLContext | None:
    if account.encryption is Encryption.NONE:
        return None
    return context_for(_as_server(account), secrets)


def _as_server(account: Account) -> Server:
    return Server(account.key, account.key, host=account.host, port=account.port, ca_file=account.ca_file)


def _refuse_open_line(account: Account, sock: socket.socket) -> None:
    """No password over a line that anybody can read: without encryption the peer has to be this machine."""
    import ipaddress

    peer = str(sock.getpeername()[0]).partition("%")[0]
    if account.encryption is Encryption.NONE and not ipaddress.ip_address(peer).is_loopback:
        raise ConfigError(
            "The password would go over an unprotected line.",
            code="inbound.unprotected",
            facts={"account": account.key, "host": account.host},
            fix="Use --encryption tls (993 or 995), or starttls.",
        )


def _refused(account: Account, error: Exception) -> AuthError:
    return AuthError(
        f"The mail server refused the sign-in of {account.login}.",
        code="auth.refused",
        facts={"account": account.key, "host": account.host, "said": redact(str(error))[:300]},
        fix="Check login and password; many providers want an application password, or OAuth.",
    )


@contextmanager
def _explained(account: Account, doing: str) -> Iterator[None]:
    """Errors of the wire as ours."""
    from imapclient.exceptions import IMAPClientError

    where = {"account": account.key, "host": account.host, "port": account.port, "doing": doing}
    try:
        yield
    except MailopsError:
        raise
    except ssl.SSLError as error:
        _, words, fix = explain_tls(error, _as_server(account))
        raise TemporaryFailure(words, code="inbound.tls", facts=where, fix=fix) from error
    except (
        OSError,
        EOFError,
        IMAPClientError,
        imaplib.IMAP4.error,
        poplib.error_proto,
        ValueError,
        LookupError,
    ) as error:
        raise TemporaryFailure(
            f"The mail server {account.host} broke off while {doing}.",
            code="inbound.connection",
            facts={**where, "said": redact(f"{type(error).__name__}: {error}")[:300]},
            fix="Nothing is lost: what was not stored still lies there. Run it again; check host, port and encryption.",
        ) from error
