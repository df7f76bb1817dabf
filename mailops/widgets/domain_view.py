"""The DNS of a domain as cards: each finding with the record to publish and its proof, and a watch until it is out.

The watch runs in the background and redraws the cards by itself; it never shows a finding as back that it has seen
gone, because name servers catch up one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..dns.names import spoken
from ..errors import MailopsError
from ..model.text import counted
from ..model.verdict import Verdict, VerdictState
from ..page.theme import INK, SANS, box, code, esc, heading, html_table, live_only, paragraph, titled
from .check import CheckCard
from .controls import button, field, row
from .copyfield import CopyField
from .faces import Card, said
from .panel import Headline, Panel

if TYPE_CHECKING:
    from ..dns.domain_model import CheckResult, DomainReport, SendingSetup
    from ..domains.service import Waiting
    from ..ops import Ops

Record = Callable[[Verdict], Verdict]


class Prose(Card):
    """A few sentences, one a line."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines

    def html(self) -> str:
        style = f"font-family:{SANS};font-size:14px;color:{INK};margin:6px 0;max-width:1140px"
        return f'<div style="{style}">{"".join(paragraph(line) for line in self.lines)}</div>'

    def text(self) -> str:
        return "\n".join(self.lines)


class Links(Card):
    """Links with what to do there: ``(title, address, note)``; only ``https`` ones become links."""

    def __init__(self, title: str, links: list[tuple[str, str, str]]) -> None:
        self.title, self.links = title, links

    def html(self) -> str:
        rows = "".join(f'<li style="margin:3px 0">{self._link(*link)}</li>' for link in self.links)
        shown = f'<ul style="margin:4px 0;padding-left:22px">{rows}</ul>'
        style = f"font-family:{SANS};font-size:14px;color:{INK};margin:6px 0;max-width:1140px;overflow-wrap:anywhere"
        return f'<div style="{style}">{heading(self.title)}{shown}</div>'

    @staticmethod
    def _link(title: str, address: str, note: str) -> str:
        tail = f" – {esc(note)}" if note else ""
        if not address.startswith("https://"):
            return f"{esc(title)}: {esc(address)}{tail}"
        style = f"color:{INK};text-decoration:underline"
        return f'<a href="{esc(address)}" target="_blank" rel="noopener" style="{style}">{esc(title)}</a>{tail}'

    def text(self) -> str:
        return "\n".join(
            [self.title, *(f"  {title}: {address} {note}".rstrip() for title, address, note in self.links)]
        )


