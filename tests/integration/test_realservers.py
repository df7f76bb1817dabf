"""The whole way through real parts: token from the certified provider, submission at Postfix, mailbox in Dovecot.

::

    mailops ── XOAUTH2 / OAUTHBEARER ──► Postfix ── sign-in asked of ──► Dovecot ── token checked at ──► provider
                                            └── LMTP ──► Dovecot ──► fetched by IMAP and POP3

Provider and Dovecot are those of ``test_oauth_realservers``. Postfix runs as an instance of its own, in a folder of its
own, on loopback; its master insists on root, so without root (or Postfix) the tests skip with the reason.
"""

from __future__ import annotations

import imaplib
import os
import poplib
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from peers import missing
from realservers_kit import RECIPES, START_SECONDS, fill, free_ports, postfix_setting, program, wait_port
from test_oauth_realservers import (
    ANN,
    BOB,
    Dovecot,
    World,
    dovecot,
    oidc,
    world,
)

from mailops.clock import SystemClock
from mailops.errors import DeliveryError, TemporaryFailure
from mailops.model.setup import Authentication, Encryption, Server
from mailops.oauth import imap_sign_in, pop_sign_in
from mailops.ports import Outbound
from mailops.smtp import SmtpTransport
from mailops.testing import Authority

__all__ = ["dovecot", "oidc", "world"]  # the fixtures of the other module

MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
pytestmark = pytest.mark.timeout(120)


@dataclass
class Postfix:
    """The running instance: a port for each mechanism."""

    ports: dict[str, int]
    ca_file: str
    log: Path

    def server(self, mechanism: str, login: str = ANN) -> Server:
        return Server(
            "main",
            "Main",
            "localhost",
            self.ports[mechanism],
            Encryption.STARTTLS,
            Authentication.OAUTH,
            login,
            ca_file=self.ca_file,
            provider="outlook",
            timeout=20,
        )


@pytest.fixture
def postfix(dovecot: Dovecot) -> Iterator[Postfix]:
    binary = program("postfix")
    if binary is None:
        missing("postfix", "postfix is not installed")
        raise AssertionError
    if os.geteuid() != 0:
        missing("postfix", "Postfix's master runs as root only")
    folder = Path(tempfile.mkdtemp(prefix="mo-"))
    folder.chmod(0o755)
    # Dovecot's door for clients that ask for sign-ins; Postfix's own user has to be let in
    door = Path(dovecot.ca_file).parents[1] / "base" / "auth-client"
    end = time.monotonic() + START_SECONDS
    while not door.exists() and time.monotonic() < end:  # its ports answer a moment earlier
        time.sleep(0.02)
    door.chmod(0o666)
    authority = Authority(folder / "own")
    pair = authority.server()
    ports = dict(zip(MECHANISMS, free_ports(2), strict=True))
    values = {
        "RUN": folder, "AUTH": door, "CERT": pair.certfile, "KEY": pair.keyfile, "LMTP": dovecot.lmtp,
        "DAEMONS": postfix_setting("daemon_directory"), "SHLIB": postfix_setting("shlib_directory"), **ports,
    }  # fmt: skip
    config = folder / "config"
    config.mkdir()
    for name in ("main.cf", "master.cf"):
        fill(RECIPES / f"{name}.in", config / name, values)
    (folder / "spool").mkdir()
    (folder / "data").mkdir()
    shutil.chown(folder / "data", "postfix", "postfix")
    subprocess.run([binary, "-c", str(config), "check"], capture_output=True, timeout=60, check=False)
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([binary, "-c", str(config), "start-fg"], stdout=out, stderr=out)
    try:
        for port in ports.values():
            try:
                wait_port(port, process)
            except AssertionError:
                pytest.fail(f"Postfix ended at once: {(folder / 'out').read_text('utf-8', 'replace')[-1500:]}")
        yield Postfix(ports, authority.ca_file, folder / "maillog")
    finally:
        subprocess.run([binary, "-c", str(config), "stop"], capture_output=True, timeout=60, check=False)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def mail(subject: str, sender: str = ANN) -> Outbound:
    text = f"From: {sender}\r\nTo: {ANN}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@acme.example>\r\n\r\nHello\r\n"
    return Outbound(sender, (ANN,), text.encode())


