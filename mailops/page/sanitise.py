"""HTML that came by mail, made safe to show: no script, no style sheet, no remote picture, no form."""

from __future__ import annotations

import html
import re

TAGS = {
    "a", "b", "blockquote", "br", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr",
    "u", "ul",
}  # fmt: skip
LIMIT = 200_000
MAX_TAGS = 15_000  # the parser's time grows with the square of the depth
_TARGET = re.compile(r"(?:https?://|mailto:)", re.I)


def safe_html(text: str) -> str:
    """Sanitise HTML from a mail (at most :data:`LIMIT` characters of it).

    Links keep http(s) and mailto targets, open apart and tell nobody where they came from; pictures are left out, so
    that looking at a mail does not tell its sender.
    """
    import nh3

    text = text[:LIMIT]
    if text.count("<") > MAX_TAGS:
        return html.escape(text)
    return nh3.clean(
        text,
        tags=TAGS,
        attributes={"a": {"href", "title"}, "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}},
        # a target without scheme would lead to the page that shows the mail
        attribute_filter=lambda _tag, name, value: value if name != "href" or _TARGET.match(value) else None,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        clean_content_tags={"script", "style", "title"},
    )
