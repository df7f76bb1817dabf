"""The marked set (``make fuzz``): 2,000 fuzzed submissions and 2,000 fuzzed received mails, from fixed seeds, into stores.

Each mutant goes in by the door that a program uses. What may come back is an error of ours; what is taken keeps the
oracles of ``benchmarks/fuzz.py``: no field that nobody asked for, no recipient that the undecoded field does not hold,
nothing that a database cannot keep. The same mutants go to both databases in a smaller number.
"""

from __future__ import annotations

import importlib.util
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa
from furnish import furnish

from mailops import Ops
from mailops.errors import MailopsError
from mailops.mime import head_text
from mailops.model.mail import Submission
from mailops.store import schema
from mailops.testing import SmtpServer

pytestmark = [pytest.mark.fuzz, pytest.mark.slow, pytest.mark.timeout(600)]
PARTS = 4  # of 500 each


def _driver() -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz_set_driver", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_set_driver"] = module
    spec.loader.exec_module(module)
    return module


FUZZ = _driver()


def ready(ops: Ops) -> Ops:
    with SmtpServer() as smtp:
        furnish(ops, smtp)
    return ops


def count_for(ops: Ops, whole: int) -> int:
    return whole if ops.engine.dialect.name == "sqlite" else whole // 10


@pytest.mark.parametrize("part", range(PARTS))
def test_fuzzed_submissions_are_refused_or_leave_nothing_of_their_own(ops_on: Callable[..., Ops], part: int) -> None:
    ops, luck = ready(ops_on()), random.Random(20_261_100 + part)
    fields, raws = FUZZ.compose_seeds(), [*FUZZ.raw_seeds(), *FUZZ.field_seeds()]
    became: Counter[str] = Counter()
    for number in range(count_for(ops, 500)):
        asked = set()
        if number % 2:
            text = [
                p.decode("utf-8", "surrogateescape")
                for p in FUZZ.mutate(luck.choice(fields), fields, luck).split(b"\x1e")
            ]
            text = (text + [""] * 12)[:12]
            asked = {text[5].strip().lower()}
            given = Submission(
                sender=text[0] or None,
                to=("ann@dest.example", *([text[1]] if text[1] else [])),
                bcc=("hidden@dest.example",),
                subject=text[2],
                text=text[3],
                html=text[4] or None,
                headers=((text[5], text[6]),) if text[5] else (),
                reply_to=text[9] or None,
                in_reply_to=text[10] or None,
            )
            written = " ".join(text)
        else:
            raw = FUZZ.mutate(luck.choice(raws), raws, luck)
            given = Submission(raw=raw)
            head = (raw if b"\r" in raw else raw.replace(b"\n", b"\r\n")).partition(b"\r\n\r\n")[0]
            written = head_text(head)
        try:
            mail_id = ops.queue.submit(given)
        except MailopsError as error:
            became[error.code] += 1
            continue
        became["taken"] += 1
        stored = ops.queue.raw(mail_id)
        names = FUZZ.header_names(stored)
        assert not {"bcc", "resent-bcc", "content-length"} & set(names)
        if given.raw is None:
            assert set(names) <= FUZZ.OWN_FIELDS | asked, (number, names)
            assert len(names) == len(set(names))
        else:
            before = FUZZ.header_names(
                given.raw if b"\r" in given.raw else given.raw.replace(b"\n", b"\r\n"), ours=False
            )
            assert set(names) - set(before) <= {"message-id", "date", "return-path", "from"}
        forms = [re.sub(pattern, "", written) for pattern in (r"\s+", r"\([^()]*\)|\s+", r"[()]|\s+")]
        for delivery in ops.queue.mail(mail_id).deliveries:
            person = delivery.recipient
            if "xn--" not in person and person not in ("ann@dest.example", "hidden@dest.example"):
                assert any(person in form for form in forms), (number, person)
    assert became["taken"] >= 10, became
    assert len(became) > 2, became


@pytest.mark.parametrize("part", range(PARTS))
def test_fuzzed_received_mails_are_decided_and_kept(ops_on: Callable[..., Ops], part: int) -> None:
    """By the gateway and by the bounce service; a mail that one refuses by an exception of its own would be lost."""
    ops, luck = ready(ops_on()), random.Random(20_261_200 + part)
    ops.save_alias("help", "ticket")
    seeds = FUZZ.mails()
    seeds += [seed.replace(b"To:", b"To: help@acme.example,", 1) for seed in seeds[:40]]
    became: Counter[str] = Counter()
    for number in range(count_for(ops, 500)):
        raw = FUZZ.mutate(luck.choice(seeds), seeds, luck)
        try:
            became[ops.inbound.receive(raw).kind.value if number % 2 else ops.bounces.take(raw).kind] += 1
        except MailopsError as error:
            became[error.code] += 1
    assert len(became) > 2, became
    with ops.engine.connect() as connection:
        kept = connection.execute(sa.select(sa.func.count()).select_from(schema.bounces)).scalar_one()
    assert kept > 10
