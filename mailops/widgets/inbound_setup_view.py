"""Setting up how mail comes in: the method, mailboxes with *Test & Confirm*, aliases, and a probe sent round."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets

from ..inbound.accounts import CONFIRMED, Account
from ..inbound.methods import as_csv
from ..inbound.probe import Probe, verdicts
from ..model.alias import Alias, Policy
from ..model.setup import Encryption
from ..model.text import counted
from ..model.verdict import Verdict
from ..routing.steps import METHODS as METHOD_NAMES
from .actions import Action, Actions, Outcome, Preview
from .check import CheckCard
from .controls import choice, field, row
from .copyfield import CopyField
from .faces import Card
from .form import Form, SecretField
from .panel import Panel
from .table import Column, Rows, Table, TableCard, state_cell

if TYPE_CHECKING:
    from ..inbound.fetch import Tested
    from ..ops import Ops

ALIASES = (
    Column("address", "Alias"),
    Column("model", "Makes"),
    Column("policy", "Takes mail from"),
    Column("automatic", "Automatic mail"),
    Column("domain", "Reached at"),
)
METHODS = (
    Column("what", "What"),
    Column("state", "State"),
    Column("words", "Why", kind="long"),
)
MAILBOXES = (
    Column("key", "Mailbox"),
    Column("state", "State", kind="state"),
    Column("server", "Server"),
    Column("login", "Login"),
    Column("folder", "Folder"),
    Column("model", "Makes"),
    Column("looked", "Last look (UTC)"),
    Column("error", "What is wrong", kind="long"),
)
AUTOMATIC = (("makes records too", True), ("makes no records", False))


class InboundSetupView:
    """The parts of the notebook *inbound_setup*, for one workspace. With ``probe`` one is sent round at once, as a job
    does."""

    def __init__(self, ops: Ops, *, dns: bool = False, probe: bool = False, seconds: float = 120.0) -> None:
        limit = 50
        self.methods = MethodsCard(ops, limit, dns=dns)
        self.mailboxes = MailboxesCard(ops, limit)
        self.standing = Panel(*(CheckCard(ops.run.record(one)) for one in ops.mailbox_verdicts()))
        self.mailbox = mailbox_panel(ops, self.mailboxes)
        self.aliases = AliasesCard(ops, limit)
        self.redirections = RedirectionsCard(ops)
        self.probe = ProbeCard(ops, now=probe, seconds=seconds, record=ops.run.record)


class MethodsCard(TableCard):
    """The ways into the database, with what speaks for and against each here, and what is wrong."""

    def __init__(self, ops: Ops, limit: int, *, dns: bool = False) -> None:
        self.ops, self.dns = ops, dns
        self.table = Table(
            METHODS, self._page, caption="How mail comes in", empty="There is no method.", limit=limit, selectable=True
        )
        self.actions = Actions([Action("Use What Is Ticked", self._choose)], on_done=self.refresh)

    def _choose(self) -> Preview:
        ticked = [name for name in METHOD_NAMES if name in _ticked(self.table)]
        if not ticked:
            return Preview("Tick one or more of the three methods.")

        def run(say: Callable[[str], None]) -> str:
            report = self.ops.readiness(methods=ticked, dns=False)
            self.table.clear_selection()
            left = counted(len(report.open_tasks), "task")
            return f"Mail comes in by {' and '.join(report.methods)}; {left} left (notebook setup)."

        return Preview(f"Mail is to come in by {' and '.join(ticked)}; what that needs becomes a task.", (), run)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found, chosen = self.ops.receiving(dns=self.dns), self.ops.readiness(dns=False).methods
        rows = [
            {
                "id": one.name, "label": one.name, "what": one.name,
                "state": ", ".join(
                    word for word, here in (("chosen", one.name in chosen), ("recommended", one.recommended)) if here
                ),
                "words": f"{one.why} For it: {', '.join(one.pros)}. Against it: {', '.join(one.cons)}.",
            }
            for one in found.methods
        ]  # fmt: skip
        rows += [
            {
                "id": one.source,
                "label": one.source,
                "what": one.source,
                "state": "redirect",
                "words": f"to {one.target}",
            }
            for one in found.redirections
        ]
        rows += [
            {
                "id": f"{one.code} {number}", "label": one.code, "what": one.code, "state": one.severity.value,
                "words": f"{one.message} {one.fix}",
            }
            for number, one in enumerate(found.findings)
        ]  # fmt: skip
        return Rows(rows[offset : offset + limit], len(rows))

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.table.widget, self.actions.widget])


class RedirectionsCard(Card):
    """What is to be redirected at the domain's mail server, as a CSV to copy."""

    def __init__(self, ops: Ops) -> None:
        self.ops = ops

    def _field(self) -> CopyField:
        return CopyField("CSV", as_csv(self.ops.receiving(dns=False).redirections))

    def build(self) -> ipywidgets.Widget:
        return self._field().widget

    def html(self) -> str:
        return self._field().html()

    def text(self) -> str:
        return self._field().text()


