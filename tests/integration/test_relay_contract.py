"""The relay's contract with a stranger at each end, on default settings.

::

    msmtp, swaks, Django, nodemailer, PHPMailer, Odoo's way, Postfix, Exim ──► mailops serve ──► a scripted server

For each: every RCPT that got 250 ends delivered or reported, and the envelope that comes in goes out. The programs are set
up by the snippets of the page *Use mailops as your relay*, so these are tried too. ``.ci/run`` brings the programs; where one
is absent its test is skipped with the reason.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from furnish import furnish
from peers import missing
from realservers_kit import relay

from mailops import Ops
from mailops.bounces.reading import parse
from mailops.testing import Authority, DnsServer, SmtpServer, refuse

PAGE = (Path(__file__).parents[2] / "docs/how-to/relay.md").read_text("utf-8")
PATH, GOOD, GONE = "bounce-7@acme.example", "bob@x.example", "gone@x.example"
FROM, SUBJECT = "Ann <ann@acme.example>", "A round"
PASSWORD = "grapefruit-77"
TEXT = f"From: {FROM}\r\nTo: {GOOD}\r\nSubject: {SUBJECT}\r\n\r\nHello\r\n.dot\r\n"
LISTENERS = """
[[serve.listener]]
port = 0
[[serve.listener]]
port = 0
tls = "starttls"
sign_in = "required"
"""


def strangers() -> Path:
    """Where ``.ci/run`` has put the programs."""
    given = os.environ.get("MAILOPS_TEST_RELAY")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else cache / "mailops-test" / "relay"


@dataclass(frozen=True)
class World:
    """A running ``mailops serve`` with two listeners, and where it sends."""

    ops: Ops
    smtp: SmtpServer
    plain: int
    starttls: int
    ca: Path
    folder: Path

    def snippet(self, name: str) -> str:
        """A program's snippet of the page, for this listener."""
        found = re.search(rf"<!-- snippet: {name} -->\n```\w*\n(.*?)```", PAGE, re.S)
        assert found, name
        text = found[1].replace("relay.example.com", "localhost").replace("2587", str(self.starttls))
        text = text.replace("2525", str(self.plain)).replace("/etc/ssl/certs/ca-certificates.crt", str(self.ca))
        return re.sub(r"(?<!_)\bsecret\b", PASSWORD, text)

    def run(self, command: list[str], text: str = "", **env: str) -> None:
        library = strangers() / "debian/usr/lib/x86_64-linux-gnu"
        kept = {**os.environ, "LD_LIBRARY_PATH": str(library), **env}
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=60, env=kept, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from mailops.workspace import init

    folder = tmp_path_factory.mktemp("contract")
    authority = Authority(folder / "ca")
    pair = authority.server()
    with SmtpServer([refuse("gone*@*", 550, "5.1.1", "No such user here")]) as smtp:
        workspace = init(folder / "workspace")
        with (workspace.path / "mailops.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[serve]\ntls_cert = "{pair.certfile}"\ntls_key = "{pair.keyfile}"\n{LISTENERS}')
        ops = Ops.open(workspace.path)
        furnish(ops, smtp)
        ops.logins.add("shop", PASSWORD, setup=ops.setup, senders=("@acme.example",))
        command = [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), "serve", "--queue-every", "0"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            plain, starttls = (int(re.search(r":(\d+) ", child.stdout.readline())[1]) for _ in range(2))  # type: ignore[index]
            yield World(ops, smtp, plain, starttls, Path(str(authority.ca_file)), folder)
        finally:
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=30)
            ops.close()


def settle(world: World, *, path: str = PATH, signed_in: bool = True) -> None:
    """What holds for every program: envelope in is envelope out, and both recipients' ends are known."""
    ops, before = world.ops, len(world.smtp.messages)
    listed = ops.queue.page(limit=2).mails
    mine = [mail for mail in listed if mail.origin == "smtp" and mail.state.value == "outgoing"]
    assert mine, "nothing was handed over"
    ops.queue.run()
    new = world.smtp.messages[before:]
    delivered = [m for m in new if b"multipart/report" not in m.data]
    reported = [m for m in new if b"multipart/report" in m.data]
    assert [r for m in delivered for r in m.recipients] == [GOOD]
    assert [m.envelope_from for m in delivered] == [path]
    assert b"Hello" in delivered[0].data
    assert b"ann@acme.example" in delivered[0].data
    if path:
        [report] = reported
        assert (report.envelope_from, list(report.recipients)) == ("", [path])
        assert [(r.recipient, r.status) for r in parse(report.data).results] == [(GONE, "5.1.1")]
    else:
        assert not reported
        assert "null envelope sender" in str(ops.reports.listing()[0].why)
    assert {mail.login for mail in mine} == ({"shop"} if signed_in else {None})


def tool(name: str) -> str:
    """A program of the machine, or an unpacked one."""
    folder = strangers() / "debian/usr/bin"
    found = shutil.which(name) or shutil.which(name, path=str(folder))
    if found is None:
        missing("relay", f"{name} is not here (.ci/run fetches it)")
    return str(found)


def msmtp(world: World) -> None:
    config = world.folder / "msmtprc"
    config.write_text(world.snippet("msmtp"), "utf-8")
    config.chmod(0o600)
    world.run([tool("msmtp"), "-C", str(config), "-f", PATH, "--", GOOD, GONE], TEXT.replace("\r\n", "\n"))


