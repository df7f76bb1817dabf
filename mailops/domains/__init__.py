"""Mail domains over time: check them, keep the answers, compare two dates, watch until a record is published."""

from __future__ import annotations

from ..dns.records import panel_forms as record_forms
from .history import Difference, Snapshot
from .service import Domains, Waiting
from .sources import Source, Sources
from .values import folded, proof_line

__all__ = ["Difference", "Domains", "Snapshot", "Source", "Sources", "Waiting", "folded", "proof_line", "record_forms"]
