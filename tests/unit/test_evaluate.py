"""The evaluation entry: one prediction a line, through the product's own code."""

from __future__ import annotations

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
    assert main(["bounces", str(tmp_path), "--score"]) == 2  # a folder has no labels
    assert capsys.readouterr().err.count("usage:") == 2


def test_a_score_says_what_is_not_as_expected(tmp_path: Path, capsys: Any) -> None:
    right = case(expected={"server": "dom", "header_from": "jo <notifications@acme.test>"})
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"cases": [right]}), "utf-8")
    assert main(["routing", str(path), "--score"]) == 0
    assert capsys.readouterr().out == "1 of 1 cases as expected\n"
    wrong = case(id="X-2", expected={"server": "any"})
    path.write_text(json.dumps({"cases": [right, wrong]}), "utf-8")
    assert main(["routing", str(path), "--score"]) == 1
    assert capsys.readouterr().out == "X-2: server is 'dom', expected 'any'\n1 of 2 cases as expected\n"


def test_messages_are_scored_by_their_labels(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.eml").write_bytes(b"From: ann@acme.test\nSubject: Lunch\n\nAt noon?\n")
    truth = tmp_path / "truth.jsonl"
    truth.write_text(json.dumps({"id": "a", "file": "a.eml", "kind": "ordinary"}) + "\n", "utf-8")
    assert main(["bounces", str(truth), "--score"]) == 0
    truth.write_text(json.dumps({"id": "a", "file": "a.eml", "kind": "bounce"}) + "\n", "utf-8")
    assert main(["bounces", str(truth), "--score"]) == 1
    assert "a: kind is 'ordinary', expected ['bounce']" in capsys.readouterr().out
