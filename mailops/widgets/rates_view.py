"""Bounce rates as figures, charts and tables, and the way down to a single failure."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..model.text import counted
from ..page.theme import box, details, esc, heading, html_table, live_only, paragraph
from .charts import band_chart, bar_chart, line_chart
from .controls import button, row
from .faces import Card, said
from .failures_view import DnsButton, FailuresCard, causes_html
from .panel import Tiles
from .table import Column, Rows, Table, state_cell
from .ways import in_app

if TYPE_CHECKING:
    from ..analysis.jump import Jump
    from ..analysis.share import Rate
    from ..model.verdict import Verdict
    from ..ops import Ops

TONES = {"critical": "bad", "warning": "warn", "watch": "warn", "ok": "good", "few": "calm"}
WORDS = {
    "critical": "critical",
    "warning": "high",
    "watch": "above 5 %, not surely",
    "ok": "fine",
    "few": "too few to say",
}
STATES = {"critical": "failed", "warning": "warning", "watch": "warning", "ok": "passed", "few": "skipped"}
NAMES = {
    "domain": "recipient domain",
    "provider": "provider of the mailboxes",
    "server": "server",
    "sender": "sender domain",
    "class": "class of mail",
    "campaign": "campaign",
    "reason": "reason",
}
WORST = 3


class Frame(Card):
    """A pandas frame with a caption; ``html_cells`` names columns that are HTML already."""

    def __init__(self, caption: str, columns: list[str], rows: list[list[Any]], *, raw: bool = False) -> None:
        self.caption, self.columns, self.rows, self.raw = caption, columns, rows, raw

    @classmethod
    def of(cls, caption: str, frame: Any) -> Frame:
        """A pandas frame as a card; what is missing in it stays empty."""
        rows = [["" if value is None or value != value else value for value in row] for row in frame.values.tolist()]
        return cls(caption, [str(name).replace("_", " ").capitalize() for name in frame.columns], rows)

    def html(self) -> str:
        if not self.rows:
            return paragraph(f"{self.caption}: nothing in this time.")
        return html_table(self.columns, self.rows, caption=self.caption, raw=self.raw)

    def text(self) -> str:
        lines = [self.caption, " | ".join(self.columns)]
        lines += [" | ".join(re.sub(r"<[^>]+>", "", str(c)) for c in row) for row in self.rows]
        return "\n".join(lines)


class Note(Card):
    """A sentence in a frame."""

    def __init__(self, title: str, lines: list[str], tone: str = "info") -> None:
        self.title, self.lines, self.tone = title, lines, tone

    def html(self) -> str:
        return box(heading(self.title) + "".join(paragraph(x) for x in self.lines), accent=self.tone, role="status")

    def text(self) -> str:
        return "\n".join([self.title, *self.lines])


class RatesView:
    """Answers of the analyst for one period, as cards."""

    def __init__(self, ops: Ops, *, since: str = "30d", by: str = "domain") -> None:
        self.ops, self.since, self.by = ops, since, by
        self._period = f"since {since}" if since else "of all time"

    @cached_property
    def overall(self) -> Rate:
        """The rate of everything."""
        return self.ops.analysis.overall(self.since)

    @cached_property
    def addresses(self) -> Rate:
        """The share of addresses whose mail came back."""
        return self.ops.analysis.addresses(self.since)

    @cached_property
    def hard(self) -> Rate:
        """The share of addresses that are dead."""
        return self.ops.analysis.hard(self.since)

    @cached_property
    def jump(self) -> Jump:
        """The notice of a jump, or that there is none."""
        return self.ops.analysis.jump(self.since)

    @cached_property
    def _frame(self) -> Any:
        return self.ops.analysis.bounce_rate(self.by, self.since)

    def tiles(self) -> Tiles:
        """The main figures. Coloured is what a limit is known for: the dead addresses."""
        split, addresses = self.ops.analysis.split(self.since), self.addresses
        undelivered = int(self.ops.analysis.volume(self.since)["undelivered"].sum())
        tone = TONES[self.hard.verdict]
        return Tiles(
            [
                ("Bounce rate", f"{self.overall.rate:.2%}", None),
                (f"of {counted(addresses.addressed, 'address', 'addresses')}", f"{addresses.rate:.2%}", None),
                ("Dead addresses", f"{self.hard.rate:.2%}", None if tone == "calm" else tone),
                ("Recipients addressed", f"{self.overall.addressed:,}", None),
                ("Refused at once", f"{split.refused_hard + split.refused_soft:,}", None),
                ("Came back later", f"{split.bounced_hard + split.bounced_soft:,}", None),
                ("Hard: the address is dead", f"{split.hard:,}", None),
                ("Soft: may work again", f"{split.soft:,}", None),
                ("Not handed over: nobody's bounce", f"{undelivered:,}", "warn" if undelivered else None),
            ]
        )

    def notice(self) -> Note:
        """What changed: a jump with its day, reason and place; and the comparison with the period before."""
        compared = self.ops.analysis.compared(self.since)
        before = compared.sentence if self.since else "Everything is looked at, so there is no period before."
        title = "A jump" if self.jump.found else "What changed"
        tone = "bad" if self.jump.found and not self.jump.over else "warn" if compared.verdict == "higher" else "info"
        return Note(title, [self.jump.sentence, f"How this was decided: {self.jump.why}.", before], tone)

    def trend(self, by: str = "day") -> Card:
        """The rate by day or week, with its interval as a band. A bounce counts on the day its mail was sent."""
        frame = self.ops.analysis.trend(self.since, by)
        frame = frame[frame["addressed"] > 0]
        if frame.empty:
            return Frame(f"Bounce rate by {by}", [], [])
        worst = frame.sort_values("low").iloc[-1]
        day = f"the week of {worst[by]}" if by == "week" else worst[by]
        found = "nothing came back"
        if worst["returned"]:  # the highest point may be a day with few mails
            found = f"{day} stands out most ({worst['rate']:.1%}, surely above {worst['low']:.1%})"
        title = f"Bounce rate by {by}: {found}"
        if by == "day" and self.jump.found:
            title = f"Bounce rate by day: up since {self.jump.first}"
        percent = [[100 * float(v) for v in frame[name]] for name in ("rate", "low", "high")]
        days = [str(v) for v in frame[by]]
        mark = self.jump.first if by == "day" else ""
        links = [in_app("queue", day=day, show="all") for day in days] if by == "day" else []
        return band_chart(title, days, *percent, unit="returned, %", label=by, mark=mark, links=links)

    def chart(self, top: int = 12) -> Card:
        """The groups with most returns, with intervals; the title states the finding."""
        frame = self._frame[self._frame["returned"] > 0].head(top)
        if frame.empty:
            return Frame(f"Bounce rate by {self.by}", [], [])
        worst = frame.iloc[0]
        share = worst["returned"] / max(int(self._frame["returned"].sum()), 1)
        name = worst[self.by] or "(none)"
        title = f"{name} gives {share:.0%} of all returns ({worst['rate']:.1%} of its mail comes back)"
        return bar_chart(
            title,
            [_short(str(v)) for v in frame[self.by]],
            [100 * v for v in frame["rate"]],
            unit="returned, % (line: 95 % interval)",
            low=[100 * v for v in frame["low"]],
            high=[100 * v for v in frame["high"]],
            label=self.by,
            links=[self._mails_of(str(v)) for v in frame[self.by]],
        )

    def _mails_of(self, value: str) -> str:
        """Where the mails of a group are listed, in the app."""
        field = {"domain": "to", "server": "server", "sender": "from"}.get(self.by, "")
        return in_app("queue", **{field: value}, show="all") if field and value else ""

    def groups(self) -> GroupsCard:
        """Every group, with the way down to causes and single failures."""
        return GroupsCard(self.ops, self.since, self.by)

    def table(self) -> GroupsCard:
        """The same as :meth:`groups`."""
        return self.groups()

    def causes(self) -> Frame:
        """Why mail was returned."""
        from .bounces_view import actor

        rows = [
            [
                r["meaning"],
                r["hard"],
                actor(r["reason"]),
                f"{r['recipients']:,}",
                f"{r['addresses']:,}",
                f"{r['domains']:,}",
                str(r["example"])[:120],
            ]
            for _, r in self.ops.analysis.causes(self.since).iterrows()
        ]
        columns = ["Cause", "Kind", "Who can act", "Recipients", "Addresses", "Domains", "An answer"]
        return Frame("Why it came back", columns, rows)

    def days(self) -> Card:
        """Recipients per day."""
        frame = self.ops.analysis.volume(self.since)
        if frame.empty:
            return Frame("Recipients by day", [], [])
        returned = [int(a + b) for a, b in zip(frame["failed"], frame["bounced"], strict=True)]
        total = int(frame["sent"].sum())
        title = (
            f"{counted(total, 'recipient was', 'recipients were')} accepted in "
            f"{counted(len(frame), 'day')}, {sum(returned):,} returned"
        )
        return line_chart(
            title, list(frame["day"]), {"accepted": list(frame["sent"]), "returned": returned}, unit="recipients",
            links=[in_app("queue", day=day, show="all") for day in frame["day"]],
        )  # fmt: skip

    @cached_property
    def unexplained(self) -> UnexplainedCard:
        """Failures without a reason: what is a matter for support, and the senders' DNS."""
        return UnexplainedCard(self.ops)

    def export(self, form: str = "") -> ExportCard:
        """Buttons that write the figures; with ``form`` (csv, parquet) they are written now."""
        card = ExportCard(self)
        if form:
            card.write(form)
        return card

    def frames(self) -> dict[str, Any]:
        """Every figure of this page as a frame; providers are asked of DNS, so only where they are looked at."""
        groups = [by for by in NAMES if by != "provider" or self.by == by]
        found = {f"by_{by}": self.ops.analysis.bounce_rate(by, self.since) for by in groups}
        found |= {f"trend_{by}": self.ops.analysis.trend(self.since, by) for by in ("day", "week")}
        return found | {"causes": self.ops.analysis.causes(self.since)}


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:32] + "…"


