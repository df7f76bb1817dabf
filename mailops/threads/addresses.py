"""Where answers to a record's mails go: the record's alias, else the catchall of its company's domain, else the author.

A company without alias domain borrows notification and bounce address of the first one, but not its catchall: answers
to what one company wrote do not come in under another's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..model.alias import Alias
from ..model.setup import AliasDomain, Company, Setup
from ..routing.envelope import reply_to
from .store import Record

PURPOSE = "sender-verification"


def company_of(record: Record, setup: Setup) -> Company | None:
    """The record's company; a record without one belongs to the first."""
    return next(
        (c for c in setup.companies if c.id == record.company_id), setup.companies[0] if setup.companies else None
    )


def domain_of(record: Record, setup: Setup) -> AliasDomain | None:
    """The alias domain of the record's company; a company without one shares the first by sequence."""
    return setup.domain_of(company_of(record, setup))


def record_alias(record: Record, aliases: Iterable[Alias], domain: AliasDomain | None) -> Alias | None:
    """The alias that stands for a record: bound to it, else the one that made it, else one that makes such records."""
    # while sender addresses are verified they are aliases too, and no answer is to go there
    usable = [a for a in aliases if a.address is not None and a.defaults.get("purpose") != PURPOSE]
    own = next((a for a in usable if a.record == record.id), None)
    maker = next((a for a in usable if a.key == record.values.get("alias_id")), None)
    same = [a for a in usable if a.model == record.model and a.record is None]
    here = next((a for a in same if domain and a.domain == domain.name), None)
    return own or maker or here


def reply_address(
    record: Record,
    aliases: Iterable[Alias],
    setup: Setup,
    *,
    author: str | None = None,
    tagged: Callable[[str], str] = str,
) -> str | None:
    """The Reply-To of a record's mails, with company and record name as far as they fit. ``tagged`` may sign our
    address."""
    domain, company = domain_of(record, setup), company_of(record, setup)
    alias = record_alias(record, aliases, domain)
    if alias is None and company is not None and company.alias_domain is None:
        return author
    ours = alias.address if alias else domain.catchall_address if domain else None
    named = company.name if company else None
    return reply_to(domain, alias=tagged(ours) if ours else None, company=named, record=record.name)
