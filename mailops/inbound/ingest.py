"""``ingest``: mail out of files, folders, mailboxes and a pipe goes through the intake like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..bounces.reading.sources import Skipped
from ..errors import MailopsError
from .counts import Counts
from .files import Filed, mails, piped
from .intake import INGEST, Intake, Run, Shown, batches
from .intake_rows import Place

MAX_NOTES = 100


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did: its sums, how many of what it stored an earlier run had left (``resumed``), what could not be
    read, and what broke."""

    counts: Counts
    resumed: int = 0
    notes: tuple[str, ...] = ()
    errors: tuple[MailopsError, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing broke and no mail of a folder is unaccounted for."""
        return not self.errors and not self.counts.gap and self.counts.adds_up

    def as_dict(self) -> dict[str, Any]:
        """The sums of the run, then ``resumed``, ``notes`` and ``errors``."""
        sums = {name: getattr(self.counts, name) for name in Counts.__slots__}
        return {
            **sums,
            "resumed": self.resumed,
            "notes": list(self.notes[:MAX_NOTES]),
            "errors": [error.as_dict() for error in self.errors],
        }


def ingest(
    intake: Intake,
    paths: Sequence[Path],
    *,
    stream: BinaryIO | None = None,
    model: str | None = None,
    delivered_to: str | None = None,
) -> Result:
    """Take in the mails of these files (or of ``stream``), and what an interrupted run left waiting.

    Nothing raises for what is in a mail or a file; an error of the store ends the run and stands in the result, beside
    the sums of what was done by then.
    """
    place, run = Place(INGEST), Run()
    errors: list[MailopsError] = []

    def skipped(one: Skipped) -> None:
        uid = "path:" + hashlib.sha256(one.name.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        intake.unreadable(run, place, uid, f"{one.name}: {one.reason}")

    def shown(sources: Iterator[Filed]) -> Iterator[Shown]:
        return (Shown(source.raw, model=model, delivered_to=delivered_to) for source in sources)

    with intake.lock(INGEST) as ours:
        try:
            sources = piped(stream, skipped) if stream is not None else mails(paths, skipped)
            for batch in batches(shown(sources), intake.most):
                intake.take(run, place, batch, ours=ours)
            if ours:
                intake.settle(run, INGEST)
            intake.settle_all(run)
        except MailopsError as error:
            errors.append(error)
        return finished(intake, run, errors)


def finished(intake: Intake, run: Run, errors: Sequence[MailopsError]) -> Result:
    """The result of a run; where even its sums cannot be read, an empty one with the errors."""
    try:
        counts = intake.finish(run)
    except MailopsError as error:
        return Result(Counts(), run.resumed, tuple(run.why), (*errors, error))
    return Result(counts, run.resumed, tuple(run.why), tuple(errors))
