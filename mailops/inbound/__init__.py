"""Received mail: read, decided, carried out; ``route_inbound`` is pure. See ``docs/gateway.md``."""

from __future__ import annotations

from .decide import route_inbound
from .parse import parse
from .values import Decision, InboundMail, Kind

__all__ = ["Decision", "InboundMail", "Kind", "parse", "route_inbound"]
