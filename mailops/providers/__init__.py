"""What mailops knows of mail providers, as data: hosts, endpoints, scopes, limits, and the dates of their rules."""

from .model import Endpoints, Host, Limit, PasswordRule, Provider
from .rules import CATALOGUED, PROVIDERS, password_rules, provider, provider_of_host

__all__ = [
    "CATALOGUED",
    "PROVIDERS",
    "Endpoints",
    "Host",
    "Limit",
    "PasswordRule",
    "Provider",
    "password_rules",
    "provider",
    "provider_of_host",
]
