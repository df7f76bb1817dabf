"""What programs hand over, as a person looks at it: by login, what submitters were told, and the forms beside it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from .relay_forms import LoopCard, keys_panel, logins_panel
from .table import Column, Rows, Table

if TYPE_CHECKING:
    from ..ops import Ops
    from ..relay.reporting import Told

LOGINS = (
    Column("login", "Login"),
    Column("mails", "Mails", kind="number"),
    Column("recipients", "Recipients", kind="number"),
    Column("megabytes", "MB", kind="number"),
    Column("sent", "Delivered", kind="number"),
    Column("refused", "Refused", kind="number"),
    Column("waiting", "Waiting", kind="number"),
    Column("told", "Told of", kind="number"),
    Column("p50", "Half within", kind="number"),
    Column("p95", "19 of 20 within", kind="number"),
    Column("last", "Last (UTC)"),
)
TOLD = (
    Column("at", "Failed (UTC)"),
    Column("login", "Login"),
    Column("recipient", "Recipient"),
    Column("address", "Submitter"),
    Column("state", "Told"),
    Column("why", "What was said, or why nothing was", kind="long"),
)


class RelayView:
    """The parts of the notebook *relay*, for one workspace."""

    def __init__(self, ops: Ops, *, since: str = "7d", limit: int = 25, loop: bool = False) -> None:
        self.ops, self.since = ops, since
        self.users, self.keys = logins_panel(ops), keys_panel(ops)
        self.loop = LoopCard(ops, now=loop, record=ops.run.record)
        self.logins = Table(
            LOGINS, self._logins, caption="By login, the most first", empty="No program handed mail over."
        )
        self.told = Table(TOLD, self._told, caption="What submitters heard", empty="Nothing failed.", limit=limit)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each login; shapes as in :func:`mailops.analysis.relay.by_login`."""
        rows = self.ops.analysis.relay(self.since).to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]

    def _logins(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        shown = [_login_row(number, row) for number, row in enumerate(self.rows, start=1)]
        return Rows(shown[offset : offset + limit], len(shown))

    def _told(self, offset: int, limit: int, sort: str, descending: bool) -> Rows:
        found = self.ops.reports.listing(limit=offset + limit)[offset:]
        total = sum(self.ops.reports.counts().values())
        return Rows([_told_row(offset + number, one) for number, one in enumerate(found, start=1)], total)


def _login_row(number: int, row: dict[str, Any]) -> dict[str, Any]:
    waits = {name: f"{row[name]:,.1f} s" if row["timed"] else "" for name in ("p50", "p95")}
    shown = {name: f"{row[name]:,}" for name in ("mails", "recipients", "sent", "refused", "waiting", "told")}
    shown |= {"megabytes": f"{row['octets'] / 1e6:,.1f}", "last": f"{row['last']:%Y-%m-%d %H:%M}", **waits}
    return {"id": number, "label": str(row["login"]), "login": row["login"], **shown}


def _told_row(number: int, one: Told) -> dict[str, Any]:
    return {
        "id": number,
        "label": f"{one.recipient} of mail {one.mail_id}",
        "at": f"{one.at:%Y-%m-%d %H:%M}",
        "login": one.login or "(no sign-in)",
        "recipient": one.recipient,
        "address": one.address,
        "state": one.state,
        "why": one.why or one.reply or "",
    }
