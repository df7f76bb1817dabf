"""A report's proved records as text for people and tools: one way for the command line, Ops and the notebook.

Tools that own whole RRsets (OctoDNS, Route 53 and the generic provider of Terraform) get the RRset as it will be: what
stands at the name and stays, with what is new. Tools that own single records get what is new. Names are relative to the
zone a record is really in, and records of several zones are kept apart. A change that loses something of the owner's is
named, and stands in the text only once the loss is confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputRefused
from .domain_model import DomainReport
from .names import normalise
from .records import ZoneRecord, octodns, panel_forms, terraform, zone_file, zone_line

FORMATS = ("panel", "zone", "octodns", "terraform", "cloudflare", "route53")
CONFIRM = "--accept-losses"
_WHOLE = ("octodns", "terraform", "route53")


def known_format(form: str) -> None:
    """Refuse a form there is not (``input.format``)."""
    if form not in FORMATS:
        raise InputRefused(
            f"There is no form {form[:40]!r}.",
            code="input.format",
            facts={"known": list(FORMATS)},
            fix="Take one of: " + ", ".join(FORMATS),
        )


def exported(report: DomainReport, form: str, *, losses: bool = False) -> dict[str, str]:
    """Zone → text, in the order of the zones; empty when there is nothing to publish. ``losses`` = the owner agrees to
    what the changes lose. Raises ``input.format``."""
    known_format(form)
    changes = report.confirmed(losses)
    publish = list(dict.fromkeys(r for change in changes for r in change.publish))
    remove = list(dict.fromkeys(r for change in changes for r in change.remove))
    touched = (record for change in report.changes for record in (*change.publish, *change.remove))
    zones = dict.fromkeys(report.zone_of(record.name) for record in touched)
    if not zones and form in ("zone", "octodns"):
        zones = {report.zone_of(report.setup.name): None}
    out = {}
    for zone in zones:
        new = [record for record in publish if report.zone_of(record.name) == zone]
        gone = [record for record in remove if report.zone_of(record.name) == zone]
        out[zone] = _text(report, zone, form, new, gone)
    return out


def _text(report: DomainReport, zone: str, form: str, new: list[ZoneRecord], gone: list[ZoneRecord]) -> str:
    mark = ";" if form == "zone" else "#"
    head = "".join(f"{mark} take away: {zone_line(record, zone)}\n" for record in gone)
    for change in report.changes:
        records = (*change.publish, *change.remove)
        if change.loses and any(report.zone_of(r.name) == zone and r not in (*new, *gone) for r in records):
            head += f"{mark} not here until you confirm what is lost ({CONFIRM}): {change.why}\n"
            head += "".join(f"{mark}   would be gone afterwards: {one}\n" for one in change.loses)
        elif any(record in new or record in gone for record in records):
            head += "".join(f"{mark} gone afterwards: {one}\n" for one in change.loses)
            head += "".join(f"{mark} or, as you choose: {one}\n" for one in change.choices)
    if form == "panel":
        blocks = (
            "\n".join(f"{label}: {value}" for label, value in panel_forms(record, zone, report.appends_domain))
            for record in new
        )
        return head + "\n\n".join(blocks)
    if form == "zone":
        return head + zone_file(new, zone)
    if form in _WHOLE:
        head += f"{mark} these are whole RRsets: what stands there and stays is in them\n"
        new, foreign = whole_sets(report.beside, new, gone)
        head += "".join(f"{mark} not here, a value is not ASCII: {name} {kind}\n" for name, kind in foreign)
    if form == "octodns":
        return head + octodns(new, zone)
    return head + terraform(new, zone, "generic" if form == "terraform" else form)


def whole_sets(
    beside: Sequence[ZoneRecord], new: Sequence[ZoneRecord], gone: Sequence[ZoneRecord]
) -> tuple[list[ZoneRecord], list[tuple[str, str]]]:
    """The RRsets the changes touch, as they will be, and those no text can hold (name and type)."""
    out: list[ZoneRecord] = []
    foreign: list[tuple[str, str]] = []
    for name, kind in dict.fromkeys((normalise(one.name), one.type) for one in (*new, *gone)):
        group = [one for one in (*beside, *new) if (normalise(one.name), one.type) == (name, kind)]
        if any(one.raw or not one.value.isascii() for one in group):
            foreign.append((name, kind))
        else:
            out += dict.fromkeys(group)
    return out, foreign
