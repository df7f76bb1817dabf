"""A loopback IMAP server (RFC 3501 in the parts that fetching needs) over :class:`Mailboxes`, one INBOX a login.

Spoken: CAPABILITY, STARTTLS, AUTHENTICATE (PLAIN, XOAUTH2, OAUTHBEARER; SASL-IR), LOGIN, LIST, STATUS, SELECT,
EXAMINE, SEARCH, FETCH, STORE, EXPUNGE, CLOSE, IDLE (RFC 2177), APPEND, NOOP, LOGOUT, each also as UID command where
that exists. Search and fetch are in ``imap_fetch``.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
import threading
from collections.abc import Mapping

from .imap_fetch import fetch_items, message_set, search
from .line_server import LineServer, LineSession
from .mailboxes import Denied, Judge, Mailboxes, StoredMail, judge_of
from .smtp_auth import AuthAttempt, parse_sasl
from .smtp_core import ServerTls

REFUSED = "AUTHENTICATE failed."
_LITERAL = re.compile(rb"\{(\d{1,9})(\+?)\}$")
_FREE = ("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "AUTHENTICATE", "LOGIN", "ID")


class _Session(LineSession):
    server: ImapServer

    def __init__(self, server: LineServer, sock: socket.socket) -> None:
        super().__init__(server, sock)
        self._login: str | None = None
        self._denied: Denied | None = None
        self._mails: list[StoredMail] | None = None
        self._read_only = False

    def run(self) -> None:
        self._say(f"* OK [CAPABILITY {self._capabilities()}] mailops loopback IMAP ready")
        while True:
            line, literals = self._command()
            tag, _, rest = line.partition(" ")
            name, _, rest = rest.partition(" ")
            name = name.upper()
            uid = name == "UID"
            if uid:
                name, _, rest = rest.partition(" ")
                name = name.upper()
            shown = "***" if name in ("LOGIN", "AUTHENTICATE") else rest[:200]
            self.server.log.append(f"{tag} {'UID ' if uid else ''}{name} {shown}".rstrip())
            if name == "LOGOUT":
                self._say("* BYE logging out")
                self._say(f"{tag} OK LOGOUT completed")
                return
            act = getattr(self, f"_do_{name.lower()}", None)
            if act is None:
                self._say(f"{tag} BAD unknown command")
            elif self._login is None and name not in _FREE:
                self._say(f"{tag} NO sign in first")
            elif self._denied is not None and name not in _FREE:
                self._say(f"{tag} BAD {self._denied.text}")
            elif self._mails is None and name in ("SEARCH", "FETCH", "STORE", "EXPUNGE", "CLOSE", "IDLE"):
                self._say(f"{tag} BAD select a mailbox first")
            else:
                act(tag, rest, uid, literals)

    def _command(self) -> tuple[str, list[bytes]]:
        """One command; literals are taken out and stand as ``{n}`` in the text."""
        whole = b""
        literals: list[bytes] = []
        while True:
            line = self.read_line()
            found = _LITERAL.search(line)
            whole += line
            if found is None:
                return whole.decode("utf-8", "replace"), literals
            if not found[2]:
                self._say("+ go on")
            literals.append(self.read_bytes(min(int(found[1]), 50_000_000)))

    def _say(self, text: str) -> None:
        self.write(text.encode() + b"\r\n")

    # --- signing in ---------------------------------------------------------------------------------------------------

    def _capabilities(self) -> str:
        words = ["IMAP4rev1", "SASL-IR", "IDLE", "UIDPLUS", "ID"]
        if self.server.starttls_offered(self):
            words.append("STARTTLS")
        if self.server.tls is None or self.tls:
            words += [f"AUTH={m}" for m in self.server.mechanisms]
        else:
            words.append("LOGINDISABLED")
        return " ".join(words)

    def _do_capability(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._say(f"* CAPABILITY {self._capabilities()}")
        self._say(f"{tag} OK CAPABILITY completed")

    def _do_id(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._say("* ID NIL")
        self._say(f"{tag} OK ID completed")

    def _do_noop(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._refresh()
        self._say(f"{tag} OK NOOP completed")

    def _do_starttls(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        if not self.server.starttls_offered(self):
            self._say(f"{tag} BAD STARTTLS is not offered")
            return
        self._say(f"{tag} OK begin TLS")
        self.start_tls()

    def _do_authenticate(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        mechanism, _, initial = rest.partition(" ")
        mechanism = mechanism.upper()
        if mechanism not in self.server.mechanisms or (self.server.tls is not None and not self.tls):
            self._say(f"{tag} NO mechanism not offered")
            return
        if not initial:
            self._say("+ ")
            initial = self.read_line().decode("ascii", "replace")
        try:
            text = base64.b64decode("" if initial == "=" else initial, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            self._say(f"{tag} BAD cannot decode")
            return
        attempt = parse_sasl(mechanism, text)
        if attempt is None:
            self._say(f"{tag} BAD malformed {mechanism} message")
            return
        self._judge(tag, attempt)

    def _do_login(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        if self.server.tls is not None and not self.tls:
            self._say(f"{tag} NO [PRIVACYREQUIRED] protect the connection first")
            return
        waiting = list(literals)
        words = [waiting.pop(0).decode() if w.startswith("{") else _unquoted(w) for w in _words(rest)]
        if len(words) != 2:
            self._say(f"{tag} BAD LOGIN takes name and password")
            return
        self._judge(tag, AuthAttempt("LOGIN", words[0], words[1]))

    def _judge(self, tag: str, attempt: AuthAttempt) -> None:
        denied = self.server.judge(attempt)
        if denied is not None and denied.connected:
            if attempt.is_token and denied.challenge:
                self._say("+ " + base64.b64encode(denied.challenge.encode()).decode())
                self.read_line()
            self._say(f"{tag} NO {denied.text}")
            return
        self._login, self._denied = attempt.login, denied
        self._say(f"{tag} OK AUTHENTICATE completed.")

    # --- mailboxes ----------------------------------------------------------------------------------------------------

    @property
    def _owner(self) -> str:
        assert self._login is not None
        return self._login

    def _do_list(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._say('* LIST (\\HasNoChildren) "/" "INBOX"')
        self._say(f"{tag} OK LIST completed")

    def _do_status(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        boxes, mails = self.server.mailboxes, self.server.mailboxes.mails(self._owner)
        unseen = sum("\\Seen" not in m.flags for m in mails)
        self._say(
            f'* STATUS "INBOX" (MESSAGES {len(mails)} UNSEEN {unseen} UIDNEXT {boxes.next_uid(self._owner)} '
            f"UIDVALIDITY {boxes.uidvalidity})"
        )
        self._say(f"{tag} OK STATUS completed")

    def _do_select(self, tag: str, rest: str, uid: bool, literals: list[bytes], read_only: bool = False) -> None:
        if _unquoted(rest).upper() != "INBOX":
            self._mails = None
            self._say(f"{tag} NO [NONEXISTENT] there is only INBOX")
            return
        boxes = self.server.mailboxes
        self._mails, self._read_only = boxes.mails(self._owner), read_only
        self._say("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)")
        self._say(f"* {len(self._mails)} EXISTS")
        self._say("* 0 RECENT")
        self._say(f"* OK [UIDVALIDITY {boxes.uidvalidity}] valid")
        self._say(f"* OK [UIDNEXT {boxes.next_uid(self._owner)}] next")
        self._say(f"{tag} OK [{'READ-ONLY' if read_only else 'READ-WRITE'}] done")

    def _do_examine(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._do_select(tag, rest, uid, literals, read_only=True)

    def _do_append(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        if not literals:
            self._say(f"{tag} BAD no message")
            return
        number = self.server.mailboxes.deliver(self._owner, literals[-1])
        self._refresh()
        self._say(f"{tag} OK [APPENDUID {self.server.mailboxes.uidvalidity} {number}] APPEND completed")

    def _refresh(self) -> None:
        """Tell what came since the mailbox was opened."""
        if self._mails is None:
            return
        known = {m.uid for m in self._mails}
        new = [m for m in self.server.mailboxes.mails(self._owner) if m.uid not in known]
        if new:
            self._mails += new
            self._say(f"* {len(self._mails)} EXISTS")

    # --- messages -----------------------------------------------------------------------------------------------------

    @property
    def _box(self) -> list[StoredMail]:
        assert self._mails is not None
        return self._mails

    def _do_search(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        self._refresh()
        try:
            found = search(self._box, rest, literals)
        except ValueError as error:
            self._say(f"{tag} BAD {error}")
            return
        self._say(" ".join(["* SEARCH", *(str(m.uid if uid else n) for n, m in found)]))
        self._say(f"{tag} OK SEARCH completed")

    def _do_fetch(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        which, _, items = rest.partition(" ")
        for number, mail in message_set(self._box, which, uid):
            content, seen = fetch_items(mail, items, with_uid=uid)
            if seen and not self._read_only:
                mail.flags.add("\\Seen")
            self.write(f"* {number} FETCH (".encode() + content + b")\r\n")
        self._say(f"{tag} OK FETCH completed")

    def _do_store(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        which, _, rest = rest.partition(" ")
        action, _, names = rest.partition(" ")
        flags = set(names.strip("() ").split())
        if self._read_only:
            self._say(f"{tag} NO the mailbox is open for reading only")
            return
        for number, mail in message_set(self._box, which, uid):
            if action.startswith("+"):
                mail.flags |= flags
            elif action.startswith("-"):
                mail.flags -= flags
            else:
                mail.flags = set(flags)
            if not action.upper().endswith(".SILENT"):
                more = f" UID {mail.uid}" if uid else ""
                self._say(f"* {number} FETCH (FLAGS ({' '.join(sorted(mail.flags))}){more})")
        self._say(f"{tag} OK STORE completed")

    def _do_expunge(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        only = {m.uid for _, m in message_set(self._box, rest, True)} if uid else None
        self._remove(tell=True, only=only)
        self._say(f"{tag} OK EXPUNGE completed")

    def _do_close(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        if not self._read_only:
            self._remove(tell=False)
        self._mails = None
        self._say(f"{tag} OK CLOSE completed")

    def _remove(self, *, tell: bool, only: set[int] | None = None) -> None:
        gone = {m.uid for m in self._box if "\\Deleted" in m.flags and (only is None or m.uid in only)}
        for index in range(len(self._box) - 1, -1, -1):
            if self._box[index].uid in gone:
                del self._box[index]
                if tell:
                    self._say(f"* {index + 1} EXPUNGE")
        self.server.mailboxes.remove(self._owner, gone)

    def _do_idle(self, tag: str, rest: str, uid: bool, literals: list[bytes]) -> None:
        """RFC 2177: tell of new mail until the client says DONE."""
        self._say("+ idling")
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                with self.server.mailboxes.changed:
                    self.server.mailboxes.changed.wait(0.2)
                if not over.is_set():
                    try:
                        self._refresh()
                    except Exception:
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            self.read_line()
        finally:
            over.set()
            watcher.join(timeout=5)
        self._say(f"{tag} OK IDLE completed")


def _words(text: str) -> list[str]:
    return re.findall(r'"(?:[^"\\]|\\.)*"|\{\d+\+?\}|\S+', text)


def _unquoted(text: str) -> str:
    text = text.strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


class ImapServer(LineServer):
    """``auth``: a mapping of login to password or token, or a judge of :class:`AuthAttempt`."""

    session_type = _Session

    def __init__(
        self,
        mailboxes: Mailboxes,
        auth: Mapping[str, str] | Judge,
        *,
        tls: ServerTls | None = None,
        mechanisms: tuple[str, ...] = ("PLAIN", "XOAUTH2", "OAUTHBEARER"),
        port: int = 0,
    ) -> None:
        super().__init__(tls=tls, port=port)
        self.mailboxes = mailboxes
        self.mechanisms = mechanisms
        self.judge = judge_of(auth, REFUSED)
