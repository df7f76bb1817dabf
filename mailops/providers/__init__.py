"""What mailops knows of mail providers, as data: hosts, endpoints, scopes, limits, and the dates of their rules."""

from .model import Endpoints, Host, Limits, PasswordRule, Provider
from .rules import PROVIDERS, password_rules, provider, provider_of_host

__all__ = [
    "PROVIDERS",
    "Endpoints",
    "Host",
    "Limits",
    "PasswordRule",
    "Provider",
    "password_rules",
    "provider",
    "provider_of_host",
]
