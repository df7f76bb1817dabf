"""The set-up as a person fills it in: readiness as a path of tasks, hosting, companies, alias domains, aliases,
outgoing servers, plans and parameters, each as a card with a form. Labels and menu paths are the documentation's own
words.

Every form calls the Ops method that the command line calls. A change that touches mail already out is shown with its
counts first and done when *yes* stands in its last field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InputRefused
from ..model.changes import Saved
from ..model.setup import MASS_PARAMETER, Authentication, Encryption, MailClass
from ..page.theme import box, chip, code, esc, heading, html_table, paragraph
from ..providers.outgoing import SUGGESTED
from ..routing import in_order, steps
from ..routing.effect import ALIAS_DOMAINS_PATH, PARAMETERS_PATH
from ..routing.plan import KINDS
from ..routing.select import notification_address
from .faces import Card
from .form import Form
from .panel import Panel
from .servers_view import TONES

if TYPE_CHECKING:
    from ..ops import Ops

SERVERS_PATH = " → ".join(steps.OUTGOING_SERVERS)
SERVER_HEADER = (
    "Priority", "Name", "FROM Filtering", "SMTP Server", "SMTP Port", "Connection Encryption", "Active", "For"
)  # fmt: skip
ALIASES_PATH = "Settings → Technical → Aliases"
DEDICATED_PATH = "Email Marketing → Configuration → Settings: Dedicated Server"
Values = dict[str, str]


class Sheet(Card):
    """A table that is read anew whenever it is shown, with a line above."""

    def __init__(self, title: str, lead: str, header: list[str], rows: Callable[[], list[list[object]]]) -> None:
        self.title, self.lead, self.header, self.rows = title, lead, header, rows

    def html(self) -> str:
        rows: list[list[object]] = [[esc("" if cell is None else cell) for cell in row] for row in self.rows()]
        table = html_table(self.header, rows, raw=True) if rows else paragraph("None yet.")
        return heading(self.title, 3) + (paragraph(self.lead) if self.lead else "") + table

    def text(self) -> str:
        lines = [" | ".join("" if cell is None else str(cell) for cell in row) for row in self.rows()]
        return "\n".join([self.title, self.lead, *lines])


class ReadinessCard(Card):
    """Ready or why not: the default addresses, the findings, and the tasks in their order with what is done."""

    def __init__(self, ops: Ops, *, dns: bool = True) -> None:
        self.ops, self.dns = ops, dns

    def html(self) -> str:
        report = self.ops.readiness(dns=self.dns)
        found = report.addresses
        head = paragraph(
            f"From {found.notification}, replies to {found.reply_to}, delivery errors to {found.bounce}."
            if found.notification
            else "There is no alias domain yet, so there is no default sender."
        )
        marks: list[list[object]] = [
            [chip(f.severity.value, TONES[f.severity]), esc(f.message), esc(f.fix)] for f in report.findings
        ]
        body = html_table(["", "Finding", "What to do"], marks, raw=True) if marks else ""
        for number, task in enumerate(report.tasks, start=1):
            mark = chip("done", "good", "✓") if task.done else chip(f"step {number}", "info")
            values = "".join(f"<div>{esc(what)}: {code(value)}</div>" for what, value in task.values)
            path = "".join(map(paragraph, task.where))
            body += box(f"{mark} <b>{esc(task.title)}</b> {code(task.id)}{paragraph(task.text)}{path}{values}")
        if report.level == "technical":
            body += paragraph("This needs technical knowledge (DNS, mail protocols).")
        return heading(report.why(), 3) + head + body

    def text(self) -> str:
        report = self.ops.readiness(dns=self.dns)
        lines = [f"[{'x' if t.done else ' '}] {t.id}: {t.title} {'; '.join(t.where)}".rstrip() for t in report.tasks]
        return "\n".join([report.why(), *(f"{f.severity.value}: {f.message}" for f in report.findings), *lines])


class SetupView:
    """The parts of the notebook *setup*, for one workspace."""

    def __init__(self, ops: Ops, *, dns: bool = True) -> None:
        self.ops = ops
        self.readiness = ReadinessCard(ops, dns=dns)
        self.path = Panel(
            self.readiness,
            Form(
                [
                    ("method", "Inbound", ", ".join(ops.readiness(dns=False).methods)),
                    ("done", "Task done", ""),
                    ("undone", "Not done", ""),
                    ("outgoing", "Server", ""),
                    ("admin", "Admin", ""),
                    ("fetch", "Fetch (min)", ""),
                ],
                self._mark,
                button="Keep",
                title=f"Inbound methods in use ({', '.join(steps.METHODS)}), tasks done (by id), hosted or own server",
            ),
        )
        self.hosting = Panel(
            Sheet("Hosting", "Where the database lives: online, sh or on_premise.", ["What", "Value"], self._hosting),
            self._form("Hosting", [("hosting", "Hosting"), ("database", "Database")], self._save_hosting),
        )
        self.companies = Panel(
            Sheet(
                "Companies",
                "In Odoo: Settings → Alias Domain; the internal-link arrow beside it assigns more companies.",
                ["Key", "Company", "Email", "Alias Domain", "Notification", "Replies", "Delivery errors"],
                self._companies,
            ),
            self._form(
                "Company",
                [("key", "Key"), ("name", "Name"), ("email", "Email"), ("domain", "Alias Domain")],
                lambda v: ops.change_company(v.pop("key", ""), **v),
            ),
        )
        self.domains = Panel(
            Sheet(
                "Alias domains",
                f"In Odoo: {ALIAS_DOMAINS_PATH} (developer mode). Bounce Alias catches delivery errors and "
                "fills the red "
                "envelope; Catchall Alias centralises replies; Default From Alias is the default sender: a local part, "
                "or a complete address, which overwrites the From of all outgoing mail; only mail with a server set on "
                "it, and mass mail through a Dedicated Server, keeps its own.",
                ["Alias Domain", "Bounce Alias", "Catchall Alias", "Default From Alias", "Sequence"],
                self._domains,
            ),
            self._form(
                "Alias domain",
                [
                    ("name", "Alias Domain"), ("bounce_alias", "Bounce Alias"), ("catchall_alias", "Catchall Alias"),
                    ("default_from", "Default From Alias"), ("sequence", "Sequence"), ("yes", "Sure? (yes)"),
                ],
                self._save_domain,
            ),
        )  # fmt: skip
        self.aliases = Panel(
            Sheet(
                "Aliases",
                f"In Odoo: {ALIASES_PATH}",
                ["Alias", "Domain", "Model", "Takes mail from", "Owner"],
                self._aliases,
            ),
            self._form(
                "Alias",
                [("local", "Alias"), ("model", "Model"), ("domain", "Alias Domain"), ("policy", "Takes mail from")],
                self._save_alias,
            ),
            self._form("Model", [("name", "Model"), ("label", "Label")], self._save_model),
        )
        self.servers = Panel(
            Sheet(
                "Outgoing servers",
                f"In Odoo: Settings → Emails → Use Custom Email Servers; {SERVERS_PATH}. Common services for "
                "day-to-day mail: "
                f"{', '.join(SUGGESTED[MailClass.TRANSACTIONAL])}; for mass mail: "
                f"{', '.join(SUGGESTED[MailClass.MASS])}. In Odoo {DEDICATED_PATH} chooses the server for mass mail.",
                list(SERVER_HEADER),
                self._servers,
            ),
            self._form(
                f"Outgoing server (Authenticate with: {', '.join(ops.sign_in_options)})",
                [
                    ("key", "Key"), ("name", "Name"), ("from_filter", "FROM Filtering"), ("host", "SMTP Server"),
                    ("port", "SMTP Port"), ("encryption", "Connection Encryption"),
                    ("authentication", "Authenticate with"), ("login", "Username"),
                    ("password", "Password (reference)"), ("priority", "Priority"),
                    ("mail_class", "For (mass, transactional)"), ("active", "Active (yes, no)"),
                ],
                self._save_server,
            ),
            self._form("Dedicated Server", [("key", "Dedicated Server")], self._dedicate),
        )  # fmt: skip
        self.senders = Sheet(
            "Who may stand as sender",
            "A provider may want each of these allowed.",
            ["Server", "Address", "Where from", "FROM Filtering"],
            self._senders,
        )
        self.plans = self._form(
            f"Plan: {', '.join(KINDS)}",
            [
                ("kind", "Plan"), ("mailbox", "Mailbox"), ("users", "Users"), ("provider", "Provider"),
                ("transactional", "Transactional"), ("mass", "Mass"), ("yes", "Sure? (yes)"),
            ],
            self._plan,
        )  # fmt: skip
        self.parameters = Panel(
            Sheet("System Parameters", f"In Odoo: {PARAMETERS_PATH}", ["Key", "Value"], self._parameters),
            self._form("Parameter", [("key", "Key"), ("value", "Value"), ("yes", "Sure? (yes)")], self._save_parameter),
        )

    def _form(self, title: str, fields: list[tuple[str, str]], save: Callable[[Values], Any]) -> Form:
        """A form whose empty fields are not named, so that what is not filled in stays."""

        def submit(values: Values) -> str:
            told = save({name: value for name, value in values.items() if value})
            if isinstance(told, Saved):
                return " ".join(["Saved.", *told.lines()])
            return str(told)

        return Form(
            [(name, label, "") for name, label in fields], submit, button="Save", title=f"{title}: add or change"
        )

    # --- what there is ------------------------------------------------------------------------------------------------

    def _hosting(self) -> list[list[object]]:
        profile = self.ops.setup.profile
        return [["Hosting", profile.hosting.value], ["Database", profile.database]]

    def _companies(self) -> list[list[object]]:
        setup = self.ops.setup
        rows: list[list[object]] = []
        for company in setup.companies or (None,):
            domain = setup.domain_of(company)
            addresses = (domain.name, domain.catchall_address, domain.bounce_address) if domain else (None, None, None)
            who = (company.key, company.name, company.email) if company else ("(all)", "Every company", None)
            rows.append([*who, addresses[0], notification_address(domain, setup), *addresses[1:]])
        return rows

    def _domains(self) -> list[list[object]]:
        return [
            [d.name, d.bounce_alias, d.catchall_alias, d.default_from, d.sequence] for d in self.ops.setup.alias_domains
        ]

    def _aliases(self) -> list[list[object]]:
        return [[a.address or a.local, a.domain, a.model, a.policy.value, a.owner] for a in self.ops.aliases]

    def _servers(self) -> list[list[object]]:
        setup = self.ops.setup
        dedicated, order = setup.parameters.get(MASS_PARAMETER), in_order(setup.servers)
        rest = [s for s in setup.servers if s not in order]
        return [
            [
                s.priority, s.name, s.from_filter, s.host, s.port, s.encryption.value, "yes" if s.active else "no",
                "Dedicated Server" if s.key == dedicated else s.mail_class.value if s.mail_class else "",
            ]
            for s in (*order, *rest)
        ]  # fmt: skip

    def _senders(self) -> list[list[object]]:
        return [
            [server.name, one.address, ", ".join(one.sources), one.mark]
            for server in in_order(self.ops.setup.servers)
            for one in self.ops.senders(server.key)
        ]

    def _parameters(self) -> list[list[object]]:
        return [[key, value] for key, value in sorted(self.ops.setup.parameters.items())]

    # --- what is saved ------------------------------------------------------------------------------------------------

    def _mark(self, values: Values) -> Card:
        methods = [part.strip() for part in values["method"].split(",") if part.strip()]
        self.ops.readiness(
            methods=methods or None,
            done=values["done"].replace(",", " ").split(),
            undone=values["undone"].replace(",", " ").split(),
            outgoing=values["outgoing"] or None,
            admin=values["admin"] or None,
            fetch_minutes=number(values["fetch"]) if values["fetch"] else None,
            dns=False,
        )
        return self.readiness

    def _save_hosting(self, values: Values) -> Saved[Any]:
        return self.ops.change_profile(**values)

    def _save_domain(self, values: Values) -> Saved[Any] | str:
        sure, name = values.pop("yes", ""), values.pop("name", "")
        named: dict[str, Any] = dict(values)
        if "sequence" in named:
            named["sequence"] = number(named["sequence"])
        question = self.ops.impact(self.ops.proposed_alias_domain(name, **named)).confirmation()
        return question if question and sure != "yes" else self.ops.change_alias_domain(name, **named)

    def _save_alias(self, values: Values) -> str:
        made = self.ops.save_alias(values.pop("local", ""), values.pop("model", ""), **values)
        return f"{made.address or made.local} makes records of kind {made.model} now."

    def _save_model(self, values: Values) -> str:
        made = self.ops.register_model(values.get("name", ""), values.get("label", ""))
        return f"Aliases can make records of kind {made.name} now."

    def _save_server(self, values: Values) -> Saved[Any]:
        key = values.pop("key", "")
        named: dict[str, Any] = dict(values)
        for name in {"port", "priority"} & set(named):
            named[name] = number(named[name])
        way, _, provider = str(named.get("authentication", "")).partition(":")
        if provider:  # oauth:outlook
            named |= {"authentication": way, "provider": provider}
        for name, kind in (("encryption", Encryption), ("authentication", Authentication), ("mail_class", MailClass)):
            if name in named:
                named[name] = _word(kind, named[name])
        if "active" in named:
            named["active"] = named["active"] != "no"
        return self.ops.change_server(key, **named)

    def _dedicate(self, values: Values) -> Saved[Any]:
        key = values.get("key", "")
        if not key:
            raise InputRefused(
                "No server was named, and nothing was changed.",
                code="input.missing",
                facts={"servers": [s.key for s in self.ops.setup.servers]},
                fix="Type the key of a server; none takes the Dedicated Server away.",
            )
        return self.ops.change_parameter(MASS_PARAMETER, None if key.lower() == "none" else key)

    def _plan(self, values: Values) -> str:
        sure = values.pop("yes", "")
        users = values.pop("users", "").replace(",", " ").split()
        made = self.ops.plan(values.pop("kind", ""), users=users, **values)
        told = [f"{s.name}: FROM Filtering {s.from_filter}, Priority {s.priority}." for s in made.servers]
        told += [f"{key} = {value}." for key, value in made.parameters]
        told += [f"To do: {task}" for task in made.tasks]
        if sure == "yes":
            self.ops.save_plan(made)
        return " ".join([*told, "Saved." if sure == "yes" else "Nothing is saved yet."])

    def _save_parameter(self, values: Values) -> Saved[Any] | str:
        key, value = values.get("key", ""), values.get("value")
        if value is None and values.get("yes") != "yes":
            said = self.ops.setup.parameters.get(key)
            now = f"{key} is {said}." if said else f"{key} is not set."
            return f"{now} Nothing was changed; to remove it, type yes in the last field."
        question = self.ops.parameter_impact(key, value)
        return question if question and values.get("yes") != "yes" else self.ops.change_parameter(key, value)


def number(text: str) -> int:
    """A whole number as it was typed. Raises :class:`InputRefused`."""
    if not text.lstrip("-").isdecimal():
        raise InputRefused(
            f"{text[:40]!r} is no number.", code="input.number", facts={"given": text[:40]}, fix="Type digits only."
        )
    return int(text)


def _word(kind: Any, text: str) -> Any:
    try:
        return kind(text.lower())
    except ValueError as error:
        words = ", ".join(kind)
        raise InputRefused(
            f"{text[:40]!r} cannot be used here.", code="input.word", facts={"given": text[:40]}, fix=f"Use: {words}."
        ) from error
