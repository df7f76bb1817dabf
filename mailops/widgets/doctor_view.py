"""The connection doctor's ladder as cards, and the calendar of ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..model.setup import Authentication, Server
from ..model.verdict import Verdict, VerdictState
from ..providers.refusals import WHO
from ..routing.mailbox import envelope_of
from .check import CheckCard
from .faces import Card
from .panel import Headline, Panel

if TYPE_CHECKING:
    from ..oauth.doctor import Doctor, Reading
    from ..ops import Ops

Record = Callable[[Verdict], Verdict]


class DoctorView(Card):
    """Climbs the ladder of each server that signs in by OAuth (or of ``server`` alone).

    ``test_mail`` also sends a mail to the mailbox itself and looks for it. ``record`` hears every verdict.
    """

    def __init__(
        self,
        ops: Ops,
        *,
        server: str = "",
        test_mail: bool = False,
        record: Record | None = None,
        doctor: Doctor | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.ops = ops
        self.wanted = server
        self.test_mail = test_mail
        self._record: Record = record or (lambda verdict: verdict)
        self._doctor = doctor
        self._reading = reading
        self._panel: Panel | None = None

    def servers(self) -> list[Server]:
        """The servers to look at. Raises :class:`mailops.errors.NotFound` for a name there is not."""
        from ..store.setup import not_found

        servers = self.ops.setup.servers
        if self.wanted:
            found = [s for s in servers if s.key == self.wanted]
            if not found:
                raise not_found("outgoing server", self.wanted, [s.key for s in servers])
            return found
        return [s for s in servers if s.authentication is Authentication.OAUTH and s.active]

    @property
    def panel(self) -> Panel:
        """The cards; made (and everything looked at) on first use."""
        if self._panel is None:
            self._panel = self._examine()
        return self._panel

    def _examine(self) -> Panel:
        from ..oauth.doctor import Doctor

        doctor = self._doctor or Doctor(self.ops.tokens, clock=self.ops.clock)
        cards: list[Card] = []
        for server in self.servers():
            sender = envelope_of(server, self.ops.setup) or None
            verdicts = doctor.examine(server, reading=self._reading, sender=sender, test_mail=self.test_mail)
            kept = [self._record(v) for v in verdicts]
            cards.append(Headline(f"{server.name} ({server.host})", ladder(kept), state=worst(kept).value))
            cards += [CheckCard(v) for v in kept]
        if not cards:
            told = Verdict(
                "doctor",
                "servers",
                VerdictState.SKIPPED,
                "No server signs in by OAuth",
                "There is nothing to examine.",
                fix="Connect a mailbox with the notebook connect_microsoft365 or connect_google.",
                at=self.ops.clock.now(),
            )
            cards.append(CheckCard(self._record(told)))
        return Panel(*cards)

    def build(self) -> Any:
        return self.panel.widget

    def html(self) -> str:
        return self.panel.html()

    def text(self) -> str:
        return self.panel.text()


def worst(verdicts: Sequence[Verdict]) -> VerdictState:
    """The state that decides: failed, then unknown, warning, passed."""
    states = {v.state for v in verdicts}
    order = (VerdictState.FAILED, VerdictState.UNKNOWN, VerdictState.WARNING)
    return next((state for state in order if state in states), VerdictState.PASSED)


def ladder(verdicts: Sequence[Verdict]) -> str:
    """The ladder in a line: ``✓ The server's name → ✗ Sign-in for sending``; who has to act where it breaks."""
    failed = next((v for v in verdicts if v.state is VerdictState.FAILED), None)
    if failed is None:
        return f"All {sum(v.passed for v in verdicts)} rungs hold."
    who = WHO.get(failed.evidence.get("who", ""), "")
    return f"Breaks at: {failed.title}." + (f" To act: {who}." if who else "")


def ends_cards(ops: Ops, record: Record) -> Panel:
    """What ends when: a card for each client secret, certificate and sign-in."""
    from ..oauth.calendar import deadlines, verdict_of_end

    now = ops.clock.now()
    cards = [CheckCard(record(verdict_of_end(end, now))) for end in ops.ends()]
    cards += [
        CheckCard(
            record(
                Verdict(
                    "oauth.deadline",
                    str(one.facts["date"]),
                    VerdictState.WARNING,
                    "A provider's date",
                    one.message,
                    fix=one.fix,
                    code=one.code,
                    evidence=one.facts,
                    at=now,
                )
            )
        )
        for one in deadlines(ops.setup.servers, now.date())
    ]
    if not cards:
        none = Verdict("oauth.calendar", "accounts", VerdictState.SKIPPED, "Nothing that ends is known", at=now)
        cards = [CheckCard(record(none))]
    return Panel(*cards)
