"""The demonstration's campaigns: one that leaves, one that reaches a limit and holds up the next, and the way out."""

from __future__ import annotations

from collections.abc import Iterator

from ..ops import Ops
from .month import Played

SENDER = "Northwind News <hello@news.northwind.example>"
LIMIT = 12
"""Mails an hour that the newsletter's server may send meanwhile."""
DOMAINS = ("bigmail.example", "webpost.example", "contoso.example")


def _list(count: int, first: int) -> list[dict[str, str]]:
    names = ("nora", "felix", "hiro", "carla", "ada", "jo")
    rows = ((names[n % 6], f"{names[n % 6]}.reader{first + n}@{DOMAINS[n % 3]}") for n in range(count))
    return [{"email": address, "name": name.title()} for name, address in rows]


def campaigns(ops: Ops, played: Played) -> Iterator[str]:
    """Play them; yields what is to be said."""

    def make(key: str, rows: list[dict[str, str]]) -> None:
        text = "Hello {{ name }}, this is what is new in the shop."
        ops.campaigns.create(key, sender=SENDER, subject="News for {{ name }}", text=text, recipients=rows)
        ops.campaigns.send(key)

    def run() -> None:
        played.add(ops.queue.run())

    def sent(key: str) -> int:
        return ops.campaigns.status(key).counts["sent"]  # type: ignore[index]

    rows = _list(10, 0)
    make("spring", [*rows, {"email": rows[0]["email"].upper(), "name": "Nora"}, {"email": "no address", "name": "?"}])
    run()
    found = ops.campaigns.status("spring")
    aside = found.counts["duplicate"] + found.counts["invalid"]  # type: ignore[index]
    yield f"Campaign spring: {sent('spring')} of {found.total} rows sent, {aside} set aside before the first mail left."
    server = ops.explain(sender=SENDER, mail_class="mass").server
    assert server is not None
    ops.limits.set(server.key, count=LIMIT, per="hour")
    make("summer", _list(20, 100))
    make("autumn", _list(4, 200))
    run()
    [limits] = [one for one in ops.limits.report() if one.server == server.key]
    yield f"At {LIMIT} an hour the limit is reached: {sent('summer')} of summer left. {limits.sentence}"
    yield ops.campaigns.blocking().sentence
    yield ops.what_if(cancel=["summer"]).sentence
    ops.campaigns.cancel("summer")
    ops.limits.clear(server.key)
    run()
    left = f"{sent('autumn')} of autumn left"
    yield f"Cancelled, and the limit taken away: {left} (notebooks campaigns, limits_and_schedules)."
    played.submitted += sent("spring") + sent("summer") + sent("autumn")  # what was taken back was handed to nobody
