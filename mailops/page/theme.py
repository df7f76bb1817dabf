"""Colours, spacing and small pieces of HTML that every card shares.

Colours come from the page's own theme variables (JupyterLab, voila, our reports) with fallbacks, so light and dark are
right without a switch. State is always an icon **and** a word on a solid ground with a contrast above 4.5:1 in both
themes. Everything here is inline style: sanitised notebooks drop style sheets.
"""

from __future__ import annotations

from html import escape

INK = "var(--jp-content-font-color1, var(--mo-ink, #1f2328))"
# the theme's own second colour is too pale on a tinted ground (3.9:1); this one stays above 6:1 on both
MUTED = f"color-mix(in srgb, {INK} 78%, transparent)"
LINE = "var(--jp-border-color2, var(--mo-line, #d0d7de))"
GROUND = "var(--jp-layout-color1, var(--mo-ground, transparent))"
TINT = "var(--jp-layout-color2, var(--mo-tint, rgba(127,127,127,.09)))"
MONO = "var(--jp-code-font-family, ui-monospace, 'DejaVu Sans Mono', Menlo, monospace)"
SANS = "var(--jp-content-font-family, system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif)"

TONES = {
    "good": "#1a7f37",
    "warn": "#8a5a00",
    "bad": "#c0202c",
    "info": "#0860c4",
    "calm": "#57606a",
}
STATE_TONES = {
    "passed": ("✓", "good"),
    "warning": ("!", "warn"),
    "failed": ("✗", "bad"),
    "unknown": ("?", "warn"),
    "checking": ("⟳", "info"),
    "ready": ("▸", "info"),
    "waiting": ("…", "calm"),
    "skipped": ("–", "calm"),
    "sent": ("✓", "good"),
    "outgoing": ("▸", "info"),
    "cancelled": ("–", "calm"),
    "bounced": ("✗", "bad"),
    "pending": ("▸", "info"),
    "ignored": ("–", "calm"),
}


def esc(value: object) -> str:
    """Text as HTML."""
    return escape("" if value is None else str(value))


def chip(word: str, tone: str = "calm", icon: str = "") -> str:
    """A small label: icon and word in white on a solid ground."""
    text = f"{icon} {word}".strip()
    return (
        f'<span style="display:inline-block;padding:1px 8px;border-radius:10px;background:{TONES[tone]};color:#fff;'
        f'font-size:12px;line-height:18px;font-weight:600;white-space:nowrap">{esc(text)}</span>'
    )


def state_chip(state: str, word: str | None = None) -> str:
    """The label of a state."""
    icon, tone = STATE_TONES.get(state, ("", "calm"))
    return chip(word or state.capitalize(), tone, icon)


def box(inner: str, *, accent: str | None = None, role: str = "") -> str:
    """A card's frame; ``accent`` colours its left edge."""
    edge = f"border-left:4px solid {TONES[accent]};" if accent else ""
    attribute = f' role="{role}"' if role else ""
    return (
        f'<div{attribute} style="font-family:{SANS};font-size:14px;line-height:1.5;color:{INK};background:{GROUND};'
        f"border:1px solid {LINE};{edge}border-radius:6px;padding:12px 16px;margin:8px 0;max-width:1140px;"
        f'box-sizing:border-box;overflow-wrap:anywhere">{inner}</div>'
    )


def heading(text: str, level: int = 3) -> str:
    """A heading in a card."""
    size = {2: 20, 3: 16, 4: 14}[level]
    style = f"font-size:{size}px;line-height:1.3;font-weight:650;margin:0 0 4px;color:{INK}"
    return f'<h{level} style="{style}">{esc(text)}</h{level}>'


def paragraph(text: str, *, muted: bool = False) -> str:
    """A line of prose."""
    return f'<p style="margin:2px 0;color:{MUTED if muted else INK}">{esc(text)}</p>'


def code(text: str) -> str:
    """A raw answer or value, selectable, wrapped."""
    return (
        f'<pre style="font-family:{MONO};font-size:12.5px;line-height:1.45;margin:4px 0;padding:8px 10px;'
        f"background:{TINT};color:{INK};border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere;"
        f'max-height:320px;overflow-y:auto">{esc(text)}</pre>'
    )


def details(summary: str, inner: str) -> str:
    """Something to open."""
    shut = f'<summary style="cursor:pointer;color:{INK}">{esc(summary)}</summary>'
    return f'<details style="margin:4px 0">{shut}{inner}</details>'


def titled(state: str, title: str) -> str:
    """A card's first line: the state's label beside the heading."""
    return (
        '<div style="display:flex;gap:2px 10px;align-items:baseline;flex-wrap:wrap">'
        f"{state_chip(state)}{heading(title)}</div>"
    )


def live_only(what: str) -> str:
    """What a static face says of controls: they are in the live notebook."""
    style = f"font-family:{SANS};color:{INK};font-size:13px;margin:6px 0"
    return f'<div style="{style}">In the live notebook: {esc(what)}.</div>'


def _room(content: object) -> str:
    """Prose keeps some words on a line, also beside a long address; the table scrolls before that."""
    text = str(content)
    return ";min-width:17ch" if " " in text and len(text) > 20 else ""


def html_table(columns: list[str], rows: list[list[object]], *, caption: str = "", raw: bool = False) -> str:
    """A static table; with ``raw`` cells are HTML already."""
    cell = f"padding:5px 10px;border-bottom:1px solid {LINE};text-align:left;vertical-align:top"
    head = "".join(  # above buttons or marks there is nothing to say, and a heading without words is none
        f'<th scope="col" style="{cell};font-weight:650;white-space:nowrap">{esc(c)}</th>'
        if c
        else f'<td style="{cell}"></td>'
        for c in columns
    )
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}{_room(c)}">{c if raw else esc(c)}</td>' for c in row) + "</tr>"
        for row in rows
    )
    title = (
        f'<caption style="text-align:left;font-weight:650;padding:4px 0;color:{INK}">{esc(caption)}</caption>'
        if caption
        else ""
    )
    return (
        f'<div tabindex="0" role="group" aria-label="{esc(caption or "Table")}" '
        f'style="overflow-x:auto;max-width:1140px;margin:8px 0"><table style="border-collapse:collapse;width:100%;'
        f'font-family:{SANS};font-size:13.5px;color:{INK}">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
