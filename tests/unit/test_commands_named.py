"""Every command that a text of mailops names exists: fixes of errors, rows of refusals, guides, findings."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mailops
from mailops.errors import NotFound
from mailops.oauth.account import AccountStore
from mailops.oauth.calendar import password_servers
from mailops.secrets import Vault

ROOT = Path(mailops.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
_CALL = re.compile(r"\bmailops ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")


def _tree() -> set[str]:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name for name, _ in module.commands()}


def _texts() -> Iterator[tuple[str, str]]:
    """The strings of the source, as they stand there; docstrings too."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "mailops " in node.value:
                yield str(path.relative_to(ROOT)), node.value
    for path in sorted((ROOT / "providers" / "data").rglob("*.toml")):
        yield path.name, path.read_text("utf-8")
    for path in sorted(DOCS.rglob("*.md")):
        yield path.name, path.read_text("utf-8")


def _wrong(text: str, known: set[str]) -> list[str]:
    """The commands named in a text that there are not. A word after mailops that is no command is prose."""
    groups = {name.split()[0] for name in known if " " in name} - known
    return [
        f"mailops {said}" for said in _CALL.findall(text) if said.split()[0] in groups and said not in known | groups
    ]


def test_every_command_that_is_named_exists() -> None:
    known = _tree()
    assert {"connect microsoft", "doctor", "explain error"} <= known
    assert [(where, one) for where, text in _texts() for one in _wrong(text, known)] == []


def test_a_command_that_there_is_not_is_found() -> None:
    assert _wrong("Run: mailops connect outlook.", _tree()) == ["mailops connect outlook"]
    assert _wrong("mailops renews the token once", _tree()) == []


def test_the_fix_of_a_mailbox_that_is_not_connected_can_be_typed(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        AccountStore(Vault(tmp_path)).load("ann@example.com")
    named = re.findall(r"mailops ([a-z]+ [a-z]+)", caught.value.fix)
    assert named
    assert set(named) <= _tree()


@pytest.mark.parametrize("provider", ["outlook", "gmail"])
def test_the_fix_of_a_password_that_is_retired_can_be_typed(provider: str) -> None:
    from datetime import date

    from mailops.model.setup import Authentication, Server
    from mailops.providers import PROVIDERS

    server = Server("s", "S", PROVIDERS[provider].smtp.name, authentication=Authentication.LOGIN, login="a@b.example")
    for finding in password_servers([server], date(2027, 3, 1)):
        assert set(re.findall(r"mailops ([a-z]+ [a-z]+)", finding.fix)) <= _tree()
