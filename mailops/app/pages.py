"""The pages that need no kernel: home, search, the queue, one mail, a trace, what runs, and the last verdicts.

Each is a function of an :class:`mailops.Ops` and the words of its address; it reads, and changes nothing. Addresses are
relative to the app's own root, so that they hold behind any base URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from ..checks import queue as queue_checks
from ..checks.services import services
from ..dns.export import FORMATS
from ..dns.names import mail_domain
from ..errors import MailopsError, NotFound
from ..jobs.catalogue import NotebookInfo, available, notebooks_folder
from ..jobs.verdicts import in_words, summary
from ..model.mail import MailView
from ..model.reasons import plain
from ..model.states import MailState
from ..model.text import counted, lasting
from ..model.verdict import Verdict, VerdictState
from ..page.blocks import (
    Banner,
    Block,
    Card,
    Chip,
    Code,
    Details,
    Drop,
    Facts,
    Field,
    Form,
    Grid,
    Inline,
    Link,
    Page,
    Paragraph,
    Table,
    Tile,
    Tiles,
    Title,
    When,
)
from ..queue.filters import QueueFilter
from . import hands
from .language import ENGLISH, number, say, spoken

if TYPE_CHECKING:
    from ..ops import Ops
    from ..store.runs import Run

Query = Mapping[str, str]
TABS = (("needs", "Needs you", MailState.FAILED), ("waiting", "Waiting", MailState.OUTGOING), ("all", "All", None))
LIMIT = 25
FAILING = ("passed", "failed")
LABELS = {"csv": "CSV", "parquet": "Parquet", "ics": "iCalendar"}
SOON = timedelta(days=60)
RUN_STATES = {"passed": "passed", "failed": "failed", "error": "failed", "running": "checking"}
RUN_WORDS = {"passed": "passed", "failed": "checks failed", "error": "could not run", "running": "running"}


def address(page: str, **query: object) -> str:
    """The address of one of these pages."""
    words = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return page + (f"?{urlencode(words)}" if words else "")


def notebook(name: str, **query: object) -> str:
    """The address of a notebook's page."""
    return address(f"page/{name}", **query)


# --- home -----------------------------------------------------------------------------------------------------------


def home(ops: Ops, query: Query) -> Page:
    """Mail at a glance: what needs somebody first."""
    now = ops.clock.now()
    health = ops.queue.health()
    failed = health.counts[MailState.FAILED] + health.partly
    verdicts = (
        queue_checks.waiting(health, now=now, limit=timedelta(hours=4)),
        queue_checks.plan(ops.findings(), now=now),
        services(ops.status()),
    )
    wrong = [one for one in verdicts if one.state in (VerdictState.FAILED, VerdictState.UNKNOWN)]
    tiles = Tiles(
        (
            Tile(say("Outgoing"), number(health.counts[MailState.OUTGOING]), address("queue", show="waiting")),
            Tile(say("Due now"), number(health.due), address("queue", show="waiting")),
            Tile(
                say("Delivery Failed"), number(failed), address("queue", show="needs"), "failed" if failed else "passed"
            ),
            Tile(say("Sent"), number(health.counts[MailState.SENT]), address("queue", state="sent")),
            Tile(say("The oldest waits for"), lasting((now - health.oldest).total_seconds()) if health.oldest else "–"),
        )
    )
    banner = (
        Banner("failed", "✗", _needing(len(wrong)),
               "; ".join(one.title for one in wrong))
        if wrong
        else Banner("passed", "✓", say("Nothing needs you just now"))
    )  # fmt: skip
    blocks: list[Block] = [
        Title(say("Mail at a glance")),
        Paragraph((say("As of "), When(now)), soft=True),
        banner,
        tiles,
    ]
    if is_demo(ops):
        way = Link(say("Take the tour: five cards"), "tour")
        blocks.insert(2, Paragraph((say("This is the demonstration, a month of made mail. "), way)))
    blocks += [_check(one) for one in verdicts]
    blocks += _causes(ops)
    blocks += _for_support(ops)
    blocks += _ends(ops, now)
    blocks += _changed(ops)
    blocks += [Title(say("Pages"), say("What each answers, and what its last run said."), level=2), _notebooks(ops)]
    return Page(say("Mail at a glance"), tuple(blocks), "home")


