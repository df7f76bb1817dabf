"""The gateway's decision, rule by rule, without a store: configurations in the form of the case files."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mailops.errors import ConfigError
from mailops.inbound.decide import route_inbound
from mailops.inbound.loops import MARK, check_limit, limits
from mailops.inbound.parse import parse
from mailops.inbound.values import Decision, LoopLimits
from mailops.model.setup import AliasDomain
from mailops.testing.suites.gateway import CaseView, predict, raw_message
from mailops.threads.alias_names import allowed_domains, clean_allowed_domains, sanitise_local

MODELS = [
    {"name": "lead", "accepts_mail": True, "bounce_counter": True},
    {"name": "task", "accepts_mail": True, "bounce_counter": False},
    {"name": "country", "accepts_mail": False, "bounce_counter": False},
]
BASE: dict[str, Any] = {
    "alias_domains": [
        {"name": "acme.example"},
        {"name": "beta.example", "bounce_alias": "back", "catchall_alias": "all"},
    ],
    "company_email": "info@acme.example",
    "models": MODELS,
    "aliases": [{"key": "leads", "local": "leads", "domain": "acme.example", "model": "lead"}],
    "partners": [{"key": "val", "email": "Val <val@cust.test>, other@cust.test", "bounces": 0}],
    "threads": [{"key": "T1", "model": "lead", "email": "owner@cust.test", "followers": []}],
    "messages": [{"message_id": "<m1@acme.example>", "thread": "T1", "author": "val"}],
}


def case(
    to: str = "leads@acme.example", *, dsn: dict[str, Any] | None = None, headers: Any = (), **config: Any
) -> dict[str, Any]:
    lines = {
        "Return-Path": "<rp@ext.test>",
        "From": '"Sue" <sue@ext.test>',
        "To": to,
        "Subject": "Hi",
        "Message-Id": "<in@ext.test>",
    }
    lines |= dict(headers)
    return {
        "config": {**copy.deepcopy(BASE), **config},
        "inbound": {"headers": {k: v for k, v in lines.items() if v is not None}, "body": "Hello", "dsn": dsn},
    }


def alias(key: str, model: str = "lead", **more: Any) -> dict[str, Any]:
    return {"key": key, "local": key, "domain": "acme.example", "model": model, **more}


def decide(given: dict[str, Any]) -> Decision:
    return route_inbound(parse(raw_message(given["inbound"])), CaseView(given["config"]))


# --- replies and forwards ---------------------------------------------------------------------------------------------


@pytest.mark.req("IN-04")
def test_in_reply_to_counts_even_when_references_are_unknown() -> None:
    got = predict(case("x@acme.example", headers={"References": "<no@x>", "In-Reply-To": "<m1@acme.example>"}))
    assert (got["decision"], got["thread"]) == ("reply", "T1")


def test_only_the_last_32_references_count() -> None:
    many = " ".join(["<m1@acme.example>", *(f"<{n}@x>" for n in range(32))])
    assert predict(case("x@acme.example", headers={"References": many}))["decision"] == "reject_no_route"
    fewer = " ".join(["<m1@acme.example>", *(f"<{n}@x>" for n in range(31))])
    assert predict(case("x@acme.example", headers={"References": fewer}))["decision"] == "reply"


def test_the_newest_known_message_wins_and_in_reply_to_is_the_parent() -> None:
    threads = [{"key": k, "model": "lead", "email": None} for k in ("T1", "T2")]
    messages = [{"message_id": f"<m{n}@acme.example>", "thread": t} for n, t in ((1, "T1"), (2, "T2"), (3, "T2"))]
    headers = {"References": "<m3@acme.example> <m1@acme.example>", "In-Reply-To": "<m2@acme.example>"}
    got = predict(case("x@acme.example", headers=headers, threads=threads, messages=messages))
    assert (got["thread"], got["parent"]) == ("T2", "<m2@acme.example>")


def test_a_message_that_starts_new_threads_is_not_replied_to() -> None:
    messages = [{"message_id": "<m1@acme.example>", "thread": "T1", "force_new": True}]
    got = predict(case(headers={"In-Reply-To": "<m1@acme.example>"}, messages=messages))
    assert (got["decision"], got["thread"]) == ("create", None)


@pytest.mark.parametrize("thread", [None, "gone"])
def test_without_a_record_behind_the_message_the_aliases_decide(thread: str | None) -> None:
    messages = [{"message_id": "<m1@acme.example>", "thread": thread}]
    got = predict(case(headers={"In-Reply-To": "<m1@acme.example>"}, messages=messages))
    assert (got["decision"], got["created"]) == ("create", [{"alias": "leads", "model": "lead"}])


def test_a_record_that_is_gone_is_made_again() -> None:
    messages = [{"message_id": "<m1@acme.example>", "thread": "gone", "model": "lead"}]
    got = predict(case("x@acme.example", headers={"In-Reply-To": "<m1@acme.example>"}, messages=messages))
    assert (got["decision"], got["created"]) == ("create", [{"alias": None, "model": "lead"}])


@pytest.mark.parametrize(("to", "cc", "want"), [
    ("tasks@acme.example", None, "create"),
    ("x@acme.example", "tasks@acme.example", "reply"),
    ("leads@acme.example", None, "reply"),
    ("leads@acme.example, tasks@acme.example", None, "create"),
])  # fmt: skip
def test_an_alias_of_another_model_in_to_makes_it_a_forward(to: str, cc: str | None, want: str) -> None:
    headers = {"In-Reply-To": "<m1@acme.example>", "Cc": cc}
    got = predict(case(to, headers=headers, aliases=[alias("leads", record="T1"), alias("tasks", "task")]))
    assert got["decision"] == want
    assert got["created"] == ([{"alias": "tasks", "model": "task"}] if want == "create" else [])


@pytest.mark.parametrize(("policy", "sender", "want"), [
    ("partners", "sue@ext.test", ("bounce", "alias_partners")),
    ("partners", "VAL@cust.test", ("reply", "reply")),
    ("followers", "val@cust.test", ("bounce", "alias_followers")),
])  # fmt: skip
@pytest.mark.parametrize("field", ["To", "Cc"])
def test_the_policy_of_an_addressed_alias_holds_for_replies(
    policy: str, sender: str, want: tuple[str, str], field: str
) -> None:
    headers = {"From": sender, "In-Reply-To": "<m1@acme.example>", "To": "x@acme.example", field: "leads@acme.example"}
    got = predict(case(headers=headers, aliases=[alias("leads", contact=policy)]))
    assert (got["decision"], got["reason"]) == want
    asked_elsewhere = predict(
        case("x@acme.example", headers={**headers, field: "x@acme.example"}, aliases=[alias("leads", contact=policy)])
    )
    assert asked_elsewhere["decision"] == "reply"


# --- aliases ----------------------------------------------------------------------------------------------------------


def test_several_aliases_make_one_record_each() -> None:
    got = predict(case("leads@acme.example, tasks@acme.example", aliases=[alias("leads"), alias("tasks", "task")]))
    assert sorted(c["alias"] for c in got["created"]) == ["leads", "tasks"]


def test_one_alias_refuses_while_the_other_takes_the_mail() -> None:
    given = [alias("leads"), alias("tasks", "task", contact="partners")]
    got = predict(case("leads@acme.example, tasks@acme.example", aliases=given))
    assert (got["decision"], got["created"]) == ("create", [{"alias": "leads", "model": "lead"}])
    assert len(got["notices"]) == 1
    assert "tasks@acme.example" in got["notices"][0]["body"]


def test_a_bound_alias_posts_on_its_record_and_makes_one_when_it_is_gone() -> None:
    assert predict(case(aliases=[alias("leads", force_thread="T1")]))["decision"] == "update"
    assert predict(case(aliases=[alias("leads", force_thread="gone")]))["decision"] == "create"


def test_an_alias_without_domain_has_no_full_address() -> None:
    assert predict(case(aliases=[alias("leads") | {"domain": None}]))["decision"] == "reject_no_route"
    assert predict(case(aliases=[alias("leads", incoming_local=True) | {"domain": None}]))["decision"] == "create"


def test_models_that_take_no_mail_are_no_route() -> None:
    assert predict(case(aliases=[alias("leads", "country")]))["decision"] == "reject_no_route"
    assert predict(case("x@y.test", fallback_model="country"))["decision"] == "reject_no_route"
    assert predict(case("x@y.test", fallback_model="task"))["created"] == [{"alias": None, "model": "task"}]


def test_the_author_is_a_follower_first_then_a_user_then_anyone_and_never_an_alias() -> None:
    people = [
        {"key": "any", "email": "sue@ext.test"},
        {"key": "user", "email": "sue@ext.test", "user": True},
        {"key": "follower", "email": "Sue@EXT.test"},
        {"key": "archived", "email": "sue@ext.test", "active": False},
        {"key": "robot", "email": "leads@acme.example"},
    ]
    threads = [{"key": "T1", "model": "lead", "email": None, "followers": ["follower"]}]
    assert predict(case(partners=people, threads=threads))["author"] == "user"
    bound = [alias("leads", force_thread="T1")]
    assert predict(case(partners=people, threads=threads, aliases=bound))["author"] == "follower"
    assert predict(case(partners=people, headers={"From": "leads@acme.example"}))["author"] is None
    assert predict(case(headers={"From": "other@cust.test"}))["author"] is None  # only a contact's first address counts


@pytest.mark.parametrize(
    ("content", "own"), [("<p>Ask <b>Ann</b></p>", True), ("<p><br/> &nbsp;</p>", False), (None, False)]
)
def test_an_alias_may_have_its_own_refusal_unless_nothing_is_seen(content: str | None, own: bool) -> None:
    got = predict(case(aliases=[alias("leads", contact="partners", bounced_content=content)]))
    body = got["notices"][0]["body"]
    assert ("Ask Ann" in body) is own
    assert ("registered contacts" in body) is not own


# --- catchall, notices ------------------------------------------------------------------------------------------------


@pytest.mark.req("IN-10", "IN-11")
@pytest.mark.parametrize(("to", "cc", "want"), [
    ("catchall@acme.example", None, "bounce"),
    ("catchall@acme.example, all@beta.example", None, "bounce"),
    ("catchall@acme.example", "leads@acme.example", "bounce"),
    ("catchall@acme.example, leads@acme.example", None, "create"),
    ("catchall@acme.example, x@y.test", None, "bounce"),
    ("x@y.test", "catchall@acme.example", "reject_no_route"),
])  # fmt: skip
def test_the_catchall_refuses_only_when_nothing_else_is_meant(to: str, cc: str | None, want: str) -> None:
    got = predict(case(to, headers={"Cc": cc}))
    assert got["decision"] == want
    if want == "bounce":
        (notice,) = got["notices"]
        assert (notice["from"], notice["reply_to"]) == ('"MAILER-DAEMON" <bounce@acme.example>', "info@acme.example")
        assert "info@acme.example" in notice["body"]
        assert notice["loop_tag"]


def test_a_target_model_comes_before_the_catchall_beside_strangers() -> None:
    assert predict(case("catchall@acme.example, x@y.test", fallback_model="lead"))["decision"] == "create"


@pytest.mark.req("OUT-06")
def test_technical_addresses_make_no_record_even_with_a_target_model() -> None:
    for to in ("catchall@acme.example", "notifications@acme.example", "notifications@beta.example, all@beta.example"):
        assert predict(case(to, fallback_model="lead"))["created"] == []


@pytest.mark.parametrize(
    ("headers", "to"),
    [
        ({}, "rp@ext.test"),
        ({"Return-Path": None}, "sue@ext.test"),
        ({"Return-Path": "<>"}, None),
        ({"Auto-Submitted": "auto-replied"}, None),
        ({"Auto-Submitted": "no"}, "rp@ext.test"),
        ({"Return-Path": None, "From": None}, None),
    ],
)
def test_notices_go_to_the_return_path_and_never_answer_robots(headers: dict[str, Any], to: str | None) -> None:
    got = predict(case("catchall@acme.example", headers=headers))
    assert got["decision"] == "bounce"
    assert [n["to"] for n in got["notices"]] == ([to] if to else [])


def test_without_alias_domain_a_notice_comes_from_the_address_written_to() -> None:
    given = [alias("leads", contact="partners", incoming_local=True) | {"domain": None}]
    got = predict(case("leads@old.test", aliases=given, alias_domains=[]))
    assert got["notices"][0]["from"] == "leads@old.test"


def test_an_answer_to_a_notice_is_dropped() -> None:
    got = predict(case(headers={"References": f"<x@y> <{MARK}.abc@acme.example>"}))
    assert (got["decision"], got["notices"]) == ("drop_loop_reply", [])


def test_known_ids_are_duplicates_also_when_a_relay_changed_them() -> None:
    assert predict(case(headers={"Message-Id": "<m1@acme.example>"}))["decision"] == "duplicate"
    assert predict(case(headers={"X-Mailops-Message-Id": "<m1@acme.example>"}))["decision"] == "duplicate"


# --- loops ------------------------------------------------------------------------------------------------------------


def prior(count: int, minutes: int, model: str = "lead", sender: str = "SUE@ext.test") -> list[dict[str, Any]]:
    return [{"model": model, "sender": sender, "count": count, "minutes_ago": minutes}]


@pytest.mark.req("IN-45", "IN-46", "IN-47", "IN-48")
@pytest.mark.parametrize(("records", "more", "want"), [
    (prior(19, 10), {}, "create"),
    (prior(20, 10), {}, "drop_loop"),
    (prior(20, 120), {}, "drop_loop"),
    (prior(20, 121), {}, "create"),
    (prior(20, 10, "task"), {}, "drop_loop"),
    (prior(20, 10), {"allowed_senders": ["Sue <SUE@ext.test>"]}, "create"),
    (prior(2, 10), {"params": {"mail.gateway.loop.threshold": "2"}}, "drop_loop"),
    (prior(20, 11), {"params": {"mail.gateway.loop.minutes": 10}}, "create"),
    (prior(20, 10), {"aliases": [alias("leads", force_thread="T1")]}, "update"),
    (prior(20, 10), {"aliases": [], "fallback_model": "task"}, "drop_loop"),
])  # fmt: skip
def test_records_of_the_sender_in_the_window_are_counted(records: Any, more: dict[str, Any], want: str) -> None:
    got = predict(case(prior_records=records, **more))
    assert got["decision"] == want
    if want == "drop_loop":
        assert [n["to"] for n in got["notices"]] == ["rp@ext.test"]
        assert "too many times" in got["notices"][0]["body"]


def test_replies_are_never_blocked() -> None:
    got = predict(case(headers={"In-Reply-To": "<m1@acme.example>"}, prior_records=prior(50, 1)))
    assert got["decision"] == "reply"


@pytest.mark.req("IN-47", "IN-48")
@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "1e3", "٣", "9" * 30])
def test_bad_limits_are_refused(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_limit("mail.gateway.loop.minutes", value, 120)
    assert caught.value.code == "config.bad_parameter"
    assert limits({}) == LoopLimits(120, 20)


# --- bounces ----------------------------------------------------------------------------------------------------------


def report(recipient: str | None = "val@cust.test", original: str | None = "<m1@acme.example>") -> dict[str, Any]:
    return {
        "content_type": "multipart/report; report-type=delivery-status",
        "final_recipient": recipient,
        "action": "failed",
        "status": "5.1.1",
        "diagnostic": "smtp; 550 no",
        "explanation": "Sorry.",
        "original_part": "message/rfc822",
        "original_headers": {"Message-Id": original} if original else {},
    }


def told(*who: str) -> list[dict[str, Any]]:
    return [
        {
            "message_id": "<m1@acme.example>",
            "thread": "T1",
            "notified": list(who),
            "mass_mailing_trace": "val@cust.test",
        }
    ]


def test_a_bounce_counts_the_contact_the_record_and_marks_the_notification() -> None:
    got = predict(case("back@beta.example", dsn=report(), messages=told("val")))
    assert got["decision"] == "bounce_registered"
    assert (got["partner_bounces"], got["thread_bounces"]) == ({"val": 1}, {"T1": 1})
    wanted = {"partner": "val", "status": "bounce", "failure_type": "mail_bounce", "reason": "550 no\nSorry."}
    assert got["notification"] == wanted
    assert (got["created"], got["notices"]) == ([], [])


@pytest.mark.parametrize(("notified", "count"), [(("val",), 1), ((), 0), (("val", "val2"), 0)])
def test_without_an_address_the_only_notified_contact_counts(notified: tuple[str, ...], count: int) -> None:
    people = [*BASE["partners"], {"key": "val2", "email": "v2@cust.test"}]
    got = predict(case("bounce@acme.example", dsn=report(None), messages=told(*notified), partners=people))
    assert (got["decision"], got["partner_bounces"]["val"]) == ("bounce_registered", count)


def test_the_report_s_own_references_serve_when_the_original_is_not_attached() -> None:
    headers = {"From": "MAILER-DAEMON@mx.test", "In-Reply-To": "<m1@acme.example>"}
    got = predict(case(headers=headers, messages=told("val")))
    assert (got["decision"], got["partner_bounces"]) == ("bounce_registered", {"val": 1})


def test_ordinary_mail_sets_the_senders_counters_back() -> None:
    people = [{"key": "val", "email": "val@cust.test", "bounces": 4}]
    got = predict(case("x@y.test", headers={"From": '"Val" <VAL@cust.test>'}, partners=people))
    assert got["partner_bounces"] == {"val": 0}
    got = predict(case(headers={"Message-Id": "<m1@acme.example>", "From": "val@cust.test"}, partners=people))
    assert got["partner_bounces"] == {"val": 4}


@pytest.mark.parametrize(("days", "bounces", "want"), [
    ([40, 30, 20, 10], 4, True),
    ([40, 30, 20], 4, False),  # four bounces with this one
    ([6, 5, 4, 3], 4, False),  # all within a week
    ([40, 30, 20, 10], 0, False),  # the contact has fewer than five
    ([200, 150, 20, 10], 4, False),  # too old
])  # fmt: skip
def test_five_bounced_campaign_mails_over_more_than_a_week_blacklist(days: list[int], bounces: int, want: bool) -> None:
    earlier = [{"email": "val@cust.test", "days_ago": d} for d in days]
    people = [{"key": "val", "email": "val@cust.test", "bounces": bounces}]
    got = predict(
        case("bounce@acme.example", dsn=report(), messages=told("val"), prior_bounces=earlier, partners=people)
    )
    assert got["blacklisted"] == {"val@cust.test": want}


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.req("IN-51")
def test_the_parameter_of_allowed_domains() -> None:
    own = [AliasDomain("Acme.example")]
    assert allowed_domains(" A.com , b.com", own) == {"a.com", "b.com", "acme.example"}
    assert allowed_domains(" , ", own) == allowed_domains(None, own) == frozenset()
    assert clean_allowed_domains(" A.com ,b.com,") == "a.com,b.com"
    for bad in (" , ", "", "a@b.com", "a b.com"):
        with pytest.raises(ConfigError):
            clean_allowed_domains(bad)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("Sales Team", "sales-team"),
        (" Café ", "cafe"),
        ("a..b.", "a.b"),
        ("x@y.test", "x"),
        ("@", ""),
        ("a_b+c", "a_b+c"),
    ],
)
def test_local_parts_are_sanitised(text: str, local: str) -> None:
    assert sanitise_local(text) == local


def test_every_decision_tells_the_rules_it_passed() -> None:
    decision = decide(case("x@y.test"))
    assert [step.rule for step in decision.trace] == ["duplicate", "bounce", "reply", "catchall", "aliases", "no-route"]
    assert all(step.found for step in decision.trace)
