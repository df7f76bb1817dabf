"""Hands a thread's mails to the queue within the thread's own transaction.

The entry, its notifications and its mails are one thing: either all of it is stored or nothing. :data:`Outbox` is the
seam; a test or a dry run passes another callable.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.engine import Connection

from ..ledger import Book
from ..model.mail import Submission
from ..model.setup import Setup
from ..ports import Clock

Outbox = Callable[[Connection, Submission], int]
"""Stores one mail as *Outgoing* in the caller's transaction; returns its id. Raises ``MessageRefused``."""


def queue_outbox(setup: Callable[[], Setup], clock: Clock, book: Book) -> Outbox:
    """The outbox that is the real queue."""
    from ..queue.compose import compose
    from ..queue.submit import company_of, return_path_of, store

    def submit(connection: Connection, submission: Submission) -> int:
        known, now = setup(), clock.now()
        domain = known.domain_of(company_of(known, submission.company))
        composed = compose(submission, now=now, return_path=return_path_of(submission, domain, known))
        return store(connection, [(submission, composed)], setup=known, now=now, book=book)[0]

    return submit
