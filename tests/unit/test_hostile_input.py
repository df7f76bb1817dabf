"""Whatever foreign data holds, it is read or refused: mutants of real shapes and the oracles of ``benchmarks/fuzz.py``.

The same targets run there for minutes, guided by coverage; here some dozens of mutants each show that they still hold.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailops.errors import AuthError, MessageRefused
from mailops.model.address import parse_addresses
from mailops.model.mail import Attachment, Submission
from mailops.page.sanitise import safe_html
from mailops.queue.compose import compose
from mailops.webhooks.events import read_events
from mailops.webhooks.verify import certificate_of, verify_basic

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BREAKS = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r", "\n", "\0")


def _driver() -> ModuleType:
    file = Path(__file__).parent.parent.parent / "benchmarks" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz_driver", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_driver"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


FUZZ = _driver()
NAMES = sorted(FUZZ.TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_themselves_meet_the_oracles(name: str) -> None:
    for data in FUZZ.TARGETS[name].seeds()[:40]:
        FUZZ.run(FUZZ.TARGETS[name], data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**32))
def test_mutants_are_read_or_refused(name: str, number: int) -> None:
    seeds = FUZZ.TARGETS[name].seeds()
    luck = random.Random(number)
    FUZZ.run(FUZZ.TARGETS[name], FUZZ.mutate(luck.choice(seeds), seeds, luck)[:20_000])


def test_an_oracle_that_is_not_met_is_noticed() -> None:
    with pytest.raises(AssertionError, match="attribute"):
        FUZZ.Watch().feed("<b onclick=x>")
    with pytest.raises(AssertionError, match="link"):
        FUZZ.Watch().feed("<a href='java\tscript:x'>")
    with pytest.raises(AssertionError, match="without a name"):
        FUZZ.header_names(b"Subject: x\rsmuggled\r\n\r\n")


def fields(**more: object) -> Submission:
    return Submission(**{"sender": "a@example.com", "to": ("b@dest.example",), "subject": "x", "text": "x", **more})  # type: ignore[arg-type]  # each test gives one


@pytest.mark.parametrize("mark", BREAKS, ids=[f"U+{ord(mark):04X}" for mark in BREAKS])
def test_no_line_end_of_any_kind_gets_into_a_header(mark: str) -> None:
    bad = f"x{mark}X-Evil: 1"
    for given_ in (
        fields(subject=bad),
        fields(headers=(("X-A", bad),)),
        fields(reply_to=f"{bad} <c@example.com>"),
        fields(sender=f"{bad} <c@example.com>"),
        fields(in_reply_to=bad),
        fields(message_id=bad),
        fields(references=(bad,)),
        fields(attachments=(Attachment(bad, b""),)),
        fields(attachments=(Attachment("x", b"", f"text/{bad}"),)),
    ):
        with pytest.raises(MessageRefused) as refused:
            compose(given_, now=NOW)
        assert refused.value.code == "message.header_injection"


@pytest.mark.parametrize("word", ["=?utf-8?q?a=0D=0AX-Evil:_1?=", "=?utf-8?b?DQpCY2M6IGU=?="])
def test_an_encoded_line_end_is_refused_too(word: str) -> None:
    for given_ in (fields(subject=word), fields(headers=(("X-A", word),))):
        with pytest.raises(MessageRefused) as refused:
            compose(given_, now=NOW)
        assert refused.value.code == "message.header_injection"


@pytest.mark.parametrize("kind", ["text/plain; --" + "b----" * 500, "text/plain;" * 50, "pdf", "text/" + "x" * 500])
def test_a_media_type_that_is_none_is_refused_at_once(kind: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        compose(fields(attachments=(Attachment("a.txt", b"", kind),)), now=NOW)
    assert refused.value.code == "message.malformed"


@pytest.mark.parametrize("where", ["subject", "text", "html", "in_reply_to", "reply_to"])
def test_half_a_character_is_refused_with_a_reason(where: str) -> None:
    with pytest.raises(MessageRefused):
        compose(fields(**{where: "x\udca8"}), now=NOW)


@pytest.mark.parametrize("subject", ["=?u\ufffd-8?q?x?=", "=?utf-8?b?a?="])
def test_a_broken_encoded_word_of_a_finished_mail_stays_as_it_is(subject: str) -> None:
    raw = f"From: a@example.com\nTo: b@dest.example\nSubject: {subject}\n\nx\n".encode()
    assert compose(Submission(raw=raw), now=NOW).subject == subject


@pytest.mark.parametrize("mark", ["(", ":", "@", "\\", " ", "\r\n ", "[", "<", '"', "a@b,", "a@b "])
def test_long_runs_in_address_lists_are_read(mark: str) -> None:
    assert len(parse_addresses(mark * 10_000)) <= 10_000
    assert len(parse_addresses("ann" + mark * 10_000 + "@example.com")) <= 10_001


def test_webhooks_give_events_that_can_be_stored() -> None:
    body = b'[{"event":"bounce","sg_event_id":"\\ud800","email":"a@x.example","status":"5.1.1F","reason":"\\u0000no"}]'
    (event,) = read_events("sendgrid", body)
    assert (event.event_id, event.status, event.text) == ("?", None, "no")
    for address in (b"a" * 400 + b"@x.example", b"a b@x.example", b"a@x.example\\nb"):
        assert read_events("postmark", b'{"RecordType":"SpamComplaint","ID":1,"Email":"%s"}' % address) == []


def test_odd_proofs_of_webhooks_are_refused() -> None:
    with pytest.raises(AuthError):
        verify_basic("mailjet", {"authorization": "Basic \xff\xfe"}, "user:pass-word")
    with pytest.raises(AuthError):
        certificate_of("https://[", lambda _: b"", now=NOW)


def test_links_of_a_mail_lead_elsewhere_and_a_pile_of_tags_is_text() -> None:
    assert "href" not in safe_html("<a href='/api/shutdown'>x</a><a href='\x01jav ascript:x'>y</a>")
    assert 'href="https://x.example/"' in safe_html("<a href='https://x.example/'>x</a>")
    assert "<" not in safe_html("<div>" * 40_000)
