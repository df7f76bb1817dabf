"""What is proposed, held against the checkers of name servers: BIND's ``named-checkzone`` and dnspython's.

The zone with the proposals applied is written as a master file and given to both. BIND is run with every check it has
made an error, so that a CNAME beside other data, a name that cannot be, or an MX at an alias is refused.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import dns.exception
import dns.zone
import pytest
from dns_kit import DOMAIN, Zone, proposals, report, zone
from hypothesis import HealthCheck, given, settings
from peers import missing
from test_dns_sixty import DKIM, DKIM_FAULTS, DMARC, DMARC_FAULTS, REST, SIXTY, SPF_FAULTS, TOKENS, zones

from mailops.testing.publish import publish, zone_text

STRICT = ["-k", "fail", "-m", "fail", "-M", "fail", "-n", "fail", "-r", "fail", "-i", "local"]


@pytest.fixture(scope="session")
def named_checkzone() -> str:
    binary = shutil.which("named-checkzone") or shutil.which("named-checkzone", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        missing("bind", "no named-checkzone here (Debian's package bind9-utils)")
    assert binary is not None
    return binary


def refusals(binary: str, where: Zone, folder: Path) -> list[str]:
    """What BIND and dnspython say against the zone; nothing when both take it."""
    written = zone_text(where, DOMAIN)  # type: ignore[arg-type]  # mixed forms
    file = folder / "zone"
    file.write_text(written, "utf-8")
    done = subprocess.run([binary, *STRICT, DOMAIN, str(file)], capture_output=True, text=True, timeout=30, check=False)
    out = [done.stdout + done.stderr] if done.returncode else []
    try:
        dns.zone.from_text(written, origin=DOMAIN, check_origin=True)
    except (dns.exception.DNSException, ValueError) as problem:
        out.append(f"dnspython: {problem!r}")
    return out


@pytest.mark.parametrize(
    ("wrong", "who"),
    [
        ({DMARC: ["CNAME a.example.", "TXT v=DMARC1; p=none"]}, ("CNAME and other data", "dnspython")),
        ({DKIM: ["CNAME a.example.", "CNAME b.example."]}, ("multiple RRs of singleton type",)),
        ({DOMAIN: [*REST, "MX 20 www.acme.example."], "www.acme.example": ["CNAME mx.acme.example."]}, ("is a CNAME",)),
        ({DOMAIN: [*REST, "MX 20 lost.acme.example."]}, ("has no address records",)),
    ],
)  # fmt: skip
def test_the_checkers_refuse_what_no_name_server_holds(
    named_checkzone: str, wrong: Zone, who: tuple[str, ...], tmp_path: Path
) -> None:
    said = " ".join(refusals(named_checkzone, zone(wrong), tmp_path))
    assert all(word in said for word in who), said
    assert refusals(named_checkzone, zone(), tmp_path) == []


@pytest.mark.parametrize(("spf", "dmarc", "dkim"), SIXTY)
def test_the_zone_after_all_proposals_is_taken_by_both(
    named_checkzone: str, spf: str, dmarc: str, dkim: str, tmp_path: Path
) -> None:
    (apex, _), (policy, _), keys = SPF_FAULTS[spf], DMARC_FAULTS[dmarc], DKIM_FAULTS[dkim]
    where = zone({DOMAIN: [*TOKENS, *apex, *policy.get("+", []), *REST]}, DMARC, DKIM)
    where |= {name: entries for name, entries in {**policy, **keys}.items() if name != "+"}
    where["agg.example"] = ["A 192.0.2.3"]
    assert refusals(named_checkzone, publish(where, proposals(report(where))), tmp_path) == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(where=zones())
def test_no_proposal_makes_a_zone_that_a_name_server_refuses(
    named_checkzone: str, where: Zone, tmp_path: Path
) -> None:  # fmt: skip
    rows: list[dict[str, Any]] = proposals(report(where))
    assert refusals(named_checkzone, where, tmp_path) == []  # else the proposal could not be blamed
    for chosen in (*([row] for row in rows), rows):
        assert refusals(named_checkzone, publish(where, chosen), tmp_path) == []
