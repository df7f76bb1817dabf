"""One-click unsubscribing (RFC 8058): what the mail offers, what a POST does, and the way back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from furnish import furnish
from test_campaigns import counts, make, people, to
from test_relay_signing import verified

from mailops import Ops
from mailops.dns.dkim_message import signatures
from mailops.errors import NotFound
from mailops.testing import SmtpServer
from mailops.testing.dkim_keys import dkim_key_pair
from mailops.webhooks.server import WebhookServer

BASE = "https://mail.acme.example/out"
LINK = re.compile(rb"\r\nList-Unsubscribe: <([^>\s]+)>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")


def link_of(message: Any) -> str:
    found = LINK.search(message.data)
    assert found is not None, message.data
    return found[1].decode()


def asked(ops: Ops, calls: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """Answers of the listener: method, path, and what httpx is given."""

    async def run() -> list[httpx.Response]:
        server = WebhookServer(ops, 0)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
                return [await client.request(method, path, **more) for method, path, more in calls]
        finally:
            await server.stop()

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_each_mail_offers_its_own_link_and_the_signature_covers_it(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.set_parameter("web.base.url", BASE + "/")
        private, _ = dkim_key_pair()
        key = ops.signing.add("acme.example", "s1", str(ops.secrets.vault.put("k", private.decode())), unseen=True)
        make(ops, "one", people(3), html='<a href="{{ unsubscribe_url }}">no more</a>', text="{{ unsubscribe_url }}")
        assert ops.campaigns.status("one").notes == ()
        ops.campaigns.send("one")
        ops.send(to="bob@x.example", sender="ann@acme.example", text="a mail of its own")
        ops.queue.run()
        mails = [message for message in smtp.messages if b"bob@" not in message.data]
        links = [link_of(message) for message in mails]
        assert len(set(links)) == 3
        assert all(one.startswith(f"{BASE}/unsubscribe/1.") for one in links)
        for message, link in zip(mails, links, strict=True):
            covered = signatures(message.data)[0]["h"].lower().replace(" ", "").split(":")
            assert {"list-unsubscribe", "list-unsubscribe-post"} <= {one.strip() for one in covered}
            assert verified(message.data, (key.name, key.record)) == ["pass"]
            assert link.encode() in message.data.partition(b"\r\n\r\n")[2].replace(b"=\r\n", b"").replace(b"=3D", b"=")
        [own] = [message for message in smtp.messages if b"bob@" in message.data]
        assert b"List-Unsubscribe" not in own.data


@pytest.mark.parametrize(
    ("base", "offers", "note"),
    [
        (None, (False, False), "has no link"),
        ("http://mail.acme.example", (True, False), "no one-click"),
        ("https://mail.acme.example", (True, True), ""),
        ("http://127.0.0.1:8080", (True, True), ""),
    ],
)
def test_a_post_is_offered_by_https_only(
    ops_factory: Callable[..., Ops], base: str | None, offers: tuple[bool, bool], note: str
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.set_parameter("web.base.url", base)
        make(ops, "one", people(1))
        assert note in " ".join(ops.campaigns.status("one").notes)
        ops.campaigns.send("one")
        ops.queue.run()
        head = smtp.messages[0].data.partition(b"\r\n\r\n")[0]
        assert (b"\r\nList-Unsubscribe: <" in head, b"\r\nList-Unsubscribe-Post:" in head) == offers


def test_get_shows_post_acts_and_the_page_offers_the_way_back(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        ops.set_parameter("web.base.url", BASE)
        make(ops, "one", people(2))
        make(ops, "two", people(2))
        ops.campaigns.send("one")
        ops.queue.run()
        path = next(
            link_of(m) for m in smtp.messages if m.recipients == ("u0@x.example",) or m.recipients == ["u0@x.example"]
        )
        path = path.removeprefix(BASE)
        ops.suppressions.add("u1@x.example", why="A person of ours said so.")
        other = next(link_of(m) for m in smtp.messages if "u1@x.example" in m.recipients).removeprefix(BASE)
        one_click = {"data": {"List-Unsubscribe": "One-Click"}, "headers": {"x-forwarded-for": "192.0.2.1"}}
        forged = path[:-1] + ("A" if path[-1] != "A" else "B")
        looked, head, wrong, gone = asked(
            ops, [("GET", path, {}), ("HEAD", path, {}), ("POST", forged, one_click), ("GET", "/unsubscribe/x", {})]
        )
        assert (looked.status_code, head.status_code, wrong.status_code, gone.status_code) == (200, 200, 404, 404)
        assert "Shall" in looked.text
        assert "u0@x.example" in looked.text
        assert "<script" not in looked.text
        assert ops.suppressions.find("u0@x.example") is None  # looking changed nothing
        posted, again, shown = asked(ops, [("POST", path, one_click), ("POST", path, one_click), ("GET", path, {})])
        assert [one.status_code for one in (posted, again, shown)] == [200, 200, 200]
        assert "location" not in posted.headers
        assert "set-cookie" not in posted.headers
        assert "gets no more campaigns" in shown.text
        assert 'value="undo"' in shown.text
        assert ops.suppressions.page()[1] == 2  # once, though it was posted twice
        made = ops.suppressions.find("u0@x.example")
        assert made is not None
        assert (made.scope, made.source, made.actor) == ("campaigns", "unsubscribe", "recipient")
        asked(ops, [("POST", other, {"data": {"action": "leave", "reason": "Zu viel Pöst <b>"}})])
        ops.campaigns.send("two")
        assert counts(ops, "two") == {"opted_out": 2}
        assert "Zu viel Pöst <b>" in ops.campaigns.recipients("two", aside=True)[1]["reason"]
        ops.campaigns.cancel("two")
        [undone] = asked(ops, [("POST", path, {"data": {"action": "undo"}})])
        assert "gets our campaigns again" in undone.text
        asked(ops, [("POST", other, {"data": {"action": "undo"}})])
        ops.campaigns.send("two")
        assert counts(ops, "two") == {"waiting": 1, "suppressed": 1}  # what we said of the address stays
        ops.queue.run()
        assert sorted(to(smtp)) == ["u0@x.example", "u0@x.example", "u1@x.example"]
        history = [row.state for row in ops.suppressions.page(text="u0@")[0]]
        assert history == ["undone"]


def test_who_leaves_after_the_queueing_gets_none(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        ops.set_parameter("web.base.url", BASE)
        make(ops, "one", people(1))
        ops.campaigns.send("one")
        ops.queue.run()
        make(ops, "two", people(1))
        ops.campaigns.send("two")
        token = link_of(smtp.messages[0]).rpartition("/")[2]
        ops.campaigns.unsubscribing.leave(token)
        ops.queue.run()
        assert counts(ops, "two") == {"opted_out": 1}
        assert len(to(smtp)) == 1
        ops.forget("u0@x.example")
        with pytest.raises(NotFound):
            ops.campaigns.unsubscribing.look(token)
        make(ops, "three", people(1))
        ops.campaigns.send("three")
        ops.queue.run()
        assert counts(ops, "three") == {"opted_out": 1}  # the wish outlives the name
