"""Who may hand mail over, what leaves is signed with, whether a mail comes through: the forms of the notebook *relay*.

Each calls what ``mailops serve user``, ``mailops dkim`` and ``mailops serve check`` call. A typed password stays in the
browser's field until it is saved, and only its hash comes into the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InputRefused
from ..model.verdict import Verdict
from .check import CheckCard
from .copyfield import CopyField
from .domain_view import Prose
from .faces import Card
from .form import Form, SecretField
from .panel import Panel
from .setup_view import Sheet, number

if TYPE_CHECKING:
    from ..ops import Ops

Values = dict[str, str]
AWAY = "-"
"""Typed into a field, it takes away what stands there; an empty field leaves it."""
_LOGIN = [
    ("login", "Login", ""), ("company", "Company", ""), ("senders", "May send as", ""), ("bounces", "Bounces", ""),
    ("reports", "Reports", ""), ("per_minute", "A minute", ""), ("password", "Password", ""),
]  # fmt: skip
_KEY = [("domain", "Domain", ""), ("selector", "Selector", "")]
_SURE = ("yes", "Sure? (yes)", "")


def logins_panel(ops: Ops) -> Panel:
    """The logins; one form adds or changes, one removes."""
    from ..submission import hash_password

    typed: list[str] = []

    def sheet() -> Sheet:
        lead = "Company, whom a program may send as, where reports go, and its limit; mailops serve user."
        header = ["Login", "Company", "May send as", "Bounces", "Reports", "A minute", "Stands in"]
        return Sheet("Logins", lead, header, lambda: _login_rows(ops))

    def keep(password: str) -> str:
        typed[:] = [hash_password(password)]
        return "taken: it belongs to the login that is saved next"

    def save(values: Values) -> Card:
        name, named = values["login"], _named(values)
        password = _reference(values["password"]) or "".join(typed)
        if ops.logins.find(name) is not None:
            made = ops.logins.change(name, setup=ops.setup, **named)
            if password:
                made = ops.logins.password(name, password)
        elif password:
            made = ops.logins.add(name, password, setup=ops.setup, **named)
        else:
            raise _no_password("A new login needs a password.")
        typed.clear()
        return Panel(Prose(f"{name} may hand mail over as {', '.join(made.senders) or 'anybody'}."), sheet())

    def remove(values: Values) -> Card:
        name = values["login"]
        told = f"{name} may hand nothing over any more; what it handed over stays"
        return Panel(_sure(values, told, lambda: ops.logins.remove(name)), sheet())

    fields = f"company, senders, bounces (keep, ours, both), reports (yes, no); {AWAY} takes away, empty leaves"
    return Panel(
        sheet(),
        SecretField("Password of the login that is saved next", keep),
        Form(_LOGIN, save, button="Save", title=f"Login: add or change ({fields}); the password here is a reference"),
        Form([("login", "Login", ""), _SURE], remove, button="Remove", title="Login: remove"),
    )


def keys_panel(ops: Ops) -> Panel:
    """The keys that mail is signed with: add, activate once the record is seen, retire."""

    def rows() -> list[list[object]]:
        return [[k.domain, k.selector, k.state, f"{k.changed_at:%Y-%m-%d %H:%M}", k.name] for k in ops.signing.all()]

    def sheet() -> Sheet:
        lead = "A domain's mail is signed by its active key, after the From is final; mailops dkim."
        return Sheet("Keys", lead, ["Domain", "Selector", "State", "Since (UTC)", "Record"], rows)

    def add(values: Values) -> Card:
        unseen = values["unseen"] == "yes"
        made = ops.signing.add(values["domain"], values["selector"], values["key"] or None, unseen=unseen)
        waits = "Nothing is signed with it yet: publish the record, then activate the key."
        then = "Mail is signed with it from now on." if made.state == "active" else waits
        record = (CopyField("Name", made.name), CopyField("TXT", made.record))
        return Panel(Prose(f"State: {made.state}. {then}"), *record, sheet())

    def activate(values: Values) -> Card:
        key = ops.signing.activate(values["domain"], values["selector"])
        told = f"Receivers find the record. Mail of {key.domain} is signed with {key.selector} from now on."
        return Panel(Prose(told), sheet())

    def retire(values: Values) -> Card:
        domain, selector = values["domain"], values["selector"]
        signs = any(k.selector == selector and k.state == "active" for k in ops.signing.all(domain))
        price = f"mail of {domain} leaves unsigned from then on" if signs else "it is not signed with"
        told = f"{selector} of {domain} is forgotten: {price}; take its record out of the DNS some days later"
        return Panel(_sure(values, told, lambda: ops.signing.remove(domain, selector)), sheet())

    wait = "Key: add (Key empty: a new one goes into the vault; else a reference). It waits until it is activated"
    turn = "Key: rotate. The record is looked for; the key before stays published"
    return Panel(
        sheet(),
        Form([*_KEY, ("key", "Key", ""), ("unseen", "At once (yes)", "")], add, button="Add", title=wait),
        Form(_KEY, activate, button="Activate", title=turn),
        Form([*_KEY, _SURE], retire, button="Retire", title="Key: retire"),
    )


class LoopCard(Panel):
    """TLS, logins, and one mail round each listener, when it is asked for; nothing is stored.

    ``now`` looks at once, as a job does, and ``record`` hears each verdict."""

    def __init__(self, ops: Ops, *, now: bool = False, record: Callable[[Verdict], Verdict] | None = None) -> None:
        self.ops, self._record = ops, record or (lambda verdict: verdict)
        form = Form([], lambda _: self.look(), button="Send one round", title="One mail round each listener")
        super().__init__(*([self.look()] if now else []), form)

    def look(self) -> Panel:
        """The verdicts as cards."""
        from ..serve_check import check

        return Panel(*(CheckCard(self._record(verdict)) for verdict in check(self.ops)))


def _login_rows(ops: Ops) -> list[list[object]]:
    return [
        [
            one.name, one.company, ", ".join(one.senders) or "anybody", one.bounces or "as the settings",
            "yes" if one.reports else "no", one.messages_per_minute, one.source,
        ]
        for one in ops.logins.all()
    ]  # fmt: skip


def _named(values: Values) -> dict[str, Any]:
    """The fields that were filled in, as :meth:`Logins.change` names them."""
    said = {name: value for name, value in values.items() if value and name not in ("login", "password")}
    plain = [name for name in ("company", "bounces") if name in said]
    made: dict[str, Any] = {name: None if said[name] == AWAY else said[name] for name in plain}
    if "senders" in said:
        made["senders"] = () if said["senders"] == AWAY else tuple(said["senders"].replace(",", " ").split())
    if "reports" in said:
        made["reports"] = said["reports"] != "no"
    if "per_minute" in said:
        made["messages_per_minute"] = None if said["per_minute"] == AWAY else number(said["per_minute"])
    return made


def _reference(text: str) -> str:
    """A reference to a secret as it is; a password itself, which the page would keep, is refused."""
    if text and (text.partition(":")[0] not in ("env", "file", "keyring", "vault") or ":" not in text):
        raise _no_password("A password in this field would be saved with the notebook.")
    return text


def _no_password(message: str) -> InputRefused:
    fix = "Type it into the field above and save it there, or name a reference such as env:NAME."
    return InputRefused(message, code="input.password", fix=fix)


def _sure(values: Values, sentence: str, act: Callable[[], object]) -> Card:
    """Do it where *yes* was typed; else say what it would do."""
    if values.get("yes") != "yes":
        return Prose(f"{sentence}. Type yes to do it.")
    act()
    return Prose(f"Done: {sentence}.")
