"""The kit's names load on first use; its certificates are what they say; its books survive."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import mailops.testing
from mailops.errors import ConfigError
from mailops.testing import AuthAttempt, Authority, ServerTls, read_books
from mailops.testing.smtp_auth import parse_sasl
from mailops.testing.smtp_books import Books
from mailops.testing.smtp_session import message_id_of


def test_every_public_name_exists():
    for name in mailops.testing.__all__:
        assert getattr(mailops.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        mailops.testing.Nonsense  # noqa: B018


def test_the_clock_alone_loads_no_server():
    code = (
        "import sys; from mailops.testing import ManualClock; "
        "print(sorted({'ssl', 'asyncio', 'cryptography', 'dns'} & set(sys.modules)))"
    )
    root = Path(mailops.testing.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=root, check=True
    )
    assert done.stdout.strip() == "[]"


def test_certificates_are_private_files(tmp_path):
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    authority.client("ann")
    for path in (tmp_path / "ca").rglob("*.*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(pair.certfile, pair.keyfile)


def test_an_expired_certificate_has_ended(tmp_path):
    from cryptography import x509

    pair = Authority(tmp_path).server("expired")
    certificate = x509.load_pem_x509_certificate(Path(pair.certfile).read_bytes())
    assert certificate.not_valid_before_utc < certificate.not_valid_after_utc < datetime.now(UTC)


def test_unknown_kinds_and_modes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="kind"):
        Authority(tmp_path).server("shiny")
    with pytest.raises(ConfigError, match="mode"):
        ServerTls("ssl", "a", "b")


def test_books_leave_out_a_line_cut_short(tmp_path):
    path = tmp_path / "books.jsonl"
    books = Books(path, fsync=True)
    books.record({"event": "accepted", "n": 1})
    assert path.read_bytes() == b""
    books.flush()
    books.close()
    with path.open("ab") as file:
        file.write(b'{"event": "acc')
    assert list(read_books(path)) == [{"event": "accepted", "n": 1}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(read_books(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"Subject: x\r\nMessage-ID: <a@b>\r\n\r\nbody", "<a@b>"),
        (b"message-id:\r\n <long@folded>\r\n\r\n", "<long@folded>"),
        (b"Subject: x\r\n\r\nMessage-ID: <in@body>\r\n", None),
        (b"", None),
    ],
)
def test_message_id_is_read_from_the_header_only(data, expected):
    assert message_id_of(data) == expected


@pytest.mark.parametrize(
    ("mechanism", "text", "expected"),
    [
        ("PLAIN", "\0ann\0pw", ("ann", "pw")),
        ("PLAIN", "boss\0ann\0pw", ("ann", "pw")),
        ("PLAIN", "ann", None),
        ("XOAUTH2", "user=ann@a.test\x01auth=Bearer tok\x01\x01", ("ann@a.test", "tok")),
        ("XOAUTH2", "auth=Bearer tok\x01\x01", None),
        ("OAUTHBEARER", "n,a=ann@a.test,\x01host=h\x01port=25\x01auth=Bearer tok\x01\x01", ("ann@a.test", "tok")),
        ("OAUTHBEARER", "n,,\x01auth=Bearer tok\x01\x01", ("", "tok")),
        ("OAUTHBEARER", "user=ann\x01auth=Bearer tok\x01\x01", None),
    ],
)
def test_sasl_messages(mechanism, text, expected):
    attempt = parse_sasl(mechanism, text)
    assert (None if attempt is None else (attempt.login, attempt.secret)) == expected


def test_an_attempt_does_not_print_its_secret():
    assert "pw" not in repr(AuthAttempt("PLAIN", "ann", "pw"))