class FindingCard(Card):
    """One result: the check's card; below it the record in the forms a DNS panel may want, and what was proved.

    A record that loses something of the owner's is held back until ``losses`` or the button says that this is meant;
    ``agreed`` keeps what was agreed to, over a redraw.
    """

    def __init__(
        self, result: CheckResult, zone: str, *, appends_domain: bool | None = None, losses: bool = False,
        agreed: set[str] | None = None,
    ) -> None:  # fmt: skip
        from ..dns.records import panel_forms, zone_line
        from ..domains.values import proof_line

        self.result = result
        self.card = CheckCard(_named(result.verdict))
        self.fields: list[Card] = []
        self.proof = proof_line(result)
        change = result.change if result.proved else None
        self.agreed = set() if agreed is None else agreed
        self.held = [one for one in change.loses if one not in self.agreed] if change and not losses else []
        self.gone = [zone_line(record, zone) for record in change.remove] if change else []
        many = change is not None and len(change.publish) > 1
        for number, record in enumerate(change.publish if change else (), start=1):
            forms = panel_forms(record, zone, appends_domain)  # the form this panel wants first; both can be copied
            mark = f" of record {number}" if many else ""
            self.fields += [CopyField(label + mark, value) for label, value in forms]

    def _warning(self) -> str:
        from ..domains.values import TO_CONFIRM

        lost = "".join(paragraph(f"Gone afterwards: {one}") for one in self.held)
        return self._block(f"{heading('This loses something of yours', 4)}{lost}{paragraph(TO_CONFIRM)}")

    def _before(self) -> str:
        if not self.fields:
            return ""
        gone = f"{paragraph('Take away first:')}{code(chr(10).join(self.gone))}" if self.gone else ""
        return self._block(f"{gone}{heading('Record to publish', 4)}")

    def _after(self) -> str:
        if not self.proof:
            return ""
        mark = "✓ " if self.fields else ""
        return self._block(f'<p style="margin:2px 0 10px"><b>{mark}{esc(self.proof)}</b></p>')

    @staticmethod
    def _block(inner: str) -> str:
        style = f"font-family:{SANS};font-size:14px;color:{INK};max-width:1120px;margin:2px 0 2px 20px"
        return f'<div style="{style}">{inner}</div>'

    def html(self) -> str:
        if self.held:
            return self.card.html() + self._warning()
        inner = "".join(field.html() for field in self.fields)
        indented = f'<div style="margin-left:20px">{inner}</div>' if inner else ""
        return self.card.html() + self._before() + indented + self._after()

    def text(self) -> str:
        if self.held:
            return "\n".join([self.card.text(), *(f"  gone afterwards, to be confirmed: {one}" for one in self.held)])
        lines = [self.card.text(), *(f"  take away: {line}" for line in self.gone)]
        lines += [f"  {field.text()}" for field in self.fields]
        return "\n".join([*lines, *([f"  {self.proof}"] if self.proof else [])])

    def build(self) -> ipywidgets.Widget:
        shown = ipywidgets.VBox([self.card.widget, *self._parts()])
        if self.held:
            agree = button("I agree to lose this", tooltip="Show the record to publish")

            def agreed(_: object) -> None:
                self.agreed.update(self.held)
                self.held = []
                shown.children = (self.card.widget, *self._parts())

            agree.on_click(agreed)
            shown.children = (self.card.widget, ipywidgets.HTML(self._warning()), agree)
        return shown

    def _parts(self) -> list[Any]:
        parts: list[Any] = []
        if self.fields:
            fields = ipywidgets.VBox([field.widget for field in self.fields])
            fields.layout.margin = "0 0 0 20px"
            parts += [ipywidgets.HTML(self._before()), fields]
        return parts + ([ipywidgets.HTML(self._after())] if self.proof else [])


def _zone_of(report: DomainReport, result: CheckResult) -> str:
    """The zone a finding's records go into."""
    change = result.change
    name = next((record.name for record in (*change.publish, *change.remove)), "") if change is not None else ""
    return report.zone_of(name or report.setup.name)


def _named(verdict: Verdict) -> Verdict:
    """The verdict with the name of its check before the title, where the title does not begin with it."""
    from ..domains.values import NAMES

    name = NAMES.get(verdict.check, verdict.check.upper())
    return verdict if verdict.title.startswith(name) else replace(verdict, title=f"{name}: {verdict.title}")


