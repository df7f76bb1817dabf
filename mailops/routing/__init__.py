"""Which server carries a mail, with which From and envelope sender, and why."""

from .explain import DEFAULT_KEY, Route, Router, composed_return_path, default_server, route
from .select import Choice, RouteRequest, Rule, choose_server, in_order, notification_address

__all__ = [
    "DEFAULT_KEY",
    "Choice",
    "Route",
    "RouteRequest",
    "Router",
    "Rule",
    "choose_server",
    "composed_return_path",
    "default_server",
    "in_order",
    "notification_address",
    "route",
]
