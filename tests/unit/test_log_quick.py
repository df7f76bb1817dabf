"""The short way through a log tells what the long way tells, whatever the lines."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailops.logs import Joiner, Stamps, join_lines, read

ROOT = Path(__file__).parents[2]
ODD = """\
Nov  2 00:00:07 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from x[203.0.113.9]: 554 5.7.1 no; from=<a@b.test> to=<c@d.test> proto=ESMTP helo=<h>
Nov  2 00:00:07 mx1.acme.example postfix-2/smtpd[9]: connect from reject.test[203.0.113.9]
Nov  2 00:00:07 mx1 postfix/smtpd[9]: warning: hostname x does not resolve to address 203.0.113.9: Name or service not known
Nov  2 00:00:08 mx1 postfix/pickup[9]: A00000001: uid=33 from=<www-data>
Nov  2 00:00:08 mx1 postfix/bounce[9]: A00000001: sender non-delivery notification: A00000002
Nov  2 00:00:08 mx1 postfix/cleanup[9]: A00000003: resent-message-id=<r@acme.example>
Nov  2 00:00:08 mx1 postfix/cleanup[9]: A00000003: message-id=<>
Nov  2 00:00:08 mx1 postfix/cleanup[9]: A00000003: milter-reject: END-OF-MESSAGE from x[203.0.113.9]: 5.7.1 spam; from=<a@b.test> to=<c@d.test>
Nov  2 00:00:09 mx1 postfix/qmgr[9]: A00000003: from=<ann@acme.example>, status=expired, returned to sender
Nov  2 00:00:09 mx1 postfix/qmgr[9]: A00000004: from=<odd>, size=1@acme.example>, size=12, nrcpt=2 (queue active)
Nov  2 00:00:09 mx1 postfix/smtp[9]: A00000003: to=<a@x.test>, orig_to=<b@x.test>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (connect to x.test[192.0.2.1]:25: Connection refused)
Nov  2 00:00:09 mx1 postfix/smtp[9]: A00000003: to=<a@x.test>, relay=mx[192.0.2.1]:25, delay=1, dsn=2.0.0, status=SoftBounce (host said (odd) dsn=1.1.1, status=sent (ok))
Nov  2 00:00:09 mx1 postfix/smtp[9]: A00000003: to=<a@x.test>, relay=mx[192.0.2.1]:25, delay=1, dsn=2.0.0, status=sent
Nov  2 00:00:09 mx1 postfix/smtp[9]: A00000003: to=<a@x.test>, relay=mx[192.0.2.1]:25, dsn=x, delay=1, dsn=2.1.5, status=deliverable (fine)
Nov  2 00:00:09 mx1 postfix/lmtp[9]: A00000003: to=<a@x.test>, relay=mx[192.0.2.1]:24, delay=1, dsn=2.1.5, status=sent (250 2.0.0 from MTA: queued as A00000009)
Nov  2 00:00:09 mx1 postfix/local[9]:A00000003: to=<a@x.test>, relay=local, delay=1, dsn=2.0.0, status=sent (delivered)
Nov  2 00:00:10 192.0.2.7 postfix/out/smtpd[9]: A0000000B: client=app[10.0.0.1], sasl_method=PLAIN, sasl_username=odoo, sasl_sender=x
Nov  2 00:00:10 mx1 postfix/anvil[9]: statistics: max connection rate 1/60s
Nov  2 00:00:10 mx1 dovecot: imap-login: Login: user=<a>
Nov  2 00:00:10 mx1 postfix/postscreen[9]: NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.7.1 no; from=<a@b.test>, to=<c@d.test>, proto=ESMTP, helo=<h>
Nov 31 00:00:10 mx1 postfix/smtpd[9]: A0000000C: client=app[10.0.0.1]
2026-11-02T00:00:10,5+01:00 mx2 postfix/smtpd[9]: A0000000D: client=app[10.0.0.1]
2026-11-02T00:00:10.123456Z mx2 postfix/qmgr[9]: A0000000D: removed
2026-11-02T00:00:10.12345x+01:00 mx2 postfix/qmgr[9]: A0000000D: removed
2026-13-02T00:00:10.123456+01:00 mx2 postfix/qmgr[9]: A0000000D: removed
2026-11-02T00:00:10 mx2 postfix/qmgr[9]: A0000000D: removed
2026-11-02 00:00:11,123 77 INFO acme odoo.addons.mail.models.mail_mail: Mail with ID 7 and Message-Id '<7@acme.example>' successfully sent
2026-11-02 00:00:11,123 77 ERROR acme odoo.addons.mail.models.mail_mail: failed sending mail (id: 8) due to timed out
Traceback (most recent call last):
  File "x.py", line 1, in send
{"__REALTIME_TIMESTAMP": "1793577600000000", "_HOSTNAME": "mx3", "SYSLOG_IDENTIFIER": "postfix/qmgr", "MESSAGE": "A0000000E: removed"}
<22>Nov  2 00:00:12 mx1 postfix/qmgr[9]: A0000000F: removed
<22>1 2026-11-02T00:00:12.5Z mx1 postfix/qmgr 9 - - A0000000F: removed
no stamp at all
\0\0\0

4F2rQm1Tn8zKbcd: nothing
"""


def busy(number: int, iso: bool) -> list[str]:
    spec = importlib.util.spec_from_file_location("logs_benchmark", ROOT / "benchmarks" / "logs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.made(number, iso=iso))


def told(joiner: Joiner) -> Any:
    """Everything that a joiner knows, comparable."""
    queues = {
        key: {n: (t.first, t.began, t.message_id, t.sender, t.client, t.login, t.size, t.notice_of, t.last, t.done)
              for n, t in queue.items()}
        for key, queue in joiner.queues.items() if queue
    }  # fmt: skip
    answers = [(a.transaction.queue_id, *a[1:9], a.passed_to.queue_id if a.passed_to else None) for a in joiner.answers]
    touched = [(t.queue_id, t.last) for t in joiner.touched.values()]
    return joiner.seen, answers, joiner.refusals, queues, touched


def both(lines: Iterable[str], every: int) -> None:
    given = list(lines)

    def stamps() -> Stamps:
        return Stamps(zone=UTC, reference=datetime(2026, 12, 1, tzinfo=UTC))

    long, short = Joiner(), Joiner()
    long.take(read(given, stamps(), long.seen))
    numbers = list(join_lines(short, given, stamps(), every=every))
    assert numbers[-1] == len(given)
    assert told(short) == told(long)


@pytest.mark.parametrize("iso", [False, True])
def test_a_busy_servers_log(iso: bool) -> None:
    both(busy(5_000, iso), 1_000)


def test_lines_of_every_kind_in_every_order_whole_and_damaged() -> None:
    chance = random.Random(20261129)
    usual = busy(300, False) + busy(300, True)
    odd = ODD.split("\n")
    for _ in range(150):
        lines = [chance.choice(odd) if chance.random() < 0.4 else chance.choice(usual) for _ in range(120)]
        for at in range(0, len(lines), 4):
            line = lines[at]
            cut = chance.randrange(len(line) + 1)
            damage = chance.choice(["", " ", ": ", ", ", ">", "\0", "é", line[:30]])
            lines[at] = line[:cut] + damage + line[cut + chance.randrange(3) :]
        both(lines, 50)