class DomainView(Card):
    """Checks a domain on first use and shows the report; *Check now* and *Watch* are in the live notebook.

    ``record`` hears one verdict for each check and subject (the worst decides). ``watch_minutes`` bounds a watch;
    ``losses`` = the owner agrees to what the proposals lose.
    """

    def __init__(
        self,
        ops: Ops,
        setup: SendingSetup,
        *,
        ground: bool = False,
        record: Record | None = None,
        watch_minutes: float = 60.0,
        losses: bool = False,
    ) -> None:
        self.ops, self.setup, self.ground, self.losses = ops, setup, ground, losses
        self.watch_minutes = watch_minutes
        self._record: Record = record or (lambda verdict: verdict)
        self._report: DomainReport | None = None
        self._status = ""
        self._agreed: set[str] = set()
        self._state = VerdictState.READY
        self._places: tuple[tuple[str, str], ...] = ()
        self._stop = threading.Event()
        self._busy = threading.Lock()

    @property
    def report(self) -> DomainReport:
        """The last report; looked up on first use."""
        if self._report is None:
            self._take(self.ops.domains.check(self.setup, ground=self.ground))
        assert self._report is not None
        return self._report

    def _take(self, report: DomainReport) -> None:
        from ..domains.values import verdicts_of

        self._report = report
        for verdict in verdicts_of(report):
            self._record(verdict)

    def wait(self) -> bool:
        """Watch in the foreground, for a job: until nothing failed any more or ``watch_minutes`` are over."""
        cleared = False
        for step in self.ops.domains.watch(
            self.setup, limit=self.watch_minutes * 60, ground=self.ground, before=self.report
        ):
            self._hear(step)
            cleared = step.cleared
        return cleared

    def awaited(self, minutes: float) -> Card:
        """For the end of a job: wait where something failed and ``minutes`` is not 0; the cards as they are then."""
        if not minutes or self.report.green:
            return Prose()
        self.watch_minutes = minutes
        self.wait()
        return Panel(Prose(f"Waited: {self._status}"), self.cards())

    def other(self, setup: SendingSetup) -> DomainView:
        """The same view of another domain."""
        return DomainView(self.ops, setup, ground=self.ground, record=self._record, watch_minutes=self.watch_minutes,
                          losses=self.losses)  # fmt: skip

    def stop(self) -> None:
        """End a watch."""
        self._stop.set()

    # --- faces --------------------------------------------------------------------------------------------------------

    def cards(self) -> Panel:
        """Headline, findings worst first, guides and notes as they are now."""
        from ..domains.values import state_of

        report = self.report
        order = {"failed": 0, "unknown": 1, "warning": 2}
        results = sorted(report.results, key=lambda result: order.get(result.state.value, 3))
        wrong = sum(result.state.value in order for result in results)
        lead = (
            f"{wrong} of {counted(len(results), 'finding')} {'needs' if wrong == 1 else 'need'} you."
            if wrong
            else "Everything that was looked at is in order."
        )
        lead += f" Asked: {report.asked_of}."
        findings = [
            FindingCard(
                result,
                _zone_of(report, result),
                appends_domain=report.appends_domain,
                losses=self.losses,
                agreed=self._agreed,
            )
            for result in results
        ]
        tail: list[Card] = [Prose(*report.notes)] if report.notes else []
        if report.changes:
            where = f"Your DNS is at {report.dns_host}. " if report.dns_host else ""
            habit = {
                None: "Most panels add the domain to the name by themselves: type the short name there.",
                True: "This panel adds the domain to the name by itself: type the short name.",
                False: "This panel adds nothing to the name: type the full name.",
            }
            note = f"{where}{habit[report.appends_domain]}"
            guides = [(f"{host}: {title}", url, "") for host, title, url in report.guides]
            tail += [Prose(note), Links("How to publish a record, by DNS host", guides)]
        return Panel(Headline(spoken(report.setup.name), lead, state=state_of(report).value), *findings, *tail)

    def _status_html(self) -> str:
        if not self._status:
            return ""
        rows: list[list[object]] = [list(place) for place in self._places]
        table = html_table(["Record", "Seen"], rows) if rows else ""
        tone = {"passed": "good", "failed": "bad", "warning": "warn"}.get(self._state.value, "info")
        return box(titled(self._state.value, self._status) + table, accent=tone, role="status")

    def html(self) -> str:
        tools = live_only("Check now, and Watch until published")
        return self.cards().html() + self._status_html() + tools

    def text(self) -> str:
        watch = [f"[{self._state.value}] {self._status}"] if self._status else []
        return "\n".join([self.cards().text(), *watch])

    def build(self) -> ipywidgets.Widget:
        self._shown = ipywidgets.VBox([self.cards().widget])
        self._line = ipywidgets.HTML(self._status_html())
        self._watch_button = button("Watch until published", main=True, tooltip="Look again by itself until it is out")
        check = button("Check now", tooltip="Look again now")
        halt = button("Stop watching")
        self._watch_button.on_click(lambda _: self.start())
        check.on_click(lambda _: self._background(self._check_again))
        halt.on_click(lambda _: self.stop())
        return ipywidgets.VBox([row(check, self._watch_button, halt), self._line, self._shown])

    def refresh(self) -> None:
        if "widget" in self.__dict__:
            self._line.value = self._status_html()
            self._shown.children = (self.cards().widget,)

    # --- live ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch in the background; a second press while it runs does nothing."""
        self._background(self._watch)

    def _background(self, job: Callable[[], None]) -> None:
        if not self._busy.acquire(blocking=False):
            return
        self._stop.clear()
        self._tell(VerdictState.CHECKING, "Looking …")
        threading.Thread(target=self._guarded, args=(job,), daemon=True).start()

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self._tell(VerdictState.UNKNOWN, said(error))
        finally:
            self._busy.release()

    def _check_again(self) -> None:
        self._take(self.ops.domains.check(self.setup, ground=self.ground))
        self._places = ()
        self._state, self._status = VerdictState.PASSED, f"Looked at {self.ops.clock.now():%H:%M:%S} UTC."
        self.refresh()

    def _watch(self) -> None:
        step = None
        watching = self.ops.domains.watch(
            self.setup, limit=self.watch_minutes * 60, ground=self.ground, stop=self._stop, before=self.report
        )
        for step in watching:
            self._hear(step)
        if step is not None and not step.done:
            self._tell(VerdictState.SKIPPED, f"Stopped. Last seen: {step.line}.")

    def _hear(self, step: Waiting) -> None:
        redraw = step.report is not self._report
        if redraw:
            self._take(step.report)
        self._places = () if step.cleared else step.seen
        wait = f"; next look in {step.pause:.0f} s" if step.pause else ""
        state = VerdictState.PASSED if step.cleared else VerdictState.WARNING if step.done else VerdictState.CHECKING
        self._tell(state, f"{step.line[:1].upper()}{step.line[1:]}{wait}.", redraw=redraw)

    def _tell(self, state: VerdictState, line: str, *, redraw: bool = False) -> None:
        self._state, self._status = state, line
        if "widget" not in self.__dict__:
            return
        self._line.value = self._status_html()
        if redraw:
            self.refresh()


