"""Campaigns: one message to many, each person once, one campaign after the other.

``service`` is what the faces hold; ``feed`` hands recipients to the queue in portions, so that the queue's worker,
journal and ledger carry them; ``hearing`` keeps each recipient's row up to what became of the mail.
"""

from __future__ import annotations

from .service import Campaigns
from .values import Campaign, Status

__all__ = ["Campaign", "Campaigns", "Status"]
