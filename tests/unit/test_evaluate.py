"""The evaluation entry: one prediction a line, through the product's own code."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from mailops.errors import ConfigError, InputRefused
from mailops.testing.evaluate import SUITES, load, main, predictions


def case(**more: Any) -> dict[str, Any]:
    config = {
        "servers": [
            {"key": "dom", "name": "Domain", "from_filter": "acme.test", "sequence": 1, "active": True, "auth": "login"},
            {"key": "any", "name": "Any", "from_filter": None, "sequence": 2, "active": True, "auth": "cli"},
        ],
        "alias_domain": {"name": "acme.test", "bounce_alias": "bounce", "catchall_alias": "catchall", "default_from": "notifications"},
        "cli": {"smtp_server": True, "from_filter": None, "email_from": None},
        "params": {},
        "current_user_email": "me@acme.test",
    }  # fmt: skip
    return {"id": "X-1", "kind": "send", "config": config, "input": {"from": "jo@cust.test", "to": "d@x.test"}, **more}


def test_every_routing_case_of_the_shared_data_passes(shared: Path, tmp_path: Path, capsys: Any) -> None:
    cases = shared / "odoo" / "routing_cases_dev.json"
    if not cases.exists():
        pytest.skip("no routing cases beside this checkout")
    spec = importlib.util.spec_from_file_location("score", shared / "odoo" / "score.py")
    assert spec is not None
    assert spec.loader is not None
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    out = tmp_path / "predictions.jsonl"
    out.write_text("\n".join(json.dumps(p) for p in predictions("routing", cases)), "utf-8")
    failed = score.main(str(cases), str(out), "--misses")
    assert not failed, capsys.readouterr().out


def test_a_prediction_has_the_fields_of_the_case(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "cases.json"
    probe = case(id="X-2", kind="test_connection", input={"server": "any"})
    broken = case(id="X-3", input={"from": "a@acme.test", "forced_server": "gone"})
    path.write_text(json.dumps({"cases": [case(), probe, broken]}), "utf-8")
    assert main(["routing", str(path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"id": "X-1", "server": "dom", "header_from": '"jo" <notifications@acme.test>', "envelope_from": "bounce@acme.test"}  # fmt: skip
    assert lines[1] == {"id": "X-2", "mail_from": "me@acme.test"}
    assert lines[2]["id"] == "X-3"
    assert "does not exist any more" in lines[2]["error"]


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_of_the_table_is_there(name: str) -> None:
    assert callable(load(name))


def test_what_cannot_run_says_so(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(ConfigError):
        load("nothing")
    bad = tmp_path / "bad.json"
    bad.write_text("{", "utf-8")
    with pytest.raises(InputRefused) as caught:
        list(predictions("routing", bad))
    assert caught.value.code == "evaluate.not_json"
    assert main(["routing", str(tmp_path / "none.json")]) == 2
    assert main(["routing"]) == 2
    assert "usage:" in capsys.readouterr().err
