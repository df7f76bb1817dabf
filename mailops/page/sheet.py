"""The look of reports and of their index: one self-contained page, light and dark, fit for paper, that fetches nothing.

A content security policy in the page itself forbids every outside request and every script but the one below, which
adds the reader's own time beside each UTC time; without scripts the page is complete.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape

SCRIPT = (
    "document.querySelectorAll('time[datetime]').forEach(function(t){var d=new Date(t.getAttribute('datetime'));"
    "if(!isNaN(d)&&d.getTimezoneOffset()!==0){t.textContent+=' ('+d.toLocaleString([],{dateStyle:'medium',"
    "timeStyle:'short'})+' your time)';}});"
)
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; script-src 'sha256-{_HASH}'; "
    "base-uri 'none'; form-action 'none'"
)

STYLE = """
:root { color-scheme: light dark; --bg:#f6f7f9; --card:#fff; --text:#1b1f24; --soft:#565f6b; --line:#dfe3e8;
 --link:#0b5cad; --code:#f0f2f5; --passed:#146c2e; --passed-bg:#e6f4ea; --warning:#7a4b00; --warning-bg:#fdf1d8;
 --failed:#a3161b; --failed-bg:#fce8e8; --unknown:#55408f; --unknown-bg:#efeafa; --skipped:#565f6b;
 --skipped-bg:#eceff2;
 --jp-layout-color0:#fff; --jp-layout-color1:#fff; --jp-layout-color2:#f0f2f5; --jp-border-color1:#dfe3e8;
 --jp-border-color2:#dfe3e8; --jp-content-font-color0:#1b1f24; --jp-content-font-color1:#1b1f24;
 --jp-content-font-color2:#565f6b; --jp-ui-font-color0:#1b1f24; --jp-ui-font-color1:#1b1f24;
 --jp-ui-font-color2:#565f6b }
@media (prefers-color-scheme: dark) { :root { --bg:#14171b; --card:#1d2126; --text:#e6e9ee; --soft:#a3adb9;
 --line:#343b44; --link:#7ab7f5; --code:#262c33; --passed:#7fd694; --passed-bg:#173321; --warning:#f0c36a;
 --warning-bg:#3a2d10; --failed:#ff9a97; --failed-bg:#431c1d; --unknown:#c5b3f7; --unknown-bg:#2c2446;
 --skipped:#a3adb9;
 --skipped-bg:#2a3038; --jp-layout-color0:#14171b; --jp-layout-color1:#1d2126; --jp-layout-color2:#262c33;
 --jp-border-color1:#343b44; --jp-border-color2:#343b44; --jp-content-font-color0:#e6e9ee;
 --jp-content-font-color1:#e6e9ee; --jp-content-font-color2:#a3adb9; --jp-ui-font-color0:#e6e9ee;
 --jp-ui-font-color1:#e6e9ee; --jp-ui-font-color2:#a3adb9 } }
* { box-sizing:border-box }
body { margin:0; background:var(--bg); color:var(--text); font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;
 overflow-wrap:break-word }
main { max-width:68rem; margin:0 auto; padding:2rem 1.25rem 4rem }
h1 { font-size:1.7rem; line-height:1.25; margin:0 0 .3rem } h2 { font-size:1.2rem; margin:2rem 0 .7rem }
h3 { font-size:1.05rem; margin:1.4rem 0 .5rem } p { margin:.5rem 0 } a { color:var(--link) }
a:focus-visible, summary:focus-visible { outline:3px solid var(--link); outline-offset:2px; border-radius:3px }
.unseen { position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%); white-space:nowrap }
.soft { color:var(--soft) } .small { font-size:.875rem }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:1rem 1.2rem; margin:.8rem 0 }
.banner { border-left:6px solid var(--tone); background:var(--tone-bg) }
.banner strong { color:var(--tone); font-size:1.1rem }
.passed { --tone:var(--passed); --tone-bg:var(--passed-bg) } .warning { --tone:var(--warning);
 --tone-bg:var(--warning-bg) }
.failed,.error { --tone:var(--failed); --tone-bg:var(--failed-bg) }
.unknown { --tone:var(--unknown); --tone-bg:var(--unknown-bg) }
.skipped,.waiting,.ready,.checking { --tone:var(--skipped); --tone-bg:var(--skipped-bg) }
.badge { display:inline-block; color:var(--tone); background:var(--tone-bg); border-radius:99px; padding:.05rem .65rem;
 font-weight:600; font-size:.875rem; white-space:nowrap }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(10rem,1fr)); gap:.8rem; margin:1.2rem 0 }
.tile { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:.8rem 1rem }
.tile b { display:block; font-size:1.5rem; line-height:1.2; font-variant-numeric:tabular-nums }
.tile span { color:var(--soft); font-size:.875rem }
.runs { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr)); gap:.8rem }
.runs .card { margin:0; display:flex; flex-direction:column; gap:.35rem } .runs h3 { margin:0 } .runs p { margin:0 }
dl { display:grid; grid-template-columns:max-content 1fr; gap:.25rem 1rem; margin:.5rem 0 } dt { color:var(--soft) }
dd { margin:0; min-width:0 }
@media (max-width:34rem) { dl { grid-template-columns:1fr } dt { margin-top:.3rem } }
.scroll, .output_html, .output_area { overflow-x:auto }
table { border-collapse:collapse; font-size:.9rem; margin:.6rem 0; font-variant-numeric:tabular-nums }
th,td { text-align:left; padding:.35rem .75rem .35rem 0; border-bottom:1px solid var(--line); vertical-align:top }
th { font-weight:600 } table.dataframe { border:0 } table.dataframe td, table.dataframe th { border-width:0 0 1px }
pre,code { font-family:ui-monospace,"SF Mono",Consolas,monospace; font-size:.875rem } code { background:var(--code);
 border-radius:4px; padding:.05rem .3rem } pre { background:var(--code); border-radius:8px; padding:.8rem;
 overflow:auto;
 white-space:pre-wrap; margin:.6rem 0 } pre code { padding:0 }
details { margin:.4rem 0 } summary { cursor:pointer; color:var(--link) }
img,svg { max-width:100%; height:auto } .anchor-link { display:none }
.output_svg,.output_png { width:fit-content; max-width:100%; background:#fff; color:#1b1f24; border-radius:8px;
 padding:.4rem; margin:.6rem 0 }
.ansi-red-fg,.ansi-red-intense-fg { color:var(--failed) } .ansi-green-fg,.ansi-green-intense-fg { color:var(--passed) }
.ansi-yellow-fg,.ansi-yellow-intense-fg { color:var(--warning) } .ansi-bold { font-weight:600 }
@media print { body { background:#fff; font-size:11pt } main { max-width:none; padding:0 } .card,.tile {
 break-inside:avoid }
 a { color:inherit } .banner { print-color-adjust:exact; -webkit-print-color-adjust:exact } }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page around the body."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def moment(at: datetime) -> str:
    """A time in UTC, for people and machines."""
    utc = at.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M:%S} UTC</time>'


def badge(state: str, icon: str, word: str) -> str:
    """Icon and word, never colour alone."""
    return f'<span class="badge {escape(state)}"><span aria-hidden="true">{escape(icon)}</span> {escape(word)}</span>'


def run_badge(status: str) -> str:
    """How a run ended, as icon and word."""
    icon, word = RUN_WORDS[status]
    return badge(status, icon, word)


RUN_WORDS = {
    "passed": ("✓", "passed"),
    "failed": ("✗", "checks failed"),
    "error": ("✗", "could not run"),
    "running": ("…", "running"),
}
