"""Whether a submitter is told of a failure: a pure decision with its reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..model.address import NULL_PATH, envelope_address, is_valid, normalise
from ..model.setup import BouncePolicy


@dataclass(frozen=True, slots=True)
class Choice:
    """Tell or not, and why."""

    tell: bool
    why: str


def whether(
    kind: str,
    *,
    path: str | None,
    policy: BouncePolicy,
    left_with: str | None,
    ours: Collection[str],
    login: str | None = None,
    wanted: bool = True,
) -> Choice:
    """Whether a report goes to ``path``, the submitter's envelope sender.

    ``kind`` is the fact: ``failed`` and ``barred`` are known to mailops alone; a ``bounced`` one was told to the
    envelope sender that the mail left with (``left_with``). ``ours`` are our bounce addresses, normalised; ``wanted``
    is the switch of the login.
    """
    if not path or path == NULL_PATH:
        return Choice(False, "the mail has the null envelope sender, and nothing answers it (RFC 5321 §4.5.5)")
    if not is_valid(path):
        return Choice(False, f"{path} is no usable address")
    if normalise(path) in ours:
        return Choice(False, f"{path} is a bounce address of ours: mailops knows already")
    if not wanted:
        return Choice(False, f"reports are off for {f'the login {login}' if login else 'programs without sign-in'}")
    if kind == "bounced":
        if left_with and left_with.lower() == (envelope_address(path) or path).lower():
            return Choice(False, f"the mail left as {path}, so the report went there by itself")
        if policy is BouncePolicy.OURS:
            return Choice(False, "mailops reads what comes back (bounces = ours)")
    return Choice(True, f"{path} is where the program wants errors")
