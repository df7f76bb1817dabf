"""A report that anybody could have written proposes a suppression and never makes one."""

from __future__ import annotations

from collections.abc import Callable

from furnish import furnish

from mailops import Ops
from mailops.testing import SmtpServer, bounce_later, build_dsn


def test_a_report_tied_by_recipient_and_time_alone_only_proposes(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer(script=[bounce_later("gone@x.example", "5.1.1", "User unknown")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for name in ("gone", "victim"):
            ops.send(sender="Ann <ann@acme.example>", to=[f"{name}@x.example"], subject="Hello", text="Hi")
        ops.queue.run()
        ops.bounces.take(smtp.pending_bounces()[0].data)
        forged = build_dsn(
            b"From: ann@acme.example\r\nTo: victim@x.example\r\nSubject: Hello\r\n\r\nHi\r\n",
            "victim@x.example",
            "5.1.1",
            "550 5.1.1 User unknown",
            "mx.evil.example",
        )
        taken = ops.bounces.take(forged)
        assert [match.by for match in taken.matches] == ["recipient+time"]
    real, guess = (ops.suppressions.find(f"{name}@x.example") for name in ("gone", "victim"))
    assert real is not None
    assert real.state == "active"
    assert guess is None or guess.state == "proposed"
    states = {row["address"]: row["state"] for row in ops.suppressions.frame().to_dict("records")}
    assert states == {"gone@x.example": "active", "victim@x.example": "proposed"}
