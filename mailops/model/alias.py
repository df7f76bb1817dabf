"""Addresses that make records or post on them: what threads keeps and the gateway asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Key = int | str


class Policy(StrEnum):
    """Who may write to an alias."""

    EVERYONE = "everyone"
    PARTNERS = "partners"  # the sender must be a known contact
    FOLLOWERS = "followers"  # the sender must follow the bound, answered or parent record


class AliasStatus(StrEnum):
    """Whether an alias has proven itself."""

    NOT_TESTED = "not_tested"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that makes records of ``model``, or posts on ``record`` (a bound alias).

    ``domain`` None: the alias has no full address. ``any_domain``: its local part alone is enough, whatever the domain.
    ``defaults`` are values for new records; ``bounced_content`` is the alias's own text for refusals. ``automatic``
    False: automatic mail (RFC 3834) makes no records.
    """

    key: Key
    local: str
    domain: str | None
    model: str
    policy: Policy = Policy.EVERYONE
    any_domain: bool = False
    record: Key | None = None
    parent: Key | None = None
    bounced_content: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    owner: Key | None = None
    company: Key | None = None
    automatic: bool = True

    @property
    def address(self) -> str | None:
        return f"{self.local}@{self.domain}" if self.domain else None
