"""Aggregate reports: both generations, four wrappings, broken files rescued, hostile ones refused in bounded time."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailops.dns.aggregate import read_report, read_reports
from mailops.dns.aggregate_frames import rows_frame, sources_frame, without_permission
from mailops.errors import InputRefused

ROW = """<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>
<dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row><identifiers><header_from>Example.com</header_from></identifiers>
<auth_results><dkim><domain>example.com</domain><selector>s1</selector><result>{dkim}</result></dkim>
<spf><domain>bounce.example.net</domain><result>{raw}</result></spf></auth_results></record>"""


def xml(rows: str | None = None, extra: str = "", head: str = "<feedback>") -> bytes:
    if rows is None:
        rows = ROW.format(ip="192.0.2.1", count=7, dkim="pass", spf="fail", raw="pass")
        rows += ROW.format(ip="2001:db8::1", count=2, dkim="fail", spf="fail", raw="fail")
        rows += ROW.format(ip="192.0.2.9", count=1, dkim="fail", spf="fail", raw="pass")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<report_metadata><org_name>Receiver</org_name><email>r@example.org</email>'
        f"<report_id>id-1</report_id><date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>"
        f"<policy_published><domain>example.com</domain><p>reject</p>{extra}</policy_published>{rows}</feedback>"
    ).encode()


def zipped(data: bytes, name: str = "report.xml") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def mailed(data: bytes, subtype: str = "gzip") -> bytes:
    message = EmailMessage()
    message["Subject"] = "Report domain: example.com"
    message.set_content("a report")
    message.add_attachment(data, maintype="application", subtype=subtype, filename="r.xml.gz")
    return message.as_bytes()


@pytest.mark.parametrize(
    "data",
    [xml(), b"\xef\xbb\xbf" + xml(), b"\r\n " + xml(), gzip.compress(xml()), zipped(xml()), mailed(gzip.compress(xml())),
     mailed(zipped(xml()), "octet-stream"), zipped(gzip.compress(xml())), xml().decode().replace("UTF-8", "UTF-16").encode("utf-16")],
)  # fmt: skip
def test_every_wrapping_reads_the_same(data: bytes) -> None:
    report = read_report(data)
    assert (report.report_id, report.domain, report.p, report.begin) == ("id-1", "example.com", "reject", 1700000000)
    assert (len(report.records), report.messages, report.dmarc_pass, report.sources) == (3, 10, 7, 3)
    assert report.generation == "rfc7489"
    assert not report.recovered


def test_the_newer_generation_is_told_apart() -> None:
    spaced = xml(head='<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">', extra="<np>none</np><testing>y</testing>")
    report = read_report(spaced)
    assert (report.generation, report.np, report.testing) == ("rfc9990", "none", "y")


@pytest.mark.parametrize(
    "broken",
    [
        xml().replace(b"<email>r@example.org</email>", b"<email><r@example.org></email>"),
        xml().replace(b"Receiver", b"Fish & Chips"),
        xml().replace(b"Receiver", b"Rec\x01eiver"),
        xml()[:-25],
        xml().replace(b"</auth_results></record>", b"</auth_results></records>", 1),
    ],
)
def test_broken_files_are_rescued_and_say_so(broken: bytes) -> None:
    report = read_report(broken)
    assert report.recovered
    assert report.report_id == "id-1"
    assert report.records[0].count == 7


ENTITY = b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><feedback><org_name>&b;</org_name></feedback>'
HOSTILE = {
    "entities": ENTITY,
    "entities in broken XML": ENTITY[:-6],
    "external entity": b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/hostname">]><feedback><org_name>&x;</org_name></feedback>',
    "gzip bomb": gzip.compress(b"\0" * 80_000_000),
    "gzip bomb of rows": gzip.compress(xml(ROW * 150_000)),
    "zip bomb": zipped(b" " * 80_000_000),
    "zip in zip in zip": zipped(zipped(zipped(zipped(zipped(xml()))))),
    "zip of many": zipped(xml())[:-22] + b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff" + zipped(xml())[-10:],
    "truncated gzip": gzip.compress(xml())[:200],
    "truncated zip": zipped(xml())[:200],
    "damaged gzip": gzip.compress(xml())[:40] + b"\xff" * 60,
    "depth": b"<feedback>" + b"<row>" * 1_000_000,
    "one long text": b"<feedback><report_metadata><org_name>" + b"a" * 5_000_000,
    "huge count": xml(ROW.format(ip="192.0.2.1", count="9" * 400, dkim="pass", spf="pass", raw="pass")),
    "only angle brackets": b"<feedback>" + b"<" * 3_000_000,
    "a mail of many parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 20_000,
    "header without end": b"a: b\n" * 500_000,
    "no report": b"<html><body>503</body></html>",
    "nothing": b"",
    "an image": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_bounded_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputRefused) as caught:
            read_reports(HOSTILE[name])
        assert tracemalloc.get_traced_memory()[1] < 100 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert caught.value.code.startswith("input.report.")
    assert caught.value.fix


@given(st.binary(max_size=300), st.integers(0, 900))
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_ends_in_a_report_or_a_refusal(noise: bytes, at: int) -> None:
    for whole in (xml(), gzip.compress(xml(), mtime=0), zipped(xml())):
        try:
            read_reports(whole[:at] + noise + whole[at + len(noise) :])
        except InputRefused:
            pass


ENCODINGS = {"gb2312": "网易", "shift_jis": "日本", "big5": "網易", "euc-kr": "한국"} | dict.fromkeys(
    ("ATF-8", "x-unknown", "rot13", "utf-7", "iso-8859-1"), "Receiver"
)


def declared(encoding: str) -> bytes:
    text = (
        xml().decode().replace("UTF-8", encoding, 1).replace("<org_name>Receiver", f"<org_name>{ENCODINGS[encoding]}")
    )
    return text.encode(encoding if encoding in ("gb2312", "shift_jis", "big5", "euc-kr") else "ascii")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_that_is_unknown_or_multibyte_costs_no_figure(encoding: str) -> None:
    report = read_report(declared(encoding))
    assert (report.org_name, report.messages, report.sources) == (ENCODINGS[encoding], 10, 3)


def test_a_report_in_an_unknown_encoding_is_read_at_the_command_line(tmp_path: Path) -> None:
    for encoding in ("ATF-8", "gb2312"):
        (tmp_path / f"{encoding}.xml").write_bytes(declared(encoding).replace(b"id-1", encoding.encode()))
    command = [sys.executable, "-m", "mailops.cli", "dmarc", "report", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, "strangers alone are a warning; the files were read"
    said = json.loads(done.stdout)
    assert (said["reports"], said["messages"], said["refused"]) == (2, 20, [])


def test_frames_say_who_sends_and_who_may_not() -> None:
    report = read_report(xml())
    rows = rows_frame([report])
    assert rows["count"].sum() == 10
    assert str(rows["begin"].dtype).endswith("UTC]")
    sources = sources_frame([report]).set_index("source_ip")
    assert dict(sources["verdict"]) == {
        "192.0.2.1": "permitted",
        "2001:db8::1": "without permission",
        "192.0.2.9": "known",
    }
    assert list(without_permission([report])["source_ip"]) == ["2001:db8::1", "192.0.2.9"]
    assert sources_frame([]).empty