class DomainPage(Card):
    """A domain's report under the fields that ask for another one: what is typed is looked at with the same options,
    and what is no mail domain or no service is told where it was typed."""

    def __init__(self, view: DomainView) -> None:
        self.view = view
        self.trouble = self.read_as = ""

    def look(self, domain: str, service: str) -> None:
        """Look at another domain, or at the same with other services; a watch of the one before is ended."""
        before = self.view
        try:
            keys = ",".join(part for part in service.replace(",", " ").split() if part != "own")
            fields = {name: getattr(before.setup, name) for name in _KEPT}
            fresh = before.other(before.ops.domains.of(before.ops.setup, domain, **fields, service=keys))
            fresh.report  # noqa: B018 (looked up here, where trouble can be told)
        except MailopsError as error:
            self.trouble = said(error)
        else:
            name = fresh.setup.name
            self.trouble = ""
            self.read_as = "" if name == domain.strip().lower().removesuffix(".") else spoken(name)
            before.stop()
            self.view = fresh
        self.refresh()

    def html(self) -> str:
        return self._trouble_html() + self.view.html()

    def text(self) -> str:
        return "\n".join(part for part in (self.trouble, self.view.text()) if part)

    def _trouble_html(self) -> str:
        if self.trouble:
            return box(titled("failed", self.trouble), accent="bad", role="alert")
        return box(esc(f"Read as {self.read_as}."), accent="info", role="status") if self.read_as else ""

    def build(self) -> ipywidgets.Widget:
        self._domain = field("Domain", "example.com")
        self._service = field("Who sends", "odoo, google, mailjet …; own")
        self._domain.value = self.view.setup.name
        self._service.value = ", ".join(self.view.setup.services) or "own"
        press = button("Look at this domain", main=True, tooltip="Check this domain with these services")
        press.on_click(lambda _: self.look(self._domain.value, self._service.value))
        self._said = ipywidgets.HTML(self._trouble_html())
        self._held = ipywidgets.VBox([self.view.widget])
        return ipywidgets.VBox([row(self._domain, self._service, press), self._said, self._held])

    def refresh(self) -> None:
        if "widget" not in self.__dict__:
            return
        self._said.value = self._trouble_html()
        if not self.trouble:
            self._held.children = (self.view.widget,)


