"""What leaves is signed after the rewrite; what the rewrite broke is taken off and told; keys change without a gap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from peers import missing
from relay_kit import told
from typer.testing import CliRunner

from mailops import Ops
from mailops.cli.app import app
from mailops.dns.dkim_message import sign_message, verify_message
from mailops.errors import ConfigError
from mailops.model.mail import Submission
from mailops.model.setup import BouncePolicy
from mailops.testing import DnsServer, SmtpServer
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.testing.dns_world import dns_world

UNSUBSCRIBE = "List-Unsubscribe: <https://acme.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
MAIL = "From: {sender}\r\nTo: bob@x.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n{more}\r\nHello  \r\n\r\n"


@pytest.fixture
def world(ops_factory: Callable[..., Ops]) -> Iterator[tuple[Ops, SmtpServer]]:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        yield ops, smtp


def hand_over(ops: Ops, sender: str = "Ann <ann@acme.example>", *, raw: bytes | None = None, more: str = "") -> None:
    raw = raw or MAIL.format(sender=sender, more=more).encode()
    path = "x@other.example"
    ops.queue.submit(
        Submission(raw=raw, envelope_to=("bob@x.example",), return_path=path, bounces=BouncePolicy.KEEP, origin="smtp")
    )


def left(ops: Ops, smtp: SmtpServer) -> bytes:
    before = len(smtp.messages)
    ops.queue.run()
    [got] = smtp.messages[before:]
    return bytes(got.data)


def verified(message: bytes, *records: tuple[str, str]) -> list[str]:
    with dns_world({name: [{"type": "TXT", "text": value}] for name, value in records}) as (_, run):
        return [one.result for one in run.do(lambda resolver: verify_message(resolver, message))]


def at_of(server: DnsServer) -> str:
    host, port = server.address
    return f"{host}:{port}"


def tags(message: bytes) -> str:
    return message.split(b"\r\n\r\n")[0].decode("ascii")


@pytest.mark.req("DKIM-01")
@pytest.mark.parametrize("sender", ["Ann <ann@acme.example>", "Max <max@other.example>"])
def test_what_leaves_is_signed_for_the_from_that_leaves(world: Any, sender: str) -> None:
    ops, smtp = world
    key = ops.signing.add("acme.example", "s1", unseen=True)
    hand_over(ops, sender, more=UNSUBSCRIBE)
    message = left(ops, smtp)
    assert verified(message, (key.name, key.record)) == ["pass"]
    head = tags(message).lower().replace("\r\n ", "")
    covered = head.split("h=")[1].split(";")[0].replace(" ", "").split(":")
    assert {"list-unsubscribe", "list-unsubscribe-post", "from"} <= set(covered)  # RFC 8058 §4
    assert verified(message.replace(b"Hello", b"Hallo"), (key.name, key.record)) == ["fail"]
    assert told(ops, "queue", "show", "1")["left"]["signature"] == "signed by acme.example (selector s1)"


def foreign() -> tuple[bytes, tuple[str, str]]:
    """A mail that other.example has signed, with its record."""
    private, record = dkim_key_pair()
    plain = MAIL.format(sender="Max <max@other.example>", more="Date: Mon, 23 Nov 2026 01:00:00 +0000\r\n").encode()
    signed = sign_message(plain, selector="odoo", domain="other.example", private_key=private)
    return signed, ("odoo._domainkey.other.example", record)


def test_a_signature_that_the_rewrite_broke_is_removed_and_told(world: Any) -> None:
    ops, smtp = world
    raw, record = foreign()
    hand_over(ops, raw=raw)
    message = left(ops, smtp)
    assert b"notifications@acme.example" in message
    assert verified(message, record) == []  # not one that fails
    shown = told(ops, "queue", "show", "1")
    assert shown["left"]["signature"] == "signature of other.example removed (the From was rewritten)"
    assert shown["left"]["from"] == '"Max" <notifications@acme.example>'
    [sent] = [line for line in shown["history"] if line["kind"] == "sent"]
    assert "removed" in sent["data"]["signature"]


def test_a_signature_that_holds_stays_valid_and_stands_alone(world: Any) -> None:
    ops, smtp = world
    server = next(s for s in ops.setup.servers if s.key == "main")
    from dataclasses import replace

    ops.save_server(replace(server, from_filter="other.example, acme.example"))
    ops.signing.add("other.example", "ours", unseen=True)
    raw, record = foreign()
    hand_over(ops, raw=raw)
    message = left(ops, smtp)
    assert verified(message, record) == ["pass"]
    assert told(ops, "queue", "show", "1")["left"]["signature"] == "signature of other.example kept"


def test_without_a_key_mail_leaves_as_ever(world: Any) -> None:
    ops, smtp = world
    hand_over(ops)
    assert b"DKIM-Signature" not in left(ops, smtp)
    assert told(ops, "queue", "show", "1")["left"]["signature"] is None


def test_a_key_that_cannot_be_read_holds_no_mail_up(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ops, smtp = world
    monkeypatch.setenv("A_DKIM_KEY", dkim_key_pair()[0].decode())
    ops.signing.add("acme.example", "s1", "env:A_DKIM_KEY", unseen=True)
    monkeypatch.delenv("A_DKIM_KEY")
    again = Ops.open(ops.workspace.path)
    hand_over(again)
    assert b"DKIM-Signature" not in left(again, smtp)
    assert told(again, "queue", "show", "1")["left"]["signature"].startswith("not signed:")
    again.close()


def test_two_selectors_rotate_and_the_record_is_proved_and_published(world: Any) -> None:
    ops, smtp = world
    first = told(ops, "dkim", "add", "acme.example", "s1", "--unseen")
    then = told(ops, "dkim", "add", "acme.example", "s2")
    assert (first["state"], then["state"]) == ("active", "next")
    with DnsServer({"acme.example": ["TXT v=spf1 -all"]}) as server:
        at = ["--resolver", at_of(server)]
        seen = told(ops, "dkim", "record", "acme.example", "s2", *at)
        assert (seen["published"], seen["proved"]) == (False, True)
        [row] = seen["publish"]
        with pytest.raises(ConfigError) as caught:
            told(ops, "dkim", "activate", "acme.example", "s2", *at)
        assert caught.value.code == "dkim.not_published"
        hand_over(ops)
        assert "s=s1;" in tags(left(ops, smtp)).replace(" ", "")
        server.add(row["name"], {"type": "TXT", "text": then["value"]})  # as the command proposes it
        assert told(ops, "dkim", "record", "acme.example", "s2", *at)["published"]
        told(ops, "dkim", "activate", "acme.example", "s2", *at)
        hand_over(ops)
        message = left(ops, smtp)
        file = ops.workspace.path / "left.eml"
        file.write_bytes(message)
        [one] = told(ops, "dkim", "verify", str(file), *at)
        assert (one["result"], one["selector"]) == ("pass", "s2")
        file.write_bytes(message.replace(b"Hello", b"Hullo"))
        [one] = told(ops, "dkim", "verify", str(file), *at)
        assert one["result"] == "fail"
    states = {key["selector"]: key["state"] for key in told(ops, "dkim", "list")}
    assert states == {"s1": "former", "s2": "active"}
    told(ops, "dkim", "remove", "acme.example", "s1")
    assert [key.selector for key in ops.signing.all()] == ["s2"]


def test_another_key_at_the_name_is_replaced_in_the_proposal(world: Any) -> None:
    ops, _ = world
    ops.signing.add("acme.example", "s1")
    with DnsServer({"s1._domainkey.acme.example": [{"type": "TXT", "text": dkim_key_pair()[1]}]}) as server:
        seen = told(ops, "dkim", "record", "acme.example", "s1", "--resolver", at_of(server))
    assert (seen["published"], seen["proved"], len(seen["remove"])) == (False, True, 1)
    assert "another key" in seen["trouble"]


@pytest.mark.parametrize(
    ("domain", "selector", "code"),
    [
        ("acme.example", "s 1", "dkim.name"),
        ("nodot", "s1", "dkim.name"),
        ("acme.example", "taken", "dkim.selector_taken"),
    ],
)
def test_what_is_no_key_is_said(world: Any, domain: str, selector: str, code: str) -> None:
    ops, _ = world
    ops.signing.add("acme.example", "taken")
    with pytest.raises(ConfigError) as caught:
        ops.signing.add(domain, selector)
    assert caught.value.code == code


@pytest.mark.parametrize("pem", ["no key", dkim_key_pair(1024)[0].decode()])
def test_a_weak_or_broken_key_is_refused_when_it_is_given(
    world: Any, monkeypatch: pytest.MonkeyPatch, pem: str
) -> None:
    ops, _ = world
    monkeypatch.setenv("A_DKIM_KEY", pem)
    with pytest.raises(ConfigError) as caught:
        ops.signing.add("acme.example", "s1", "env:A_DKIM_KEY")
    assert caught.value.code == "config.dkim_key"


def test_verify_needs_no_workspace(tmp_path: Path) -> None:
    raw, (name, record) = foreign()
    (tmp_path / "m.eml").write_bytes(raw.replace(b"\r\n", b"\n"))  # as an editor saves it
    with DnsServer({name: [{"type": "TXT", "text": record}]}) as server:
        words = ["dkim", "verify", str(tmp_path / "m.eml"), "--resolver", at_of(server), "--json"]
        result = CliRunner().invoke(app, words)
    assert (result.exit_code, json.loads(result.stdout)[0]["result"]) == (0, "pass")


@contextmanager
def node(script: str) -> Iterator[list[str]]:
    folder = Path(os.environ.get("MAILOPS_TEST_RELAY", Path.home() / ".cache/mailops-test/relay"))
    if shutil.which("node") is None or not (folder / "node_modules/mailauth").is_dir():
        missing("relay", "node with mailauth is not here (.ci/run installs it)")
    file = folder / f"mailops-test-{os.getpid()}.cjs"
    file.write_text(script, "utf-8")
    try:
        yield ["node", str(file)]
    finally:
        file.unlink()


def test_a_second_verifier_agrees(world: Any) -> None:
    """mailauth, of another hand and another language, with the record from a loopback zone."""
    ops, smtp = world
    key = ops.signing.add("acme.example", "s1", unseen=True)
    hand_over(ops, more=UNSUBSCRIBE)
    message = left(ops, smtp)
    script = """
const { dkimVerify } = require('mailauth/lib/dkim/verify');
const { Resolver } = require('dns').promises;
const resolver = new Resolver();
resolver.setServers([process.argv[2]]);
const chunks = [];
process.stdin.on('data', c => chunks.push(c)).on('end', async () => {
  const found = await dkimVerify(Buffer.concat(chunks), { resolver: (n, t) => resolver.resolve(n, t) });
  console.log(JSON.stringify(found.results.map(r => r.status.result)));
});
"""
    with DnsServer({key.name: [{"type": "TXT", "text": key.record}]}) as server, node(script) as command:
        for data, expected in ((message, ["pass"]), (message.replace(b"Hello", b"Hullo"), ["neutral", "fail"])):
            done = subprocess.run([*command, at_of(server)], input=data, capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            [result] = json.loads(done.stdout)
            assert result in expected
