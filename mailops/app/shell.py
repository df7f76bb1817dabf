"""The frame of every page of the app: header with the way to everything, the page, and one small script.

The script does what a page cannot do by itself: the reader's own time and zone, the theme, and a look every half minute
at pages that are alive. Without it every page is complete, except the notebooks, which need more of their own. A policy
in the page forbids every other script and every request to elsewhere. :func:`framed` makes a page of blocks;
:func:`around` the same frame for a notebook's page, which voila fills.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from markupsafe import Markup

from ..page.blocks import Block, Page
from ..page.blocks import html as rendered
from ..page.sheet import STYLE
from .language import say, spoken
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


def _apart() -> str:
    """The frame's style beside JupyterLab's: our variables under the body's theme, and every rule inside ``.shell``."""

    def ours(variables: str) -> str:
        return ";".join(one for one in variables.split(";") if "--jp-" not in one)

    rules = re.sub(r":root[^{}]*\{.*?\}", "", STYLE + OWN_STYLE, flags=re.S)
    rules = re.sub(r"@media \(prefers-color-scheme: dark\) \{\s*\}", "", rules)
    own = (STATIC / "notebook.css").read_text("utf-8")
    return f"body[data-theme=light]{{{ours(_LIGHT)}}} body[data-theme=dark]{{{ours(_DARK)}}} .shell{{{rules}}}\n{own}"


APART = _apart()


@dataclass(frozen=True, slots=True)
class Around:
    """The three pieces around a notebook: for the page's head, before it, and after it."""

    head: Markup
    top: Markup
    foot: Markup


def _header(*, part: str, workspace: str, may_act: bool, here: str, root: str = "", target: str = "main") -> Markup:
    parts = Markup("").join(
        Markup('<a href="{}{}"{}>{}</a>').format(
            root, one.address, Markup(' aria-current="page"') if one.key == part else "", say(one.label)
        )
        for one in PARTS
    )
    return Markup(
        '<a class="skip" href="{here}#{target}">{skip}</a>\n<header><div class="bar">'
        '<a class="brand" href="{root}home">mailops</a> <span class="soft">{workspace}</span>{mode}'
        '<nav aria-label="{named}">{parts}</nav><div class="end">'
        '<form method="get" action="{root}search" role="search"><label for="q" class="unseen">{find}</label>'
        '<input id="q" name="q" type="search" placeholder="{asked}"> '
        '<button type="submit">{search}</button></form>'
        '<label class="small"><span class="unseen">{theme}</span>'
        '<select id="theme"><option value="">{system}</option>'
        '<option value="light">{light}</option><option value="dark">{dark}</option></select></label>'
        '<span id="zone" class="soft small" data-word="{times}">{times}: UTC</span></div></div></header>\n'
    ).format(
        here=here,
        target=target,
        root=root,
        workspace=workspace,
        mode="" if may_act else Markup('<span class="soft small">{}</span>').format(say("Read only")),
        parts=parts,
        skip=say("Skip to the page"),
        named=say("Parts of the app"),
        find=say("Find"),
        asked=say("address, mail, domain"),
        search=say("Search"),
        theme=say("Theme"),
        system=say("system"),
        light=say("light"),
        dark=say("dark"),
        times=say("Times"),
    )


def _footer(ways: Sequence[tuple[str, str]], root: str = "") -> Markup:
    beside = Markup("").join(
        Markup('<a href="{}{}">{}</a>').format(root, address, say(label)) for label, address in ways
    )
    return Markup(
        '<footer class="bar"><nav aria-label="{neighbours}" class="ways">{beside}</nav><div class="end">'
        '<button type="button" id="copy" data-done="{done}" hidden>{link}</button>'
        '<button type="button" id="words" data-done="{done}" hidden>{words}</button>'
        '<button type="button" id="pause" aria-pressed="false" data-other="{on}" hidden>{pause}</button>'
        "</div></footer>\n"
    ).format(
        neighbours=say("Neighbours"),
        beside=beside,
        done=say("Copied"),
        link=say("Copy link"),
        words=say("Copy as text"),
        on=say("Go on"),
        pause=say("Pause"),
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
    hop: bool = False,
    ways: Sequence[tuple[str, str]] = (),
) -> str:
    """A whole page. ``root`` is the app's own address (all others are relative to it), ``here`` this page's; ``frame``
    the address of what is shown within; ``ways`` lead to neighbours. A ``hop`` is shown until the server has heard of
    the reader's theme, and asks for the page again."""
    shown = Markup("").join(rendered(block) for block in page.blocks)
    within = (
        Markup('<iframe class="frame" title="{}" data-src="{}"></iframe>').format(page.title, frame) if frame else ""
    )
    main = Markup('<main id="main" tabindex="-1"{live}>{shown}{within}</main>\n').format(
        live=Markup(' data-live="1"') if live else "", shown=shown, within=within
    )
    top = _header(part=page.part, workspace=workspace, may_act=may_act, here=here)
    kind = f"{' class=full' if frame else ''}{' data-hop=1' if hop else ''}"
    return (
        f'<!doctype html>\n<html lang="{spoken()}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        f'<base href="{escape(root)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="{escape(ICON)}">\n'
        f"<title>{escape(page.title)} – mailops</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>\n"
        f"<body{kind}>\n{top}{main}{_footer(ways)}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def around(
    blocks: Sequence[Block],
    *,
    root: str,
    workspace: str,
    part: str = "",
    ways: Sequence[tuple[str, str]] = (),
) -> Around:
    """The frame of a notebook's page; ``blocks`` stand between the header and the notebook."""
    head = Markup('<link rel="icon" href="{}">\n<style>{}</style>').format(ICON, Markup(APART))  # noqa: S704 (our own)
    between = Markup("").join(rendered(block) for block in blocks)
    top = Markup('<div class="shell">{}<section class="set" aria-label="{}">{}</section></div>\n').format(
        _header(part=part, workspace=workspace, may_act=True, here="", root=root, target="page"),
        say("What it shows"),
        between,
    )
    script = Markup(f"<script>{SCRIPT}</script>")  # noqa: S704 (our own)
    return Around(head, top, Markup('<div class="shell">{}</div>{}').format(_footer(ways, root), script))
