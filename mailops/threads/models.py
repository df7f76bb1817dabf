"""The kinds of record that mail can make and update: four built in, and any that a user registers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ..errors import ConfigError, NotFound

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class RecordModel:
    """A kind of record. ``bounce_counter``: bounces of its address are counted on it; ``accepts_mail`` False: mail
    neither makes nor updates such records."""

    name: str
    label: str
    bounce_counter: bool = False
    accepts_mail: bool = True


BUILT_IN = (
    RecordModel("lead", "Lead/Opportunity", bounce_counter=True),
    RecordModel("ticket", "Helpdesk Ticket"),
    RecordModel("task", "Project Task"),
    RecordModel("expense", "Expense"),
)


def models_from(text: str | None) -> Models:
    """The kinds of a workspace: the built-in ones and those kept in its parameter as JSON."""
    return Models(*(RecordModel(**one) for one in json.loads(text or "[]")))


class Models:
    """The kinds known to a database."""

    def __init__(self, *more: RecordModel) -> None:
        self._known = {model.name: model for model in BUILT_IN}
        for model in more:
            self.register(model)

    def register(self, model: RecordModel) -> None:
        """Add a kind. Raises :class:`ConfigError` for a bad or taken name."""
        if not _NAME.match(model.name) or self._known.get(model.name, model) != model:
            raise ConfigError(
                f"A kind of record cannot be named {model.name!r}.",
                code="config.model_name",
                facts={"name": model.name, "known": sorted(self._known)},
                fix="Use a new name of lower-case letters, digits, dots and underscores.",
            )
        self._known[model.name] = model

    def find(self, name: str) -> RecordModel | None:
        """The kind of this name, or None."""
        return self._known.get(name)

    def get(self, name: str) -> RecordModel:
        """The kind of this name. Raises :class:`NotFound`."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"There is no kind of record {name!r}.", facts={"name": name, "known": sorted(self._known)})
        return found

    def as_text(self) -> str:
        """Those that are not built in, as :func:`models_from` reads them."""
        return json.dumps([asdict(model) for model in self if model not in BUILT_IN])

    def __iter__(self) -> Iterator[RecordModel]:
        return iter(self._known.values())
