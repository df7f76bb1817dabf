"""OAuth for mail: flows, tokens that stay alive for years, the error catalogue, and the connection doctor.

Names load on first use; msal and google-auth only when a token is really asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "account": ("Account", "AccountStore", "Connected", "FlowKind", "Grant"),
    "calendar": ("End", "ends_of", "icalendar", "password_servers", "verdict_of_end"),
    ".providers.refusals": ("Row", "explain_reply", "explain_token", "refusal", "rows"),
    "chooser": ("FlowChoice", "Where", "Who", "choose_flow"),
    "claims": ("Claims", "judge_claims", "read_claims"),
    "doctor": ("Doctor", "examine"),
    "flow": ("Begun", "TokenAnswer", "read_redirect"),
    "loopback": ("CallbackListener",),
    "redirects": ("check_base_url", "compare_uris", "redirect_uri"),
    "sasl": ("imap_sign_in", "pop_sign_in"),
    "signin": ("Redeemed", "SignIn"),
    "tokens": ("TokenService",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.oauth' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
