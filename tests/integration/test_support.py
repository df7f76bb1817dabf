"""The support bundle: nobody is named in it, and it still explains the case.

What is planted is looked for by a search of this file's own: the bundle's files are taken apart by the standard library,
and every spelling is undone whole.
"""

from __future__ import annotations

import base64
import contextlib
import email
import email.header
import email.policy
import html
import json
import quopri
import random
import re
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from dns_kit import KEY
from furnish import furnish
from ole_kit import compound, fixed, person, text
from typer.testing import CliRunner

from mailops import Ops
from mailops.app.pages import home
from mailops.checks import support as checks
from mailops.cli.app import app
from mailops.errors import ConfigError, InputRefused, NotFound
from mailops.page.blocks import text as block_text
from mailops.testing import DnsServer, SmtpServer
from mailops.testing.smtp_script import Rule
from mailops.threads.service import Entry
from mailops.widgets import SupportView

Cli = Callable[..., Any]


def run_cli(ops: Ops, *arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(app, ["-w", str(ops.workspace.path), *arguments], **options)


# --- the search -------------------------------------------------------------------------------------------------------


def spellings(text: str) -> Iterator[str]:
    """A text with one kind of spelling undone."""
    yield urllib.parse.unquote(text)
    yield html.unescape(text)
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
    yield quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    yield re.sub(r"\+([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text)
    yield re.sub(r"\"?;\s*[a-z]+\*\d\*?=\"?", "", text)
    words = re.findall(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)+", text)
    yield "\x00".join(map(in_words, words))
    inner = []
    for word in re.findall(r"[A-Za-z0-9+/_-]{8,}", text):
        for start in range(4):
            piece = word[start:].replace("-", "+").replace("_", "/")
            piece = piece[: len(piece) // 4 * 4] or "AAAA"
            inner.append(base64.b64decode(piece).decode("utf-8", "replace"))
        if re.fullmatch(r"[0-9a-fA-F]+", word):
            inner.append(bytes.fromhex(word[: len(word) // 2 * 2]).decode("utf-8", "replace"))
    yield "\x00".join(inner)
    with contextlib.suppress(UnicodeError):
        yield "\x00".join(word[4:].encode().decode("punycode") for word in re.findall(r"xn--[a-z0-9-]+", text))


def in_words(run: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(run)))
    except (UnicodeError, LookupError, email.errors.HeaderParseError):
        return run


def readings(data: bytes) -> set[str]:
    """Everything that somebody can read in a file, three spellings deep."""
    texts = {data.decode("utf-8", "replace")}
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    for part in message.walk():
        texts.update(f"{value}" for value in part.values())
        body = part.get_payload(decode=True)
        if isinstance(body, bytes):
            texts.add(body.decode(part.get_content_charset("utf-8"), "replace"))
            texts.add(body.decode("latin-1"))
    found = set(texts)
    for _ in range(2):
        texts = {other for text in texts for other in spellings(text)} - found
        found |= texts
    return found


def left_in(path: Path, planted: list[str]) -> list[tuple[str, str]]:
    """What of it somebody can still read in a zip."""
    out = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            whole = "\x00".join({name, *readings(archive.read(name))}).lower()
            out += [(name, one) for one in planted if one.lower() in whole]
    return out


# --- what is planted --------------------------------------------------------------------------------------------------

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda v: v,
    "encoded word, Q": lambda v: "=?utf-8?q?" + "".join(f"={o:02X}" for o in v.encode()) + "?=",
    "encoded word, B": lambda v: f"=?utf-8?b?{base64.b64encode(f'An {v} ü'.encode()).decode()}?=",
    "percent": lambda v: "".join(f"%{o:02X}" for o in v.encode()),
    "percent, of signs": lambda v: f"https://shop.elsewhere.example/go?to={urllib.parse.quote(v, safe='')}",
    "entities": lambda v: "".join(f"&#{ord(c)};" if n % 2 else c for n, c in enumerate(v)),
    "entities, hex": lambda v: "".join(f"&#x{ord(c):x};" for c in v),
    "JSON": lambda v: "".join(f"\\u{ord(c):04x}" if n % 3 else c for n, c in enumerate(v)),
    "hex": lambda v: v.encode().hex(),
    "base64": lambda v: base64.b64encode(f"to {v} now".encode()).decode(),
    "base64, for links": lambda v: base64.urlsafe_b64encode(f"u={v};".encode()).decode().rstrip("="),
    "quoted-printable": lambda v: "".join(f"={o:02X}" for o in v.encode()),
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def values() -> tuple[list[str], list[str], list[str]]:
    """120 addresses, 50 tokens, 30 secrets."""
    made = random.Random(7)

    def word(size: int, letters: str = LETTERS) -> str:
        return "".join(made.choice(letters) for _ in range(size))

    domains = [f"{word(made.randint(4, 9))}.{end}" for end in ("example", "co.uk", "de", "test") for _ in range(6)]
    domains += ["müller-söhne.de", "xn--bcher-kva.example"]
    addresses = [
        f"{word(5)}{made.choice(['.', '_', '-', '+', ''])}{word(4)}@{made.choice(domains)}" for _ in range(118)
    ]
    addresses += ["o'brien.kim@halle.example", "jürgen.groß@müller-söhne.de"]
    tokens = [word(32, "0123456789abcdef") for _ in range(15)]
    tokens += ["".join(made.choice("aB3dE6fG9hJ2kL") for _ in range(24)) for _ in range(20)]
    tokens += [f"sk_live_{word(24, LETTERS + '0123456789')}" for _ in range(8)]
    tokens += [
        f"{word(8, '0123456789abcdef')}-{word(4, '0123456789abcdef')}-4abc-8def-{word(12, '0123456789abcdef')}"
        for _ in range(7)
    ]
    secrets = [f"{word(4)}-{word(4).upper()}!{made.randint(100, 999)}{word(3)}" for _ in range(30)]
    return addresses, tokens, secrets


def planted_mail(everything: list[str], addresses: list[str], tokens: list[str]) -> bytes:
    """A mail with each value in each spelling, where that spelling comes."""
    lines = [
        f"{name} {number}: {spell(value)}"
        for number, value in enumerate(everything)
        for name, spell in ENCODINGS.items()
    ]
    mail = EmailMessage(policy=email.policy.SMTP.clone(utf8=False))
    mail["From"] = "Sales <sales@planted.example>"
    mail["To"] = "buyer@planted.example"
    mail["Subject"] = "The invoice S00042 was refused"
    mail["Message-ID"] = "<177.4a5b@planted.example>"
    mail["Date"] = "Wed, 10 Jan 2024 11:45:00 +0100"
    mail.set_content("The invoice is here, thank you.\n" + "\n".join(lines), cte="quoted-printable")
    shown = "".join(f"<p>{line}</p>" for line in lines[::4])
    mail.add_alternative(f"<p>The invoice</p>{shown}", subtype="html", cte="base64")
    mail.add_attachment("\n".join(lines[1::4]).encode(), maintype="text", subtype="csv", filename="list.csv")
    mail.add_attachment(
        b"\x89PNG\r\n\x1a\n\x00" + addresses[0].encode(), maintype="image", subtype="png", filename="a.png"
    )
    inner = EmailMessage()
    inner["To"] = addresses[1]
    inner.set_content(f"{addresses[2]} {tokens[0]}")
    mail.add_attachment(inner)
    head = [
        f"X-Note-{n}: {ENCODINGS[name](value)}"
        for n, value in enumerate(everything)
        for name in ("plain", "encoded word, Q", "encoded word, B")
    ]
    head += [
        f"X-Verp-{n}: <bounce+{n}-{v.replace('@', '=')}@lists.planted.example>"
        for n, v in enumerate(addresses)
        if "'" not in v
    ]
    head += [
        f"X-Disposition-{n}: attachment; filename*0*=utf-8''{urllib.parse.quote(v[:6])};\r\n filename*1*={urllib.parse.quote(v[6:])}"
        for n, v in enumerate(addresses)
    ]
    head += [
        f"X-Recipient-{n}: rfc822;{v.replace('+', '+2B').replace('@', '+40')}"
        for n, v in enumerate(addresses)
        if v.isascii()
    ]
    head += [f"References: <{v}>" for v in addresses if v.isascii()]
    head += [f"List-Unsubscribe: <https://planted.example/u/{t}?t={t}>" for t in tokens]
    raw = mail.as_bytes(policy=email.policy.SMTP)
    return "\r\n".join(head).encode() + b"\r\n" + raw


@pytest.fixture
def house(ops_on: Callable[..., Ops]) -> Iterator[Ops]:
    """A workspace in which a mail to ann was refused."""
    rule = Rule("rcpt", "reply", 550, "5.1.1", "ann.lee@people.example: user unknown", recipient="ann*")
    with SmtpServer([rule]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        yield ops


def built(ops: Ops, tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The answer of ``mailops support bundle``, and what is in the zip."""
    out = tmp_path / "case.zip"
    done = run_cli(ops, "support", "bundle", *arguments, "--out", str(out), "--yes", "--json", "--no-dns")
    assert done.exit_code == 0, (done.output, getattr(done.exception, "facts", ""))
    with zipfile.ZipFile(out) as archive:
        return json.loads(done.output), {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.req("SUP-06")
@pytest.mark.timeout(400)
def test_two_hundred_planted_values_in_twelve_spellings_leave_nothing(sqlite_ops: Ops, tmp_path: Path) -> None:
    house = sqlite_ops
    addresses, tokens, secrets = values()
    everything = [*addresses, *tokens, *secrets]
    assert (len(everything), len(ENCODINGS)) == (200, 12)
    for number, secret in enumerate(secrets):
        house.secrets.vault.put(f"planted-{number}", secret)
    mail = tmp_path / "planted.eml"
    mail.write_bytes(planted_mail(everything, addresses, tokens))
    assert len({one for _, one in left_in_file(mail, everything)}) == 200  # the search sees what is planted
    told, files = built(house, tmp_path, "--file", str(mail))
    assert left_in(tmp_path / "case.zip", everything) == []
    domains = {one.rpartition("@")[2] for one in addresses}
    assert left_in(tmp_path / "case.zip", sorted(domains)) == []
    mailed = email.message_from_bytes(files["mail.eml"], policy=email.policy.default)
    before = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    assert [part.get_content_type() for part in mailed.walk()] == [part.get_content_type() for part in before.walk()]
    assert mailed.keys() == before.keys()
    assert mailed["Subject"] == "The invoice S00042 was refused"
    assert mailed["Date"] == before["Date"]
    assert "The invoice is here, thank you." in mailed.get_body(("plain",)).get_content()
    assert told["replaced"]["address"] > 1_000


def left_in_file(path: Path, planted: list[str]) -> list[tuple[str, str]]:
    whole = "\x00".join(readings(path.read_bytes())).lower()
    return [("mail", one) for one in planted if one.lower() in whole]


# --- the case ---------------------------------------------------------------------------------------------------------


def refused(ops: Ops, number: int = 1) -> int:
    """Mails to ann that were refused; the number of the last."""
    for one in range(number):
        last = ops.send(
            to=["ann.lee@people.example"],
            sender="desk@acme.example",
            subject=f"Order S0004{one}",
            text="Dear ann.lee@people.example, your order is here.",
        )
    ops.queue.run()
    return last


def stand_in(ops: Ops, real: str) -> str:
    """The stand-in of an address, out of the key that stays in the workspace."""
    key = json.loads((ops.workspace.path / "support" / "names.json").read_text("utf-8"))
    return str(key["addresses"][real])


@pytest.mark.req("SUP-06")
def test_one_action_makes_a_bundle_that_explains_the_case_without_names(house: Ops, tmp_path: Path) -> None:
    house.secrets.vault.put("smtp", "kept-As-4-secret")
    house.change_server("main", login="desk@acme.example", password="vault:smtp")
    number = refused(house)
    told, files = built(house, tmp_path, "--mail", str(number))
    assert (tmp_path / "case.zip").stat().st_mode & 0o077 == 0
    whole = b"\n".join(files.values()).decode()
    for real in ("ann.lee", "people.example", "desk@", "acme.example", "kept-As-4-secret", "vault:smtp"):
        assert real not in whole
    ann, desk = stand_in(house, "ann.lee@people.example"), stand_in(house, "desk@acme.example")
    assert [len(part) for part in ann.split("@")] == [len("ann.lee"), len("people.example")]
    mail = email.message_from_bytes(files["mail.eml"], policy=email.policy.default)
    assert (mail["To"], mail["From"], mail["Subject"]) == (ann, desk, "Order S00040")
    assert mail["Message-ID"].endswith("@" + desk.partition("@")[2] + ">")  # the same domain is the same everywhere
    assert mail.get_content().strip() == f"Dear {ann}, your order is here."
    [why] = json.loads(files["why.json"])
    assert (why["recipient"], why["said"]) == (ann, f"{ann}: user unknown")
    assert why["cause"] == "The address does not exist."
    steps = json.loads(files["timeline.json"])["steps"]
    assert [step["what"] for step in steps][-1] == "main refused it"
    setup = json.loads(files["configuration.json"])
    [server] = setup["servers"]
    assert (server["login"], server["sign_in_kept"]) == (desk, True)
    assert "password" not in server
    page = files["index.html"].decode()
    assert not re.search(r"(?i)(?:src|href)\s*=\s*[\"']?(?:https?:|//)", page)
    assert "default-src 'none'" in html.unescape(page)
    assert f"{ann}: user unknown" in page
    assert json.loads(files["redactions.json"])["replaced"] == told["replaced"]
    assert ann in json.loads(files["redactions.json"])["stand_ins"]
    assert any(fact["recipient"] == ann for fact in json.loads(files["around.json"])["facts"])


def test_support_answers_with_stand_ins_and_the_workspace_translates(house: Ops, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as none:
        house.support.translate("anything")
    assert none.value.code == "support.no_key"
    _, files = built(house, tmp_path, "--mail", str(refused(house)))
    ann = stand_in(house, "ann.lee@people.example")
    answer = f"Please ask {ann}, or the admin of {ann.partition('@')[2]}."
    done = run_cli(house, "support", "translate", input=answer)
    assert done.output.strip() == "Please ask ann.lee@people.example, or the admin of people.example."
    (tmp_path / "case.zip").unlink()
    _, again = built(house, tmp_path, "--mail", "1")
    assert again["mail.eml"] == files["mail.eml"]  # the same stand-ins in every bundle of this workspace
    house.forget("ann.lee@people.example")
    assert "ann.lee" not in (house.workspace.path / "support" / "names.json").read_text("utf-8")


def test_the_second_scan_refuses_what_the_first_pass_leaves(
    house: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass is made blind for one spelling each; the scan shares no code with it."""
    from mailops.support import clean

    lines = {
        "_from_hex": "hex " + b"kim.roe@far.example".hex(),
        "_from_base64": "base64 " + base64.b64encode(b"to kim.roe@far.example now").decode(),
    }
    for name, line in lines.items():
        file = tmp_path / f"{name}.eml"
        file.write_text(f"From: a@far.example\nSubject: x\n\n{line}\n")
        with monkeypatch.context() as patch:
            patch.setattr(clean, name, lambda word: None)
            patch.setattr(clean.Cleaner, "_tokens", lambda self, text: iter(()))
            done = run_cli(house, "support", "bundle", "--file", str(file), "--out", "x.zip", "--yes", "--no-dns")
        assert isinstance(done.exception, InputRefused)
        assert done.exception.code == "support.left"
        assert "kim" not in f"{done.exception.message}{done.exception.facts}"
    assert not Path("x.zip").exists()


def test_it_is_shown_before_it_is_written(house: Ops, tmp_path: Path) -> None:
    number, out = refused(house), tmp_path / "case.zip"
    asked = ("support", "bundle", "--mail", str(number), "--out", str(out), "--no-dns")
    done = run_cli(house, *asked, input="n\n")
    assert "mail.eml" in done.output
    assert "no address, token or secret" in done.output
    assert not out.exists()
    assert run_cli(house, *asked, input="y\n").exit_code == 0
    assert out.exists()
    before = out.read_bytes()
    again = run_cli(house, *asked, "--yes")
    assert isinstance(again.exception, InputRefused)
    assert out.read_bytes() == before


@pytest.mark.req("SUP-01")
def test_both_formats_are_accepted_and_the_way_to_export_is_told(house: Ops, tmp_path: Path) -> None:
    tree = {
        **text(0x0037, "The printer"), **text(0x0C1A, "Ann"), **text(0x5D01, "ann@x.example"),
        **text(0x1000, "It is broken, says ann@x.example."), **person(0, "Help", "help@acme.example", 1), **fixed(32),
    }  # fmt: skip
    (tmp_path / "a.msg").write_bytes(compound(tree))
    (tmp_path / "a.eml").write_text("From: ann@x.example\nSubject: The printer\n\nIt is broken, says ann@x.example.\n")
    for name in ("a.msg", "a.eml"):
        _, files = built(house, tmp_path, "--file", str(tmp_path / name))
        mail = email.message_from_bytes(files["mail.eml"], policy=email.policy.default)
        ann = stand_in(house, "ann@x.example")
        assert (mail["Subject"], ann in mail["From"]) == ("The printer", True)
        assert mail.get_content().strip() == f"It is broken, says {ann}."
        (tmp_path / "case.zip").unlink()
    (tmp_path / "none.msg").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    done = run_cli(house, "support", "bundle", "--file", str(tmp_path / "none.msg"), "--out", str(tmp_path / "n.zip"))
    assert done.exception.code == "support.file"
    ways = {
        one["program"]: one for one in json.loads(run_cli(house, "support", "questions", "--json").output)["exports"]
    }
    assert set(ways) == {"Gmail", "Outlook", "Thunderbird", "Apple Mail"}
    assert ways["Gmail"]["address"] == "https://support.google.com/mail/answer/29436"
    assert all(".eml" in str(way["steps"]) or ".msg" in str(way["steps"]) for way in ways.values())


@pytest.mark.req("SUP-02")
def test_a_forwarded_copy_is_recognised_and_warned_of(house: Ops, tmp_path: Path) -> None:
    copy = (
        "From: Desk <desk@acme.example>\nTo: help@acme.example\nSubject: Fwd: The order\nMessage-ID: <f@acme.example>\n\n"
        "---------- Forwarded message ---------\nFrom: Ann <ann@x.example>\nDate: Wed, 10 Jan 2024\nTo: desk@acme.example\n\nHi\n"
    )
    (tmp_path / "copy.eml").write_text(copy)
    told, files = built(house, tmp_path, "--file", str(tmp_path / "copy.eml"))
    assert json.loads(files["case.json"])["copy"] == "forwarded"
    [warning] = told["warnings"]
    assert "original sender" in warning
    assert warning in html.unescape(files["index.html"].decode())
    (tmp_path / "case.zip").unlink()
    (tmp_path / "first.eml").write_text("From: ann@x.example\nTo: desk@acme.example\nSubject: The order\n\nHi\n")
    told, files = built(house, tmp_path, "--file", str(tmp_path / "first.eml"))
    assert (json.loads(files["case.json"])["copy"], told["warnings"]) == ("original", [])


@pytest.mark.req("SUP-03")
def test_an_outgoing_mail_may_be_named_by_its_record_and_when_it_was_sent(house: Ops, tmp_path: Path) -> None:
    number = refused(house)
    at = house.clock.now().strftime("%Y-%m-%d %H:%M")
    told, files = built(house, tmp_path, "--record", "S00040", "--at", f"{at} UTC")
    assert json.loads(files["case.json"])["mail"] == number
    assert "mail.eml" in told["files"]
    (tmp_path / "case.zip").unlink()
    when = "10 January 2024 11:45 AM Central European Time"
    _, files = built(house, tmp_path, "--record", "INV/2024/0007", "--at", when)
    case = json.loads(files["case.json"])
    assert (case["mail"], case["record"], case["sent_at"]) == (None, "INV/2024/0007", "2024-01-10T10:45:00+00:00")
    assert "mail.eml" not in files
    out = str(tmp_path / "no.zip")
    for arguments, code, asks in (
        (("--record", "S00040", "--at", "10 January 2024 11:45 AM"), "support.zone", "zone"),
        (("--record", "S00040"), "support.case", "time zone"),
        ((), "support.case", "the mail"),
        (("--record", "S00040", "--at", "lately"), "support.moment", "date"),
    ):
        done = run_cli(house, "support", "bundle", *arguments, "--out", out, "--yes", "--no-dns")
        assert (done.exception.code, asks in done.exception.message) == (code, True)


@pytest.mark.req("SUP-04", "SUP-05")
def test_the_seven_questions_are_answered_from_what_is_kept_and_by_people(house: Ops, tmp_path: Path) -> None:
    asked = json.loads(run_cli(house, "support", "questions", "--json").output)["questions"]
    assert [one["key"] for one in asked] == ["reply", "sent", "incoming", "example", "changed", "specific", "expected"]
    words = " ".join(one["question"] for one in asked)
    for word in ("notification", "sent from the database", "redirected or forwarded", "forwarded correctly", "changed recently",
                 "stop working", "generic", "use case", "as expected", "red envelope"):  # fmt: skip
        assert word in words
    refused(house)
    record = house.threads.create_record("lead", "Order", email="ann.lee@people.example")
    house.threads.follow(record, house.threads.add_contact("Ann", "ann.lee@people.example"))
    house.threads.post(record, Entry("Hello"))
    house.queue.run()
    mail = max(house.queue.page(None).mails, key=lambda one: one.id)
    told, files = built(house, tmp_path, "--mail", str(mail.id), "--answer", "example=Yes, mail 7 came through.")
    found = {one["key"]: one for one in json.loads(files["answers.json"])}
    assert found["reply"]["answer"] == "No: somebody wrote it in the database."
    assert found["sent"]["answer"].startswith(f"Yes: mail {mail.id} of the queue, handed in on ")
    assert (found["example"]["answer"], found["example"]["by"]) == ("Yes, mail 7 came through.", "person")
    assert found["changed"]["answer"].startswith("Yes: ")
    changed = json.loads(files["changes.json"])
    assert {one["what"] for one in changed} == {
        "mail was handed to the server main for the first time",
        "mailops.toml was written",
    }
    assert found["changed"]["evidence"]
    assert found["specific"]["answer"].startswith("Specific: every failure of the last 7 days is at ")
    assert found["expected"]["answer"] == "It was refused at once; it shows the red envelope."
    assert found["expected"]["evidence"]
    assert told["open"] == []
    odd = run_cli(house, "support", "bundle", "--mail", str(mail.id), "--answer", "size=big", "--out", "x.zip", "--yes")
    assert odd.exception.code == "support.question"


# --- judged again -----------------------------------------------------------------------------------------------------

ZONE = {
    "acme.example": [
        "SOA ns.acme.example. h.acme.example. 1 3600 600 86400 120",
        "NS ns.acme.example.",
        "TXT v=spf1 ip4:192.0.2.1 include:_spf.sender.example ~all",
        "MX 10 mail.acme.example.",
    ],
    "ns.acme.example": ["A 127.0.0.1"],
    "mail.acme.example": ["A 127.0.0.1"],
    "_spf.sender.example": ["TXT v=spf1 ip4:198.51.100.0/24 ~all"],
    "s1._domainkey.acme.example": [f"TXT {KEY}"],
    "_dmarc.acme.example": ["TXT v=DMARC1; p=none; rua=mailto:reports@collector.example"],
    "acme.example._report._dmarc.collector.example": ["TXT v=DMARC1"],
}


def test_verdicts_are_made_again_from_the_bundle_alone(house: Ops, tmp_path: Path) -> None:
    number, out = refused(house), tmp_path / "case.zip"
    with DnsServer(ZONE) as dns:
        host, port = dns.address
        file = house.workspace.path / "mailops.toml"
        file.write_text(file.read_text() + f'\n[dns]\nresolvers = ["{host}:{port}"]\ntimeout = 1.0\n')
        ops = Ops.open(house.workspace.path)
        done = run_cli(ops, "support", "bundle", "--mail", str(number), "--out", str(out), "--yes", "--json")
        assert done.exit_code == 0, done.output
        kept = ops.domains.check(ops.domains.of(ops.setup, "acme.example"))
        ops.close()
    # the name server is gone, and so is the workspace
    found = json.loads(CliRunner().invoke(app, ["support", "check", str(out), "--json"]).output)
    assert all(one["same"] for one in found), [one for one in found if not one["same"]]
    assert sum(one["what"].startswith("cause of ") for one in found) == 1
    states = [f"{one.state} {one.code}".rstrip() for one in kept.results]
    assert [one["again"] for one in found if not one["what"].startswith("cause of ")] == states
    assert {"spf.ok"} <= {state.partition(" ")[2] for state in states}
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(out) as before, zipfile.ZipFile(broken, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == "dns/1.json":
                data = data.replace(b"v=spf1 ip4:192.0.2.1", b"v=spf1 ip4:192.0.2.1.1")
            after.writestr(name, data)
    differs = CliRunner().invoke(app, ["support", "check", str(broken)])
    assert differs.exit_code == 1
    (tmp_path / "no.zip").write_bytes(b"no zip")
    assert CliRunner().invoke(app, ["support", "check", str(tmp_path / "no.zip")]).exception.code == "support.bundle"


def test_three_unexplained_failures_in_a_week_suggest_support_with_the_bundle(ops_on: Callable[..., Ops]) -> None:
    rule = Rule("rcpt", "reply", 550, "", "", recipient="mute*")
    with SmtpServer([rule]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        for number in range(3):
            assert ops.support.suggested() == []
            mail = ops.send(to=["mute@far.example"], sender="desk@acme.example", subject=f"{number}", text="x")
            ops.queue.run()
        [one] = json.loads(run_cli(ops, "support", "suggested", "--json").output)
        assert (one["name"], one["count"], one["mail"]) == ("mute@far.example", 3, mail)
        assert one["command"] == f"mailops support bundle --mail {mail} --out FILE.zip"
        told = run_cli(ops, "bounces", "why", str(mail), "--no-dns").output
        assert f"mailops support bundle --mail {mail}" in told
        with pytest.raises(NotFound):
            ops.support.bundle(mail=99)


# --- on pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("SUP-04", "SUP-05", "SUP-06")
def test_the_notebook_asks_shows_and_makes_the_bundle(house: Ops) -> None:
    from mailops.support.questions import QUESTIONS

    number = refused(house)
    view = SupportView(house, mail=number)
    said = view.case.text()
    for question in QUESTIONS:
        assert question.text in said
    assert f"Yes: mail {number} of the queue" in said
    assert "not answered yet" in said
    assert "Thunderbird" in view.exports.text()
    view.case.answers = {"example": "Mail 7 came through."}
    [action] = view.case.actions.actions
    shown = action.preview()
    assert shown.run is not None
    assert any(line.startswith("mail.eml: ") for line in shown.examples)
    assert not list(house.workspace.path.glob("support-*.zip"))
    assert "support-1.zip" in str(shown.run(print))
    with zipfile.ZipFile(house.workspace.path / "support-1.zip") as archive:
        answers = {one["key"]: one for one in json.loads(archive.read("answers.json"))}
    assert (answers["example"]["answer"], answers["example"]["by"]) == ("Mail 7 came through.", "person")
    assert SupportView(house).case.actions.actions[0].preview().run is None


def test_pages_say_that_it_is_a_matter_for_support(ops_on: Callable[..., Ops]) -> None:
    with SmtpServer([Rule("rcpt", "reply", 550, "", "", recipient="mute*")]) as smtp:
        ops = ops_on()
        furnish(ops, smtp)
        before = "\n".join(map(block_text, home(ops, {}).blocks))
        assert checks.unexplained(ops.support.suggested(), now=ops.clock.now()).passed
        for number in range(3):
            ops.send(to=["mute@far.example"], sender="desk@acme.example", subject=f"{number}", text="x")
            ops.queue.run()
        after = "\n".join(map(block_text, home(ops, {}).blocks))
    assert "A matter for support" not in before
    assert "A matter for support" in after
    assert "3 unexplained failures for the address mute@far.example in 7 days" in after
    told = checks.unexplained(ops.support.suggested(), now=ops.clock.now())
    assert (told.state.value, "mailops support bundle --mail 3" in told.fix) == ("warning", True)
    assert "mailops support bundle --mail 3" in SupportView(ops).suggested.text()


def test_the_demonstration_makes_a_bundle_and_judges_it_again(house: Ops) -> None:
    from mailops.demo.bundle import FILE, ask_support

    assert "No mail failed" in ask_support(house)[0]
    number = refused(house)
    made, again = ask_support(house)
    assert f"about mail {number}" in made
    found = re.search(r"(\d+) of (\d+) verdict", again)
    assert found is not None
    assert found[1] == found[2] != "0"
    assert (house.workspace.path / FILE).exists()
