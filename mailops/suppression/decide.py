"""Whether an address is to be suppressed: a pure decision with its reason.

A complaint counts at once, a hard bounce counts at once. A hard one that is in doubt (:mod:`mailops.bounces.doubt`) is
proposed; the second such answer, to another sending, with no mail that arrived in between, confirms it.

Soft bounces count when there are five within thirteen weeks and more than a week lies between the oldest and the
newest, with no mail that arrived in between. A contact's counter goes back to 0 when the contact writes to us, so no
more soft bounces count than it says. Automatic replies and delays count never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..errors import ConfigError
from ..model.reasons import plain
from ..model.text import counted

SCOPES = ("campaigns", "all")
STATES = ("active", "proposed", "undone")
MODES = ("automatic", "propose")
MODE_PARAMETER = "mailops.suppression.mode"


def check_mode(value: str) -> str:
    """The value of ``mailops.suppression.mode``, checked."""
    mode = value.strip().lower()
    if mode not in MODES:
        raise ConfigError(
            f"The suppression mode {value!r} is not known.",
            code="config.suppression_mode",
            facts={"value": value},
            fix=f"Use one of: {', '.join(MODES)}.",
        )
    return mode


@dataclass(frozen=True, slots=True)
class Policy:
    """How soft bounces are counted (five over thirteen weeks spread over more than a week, as in the product), how many
    doubtful hard answers of as many weeks make a sure one, and how long an accepted mail must have stayed away before
    it counts as arrived (RFC 5321 §4.5.4.1: senders give up after 4 to 5 days)."""

    soft_count: int = 5
    soft_window: timedelta = timedelta(weeks=13)
    soft_spread: timedelta = timedelta(weeks=1)
    settled_after: timedelta = timedelta(days=5)
    agreeing: int = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing that happened at an address. ``kind``: bounce, refused (a doubtful refusal at the door), complaint,
    success, undone, or anything else, which counts for nothing. ``id`` is the report's; ``proven`` is False for one
    that others could have written, and ``doubt`` says who; ``sent_at`` is when the mail left that a bounce is about.
    ``unconfirmed`` says in words why a hard one needs a second beside it, of another sending; "" for one that stands
    alone."""

    at: datetime
    kind: str
    hard: bool = False
    reason: str = ""
    id: int | None = None
    proven: bool = True
    sent_at: datetime | None = None
    unconfirmed: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The decision: suppress or not, in words; ``reason`` is the classifier's word, ``bounce_id`` the report.
    ``confirmed`` is False where the address is proposed only, until a second answer agrees."""

    suppress: bool
    why: str
    hard: bool = False
    reason: str = ""
    bounce_id: int | None = None
    confirmed: bool = True


def weigh(
    history: Sequence[Trace], *, now: datetime, policy: Policy | None = None, counter: int | None = None
) -> Weighed:
    """Weigh an address's history, in any order. What happened before an undo counts no more, nor does what comes back
    later of mail that left before it.

    ``counter`` is the contact's bounce counter (None: no contact has this address).

    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 5, tzinfo=UTC)
    >>> weigh([Trace(day, "bounce", hard=True, reason="userunknown")], now=day).suppress
    True
    >>> weigh([Trace(day, "bounce", reason="mailboxfull")], now=day).why
    '1 soft bounce within 13 weeks; 5 are needed'
    """
    policy = policy or Policy()
    past = sorted((t for t in history if t.at <= now), key=lambda t: t.at)
    undone = max((t.at for t in past if t.kind == "undone"), default=None)
    past = [t for t in past if undone is None or _began(t) > undone]
    for trace in reversed(past):
        if trace.kind == "complaint":
            return Weighed(True, "The recipient complained.", True, trace.reason or "feedback", trace.id)
        if trace.kind == "bounce" and trace.hard and not trace.unconfirmed:
            why = f"Hard bounce: {plain(trace.reason)}"
            return Weighed(True, why, True, trace.reason, trace.id)
    reset = max((i for i, t in enumerate(past) if _resets(t, now, policy)), default=-1)
    recent = [t for t in past[reset + 1 :] if now - t.at <= policy.soft_window]
    doubtful = _doubtful([t for t in recent if t.hard and t.kind in ("bounce", "refused")], policy)
    if doubtful is not None and doubtful.confirmed:
        return doubtful
    soft = [t for t in recent if t.kind == "bounce"]
    if counter is not None:
        soft = soft[max(0, len(soft) - counter) :]
    weighed = _soft(soft, policy)
    return weighed if weighed.suppress else doubtful or weighed


def _began(trace: Trace) -> datetime:
    return trace.sent_at if trace.kind == "bounce" and trace.sent_at else trace.at


def _resets(trace: Trace, now: datetime, policy: Policy) -> bool:
    return trace.kind == "success" and now - trace.at >= policy.settled_after


def _doubtful(found: Sequence[Trace], policy: Policy) -> Weighed | None:
    """What hard answers come to of which none stands alone: a proposal, or the truth once enough of them agree."""
    if not found:
        return None
    last, agreed = found[-1], len(found) >= policy.agreeing
    said = f"Hard bounce: {plain(last.reason)}"
    why = f"{said} {len(found)} answers agree." if agreed else f"{said} Unconfirmed: {last.unconfirmed}."
    return Weighed(True, why if agreed else f"{why} A second one decides.", True, last.reason, last.id, agreed)


def _soft(soft: Sequence[Trace], policy: Policy) -> Weighed:
    weeks = policy.soft_window.days // 7
    count = f"{counted(len(soft), 'soft bounce')} within {counted(weeks, 'week')}"
    if not soft:
        return Weighed(False, "nothing counts against this address")
    last = soft[-1]
    if len(soft) < policy.soft_count:
        return Weighed(False, f"{count}; {policy.soft_count} are needed", reason=last.reason, bounce_id=last.id)
    if soft[-1].at - soft[0].at <= policy.soft_spread:
        spread = f"all within {counted(policy.soft_spread.days, 'day')}, which may be one disturbance"
        return Weighed(False, f"{count}, but {spread}", reason=last.reason, bounce_id=last.id)
    return Weighed(True, f"{count}: {plain(last.reason)}", False, last.reason, last.id)
