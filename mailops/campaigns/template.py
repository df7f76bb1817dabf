"""A campaign's subject and bodies as templates in Jinja's sandbox, which reaches nothing but the recipient's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import InputRefused
from ..mime import storable

LONGEST = 1_000_000
"""Characters that a rendered body may have, and steps of a loop."""
OURS = ("email", "unsubscribe_url")
"""Fields that a template has beside those of the list."""
_BREAKS = re.compile("[\r\n\0\x0b\x0c\x1c-\x1e\x85\u2028\u2029\t ]+")


class Rendered(NamedTuple):
    """One recipient's texts."""

    subject: str
    text: str | None
    html: str | None


class Unrendered(Exception):
    """A recipient's texts cannot be made; the words say why."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Without globals, and without powers and products that fill the memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        long = max(len(side) if isinstance(side, str | list | tuple) else 0 for side in (left, right))
        number = next((side for side in (left, right) if isinstance(side, int)), 0)
        if operator == "**" or long * abs(number) > LONGEST:
            raise SecurityError(f"{operator} is not done with these values")
        return super().call_binop(context, operator, left, right)


def _environment(*, html: bool) -> _Sandbox:
    made = _Sandbox(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True)
    made.globals = {}
    return made


_TEXT, _HTML = _environment(html=False), _environment(html=True)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    source: str
    template: Any
    names: frozenset[str]


class Template:
    """A message with slots. Raises :class:`InputRefused` ``campaign.template`` for one that cannot be read."""

    def __init__(self, subject: str, text: str | None, html: str | None) -> None:
        given = (("subject", subject, _TEXT), ("text", text, _TEXT), ("html", html, _HTML))
        self._parts = [_part(name, source, which) for name, source, which in given if source is not None]

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it names."""
        return frozenset[str]().union(*(part.names for part in self._parts))

    def missing(self, columns: Sequence[str], example: Mapping[str, str]) -> list[str]:
        """Fields that it needs and no column has: named, and not done without in the ``example``."""
        absent = sorted(self.fields - {*columns, *OURS})
        try:
            if absent:
                self.render(example)
        except Unrendered:
            return absent
        return []

    def render(self, fields: Mapping[str, str]) -> Rendered:
        """The texts for one recipient. Raises :class:`Unrendered`."""
        made: dict[str, str] = {}
        for part in self._parts:
            if not part.names and "{" not in part.source:
                made[part.name] = part.source
                continue
            try:
                made[part.name] = part.template.render(fields)
            except UndefinedError as error:
                raise Unrendered(f"the field of the {part.name} is missing: {error}") from error
            except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
                raise Unrendered(f"the {part.name} cannot be made: {error or type(error).__name__}") from error
            if len(made[part.name]) > LONGEST:
                raise Unrendered(f"the {part.name} has more than {LONGEST:,} characters")
        return Rendered(_one_line(made["subject"]), made.get("text"), made.get("html"))


def _one_line(subject: str) -> str:
    """A subject on one line: what a field brings along makes no second header."""
    return subject if subject.isprintable() and "  " not in subject else _BREAKS.sub(" ", storable(subject)).strip()


def _part(name: str, source: str, environment: _Sandbox) -> _Part:
    try:
        tree = environment.parse(source)
        names = frozenset(meta.find_undeclared_variables(tree))
        return _Part(name, source, environment.from_string(source), names)
    except (TemplateSyntaxError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise InputRefused(
            f"The template of the {name} cannot be read: {error}.",
            code="campaign.template",
            facts={"part": name, "line": line},
            fix="Write fields as {{ name }}; the names are the columns of the list.",
        ) from error
    except TemplateError as error:
        raise InputRefused(
            f"The template of the {name} cannot be used: {error}.",
            code="campaign.template",
            facts={"part": name},
            fix="Write fields as {{ name }}; a campaign's template includes no other file.",
        ) from error
