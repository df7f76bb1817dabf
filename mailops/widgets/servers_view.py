"""Outgoing servers as a person works with them: the plan, explanations, Test Connection, a real test mail."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..errors import InputRefused
from ..model.setup import Server
from ..model.text import counted
from ..model.verdict import Severity, Verdict, VerdictState
from ..page.theme import chip, esc, html_table, paragraph
from ..routing import in_order
from .check import CheckCard
from .controls import button, row
from .faces import Card, changed, said
from .form import Form
from .panel import Panel
from .progress import Progress
from .route_card import MailRouteCard, RouteCard
from .ways import link_to

if TYPE_CHECKING:
    from ..ops import Ops

TONES = {Severity.BLOCKING: "bad", Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.NOTE: "info"}


class PlanCard(Card):
    """The servers in the order they are asked, and what the plan validator says of them."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    def html(self) -> str:
        from ..routing.plan import validate

        setup = self.ops.setup
        asked = in_order(setup.servers)
        rest = [s for s in setup.servers if s not in asked]
        rows: list[list[object]] = [[esc(cell) for cell in _row(s)] for s in [*asked, *rest]]
        html = html_table(
            ["Priority", "Server", "Address", "Encryption", "FROM filter", "For", "Active"],
            rows,
            caption="Servers, in the order they are asked",
            raw=True,
        )
        findings = validate(setup)
        if not findings:
            return html + paragraph("✓ The plan holds against every rule.")
        marks: list[list[object]] = [
            [chip(f.severity.value, TONES[f.severity]), esc(f.message), esc(f.fix)] for f in findings
        ]
        return html + html_table(["", "What the plan check found", "What to do next"], marks, raw=True)

    def text(self) -> str:
        return "\n".join(" | ".join(str(c) for c in _row(s)) for s in in_order(self.ops.setup.servers))


def _row(server: Server) -> list[Any]:
    return [
        server.priority,
        f"{server.name} ({server.key})",
        f"{server.host}:{server.port}" if server.host else "the default server's",
        server.encryption.value,
        server.from_filter or "(none)",
        server.mail_class.value if server.mail_class else "any mail",
        "yes" if server.active else "no",
    ]


def connection_verdict(ops: Ops, server: Server) -> Verdict:
    """*Test Connection* of one server as a verdict."""
    found = ops.test_connection(server.key)
    seen = "\n".join(
        f"{step.label}: {step.state.value}{' — ' + step.reply if step.reply else ''}" for step in found.steps
    )
    return Verdict(
        check=f"connection:{server.key}",
        subject=f"{server.name} at {server.host}:{server.port}",
        state=VerdictState.FAILED if not found.ok else VerdictState.WARNING if found.warnings else VerdictState.PASSED,
        title=f"Test Connection: {server.name}",
        found=f"{found.message}\n{seen}",
        expected="Connects, signs in, and takes sender and recipient. No mail is sent.",
        fix=found.fix if not found.ok else found.note,
        code=found.warnings[0].code if found.ok and found.warnings else found.code,
        evidence={"transcript": list(found.transcript)} if found.transcript else {},
        at=ops.clock.now(),
    )


def send_test(ops: Ops, sender: str, recipient: str) -> str:
    """Send a real mail at once; gives what became of it in a sentence."""
    mail_id = ops.send(
        sender=sender or None,
        to=[recipient],
        subject="mailops test mail",
        text="This mail was sent by a person to see that mail goes out.",
        urgent=True,
    )
    mail = ops.queue.mail(mail_id)
    via = f" through {mail.server_key}" if mail.server_key else ""
    return f"Mail {mail_id} is {mail.state.label}{via}. {mail.failure_reason or ''}".strip()


class ServersView(Card):
    """Plan, one Test Connection card a server, the explanation of a From, and a real test mail."""

    def __init__(self, ops: Ops, *, sender: str = "", recipient: str = "") -> None:
        self.ops = ops
        self._busy = threading.Lock()
        self.plan = PlanCard(ops)
        self.tests = [self._test(server) for server in in_order(ops.setup.servers)]
        self.explain = Form(
            [("sender", "From", sender), ("company", "Company", ""), ("mail", "Or mail number", "")],
            self._explain,
            button="Explain",
            title="Which server would carry a mail with this From, or carries this mail of the queue?",
        )
        self.real = Form(
            [("sender", "From", sender), ("to", "To", recipient)],
            lambda values: send_test(self.ops, values["sender"], values["to"]),
            button="Send test mail",
            title="Send a real test mail (a passed Test Connection does not prove that mail goes out)",
        )

    def _explain(self, values: dict[str, str]) -> Card:
        if values["mail"]:
            if not values["mail"].isdecimal():
                raise InputRefused(
                    f"{values['mail']!r} is no number of a mail.",
                    code="input.number",
                    facts={"given": values["mail"]},
                    fix="Type the number that the queue shows.",
                )
            return MailRouteCard(self.ops.explain_mail(int(values["mail"])))
        return RouteCard(self.ops.explain(sender=values["sender"] or None, company=values["company"] or None))

    def _test(self, server: Server) -> CheckCard:
        first = Verdict(
            check=f"connection:{server.key}",
            subject=f"{server.name} at {server.host}:{server.port}",
            state=VerdictState.READY,
            title=f"Test Connection: {server.name}",
            expected="Connects, signs in, and takes sender and recipient. No mail is sent.",
        )
        return CheckCard(first, lambda: connection_verdict(self.ops, server), on_verdict=self.ops.run.record)

    def test_all(self) -> list[Verdict]:
        """Run every Test Connection now and record the verdicts (for headless runs)."""
        servers = in_order(self.ops.setup.servers)
        for card, server in zip(self.tests, servers, strict=True):
            card.verdict = self.ops.run.record(connection_verdict(self.ops, server))
            card.refresh()
        return [card.verdict for card in self.tests]

    def _all(self) -> Panel:
        return Panel(self.plan, self.explain, *self.tests, self.real)

    def build(self) -> ipywidgets.Widget:
        self._every = button("Test all", tooltip="Run Test Connection on every active server; no mail is sent")
        self._every.on_click(lambda _: self._test_each())
        self._so_far = ipywidgets.VBox([])
        add = f'<p style="margin:0">{link_to("setup", "Add or change a server, a company, a domain")}</p>'
        inside = [card.widget for card in (self.plan, self.explain)]
        head = row(self._every, ipywidgets.HTML(add))
        return ipywidgets.VBox([*inside, head, self._so_far, *(card.widget for card in (*self.tests, self.real))])

    def _test_each(self) -> None:
        """Test one server after the other in the background, and show how far it is; a second press does nothing."""
        if not self._busy.acquire(blocking=False):
            return
        servers = in_order(self.ops.setup.servers)
        bar = Progress("Testing", len(servers))
        self._so_far.children = (bar.widget,)

        def run() -> None:
            try:
                for done, (card, server) in enumerate(zip(self.tests, servers, strict=True), start=1):
                    card.verdict = self.ops.run.record(connection_verdict(self.ops, server))
                    card.refresh()
                    bar.update(done)
                good = sum(card.verdict.passed for card in self.tests)
                bar.finish(f"{good} of {counted(len(servers), 'server')} passed Test Connection.")
            except Exception as error:
                bar.finish(said(error))
            finally:
                self._busy.release()
            changed()

        threading.Thread(target=run, name="test-all", daemon=True).start()

    def html(self) -> str:
        return self._all().html()

    def text(self) -> str:
        return self._all().text()

    def refresh(self) -> None:
        self._all().refresh()


__all__ = ["PlanCard", "ServersView", "connection_verdict"]