def _needing(many: int) -> str:
    if spoken() != ENGLISH:
        return say("What needs you") + f": {number(many)}"
    return f"{counted(many, 'thing')} {'needs' if many == 1 else 'need'} you"


def _check(one: Verdict) -> Card:
    """A verdict in its frame; what passed is folded."""
    head = Paragraph((Chip(one.state.value, say(one.state.value)), " ", one.title))
    more: list[Block] = [Paragraph((one.found,), soft=True)] if one.found else []
    if one.passed:
        return Card((head, *([Details(say("What was found"), tuple(more))] if more else [])), "passed")
    if one.fix:
        more.append(Paragraph((say("What to do"), ": ", one.fix)))
    return Card((head, *more), one.state.value)


def _causes(ops: Ops) -> list[Block]:
    rows: list[tuple[Inline, ...]] = [
        (
            Link(plain(word), address("queue", reason=word, to=domain)),
            Link(domain, address("queue", to=domain)),
            number(many),
        )
        for word, domain, many in ops.queue.causes()[:8]
    ]
    if not rows:
        return []
    caption = say("Why mails fail or wait")
    columns = (say("Cause"), say("Recipient domain"), say("Deliveries"))
    return [Title(caption, level=2), Table(caption, columns, rows, titled=True)]


def _for_support(ops: Ops) -> list[Block]:
    """Failures that come again without a reason: what support is for, with the page that makes the bundle."""
    found = ops.support.suggested()[:5]
    if not found:
        return []
    rows = [(one.says, Link("Make the bundle", notebook("support_bundle", mail=one.mail or ""))) for one in found]
    caption = "A matter for support"
    return [Title(caption, level=2), Table(caption, ("What", "What to do"), rows, titled=True)]


def _ends(ops: Ops, now: datetime) -> list[Block]:
    ends = [one for one in ops.ends(network=False) if one.at <= now + SOON and not one.moves]
    if not ends:
        return []
    rows: list[tuple[Inline, ...]] = [
        (
            Chip("failed" if one.days(now) < 7 else "warning", counted(max(0, one.days(now)), "day")),
            one.label, one.name, When(one.at), one.fix,
        )
        for one in ends
    ]  # fmt: skip
    columns = (say("Left"), say("What"), say("Of"), say("Ends"), say("What to do"))
    return [Title(say("What ends soon"), level=2), Table(say("What ends soon"), columns, rows, titled=True)]


def _changed(ops: Ops) -> list[Block]:
    news = [(info, line) for info, run in _latest(ops) if run for line in (_result(run).get("changed") or [])[:3]]
    if not news:
        return []
    rows: list[tuple[Inline, ...]] = [(Link(info.title, notebook(info.name)), str(line)) for info, line in news[:10]]
    return [
        Title(say("What changed since the run before"), level=2),
        Table(say("What changed"), (say("Page"), say("Change")), rows, titled=True),
    ]


def _latest(ops: Ops) -> list[tuple[NotebookInfo, Run | None]]:
    """Every notebook with its last finished run."""
    from ..store.runs import list_runs

    latest: dict[str, Run] = {}
    for run in list_runs(ops.engine, limit=500):
        if run.status != "running":
            latest.setdefault(run.notebook, run)
    return [(info, latest.get(info.name)) for info in available()]


