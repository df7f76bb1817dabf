"""The shape of a guide: frozen data that a card, a command line or a test can show alike.

Texts are templates: ``{redirect_uri}`` and the like are filled in from the answers so far (see ``values`` of the
guide). Labels of somebody's console stand between asterisks, letter by letter. ``when`` limits a step or a line to
certain answers: ``(("account_kind", ("personal",)),)`` means "only when account_kind is personal".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Condition = tuple[tuple[str, tuple[str, ...]], ...]


def holds(when: Condition, answers: Mapping[str, Any]) -> bool:
    """Whether all conditions hold; an answer that is missing holds none."""
    return all(str(answers.get(name, "")) in values for name, values in when)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values of an input. ``stops`` says what stops working with it."""

    value: str
    label: str
    stops: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """A value asked for. ``kind``: text, secret, choice, email, emails, date, url, flag, json, number.

    ``check`` names a validator (:mod:`mailops.guides.validate`); ``preset`` is a template. A secret goes to the vault,
    the answers keep its reference.
    """

    name: str
    label: str
    kind: str = "text"
    check: str = ""
    required: bool = True
    preset: str = ""
    help: str = ""
    choices: tuple[Choice, ...] = ()
    needed: Condition = ()  # required with any of these answers only


@dataclass(frozen=True, slots=True)
class Copy:
    """A value to copy into the console: where it goes, and the template of the value."""

    label: str
    value: str
    when: Condition = ()


@dataclass(frozen=True, slots=True)
class Do:
    """One thing to do, in order. ``when`` limits it to certain answers."""

    text: str
    when: Condition = ()


@dataclass(frozen=True, slots=True)
class Link:
    """An address to open."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong here, as a branch: what the person sees, why, and what to do.

    ``code`` is the catalogue's row (``auth.google-redirect``) or a guide's own; ``symptoms`` are words of the symptom.
    """

    code: str
    symptoms: tuple[str, ...]
    title: str
    why: str
    do: tuple[str, ...]
    links: tuple[Link, ...] = ()
    rows: tuple[str, ...] = ()
    when: Condition = ()  # only with these answers


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``check`` names what marks it by itself (:mod:`mailops.guides.checks`); ``needs`` are the ids of steps
    that come first; ``face``: ``console`` (somebody else's), ``database`` (mailops can do it itself), ``mailops``."""

    id: str
    title: str
    why: str = ""
    part: int = 1
    face: str = "console"
    do: tuple[str | Do, ...] = ()
    copies: tuple[Copy, ...] = ()
    inputs: tuple[Input, ...] = ()
    links: tuple[Link, ...] = ()
    check: str = ""
    troubles: tuple[Trouble, ...] = ()
    needs: tuple[str, ...] = ()
    when: Condition = ()
    notes: tuple[str | Do, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide: its parts by name, its steps in order, and the note that opens it on hosted kinds (GEN-10)."""

    id: str
    title: str
    provider: str
    parts: tuple[str, ...]
    steps: tuple[Step, ...]
    hosted_note: str = ""
    limit_note: str = ""
    links: tuple[Link, ...] = field(default=())

    def step(self, step_id: str) -> Step:
        """The step of this id. Raises :class:`mailops.errors.NotFound`."""
        from ..errors import NotFound

        for step in self.steps:
            if step.id == step_id:
                return step
        raise NotFound(f"The guide {self.id!r} has no step {step_id!r}.", facts={"steps": [s.id for s in self.steps]})

    def inputs(self) -> dict[str, Input]:
        """All inputs by name; names are unique within a guide."""
        return {i.name: i for s in self.steps for i in s.inputs}
