"""What a job says of DMARC reports: the newest policy, own sources by their interval, strangers with what became of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DAY = 86_400
MARCH = 1_772_323_200  # 1 March 2026
ROW = (
    "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>{became}</disposition>"
    "<dkim>{dkim}</dkim><spf>fail</spf>{why}</policy_evaluated></row>"
    "<identifiers><header_from>acme.example</header_from></identifiers></record>"
)
OWN, STRANGER = "192.0.2.1", "203.0.113.9"


def row(ip: str, count: int, *, passes: bool = False, became: str = "none", why: str = "") -> str:
    reason = f"<reason><type>{why}</type></reason>" if why else ""
    return ROW.format(ip=ip, count=count, became=became, dkim="pass" if passes else "fail", why=reason)


def report(folder: Path, name: str, *rows: str, policy: str = "none", day: int = 0) -> None:
    begin = MARCH + day * DAY
    (folder / name).write_text(
        f"<feedback><report_metadata><org_name>r.example</org_name><email>a@r.example</email><report_id>{name}"
        f"</report_id><date_range><begin>{begin}</begin><end>{begin + DAY}</end></date_range></report_metadata>"
        f"<policy_published><domain>acme.example</domain><p>{policy}</p></policy_published>{''.join(rows)}</feedback>"
    )


def judged(folder: Path) -> tuple[int, dict[str, Any]]:
    """The exit status of ``mailops dmarc report`` and its verdict of the domain."""
    command = [sys.executable, "-m", "mailops.cli", "dmarc", "report", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, next(v for v in json.loads(done.stdout)["verdicts"] if v["check"] == "dmarc.reports")


def test_the_policy_is_that_of_the_newest_report_not_of_the_last_file(tmp_path: Path) -> None:
    report(tmp_path, "a-new.xml", row(OWN, 5, passes=True), policy="reject", day=40)
    report(tmp_path, "z-old.xml", row(OWN, 5, passes=True), policy="none")
    _, verdict = judged(tmp_path)
    assert "p=reject" in verdict["found"]
    assert verdict["evidence"]["policy"] == "reject"


def test_one_mail_of_a_stranger_fails_nobody_s_job(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 19, passes=True), row(STRANGER, 1))
    code, verdict = judged(tmp_path)
    assert (code, verdict["state"]) == (0, "passed")
    assert "sources without permission: 1 with 1 mail, 0 of them kept off" in verdict["found"]


def test_a_policy_that_keeps_a_spoofer_off_is_at_work(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 900, passes=True), row(STRANGER, 500, became="reject"), policy="reject")
    code, verdict = judged(tmp_path)
    assert (code, verdict["state"]) == (0, "passed")
    assert "1 with 500 mails, 500 of them kept off" in verdict["found"]


def test_a_spoofer_whom_no_policy_keeps_off_is_a_warning(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 900, passes=True), row(STRANGER, 500))
    code, verdict = judged(tmp_path)
    assert (code, verdict["state"]) == (0, "warning")
    assert "mailops dmarc mark" in verdict["fix"]


def test_own_mail_that_does_not_pass_fails_when_it_is_surely_too_much(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 19, passes=True), row(OWN, 1))
    assert judged(tmp_path)[1]["state"] == "warning", "1 of 20 may be chance"
    report(tmp_path, "s.xml", row(OWN, 170, passes=True), row(OWN, 30), day=1)
    code, verdict = judged(tmp_path)
    assert (code, verdict["state"]) == (1, "failed")
    assert "of 220 mails of your own sources 31 do not pass" in verdict["found"]


def test_what_a_forwarder_broke_is_nobody_s_fault(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 60, passes=True), row(OWN, 40, why="mailing_list"))
    assert judged(tmp_path)[1]["state"] == "passed"


def test_where_nothing_passes_it_may_all_be_your_own(tmp_path: Path) -> None:
    report(tmp_path, "r.xml", row(OWN, 60, became="reject"), policy="reject")
    assert judged(tmp_path)[1]["state"] == "warning"
