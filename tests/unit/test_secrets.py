"""Secret, references and the vault."""

from __future__ import annotations

import base64
import copy
import json
import multiprocessing
import os
import pickle
import stat
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from mailops.errors import ConfigError, MailopsError, NotFound, StoreError
from mailops.secrets import Secret, SecretStore, Vault, is_reference, looks_like_secret, parse_reference
from mailops.secrets.references import keyring_backends, read_keyring
from mailops.testing import ManualClock

VALUE = "corr3ct-horse-battery-staple"


@pytest.fixture(autouse=True)
def _no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)


# --- Secret -----------------------------------------------------------------------------------------------------------


def test_a_secret_masks_itself_everywhere() -> None:
    secret = Secret(VALUE)

    @dataclass
    class Holder:
        password: Secret

    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>8}", secret._repr_html_()]
    shown += [repr(Holder(secret)), repr(asdict(Holder(secret))), json.dumps({"s": secret}, default=str)]
    assert not [text for text in shown if VALUE in text]
    assert secret.reveal() == VALUE


def test_a_secret_cannot_be_pickled_changed_or_serialised() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    with pytest.raises(AttributeError):
        secret.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert copy.deepcopy(secret) is secret
    with pytest.raises(TypeError):
        Secret(None)  # type: ignore[arg-type]


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["env:NAME", "file:/run/secrets/x", "keyring:mailops/smtp", "vault:oauth/ann@example.com"]
)
def test_references_are_read_and_written_back(text: str) -> None:
    assert str(parse_reference(text)) == text
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "env:",
        "env:A-B",
        "keyring:onlyservice",
        "keyring:/x",
        "vault:../key",
        "vault:",
        "cmd:ls",
        "vault:a\nb",
    ],
)
def test_other_texts_are_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_reference(text)
    assert caught.value.code == "secrets.not_a_reference"
    if len(text) > 6:
        assert text not in json.dumps(caught.value.as_dict())


def test_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILOPS_T_PASSWORD", VALUE)
    store = SecretStore(tmp_path)
    assert store.reveal("env:MAILOPS_T_PASSWORD") == VALUE
    assert store.get("env:MAILOPS_T_PASSWORD") == Secret(VALUE)
    with pytest.raises(NotFound, match="not set"):
        store.reveal("env:MAILOPS_T_MISSING")


def test_a_private_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(VALUE + "\n")
    path.chmod(0o600)
    store = SecretStore(tmp_path)
    assert store.reveal(f"file:{path}") == VALUE
    assert store.reveal("file:password") == VALUE  # relative to the workspace


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text(VALUE)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        SecretStore(tmp_path).reveal(f"file:{path}")
    assert caught.value.code == "secrets.file_open_to_others"
    assert "chmod 600" in caught.value.fix