def swaks(world: World) -> None:
    perl = strangers() / "debian/usr"
    words = world.snippet("swaks").split()
    mail = ["--from", PATH, "--to", f"{GOOD},{GONE}", "--data", "-"]
    libraries = ":".join(map(str, [*perl.glob("lib/*/perl5/*"), perl / "share/perl5"]))
    world.run([tool("perl"), tool("swaks"), *words[1:], *mail], TEXT.replace("\r\n", "\n"), PERL5LIB=libraries)


def django(world: World) -> None:
    if not (strangers() / "python/django").is_dir():
        missing("relay", "Django is not here (.ci/run fetches it)")
    script = f"""
import sys
sys.path.insert(0, {str(strangers() / "python")!r})
from django.conf import settings
found = {{}}
exec({world.snippet("django")!r}, found)
settings.configure(**{{k: v for k, v in found.items() if k.isupper()}})
from django.core.mail import EmailMessage
mail = EmailMessage({SUBJECT!r}, "Hello", {PATH!r}, [{GOOD!r}], bcc=[{GONE!r}], headers={{"From": {FROM!r}}})
assert mail.send() == 1
"""
    world.run([sys.executable, "-c", script], SSL_CERT_FILE=str(world.ca))


def nodemailer(world: World) -> None:
    if not (strangers() / "node_modules/nodemailer").is_dir():
        missing("relay", "nodemailer is not here (.ci/run fetches it)")
    script = f"""
{world.snippet("nodemailer")}
transport.sendMail({{ envelope: {{ from: {PATH!r}, to: [{GOOD!r}, {GONE!r}] }}, from: {FROM!r}, to: {GOOD!r},
  subject: {SUBJECT!r}, text: 'Hello' }}).then(i => process.exit(i.rejected.length), e => {{ console.log(e); process.exit(9); }});
"""
    file = strangers() / f"contract-{os.getpid()}.cjs"
    file.write_text(script, "utf-8")
    try:
        world.run([tool("node"), str(file)], NODE_EXTRA_CA_CERTS=str(world.ca), LD_LIBRARY_PATH="")
    finally:
        file.unlink()


def phpmailer(world: World) -> None:
    folder = next(
        (
            p
            for p in (strangers() / "debian/usr/share/php", Path("/usr/share/php"))
            if (p / "libphp-phpmailer").is_dir()
        ),
        None,
    )
    if folder is None:
        missing("relay", "PHPMailer is not here (.ci/run fetches it)")
    unpacked = sorted((strangers() / "debian/usr/bin").glob("php[0-9]*"))
    php = shutil.which("php") or (str(unpacked[0]) if unpacked else tool("php"))
    script = world.folder / "mail.php"
    script.write_text(
        f"""<?php
foreach (['Exception', 'SMTP', 'PHPMailer'] as $part) require '{folder}/libphp-phpmailer/src/' . $part . '.php';
{world.snippet("phpmailer")}
$mail->Sender = '{PATH}'; $mail->setFrom('ann@acme.example', 'Ann', false); $mail->dsn = 'FAILURE';
$mail->addAddress('{GOOD}'); $mail->addBCC('{GONE}'); $mail->Subject = '{SUBJECT}'; $mail->Body = 'Hello';
$mail->send();
""",
        "utf-8",
    )
    modules = sorted(
        (strangers() / "debian/usr/lib/php").glob("2*/*.so")
    )  # of the unpacked one; an installed knows its own
    wanted = [m for m in modules if m.stem in ("ctype", "iconv")] if shutil.which("php") is None else []
    loaded = [word for module in wanted for word in ("-d", f"extension={module}")]
    world.run([php, "-d", f"openssl.cafile={world.ca}", *loaded, str(script)])


def odoo(world: World) -> None:
    """Odoo is not installed for this: its settings, and the dialogue that its ``ir.mail_server`` leads with smtplib."""
    found = configparser.ConfigParser()
    found.read_string(world.snippet("odoo"))
    options = found["options"]
    with smtplib.SMTP(options["smtp_server"], options.getint("smtp_port"), timeout=20) as line:
        assert options.getboolean("smtp_ssl")
        line.starttls(context=ssl.create_default_context(cafile=str(world.ca)))
        line.login(options["smtp_user"], options["smtp_password"])
        line.sendmail(PATH, [GOOD, GONE], TEXT)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("program", [msmtp, swaks, django, nodemailer, phpmailer, odoo])
def test_a_programs_mail_ends_delivered_or_reported(world: World, program: Callable[[World], None]) -> None:
    program(world)
    settle(world)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", [PATH, ""])
@pytest.mark.parametrize("mta", ["postfix", "exim"])
def test_a_mail_servers_mail_too_with_the_null_path_as_it_is(world: World, mta: str, path: str) -> None:
    """The real one relays by the route of its snippet; what came in by another program goes through both."""
    assert f"127.0.0.1]:{world.plain}" in world.snippet("postfix")
    assert f"127.0.0.1::{world.plain}" in world.snippet("exim")
    before = world.ops.queue.page().total
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(DnsServer({}))
        server = stack.enter_context(relay(mta, {"x.example": ("127.0.0.1", world.plain)}, dns.address[0], 30))
        with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as line:
            line.sendmail(path, [GOOD, GONE], TEXT)
        for _ in range(300):
            if world.ops.queue.page().total > before:
                break
            import time

            time.sleep(0.1)
    settle(world, path=path, signed_in=False)


def test_every_snippet_of_the_page_is_tried() -> None:
    named: set[Any] = set(re.findall(r"<!-- snippet: (\w+) -->", PAGE))
    assert named == {"msmtp", "swaks", "django", "nodemailer", "phpmailer", "odoo", "postfix", "exim"}
