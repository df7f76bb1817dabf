"""The notebook *relay* has the same ways as the command line: logins, keys, and one mail round the loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from mailops import Ops
from mailops.demo.programs import hand_over
from mailops.demo.world import World, furnish
from mailops.errors import ConfigError, InputRefused
from mailops.submission.users import Users
from mailops.testing import DnsServer
from mailops.widgets import RelayView
from mailops.widgets.faces import Card
from mailops.widgets.form import Form, SecretField

DOMAIN = "acme.example"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Desk, Ops, RelayView, DnsServer]]:
    with DnsServer({DOMAIN: ["TXT v=spf1 -all"]}) as names:
        host, port = names.address
        desk = Desk(tmp_path / "w", toml=f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n[serve]\nport = 0\n')
        desk("company", "domain", DOMAIN)
        desk("company", "add", "acme", "--name", "Acme")
        with closing(desk.ops()) as ops:
            yield desk, ops, RelayView(ops), names


def press(panel: Any, label: str, **values: str) -> str:
    """What a form's button says when its fields hold these."""
    form = next(c for c in panel.cards if isinstance(c, Form) and c._label == label)
    said = form._submit({name: values.get(name, "") for name, _, _ in form.fields})
    return said.text() if isinstance(said, Card) else said


def type_password(view: RelayView, text: str) -> None:
    field = next(c for c in view.users.cards if isinstance(c, SecretField))
    field.receive({"typed": text})
    assert text not in field.text()


def test_logins_are_listed_added_changed_and_removed(page: tuple[Desk, Ops, RelayView, DnsServer]) -> None:
    desk, ops, view, _ = page
    with pytest.raises(InputRefused, match="needs a password"):
        press(view.users, "Save", login="shop")
    with pytest.raises(InputRefused, match="saved with the notebook"):
        press(view.users, "Save", login="shop", password="grapefruit-77")
    type_password(view, "grapefruit-77")
    told = press(view.users, "Save", login="shop", company="acme", senders=f"@{DOMAIN}", per_minute="60")
    assert f"shop may hand mail over as @{DOMAIN}" in told
    assert "shop" in view.users.text()
    [shown] = desk.json("serve", "user", "list")
    assert (shown["company"], shown["messages_per_minute"], shown["kept_as"]) == ("acme", 60, "hash")
    assert Users(ops.logins).check("shop", b"grapefruit-77")
    press(view.users, "Save", login="shop", reports="no", bounces="ours", per_minute="-")
    [changed] = desk.json("serve", "user", "list")
    assert changed == {**shown, "reports": False, "bounces": "ours", "messages_per_minute": None}
    with pytest.raises(ConfigError) as caught:
        press(view.users, "Save", login="shop", company="nobody")
    assert caught.value.code == "serve.login_invalid"
    assert "Type yes" in press(view.users, "Remove", login="shop")
    assert ops.logins.find("shop") is not None
    press(view.users, "Remove", login="shop", yes="yes")
    assert desk.json("serve", "user", "list") == []


def test_the_command_line_changes_what_is_named(page: tuple[Desk, Ops, RelayView, DnsServer]) -> None:
    desk, _, _, _ = page
    desk("serve", "user", "add", "shop", "--sender", f"@{DOMAIN}", "--per-minute", "5", "--generate")
    made = desk.json("serve", "user", "change", "shop", "--company", "acme", "--no-reports")
    assert (made["senders"], made["company"], made["reports"], made["messages_per_minute"]) == (
        [f"@{DOMAIN}"], "acme", False, 5,
    )  # fmt: skip
    made = desk.json("serve", "user", "change", "shop", "--sender", "any", "--company", "")
    assert (made["senders"], made["company"]) == ([], None)
    assert "no login" in desk("serve", "user", "change", "shed", "--no-reports", status=2)
    assert "at least 8 characters" in desk("serve", "user", "add", "shed", stdin=b"a\n", status=2)
    assert "at least 8 characters" in desk("serve", "user", "password", "shop", stdin=b"", status=2)


def test_keys_are_added_rotated_and_retired(page: tuple[Desk, Ops, RelayView, DnsServer]) -> None:
    desk, ops, view, names = page
    for selector in ("s1", "s2"):
        told = press(view.keys, "Add", domain=DOMAIN, selector=selector)
        key = next(k for k in ops.signing.all() if k.selector == selector)
        assert "Nothing is signed with it yet" in told
        assert key.record in told
        with pytest.raises(ConfigError) as caught:
            press(view.keys, "Activate", domain=DOMAIN, selector=selector)
        assert caught.value.code == "dkim.not_published"
        names.add(key.name, {"type": "TXT", "text": key.record})
        assert "signed with" in press(view.keys, "Activate", domain=DOMAIN, selector=selector)
    assert {k["selector"]: k["state"] for k in desk.json("dkim", "list")} == {"s1": "former", "s2": "active"}
    assert "leaves unsigned" in press(view.keys, "Retire", domain=DOMAIN, selector="s2")
    press(view.keys, "Retire", domain=DOMAIN, selector="s1", yes="yes")
    assert [k["selector"] for k in desk.json("dkim", "list")] == ["s2"]
    press(view.keys, "Add", domain=DOMAIN, selector="s3", unseen="yes")
    assert {k["selector"]: k["state"] for k in desk.json("dkim", "list")} == {"s2": "former", "s3": "active"}


def test_the_loop_is_looked_at_with_a_button_and_by_a_job(page: tuple[Desk, Ops, RelayView, DnsServer]) -> None:
    desk, _, view, _ = page
    told = press(view.loop, "Send one round")
    assert "a mail came through unchanged" in told
    assert desk.json("serve", "check")[0]["found"] in told
    done = desk.json("run", "relay", "-p", "loop=true")
    text = Path(done["report"]).read_text("utf-8")
    assert "a mail came through unchanged" in text
    assert "Who may hand mail over" in text


def test_the_demonstration_has_programs_on_this_page(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "w")
    with World() as world, closing(desk.ops()) as ops:
        furnish(ops, world.ports)
        assert hand_over(ops)[0] == 7
        view = RelayView(ops)
        rows = {row["login"]: (row["mails"], row["sent"], row["refused"], row["told"]) for row in view.rows}
        assert rows == {"webshop": (5, 4, 1, 1), "monitor": (2, 2, 0, 0)}
        assert "gone.kim.evans7@bigmail.example" in view.told.text()
        assert "monitor" in view.users.text()
