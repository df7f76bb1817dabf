"""The HTTP session that msal and google-auth share: time-outs always set, TLS verified, the CA in force known.

A custom CA file wins over ``REQUESTS_CA_BUNDLE`` (plain ``requests`` has it the other way round, which bites behind
proxies that inspect TLS). A sandbox mounts an adapter on the session and answers inside the process.
"""

from __future__ import annotations

from typing import Any

import requests

TIMEOUT = 20.0


class HttpSession(requests.Session):
    """A ``requests`` session with a default time-out; ``ca_file`` is used for every request when given."""

    def __init__(self, ca_file: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__()
        self.ca_file = ca_file
        self.timeout = timeout
        if ca_file:
            self.verify = ca_file

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or self.timeout
        if self.ca_file and kwargs.get("verify") in (None, True):
            kwargs["verify"] = self.ca_file
        return super().request(*args, **kwargs)