def test_unusable_files_say_why(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    cases = {"empty": b"", "binary": b"\xff\xfe", "large": b"x" * 70_000}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    codes = {}
    for name in (*cases, "pipe", "absent"):
        trouble = store.trouble(f"file:{name}")
        assert trouble is not None
        codes[name] = trouble.code
    assert codes == {
        "empty": "secrets.file_empty",
        "binary": "secrets.file_text",
        "large": "secrets.file_size",
        "pipe": "secrets.file_kind",
        "absent": "secrets.file_missing",
    }


# --- keyring ----------------------------------------------------------------------------------------------------------


class _Backend:
    def __init__(self, values: dict[tuple[str, str], str]) -> None:
        self.values = values

    def get_password(self, service: str, user: str) -> str | None:
        return self.values.get((service, user))


class _SecretService(_Backend):
    pass


_Plaintext = type("PlaintextKeyring", (_Backend,), {"__module__": "keyrings.alt.file"})
_Fail = type("Keyring", (_Backend,), {"__module__": "keyring.backends.fail"})
_Chainer = type("ChainerBackend", (), {"__module__": "keyring.backends.chainer"})


def test_a_protecting_keyring_is_read() -> None:
    backend = _SecretService({("mailops", "smtp/main"): VALUE})
    assert read_keyring("mailops/smtp/main", backend) == VALUE
    with pytest.raises(NotFound) as caught:
        read_keyring("mailops/other", backend)
    assert caught.value.code == "secrets.keyring_missing"


@pytest.mark.parametrize("kind", [_Plaintext, _Fail])
def test_plain_text_and_failing_keyrings_are_refused(kind: type[_Backend]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_keyring("mailops/smtp", kind({("mailops", "smtp"): VALUE}))
    assert caught.value.code == "secrets.keyring_refused"
    assert VALUE not in json.dumps(caught.value.as_dict())


def test_a_chain_is_judged_link_by_link() -> None:
    chain = _Chainer()
    chain.backends = [_Plaintext({("m", "x"): "plain"}), _SecretService({("m", "x"): VALUE})]
    assert read_keyring("m/x", chain) == VALUE
    chain.backends = [_Plaintext({("m", "x"): "plain"})]
    with pytest.raises(ConfigError):
        read_keyring("m/x", chain)


def test_the_librarys_own_failing_back_end_is_refused() -> None:
    fail = pytest.importorskip("keyring.backends.fail")
    with pytest.raises(ConfigError, match="keyring"):
        keyring_backends(fail.Keyring())


def test_a_keyring_that_raises_is_a_clear_error() -> None:
    class Locked(_SecretService):
        def get_password(self, service: str, user: str) -> str | None:
            raise RuntimeError(VALUE)

    with pytest.raises(ConfigError) as caught:
        read_keyring("m/x", Locked({}))
    assert VALUE not in json.dumps(caught.value.as_dict())


# --- the vault --------------------------------------------------------------------------------------------------------


def test_the_vault_keeps_values_encrypted_and_private(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "secrets")
    assert str(vault.put("smtp/main", VALUE)) == "vault:smtp/main"
    assert SecretStore(tmp_path).reveal("vault:smtp/main") == VALUE
    for path in (tmp_path / "secrets").rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        if path.is_file():
            assert VALUE.encode() not in path.read_bytes()
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert not list((tmp_path / "secrets").glob(".*"))  # no temporary left


def test_names_dates_and_removal(tmp_path: Path) -> None:
    clock = ManualClock()
    vault = Vault(tmp_path, clock=clock)
    vault.put("b", "2222")
    vault.put("a", Secret("1111"))
    assert [(e.name, e.changed_at) for e in vault.entries()] == [("a", clock.now()), ("b", clock.now())]
    assert vault.delete("a") is True
    assert vault.delete("a") is False
    assert vault.find("a") is None
    with pytest.raises(NotFound) as caught:
        vault.get("a")
    assert caught.value.code == "secrets.vault_missing"
    with pytest.raises(ConfigError):
        vault.put("b", "")


def test_two_writes_of_the_same_value_differ(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.put("a", VALUE)
    first = (tmp_path / "vault").read_bytes()
    vault.put("a", VALUE)
    assert (tmp_path / "vault").read_bytes() != first


def test_the_key_may_live_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("MAILOPS_VAULT_KEY", key)
    Vault(tmp_path / "s").put("a", VALUE)
    assert not (tmp_path / "s" / "key").exists()
    outside = tmp_path / "outside.key"
    outside.write_text(key)
    outside.chmod(0o600)
    monkeypatch.setenv("MAILOPS_VAULT_KEY", f"file:{outside}")
    assert Vault(tmp_path / "s").get("a").reveal() == VALUE
    other = base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv("MAILOPS_VAULT_KEY", f"{other},{key}")  # the first writes, both read
    Vault(tmp_path / "s").put("b", VALUE)
    monkeypatch.setenv("MAILOPS_VAULT_KEY", other)
    assert Vault(tmp_path / "s").get("a").reveal() == VALUE


@pytest.mark.parametrize("bad", ["short", "c2hvcnQ=", "!!!"])
def test_a_key_of_the_wrong_form_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("MAILOPS_VAULT_KEY", bad)
    with pytest.raises(ConfigError) as caught:
        Vault(tmp_path).put("a", VALUE)
    assert caught.value.code == "secrets.key_form"
    assert bad not in str(caught.value.facts)


def test_wrong_key_missing_key_and_damage_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(tmp_path)
    vault.put("a", VALUE)
    key = (tmp_path / "key").read_bytes()
    monkeypatch.setenv("MAILOPS_VAULT_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.raises(StoreError) as caught:
        vault.get("a")
    assert caught.value.code == "secrets.vault_key"
    monkeypatch.delenv("MAILOPS_VAULT_KEY")
    (tmp_path / "key").unlink()
    with pytest.raises(StoreError, match="its key is not"):
        vault.put("b", "never a new key beside an old vault")
    assert not (tmp_path / "key").exists()
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "key").chmod(0o600)
    assert vault.get("a").reveal() == VALUE
    data = bytearray((tmp_path / "vault").read_bytes())
    data[-1] ^= 1
    (tmp_path / "vault").write_bytes(bytes(data))
    with pytest.raises(StoreError):
        vault.get("a")
    (tmp_path / "vault").write_bytes(b"rubbish")
    with pytest.raises(StoreError) as caught:
        vault.get("a")
    assert caught.value.code == "secrets.vault_damaged"


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.put("a", VALUE)
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        vault.get("a")
    assert caught.value.code == "secrets.file_open_to_others"


def test_the_key_can_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(tmp_path)
    vault.put("a", VALUE)
    old = (tmp_path / "key").read_text()
    vault.rotate_key()
    assert (tmp_path / "key").read_text() != old
    assert len((tmp_path / "key").read_text().split()) == 1
    assert vault.get("a").reveal() == VALUE
    monkeypatch.setenv("MAILOPS_VAULT_KEY", old.strip())
    with pytest.raises(StoreError):
        vault.get("a")
    with pytest.raises(ConfigError) as caught:
        vault.rotate_key()
    assert caught.value.code == "secrets.key_elsewhere"


def test_update_is_all_or_nothing(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    assert vault.update("t", lambda before: (before or "") + "1111") == "1111"
    assert vault.update("t", lambda before: (before or "") + "2") == "11112"

    def broken(before: str | None) -> str:
        raise ValueError("the network went away")

    with pytest.raises(ValueError):
        vault.update("t", broken)
    assert vault.get("t").reveal() == "11112"
    assert vault.update("t", lambda before: None) is None
    assert vault.find("t") is None


def test_a_held_name_can_be_used_by_its_holder(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    with vault.hold("a"):
        vault.update("a", lambda before: "inner")
        with vault.hold("a"):
            pass
        vault.put("b", "another name is free")
    assert vault.get("a").reveal() == "inner"


def test_a_name_held_elsewhere_is_reported_not_waited_for_forever(tmp_path: Path) -> None:
    holder, other = Vault(tmp_path), Vault(tmp_path, lock_seconds=0.05)
    with holder.hold("a"):
        caught: list[MailopsError] = []

        def attempt() -> None:
            try:
                other.update("a", lambda before: "x")
            except MailopsError as error:
                caught.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(timeout=30)
        assert [error.code for error in caught] == ["secrets.locked"]
    assert holder.find("a") is None


def _count(folder: str, times: int) -> None:
    vault = Vault(Path(folder))
    for _ in range(times):
        vault.update("counter", lambda before: str(int(before or 0) + 1))
        vault.put(f"own-{os.getpid()}", "someother value")


def test_updates_of_several_processes_lose_nothing(tmp_path: Path) -> None:
    Vault(tmp_path).put("counter", "0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(tmp_path), 15)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    vault = Vault(tmp_path)
    assert vault.get("counter").reveal() == "45"
    assert len(vault.entries()) == 4


# --- values where references belong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("ya29." + "a0AfB_byC" * 3, True),
        ("GOCSPX-" + "abcDEF123456", True),
        ("abc8Q~" + "Zz0_" * 8 + "ab", True),
        ("eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln", True),
        ("kT9vQ2mXz7LrB4nWc8HjP1sDfG6yAe3U", True),
        ("vault:oauth/ann@example.com", False),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", False),
        ("ann@example.com", False),
        ("reports/2026-11/summary", False),
        ("notifications", False),
        ("a-quite-long-notebook-parameter-name", False),
        ("sha256" + "0123456789abcdef" * 4, False),
    ],
)
def test_values_that_look_like_secrets(text: str, is_one: bool) -> None:
    assert bool(looks_like_secret(text)) is is_one


def test_importing_secrets_loads_no_cryptography() -> None:
    import subprocess

    code = (
        "import sys, mailops.secrets; print(sorted(m for m in ('cryptography', 'keyring', 'msal') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"