class MailboxesCard(TableCard):
    """The mailboxes; what is ticked is tested and confirmed, and fetched from from then on."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            MAILBOXES, self._page, caption="Mailboxes", empty="There is no mailbox yet: add one below.", limit=limit,
            selectable=True,
        )  # fmt: skip
        self.actions = Actions([Action("Test & Confirm", self._test)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.mailboxes.list()
        return Rows([_mailbox_row(one) for one in found[offset : offset + limit]], len(found))

    def _test(self) -> Preview:
        boxes, ticked = self.ops.mailboxes.list(), _ticked(self.table)
        keys = [one.key for one in boxes if one.key in ticked] or [one.key for one in boxes if one.state != CONFIRMED]
        if not keys:
            return Preview("Tick a mailbox; none is a draft.")

        def run(say: Callable[[str], None]) -> Outcome:
            told = [tested(self.ops.fetching.test(key)) for key in keys]
            self.table.clear_selection()
            warned = any(warning for _, warning in told)
            return Outcome(
                " ".join(f"{words} {warning}".strip() for words, warning in told), "warn" if warned else "good"
            )

        return Preview(
            f"Sign in to {counted(len(keys), 'mailbox', 'mailboxes')}, open the folder, count; nothing is fetched yet.",
            tuple(keys[:10]),
            run,
        )

    def build(self) -> ipywidgets.Widget:
        return ipywidgets.VBox([self.table.widget, self.actions.widget])


def tested(found: Tested) -> tuple[str, str]:
    """What *Test & Confirm* found, and what it warns of."""
    words = f"{found.key} is confirmed: {counted(found.messages, 'mail')} in {found.folder}; the first run takes"
    return f"{words} {found.first_run}.", " ".join(found.warnings)


def mailbox_panel(ops: Ops, shown: MailboxesCard) -> Panel:
    """A form that adds a mailbox, or changes one; its password goes from the browser into the vault."""
    typed: list[str] = []

    def keep(password: str) -> str:
        typed[:] = [str(ops.secrets.vault.put(f"mailbox-{secrets.token_hex(4)}", password))]
        return "in the vault: it belongs to the mailbox that is saved next"

    def save(values: dict[str, str]) -> str:
        port = values["port"]
        made = ops.mailboxes.save(
            Account(
                values["key"],
                values["protocol"].lower() or "imap",
                values["host"],
                int(port) if port.isdecimal() else 0,
                encryption_of(values["encryption"]),
                values["login"],
                values["password"] or "".join(typed),
                folder=values["folder"] or "INBOX",
                model=_model(ops, values["model"]),
            )
        )
        typed.clear()
        shown.refresh()
        return f"{made.key} is a draft. Press Test & Confirm above; it is fetched from then on."

    form = Form(
        [
            ("key", "Mailbox", ""), ("protocol", "Protocol", "imap"), ("host", "Host", ""), ("port", "Port", ""),
            ("encryption", "Encryption", "tls"), ("login", "Login", ""), ("password", "Password", ""),
            ("folder", "Folder", "INBOX"), ("model", "Makes", ""),
        ],
        save,
        button="Save",
        title="Mailbox: add or change",
    )  # fmt: skip
    return Panel(SecretField("Password of the mailbox that is saved next", keep), form)


def encryption_of(word: str) -> Encryption:
    """The encryption by its name. Raises :class:`ConfigError` for another word."""
    from ..errors import ConfigError

    try:
        return Encryption(word.strip().lower() or "tls")
    except ValueError as error:
        raise ConfigError(
            f"There is no encryption {word[:40]!r}.",
            code="inbound.account",
            facts={"setting": "encryption", "given": word[:100]},
            fix=f"Use {', '.join(one.value for one in Encryption)}.",
        ) from error


def _model(ops: Ops, name: str) -> str | None:
    return ops.threads.models.get(name).name if name else None


class ProbeCard(Panel):
    """A mail sent round: out, its answer and its bounce back, each leg timed. ``now`` sends one at once, and
    ``record`` hears each verdict."""

    def __init__(
        self, ops: Ops, *, now: bool, seconds: float, record: Callable[[Verdict], Verdict] = lambda verdict: verdict
    ) -> None:
        self.ops, self.seconds, self._record = ops, seconds, record
        form = Form(
            [("domain", "Alias domain", ""), ("nobody", "Nobody at", "")],
            lambda values: self.look(values["domain"] or None, values["nobody"] or None),
            button="Send one round",
            title=f"A mail out, its answer and its bounce back, within {seconds:g} seconds; both fields may stay empty",
        )
        super().__init__(*([self.look()] if now else []), form)

    def look(self, domain: str | None = None, nobody: str | None = None) -> Panel:
        """The verdicts of one probe as cards."""
        found: Probe = self.ops.probe(domain=domain, nobody=nobody, patience=self.seconds)
        return Panel(*(CheckCard(self._record(one)) for one in verdicts(found, self.ops.clock.now())))


class AliasesCard(TableCard):
    """The aliases; who is ticked may be told to make no records from automatic mail, and a new one is added below."""

    def __init__(self, ops: Ops, limit: int) -> None:
        self.ops = ops
        self.table = Table(
            ALIASES, self._page, caption="Aliases", empty="There is no alias.", limit=limit, selectable=True
        )
        self.actions = Actions(
            [
                Action("No Records from Automatic Mail", lambda: self._automatic(False)),
                Action("Records from Automatic Mail", lambda: self._automatic(True)),
            ],
            on_done=self.refresh,
        )
        self.by_hand = Actions([Action("Add Alias", self._add)], on_done=self.refresh)

    def _page(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.aliases
        return Rows([_alias_row(alias) for alias in found[offset : offset + limit]], len(found))

    def _automatic(self, wanted: bool) -> Preview:
        ticked = [a for a in self.ops.aliases if a.key in self.table.selected and a.automatic is not wanted]
        if not ticked:
            return Preview(f"Tick aliases for which automatic mail {_word(not wanted)}.")
        names = tuple(alias.address or alias.local for alias in ticked)

        def run(say: Callable[[str], None]) -> str:
            for name in names:
                self.ops.change_alias(name, automatic=wanted)
            self.table.clear_selection()
            return f"{', '.join(names)}: automatic mail {_word(wanted)}."

        return Preview(f"Automatic mail to {len(names)} of the aliases {_word(wanted)}.", names[:10], run)

    def _add(self) -> Preview:
        local, model, policy, automatic = (
            box.value for box in (self._local, self._model, self._policy, self._automatically)
        )
        if not local.strip():
            return Preview("Write the name before the @.")

        def run(say: Callable[[str], None]) -> str:
            made = self.ops.save_alias(local, model, policy=policy, automatic=automatic)
            self._local.value = ""
            return f"{made.address or made.local} makes records of kind {made.model}."

        words = f"An alias {local.strip()!r} that makes records of kind {model} for mail from {policy}."
        return Preview(words, (f"Automatic mail {_word(automatic)}.",), run)

    def build(self) -> ipywidgets.Widget:
        self._local = field("Alias", "info")
        self._model = choice("Makes", [(model.label, model.name) for model in self.ops.threads.models])
        self._policy = choice("From", [(policy.value, policy.value) for policy in Policy])
        self._automatically = choice("Automatic", AUTOMATIC)  # type: ignore[arg-type]  # True and False are values
        entry = row(self._local, self._model, self._policy, self._automatically)
        return ipywidgets.VBox([self.actions.widget, self.table.widget, entry, self.by_hand.widget])


def _word(automatic: bool) -> str:
    return next(word for word, value in AUTOMATIC if value is automatic)


def _alias_row(alias: Alias) -> dict[str, Any]:
    return {
        "id": alias.key,
        "label": alias.address or alias.local,
        "address": alias.address or alias.local,
        "model": alias.model,
        "policy": alias.policy.value,
        "automatic": _word(alias.automatic),
        "domain": "any domain" if alias.any_domain else "its own",
    }


def _ticked(table: Table) -> set[str]:
    """What is ticked in a table whose rows are named by text."""
    return {str(key) for key in table.selected}


def _mailbox_row(one: Account) -> dict[str, Any]:
    return {
        "id": one.key,
        "label": one.key,
        "key": one.key,
        "state": state_cell("passed", "Confirmed") if one.state == CONFIRMED else state_cell("waiting", "Draft"),
        "server": f"{one.protocol} {one.host}:{one.port}",
        "login": one.login,
        "folder": one.folder,
        "model": one.model or "by alias",
        "looked": f"{one.checked_at:%Y-%m-%d %H:%M}" if one.checked_at else "never",
        "error": one.error or "",
    }
