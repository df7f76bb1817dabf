"""Script rules decide the same way every time, and say why."""

from __future__ import annotations

import json

import pytest

from mailops.errors import ConfigError
from mailops.testing import (
    Rule,
    bounce_later,
    defer,
    drop,
    garbage,
    greylist,
    load_script,
    rate_limit,
    refuse,
    session_limit,
    silence,
)
from mailops.testing.smtp_script import Moment, ScriptState, rule_from_dict, rule_to_dict


def rcpt(recipient: str, sender: str = "ann@acme.test", at: float = 0.0) -> Moment:
    return Moment("rcpt", sender=sender, recipients=(recipient,), monotonic=at)


def test_without_a_rule_for_the_step_the_server_is_friendly():
    state = ScriptState([refuse("bob@x.test")])
    assert not state.covers("mail")
    assert state.decide(rcpt("carl@x.test")) is None


def test_globs_ignore_case_and_the_first_firing_rule_wins():
    first, second = refuse("BOB@*"), defer("*@x.test")
    state = ScriptState([first, second])
    assert state.decide(rcpt("bob@X.test")).rule is first
    assert state.decide(rcpt("eve@x.test")).rule is second


def test_sender_globs():
    state = ScriptState([Rule("mail", code=550, sender="*@bad.test")])
    assert state.decide(Moment("mail", sender="a@bad.test")) is not None
    assert state.decide(Moment("mail", sender="a@good.test")) is None


def test_nth_and_first_count_matches():
    nth = ScriptState([drop("rcpt", nth=2, recipient="bob@*")])
    assert [nth.decide(rcpt("bob@x.test")) is not None for _ in range(3)] == [False, True, False]
    assert nth.decide(rcpt("eve@x.test")) is None
    first = ScriptState([defer("bob@*", first=2)])
    assert [first.decide(rcpt("bob@x.test")) is not None for _ in range(3)] == [True, True, False]


def test_greylisting_waits_for_the_pair_not_for_the_recipient():
    state = ScriptState([greylist(seconds=300, times=1)])
    early = state.decide(rcpt("bob@x.test", at=0))
    assert (early.rule.code, early.rule.enhanced) == (450, "4.2.0")
    assert "waited 0 of 300 s" in early.reason
    assert state.decide(rcpt("bob@x.test", at=299)) is not None
    assert state.decide(rcpt("bob@x.test", at=300)) is None
    assert state.decide(rcpt("bob@x.test", sender="eve@acme.test", at=301)) is not None
    assert state.decide(rcpt("bob@x.test", at=302)) is None


def test_greylisting_by_count_only():
    state = ScriptState([greylist(times=2)])
    assert [state.decide(rcpt("b@x.test")) is None for _ in range(4)] == [False, False, True, True]


def test_rate_is_a_sliding_window():
    state = ScriptState([rate_limit(2, 10)])
    fired = [state.decide(Moment("connect", monotonic=at)) is not None for at in (0, 1, 2, 12.5)]
    assert fired == [False, False, True, False]


def test_session_limit_looks_at_the_session():
    state = ScriptState([session_limit(2)])
    assert state.decide(Moment("mail", session_messages=1)) is None
    assert state.decide(Moment("mail", session_messages=2)).rule.closes


def test_421_closes_unless_told_otherwise():
    assert Rule("mail", code=421).closes
    assert not Rule("mail", code=421, close=False).closes
    assert not Rule("mail", code=451).closes


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: Rule("lunch"), "unknown step"),
        (lambda: Rule("mail", "explode"), "unknown action"),
        (lambda: Rule("mail"), "needs a reply code"),
        (lambda: garbage("mail", "sticky"), "unknown garbage"),
        (lambda: Rule("tls", code=454), "handshake"),
        (lambda: Rule("data", "bounce"), "step 'rcpt'"),
        (lambda: bounce_later("a@b.test", look="baroque"), "unknown look"),
        (lambda: silence("mail", -1), "not negative"),
        (lambda: refuse("a@b.test", text="a\r\nb"), "carriage return"),
        (lambda: rule_from_dict({"step": "mail", "recipent": "x"}), "unknown key 'recipent'"),
        (lambda: rule_from_dict({"code": 550}), "no 'step'"),
    ],
)
def test_a_rule_that_cannot_be_played_is_refused(make, part):
    with pytest.raises(ConfigError, match=part):
        make()


def test_rules_survive_json(tmp_path):
    rules = [refuse("bob@x.test"), drop("body", after=True, nth=3), greylist(seconds=5), garbage("data", "binary")]
    path = tmp_path / "script.json"
    path.write_text(json.dumps([rule_to_dict(rule) for rule in rules]))
    assert load_script(path) == {"rules": tuple(rules)}
    path.write_text(json.dumps({"rules": [{"step": "quit", "action": "drop"}], "max_size": 10}))
    assert load_script(path) == {"rules": (drop("quit"),), "max_size": 10}


@pytest.mark.parametrize("content", [None, "{"])
def test_an_unreadable_script_is_named(tmp_path, content):
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"script\.json"):
        load_script(path)
