"""Fetching: what lies in a mailbox and has no row yet is stored, then acknowledged, then decided.

IMAP goes by UID and UIDVALIDITY, never by who has read what; POP3 by UIDL, and deletes only what is stored. A new IMAP
mailbox begins with its unread mail: what had been read before is booked as skipped, in the same commit that notes the
folder. When the UIDVALIDITY changes, every mail is looked at again and known by Message-ID and content. After each run
the folder is compared with its rows; a UID without one is a gap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

from ..errors import ConfigError, MailopsError
from ..ports import Secrets
from .accounts import CONFIRMED, Account, Accounts
from .boxes import Head, ImapBox, PopBox, TokenOf
from .counts import State
from .ingest import Result, finished
from .intake import MOST, MOST_BYTES, TRIES, Intake, Run, Shown
from .intake_rows import Place
from .raw import Raw

T = TypeVar("T")
POLL, PAUSE, IDLE = 300.0, 5.0, 29 * 60.0
"""Seconds between two looks where nobody tells, after a broken line, and of one IDLE (RFC 2177 §3)."""
JOB = "Mail: Fetchmail Service"
"""The name of the scheduled action that runs this."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What *Test & Confirm* found: the mailbox is confirmed, and this is what the first run would take."""

    key: str
    state: str
    protocol: str
    folder: str
    messages: int
    first_run: int
    warnings: tuple[str, ...]


