"""The resolver against the loopback server: unknown is never missing, nothing is asked twice."""

from __future__ import annotations

import asyncio
import os

import pytest

from mailops.dns.answer import Answer, Status
from mailops.dns.resolver import DnsRun, Resolver
from mailops.errors import DnsError
from mailops.testing.dns_server import DnsServer
from mailops.testing.dns_world import dns_world

ZONE = {
    "a.example": ["TXT v=spf1 -all", "A 192.0.2.1", "MX 20 b.a.example.", "MX 10 a.a.example."],
    "c.example": ["CNAME a.example."],
    "far.example": ["CNAME slow.example."],
    "slow.example": [{"type": "ANY", "fault": "servfail"}],
    "l1.example": ["CNAME l2.example."],
    "l2.example": ["CNAME l1.example."],
    "big.example": ["TXT " + "y" * 3000],
    "t.example": [{"type": "ANY", "fault": "timeout"}],
    "g.example": [{"type": "ANY", "fault": "garbage"}],
    "i.example": [{"type": "ANY", "fault": "wrong_id"}],
    "r.example": [{"type": "ANY", "fault": "refused"}],
}


@pytest.mark.parametrize(
    ("name", "kind", "status", "unknown"),
    [
        ("a.example", "TXT", Status.FOUND, False),
        ("a.example", "AAAA", Status.NODATA, False),
        ("nope.example", "A", Status.NXDOMAIN, False),
        ("c.example", "TXT", Status.FOUND, False),
        ("far.example", "TXT", Status.SERVFAIL, True),
        ("l1.example", "A", Status.LOOP, True),
        ("big.example", "TXT", Status.FOUND, False),
        ("t.example", "A", Status.TIMEOUT, True),
        ("g.example", "A", Status.TIMEOUT, True),
        ("i.example", "A", Status.TIMEOUT, True),
        ("r.example", "A", Status.REFUSED, True),
        ("x" * 64 + ".example", "A", Status.INVALID, False),
    ],
)
def test_every_outcome_has_its_own_status(name: str, kind: str, status: Status, unknown: bool) -> None:
    with dns_world(ZONE, timeout=0.8) as (server, run):
        answer = run.ask(name, kind)
        assert answer.status is status
        assert answer.unknown is unknown
        assert not (answer.unknown and answer.absent)
        if status is not Status.INVALID:
            assert answer.server == f"127.0.0.1:{server.port}"
            assert answer.at > 0


def test_evidence_is_complete_and_json_ready() -> None:
    with dns_world(ZONE) as (_, run):
        answer = run.ask("a.example", "MX")
        assert answer.exchanges == ((10, "a.a.example"), (20, "b.a.example"))
        shown = answer.as_dict()
        assert shown["question"] == "a.example MX"
        assert set(shown["records"]) == {"10 a.a.example.", "20 b.a.example."}
        assert shown["ttl"] == 300
        assert shown["rcode"] == "NOERROR"
        assert run.ask("c.example", "TXT").chain == ("a.example",)
        assert run.ask("big.example", "TXT").transport == "tcp"


def test_one_question_is_asked_once_however_many_want_it() -> None:
    with dns_world(ZONE, latency=0.02) as (server, run):

        async def many(resolver: Resolver) -> list[Answer]:
            return await asyncio.gather(*(resolver.ask("a.example", "TXT") for _ in range(50)))

        assert {answer.texts for answer in run.do(many)} == {("v=spf1 -all",)}
        run.ask("a.example", "TXT")
        assert server.asked("TXT") == ["a.example"]
        run.resolver._answers.clear()
        run.ask("a.example", "TXT")
        assert server.asked("TXT") == ["a.example", "a.example"]


def test_a_lost_datagram_is_sent_again() -> None:
    with dns_world(ZONE, timeout=3) as (server, run):
        server.fault("a.example", "TXT", "timeout", times=1)
        answer = run.ask("a.example", "TXT")
        assert answer.found
        assert answer.tries == 2


def test_the_next_server_answers_for_a_dead_or_refusing_one() -> None:
    refusing = {"a.example": [{"type": "ANY", "fault": "refused"}]}
    with (
        DnsServer(ZONE) as good,
        DnsServer(refusing) as bad,
        DnsRun(Resolver([bad.address, good.address], timeout=3)) as run,
    ):
        answer = run.ask("a.example", "TXT")
        assert answer.found
        assert answer.server.endswith(str(good.port))


def test_who_gives_up_a_question_takes_the_answer_from_nobody_else() -> None:
    with dns_world(ZONE, latency=0.05) as (server, run):

        async def two(resolver: Resolver) -> tuple[Answer, bool]:
            gone, kept = resolver.ask("a.example", "TXT"), resolver.ask("a.example", "TXT")
            try:
                await asyncio.wait_for(gone, 0.001)
            except TimeoutError:
                return await kept, True
            return await kept, False

        answer, gave_up = run.do(two)
        assert gave_up
        assert answer.texts == ("v=spf1 -all",)
        assert server.asked("TXT") == ["a.example"]


@pytest.mark.parametrize("options", [{}, {"window": 64}])
def test_many_questions_go_through_a_window_without_loss(options: dict[str, int]) -> None:
    zone = {f"d{number}.example": [f"A 192.0.2.{number % 250}"] for number in range(1500)}
    with DnsServer(zone) as server, DnsRun(Resolver([server.address], timeout=10, **options)) as run:

        async def many(resolver: Resolver) -> list[Answer]:
            return await asyncio.gather(*(resolver.ask(f"d{number}.example", "A") for number in range(1500)))

        assert all(answer.found for answer in run.do(many))


def test_it_says_whom_it_asked() -> None:
    assert Resolver([("192.0.2.53", 53)]).asked_of == "192.0.2.53:53 (given)"
    with pytest.raises(DnsError, match="no name server"):
        Resolver([])


def test_the_questions_of_one_client_come_from_many_ports() -> None:
    """Who wants to slip in an answer must guess the port too (RFC 5452 §9.2); and no port stays open that has none."""
    from mailops.dns.transport import Reply, UdpClient

    seen: list[int] = []

    class Nobody(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
            seen.append(peer[1])
            self.transport.sendto(data[:2] + b"\x81\x83" + data[4:10] + b"\0\0" + data[12:], peer)  # type: ignore[attr-defined]

    async def ask() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        door, _ = await loop.create_datagram_endpoint(Nobody, local_addr=("127.0.0.1", 0))
        client, answers = UdpClient(), 0
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for number in range(400):
            said: asyncio.Future[Reply] = loop.create_future()
            client.submit(f"n{number}.example", "A", (door.get_extra_info("sockname"),), said.set_result)
            answers += (await said).parsed is not None
        left = (len(os.listdir("/proc/self/fd")) if before else 0) - before
        client.close()
        door.close()
        return answers, left

    answers, left = asyncio.run(ask())
    assert answers == 400
    assert len(set(seen)) >= 20
    assert left <= 8
