"""Why a mail would go the way it goes, as a card."""

from __future__ import annotations

from ..page.theme import box, chip, details, esc, heading, html_table, paragraph
from ..queue.told import MailRoute
from ..routing import Route
from .faces import Card


class RouteCard(Card):
    """A route explained: server, rule, From before and after, envelope sender, everyone passed over."""

    def __init__(self, route: Route) -> None:
        self.route = route

    def html(self) -> str:
        r = self.route
        name = r.server.name if r.server else "the default server"
        rows: list[list[object]] = [
            ["Rule", f"{r.rule.number}: {r.rule.words}"],
            ["From as written", r.header_from_before or "(none)"],
            ["From on the wire", r.header_from or "(cannot leave)"],
            ["Envelope sender", r.envelope_from or "(none)"],
        ]
        if r.reply_to:
            rows.append(["Answers go to", r.reply_to])
        passed: list[list[object]] = [[key, reason] for key, reason in r.passed_over]
        warnings = "".join(f'<p style="margin:4px 0">{chip("warning", "warn", "!")} {esc(w)}</p>' for w in r.warnings)
        if r.failure:
            body = heading(
                "This From cannot be used" if r.header_from_before else "There is no From to send with"
            ) + paragraph(r.trouble())
            body += details("What was asked", html_table(["", ""], [["Server", name], *rows])) + warnings
        else:
            body = heading(f"Leaves through {name}") + html_table(["", ""], rows) + warnings
        if passed:
            body += details(f"Why not the other {len(passed)}", html_table(["Server", "Reason"], passed))
        return box(body, accent="bad" if r.failure else "warn" if r.warnings else "good", role="status")

    def text(self) -> str:
        return "\n".join(self.route.sentences())


class MailRouteCard(Card):
    """How a mail of the queue leaves or left: what was recorded, then today's route."""

    def __init__(self, told: MailRoute) -> None:
        self.told = told

    def html(self) -> str:
        own = len(self.told.removed) + 1 if self.told.removed else 2
        said = "".join(paragraph(line) for line in self.told.sentences()[: None if self.told.trouble else own])
        tone = "bad" if self.told.trouble else "warn" if self.told.changed else "good"
        card = box(heading(f"Mail {self.told.mail_id}") + said, accent=tone, role="status")
        return card + (RouteCard(self.told.route).html() if self.told.route else "")

    def text(self) -> str:
        return "\n".join(self.told.sentences())
