"""LMTP from a real client: a reply for each recipient, and 250 only for what is stored."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from test_intake import furnish, mail, right, rows

from mailops import Ops
from mailops.errors import ConfigError
from mailops.model.setup import AliasDomain
from mailops.store import schema
from mailops.testing import Authority, ManualClock


@pytest.fixture
def ops(ops_factory: Callable[..., Ops]) -> Ops:
    made = furnish(ops_factory(clock=ManualClock()))
    made.save_alias("shop", "lead")
    return made


def hand_over(client: smtplib.LMTP, recipients: list[str], raw: bytes) -> list[int]:
    """A mail with its envelope, and the reply for each recipient (smtplib reads one only)."""
    client.ehlo_or_helo_if_needed()
    client.mail("ann1@x.example")
    for address in recipients:
        assert client.rcpt(address)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(raw + b".\r\n")
    return [client.getreply()[0] for _ in recipients]


def test_a_mail_server_hands_mail_over(ops: Ops) -> None:
    with ops.lmtp() as listener, smtplib.LMTP("127.0.0.1", listener.port) as client:
        raw = mail(1, to="undisclosed-recipients:;")
        for _ in range(2):
            assert hand_over(client, ["help@acme.example", "shop@acme.example"], raw) == [250, 250]
        with pytest.raises(smtplib.SMTPDataError) as nobody:
            client.sendmail("ann1@x.example", ["nobody@acme.example"], mail(2, to="nobody@acme.example"))
        assert nobody.value.smtp_code == 550
    assert sorted(row.model for row in rows(ops, schema.records)) == ["lead", "ticket"]  # both, by the envelope alone
    total = right(ops)
    assert (total.delivered, total.refused, total.doubled) == (1, 1, 1)
    assert [one.account for one in ops.intake.ledger().sums] == ["lmtp"]


def test_the_null_path_of_the_envelope_counts(ops: Ops) -> None:
    with ops.lmtp() as listener, smtplib.LMTP("127.0.0.1", listener.port) as client:
        client.sendmail("", ["catchall@acme.example"], mail(1, to="catchall@acme.example"))
    assert ops.inbound.log()[0][0].answer == "no notice: the mail has the null return path"


def test_what_cannot_be_stored_is_not_taken(ops: Ops) -> None:
    import sqlite3

    def full(name: str) -> None:
        if name == "storing":
            cause = sqlite3.OperationalError("database or disk is full")
            cause.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise sa.exc.OperationalError("INSERT", {}, cause)

    ops.intake.on_step = full
    with ops.lmtp() as listener, smtplib.LMTP("127.0.0.1", listener.port) as client:
        with pytest.raises(smtplib.SMTPDataError) as later:
            client.sendmail("ann1@x.example", ["help@acme.example"], mail(1))
        assert later.value.smtp_code == 451
        ops.intake.on_step = lambda name: None
        assert client.sendmail("ann1@x.example", ["help@acme.example"], mail(1)) == {}
    assert right(ops).delivered == 1


def test_it_listens_on_loopback_only(ops: Ops) -> None:
    with pytest.raises(ConfigError) as public:
        ops.lmtp("0.0.0.0")
    assert public.value.code == "inbound.lmtp_public"


# --- SMTP: an MX record leads here ------------------------------------------------------------------------------------


def test_smtp_takes_mail_for_the_alias_domains_alone(ops: Ops) -> None:
    ops.save_alias_domain(AliasDomain("bücher.example"))
    with ops.mx() as listener, smtplib.SMTP("127.0.0.1", listener.port) as client:
        assert client.sendmail("ann1@x.example", ["help@acme.example"], mail(1)) == {}
        for stranger in ("bob@other.example", "bob", "help@sub.acme.example"):
            client.ehlo()
            client.mail("ann1@x.example")
            assert client.rcpt(stranger) == (550, b"5.7.1 this server takes no mail for that domain"), stranger
            client.rset()
        assert client.rcpt("help@acme.example")[0] == 503
        client.mail("ann1@x.example")
        assert client.rcpt("info@xn--bcher-kva.example")[0] == 250
        client.rset()
        with pytest.raises(smtplib.SMTPDataError) as nobody:
            client.sendmail("ann1@x.example", ["nobody@acme.example"], mail(2, to="nobody@acme.example"))
        assert nobody.value.smtp_code == 550
        assert client.sendmail("", ["help@acme.example", "shop@acme.example"], mail(3, to="x:;")) == {}
    assert [one.account for one in ops.intake.ledger().sums] == ["smtp"]
    assert sorted(row.model for row in rows(ops, schema.records)) == ["lead", "ticket", "ticket"]
    assert right(ops).refused == 1


def test_smtp_offers_starttls_with_a_certificate(ops: Ops, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.server()
    context = ssl.create_default_context(cafile=authority.ca_file)
    with (
        ops.mx(certificate=pair.certfile, key=pair.keyfile) as listener,
        smtplib.SMTP("127.0.0.1", listener.port) as client,
    ):
        client.starttls(context=context)
        assert client.sendmail("ann1@x.example", ["help@acme.example"], mail(1)) == {}
    assert right(ops).delivered == 1
    with pytest.raises(ConfigError) as broken:
        ops.mx(certificate=tmp_path / "none.pem")
    assert broken.value.code == "inbound.certificate"
