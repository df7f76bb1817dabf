"""Numbers on the command line: each option and argument that takes one is bounded by its name, in one place, whoever
wrote the command. A command's own narrower bounds (``min``, ``max``) hold as well."""

from __future__ import annotations

from typing import Any

from ..model.numbers import within

_KINDS = {
    "days": "days",
    "hours": "hours",
    "minutes": "minutes",
    "fetch": "minutes",
    "seconds": "seconds",
    "queue_every": "seconds",
    "timeout": "seconds",
    "port": "port",
    "smtp_port": "port",
    "webhooks": "port",
    "priority": "priority",
    "sequence": "priority",
    "mail": "row",
    "mail_id": "row",
    "message": "row",
    "ids": "row",
    "record": "row",
    "parent": "row",
}
"""A parameter's name → the kind of its number; all others are counts."""


def bounded(command: Any) -> Any:
    """The command, or the tree of them, with its numbers bounded. Its errors are :class:`InputRefused`."""
    for parameter in getattr(command, "params", ()):
        _bound(parameter, _KINDS.get(parameter.name, "count"))
    for below in getattr(command, "commands", {}).values():
        bounded(below)
    return command


def _bound(parameter: Any, kind: str) -> None:
    """Look at the values a parameter was read as; its own callback follows. What is no number is let through."""
    own = parameter.callback
    name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()

    def look(context: Any, asked: Any, value: Any) -> Any:
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                within(name, number, kind)
        return own(context, asked, value) if own else value

    parameter.callback = look
