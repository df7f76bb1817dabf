"""Reports that are cut, counted oddly or spelled in two ways are told, never silently less; TLS reports are read."""

from __future__ import annotations

import gzip
import json
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailops.analysis.dmarc import DmarcFiles
from mailops.cli.app import app
from mailops.dns.aggregate import read_report, read_reports

ROW = (
    "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>"
    "<dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>"
    "<identifiers><header_from>acme.example</header_from></identifiers></record>"
)


def xml(*rows: str, org: str = "receiver.example", email: str = "noreply@receiver.example", number: int = 1,
        begin: str = "1767225600", end: str = "1767312000", domain: str = "acme.example") -> str:  # fmt: skip
    return (
        f"<?xml version='1.0'?><feedback><report_metadata><org_name>{org}</org_name><email>{email}</email>"
        f"<report_id>r{number}</report_id><date_range><begin>{begin}</begin><end>{end}</end></date_range>"
        f"</report_metadata><policy_published><domain>{domain}</domain><p>none</p></policy_published>"
        f"{''.join(rows) or ROW.format(ip='192.0.2.1', count=3)}</feedback>"
    )


def cli(*words: str) -> tuple[int, dict[str, object]]:
    done = CliRunner().invoke(app, ["dmarc", *words, "--json"])
    return done.exit_code, json.loads(done.output)


TWO = xml(ROW.format(ip="192.0.2.1", count=3), ROW.format(ip="192.0.2.2", count=40))


@pytest.mark.parametrize("cut", [60, 150, 250, 330])
def test_a_report_cut_in_the_second_row_is_told_with_its_file(cut: int, tmp_path: Path) -> None:
    (tmp_path / "cut.xml").write_text(TWO[:-cut])
    _, shown = cli("report", str(tmp_path))
    assert any(note["file"] == "cut.xml" and "missing" in note["note"] for note in shown.get("notes", ()))  # type: ignore[union-attr]
    states = [verdict["state"] for verdict in shown["verdicts"]]  # type: ignore[union-attr]
    assert states == ["warning", "warning"]


@pytest.mark.parametrize(
    ("written", "count"), [("1,204", 1204), ("1.204", 1204), ("1 204", 1204), ("1'204", 1204), ("12", 12), ("3.0", 3)]
)
def test_counts_are_read_as_people_write_them(written: str, count: int) -> None:
    assert read_report(xml(ROW.format(ip="192.0.2.1", count=written)).encode()).messages == count


@pytest.mark.parametrize("row", [ROW.format(ip="192.0.2.1", count="many"), ROW.replace("<count>{count}</count>", "")])
def test_nothing_counted_is_no_pass_and_the_note_is_shown(row: str, tmp_path: Path) -> None:
    (tmp_path / "odd.xml").write_text(xml(row.replace("{ip}", "192.0.2.1")))
    _, shown = cli("report", str(tmp_path))
    assert [verdict["state"] for verdict in shown["verdicts"]] == ["warning", "unknown"]  # type: ignore[union-attr]
    assert any("no count" in note["note"] for note in shown.get("notes", ()))  # type: ignore[union-attr]
    text = CliRunner().invoke(app, ["dmarc", "report", str(tmp_path)]).output
    assert "100.0%" not in text
    assert "no count" in text


@pytest.mark.parametrize("org", ["", "  "])
def test_a_nameless_reporter_is_called_by_the_domain_of_its_address(org: str) -> None:
    report = read_report(xml(org=org).encode())
    assert report.org_name == "receiver.example"
    assert any("gives no name" in note for note in report.notes)


def mail(body: bytes, kind: str = "gzip", name: str = "r.xml.gz") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@receiver.example", "b@acme.example", "Report"
    message.set_content("See the file.")
    message.add_attachment(body, maintype="application", subtype=kind, filename=name)
    return message.as_bytes()


