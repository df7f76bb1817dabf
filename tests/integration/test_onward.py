"""Received mail is handed on: to a signed webhook, a live Odoo's XML-RPC, a Python hook; each on loopback, by the faces."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest
from test_intake import cli, furnish, mail, put

from mailops import Ops
from mailops.errors import ConfigError
from mailops.inbound.onward import RETRIES, Done, Target
from mailops.testing import ManualClock

SECRET = "whsec_" + base64.b64encode(b"a key of the application").decode()


class Hook:
    """A receiver that checks each signature as the specification says, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status: list[int] = []
        self.bad: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
                mac = hmac.new(base64.b64decode(SECRET[6:]), signed, hashlib.sha256).digest()
                if self.headers["webhook-signature"] != "v1," + base64.b64encode(mac).decode():
                    hook.bad.append(self.headers["webhook-id"])
                hook.got.append({"id": self.headers["webhook-id"], **json.loads(body)["data"]})
                self.send_response(hook.status.pop(0) if hook.status else 204)
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/mail"


def serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield from (made for _ in serving(made.server))


@pytest.fixture
def ops(ops_factory: Callable[..., Ops], monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("ODOO_KEY", "api-key")
    return furnish(ops_factory(clock=ManualClock()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "received"
    made.mkdir()
    return made


def add_hook(ops: Ops, hook: Hook) -> None:
    words = ("--kind", "webhook", "--url", hook.url, "--secret", "env:HOOK_SECRET")
    code, made = cli(ops, "inbound", "target", "add", "app", *words)
    assert code == 0, made


def handed(ops: Ops) -> Done:
    (done,) = ops.onward.run()
    return done


def test_a_webhook_gets_each_mail_signed_and_once(ops: Ops, folder: Path, hook: Hook) -> None:
    ops.ingest([put(folder, mail(1))])  # came before the target was there
    add_hook(ops, hook)
    ops.ingest(
        [put(folder, mail(2), mail(3, to="nobody@acme.example"), mail(4, more="In-Reply-To: <m2@x.example>\r\n"))]
    )
    code, said = cli(ops, "inbound", "hand-on")
    assert (code, said[0]["taken"], said[0]["waiting"]) == (0, 2, 0)
    assert [(x["message_id"], x["decision"], x["records"]) for x in hook.got] == [
        ("<m2@x.example>", "create", [2]),
        ("<m4@x.example>", "reply", [2]),
    ]
    assert base64.b64decode(hook.got[0]["raw"]) == mail(2)
    assert hook.bad == []
    assert handed(ops).taken == 0
    assert len(hook.got) == 2
    assert cli(ops, "inbound", "target", "list")[1][0]["waiting"] == 0


def test_a_receiver_that_is_down_gets_it_later_and_holds_up_nobody(ops: Ops, folder: Path, hook: Hook) -> None:
    add_hook(ops, hook)
    ops.ingest([put(folder, mail(1), mail(2))])
    hook.status = [503]
    done = handed(ops)
    assert (done.taken, done.waiting, done.notes) == (1, 1, ("<m1@x.example>: HTTP 503",))
    assert handed(ops).taken == 0  # its time has not come
    ops.clock.advance(6)  # type: ignore[attr-defined]  # a clock set by hand
    assert handed(ops).taken == 1
    assert [x["id"] for x in hook.got] == [hook.got[0]["id"], hook.got[1]["id"], hook.got[0]["id"]]


def test_it_is_given_up_after_the_last_try_and_told(ops: Ops, folder: Path, hook: Hook) -> None:
    add_hook(ops, hook)
    ops.ingest([put(folder, mail(1))])
    hook.status = [500] * 20
    done = handed(ops)
    for pause in RETRIES:
        assert (done.waiting, done.given_up) == (1, 0)
        ops.clock.advance(pause.total_seconds() + 1)  # type: ignore[attr-defined]  # as above
        done = handed(ops)
    assert (done.waiting, done.given_up, len(hook.got)) == (0, 1, 1 + len(RETRIES))


def test_gone_switches_the_target_off(ops: Ops, folder: Path, hook: Hook) -> None:
    add_hook(ops, hook)
    ops.ingest([put(folder, mail(1), mail(2))])
    hook.status = [410]
    assert "wants no more" in handed(ops).notes[0]
    assert ops.onward.run() == ()
    assert cli(ops, "inbound", "target", "list")[1][0]["off"] is True
    assert len(hook.got) == 1


def test_a_process_that_dies_after_the_answer_hands_over_under_the_same_id(
    ops: Ops, folder: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_hook(ops, hook)
    ops.ingest([put(folder, mail(1))])
    with monkeypatch.context() as patch:
        patch.setattr(type(ops.onward), "_keep", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ops.onward.run()
    assert handed(ops).taken == 1
    assert len({x["id"] for x in hook.got}) == 1
    assert len(hook.got) == 2


# --- Odoo -------------------------------------------------------------------------------------------------------------


class Odoo:
    """``common`` and ``object`` of an Odoo as it answers on the wire: a number, false, or a fault with a traceback."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    def authenticate(self, database: str, login: str, secret: str, agent: Any) -> Any:
        return 2 if (database, login, secret) == ("acme", "bot", "api-key") else False

    def execute_kw(self, database: str, user: int, secret: str, model: str, method: str, given: list[Any]) -> Any:
        raw = given[1].data
        self.got.append((model, method, given[0], raw))
        if b"Subject: Printer 2" in raw:
            return False
        if b"Subject: Printer 3" in raw:
            raise Fault(
                1, "Traceback (most recent call last):\nValueError: No possible route found for incoming message"
            )
        return 41


@pytest.fixture
def odoo() -> Iterator[tuple[Odoo, str]]:
    class Paths(SimpleXMLRPCRequestHandler):
        rpc_paths = ("/xmlrpc/2/common", "/xmlrpc/2/object")

    made, server = Odoo(), SimpleXMLRPCServer(("127.0.0.1", 0), Paths, logRequests=False)
    server.register_instance(made)
    yield from ((made, f"http://127.0.0.1:{server.server_address[1]}") for _ in serving(server))


def test_odoo_takes_mail_by_message_process(ops: Ops, folder: Path, odoo: tuple[Odoo, str]) -> None:
    server, url = odoo
    words = ("--url", url, "--database", "acme", "--login", "bot", "--secret", "env:ODOO_KEY")
    assert cli(ops, "inbound", "target", "add", "live", "--kind", "odoo", *words)[0] == 0
    ops.ingest([put(folder, mail(1), mail(2), mail(3))])
    done = handed(ops)
    assert (done.taken, done.nothing, done.refused, done.waiting) == (1, 1, 1, 0)
    assert "No possible route" in done.notes[0]
    assert "Traceback" not in done.notes[0]
    assert server.got[0] == ("mail.thread", "message_process", False, mail(1))


def test_a_wrong_sign_in_waits_and_keeps_its_secret(
    ops: Ops, folder: Path, odoo: tuple[Odoo, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODOO_KEY", "wrong-key-of-somebody")
    ops.onward.save(Target("live", "odoo", odoo[1], "env:ODOO_KEY", database="acme", login="bot"))
    ops.ingest([put(folder, mail(1))])
    done = handed(ops)
    assert (done.waiting, done.taken) == (1, 0)
    assert "wrong-key" not in "".join(done.notes)
    monkeypatch.setenv("ODOO_KEY", "api-key")
    ops.clock.advance(10)  # type: ignore[attr-defined]  # a clock set by hand
    assert handed(ops).taken == 1


# --- a hook -----------------------------------------------------------------------------------------------------------


def test_a_python_hook_is_found_by_its_entry_point(
    ops: Ops, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    info = place / "desk_app-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: desk-app\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mailops.inbound]\ndesk = desk_app:take\n")
    (place / "desk_app.py").write_text(
        "got = []\ndef take(mail):\n    got.append(mail)\n    if len(got) == 1: raise RuntimeError('not yet')\n"
    )
    monkeypatch.syspath_prepend(str(place))
    assert cli(ops, "inbound", "target", "add", "desk", "--kind", "hook", "--name", "desk")[0] == 0
    ops.ingest([put(folder, mail(1))])
    assert handed(ops).notes == ("<m1@x.example>: RuntimeError: not yet",)
    ops.clock.advance(6)  # type: ignore[attr-defined]  # a clock set by hand
    assert handed(ops).taken == 1
    first, second = sys.modules.pop("desk_app").got
    assert first == second
    assert (second.raw, second.records) == (mail(1), (1,))


@pytest.mark.parametrize(
    "target",
    [
        Target("app", "webhook", "http://app.example/hook", "env:HOOK_SECRET"),
        Target("app", "webhook", "https://app.example/hook", "whsec_plain"),
        Target("app", "pigeon"),
        Target("app", "hook"),
        Target("App!", "hook", name="x"),
        Target("app", "odoo", "https://odoo.example", "env:ODOO_KEY"),
        Target("app", "hook", name="x", kinds=("lost",)),
    ],
)
def test_what_cannot_be_a_target_is_refused(ops: Ops, target: Target) -> None:
    with pytest.raises(ConfigError) as refused:
        ops.onward.save(target)
    assert refused.value.code == "inbound.target"
    assert ops.onward.targets() == ()
