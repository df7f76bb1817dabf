"""Records, followers, notifications and the envelope mark. See ``docs/gateway.md``."""

from __future__ import annotations

from .models import BUILT_IN, Models, RecordModel

__all__ = ["BUILT_IN", "Models", "RecordModel"]
