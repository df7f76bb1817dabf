"""Charts as SVG, with a title that states the finding, the figures as a table, and a text alternative.

Colours are fixed and readable on both grounds (3:1 or more on white and on near-black); text takes the page's colour.
Bars and points lead to their mails where there is a page to lead to (the app); each then says in words what it is.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ..page.theme import INK, SANS, details, esc, heading, html_table
from .faces import Card

PALETTE = ("#3b82d6", "#d9534f", "#c58a1a", "#3a9a5b", "#8a6fd1")


class Figure(Card):
    """A chart: ``title`` states the finding; ``columns`` and ``rows`` are its figures."""

    def __init__(
        self,
        title: str,
        svg: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        links: Sequence[str] = (),
    ) -> None:
        self.title, self.columns, self.rows = title, list(columns), [list(r) for r in rows]
        self.links = list(links) if any(links) else []
        self.svg = _named(svg, self.links, self.rows, self.columns) if self.links else svg

    def html(self) -> str:
        role = "group" if self.links else "img"  # within an image nothing can be pressed
        drawing = (
            f'<div role="{role}" aria-label="{esc(self.title)}" style="max-width:820px;color:{INK}">{self.svg}</div>'
        )
        rows = [[esc(cell) for cell in row] for row in self.rows[:200]]
        for row, address in zip(rows, self.links, strict=False):
            row[0] = f'<a href="{esc(address)}">{row[0]}</a>' if address else row[0]
        figures: list[list[object]] = [list(row) for row in rows]
        table = details("The figures as a table", html_table(self.columns, figures, raw=True))
        return f'<div style="font-family:{SANS};color:{INK};margin:10px 0">{heading(self.title)}{drawing}{table}</div>'

    def text(self) -> str:
        lines = [self.title, " | ".join(self.columns)]
        return "\n".join(lines + [" | ".join(str(v) for v in row) for row in self.rows[:20]])


def bar_chart(
    title: str,
    labels: Sequence[str],
    values: Sequence[float],
    *,
    unit: str = "",
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    label: str = "group",
    links: Sequence[str] = (),
) -> Figure:
    """Horizontal bars, the first on top; ``low``/``high`` draw intervals; ``links`` are where each bar leads."""
    height = max(1.3, 0.36 * len(labels) + 0.8)
    figure, axes = _axes(height)
    places = range(len(labels))
    bars = axes.barh(list(places), values, color=PALETTE[0], height=0.62)
    for bar, address in zip(bars, links, strict=False):
        bar.set_url(address or None)
    if low is not None and high is not None:
        below = [max(0.0, v - a) for v, a in zip(values, low, strict=True)]
        above = [max(0.0, b - v) for v, b in zip(values, high, strict=True)]
        axes.errorbar(
            values, list(places), xerr=[below, above], fmt="none", ecolor="#808080", elinewidth=1.4, capsize=3
        )
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    columns = [label, unit or "value"] + (["low", "high"] if low is not None and high is not None else [])
    rows: list[list[Any]] = []
    for n, name in enumerate(labels):
        row: list[Any] = [name, _number(values[n])]
        if low is not None and high is not None:
            row += [_number(low[n]), _number(high[n])]
        rows.append(row)
    return Figure(title, _svg(figure), columns, rows, links)


def line_chart(
    title: str,
    x: Sequence[str],
    series: dict[str, Sequence[float]],
    *,
    unit: str = "",
    links: Sequence[str] = (),
    label: str = "day",
) -> Figure:
    """Lines over days, or what ``label`` says; ``links`` are where the points of the first line lead."""
    figure, axes = _axes(2.8)
    for (name, values), colour in zip(series.items(), PALETTE, strict=False):
        axes.plot(range(len(x)), values, label=name, color=colour, linewidth=1.8, marker="o", markersize=3)
    if any(links):
        points = axes.scatter(range(len(x)), next(iter(series.values())), color=PALETTE[0], s=90, zorder=3)
        points.set_urls([address or None for address in links])
    _days(axes, x)
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=9, ncols=len(series), loc="upper left", bbox_to_anchor=(0, 1.16))
    rows = [[day, *(_number(values[n]) for values in series.values())] for n, day in enumerate(x)]
    return Figure(title, _svg(figure), [label, *series], rows, links)


def band_chart(
    title: str,
    x: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    unit: str = "",
    label: str = "day",
    mark: str = "",
    links: Sequence[str] = (),
) -> Figure:
    """A line with its interval as a band; ``mark`` is the day from which on something is different; ``links`` are where
    each point leads."""
    figure, axes = _axes(3.0)
    places = list(range(len(x)))
    axes.fill_between(places, low, high, color=PALETTE[0], alpha=0.34, linewidth=0, label="95 % interval")
    axes.plot(places, values, color=PALETTE[0], linewidth=1.8, marker="o", markersize=3.5, label="returned")
    if any(links):  # larger than the line's own, to be hit
        points = axes.scatter(places, values, color=PALETTE[0], s=90, zorder=3)
        points.set_urls([address or None for address in links])
    if len(places) == 1:  # a band of one day has no width
        axes.vlines(places, low, high, color=PALETTE[0], linewidth=6, alpha=0.34)
    if mark in x:
        axes.axvline(x.index(mark), color=PALETTE[1], linewidth=1.6, linestyle="--", label=f"jump on {mark}")
    _days(axes, x)
    axes.set_ylabel(unit)
    # a day with three mails has an interval up to 90 %, and would flatten all the others
    top = max([*values, *(sorted(high)[: max(1, int(0.9 * len(high)))] if high else [])], default=1.0)
    axes.set_ylim(0, max(1.0, 1.15 * top))
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper left", bbox_to_anchor=(0, 1.18))
    rows = [[x[n], _number(values[n]), _number(low[n]), _number(high[n])] for n in places]
    return Figure(title, _svg(figure), [label, unit or "value", "low", "high"], rows, links)


def _days(axes: Any, x: Sequence[str]) -> None:
    """At most eight labels, or they run into each other; room for a line of a single day."""
    step = max(1, -(-len(x) // 8))
    axes.set_xticks(range(0, len(x), step), [x[n] for n in range(0, len(x), step)])
    axes.set_xlim(-0.5, max(len(x), 1) - 0.5)


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(8.2, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="both", alpha=0.25)
    axes.set_axisbelow(True)
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    return figure, axes


def _svg(figure: Any) -> str:
    """The drawing as SVG whose text and axes take the page's colour; ids made its own, no metadata."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mailops", "font.family": "sans-serif"}):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = text.replace("#000000", "currentColor").replace("stroke: #b0b0b0", "stroke: currentColor")
    text = re.sub(
        r'<svg [^>]*viewBox="([^"]+)"[^>]*>',
        r'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" '
        r'style="width:100%;height:auto;fill:currentColor">',
        text,
        count=1,
    )
    return text


def _named(svg: str, links: Sequence[str], rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> str:
    """The drawing with a name at each of its links: the row that it stands for, in words."""
    said: dict[str, list[str]] = {}
    for address, row in zip(links, rows, strict=False):
        if address:
            said.setdefault(esc(address), []).append(f"{row[0]}: {row[1]} {columns[1]}")

    def name(found: re.Match[str]) -> str:
        words = said.get(found[1]) or [""]
        label = esc(words.pop(0) if len(words) > 1 else words[0])
        return f'<a xlink:href="{found[1]}" aria-label="{label}"><title>{label}</title>'

    return re.sub(r'<a xlink:href="([^"]*)"[^>]*>', name, svg)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else f"{value:,.2f}"