def arrived(world: World, dovecot: Dovecot, subject: str) -> bool:
    """Whether the mail stands in the mailbox; waits for Postfix's queue, bounded."""
    context = ssl.create_default_context(cafile=dovecot.ca_file)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with imaplib.IMAP4_SSL("localhost", dovecot.imaps, ssl_context=context, timeout=20) as imap:
            imap_sign_in(imap, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused))
            imap.select("INBOX")
            if imap.search(None, "SUBJECT", f'"{subject}"')[1] != [b""]:
                return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_mail_is_submitted_at_postfix_and_fetched_again(
    world: World, dovecot: Dovecot, postfix: Postfix, mechanism: str
) -> None:
    world.connect()
    transport = SmtpTransport(world.secrets, SystemClock(), world.tokens)
    session = transport.connect(postfix.server(mechanism))
    try:
        result = session.send(mail(f"by-{mechanism.lower()}"))
        assert [r.code for r in result.replies] == [250]
    finally:
        session.close()
    assert f"sasl_method={mechanism}, sasl_username={ANN}" in _log(postfix, "sasl_method=")
    assert arrived(world, dovecot, f"by-{mechanism.lower()}")
    pop = poplib.POP3_SSL("localhost", dovecot.pop3s, context=_trusting(dovecot), timeout=20)
    pop_sign_in(pop, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused))
    lines = b"\r\n".join(pop.retr(1)[1])
    pop.quit()
    assert f"Subject: by-{mechanism.lower()}".encode() in lines
    if world.oidc.format == "jwt":
        assert len(world.tokens.token_for(ANN)) > 2000  # a line longer than Postfix takes by default


def test_postfix_refuses_what_it_should(world: World, postfix: Postfix, monkeypatch: pytest.MonkeyPatch) -> None:
    world.connect()
    world.connect(BOB)
    transport = SmtpTransport(world.secrets, SystemClock(), world.tokens)
    session = transport.connect(postfix.server("XOAUTH2"))
    try:  # signed in as Ann, writing as Bob
        (reply,) = session.send(mail("as-bob", BOB)).replies
        assert reply.permanent
        assert "not owned by user" in reply.text
    finally:
        session.close()
    bobs = world.tokens.token_for(BOB)
    for token in ("junk", bobs):  # no token at all, and one of somebody else
        monkeypatch.setattr(world.tokens, "access_token", lambda _server, refused=False, token=token: token)
        with pytest.raises(DeliveryError):
            transport.connect(postfix.server("OAUTHBEARER"))


def test_an_ended_token_is_renewed_on_the_way(world: World, dovecot: Dovecot, postfix: Postfix) -> None:
    world.connect()
    before = world.tokens.token_for(ANN)
    world.age()
    session = SmtpTransport(world.secrets, SystemClock(), world.tokens).connect(postfix.server("XOAUTH2"))
    try:
        assert session.send(mail("after-its-end")).replies[0].accepted
    finally:
        session.close()
    assert world.tokens.token_for(ANN) != before
    assert arrived(world, dovecot, "after-its-end")


def test_a_revoked_sign_in_is_told_and_the_mail_waits(world: World, postfix: Postfix) -> None:
    if world.oidc.format == "jwt":
        pytest.skip("a JSON web token is good until its end; only introspection knows of revocation")
    world.connect()
    world.revoke(world.tokens.token_for(ANN))  # this provider ends the whole grant with it
    with pytest.raises(TemporaryFailure, match="no longer valid"):  # temporary: somebody connects again, nothing lost
        SmtpTransport(world.secrets, SystemClock(), world.tokens).connect(postfix.server("XOAUTH2"))


def _trusting(dovecot: Dovecot) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=dovecot.ca_file)


def _log(postfix: Postfix, wanted: str) -> str:
    """Postfix's log once it holds the text; it is written by another process."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        text = postfix.log.read_text("utf-8", "replace") if postfix.log.exists() else ""
        if wanted in text:
            return text
        time.sleep(0.05)
    return text
