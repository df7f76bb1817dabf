"""A run as a letter: a subject that states the finding, what changed, each verdict in words; the whole report enclosed.

The HTML is what mail programs draw: one column, styles in the elements, nothing fetched, no script. It says what the
text says. :data:`REPORTS` names the usual ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ..model.mail import Attachment
from ..model.verdict import Verdict, VerdictState

if TYPE_CHECKING:
    from .runner import RunResult

REPORTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "deliverability": ("deliverability", {"since": "7d"}),
    "queue": ("queue", {}),
    "domains": ("domain_dns", {"all_domains": "true", "everything": "true"}),
    "intake": ("inbox", {}),
}
"""Name → notebook and its parameters."""
WORST_FIRST = (
    VerdictState.FAILED,
    VerdictState.UNKNOWN,
    VerdictState.WARNING,
    VerdictState.PASSED,
    VerdictState.SKIPPED,
)
_WORDS = {
    VerdictState.FAILED: ("Not in order", "#a3161b"),
    VerdictState.UNKNOWN: ("Could not be found out", "#55408f"),
    VerdictState.WARNING: ("Worth a look", "#7a4b00"),
    VerdictState.PASSED: ("In order", "#146c2e"),
    VerdictState.SKIPPED: ("Nothing to look at", "#565f6b"),
}


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent of a run."""

    subject: str
    text: str
    html: str
    enclosed: tuple[Attachment, ...]


def letter(result: RunResult, verdicts: Sequence[Verdict], report: bytes) -> Letter:
    """The letter of a run; what is given is redacted already. ``report`` is its page."""
    ranked = sorted(verdicts, key=lambda v: WORST_FIRST.index(v.state) if v.state in WORST_FIRST else len(WORST_FIRST))
    finding = _finding(result, ranked)
    lines = [finding, ""]
    blocks = [f'<h1 style="font-size:20px;margin:0 0 12px">{escape(finding)}</h1>']
    if result.changed:
        lines += ["Changed since the last run:", *(f"- {one}" for one in result.changed), ""]
        items = "".join(f"<li>{escape(one)}</li>" for one in result.changed)
        blocks.append(f'<p style="margin:0">Changed since the last run:</p><ul style="margin:4px 0 16px">{items}</ul>')
    for one in ranked:
        word, colour = _WORDS.get(one.state, (one.state.value, "#565f6b"))
        more = [one.found.strip()] if one.found.strip() else []
        more += [f"Next: {one.fix}"] if one.fix and one.state not in (VerdictState.PASSED, VerdictState.SKIPPED) else []
        lines += [
            f"{word}: {one.title} ({one.subject})",
            *(f"    {line}" for part in more for line in part.splitlines()),
        ]
        inner = "".join(f'<div style="margin-top:4px;white-space:pre-wrap">{escape(part)}</div>' for part in more)
        blocks.append(
            f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:0 0 12px"><strong '
            f'style="color:{colour}">{escape(word)}</strong>: {escape(one.title)} '
            f'<span style="color:#565f6b">({escape(one.subject)})</span>{inner}</div>'
        )
    end = f"The whole report is enclosed; run {result.id} of {result.finished_at:%Y-%m-%d %H:%M} UTC."
    style = "font:15px/1.5 sans-serif;color:#1b1f24;background:#fff;max-width:640px;padding:16px"
    html = f'<div style="{style}">{"".join(blocks)}<p style="color:#565f6b;margin:0">{escape(end)}</p></div>'
    name = f"{result.notebook}-{result.finished_at:%Y%m%d}.html"
    enclosed = (Attachment(name, report, "text/html"),)
    return Letter(f"{result.title}: {finding}"[:200], "\n".join([*lines, "", end]) + "\n", html, enclosed)


def _finding(result: RunResult, ranked: Sequence[Verdict]) -> str:
    """The worst that was found, in a sentence; what stopped the run, where something did."""
    if result.error is not None:
        return result.message
    worst = [one for one in ranked if one.state in WORST_FIRST[:3]]
    if not worst:
        return result.message
    more = f", and {len(worst) - 1} more" if len(worst) > 1 else ""
    return f"{worst[0].title}{more}"