GROUPS = (
    Column("name", "Group"),
    Column("addressed", "Addressed", kind="number", sortable=True),
    Column("refused", "Refused", kind="number", sortable=True),
    Column("bounced", "Came back", kind="number", sortable=True),
    Column("rate", "Rate", kind="number", sortable=True),
    Column("interval", "95 % interval"),
    Column("addresses", "Addresses", kind="number", sortable=True),
    Column("dead", "Dead", kind="number", sortable=True),
    Column("verdict", "Dead addresses are", kind="state"),
)


class GroupsCard(Card):
    """Rates of every group by one of seven views; a group opens to its causes and its failures."""

    def __init__(self, ops: Ops, since: str, by: str) -> None:
        self.ops, self.since, self.by = ops, since, by if by in NAMES else "domain"
        self._load()

    def _load(self) -> None:
        frame = self.ops.analysis.bounce_rate(self.by, self.since)
        self.frame = frame[frame["addressed"] > 0].reset_index(drop=True)
        columns = [Column("name", self.by.capitalize()), *GROUPS[1:]]
        self.table = Table(
            columns,
            self._page,
            caption=f"Bounce rate by {self.by} since {self.since}" if self.since else f"Bounce rate by {self.by}",
            empty="Nothing was sent in this time.",
            limit=10,
            on_open=self.open,
        )

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        frame = self.frame.sort_values(sort, ascending=not descending, kind="stable") if sort else self.frame
        page = frame.iloc[offset : offset + limit]
        return Rows([self._line(int(str(n)), line) for n, line in page.iterrows()], len(frame))

    def _line(self, number: int, line: Any) -> dict[str, Any]:
        name = str(line[self.by]) or "(none)"
        return {
            "id": number + 1,
            "label": name,
            "name": name,
            "addressed": f"{line['addressed']:,}",
            "refused": f"{line['refused']:,}",
            "bounced": f"{line['bounced']:,}",
            "rate": f"{line['rate']:.2%}",
            "interval": f"{line['low']:.1%} – {line['high']:.1%}",
            "addresses": f"{line['addresses']:,}",
            "dead": f"{line['dead']:,}",
            "verdict": state_cell(STATES[line["verdict"]], WORDS[line["verdict"]]),
        }

    def open(self, number: int) -> None:
        """Show a group's causes and failures below the table."""
        if "widget" not in self.__dict__ or not 1 <= number <= len(self.frame):
            return
        value = str(self.frame[self.by].iloc[number - 1])
        try:
            self._detail.children = self._opened(value)
        except Exception as error:
            self._detail.children = (ipywidgets.HTML(box(esc(said(error)), accent="bad", role="alert")),)

    def _opened(self, value: str) -> tuple[Any, ...]:
        split = self.ops.analysis.split(self.since, by=self.by, value=value)
        line = f"{split.hard:,} hard and {split.soft:,} soft failures: "
        line += f"{split.refused_hard + split.refused_soft:,} refused at once, "
        line += f"{split.bounced_hard + split.bounced_soft:,} came back later."
        head = heading(f"Why mail of {value or '(none)'} came back") + paragraph(line)
        causes = ipywidgets.HTML(box(head + causes_html(self.ops, self.since, self.by, value), role="status"))
        return (causes, FailuresCard(self.ops, self.since, self.by, value).widget)

    def build(self) -> ipywidgets.Widget:
        choice = ipywidgets.Dropdown(
            options=[(words.capitalize(), by) for by, words in NAMES.items()], value=self.by, description="Group by"
        )
        choice.observe(lambda change: self._regroup(str(change["new"])), names="value")
        hint = "Press a group to see its causes and its failures."
        self._hint = ipywidgets.HTML(paragraph(hint, muted=True))
        self._detail = ipywidgets.VBox([self._hint])
        self._table = ipywidgets.VBox([self.table.widget])
        return ipywidgets.VBox([choice, self._table, self._detail])

    def _regroup(self, by: str) -> None:
        self.by = by
        self._load()
        self._table.children = (self.table.widget,)
        self._detail.children = (self._hint,)

    def worst(self) -> list[str]:
        """The groups that are most surely bad."""
        bad = self.frame[self.frame["returned"] > 0].sort_values("low", ascending=False)
        return [str(name) for name in bad[self.by].head(WORST)]

    def html(self) -> str:
        opened = "".join(
            details(f"Why mail of {name or '(none)'} came back", causes_html(self.ops, self.since, self.by, name))
            for name in self.worst()
        )
        return self.table.html() + opened

    def text(self) -> str:
        return self.table.text()


