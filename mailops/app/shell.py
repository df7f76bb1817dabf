"""The frame of every page of the app: header with the way to everything, the page, and one small script.

The script does what a page cannot do by itself: the reader's own time and zone, the theme, the notebook within, and a
look every half minute at pages that are alive. Without it every page is complete, except the notebooks, which need one
of their own. A policy in the page forbids every other script and every request to elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..page.blocks import Block, Page
from ..page.blocks import html as rendered
from ..page.sheet import STYLE
from .pages import PARTS

STATIC = Path(__file__).parent / "static"
SCRIPT = (STATIC / "app.js").read_text("utf-8").strip()
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-src 'self'; "
    f"script-src 'sha256-{_HASH}'; base-uri 'self'; form-action 'self'"
)
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' "
    "rx='7' fill='%230860c4'/%3E%3Cpath d='M6 10h20v13H6z M6 10l10 8 10-8' fill='none' stroke='white' "
    "stroke-width='2.4' stroke-linejoin='round'/%3E%3C/svg%3E"
)
_LIGHT, _DARK = (
    re.search(pattern, STYLE, re.S)[1]  # type: ignore[index]
    for pattern in (r":root \{(.*?)\}", r"prefers-color-scheme: dark\) \{ :root \{(.*?)\}")
)
OWN_STYLE = (
    f":root[data-theme=light]{{{_LIGHT};color-scheme:light}} :root[data-theme=dark]{{{_DARK};color-scheme:dark}}\n"
    + (STATIC / "app.css").read_text("utf-8")
)


def framed(
    page: Page,
    *,
    root: str,
    here: str,
    workspace: str,
    may_act: bool,
    live: bool = False,
    frame: str = "",
    themed: bool = True,
    before: Sequence[Block] = (),
    ways: Sequence[tuple[str, str]] = (),
) -> str:
    """A whole page. ``root`` is the app's own address (all others are relative to it), ``here`` this page's; ``frame``
    the address of what is shown within; ``ways`` lead to neighbours."""
    parts = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(
            one.address, Markup(' aria-current="page"') if one.key == page.part else "", one.label
        )
        for one in PARTS
    )
    shown = Markup("").join(rendered(block) for block in (*before, *page.blocks))
    beside = Markup("").join(Markup('<a href="{}">{}</a>').format(address, label) for label, address in ways)
    tools = Markup(
        '<button type="button" id="copy" hidden>Copy link</button>'
        '<button type="button" id="pause" aria-pressed="false" hidden>Pause</button>'
    )
    within = (
        Markup('<iframe class="frame" title="{}" data-src="{}"{} ></iframe>').format(
            page.title, frame, Markup(' data-themed="1"') if themed else ""
        )
        if frame
        else ""
    )
    mode = "" if may_act else Markup('<span class="soft small">Read only</span>')
    head: dict[str, Any] = {"policy": escape(POLICY), "root": escape(root), "icon": escape(ICON)}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{head["policy"]}">\n'
        f'<base href="{head["root"]}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="{head["icon"]}">\n'
        f"<title>{escape(page.title)} – mailops</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>\n"
        f"<body{' class=full' if frame else ''}>\n"
        + str(
            Markup(
                '<a class="skip" href="{here}#main">Skip to the page</a>\n<header><div class="bar">'
                '<a class="brand" href="home">mailops</a> <span class="soft">{workspace}</span>{mode}'
                '<nav aria-label="Parts of the app">{parts}</nav><div class="end">'
                '<form method="get" action="search" role="search"><label for="q" class="small">Find </label>'
                '<input id="q" name="q" type="search" placeholder="address, mail, domain"> '
                '<button type="submit">Search</button></form>'
                '<label class="small">Theme <select id="theme"><option value="">as the system</option>'
                '<option value="light">light</option><option value="dark">dark</option></select></label>'
                '<span id="zone" class="soft small">Times: UTC</span></div></div></header>\n'
                '<main id="main" tabindex="-1"{live}>{shown}{within}</main>\n'
                '<footer class="bar"><nav aria-label="Neighbours" class="ways">{beside}</nav>'
                '<div class="end">{tools}</div></footer>\n'
            ).format(
                here=here,
                workspace=workspace,
                mode=mode,
                parts=parts,
                shown=shown,
                within=within,
                beside=beside,
                tools=tools,
                live=Markup(' data-live="1"') if live else "",
            )
        )
        + f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
