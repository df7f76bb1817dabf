"""A report is tied to its delivery by what it carries, in a stated order of trust."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from mailops.bounces import OriginalMessage, RecipientResult, Report
from mailops.bounces.correlate import UNPROVEN, Candidate, Clues, clues, match
from mailops.model.tag import sign as sign_tag

NOW = datetime(2026, 3, 30, tzinfo=UTC)


def sign(address: str, mail_id: int, key: bytes, to: str | None = None, days: int = 0) -> str:
    return sign_tag(address, mail_id, key, at=NOW - timedelta(days=days), recipient=to)


OURS_ONE = "bounce@acme.example"
OURS = {OURS_ONE}


def mail(number: int, to: str = "bob@x.example", *, days: float = 1, recipients: int = 1) -> Candidate:
    return Candidate(number, number, f"<{number}@acme.example>", to, NOW - timedelta(days=days), recipients)


def about(address: str = "bob@x.example") -> tuple[RecipientResult, Report]:
    result = RecipientResult(address)
    return result, Report("bounce", (result,))


@pytest.mark.parametrize(
    ("found", "address", "by", "sure"),
    [
        (Clues((("message-id", "<1@acme.example>"),)), "bob@x.example", "message-id+recipient", 1.0),
        (Clues((("message-id", "<1@acme.example>"),)), "", "message-id", 0.9),
        (Clues((("message-id", "<1@acme.example>"),)), "forwarded@y.example", "message-id+other", 0.75),
        (Clues((), (1,), None, (1,)), "forwarded@y.example", "tag+other", 0.75),
        (Clues((), (1,)), "forwarded@y.example", "verp+other", 0.6),
        (Clues((), (1,), None, (1,)), "bob@x.example", "tag+recipient", 1.0),
        (Clues((), (1,), None, (1,)), "", "tag", 0.95),
        (Clues((), (1,)), "bob@x.example", "verp+recipient", 0.7),
        (Clues((), (1,)), "", "verp", 0.6),
        (Clues((("x-header", "<1@acme.example>"),)), "bob@x.example", "x-header+recipient", 0.9),
        (Clues((("reference", "<1@acme.example>"),)), "bob@x.example", "reference+recipient", 0.9),
        (Clues((), (), "bob@x.example"), "", "recipient+time", 0.6),
        (Clues(), "BOB@x.example", "recipient+time", 0.6),
    ],
)
def test_each_way_has_its_confidence(found: Clues, address: str, by: str, sure: float) -> None:
    result, report = about(address)
    hit = match(result, report, [mail(1)], now=NOW, found=found)
    assert (hit.candidate and hit.candidate.mail_id, hit.by, hit.confidence) == (1, by, sure)


@pytest.mark.parametrize(
    ("candidates", "by"),
    [
        ([], "no mail of ours fits"),
        ([mail(1, days=8)], "no mail of ours fits"),
        ([mail(1), mail(2)], "2 mails went there lately"),
    ],
)
def test_nothing_else_is_guessed(candidates: list[Candidate], by: str) -> None:
    result, report = about()
    hit = match(result, report, candidates, now=NOW, found=Clues())
    assert (hit.candidate, hit.by, hit.confidence) == (None, by, 0.0)


def test_a_mail_with_several_recipients_needs_the_name() -> None:
    both = [mail(1, "a@x.example", recipients=2), mail(1, "b@x.example", recipients=2)]
    hit = match(None, Report("bounce"), both, now=NOW, found=Clues((("message-id", "<1@acme.example>"),)))
    assert (hit.candidate, hit.by) == (None, "mail found, recipient not said")


@pytest.mark.parametrize(
    ("to", "numbers", "recipient"),
    [
        ("bounce+123@acme.example", (123,), None),
        ("Bounce+123-crm.lead-7@Acme.example", (123,), None),
        ("bounce+bob=x.example@acme.example", (), "bob@x.example"),
        ("other+123@acme.example", (), None),
        ("bounce+123@evil.example", (), None),
        ("bounce@acme.example", (), None),
        ("bounce+" + "9" * 40 + "@acme.example", (), None),
    ],
)
def test_a_return_path_of_ours_names_the_mail(to: str, numbers: tuple[int, ...], recipient: str | None) -> None:
    found = clues(f"To: <{to}>\r\nSubject: x\r\n\r\nbody".encode(), Report("bounce"), OURS)
    assert (found.mail_ids, found.recipient) == (numbers, recipient)
    envelope = Report("bounce", original=OriginalMessage(envelope_from=to))
    assert clues(b"", envelope, OURS).mail_ids == numbers


KEY = b"a key of this workspace"


@pytest.mark.parametrize(
    ("to", "proven"),
    [
        (sign("bounce@acme.example", 123, KEY), (123,)),
        (sign("bounce@acme.example", 123, KEY).upper(), (123,)),
        (sign("bounce@acme.example", 123, b"another key"), ()),
        (sign("bounce@acme.example", 123, KEY).replace("+123-", "+124-"), ()),
        (sign("bounce@other.example", 123, KEY).replace("other", "acme"), ()),
        ("bounce+123@acme.example", ()),
        ("bounce+123-" + "a" * 16 + "@acme.example", ()),
    ],
)
def test_only_the_holder_of_the_key_can_prove_a_mail(to: str, proven: tuple[int, ...]) -> None:
    found = clues(f"To: <{to}>\r\n\r\nbody".encode(), Report("bounce"), OURS, (KEY,))
    assert found.proven == proven


def test_a_tag_that_would_make_the_address_too_long_is_left_out() -> None:
    long = "b" * 60 + "@acme.example"
    assert sign(long, 1, KEY) == long


@pytest.mark.parametrize(
    "found", [Clues(), Clues((), (1,)), Clues((), (), "bob@x.example")], ids=["time", "number", "encoded"]
)
def test_a_mail_that_left_with_a_tag_is_tied_by_no_guess(found: Clues) -> None:
    result, report = about()
    tagged = replace(mail(1), tagged=True)
    hit = match(result, report, [tagged], now=NOW, found=found)
    assert (hit.candidate, hit.by, hit.confidence) == (None, UNPROVEN, 0.0)
    by_id = match(result, report, [tagged], now=NOW, found=Clues((("message-id", "<1@acme.example>"),)))
    assert (by_id.candidate, by_id.by) == (None, UNPROVEN)  # its Message-ID stands in many places; the tag does not
    complaint = Report("complaint", (result,))  # a feedback loop does not answer to the return path
    by_id = match(result, complaint, [tagged], now=NOW, found=Clues((("message-id", "<1@acme.example>"),)))
    assert (by_id.by, by_id.confidence) == ("message-id+recipient untagged", 0.75)
    by_tag = match(result, report, [tagged], now=NOW, found=Clues((), (1,), None, (1,)))
    assert (by_tag.by, by_tag.confidence) == ("tag+recipient", 1.0)


def test_message_ids_are_taken_from_x_fields_and_references() -> None:
    headers = {"x-microsoft-original-message-id": "<2@acme.example>", "subject": "<9@acme.example>"}
    report = Report("bounce", original=OriginalMessage("<1@acme.example>", headers=headers))
    found = clues(b"References: <3@acme.example>\n <4@acme.example>\n\n<5@acme.example>", report, OURS)
    assert [i for _, i in found.message_ids] == [f"<{n}@acme.example>" for n in (1, 2, 3, 4)]


def undated(mail_id: int) -> str:
    """A tag as it was made before: without a day."""
    digest = hmac.new(KEY, f"mailops return path\nbounce@acme.example\n{mail_id}".encode(), sha256).digest()
    return f"bounce+{mail_id}-{base64.b32encode(digest[:10]).decode().lower()}@acme.example"


def tied(
    to: str, *candidates: Candidate, name: str = "bob@x.example", days: float = 0
) -> tuple[str | None, str, float]:
    """Who a report to this address counts against, how, and how sure; it comes so many days after now."""
    result, report = about(name)
    at = NOW + timedelta(days=days)
    found = clues(f"To: <{to}>\r\n\r\nbody".encode(), report, OURS, (KEY,), now=at)
    hit = match(result, report, list(candidates), now=at, found=found)
    return hit.candidate and hit.candidate.recipient, hit.by, hit.confidence


@pytest.mark.parametrize("form", ["shared", "named", "of before"])
@pytest.mark.parametrize("days", [0, 14, 15, 400, 999])
def test_a_tag_lives_two_weeks(form: str, days: int) -> None:
    to = undated(1) if form == "of before" else sign(OURS_ONE, 1, KEY, "bob@x.example" if form == "named" else None)
    got = tied(to, replace(mail(1, days=0), tagged=True), days=days)
    assert got == (("bob@x.example", "tag+recipient", 1.0) if days <= 14 else (None, UNPROVEN, 0.0))


def test_a_tag_that_names_its_recipient_speaks_of_no_other() -> None:
    both = [replace(mail(1, to, recipients=2), tagged=True) for to in ("eve@evil.example", "bob@x.example")]
    eves = sign(OURS_ONE, 1, KEY, "Eve@Evil.example")
    assert tied(eves, *both, name="bob@x.example") == ("eve@evil.example", "tag+other", 0.75)
    assert tied(eves, *both, name="eve@evil.example") == ("eve@evil.example", "tag+recipient", 1.0)
    assert tied(sign(OURS_ONE, 1, KEY), *both, name="bob@x.example") == (
        "bob@x.example",
        "tag+recipient of several",
        0.85,
    )


def test_a_word_or_a_day_that_was_changed_proves_nothing() -> None:
    tagged = replace(mail(1), tagged=True)
    real = sign(OURS_ONE, 1, KEY, "bob@x.example", days=30)
    local, _, domain = real.partition("@")
    head, tail = local.split("-")
    fresh = f"{int(sign(OURS_ONE, 1, KEY).split('-')[1][:3]):03d}"
    for forged in (f"{head}-{fresh}{tail[3:]}", f"{head}-{tail[9:]}", f"{head}-{tail[:3]}{tail[9:]}"):
        assert tied(f"{forged}@{domain}", tagged) == (None, UNPROVEN, 0.0)
