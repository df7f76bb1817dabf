"""The front door: :class:`SecretStore` implements :class:`mailops.ports.Secrets` over all kinds of references."""

from __future__ import annotations

from pathlib import Path

from ..errors import MailopsError
from ..ports import Clock
from .redact import register
from .references import parse_reference, read_env, read_file, read_keyring
from .secret import Secret
from .vault import Vault


class SecretStore:
    """Resolves references for one workspace. Everything it reveals is known to the redactor from then on."""

    def __init__(self, workspace: Path | str, *, clock: Clock | None = None) -> None:
        self.workspace = Path(workspace)
        self.vault = Vault(self.workspace / "secrets", clock=clock)

    def reveal(self, reference: str) -> str:
        """The value behind a reference, for immediate use.

        Raises :class:`mailops.errors.ConfigError` (not a reference, unsafe file or keyring) or
        :class:`mailops.errors.NotFound`. A relative ``file:`` path starts at the workspace.
        """
        found = parse_reference(reference)
        if found.scheme == "env":
            value = read_env(found.name)
        elif found.scheme == "file":
            value = read_file(self.workspace / Path(found.name).expanduser())
        elif found.scheme == "keyring":
            value = read_keyring(found.name)
        else:
            value = self.vault.get(found.name).reveal()
        register(value)
        return value

    def get(self, reference: str) -> Secret:
        """As :meth:`reveal`, wrapped so that it masks itself."""
        return Secret(self.reveal(reference))

    def trouble(self, reference: str) -> MailopsError | None:
        """What keeps this reference from giving a value, or None when all is well; the value is not handed out."""
        try:
            self.reveal(reference)
        except MailopsError as error:
            return error
        return None
