"""A notebook's parameters as a page has them: drawn from its parameters cell, read from an address, given to its run.

An address may set what is looked at, and nothing that acts or names a place on this machine: :data:`VIEW` lists the
names. A value is read by the type of the cell, as a job reads it, and is never executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import MailopsError
from ..jobs.catalogue import NotebookInfo
from ..jobs.parameters import Parameter, bind
from ..page.blocks import Field, Form

VIEW = frozenset(
    {"domain", "since", "by", "server", "mailbox", "practice", "state", "asked", "address", "mail", "service", "sender",
     "recipient", "everything", "limit", "selectors", "spf_terms", "bounce_domain", "database", "volume", "dns",
     "networks", "all_domains", "max_wait_minutes", "max_failed", "seconds"}
)  # fmt: skip
CHOICES = {
    "by": ("domain", "server", "sender", "class"),
    "state": ("", "Outgoing", "Sent", "Delivery Failed", "Cancelled"),
}


def asked(info: NotebookInfo) -> tuple[Parameter, ...]:
    """The parameters of a notebook that a person may set on its page."""
    return tuple(one for one in info.parameters if one.name in VIEW)


def read(info: NotebookInfo, query: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The values that an address gives, by the types of the cell, and why one cannot be taken (or nothing). A name that
    is none of the page's is left alone: an address carries other things too."""
    known = asked(info)
    given = {one.name: query[one.name] for one in known if query.get(one.name, "") != ""}
    good: dict[str, Any] = {}
    trouble = ""
    for name, value in given.items():
        try:
            good |= bind(known, {name: value}, info.name)
        except MailopsError as error:
            trouble = trouble or f"{error.message} {error.fix}".strip()
    return good, trouble


def source(info: NotebookInfo, values: Mapping[str, Any]) -> str:
    """The lines that set these values, as literals; empty where there are none."""
    plain = {one.name for one in asked(info) if one.type in ("str", "int", "float", "bool")}
    return "\n".join(f"{name} = {value!r}" for name, value in values.items() if name in plain)


def form(info: NotebookInfo, query: Mapping[str, str]) -> Form | None:
    """The bar: a field for each parameter, with what the address or the cell says."""
    fields = tuple(_field(one, query.get(one.name)) for one in asked(info))
    return Form(fields, "Show", label=f"What {info.title} shows") if fields else None


def _field(one: Parameter, given: str | None) -> Field:
    label = one.name.replace("_", " ").capitalize()
    default = "" if one.default is None else str(one.default)
    if one.type == "bool":
        value = (given if given is not None else default).lower()
        return Field(one.name, label, "true" if value in ("true", "yes", "on", "1") else "false", "check", one.help)
    value = default if given is None else given
    if one.name in CHOICES:
        options = tuple((word, word or "any") for word in CHOICES[one.name])
        return Field(one.name, label, value, "choice", one.help, options)
    return Field(one.name, label, value, "number" if one.type in ("int", "float") else "text", one.help)
