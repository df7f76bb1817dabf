"""Guides: steps as data, an engine that remembers how far each got, checks that mark steps by themselves. No UI."""

from .engine import GuideRun, StepView
from .library import GUIDES, guide
from .model import Choice, Copy, Guide, Input, Step, Trouble
from .steps import GuideAnswers

__all__ = [
    "GUIDES",
    "Choice",
    "Copy",
    "Guide",
    "GuideAnswers",
    "GuideRun",
    "Input",
    "Step",
    "StepView",
    "Trouble",
    "guide",
]
