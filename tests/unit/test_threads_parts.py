"""The pure parts of threads: kinds of record, reply addresses, the mark."""

from __future__ import annotations

import pytest

from mailops.errors import ConfigError, NotFound
from mailops.model.alias import Alias
from mailops.model.setup import AliasDomain, Company, Hosting, Profile, Setup
from mailops.threads.addresses import record_alias, reply_address
from mailops.threads.envelope import Mark, mark_of
from mailops.threads.models import Models, RecordModel
from mailops.threads.store import Record

HOSTED = AliasDomain(Profile(Hosting.ONLINE, database="mydatabase").hosted_domain, id=1)
OWN = AliasDomain("my-custom-domain.test", id=2)


def record(**more: object) -> Record:
    values = {"id": 7, "model": "lead", "name": "Seven", "email": None, "company_id": 1, "owner": None, "values": {}}
    return Record(**{**values, **more})  # type: ignore[arg-type]  # the names are Record's own fields


@pytest.mark.req("GEN-15")
def test_four_kinds_are_built_in_and_users_register_more() -> None:
    models = Models()
    assert [m.name for m in models] == ["lead", "ticket", "task", "expense"]
    models.register(RecordModel("parcel", "Parcel"))
    assert models.get("parcel").accepts_mail
    with pytest.raises(NotFound):
        models.get("letter")
    for name in ("Bad Name", "", "lead"):
        with pytest.raises(ConfigError):
            models.register(RecordModel(name, "other"))


@pytest.mark.req("IN-05", "IN-06", "IN-08", "IN-21", "IN-25", "OUT-47")
@pytest.mark.parametrize(
    ("domain", "alias", "wanted"),
    [
        (HOSTED, "info", "info@mydatabase.odoo.com"),
        (HOSTED, None, "catchall@mydatabase.odoo.com"),
        (OWN, "info", "info@my-custom-domain.test"),
        (OWN, None, "catchall@my-custom-domain.test"),
    ],
)
def test_replies_go_to_alias_or_catchall_of_the_records_company(
    domain: AliasDomain, alias: str | None, wanted: str
) -> None:
    company = Company("acme", "Acme", alias_domain=domain, id=1)
    setup = Setup(companies=(company,), alias_domains=(HOSTED, OWN))
    aliases = [Alias(1, alias, domain.name, "lead")] if alias else []
    assert reply_address(record(), aliases, setup) == f'"Acme Seven" <{wanted}>'


def test_the_alias_nearest_to_the_record_stands_for_it() -> None:
    aliases = [
        Alias(1, "info", OWN.name, "lead"),
        Alias(2, "made", OWN.name, "lead"),
        Alias(3, "bound", OWN.name, "lead", record=7),
        Alias(4, "tasks", OWN.name, "task"),
        Alias(5, "nowhere", None, "lead"),
    ]

    def chosen(which: list[int], **more: object) -> object:
        found = record_alias(record(**more), [a for a in aliases if a.key in which], OWN)
        return found.key if found else None

    assert chosen([1, 2, 3, 4, 5]) == 3
    assert chosen([1, 2], values={"alias_id": 2}) == 2
    assert chosen([1, 2]) == 1
    assert chosen([4, 5]) is None
    assert chosen([3], id=8) is None


@pytest.mark.req("QUE-01", "QUE-05")
@pytest.mark.parametrize(
    ("states", "mark"),
    [
        (["sent", "sent", "exception"], Mark.RED),
        (["bounce"], Mark.RED),
        (["sent", "canceled"], Mark.WHITE),
        (["ready"], Mark.WHITE),
        ([], Mark.WHITE),
    ],
)
def test_one_failure_makes_the_mark_red(states: list[str], mark: Mark) -> None:
    assert mark_of(states) is mark
