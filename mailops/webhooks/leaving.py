"""``/unsubscribe/TOKEN``: what a person sees who wants no more mail to many, and what a receiver posts for them.

GET shows, POST acts (RFC 8058 §3.2: no session, no cookie, no redirection), and the page offers the way back. The page
has no script and loads nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ..campaigns.unsubscribe import MOST_WORDS, PATH
from ..errors import MailopsError, NotFound
from ..page.sheet import STYLE

if TYPE_CHECKING:
    from ..campaigns.unsubscribe import Subscriber
    from ..ops import Ops

MOST = 16_384
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
     b"form-action 'self'; frame-ancestors 'none'"),
)  # fmt: skip


def answer(ops: Ops, path: str, method: str, body: bytes) -> tuple[int, bytes]:
    """Status and page."""
    token = path.removeprefix(PATH)
    links = ops.campaigns.unsubscribing
    if method not in ("GET", "HEAD", "POST"):
        return 405, _page("Unsubscribe", "<p>This address is looked at, or posted to.</p>")
    try:
        if method != "POST":
            return 200, _shown(links.look(token))
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
        if fields.get("action") == ["undo"]:
            return 200, _shown(links.come_back(token), back=True)
        return 200, _shown(links.leave(token, " ".join(fields.get("reason", []))))
    except NotFound as error:
        return 404, _page("Unsubscribe", f"<p>{escape(error.message)} {escape(error.fix)}</p>")
    except (MailopsError, ValueError):
        return 503, _page("Unsubscribe", "<p>This could not be noted now. Please try again in a minute.</p>")


def _shown(who: Subscriber, *, back: bool = False) -> bytes:
    address = f"<strong>{escape(who.address)}</strong>"
    if who.opted_out:
        told = f"<p role='status'>{address} gets no more campaigns from us. Mail that you asked for still comes.</p>"
        button = '<button name="action" value="undo">Undo: send me campaigns again</button>'
        return _page("You are unsubscribed", f'{told}<form method="post">{button}</form>')
    said = f"<p role='status'>Undone: {address} gets our campaigns again.</p>" if back else ""
    ask = (
        f'{said}<p>Shall {address} get no more campaigns from us?</p><form method="post">'
        f'<p><label>Why, if you like to say: <input name="reason" maxlength="{MOST_WORDS}"></label></p>'
        '<button name="action" value="leave">Unsubscribe</button></form>'
    )
    return _page("Unsubscribe", ask)


def _page(title: str, body: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()
