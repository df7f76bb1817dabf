"""The DNS report of a sender whose mail failed without a reason: SPF and DKIM are the most common causes of that.

Bounded in time: a name server that does not answer must not hold up whoever looks at a failure.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..model.verdict import VerdictState

if TYPE_CHECKING:
    from ..dns.domain_model import DomainReport
    from ..model.setup import Setup
    from .service import Domains

SECONDS = 20.0
BESIDES = "Check also that notifications are sent in a way that fits: the alias domain, its default FROM, the server."
_WORTH_A_LINE = ("spf", "dkim", "dmarc")


@dataclass(frozen=True, slots=True)
class SenderReport:
    """``report`` is None when there is none, and ``trouble`` says why."""

    domain: str
    report: DomainReport | None = None
    trouble: str = ""

    @property
    def in_order(self) -> bool:
        return self.report is not None and self.report.green

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: a line for SPF, DKIM, DMARC and whatever is wrong, and what else to look at."""
        if self.report is None:
            return (f"DNS of {self.domain}: {self.trouble}", BESIDES)
        good = (VerdictState.PASSED, VerdictState.SKIPPED)
        shown = [
            f"{one.state.icon} {one.verdict.title} [{one.state}]"
            + (f" {one.verdict.fix}" if one.state not in good else "")
            for one in self.report.results
            if one.verdict.check in _WORTH_A_LINE or one.state not in good
        ]
        head = f"DNS of {self.domain}: {'in order' if self.report.green else 'not in order'}"
        return (f"{head} (mailops domain check {self.domain})", *shown, BESIDES)


def sender_report(domains: Domains, setup: Setup, domain: str, *, seconds: float = SECONDS) -> SenderReport:
    """The DNS report of a sender's domain, kept as every check is; at most ``seconds``. Never raises."""
    answer: list[SenderReport] = []

    def look() -> None:
        try:
            answer.append(SenderReport(domain, domains.check(domains.of(setup, domain))))
        except MailopsError as error:
            answer.append(SenderReport(domain, trouble=f"{error.message} {error.fix}".strip()))
        except Exception as error:  # the failure is to be shown all the same
            answer.append(SenderReport(domain, trouble=f"the check broke off: {type(error).__name__}: {error}"))

    worker = threading.Thread(target=look, daemon=True)
    worker.start()
    worker.join(seconds)
    late = f"no answer within {seconds:.0f} s. Run: mailops domain check {domain}"
    return answer[0] if answer else SenderReport(domain, trouble=late)
