"""The demonstration's DNS and the reports its receivers send.

``northwind.example`` was set up for mail by half: its DKIM key is there, but its SPF record does not permit the hosted
server and nobody published a DMARC record. ``tools.example`` is in order. The reports tell of a month in which an old
shop system and a stranger send in the domain's name as well.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..testing.dkim_keys import dkim_key_pair

DOMAINS = ("northwind.example", "tools.example")
RECEIVERS = ("big-mail.example", "webmail.example", "office-post.example")
DAYS = 12


def zone() -> dict[str, list[Any]]:
    """Every name the demonstration asks for."""
    key = dkim_key_pair()[1]
    shared: dict[str, list[Any]] = {
        "_spf.odoo.com": ["TXT v=spf1 ip4:198.51.100.0/24 -all"],
        "odoo._domainkey.odoo.com": [f"TXT {key}"],
        "odoo._domainkey.northwind.example": ["CNAME odoo._domainkey.odoo.com."],
        "odoo._domainkey.tools.example": ["CNAME odoo._domainkey.odoo.com."],
        "northwind.example": ["TXT v=spf1 mx ip4:203.0.113.40 -all"],
        "tools.example": ["TXT v=spf1 include:_spf.odoo.com ~all"],
        "_dmarc.tools.example": ["TXT v=DMARC1; p=none; rua=mailto:postmaster@tools.example"],
    }
    for domain in DOMAINS:
        shared[domain] += [f"NS ns1.{domain}.", f"MX 10 mx.{domain}."]
        shared[f"mx.{domain}"] = ["A 203.0.113.25"]
        shared[f"ns1.{domain}"] = ["A 127.0.0.1"]
    return shared


def ask_here(settings: Path, port: int) -> None:
    """Let the workspace ask the demonstration's name server; it answers for the domains' own name servers too."""
    servers = "\n".join(f'"ns1.{domain}" = "127.0.0.1:{port}"' for domain in DOMAINS)
    with settings.open("a", encoding="utf-8") as file:
        file.write(f'\n[dns]\nresolvers = ["127.0.0.1:{port}"]\ntimeout = 2.0\n\n[dns.servers]\n{servers}\n')


def write_reports(folder: Path, now: datetime) -> None:
    """Aggregate reports of some days in the wrappings receivers use, and one that was cut off on its way."""
    folder.mkdir(exist_ok=True)
    for back in range(DAYS, 0, -1):
        day = (now - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        receiver = RECEIVERS[back % len(RECEIVERS)]
        name = f"{receiver}!northwind.example!{day:%Y%m%d}"
        data = report(receiver, day, back).encode()
        match back % 3:
            case 0:
                (folder / f"{name}.xml.gz").write_bytes(gzip.compress(data))
            case 1:
                (folder / f"{name}.zip").write_bytes(_zipped(data, f"{name}.xml"))
            case _:
                (folder / f"{name}.xml").write_bytes(data)
    (folder / "cut-off.xml.gz").write_bytes(gzip.compress(data)[:120])


def report(receiver: str, day: datetime, back: int) -> str:
    """One receiver's report of a day (RFC 7489 appendix C)."""
    rows = _row("198.51.100.17", 140 + 7 * (back % 5), "pass", "fail", "northwind.example", "pass")
    rows += _row("203.0.113.40", 12 + back % 4, "fail", "pass", "northwind.example", "pass", signed=False)
    rows += _row("192.0.2.77", 9 + back % 3, "fail", "fail", "old-shop.example", "pass", signed=False)
    if back % 4 == 0:
        rows += _row("192.0.2.200", 31 + back, "fail", "fail", "northwind.example", "fail", signed=False)
    begin = int(day.timestamp())
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feedback><report_metadata>'
        f"<org_name>{receiver}</org_name><email>dmarc@{receiver}</email><report_id>{begin}.{receiver}</report_id>"
        f"<date_range><begin>{begin}</begin><end>{begin + 86399}</end></date_range></report_metadata>"
        "<policy_published><domain>northwind.example</domain><adkim>r</adkim><aspf>r</aspf><p>none</p></policy_published>"
        f"{rows}</feedback>"
    )


def _row(ip: str, count: int, dkim: str, spf: str, bounce: str, raw_spf: str, *, signed: bool = True) -> str:
    signature = "<dkim><domain>northwind.example</domain><selector>odoo</selector><result>pass</result></dkim>"
    return (
        f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>"
        f"<dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>"
        "<identifiers><header_from>northwind.example</header_from></identifiers>"
        f"<auth_results>{signature if signed else ''}<spf><domain>{bounce}</domain><result>{raw_spf}</result></spf>"
        "</auth_results></record>"
    )


def _zipped(data: bytes, name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()
