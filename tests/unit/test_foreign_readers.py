"""Files from strangers: only our own refusals leave a reader, and one bad file never ends a run over many."""

from __future__ import annotations

import csv
import encodings.aliases
import gzip
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mailops import Ops
from mailops.analysis.dmarc import DmarcFiles
from mailops.analysis.export import write_frames
from mailops.bounces import parse
from mailops.dns.aggregate import read_reports
from mailops.errors import InputRefused, MailopsError
from mailops.inbound.parse import parse as parse_inbound
from mailops.webhooks import PROVIDERS, read_events

GOOD = (
    '<?xml version="1.0" encoding="{}"?><feedback><report_metadata><org_name>o</org_name><report_id>{}</report_id>'
    "<date_range><begin>1700000000</begin><end>1700086400</end></date_range></report_metadata><policy_published>"
    "<domain>acme.example</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip>"
    "<count>3</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf>"
    "</policy_evaluated></row><identifiers><header_from>acme.example</header_from></identifiers><auth_results/></record>"
    "</feedback>"
)
NAMES = sorted(
    {*encodings.aliases.aliases, *encodings.aliases.aliases.values(), "x-evil", "utf-7", "idna", "undefined", "hex"}
)


@pytest.mark.parametrize("name", NAMES)
def test_no_encoding_ends_the_reading_of_a_report(name: str) -> None:
    try:
        read_reports(GOOD.format(name, 1).encode())
    except InputRefused:
        pass


def test_one_bad_file_never_ends_a_folder(tmp_path: Path) -> None:
    for number, name in enumerate(("x-evil", "utf-7", "rot13", "utf-16", "zlib")):
        (tmp_path / f"{number}-{name}.xml").write_text(GOOD.format(name, number))
    (tmp_path / "a.gz").write_bytes(gzip.compress(GOOD.format("x-evil", 7).encode())[:-4])
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04" + b"\0" * 30 + b"PK\x05\x06" + b"\xff" * 18)
    (tmp_path / "z-good.xml").write_text(GOOD.format("utf-8", 9))
    found = DmarcFiles(tmp_path).read()
    assert "9" in {report.report_id for report in found.reports}
    done = subprocess.run(
        [sys.executable, "-m", "mailops.cli", "dmarc", "report", str(tmp_path), "--json"], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)


def broken(data: bytes, luck: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(luck.randint(1, 12)):
        at = luck.randrange(len(out) + 1)
        match luck.randrange(6):
            case 0:
                out[at : at + luck.randint(1, 40)] = b""
            case 1:
                out[at:at] = bytes(luck.randrange(256) for _ in range(luck.randint(1, 8)))
            case 2:
                out[at:at] = out[at : at + 60] * luck.randint(1, 40)
            case 3:
                out[at:at] = luck.choice(
                    (b"\0", b"\xff\xfe", b"&#0;", b"1e999", b"-", b"9" * 400, b"\\ud800", b"]]>", b"<x:")
                )
            case 4 if out:
                out[at % len(out)] = luck.randrange(256)
            case _:
                del out[at:]
    return bytes(out) or b"\0"


def archives() -> list[bytes]:
    xml = GOOD.format("utf-8", 1).encode()
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r.xml", xml)
    mail = b"From: a@b.example\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n"
    return [xml, gzip.compress(xml), box.getvalue(), mail + __import__("base64").encodebytes(gzip.compress(xml))]


READERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "aggregate": (read_reports, archives()),
    "bounces": (parse, [b"From: MAILER-DAEMON@x\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.c\nStatus: 5.1.1\n\n--b--\n"]),
    "inbound": (parse_inbound, [b"From: =?utf-8?q?a=40b?= <a@b.c>\nTo: x@y.z, \"q\" <r@s.t>\nDate: Mon, 1 Jan 2026 10:00:00 +0000\nSubject: =?utf-7?q?+2AA-?=\n\nx\n"]),
    **{
        f"webhook {name}": ((lambda data, name=name: read_events(name, data)), [b'[{"event":"bounce","sg_event_id":"1","email":"a@x.example","time":1,"MessageID":1}]', b'{"event-data":{"event":"failed","id":"1","recipient":"a@x.example"}}', b'{"RecordType":"Bounce","ID":1,"Email":"a@x.example","Type":"HardBounce"}', b'{"Type":"Notification","Message":"{}"}'])
        for name in PROVIDERS
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(READERS))
def test_only_our_own_errors_leave_a_reader(name: str) -> None:
    read, seeds = READERS[name]
    luck = random.Random(17)
    for _ in range(400):
        data = broken(luck.choice(seeds), luck)
        try:
            read(data)
        except MailopsError:
            pass


def test_a_line_of_an_mbox_does_not_hold_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "box"
    file.write_bytes(
        b"From a@b.example Mon Jan  1 10:00:00 2026\nSubject: x\n\nx\n\nFrom "
        + b"a" * 100_000
        + b"\n\nFrom c@d.example Mon Jan  1 10:00:00 2026\nSubject: y\n\ny\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mailops.cli", "bounces", "parse", str(file), "--json"], capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert time.monotonic() - began < 15
    assert len(json.loads(done.stdout)) >= 2, done


# --- what we hand to a spreadsheet ------------------------------------------------------------------------------------

FORMULAS = ["=1+1", "x;=1+1", "\t=1", " =1+1", "x\t=1+1", "\uff1d1+1", "@SUM(1)", "+1", "-1", "x|=cmd"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_or_heading_of_a_file_is_a_formula(text: str, tmp_path: Path) -> None:
    [path] = write_frames({"f": pd.DataFrame({text: [text], "n": [1]})}, tmp_path / "o", "csv")
    written = path.read_text("utf-8")
    for row in csv.reader(io.StringIO(written)):
        for value in row:
            for piece in value.replace("\t", ";").replace("|", ";").split(";"):
                assert piece.strip()[:1] not in ("=", "+", "-", "@", "\uff1d"), written


def test_an_export_is_a_new_file_and_follows_no_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "o"
    folder.mkdir()
    (folder / "f.csv").symlink_to(precious)
    write_frames({"f": pd.DataFrame({"a": ["x"]})}, folder, "csv")
    assert precious.read_text() == "mine"
    assert not (folder / "f.csv").is_symlink()
    assert (folder / "f.csv").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("door", ["suppress", "bounces", "calendar"])
def test_nor_does_one_of_the_command_line(door: str, ops_factory: Callable[..., Ops], tmp_path: Path) -> None:
    ops = ops_factory()
    ops.suppressions.add("=cmd@x.example", why="x;=1+1")
    precious, link = tmp_path / "precious", tmp_path / "out"
    precious.write_text("mine")
    link.symlink_to(precious)
    (tmp_path / ".out.part").symlink_to(precious)
    mail = tmp_path / "m.eml"
    mail.write_bytes(b"From: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n<gone@x.example>: 550 User unknown\n")
    words = {
        "suppress": ["suppress", "export", str(link)],
        "bounces": ["bounces", "parse", str(mail), "--format", "csv", "-o", str(link)],
        "calendar": ["calendar", "--ics", str(link)],
    }[door]
    done = subprocess.run(
        [sys.executable, "-m", "mailops.cli", "-w", str(ops.workspace.path), *words], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert precious.read_text() == "mine", done.stderr
    assert link.exists()
    assert not link.is_symlink()
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == [".out.part"]
    if door == "suppress":
        assert ";=" not in link.read_text()
        assert all(value.startswith('"') for value in link.read_text().splitlines())
