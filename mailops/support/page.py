"""The first page of a bundle: what the case is, in words and tables, and where the rest stands. It links to nothing
outside, and is made of what was cleaned alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..page.blocks import Banner, Block, Details, Facts, Inline, Link, Paragraph, Table, Title, html, text
from ..page.sheet import page

ABOUT = {
    "index.html": "this page",
    "README.txt": "the same as text",
    "mail.eml": "the mail, with stand-ins; open it with any mail program",
    "case.json": "what it is about",
    "timeline.json": "the way of the mail, step by step",
    "why.json": "what each server said, and what mailops makes of it",
    "configuration.json": "the set-up, without secrets",
    "changes.json": "what changed in the last 30 days",
    "around.json": "what happened within half an hour of it",
    "answers.json": "answers to support's questions",
    "redactions.json": "what was replaced, and what was left out",
}
NAMES = (
    "Addresses, domains, tokens and secrets have stand-ins: made up, of the same length, the same for the same value in"
    " every file. Whoever made this bundle has the key and can translate your answer back, so use the names as they"
    " stand here. They are not those of anybody who really has them. IP addresses, names of people and words are real."
)


def blocks(facts: Mapping[str, Any], files: Sequence[str]) -> list[Block]:
    """The page of a case; ``facts`` are the cleaned files by name."""
    case, why = facts["case.json"], facts["why.json"]
    named = f"mail {case['mail']}" if case["mail"] is not None else case["record"] or "a mail from a file"
    out: list[Block] = [
        Title("Support bundle", f"About {named}. Made on {_when(case['made_at'])} by mailops {case['mailops']}.")
    ]
    first = why[0] if why else None
    if first:
        out.append(Banner("failed", "✗", str(first["cause"]), f"{first['recipient']}: {first['said']}"))
    out += [Banner("warning", "!", warning) for warning in case["warnings"]]
    copy = {"original": "the original", "forwarded": "a forwarded copy", "no copy": "not in this bundle"}[case["copy"]]
    out.append(
        Facts(
            [
                ("The mail", f"{copy} ({'; '.join(case['signs'])})" if case["signs"] else copy),
                *([("Record", case["record"])] if case["record"] else []),
                *([("Sent", _when(case["sent_at"]))] if case["sent_at"] else []),
            ]
        )
    )
    answers = [(a["question"], a["answer"] or "not answered", "; ".join(a["evidence"])) for a in facts["answers.json"]]
    out += [
        Title("What support asks", level=2),
        Table("Answers", ("Question", "Answer", "Evidence"), answers, titled=True),
    ]
    steps = [(_when(s["at"]), s["what"], s["recipient"], s["answer"]) for s in facts["timeline.json"]["steps"]]
    out += [
        Title("Timeline", level=2),
        Table("Timeline", ("When", "What", "Recipient", "Answer"), steps, "Nothing is known of its way.", titled=True),
        Title("Causes", level=2),
        Table(
            "Causes",
            ("Recipient", "What the server said", "Cause", "To act", "What to do"),
            [(w["recipient"], w["said"], w["cause"], w["who"], " ".join(w["tasks"])) for w in why],
            "No failure is known.",
            titled=True,
        ),
    ]
    for name, one in facts.items():
        if name.startswith("dns/"):
            rows: list[Sequence[Inline]] = [(r["check"], r["state"], r["title"]) for r in one.get("results", ())]
            out += [
                Title(f"DNS of {one['domain']}", one.get("trouble", ""), level=2),
                Table("Checks", ("Check", "State", "What was found"), rows, one.get("trouble", ""), titled=True),
                Details("Every answer", (_answers(one),)),
            ]
    changed = [(_when(c["at"]), c["what"]) for c in facts["changes.json"]]
    out += [
        Title("Changed in the last 30 days", level=2),
        Table("Changes", ("When", "What"), changed, "Nothing that is kept changed.", titled=True),
        Title("Set-up", level=2),
        _setup(facts["configuration.json"]),
        Title("Names", level=2),
        Paragraph((NAMES,)),
        Title("Files", level=2),
        Table("Files", ("File", "What it holds"), [(Link(f, f), _about(f)) for f in files], titled=True),
    ]
    return out


def _answers(one: Mapping[str, Any]) -> Table:
    rows = [
        (f"{a['name']} {a['type']}", a["status"], "\n".join(_record(a["type"], v) for v in a["values"]))
        for a in one.get("answers", ())
    ]
    return Table("Answers of DNS", ("Question", "Outcome", "Records"), rows, "Nothing was asked.")


def _record(rdtype: str, value: Any) -> str:
    if rdtype in ("TXT", "SPF"):
        return "".join(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _setup(told: Mapping[str, Any]) -> Table:
    servers = [
        (
            s["key"],
            f"{s['host']}:{s['port']}",
            s["encryption"],
            s["authentication"],
            s["from_filter"] or "",
            s["login"] or "",
        )
        for s in told["servers"]
    ]
    head = ("Server", "Host", "Encryption", "Sign-in", "FROM filter", "Login")
    return Table("Outgoing servers", head, servers, "No outgoing server is defined.", titled=True)


def _about(name: str) -> str:
    if name.startswith("reports/"):
        return "a report that came back"
    return ABOUT.get(name, "DNS: every answer, and what the checks say" if name.startswith("dns/") else "")


def _when(at: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(at)):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return str(at)


def index(facts: Mapping[str, Any], files: Sequence[str]) -> str:
    """The page as HTML."""
    return page("Support bundle", "".join(html(block) for block in blocks(facts, files)))


def readme(facts: Mapping[str, Any], files: Sequence[str]) -> str:
    """The page as text."""
    return "\n\n".join(text(block) for block in blocks(facts, files)) + "\n"