class Fetching:
    """Tests mailboxes and fetches from them."""

    def __init__(
        self,
        accounts: Accounts,
        intake: Intake,
        *,
        secrets: Secrets,
        token: TokenOf,
        is_person: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self._accounts, self._intake = accounts, intake
        self._secrets, self._token, self._is_person = secrets, token, is_person

    def test(self, key: str) -> Tested:
        """*Test & Confirm*: sign in, open the folder, count; then the mailbox is confirmed. Nothing is fetched.

        Raises :class:`AuthError`, :class:`ConfigError` or :class:`TemporaryFailure`; then it stays as it was.
        """
        account = self._accounts.get(key)
        warnings = []
        if account.protocol == "imap":
            with ImapBox(account, self._secrets, self._token) as box:
                messages = len(box.uids())
                first = messages if account.take_read else len(box.uids("UNSEEN"))
        else:
            with PopBox(account, self._secrets, self._token) as pop:
                messages = first = len(pop.listing())
            warnings.append(
                f"POP3 takes the whole mailbox: {messages} mails will be fetched and deleted there. IMAP takes what is "
                "unread and deletes nothing."
            )
        if self._is_person(account.login):
            warnings.append(
                f"{account.login} is a person's own mailbox. Use a shared one: everything in it is routed (security, "
                "privacy), replies get into threads unmeant, and two programs keep one mailbox in step."
            )
        self._accounts.confirm(key)
        return Tested(key, CONFIRMED, account.protocol, account.folder, messages, first, tuple(warnings))

    def fetch(self, key: str | None = None) -> Result:
        """Fetch from one mailbox, or from all confirmed ones, the one looked at longest ago first.

        One failing mailbox does not stop the next; what broke stands in the result. Raises :class:`NotFound`, and
        :class:`ConfigError` ``inbound.draft`` for one that was named and is not confirmed.
        """
        named = None if key is None else self._accounts.get(key)
        if named is not None and named.state != CONFIRMED:
            raise ConfigError(
                f"The mailbox {named.key!r} is a draft.",
                code="inbound.draft",
                facts={"account": named.key, "state": named.state},
                fix=f"Test and confirm it first: mailops inbound account test {named.key}",
            )
        run, errors = Run(), list[MailopsError]()
        for account in [named] if named else [one for one in self._accounts.list() if one.state == CONFIRMED]:
            with self._intake.lock(account.key) as ours:
                if not ours:
                    run.why.append(f"{account.key}: another run is at it; this one stood back")
                    continue
                before, error = len(run.ids), None
                try:
                    self._intake.settle(run, account.key)
                    (self._imap if account.protocol == "imap" else self._pop)(run, account)
                except MailopsError as broken:
                    error = broken
                    errors.append(broken)
                try:
                    words = f"{error.code}: {error.message}" if error else None
                    self._accounts.looked(account, arrived=len(run.ids) > before, error=words)
                except MailopsError as broken:
                    errors.append(broken)
        try:
            if named is None:
                self._intake.settle_all(run)
        except MailopsError as broken:
            errors.append(broken)
        return finished(self._intake, run, errors)

    def watch(
        self,
        key: str,
        *,
        stop: Event,
        on_run: Callable[[Result], object] = lambda result: None,
        poll: float = POLL,
        every: float | None = None,
    ) -> None:
        """Fetch from a mailbox until ``stop``: at once when new mail comes where the server tells of it (IDLE), else
        every ``poll`` seconds. A broken line is tried again after a growing pause; what broke stands in each result.
        ``every`` so many seconds it is looked at even where a server that tells has said nothing.

        Raises as :meth:`fetch` does for a mailbox that is not there, or a draft.
        """
        poll = min(poll, every or poll)
        account, pause = self._accounts.get(key), PAUSE
        while not stop.is_set():
            result = self.fetch(key)
            on_run(result)
            if result.errors:
                _rest(stop, pause)
                pause = min(2 * pause, poll)
                continue
            pause = PAUSE
            told = False
            if account.protocol == "imap":
                with suppress(MailopsError):  # what broke here the next fetch meets too, and says
                    told = self._wait(account, stop, min(IDLE, every or IDLE))
            if not told:
                _rest(stop, poll)

    def _wait(self, account: Account, stop: Event, seconds: float) -> bool:
        """Wait by IDLE; False where the server has none."""
        with ImapBox(account, self._secrets, self._token) as box:
            if not box.can_wait:
                return False
            rows = self._intake.known(Place(account.key, account.folder, box.uidvalidity))
            if not any(_open(rows.get(str(uid))) for uid in box.uids()):  # none came between the run and now
                box.wait(seconds, stop.is_set)
        return True

    # --- IMAP ---------------------------------------------------------------------------------------------------------

    def _imap(self, run: Run, account: Account) -> None:
        with ImapBox(account, self._secrets, self._token) as box:
            place = Place(account.key, account.folder, box.uidvalidity)
            uids = box.uids()
            rows = self._intake.known(place)
            todo = [uid for uid in uids if _open(rows.get(str(uid)))]
            heads = box.heads(todo)
            left = self._begin(run, account, place, heads)
            elsewhere = sum(heads[uid].seen for uid in left)
            gone = {uid for uid in todo if uid not in heads}
            portions = [*_by_size(left, lambda uid: heads[uid].size)]
            with _Ahead(lambda batch: _portion(box, batch, heads), portions) as coming:
                for batch in portions:
                    found = coming.take()
                    for uid in batch:
                        if uid not in found:
                            if uid in box.uids():
                                why = f"{account.key}: UID {uid} was not given by the server"
                                self._intake.unreadable(run, place, str(uid), why, size=heads[uid].size)
                            else:
                                gone.add(uid)

                    def acknowledge(uids: Collection[str]) -> None:
                        box.done(uids)
                        coming.begin()  # from here on this portion needs the line no more

                    shown = [Shown(found[uid], str(uid), account.model) for uid in batch if uid in found]
                    self._intake.take(run, place, shown, acknowledge)
            if elsewhere:
                run.why.append(
                    f"{account.key}: {elsewhere} mails had been read by somebody else; they were fetched all the same"
                )
            missing = self._intake.check(run, place, [str(uid) for uid in uids if uid not in gone])
            if missing:
                run.why.append(f"{account.key}: nothing is known of UID {', '.join(missing[:20])}")

    def _begin(self, run: Run, account: Account, place: Place, heads: dict[int, Head]) -> list[int]:
        """Note the folder where it is new, with what is left alone in it; the UIDs to fetch."""
        known, before = self._intake.folder(place)
        if known:
            return list(heads)
        skipped, doubled = [], []
        if before:
            old = self._intake.skipped_before(place, before)
            doubled = [head for head in heads.values() if (head.message_id, head.size) in old]
        elif not account.take_read:
            skipped = [head for head in heads.values() if head.seen]
        self._intake.begin(
            run,
            place,
            skipped=[(head.uid, head.message_id, head.size) for head in skipped],
            doubled=[(head.uid, head.message_id, head.size) for head in doubled],
        )
        alone = {head.uid for head in (*skipped, *doubled)}
        return [uid for uid in heads if str(uid) not in alone]

    # --- POP3 ---------------------------------------------------------------------------------------------------------

    def _pop(self, run: Run, account: Account) -> None:
        place = Place(account.key, "INBOX", 0)
        with PopBox(account, self._secrets, self._token) as box:
            listing = box.listing()
            rows = self._intake.known(place)
            if not self._intake.folder(place)[0]:
                self._intake.begin(run, place)
            number_of: dict[str, int] = {}
            for batch in _by_size(listing, lambda one: one[2]):
                shown = []
                for number, uidl, size in batch:
                    raw = box.mail(number)
                    row = rows.get(uidl) if uidl else None
                    if raw is None:
                        name = uidl or f"number {number}"
                        why = f"{account.key}: the server does not give {name}"
                        if _open(row):
                            self._intake.unreadable(run, place, name, why, size=size)
                    elif row is None or row.state == State.UNREADABLE or self._other(row, raw):
                        uid = uidl if row is None or row.state == State.UNREADABLE else _next(uidl, raw)
                        uid = uid or hashlib.sha256(raw).hexdigest()[:40]
                        number_of[uid] = number
                        shown.append(Shown(raw, uid, account.model))
                    else:  # stored by a run that ended before it could delete it
                        box.delete([number])
                self._intake.take(
                    run, place, shown, lambda uids: box.delete({number_of[uid] for uid in uids if uid in number_of})
                )
            self._intake.check(run, place, [uidl for _, uidl, _ in listing if uidl])

    def _other(self, row: object, raw: bytes) -> bool:
        """Whether a UIDL stands for another mail than it did: some servers give them away again."""
        return self._intake.digest(raw) != getattr(row, "digest", None)


def _portion(box: ImapBox, batch: Sequence[int], heads: Mapping[int, Head]) -> dict[int, Raw]:
    """The bytes of these mails, the large ones in files; those that the server does not give are left out."""
    large = [uid for uid in batch if heads[uid].size > MOST_BYTES]
    small = [uid for uid in batch if heads[uid].size <= MOST_BYTES]
    found: dict[int, Raw] = {**(box.mails(small) if small else {})}
    return found | {uid: raw for uid in large if (raw := box.large(uid)) is not None}


class _Ahead:
    """Fetches the next portion while the one before is decided, over one line: :meth:`take` waits for it, and nobody
    else speaks on the line between :meth:`begin` and that. What breaks is raised by :meth:`take`."""

    def __init__(self, fetch: Callable[[list[int]], dict[int, Raw]], portions: Sequence[list[int]]) -> None:
        self._fetch, self._left = fetch, iter(portions)
        self._thread: Thread | None = None
        self._found: dict[int, Raw] = {}
        self._broken: Exception | None = None

    def begin(self) -> None:
        """Fetch the next portion, where there is one."""
        portion = next(self._left, None)
        self._found, self._broken = {}, None
        if portion is not None:
            self._thread = Thread(target=self._work, args=(portion,), name="next portion", daemon=True)
            self._thread.start()

    def _work(self, portion: list[int]) -> None:
        try:
            self._found = self._fetch(portion)
        except Exception as error:
            self._broken = error

    def take(self) -> dict[int, Raw]:
        """The portion that was begun."""
        if self._thread is None:
            self.begin()
        self._end()
        if self._broken is not None:
            raise self._broken
        found, self._found = self._found, {}
        return found

    def _end(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()


def _rest(stop: Event, seconds: float) -> None:
    """Wait, by the second: a watch that moves is known to live."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0 and not stop.wait(min(1.0, left)):
        pass


def _next(uidl: str, raw: bytes) -> str:
    return f"{uidl[:80]}#{hashlib.sha256(raw).hexdigest()[:12]}"


def _open(row: object) -> bool:
    """Whether a mail is still to be fetched: no row, or one that could not be read, and not too often."""
    return row is None or (getattr(row, "state", "") == State.UNREADABLE and getattr(row, "tries", 0) < TRIES)


def _by_size(many: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    total = 0
    for one in many:
        if batch and (len(batch) >= MOST or total + size(one) > MOST_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(one)
        total += size(one)
    if batch:
        yield batch