_KEPT = ("hosting", "database", "selectors", "spf_terms", "report_to", "volume")


def outside_checks(domain: str, selector: str = "odoo") -> Links:
    """The checks others offer, with what to paste there; the full test needs one mail sent to the address it shows."""
    from ..providers.records import outside_check_texts

    notes = {
        "Full test": "open it, send one mail from your system to the address it shows, then press its button",
        "Writing a DMARC policy": "DMARC joins SPF and DKIM and tells receivers what to do with failures",
        "SPF and DKIM at less known providers": "how-to by provider",
    }
    links = [
        (title, url, notes.get(title) or f"paste {text}") for title, url, text in outside_check_texts(domain, selector)
    ]
    return Links("Checks and reading elsewhere", links)


def domains_overview(ops: Ops, **options: Any) -> Card:
    """Every mail domain of the workspace in one table; options are those of :meth:`Domains.setup`."""
    from ..domains.values import OVERVIEW, overview
    from .rates_view import Frame

    reports = ops.domains.check_all(ops.domains.all_of(ops.setup, **options))
    rows: list[list[object]] = [list(row) for row in overview(reports)]
    return Frame("All mail domains of the workspace", list(OVERVIEW), rows)


def comparison(ops: Ops, domain: str) -> Card:
    """What changed since the check before, as a table."""
    from ..errors import NotFound

    try:
        older, newer, changed = ops.domains.compare(domain)
    except NotFound:
        return Prose("This is the first kept check of this domain; the next one is compared with it.")
    words = {"gone": "no longer wrong", "new": "newly wrong", "record": "another answer"}
    rows: list[list[object]] = [[words[d.kind], d.check, d.subject, d.before, d.after] for d in changed]
    caption = f"Since the check of {older.at:%Y-%m-%d %H:%M} UTC"
    if not rows:
        return Prose(f"{caption}: nothing changed ({newer.state}).")
    from .rates_view import Frame

    return Frame(caption, ["What", "Check", "Subject", "Before", "Now"], rows)


def expectations(setup: SendingSetup) -> Card:
    """What the sending service wants to see in DNS, with the source of that knowledge and its day."""
    from ..providers.records import SENDERS

    profiles = [SENDERS[key] for key in setup.services if key in SENDERS]
    if not profiles:
        return Prose("A server of your own: name what SPF must permit and your DKIM selectors as parameters.")
    lines, source = [], []
    for profile in profiles:
        keys = [
            f"{one.selector}._domainkey.{setup.name} → {', '.join(one.targets) or 'the key it shows you'}"
            for one in profile.dkim
        ]
        need = "Without SPF and DKIM its mail may not arrive." if profile.essential else "SPF and DKIM are recommended."
        spf = f"include:{profile.spf_include}" if profile.spf_include and profile.spf_at == "bounce" else ""
        lines += [
            f"{profile.title}: {need}",
            f"SPF: {spf or 'nothing, it bounces to its own domain.'}",
            *(f"DKIM: {key.format(domain=setup.name, dashed=setup.name.replace('.', '-'), db=setup.database or '*')}"
              for key in keys),
            *(["One of these selectors is enough."] if profile.dkim_need == "any" and len(keys) > 1 else []),
            f"Bounces go to: {profile.return_path}. Limits: {profile.limits}.",
        ]  # fmt: skip
        source.append((profile.source, profile.help_url, f"as of {profile.as_of}, from {profile.basis}"))
    return Panel(Prose(*lines), Links("Source", source))