def _result(run: Run) -> dict[str, Any]:
    try:
        found = json.loads((Path(run.folder or "") / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def verdict_in_words(ops: Ops, run: Run) -> str:
    """What a run's checks said, in their own titles: never the code of a check."""
    from ..store.runs import verdicts_of

    verdicts = verdicts_of(ops.engine, run.id)
    if words := in_words(verdicts):
        return words
    if run.status == "error":
        return str(_result(run).get("message") or (run.error or {}).get("error") or "It could not run.")
    return summary(verdicts) if verdicts else "Nothing to check there yet."


def _notebooks(ops: Ops) -> Grid:
    cards = []
    for info, run in _latest(ops):
        blocks: list[Block] = [
            Title(info.title, level=3), Paragraph((info.question,), soft=True),
            Paragraph((Link(f"Open {info.title}", notebook(info.name)),)),
        ]  # fmt: skip
        if run is not None:
            blocks.append(Paragraph((_run_chip(run), " ", verdict_in_words(ops, run))))
            blocks.append(Paragraph((When(run.started_at), " ", *_report_link(run)), soft=True))
        cards.append(Card(tuple(blocks)))
    return Grid(tuple(cards))


def _run_chip(run: Run) -> Chip:
    return Chip(RUN_STATES.get(run.status, "unknown"), say(RUN_WORDS.get(run.status, run.status)))


def _report_link(run: Run) -> tuple[Inline, ...]:
    has = bool(run.folder) and (Path(run.folder or "") / "report.html").is_file()
    return (Link(say("Report"), f"report/{quote(run.id)}"),) if has else ()


# --- the queue --------------------------------------------------------------------------------------------------------


def queue(ops: Ops, query: Query) -> Page:
    """The queue, read only: tabs, figures and causes narrow; each mail leads to itself."""
    narrowed, said = chosen(ops, query)
    offset = max(0, _number(query.get("offset")))
    sort = query.get("sort") if query.get("sort") in ("id", "created_at", "due_at", "attempts", "size") else "id"
    page = ops.queue.page(narrowed, offset=offset, limit=LIMIT, sort=sort or "id", descending=query.get("up") != "1")
    counts = ops.queue.health()
    failed = counts.counts[MailState.FAILED] + counts.partly
    totals = {"needs": failed, "waiting": counts.counts[MailState.OUTGOING], "all": None}
    tabs: list[Inline] = []
    for key, label, _ in TABS:
        number = totals[key]
        tabs += [Link(label + (f" ({number:,})" if number is not None else ""), address("queue", show=key)), "  ·  "]
    rows = [_row(one) for one in page.mails]
    last = min(offset + LIMIT, page.total)
    ways: list[Inline] = [f"{offset + 1:,}–{last:,} of {page.total:,}. " if page.total else ""]
    kept = {name: value for name, value in query.items() if name != "offset"}
    if offset:
        ways.append(Link("‹ Previous ", address("queue", **kept, offset=max(0, offset - LIMIT))))
    if last < page.total:
        ways.append(Link(" Next ›", address("queue", **kept, offset=offset + LIMIT)))
    states = (("", "any"), *((state.value, state.label) for state in MailState))
    form = Form(
        (
            Field("state", "State", query.get("state", ""), "choice", options=states),
            Field("to", "To", query.get("to", "")),
            Field("from", "From", query.get("from", "")),
            Field("text", "Contains", query.get("text", "")),
            Field("server", "Server", query.get("server", "")),
            Field("day", "Submitted on (2026-11-29)", query.get("day", "")),
        ),
        "Narrow", "queue", "Narrow the list",
    )  # fmt: skip
    act = Paragraph((Link("Retry, Send Now, Cancel: open the queue's own page", notebook("queue")),))
    columns = ("Mail", "State", "From", "To", "Subject", "Reason", "Submitted")
    blocks: list[Block] = [
        Title("The queue", said), Paragraph(tuple(tabs[:-1])), form,
        Table("Mails", columns, rows, "No mail fits."), Paragraph(tuple(ways)), act,
        Paragraph(("This list as a file: ", *_as_files("queue", query))), *_causes(ops),
    ]  # fmt: skip
    return Page("Queue", tuple(blocks), "queue")


def chosen(ops: Ops, query: Query) -> tuple[QueueFilter, str]:
    """The filter of an address, and what it shows in words; of none, what needs somebody, where something does."""
    state = next((one for one in MailState if one.value == query.get("state")), None)
    reason, to = query.get("reason") or None, (query.get("to") or "").strip() or None
    sender, text = (query.get("from") or "").strip() or None, (query.get("text") or "").strip() or None
    show, server = query.get("show", ""), (query.get("server") or "").strip() or None
    day, (after, before) = query.get("day", ""), _day(ops, query.get("day", ""))
    if not any((state, reason, to, sender, text, show, server, after)):
        health = ops.queue.health()
        show = "needs" if health.counts[MailState.FAILED] + health.partly else "all"
    state = state or next((which for key, _, which in TABS if key == show), None)
    words = [state.label if state else "All mails"]
    words += [plain(reason)] if reason else []
    words += [f"to {to}"] if to else []
    words += [f"from {sender}"] if sender else []
    words += [f"with “{text}”"] if text else []
    words += [f"by server {server}"] if server else []
    words += [f"submitted on {day}"] if after else []
    narrowed = QueueFilter(
        state=state, reason=reason, recipient=to, sender=sender, text=text, server=server, after=after, before=before
    )
    return narrowed, ", ".join(words) + "."


def _day(ops: Ops, text: str) -> tuple[datetime | None, datetime | None]:
    """The bounds of a day (2026-11-29) of the workspace's zone; none for what is no day."""
    try:
        begin = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(ops.workspace.settings.profile.zone))
    except ValueError:
        return None, None
    return begin.astimezone(UTC), (begin + timedelta(days=1)).astimezone(UTC)


def _row(mail: MailView) -> tuple[Inline, ...]:
    people = [one.recipient for one in mail.deliveries]
    to = ", ".join(people[:2]) + (f" and {len(people) - 2} more" if len(people) > 2 else "")
    word = next((plain(one.cause) for one in mail.deliveries if one.cause), mail.failure_reason or mail.leaves or "")
    return (
        Link(str(mail.id), f"mail/{mail.id}"), Chip(mail.state.value, mail.label), mail.header_from or "(notification)",
        to, mail.subject or "(no subject)", word, When(mail.created_at),
    )  # fmt: skip


def mail(ops: Ops, number: str) -> Page:
    """One mail: its recipients with the servers' words, the causes, its history, and the ways on."""
    mail_id = _number(number)
    one = ops.queue.mail(mail_id)
    rows: list[tuple[Inline, ...]] = [
        (
            d.recipient,
            Chip(d.state.value, d.state.label),
            " ".join(str(part) for part in (d.code, d.enhanced) if part),
            d.reply,
            Link(plain(d.cause), address("queue", reason=d.cause, to=d.recipient.rpartition("@")[2]))
            if d.cause
            else "",
        )
        for d in one.deliveries
    ]
    why = [Card((Paragraph((told.cause,)), *(Paragraph((task,)) for task in told.tasks)), "failed")
           for told in ops.why(mail_id)[:5]]  # fmt: skip
    reasons: list[Block] = [Title("Why, and what helps", level=2), *why] if why else []
    history: list[tuple[Inline, ...]] = [
        (When(line.at), line.kind, line.recipient, line.server_key, line.why, line.actor)
        for line in ops.queue.history(mail_id)
    ]
    facts: list[tuple[str, Inline]] = [
        ("State", Chip(one.state.value, one.label)), ("From", one.header_from or "the notification address"),
        ("Submitted", When(one.created_at)), ("Tries", str(one.attempts)), ("Server", one.server_key or "none yet"),
        ("Message-ID", one.message_id), ("Size", f"{one.size:,} bytes"),
        *([("Leaves", one.leaves)] if one.leaves else []),
    ]  # fmt: skip
    domain = (one.header_from or "").rpartition("@")[2].strip("> ")
    ways: list[Inline] = [
        Link("Where is it? (trace)", address("trace", asked=one.message_id)), "  ·  ",
        Link("Retry or cancel it", notebook("queue", mail=mail_id)), "  ·  ", Link("Back to the queue", "queue"),
    ]  # fmt: skip
    if domain:
        ways += ["  ·  ", Link(f"DNS of {domain}", notebook("domain_dns", domain=domain))]
    columns = ("Recipient", "State", "Code", "What the server said", "Cause")
    told = ("At", "Event", "Recipient", "Server", "Why this server", "By")
    blocks: list[Block] = [
        Title(f"Mail {mail_id}: {one.subject or '(no subject)'}"), Facts(facts), Table("Recipients", columns, rows),
        *reasons, Paragraph(tuple(ways)),
        Details("History", (Table("History", told, history),)),
    ]  # fmt: skip
    return Page(f"Mail {mail_id}", tuple(blocks), "queue")


# --- looking for something --------------------------------------------------------------------------------------------


def search(ops: Ops, query: Query) -> Page:
    """An address, a domain, a mail's number, a Message-ID or words of a subject: everything that is known of it."""
    asked = query.get("q", "").strip()
    title = Title("Search", f"“{asked}”" if asked else "An address, a mail, a domain")
    if not asked:
        return Page("Search", (title,), "search")
    blocks: list[Block] = [title]
    if re.fullmatch(r"#?\d{1,18}", asked):
        try:
            return mail(ops, asked.lstrip("#"))
        except NotFound as error:
            blocks.append(Banner("warning", "!", error.message, error.fix))
    domain = mail_domain(asked)
    if domain and "@" in asked and not asked.startswith("<"):
        person = asked.strip("<> ")
        blocks += [
            _mails(ops, QueueFilter(recipient=person), f"Mails to {person}", to=person),
            _mails(ops, QueueFilter(sender=person), f"Mails from {person}", sender=person),
            Paragraph((Link("Where are the mails of this address? (trace)", address("trace", asked=person)),)),
            Paragraph((Link("Is it suppressed? What is kept of it?", notebook("person", address=person)),)),
        ]
    elif domain:
        blocks += [
            _mails(ops, QueueFilter(recipient=domain), f"Mails to {domain}", to=domain),
            _mails(ops, QueueFilter(sender=domain), f"Mails from {domain}", sender=domain),
            Paragraph((Link(f"DNS of {domain}", notebook("domain_dns", domain=domain)),)),
        ]
    blocks.append(_mails(ops, QueueFilter(text=asked), "Mails whose subject or reason has it", text=asked))
    if asked.startswith("<") or ("@" in asked and not domain):
        blocks.append(Paragraph((Link("Where is this mail? (trace)", address("trace", asked=asked)),)))
    return Page(f"Search: {asked[:60]}", tuple(blocks), "search")


def _mails(ops: Ops, chosen: QueueFilter, caption: str, *, to: str = "", sender: str = "", text: str = "") -> Card:
    page = ops.queue.page(chosen, limit=5)
    columns = ("Mail", "State", "From", "To", "Subject", "Reason", "Submitted")
    more = Link(f"All {page.total:,}", address("queue", to=to, **{"from": sender}, text=text, show="all"))
    blocks: list[Block] = [Table(f"{caption} ({page.total:,})", columns, [_row(one) for one in page.mails], "None.")]
    return Card((*blocks, Paragraph((more,)))) if page.total > len(page.mails) else Card(tuple(blocks))


def trace(ops: Ops, query: Query) -> Page:
    """Where a mail is: who had it, who has it, and the proof."""
    asked, since = query.get("asked", "").strip(), query.get("since", "") or "90d"
    form = Form(
        (Field("asked", "Message-ID, address or queue id", asked), Field("since", "How far back", since)),
        "Find", "trace", "Find a mail",
    )  # fmt: skip
    blocks: list[Block] = [Title("Where is this mail?"), form]
    if asked:
        try:
            found = ops.trace(asked, since=since)
        except MailopsError as error:
            blocks.append(Banner("warning", "!", error.message, error.fix))
        else:
            for one in found.journeys[:10]:
                ways: list[tuple[Inline, ...]] = [
                    (path.recipient or "(not named)", path.says, path.answer) for path in one.paths
                ]
                steps: list[tuple[Inline, ...]] = [
                    (When(step.at), step.source, step.what, step.recipient, step.answer) for step in one.steps
                ]
                every = Table("Every step", ("At", "Source", "What", "Recipient", "Answer"), steps)
                blocks.append(
                    Card(
                        (
                            Title(one.message_id or "(no Message-ID)", f"From {one.author}", level=2),
                            Paragraph(("Holders: ", " → ".join(one.holders))),
                            Table("Where it is", ("Recipient", "Where it is", "Proof"), ways),
                            Details("Every step", (every,)),
                        )
                    )
                )
            if not found.journeys:
                blocks.append(Banner("warning", "!", "No mail of it is known."))
    return Page("Trace", tuple(blocks), "trace")


# --- what runs, what was found ----------------------------------------------------------------------------------------


def status(ops: Ops, query: Query) -> Page:
    """What runs and how it goes."""
    now = ops.clock.now()
    found = ops.status()
    rows = [tuple(row) for row in found.rows(now)]
    columns = ("Whole", "Service", "State", "Process", "Since", "Heartbeat", "Last error")
    blocks: list[Block] = [
        Title("What runs"), Paragraph(("As of ", When(now)), soft=True), _check(services(found)),
        Table("Services", columns, rows, "Nothing runs here: mailops serve"),
    ]  # fmt: skip
    return Page("Status", tuple(blocks), "status")


def verdicts(ops: Ops, query: Query) -> Page:
    """The last run of every notebook, the worst first."""
    order = {"error": 0, "failed": 1, "running": 2, "passed": 3}
    latest = sorted(_latest(ops), key=lambda pair: order.get(pair[1].status, 4) if pair[1] else 5)
    rows: list[tuple[Inline, ...]] = [
        (
            Link(info.title, notebook(info.name)),
            Chip(RUN_STATES.get(run.status, "unknown"), RUN_WORDS.get(run.status, run.status))
            if run
            else "not run yet",
            verdict_in_words(ops, run) if run else "",
            When(run.started_at) if run else "",
            next(iter(_report_link(run)), "") if run else "",
        )
        for info, run in latest
    ]
    table = Table("Last verdicts", ("Page", "Verdict", "In words", "Run at", "Report"), rows)
    return Page(
        "Last verdicts", (Title("Last verdicts", "What each page's last run as a job said."), table), "verdicts"
    )


def report(ops: Ops, run_id: str) -> Path:
    """The report of a run. Raises :class:`NotFound`."""
    from ..store.runs import get_run

    run = get_run(ops.engine, run_id)
    path = Path(run.folder or "") / "report.html" if run is not None and run.folder else None
    if path is None or not path.is_file():
        raise NotFound("There is no such report.", code="run.not_found", fix="Look at the last verdicts.")
    return path


# --- the tour of the demonstration ----------------------------------------------------------------------------------

CARDS = (
    ("Mail at a glance", "Home says what needs you: here mail waits too long. Each figure leads to what it counts.",
     "Look at home", "home"),
    ("What fails, and why", "Four hundred mails failed. The queue groups them by cause; a cause leads to its mails, "
     "a mail to the server's words and to what helps.", "Look at the queue", "queue?show=needs"),
    ("Where is this mail?", "A Message-ID or an address is enough: who had the mail, who has it, and the proof of it.",
     "Ask where a mail is", "trace"),
    ("Is our DNS right?", "One field for the domain: what was found, what is expected, and the record to publish.",
     "Check a domain", notebook("domain_dns")),
    ("Connect a mailbox", "A guide goes step by step and checks each. Practise it first: nothing leaves this machine.",
     "Open the guide", notebook("connect_google", practice="true")),
)  # fmt: skip


def is_demo(ops: Ops) -> bool:
    """Whether this workspace is the demonstration's."""
    return (ops.workspace.path / "demo.json").is_file()


def tour(ops: Ops, query: Query) -> Page:
    """Five cards through the demonstration, one at a time."""
    at = min(max(1, _number(query.get("card")) or 1), len(CARDS))
    title, said, label, target = CARDS[at - 1]
    ways: list[Inline] = [Link(f"‹ {CARDS[at - 2][0]}", address("tour", card=at - 1)), "  ·  "] if at > 1 else []
    ways.append(
        Link(f"Next: {CARDS[at][0]} ›", address("tour", card=at + 1)) if at < len(CARDS) else Link("Home", "home")
    )
    blocks: list[Block] = [
        Title("A tour of the demonstration", f"Card {at} of {len(CARDS)}"),
        Card((Title(title, level=2), Paragraph((said,)), Paragraph((Link(label, target),)))),
        Paragraph(tuple(ways)),
    ]
    if not is_demo(ops):
        blocks.insert(1, Banner("skipped", "–", "This is no demonstration", "The tour speaks of the one of make demo."))
    return Page("Tour", tuple(blocks), "home")


# --- files ------------------------------------------------------------------------------------------------------------


def _as_files(name: str, query: Query) -> list[Inline]:
    """Links to a file in each of its forms."""
    words = {key: value for key, value in query.items() if key not in ("offset", "token", "look")}
    links: list[Inline] = []
    for form in hands.FILES[name][1]:
        links += ["  ·  ", Link(LABELS[form], address(f"away/{name}.{form}", **words))]
    return links[1:]


def files(ops: Ops, query: Query, *, may_act: bool) -> Page:
    """What can be handed in, and taken away."""
    rows: list[tuple[Inline, ...]] = [
        (
            label,
            *(Link(LABELS[form], f"away/{name}.{form}") if form in forms else "" for form in ("csv", "parquet", "ics")),
        )
        for name, (label, forms) in hands.FILES.items()
    ]
    blocks: list[Block] = [Title("Files", "What you hand in and take away by the browser.")]
    if may_act:
        blocks += [Title("Hand in", level=2), Drop(tuple(hands.KINDS.items()), "hand", hands.PIECE)]
    blocks += [
        Title("Take away", level=2),
        Table("Files to take away", ("What", "CSV", "Parquet", "Calendar"), rows, titled=True),
    ]
    if may_act:
        form = Form(
            (
                Field("domain", "Domain", query.get("domain", "")),
                Field("format", "As", "zone", "choice", options=tuple((one, one) for one in FORMATS)),
            ),
            "Save the records", "away/records.txt", "Records to publish, as a file",
        )  # fmt: skip
        blocks += [Title("Records to publish", "Asked of DNS now; for the tool that keeps your zone.", level=2), form]
    return Page("Files", tuple(blocks), "files")


# --- the documentation ------------------------------------------------------------------------------------------------


def docs_folder() -> Path:
    """The pages of the documentation: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_docs"
    return inside if inside.is_dir() else package.parent / "docs"


def documents() -> dict[str, Path]:
    """Every page of the documentation by its name, such as ``how-to/relay``."""
    root = docs_folder()
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.md"))}


# --- errors -----------------------------------------------------------------------------------------------------------


def trouble(error: MailopsError) -> Page:
    """What could not be shown, and what to do."""
    from ..secrets import redact

    lost = isinstance(error, NotFound)
    blocks: list[Block] = [
        Title("This cannot be shown"),
        Banner("failed", "✗", redact(error.message), redact(error.fix)),
        Details("Details", (Code(redact("\n".join([error.code, *(f"{k}: {v}" for k, v in error.facts.items())]))),)),
        Paragraph((Link("Home", "home"),)),
    ]
    return Page("Not found" if lost else "Trouble", tuple(blocks), status=404 if lost else 500)


def _number(text: str | None) -> int:
    """A whole number of an address; 0 for what is none."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else 0


@dataclass(frozen=True, slots=True)
class Part:
    """A place in the app's header."""

    key: str
    label: str
    address: str


PARTS = (
    Part("home", "Home", "home"),
    Part("queue", "Queue", "queue"),
    Part("trace", "Trace", "trace"),
    Part("status", "Status", "status"),
    Part("verdicts", "Last verdicts", "verdicts"),
    Part("files", "Files", "files"),
    Part("docs", "Help", "docs/index"),
)
READS: Mapping[str, Callable[[Ops, Query], Page]] = {
    "home": home, "queue": queue, "search": search, "trace": trace, "status": status, "verdicts": verdicts,
    "tour": tour,
}  # fmt: skip


def neighbours(name: str) -> tuple[NotebookInfo | None, NotebookInfo | None]:
    """The notebooks before and after this one, in the order of home."""
    found = available(notebooks_folder())
    at = next((n for n, info in enumerate(found) if info.name == name), -1)
    if at < 0:
        return None, None
    return (found[at - 1] if at else None), (found[at + 1] if at + 1 < len(found) else None)


def beside(name: str) -> list[tuple[str, str]]:
    """The ways on from a notebook's page: (what it says, address)."""
    before, after = neighbours(name)
    return [
        ("Home", "home"),
        *([(f"‹ {before.title}", notebook(before.name))] if before else []),
        *([(f"{after.title} ›", notebook(after.name))] if after else []),
    ]
