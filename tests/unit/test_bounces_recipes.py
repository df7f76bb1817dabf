"""The recipes of the page about bounces run as they stand."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "bounces.md"
RECIPES = [
    textwrap.dedent(found) for found in re.findall(r"(?m)^ +```python\n(.*?)^ +```", PAGE.read_text("utf-8"), re.DOTALL)
]
BOUNCE = (
    "Return-Path: <>\nFrom: MAILER-DAEMON@mx.relay.example\nTo: bounce+12@acme.example\nSubject: Undelivered\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\nfailed\n\n"
    "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.relay.example\n\n"
    "Final-Recipient: rfc822; lena@dest.example\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 User unknown\n\n--b\nContent-Type: message/rfc822\n\nFrom: sales@acme.example\n"
    "Subject: Offer 12\n\nHello\n--b--\n"
)


def test_the_page_has_ten_recipes() -> None:
    assert len(RECIPES) == 10


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bounce.eml").write_text(BOUNCE, "utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(RECIPES[number], f"{PAGE.name}, recipe {number + 1}", "exec"), {})
