"""The keys of thread tokens (:mod:`mailops.model.thread_token`): whether Reply-To carries one, and what opens it."""

from __future__ import annotations

from ..bounces.return_path import SigningKeys
from ..model.thread_token import FORMER_PARAMETER, KEY_PARAMETER, ThreadToken, read, sign


class ThreadTokens(SigningKeys):
    """Puts signed tokens into Reply-To, or leaves it plain. The domain must take mail for ``help+anything@``."""

    vault_name, parameter, former_parameter = "thread-token", KEY_PARAMETER, FORMER_PARAMETER
    read = "Thread tokens are read"

    def tagged(self, address: str, token: ThreadToken) -> str:
        """The address with a token, where tokens are on."""
        key = self.key()
        return sign(address, token, key) if key else address

    def opened(self, address: str) -> tuple[str, ThreadToken] | None:
        """The address without the token that we signed, and what it says; None for any other address."""
        if "+r" not in address:
            return None
        return next((found for key in self.reading_keys() if (found := read(address, key))), None)
