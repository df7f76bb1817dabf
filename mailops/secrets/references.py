"""Secret references and where they lead: environment, a private file, the system's keyring. (The vault is apart.)

A reference is ``scheme:rest``. What the readers refuse, they refuse by default and say why: a file that others on this
machine can read, a keyring that keeps its values in plain text. No error ever repeats a value.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingExtra, NotFound
from ..platforms import has_owners

SCHEMES = ("env", "file", "keyring", "vault")
MAX_FILE = 65_536
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)  # a pipe of that name must not hang us; Windows has none in folders
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VAULT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/+-]{0,199}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; ``str()`` gives it back as text."""

    scheme: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


def is_reference(text: str) -> bool:
    """Whether the text has the form of a secret reference."""
    try:
        parse_reference(text)
    except ConfigError:
        return False
    return True


def parse_reference(text: str) -> Reference:
    """Read ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/NAME`` or ``vault:NAME``.

    Raises :class:`ConfigError` ``secrets.not_a_reference``; the text is not repeated, it may be the secret itself.
    """
    scheme, colon, name = text.partition(":")
    good = False
    if colon and scheme in SCHEMES and name.isprintable():
        if scheme == "env":
            good = bool(_ENV.fullmatch(name))
        elif scheme == "vault":
            good = bool(_VAULT.fullmatch(name)) and ".." not in name
        elif scheme == "keyring":
            service, slash, user = name.partition("/")
            good = bool(service and slash and user)
        else:
            good = bool(name.strip())
    if not good:
        raise ConfigError(
            "This is not a secret reference.",
            code="secrets.not_a_reference",
            facts={"scheme": scheme if colon and scheme in SCHEMES else "(none)", "known": list(SCHEMES)},
            fix="Store the secret with `mailops secrets set NAME` and use vault:NAME (or env:, file:, keyring:).",
        )
    return Reference(scheme, name)