class UnexplainedCard(Card):
    """Failures nobody explains, of the last 7 days: suggestions to contact support, and the senders' DNS report.

    In a job the DNS is asked at once, bounded in time; a person presses the button.
    """

    def __init__(self, ops: Ops) -> None:
        self.ops = ops
        self.recurring = ops.analysis.recurring()
        self.senders = ops.analysis.unexplained_senders()
        self.dns = DnsButton(ops, [domain for domain, _ in self.senders])
        if ops.run.run_id and self.senders:
            self.dns.run_now()

    def verdict(self) -> Verdict:
        """What the run records."""
        from ..checks import rates

        lines = [line for report in self.dns.reports for line in report.lines]
        suggestions = [one.suggestion for one in self.recurring[:10]]
        _, failed = self.ops.analysis.failures("7d", limit=1)
        return rates.unexplained(suggestions, self.senders, lines, failed=failed, now=self.ops.clock.now())

    def html(self) -> str:
        if not self.senders and not self.recurring:
            return paragraph("Every failure of the last 7 days has a reason.")
        return self._support() + (self.dns.html() if self.senders else "")

    def _support(self) -> str:
        number = sum(count for _, count in self.senders)
        told = paragraph(
            f"{counted(number, 'failure')} of the last 7 days {'says' if number == 1 else 'say'} no error: some "
            "providers give no reason, by policy."
        )
        if self.recurring:
            told += paragraph("These keep coming back. Contact support, with what the command puts together:")
            rows: list[list[object]] = [
                [one.name, f"{one.count:,}", f"mailops bounces collect {one.name} -o support.zip"]
                for one in self.recurring[:10]
            ]
            told += html_table(["Address or domain", "Without a reason", "For support"], rows)
        return box(told, accent="warn", role="status")

    def text(self) -> str:
        lines = [one.suggestion for one in self.recurring[:10]]
        return "\n".join([*lines, self.dns.text() if self.senders else ""]).strip() or "Every failure has a reason."

    def build(self) -> ipywidgets.Widget:
        if not self.senders and not self.recurring:
            return ipywidgets.HTML(self.html())
        parts: list[Any] = [ipywidgets.HTML(self._support())]
        return ipywidgets.VBox(parts + ([self.dns.widget] if self.senders else []))


