"""What providers tell by webhook, verified, taken once, and recorded as reports are.

``events`` reads each provider's form, ``verify`` checks who sent it, ``service`` records, ``app`` is the ASGI door.
"""

from __future__ import annotations

from .app import app
from .events import PROVIDERS, Event, read_events
from .service import Webhooks

__all__ = ["PROVIDERS", "Event", "Webhooks", "app", "read_events"]
