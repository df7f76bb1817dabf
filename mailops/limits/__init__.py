"""How much may leave when: windows as data, permits shared by all processes and kept over restarts, the forecast."""

from __future__ import annotations

from .values import Window

__all__ = ["Window"]
