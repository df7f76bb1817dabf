"""The submission port and the process behind it: what strangers say there does nothing but get an answer."""

from __future__ import annotations

import base64
import signal
import smtplib
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from furnish import furnish
from test_serve import serving

from mailops import Ops
from mailops.errors import ConfigError
from mailops.submission import Limits, SubmissionServer, SubmittedMail, hash_password
from mailops.testing import SmtpServer

ESCAPE = b"\x1b[31mFOO\x1b]0;x\x07"


def talk(port: int, *said: bytes, wait: float = 0.2) -> bytes:
    """Everything the listener answers to these pieces, until it closes or says no more."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        heard += line.recv(4096)
        for piece in said:
            try:
                line.sendall(piece)
                line.settimeout(wait)
                while got := line.recv(4096):
                    heard += got
                return heard + b"<closed>"
            except TimeoutError:
                continue
            except ConnectionError:
                return heard + b"<closed>"
    return heard


# --- what strangers write on a terminal -------------------------------------------------------------------------------


def test_no_door_of_a_running_service_writes_control_characters(ops_factory: Callable[..., Ops]) -> None:
    with SmtpServer() as smtp:
        ops = ops_factory()
        furnish(ops, smtp)
        with serving(ops, "--queue-every", "0", "--webhooks", "0") as (child, port):
            assert child.stdout is not None
            hooks = int(child.stdout.readline().rpartition("127.0.0.1:")[2].partition("/")[0])
            talk(port, ESCAPE + b" x\r\n", b"MAIL FROM:<" + ESCAPE + b"@x>\r\n")
            talk(port, b"EHLO " + ESCAPE + b"\r\n", b"AB" + ESCAPE + b"\r\n", b"CD" + ESCAPE + b"\r\n")
            talk(port, b"XY" + ESCAPE + b" x\r\n", b"XY" + ESCAPE + b" x\r\n")
            talk(port, b"EHLO x\r\n", b"MAIL FROM:<a@acme.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n",
                 b"From: a@acme.example\r\nX" + ESCAPE + b"\r\n\r\nx\r\n.\r\n")  # fmt: skip
            with socket.create_connection(("127.0.0.1", hooks), timeout=5) as line:
                line.sendall(b"GET /\x1b[31m HTTP/1.1\r\nHost: " + ESCAPE + b"\r\n\r\n")
                line.recv(1000)
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=30)
    assert not [c for c in out + err if ord(c) < 32 and c not in "\n\t"], repr(err)


def test_records_of_any_library_and_warnings_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Seen from a program that has what `mailops` installs: a record of any logger, with a trace, and a warning."""
    import subprocess

    code = (
        "import logging, warnings\nfrom mailops.secrets import install_log_redaction\ninstall_log_redaction()\n"
        "logging.getLogger('mail.log').warning('said %s', '\\x1b[31mA\\x07\\nforged: line')\n"
        "warnings.warn('\\x1b]0;B\\x07')\n"
        "try:\n    raise ValueError('\\x1b[31mC')\nexcept ValueError:\n    logging.getLogger('uvicorn.error').exception('x\\x1b')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert all(letter in done.stderr for letter in "ABC")
    assert not [c for c in done.stderr if ord(c) < 32 and c not in "\n\t"], repr(done.stderr)
    assert "\nforged" not in done.stderr


# --- signing in -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    return {"cron": hash_password("cron-word"), "shop": hash_password("shop-word")}


@contextmanager
def desk(users: dict[str, str], **limits: int) -> Iterator[SubmissionServer]:
    taken: list[SubmittedMail] = []
    with SubmissionServer(
        lambda mail: taken.append(mail) or len(taken),  # type: ignore[func-returns-value]
        users=users, allow_insecure_loopback=True, limits=Limits(**limits),
    ) as server:  # fmt: skip
        yield server


def sign_in(port: int, login: str, word: str) -> int:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as line:
        line.ehlo()
        blob = base64.b64encode(f"\0{login}\0{word}".encode()).decode()
        return line.docmd("AUTH", f"PLAIN {blob}")[0]


def test_one_program_with_a_wrong_password_shuts_no_other_out(users: dict[str, str]) -> None:
    with desk(users, failed_logins_per_minute=3) as server:
        assert [sign_in(server.port, "cron", "wrong") for _ in range(4)] == [535, 535, 535, 454]
        assert sign_in(server.port, "shop", "shop-word") == 235
        assert sign_in(server.port, "cron", "cron-word") == 454


def test_tries_side_by_side_are_no_more_than_the_limit(users: dict[str, str]) -> None:
    with desk(users, failed_logins_per_minute=3) as server:
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: codes.append(sign_in(server.port, "cron", f"guess{n}"))) for n in range(12)
        ]  # fmt: skip
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
    assert sorted(codes) == [454] * 9 + [535] * 3


def test_many_right_sign_ins_at_once_all_succeed(users: dict[str, str]) -> None:
    with desk(users, failed_logins_per_minute=2) as server:
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(sign_in(server.port, "shop", "shop-word"))) for _ in range(8)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
    assert codes == [235] * 8