def test_a_mailbox_file_gives_every_report_and_tells_what_gave_none() -> None:
    good = [mail(gzip.compress(xml(number=number).encode())) for number in (1, 2, 3)]
    box = b"".join(b"From MAILER-DAEMON Mon Jan  1 00:00:00 2026\n" + one + b"\n" for one in good)
    assert [report.report_id for report in read_reports(box)] == ["r1", "r2", "r3"]
    broken = box + b"From x Mon Jan  1 00:00:00 2026\n" + mail(gzip.compress(xml(number=4).encode())[:-40]) + b"\n"
    reports = read_reports(broken)
    assert len(reports) == 3
    assert any("message 4" in note for note in reports[0].notes)


def test_two_documents_in_one_file_are_two_reports() -> None:
    both = (xml(number=1) + "\n" + xml(ROW.format(ip="192.0.2.9", count=7), number=2)).encode()
    assert [(report.report_id, report.messages) for report in read_reports(both)] == [("r1", 3), ("r2", 7)]


@pytest.mark.parametrize("begin", ["1767225600000", "1767225600000000", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00"])
def test_times_in_other_units_and_dates_are_read_and_told(begin: str) -> None:
    report = read_report(xml(begin=begin).encode())
    assert report.begin == 1767225600
    assert any(note.startswith("begin is") for note in report.notes)


def test_a_span_of_weeks_is_told() -> None:
    report = read_report(xml(end=str(1767225600 + 24 * 86_400)).encode())
    assert any("24.0 days" in note for note in report.notes)


def test_one_source_is_one_line_however_it_is_written(tmp_path: Path) -> None:
    rows = [
        ROW.format(ip=ip, count=2) for ip in ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "::ffff:192.0.2.1", "192.0.2.1")
    ]
    (tmp_path / "a.xml").write_text(xml(*rows, domain="B\u00fcro.example"))
    (tmp_path / "b.xml").write_text(xml(*rows, number=2, domain="xn--bro-hoa.example."))
    _, shown = cli("report", str(tmp_path))
    assert sorted((s["source_ip"], s["messages"]) for s in shown["sources"]) == [("192.0.2.1", 8), ("2001:db8::1", 8)]  # type: ignore[union-attr]
    assert shown["domains"] == ["xn--bro-hoa.example"]


def test_of_two_copies_the_whole_one_counts(tmp_path: Path) -> None:
    (tmp_path / "a-cut.xml").write_text(TWO[:-150])
    (tmp_path / "b-whole.xml").write_text(TWO)
    _, shown = cli("report", str(tmp_path))
    assert (shown["messages"], shown["repeated"]) == (43, 1)


def test_xml_behind_a_long_comment_in_a_mail_is_found() -> None:
    long = xml().replace("<feedback>", f"<!-- {'x' * 5000} --><feedback>")
    assert read_report(mail(long.encode(), "xml", "r.xml")).messages == 3


def test_names_of_html_and_windows_are_shown_as_meant() -> None:
    broken = xml(org="Caf&eacute;&nbsp;\x96 Mail").encode("cp1252", "replace").replace(b"?", b"?")
    broken = broken.replace("\x96".encode("cp1252", "replace"), b"\x96")
    assert "&nbsp;" not in read_report(broken).org_name
    windows = xml(org="A%B").encode().replace(b"A%B", b"A\x96B \x93C\x94")
    assert read_report(windows).org_name == "A\u2013B \u201cC\u201d"


TLS = {
    "organization-name": "Receiver",
    "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
    "contact-info": "tls@receiver.example",
    "report-id": "t1",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-string": None, "policy-domain": "acme.example", "mx-host": ["mx.acme.example"]},
            "summary": {"total-successful-session-count": 10, "total-failure-session-count": 2},
            "failure-details": [
                {"result-type": "certificate-expired", "sending-mta-ip": None, "receiving-mx-hostname": "mx.acme.example",
                 "failed-session-count": 2}
            ],
        },
        {"policy": {"policy-type": "no-policy-found", "policy-domain": "b.example"}, "summary": {"total-successful-session-count": 5},
         "failure-details": None},
    ],
}  # fmt: skip


