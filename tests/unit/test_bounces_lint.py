"""Every line of refusals.tsv can decide and adds something, and a line that does not is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailops.bounces import classify
from mailops.bounces.reading.classify import WINDOW, compile_table, match_text
from mailops.bounces.reading.lint import lint, main, probes
from mailops.bounces.reading.patterns import read, text


def planted(*lines: str) -> list[tuple[str, str, str | None]]:
    """What is found when lines are added to the shipped file: kind, phrase, the phrase in its way."""
    return [(one.kind, one.words, one.by and one.by.words) for one in lint(text() + "\n".join(lines) + "\n")]


def test_no_line_is_idle_or_unclear() -> None:
    assert [str(one) for one in lint(text())] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("310\tuserunknown\tuser unknown\tseen", ("repeat", "user unknown", "user unknown")),
        ("310\tuserunknown\tuser unknown in table\tseen", ("repeat", "user unknown in table", "user unknown")),
        ("530w\tuserunknown\tuser unknown in table\tseen", ("repeat", "user unknown in table", "user unknown")),
        ("380\tblocked\tuser unknown to us\tseen", ("shadow", "user unknown to us", "user unknown")),
        ("380\tblocked\t^user unknown\tseen", ("shadow", "^user unknown", "user unknown")),
        ("380\tblocked\tips * user unknown\tseen", ("shadow", "ips * user unknown", "user unknown")),
        ("380\tblocked\texceeded the quota\tseen", ("shadow", "exceeded the quota", "exceeded * quota")),
        ("380\tblocked\tdetected as spam, blocked\tseen", ("shadow", "detected as spam, blocked", "as spam")),
        ("570w\tsystemerror\tspam engine\tseen", ("shadow", "spam engine", "spam")),
        ("380\tblocked\tThis Is Shouted\tseen", ("unreached", "This Is Shouted", None)),
        ("380\tblocked\ttwo  blanks here\tseen", ("unreached", "two  blanks here", None)),
        ("380\tblocked\task jo@dest.example\tseen", ("unreached", "ask jo@dest.example", None)),
        ("380\tblocked\trecipient address rejected: zzz\tseen", ("unreached", "recipient address rejected: zzz", None)),
        ("270\tspamdetected\twww.spam.example/q\tseen", ("unreached", "www.spam.example/q", None)),
        ("380\tblocked\tgsmtp p=overquota zzz\tseen", ("shadow", "gsmtp p=overquota zzz", "overquota")),
        ("380\tblocked\tgsmtp optional argument\tseen", ("unreached", "gsmtp optional argument", None)),
        ("380\tblocked\tqx\tseen", ("unreached", "qx", None)),
        ("380\trejected\tzzz qqq\tseen", ("unclear", "zzz qqq", "blocked using")),
        ("900\tmadeup\tzzz qqq\tseen", ("unclear", "zzz qqq", None)),
    ],
)  # fmt: skip
def test_a_planted_line_is_found(line: str, found: tuple[str, str, str | None]) -> None:
    results = planted(line)
    if found[0] == "unclear" and found[2]:
        found = (found[0], found[1], results[0][2])  # whichever line of that rank stands first in the file
    assert results == [found]


def test_a_line_that_adds_something_is_not_found() -> None:
    assert planted("900w\tuserunknown\tzzz qqq\tseen", "305\tsyntaxerror\tuser unknown to our parser\tseen") == []
    assert planted("380\tblocked\tzzz malicious-zzz\tseen") == []  # a weak word is not always asked


def test_two_lines_that_say_the_same_are_one_too_many() -> None:
    assert planted("380\tblocked\tzzz*qqq\tseen", "380\tblocked\tzzz * qqq\tseen") == [
        ("repeat", "zzz*qqq", "zzz * qqq")
    ]


def test_pieces_are_probed_as_far_apart_as_they_may_be() -> None:
    near, far = probes("exceeded its * quota")
    table = compile_table(read("10\tblocked\texceeded its * quota\tseen\n"))
    assert match_text(near, among=table)
    assert match_text(far, among=table)
    assert not match_text(far.replace("¤quota", "¤¤quota"), among=table)
    assert len(far) > WINDOW
    shorter = "10\tblocked\texceeded * quota\tseen\n20\tsuspend\texceeded its whole * quota\tseen\n"
    assert lint(shorter) == []  # with the pieces wide apart only the second stands


def test_the_command_names_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == ""
    file = tmp_path / "copy.tsv"
    file.write_text("# a note\n10\tblocked\tgo away\tseen\n20\tsuspend\tgo away now\tseen\n", "utf-8")
    assert main([str(file)]) == 1
    out = capsys.readouterr().out
    assert out == "refusals.tsv:3: shadow: suspend 'go away now', by line 2: blocked 'go away'\n"


@pytest.mark.parametrize(
    ("said", "reason", "hard"),
    [
        ("501 bad address syntax", "syntaxerror", False),
        ("501 5.1.3 bad address syntax", "userunknown", True),
        ("501 5.1.7 bad address syntax", "rejected", False),
        ("550 sender domain authentication failed", "authfailure", False),
        ("421 too many messages in this session", "toomanyconn", False),
        ("452 too many messages in this mailbox", "mailboxfull", False),
        ("554 ip/domain reputation", "badreputation", False),
        ("554 bad headers", "contenterror", False),
        ("550 5.6.0 content rejected", "contenterror", False),
        ("550 5.7.1 content rejected", "spamdetected", False),
    ],
)
def test_of_two_that_stood_in_each_others_way_the_right_one_decides(said: str, reason: str, hard: bool) -> None:
    found = classify(text=said)
    assert (found.reason, found.hard) == (reason, hard), found.rule