def test_a_password_that_would_never_match_is_refused_where_it_is_set() -> None:
    with pytest.raises(ConfigError) as refused:
        hash_password("x" * 1025)
    assert refused.value.code == "config.submission_password"


# --- other protocols --------------------------------------------------------------------------------------------------

MAIL = b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nFrom: a@acme.example\r\nSubject: s\r\n\r\nx\r\n.\r\n"


@pytest.mark.parametrize(
    "first",
    [
        *(
            verb + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
            for verb in (b"POST", b"GET", b"put", b"CONNECT", b"HEAD", b"OPTIONS")
        ),
        b"BREW /pot HTTP/1.1\r\n",
        b"Host: 127.0.0.1:2525\r\n",
        b"X-Smuggled: 1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b'{"jsonrpc": 1}\r\n',
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
@pytest.mark.parametrize("cut", [False, True])
def test_another_protocol_ends_the_connection_and_leaves_no_mail(first: bytes, cut: bool) -> None:
    taken: list[SubmittedMail] = []
    with SubmissionServer(lambda mail: taken.append(mail) or 1) as server:  # type: ignore[func-returns-value]
        pieces = (first[:2], first[2:] + b"EHLO x\r\n", MAIL) if cut else (first + b"EHLO x\r\n" + MAIL,)
        said = talk(server.port, *pieces)
    assert not taken
    assert said.endswith(b"<closed>"), said
    assert b"\r\n421 " in said
    assert b"queued" not in said


def test_a_browser_makes_no_mail() -> None:
    taken: list[SubmittedMail] = []
    with SubmissionServer(lambda mail: taken.append(mail) or 1) as server:  # type: ignore[func-returns-value]
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/", b"EHLO x\r\n" + MAIL, method="POST")
        with pytest.raises(Exception):  # noqa: B017  - whatever the library makes of 421
            urllib.request.urlopen(request, timeout=5)
    assert not taken


def test_unknown_commands_are_told_twice() -> None:
    with SubmissionServer(lambda mail: 1) as server:
        said = talk(server.port, b"FOO\r\n", b"BAR\r\n", b"BAZ\r\n")
    assert said.count(b"\r\n500 ") == 2
    assert said.endswith(b"421 4.7.0 Too many unknown commands\r\n<closed>")


# --- mail that goes round, content at fault ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"Received:", b"Received :", b"RECEIVED\t:"])
def test_a_mail_that_goes_round_is_stopped_however_its_trace_is_written(name: bytes) -> None:
    with SubmissionServer(lambda mail: 1) as server, smtplib.SMTP("127.0.0.1", server.port, timeout=10) as line:
        line.ehlo()
        line.mail("a@acme.example")
        line.rcpt("b@x.example")
        code, text = line.data(name + b" by x\r\n" + (name + b" by x\r\n") * 60 + b"From: a@acme.example\r\n\r\nx\r\n")
    assert (code, text[:5]) == (554, b"5.4.6")


# --- stopping ---------------------------------------------------------------------------------------------------------


@contextmanager
def silent(*answers: bytes) -> Iterator[tuple[int, threading.Event]]:
    """A peer that says these lines, one for each it hears, and then nothing: neither an answer nor an end."""
    door = socket.create_server(("127.0.0.1", 0))
    over, here = threading.Event(), threading.Event()
    lines: list[socket.socket] = []

    def serve(line: socket.socket) -> None:
        for at, answer in enumerate(answers):
            if at and not line.recv(65536):
                return
            line.sendall(answer)
        here.set()
        over.wait(60)

    def take() -> None:
        while not over.is_set():
            try:
                line, _ = door.accept()
            except OSError:
                return
            lines.append(line)
            if not answers:
                here.set()
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    try:
        yield door.getsockname()[1], here
    finally:
        over.set()
        for one in [door, *lines]:
            one.close()


HELLO = (b"220 x ESMTP\r\n", b"250 x\r\n")


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ((), 8),
        (HELLO[:1], 8),
        (HELLO, 8),
        ((*HELLO, b"250 ok\r\n"), 8),
        ((*HELLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"), 16),
    ],
    ids=["banner", "ehlo", "mail", "rcpt", "final dot"],
)
def test_a_stop_does_not_wait_for_a_stalled_peer(
    ops_factory: Callable[..., Ops], answers: tuple[bytes, ...], seconds: float
) -> None:
    class Peer:
        port = 0

    with silent(*answers) as (port, here):
        Peer.port = port
        ops = ops_factory()
        furnish(ops, Peer, timeout=120.0)
        mail_id = ops.send(sender="ann@acme.example", to="b@x.example", subject="s", text="t")
        with serving(ops, "--queue-every", "0.2") as (child, _):
            assert here.wait(20)
            time.sleep(0.3)
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            try:
                status = child.wait(timeout=seconds)
            except Exception:
                child.kill()
                pytest.fail(f"still there after {time.monotonic() - began:.0f} s")
        assert status == 0
        assert ops.queue.mail(mail_id).state.value == "outgoing"
