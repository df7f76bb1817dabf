"""Checks: pure functions from what is known to a verdict with evidence and the next step."""