class ExportCard(Card):
    """Writes every figure of the page into the workspace's folder ``exports``."""

    def __init__(self, view: RatesView) -> None:
        self.view, self.said, self.bad = view, "", False

    def write(self, form: str) -> None:
        """Write now; what came of it is in ``said``. Raises on a format that cannot be written."""
        from ..analysis.export import write_frames

        ops = self.view.ops
        folder = ops.workspace.path / "exports" / f"bounce_rate-{ops.clock.now():%Y%m%d-%H%M%S}"
        done = write_frames(self.view.frames(), folder, form)
        self.said, self.bad = (
            f"{counted(len(done), 'file is', 'files are')} in {folder}: {', '.join(p.name for p in done)}.",
            False,
        )

    def _press(self, form: str) -> None:
        try:
            self.write(form)
        except Exception as error:
            self.said, self.bad = said(error), True
        self._shown.value = self._told()

    def _told(self) -> str:
        if not self.said:
            return ""
        return box(esc(self.said), accent="bad" if self.bad else "good", role="alert" if self.bad else "status")

    def build(self) -> ipywidgets.Widget:
        csv, parquet = button("Write CSV"), button("Write Parquet")
        csv.on_click(lambda _: self._press("csv"))
        parquet.on_click(lambda _: self._press("parquet"))
        self._shown = ipywidgets.HTML(self._told())
        return ipywidgets.VBox([row(csv, parquet), self._shown])

    def html(self) -> str:
        return self._told() or live_only("Write CSV, Write Parquet")

    def text(self) -> str:
        return self.said or "Figures as files: set the parameter export to csv or parquet."
