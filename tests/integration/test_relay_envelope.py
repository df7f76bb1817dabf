"""The envelope that a program gives is the envelope that leaves, or the explanation says why not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from furnish import furnish
from relay_kit import relayed, told

from mailops import Ops
from mailops.errors import ConfigError
from mailops.testing import SmtpServer

VERP = "list-bounces+bob=x.example@acme.example"


@pytest.mark.parametrize("path", [VERP, "bounce-xyz@acme.example", "ann@acme.example"])
def test_the_programs_reverse_path_leaves_as_it_came(ops_on: Callable[..., Ops], path: str) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        relayed(ops, path)
        ops.queue.run()
        [got] = smtp.messages
    assert got.envelope_from == path
    assert b"Return-Path" not in got.data  # the trace of final delivery is not an originator's to write


def test_a_path_that_the_filter_does_not_hold_becomes_the_bounce_address_and_that_is_told(
    ops_on: Callable[..., Ops],
) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        relayed(ops, "odoobounce@erp.example")
        before = told(ops, "explain", "send", "--mail", "1")
        ops.queue.run()
        [got] = smtp.messages
    assert got.envelope_from == "bounce@acme.example"
    assert any("odoobounce@erp.example is not used" in line for line in before["sentences"])
    assert before["left"] is None
    assert told(ops, "queue", "show", "1")["left"] == {
        "from": "Ann <ann@acme.example>",
        "envelope": "bounce@acme.example",
        "signature": None,
    }


def test_without_a_bounce_address_that_fits_it_is_the_from(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp, from_filter="ann@acme.example")
        relayed(ops, "odoobounce@erp.example")
        ops.queue.run()
        assert smtp.messages[0].envelope_from == "ann@acme.example"


@pytest.mark.parametrize("sender", ["MAILER-DAEMON@acme.example", "Mail System <postmaster@host.erp.example>"])
@pytest.mark.parametrize("held", ["acme.example", "notifications@acme.example", None])
def test_the_null_path_stays_null_and_its_from_is_never_rewritten(
    ops_factory: Callable[..., Ops], sender: str, held: str | None
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp, from_filter=held)
        relayed(ops, "", sender)
        ops.queue.run()
        [got] = smtp.messages
    assert got.envelope_from == ""
    assert f"From: {sender}\r\n".encode() in got.data
    assert b"Return-Path" not in got.data
    assert told(ops, "queue", "show", "1")["left"]["envelope"] == "<>"


def test_a_program_of_ours_can_send_with_the_null_path_too(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        mail = ["send", "--from", "daemon@acme.example", "--to", "bob@x.example", "--return-path", "<>"]
        told(ops, *mail, "--text", "Away")
        ops.send(sender="daemon@acme.example", to="bob@x.example", text="Away", return_path="<>")
        ops.queue.run()
        assert [m.envelope_from for m in smtp.messages] == ["", ""]
        assert all(b"Return-Path" not in m.data for m in smtp.messages)
    assert ops.explain(sender="daemon@acme.example", return_path="<>").envelope_from == "<>"


@pytest.mark.parametrize("policy", ["ours", "both"])
def test_where_mailops_is_to_read_the_reports_they_come_to_its_address(
    ops_factory: Callable[..., Ops], policy: str
) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory(toml=f'\n[serve]\nbounces = "{policy}"\n')
        furnish(ops, smtp)
        ops.return_paths.sign()
        relayed(ops, VERP)
        ops.queue.run()
        [got] = smtp.messages
    assert got.envelope_from.startswith("bounce+1-")  # signed: a report on it proves itself
    shown = told(ops, "explain", "send", "--mail", "1")
    assert f"bounces = {policy}" in " ".join(shown["sentences"])
    assert (shown["given"], shown["bounces"]) == (VERP, policy)


def test_explained_ahead_as_it_happens(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
    asked = ["explain", "send", "--from", "ann@acme.example", "--return-path"]
    assert told(ops, *asked, VERP, "--bounces", "keep")["envelope_from"] == VERP
    assert told(ops, *asked, VERP, "--bounces", "ours")["envelope_from"] == "bounce@acme.example"
    assert told(ops, *asked, "x@y.example", "--bounces", "both")["envelope_from"] == "bounce@acme.example"
    assert told(ops, *asked, "<>")["envelope_from"] == "<>"
    assert told(ops, *asked, "x@y.example")["envelope_from"] == "ann@acme.example"  # composed here: as documented
    with pytest.raises(ConfigError, match="says not where"):
        told(ops, *asked, VERP, "--bounces", "mine")