def read_env(name: str) -> str:
    """The environment variable's value. Raises :class:`NotFound` when unset or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise NotFound(
            f"The environment variable {name} is not set.",
            code="secrets.env_missing",
            facts={"reference": f"env:{name}"},
            fix=f"Set {name} in the environment that starts mailops (for a service: in its unit file).",
        )
    return value


def read_file(path: Path) -> str:
    """The content of a private file, without the line end after it.

    Refuses what is not a regular file, is readable or writable by group or others, belongs to somebody else, is larger
    than 64 KiB, or is not UTF-8. Who else may read it is not asked where the platform does not say (Windows).
    """
    facts: dict[str, Any] = {"reference": f"file:{path}"}
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    except OSError as error:
        raise NotFound(
            "The secret's file cannot be opened.",
            code="secrets.file_missing",
            facts={**facts, "reason": error.strerror or str(error)},
            fix="Check the path, and that the user who runs mailops may read the file.",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise ConfigError(
                "The secret's path is not a regular file.",
                code="secrets.file_kind",
                facts=facts,
                fix="Name the file that holds the secret.",
            )
        if has_owners() and (seen.st_mode & 0o077 or seen.st_uid not in (os.geteuid(), 0)):
            raise ConfigError(
                "Other users of this machine can read the secret's file.",
                code="secrets.file_open_to_others",
                facts={**facts, "mode": f"{stat.S_IMODE(seen.st_mode):04o}", "owner": seen.st_uid},
                fix=f"chmod 600 {path} and let it belong to the user who runs mailops; "
                "then change the secret, others may have seen it.",
            )
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ConfigError(
            "The secret's file is larger than 64 KiB.", code="secrets.file_size", facts=facts, fix="Name another file."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            "The secret's file is not UTF-8 text.",
            code="secrets.file_text",
            facts=facts,
            fix="Save it as UTF-8 text; keys and certificates as PEM.",
        ) from error
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise NotFound("The secret's file is empty.", code="secrets.file_empty", facts=facts, fix="Write the secret.")
    return value


# --- keyring ----------------------------------------------------------------------------------------------------------


def keyring_trouble(backend: object) -> str | None:
    """Why this keyring back end is not used, or None. Judged by class, as the library itself picks silently."""
    kind = type(backend)
    module, name = kind.__module__, kind.__qualname__
    if module.startswith(("keyring.backends.fail", "keyring.backends.null")):
        return "no keyring is available here"
    if "plaintext" in name.lower():
        return f"{name} keeps its values in plain text"
    if module.startswith("keyrings.alt"):
        return f"{module}.{name} is one of the alternative back ends that do not protect values by themselves"
    return None


def keyring_backends(backend: Any = None) -> list[Any]:
    """The usable back ends of the system's keyring, best first.

    Raises :class:`MissingExtra` without the ``keyring`` package, :class:`ConfigError` ``secrets.keyring_refused`` when
    only plain-text or failing back ends are there.
    """
    if backend is None:
        try:
            import keyring
        except ImportError as error:
            raise MissingExtra(
                "The package keyring is not installed.",
                code="extra.keyring",
                fix="pip install keyring, or use vault:NAME, file:PATH or env:NAME instead.",
            ) from error
        backend = keyring.get_keyring()
    parts = list(backend.backends) if type(backend).__module__ == "keyring.backends.chainer" else [backend]
    judged = [(part, keyring_trouble(part)) for part in parts]
    usable = [part for part, trouble in judged if trouble is None]
    if not usable:
        raise ConfigError(
            "This machine's keyring is not used, for it would not protect the secret.",
            code="secrets.keyring_refused",
            facts={"reasons": [trouble for _, trouble in judged] or ["no keyring is available here"]},
            fix="Use vault:NAME (encrypted in the workspace), or set up a system keyring such as Secret Service.",
        )
    return usable


def read_keyring(name: str, backend: Any = None) -> str:
    """The value behind ``SERVICE/NAME`` (the service ends at the first slash)."""
    service, _, user = name.partition("/")
    for part in keyring_backends(backend):
        try:
            value = part.get_password(service, user)
        except Exception as error:  # back ends raise what they like: locked, no session bus
            raise ConfigError(
                "The keyring did not answer.",
                code="secrets.keyring_error",
                facts={"reference": f"keyring:{name}", "reason": type(error).__name__},
                fix="Unlock the keyring; for a service without a desktop use vault: or file: instead.",
            ) from error
        if value:
            return str(value)
    raise NotFound(
        "The keyring has no such entry.",
        code="secrets.keyring_missing",
        facts={"reference": f"keyring:{name}"},
        fix=f"Add it: keyring set {service} {user}",
    )


# --- values where a reference belongs ---------------------------------------------------------------------------------

PROVIDER_KEYS = re.compile(
    r"\bSG\.[\w-]{16,40}\.[\w-]{16,80}|(?<![\w-])key-[0-9a-f]{32}\b|\bA(?:KIA|SIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,80}|\bxox[abprs]-[\w-]{10,100}|\bsk_live_[A-Za-z0-9]{16,80}|\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{16,60}"
    r"|\bxkeysib-[0-9a-f]{64}-\w{16}\b"
)
"""Keys that providers mark by their beginning: SendGrid, Mailgun, Amazon, GitHub, Slack, Stripe, Resend, Brevo."""
_PREFIXES = (
    (PROVIDER_KEYS, "a provider's key"),
    (re.compile(r"ya29\.|1//[\w-]{10}|GOCSPX-"), "a Google token or client secret"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\."), "a JSON web token"),
    (re.compile(r"[\w~.-]{3}\dQ~[\w~.-]{30,}"), "a Microsoft client secret"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
)


def looks_like_secret(text: str) -> str | None:
    """What secret this value looks like, or None; for refusing values where references belong (job parameters).

    Known prefixes first; then long words of mixed characters with more than 4 bits of entropy each. Identifiers
    (GUIDs, hashes in hex, paths, addresses, references) pass.
    """
    if is_reference(text):
        return None
    for pattern, meaning in _PREFIXES:
        if pattern.match(text):
            return meaning
    if not 24 <= len(text) <= 4096 or re.search(r"[\s/@:\\]", text) or re.fullmatch(r"[0-9A-Fa-f-]+", text):
        return None
    kinds = sum(bool(re.search(kind, text)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
    return "a random secret" if kinds == 3 and entropy > 4.0 else None