@pytest.mark.parametrize("wrap", ["json", "gz", "mail"])
def test_a_tls_report_is_read_whatever_wraps_it(wrap: str, tmp_path: Path) -> None:
    plain = json.dumps(TLS).encode()
    packed = {"json": plain, "gz": gzip.compress(plain), "mail": mail(gzip.compress(plain), "tlsrpt+gzip", "t.json.gz")}
    (tmp_path / "report").write_bytes(packed[wrap])
    done = CliRunner().invoke(app, ["dmarc", "tls", str(tmp_path), "--json"])
    assert done.exit_code == 1, done.output
    shown = json.loads(done.output)
    assert {verdict["subject"]: verdict["state"] for verdict in shown["verdicts"]} == {
        "acme.example": "failed",
        "b.example": "passed",
    }
    assert shown["rows"][0]["kind"] == "certificate-expired"
    lines = [(one["domain"], one["policy"], one["sessions"], one["failures"]) for one in shown["frame"]]
    assert lines == [("acme.example", "sts", 12, 2), ("b.example", "no-policy-found", 5, 0)]
    assert (shown["frame"][0]["begin"], shown["frame"][0]["rate"]) == ("2026-01-01T00:00:00+00:00", 2 / 12)


def test_one_session_of_thousands_that_failed_is_a_warning(tmp_path: Path) -> None:
    policy = {
        **TLS["policies"][0],
        "summary": {"total-successful-session-count": 4999, "total-failure-session-count": 1},
    }
    (tmp_path / "t.json").write_text(json.dumps({**TLS, "policies": [policy]}))
    done = CliRunner().invoke(app, ["dmarc", "tls", str(tmp_path), "--json"])
    assert (done.exit_code, json.loads(done.output)["verdicts"][0]["state"]) == (0, "warning")


def test_tls_reports_are_typed_frames_and_add_up_by_day(tmp_path: Path) -> None:
    for number, day in enumerate(("01", "02", "02")):
        when = {"start-datetime": f"2026-01-{day}T00:00:00Z", "end-datetime": f"2026-01-{day}T23:59:59Z"}
        (tmp_path / f"{number}.json").write_text(json.dumps({**TLS, "report-id": f"t{number}", "date-range": when}))
    (tmp_path / "undated.json").write_text(json.dumps({**TLS, "report-id": "t9", "date-range": {}}))
    reports = DmarcFiles(tmp_path).tls()
    frame = reports.frame
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name in ("sessions", "failures", "rate")} == {
        "sessions": "int64",
        "failures": "int64",
        "rate": "float64",
    }
    assert str(frame["begin"].dt.tz) == "UTC"
    assert frame["begin"].isna().tolist() == [False] * 6 + [True] * 2, "newest first, what has no date last"
    days = reports.days[reports.days["domain"] == "acme.example"]
    assert days[["day", "sessions", "failures"]].to_numpy().tolist() == [["2026-01-01", 12, 2], ["2026-01-02", 24, 4]]
    assert DmarcFiles(tmp_path / "none").tls().days.empty


@pytest.mark.parametrize("wrap", ["json", "mail"])
def test_a_tls_report_among_dmarc_reports_is_called_what_it_is(wrap: str, tmp_path: Path) -> None:
    plain = json.dumps(TLS).encode()
    content = plain if wrap == "json" else mail(gzip.compress(plain), "tlsrpt+gzip", "t.json.gz")
    (tmp_path / "report").write_bytes(content)
    code, shown = cli("report", str(tmp_path))
    assert code == 2
    assert "TLS" in shown["refused"][0]["reason"]  # type: ignore[index]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b'{"policies": 3}',
        b"hello",
        b"\x1f\x8bxx",
        b'{"policies":[{"summary":{"total-failure-session-count":1e400}}]}',
    ],
)
def test_what_is_no_tls_report_is_refused_or_told(bad: bytes, tmp_path: Path) -> None:
    (tmp_path / "report").write_bytes(bad)
    done = CliRunner().invoke(app, ["dmarc", "tls", str(tmp_path), "--json"])
    shown = json.loads(done.output)
    assert shown["refused"] or shown["notes"]
