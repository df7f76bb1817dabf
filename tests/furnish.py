"""A small organisation on a loopback SMTP server."""

from __future__ import annotations

from typing import Any

from mailops import Ops
from mailops.model.setup import AliasDomain, Company, Encryption, RetryPolicy, Server


def furnish(ops: Ops, smtp: Any, **server: Any) -> None:
    """One company, one alias domain, one server filtered on it."""
    ops.save_alias_domain(AliasDomain("acme.example"))
    ops.save_company(Company("acme", "Acme", "info@acme.example"))
    values: dict[str, Any] = {
        "key": "main",
        "name": "Main",
        "host": "127.0.0.1",
        "port": smtp.port,
        "encryption": Encryption.NONE,
        "from_filter": "acme.example",
        "timeout": 5.0,
        "retry": RetryPolicy(),
    }
    ops.save_server(Server(**{**values, **server}))
