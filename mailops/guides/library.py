"""The guides by name."""

from __future__ import annotations

from ..errors import NotFound
from .azure import AZURE
from .google import GOOGLE
from .mailjet import MAILJET
from .model import Guide

GUIDES: dict[str, Guide] = {g.id: g for g in (AZURE, GOOGLE, MAILJET)}


def guide(name: str) -> Guide:
    """The guide of this id, or of this provider. Raises :class:`NotFound`."""
    for one in GUIDES.values():
        if name in (one.id, one.provider):
            return one
    raise NotFound(f"There is no guide {name!r}.", facts={"guides": sorted(GUIDES)})
