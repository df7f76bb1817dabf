"""The vault: named secrets, encrypted in the workspace's ``secrets/`` folder.

::

    secrets/              0700
      vault               header line, 12-byte nonce, AES-256-GCM over JSON {name: {"value", "at"}}; header is bound in
      key                 0600, one base64 key a line: the first encrypts, all decrypt (so a key change can be cut off)
      lock, locks/…       locked files: one for writing, one a name for read–refresh–write

Every write goes to a new file that is synced and renamed, so readers need no lock and see the old or the new state. The
writing lock is short. :meth:`Vault.hold` keeps a *name* for longer: a rotating refresh token is read, redeemed over the
network and replaced by one process at a time, because providers revoke the whole family when one is used twice.

The key comes from ``MAILOPS_VAULT_KEY`` (a key, several separated by commas, or a ``file:``/``keyring:`` reference) or
from the key file, which is made at the first write. With the key file beside it the vault protects against copies of
the vault alone (backups of single files, support bundles, screens); with the key elsewhere, against the whole folder.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets as randomness
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..clock import SystemClock
from ..errors import ConfigError, NotFound, StoreError
from ..locks import try_lock
from ..platforms import flush_folder
from ..ports import Clock
from .redact import register
from .references import Reference, parse_reference, read_file, read_keyring
from .secret import Secret

HEADER = b"mailops-vault-1\n"
KEY_VARIABLE = "MAILOPS_VAULT_KEY"
MAX_VAULT = 64 * 1024 * 1024
_NONCE = 12


@dataclass(frozen=True, slots=True)
class VaultEntry:
    """A name in the vault and when its value last changed."""

    name: str
    changed_at: datetime


class Vault:
    """The encrypted secrets in ``folder``. Cheap to make; reads the file at every call, so processes see each other."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, lock_seconds: float = 60.0) -> None:
        self.folder = Path(folder)
        self.lock_seconds = lock_seconds
        self._clock: Clock = clock or SystemClock()
        self._held = threading.local()

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> Secret:
        """The secret of this name. Raises :class:`NotFound` ``secrets.vault_missing``."""
        entry = self._read().get(_checked(name))
        if entry is None:
            raise NotFound(
                f"The vault has no secret named {name!r}.",
                code="secrets.vault_missing",
                facts={"reference": f"vault:{name}"},
                fix=f"Store it: mailops secrets set {name}",
            )
        value = str(entry["value"])
        register(value)
        return Secret(value)

    def find(self, name: str) -> Secret | None:
        """As :meth:`get`, with None where there is nothing."""
        return self.get(name) if _checked(name) in self._read() else None

    def entries(self) -> list[VaultEntry]:
        """The names with their dates, sorted; no values."""
        return [VaultEntry(name, datetime.fromisoformat(e["at"])) for name, e in sorted(self._read().items())]

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, name: str, value: str | Secret) -> Reference:
        """Store a value under a name (replacing what was there); gives its reference."""
        text = value.reveal() if isinstance(value, Secret) else value
        if not text:
            raise ConfigError("An empty secret is not stored.", code="secrets.empty", facts={"name": name})
        register(text)
        self._change(_checked(name), text)
        return Reference("vault", name)

    def delete(self, name: str) -> bool:
        """Remove a secret; whether there was one."""
        if _checked(name) not in self._read():
            return False
        self._change(name, None)
        return True

    def update(self, name: str, change: Callable[[str | None], str | None]) -> str | None:
        """Replace a value by ``change(present)`` while no other process or thread can; gives the new value.

        ``change`` may take its time (a token refresh): only this name is held. None removes the entry. When ``change``
        raises, nothing is written.
        """
        with self.hold(name):
            found = self.find(name)
            before = found.reveal() if found else None
            after = change(before)
            if after is not None and after != before:
                self.put(name, after)
            elif after is None and before is not None:
                self.delete(name)
            return after

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep every other process and thread out of this name. May be nested within one thread."""
        held: dict[str, int] = self._held.__dict__.setdefault("names", {})
        if held.get(_checked(name)):
            held[name] += 1
            try:
                yield
            finally:
                held[name] -= 1
            return
        folder = self._folder() / "locks"
        folder.mkdir(mode=0o700, exist_ok=True)
        with self._locked(folder / hashlib.sha256(name.encode()).hexdigest()[:32], name):
            held[name] = 1
            try:
                yield
            finally:
                del held[name]

    def _change(self, name: str, value: str | None) -> None:
        with self._locked(self._folder() / "lock", name):
            content = self._read()
            if value is None:
                content.pop(name, None)
            else:
                content[name] = {"value": value, "at": self._clock.now().isoformat()}
            self._write(content, self._keys(make=True)[0])

    def rotate_key(self) -> None:
        """Encrypt everything anew with a new key. Safe against a cut at any point: both keys stand until the end."""
        if os.environ.get(KEY_VARIABLE):
            raise ConfigError(
                f"The vault's key comes from {KEY_VARIABLE}, so mailops cannot change it.",
                code="secrets.key_elsewhere",
                fix=f"Put NEWKEY,OLDKEY into {KEY_VARIABLE}, write any secret, then leave only NEWKEY.",
            )
        with self._locked(self._folder() / "lock", "key"):
            old = self._keys(make=True)
            new = randomness.token_bytes(32)
            self._replace("key", _key_lines([new, *old]))
            self._write(self._read(), new)
            self._replace("key", _key_lines([new]))

    # --- the file -----------------------------------------------------------------------------------------------------

    def _read(self) -> dict[str, dict[str, str]]:
        path = self.folder / "vault"
        for attempt in (1, 2):
            try:
                data = path.read_bytes() if path.stat().st_size <= MAX_VAULT else b""
            except FileNotFoundError:
                return {}
            except OSError as error:
                raise StoreError(
                    "The vault cannot be read.",
                    code="secrets.vault_unreadable",
                    facts={"file": str(path), "reason": error.strerror or str(error)},
                    fix="Check owner and mode of the workspace's secrets folder.",
                ) from error
            plain = self._decrypt(data, path, last=attempt == 2)
            if plain is not None:
                break
        content: dict[str, dict[str, str]] = json.loads(plain or b"{}")
        return content

    def _decrypt(self, data: bytes, path: Path, *, last: bool) -> bytes | None:
        """The plain content; None asks for a second look (a key change may stand between file and key)."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        facts = {"file": str(path), "bytes": len(data)}
        if not data.startswith(HEADER) or len(data) < len(HEADER) + _NONCE + 16:
            raise StoreError(
                "The vault file is damaged or of a version that this mailops does not know.",
                code="secrets.vault_damaged",
                facts=facts,
                fix="Put the file back from a backup, or remove it and connect the mailboxes again.",
            )
        body = data[len(HEADER) :]
        for key in self._keys(make=False):
            try:
                return AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], HEADER)
            except InvalidTag:
                continue
        if not last:
            return None
        raise StoreError(
            "The vault does not open with this key.",
            code="secrets.vault_key",
            facts=facts,
            fix=f"Use the key this vault was written with ({KEY_VARIABLE} or the file secrets/key beside it); "
            "if the key is right, the file is damaged: put it back from a backup.",
        )

    def _write(self, content: dict[str, dict[str, str]], key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = randomness.token_bytes(_NONCE)
        plain = json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
        self._replace("vault", HEADER + nonce + AESGCM(key).encrypt(nonce, plain, HEADER))

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file of the folder whole or not at all (new file, sync, rename, sync of the folder)."""
        folder = self._folder()
        temporary = folder / f".{name}.{os.getpid()}.{randomness.token_hex(4)}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, folder / name)
            flush_folder(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(
                "The vault cannot be written; it still holds what it held.",
                code="secrets.vault_not_written",
                facts={"folder": str(folder), "reason": error.strerror or str(error)},
            ) from error

    def _folder(self) -> Path:
        """The folder, made where it is missing, closed to others where it is open."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = stat.S_IMODE(self.folder.stat().st_mode)
            if mode & 0o077:
                self.folder.chmod(0o700)
        except OSError as error:
            raise StoreError(
                "The workspace's secrets folder cannot be used.",
                code="secrets.folder",
                facts={"folder": str(self.folder), "reason": error.strerror or str(error)},
                fix="Let it belong to the user who runs mailops, with mode 0700.",
            ) from error
        return self.folder

    # --- keys and locks -----------------------------------------------------------------------------------------------

    def _keys(self, *, make: bool) -> list[bytes]:
        given = os.environ.get(KEY_VARIABLE, "").strip()
        if given:
            return _parse_keys(_resolve(given), KEY_VARIABLE)
        path = self.folder / "key"
        if not path.exists():
            if not make:
                raise StoreError(
                    "The vault is here, but its key is not.",
                    code="secrets.vault_key",
                    facts={"expected": str(path), "or": KEY_VARIABLE},
                    fix=f"Put the key file back, or set {KEY_VARIABLE}; without the key, connect the mailboxes again.",
                )
            if (self.folder / "vault").exists():  # never a new key beside a vault that needs the old one
                return self._keys(make=False)
            self._replace("key", _key_lines([randomness.token_bytes(32)]))
        return _parse_keys(read_file(path), str(path))

    @contextmanager
    def _locked(self, path: Path, name: str) -> Iterator[None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            end = time.monotonic() + self.lock_seconds
            pause = 0.002
            while not try_lock(descriptor):
                if time.monotonic() >= end:
                    raise StoreError(
                        f"Another process keeps the secret {name!r} busy.",
                        code="secrets.locked",
                        facts={"name": name, "waited_seconds": self.lock_seconds},
                        fix="Look for a hanging mailops process (`fuser` on the lock file names it) and end it.",
                    )
                time.sleep(pause)
                pause = min(pause * 2, 0.1)
            yield
        finally:
            os.close(descriptor)  # closing gives the lock back


def _rename(new: Path, name: Path) -> None:
    """Put the new file in the old one's place. Windows refuses that while somebody reads the old one, which takes no
    longer than :meth:`Vault._read`; a token that its provider has changed must not be lost to that."""
    for pause in (0.01, 0.05, 0.2, 0.5):
        try:
            os.replace(new, name)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) is None:
                raise
            time.sleep(pause)
    os.replace(new, name)


def _checked(name: str) -> str:
    return parse_reference(f"vault:{name}").name


def _resolve(given: str) -> str:
    """``MAILOPS_VAULT_KEY`` itself, or what its reference leads to."""
    if given.startswith("file:"):
        return read_file(Path(given.removeprefix("file:")).expanduser())
    if given.startswith("keyring:"):
        return read_keyring(parse_reference(given).name)
    return given


def _key_lines(keys: list[bytes]) -> bytes:
    return b"".join(base64.urlsafe_b64encode(key) + b"\n" for key in keys)


def _parse_keys(text: str, where: str) -> list[bytes]:
    keys: list[bytes] = []
    for word in text.replace(",", "\n").split():
        register(word)
        try:
            key = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != 32:
            raise ConfigError(
                "The vault's key is not 32 bytes in base64.",
                code="secrets.key_form",
                facts={"where": where},
                fix='Make one: python -c "import base64,os;print(base64.b64encode(os.urandom(32)).decode())"',
            )
        keys.append(key)
    if not keys:
        raise ConfigError("The vault's key is empty.", code="secrets.key_form", facts={"where": where})
    return keys
