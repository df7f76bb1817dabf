"""What a stranger types: numbers that are none, too large or negative, dates beyond the calendar, names of nothing.
Each is answered by an error with code, facts and fix, or by what it really does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailops import Ops
from mailops.cli import main
from mailops.errors import ConfigError, InputRefused
from mailops.model.running import Running
from mailops.submission.server import bound

HUGE = "99999999999999999999"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("arguments") / "mail"
    said(place, "init", str(place))
    said(place, "server", "add", "own", "--host", "127.0.0.1", "--port", "2599", "--encryption", "none")
    said(place, "company", "domain", "example.com")
    return place


def said(folder, *words: str) -> tuple[int, str]:
    """The exit status and all that was written."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mailops", "-w", str(folder), *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as left:
            main()
    return left.value.code, out.getvalue()


NEGATIVE = [
    "queue vacuum --days -1",
    "queue vacuum --days nan",
    "queue vacuum --days inf",
    "queue list --limit -1",
    "queue list --offset -5",
    "queue run --limit -1",
    "queue hold x.test --hours -1",
    "queue hold x.test --hours 1e12",
    "queue hold x.test --hours nan",
    "serve --queue-every -5",
    "serve --queue-every nan",
    "serve --seconds -1",
    "serve reports --limit -1",
    "serve user add app --per-minute -1",
    "worker --seconds -1",
    "inbound lmtp --seconds -1",
    "run queue --timeout -1",
    "fleet FOLDER run queue --timeout nan",
    "domain history example.com --limit -1",
    "domain watch example.com --minutes inf",
    "server readiness --fetch -1",
]
LARGE = [
    "serve --port 99999",
    "serve --webhooks 99999",
    "inbound lmtp --port 99999",
    f"queue show {HUGE}",
    f"queue history {HUGE}",
    f"queue cancel {HUGE} --yes",
    f"queue list --limit {HUGE}",
    f"bounces why {HUGE}",
    f"explain send --mail {HUGE}",
    f"inbound log --limit {HUGE}",
    f"suppress list --limit {HUGE}",
    f"envelope show {HUGE}",
    f"server add two --host x.test --priority {HUGE}",
    f"jobs history --limit {HUGE}",
    f"trace ann@example.com --limit {HUGE}",
]


@pytest.mark.parametrize("line", NEGATIVE + LARGE)
def test_a_number_that_cannot_be_used_is_refused(folder, line):
    status, text = said(folder, *line.replace("FOLDER", str(folder)).split())
    assert status == 2, text
    assert "input.out_of_range" in text, text
    assert "Give a number from" in text, text


def test_all_faces_refuse_what_would_remove_every_mail(folder):
    ops = Ops.open(folder)
    for wrong in (
        lambda: ops.vacuum(timedelta(days=-1)),
        lambda: ops.queue.page(limit=-1),
        lambda: ops.queue.page(offset=-5),
        lambda: ops.queue.hold("x.test", timedelta(days=900_000_000)),
        lambda: ops.queue.mail(int(HUGE)),
        lambda: ops.queue.history(int(HUGE)),
    ):
        with pytest.raises(InputRefused) as refused:
            wrong()
        assert refused.value.code == "input.out_of_range"
    ops.close()


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("queue trigger --at 9999-12-31T23:59-14:00", "message.schedule_invalid", "Write it as"),
        (
            "send --from a@example.com --to b@example.org --at 9999-12-31T23:59-14:00",
            "message.schedule_invalid",
            "Write it as",
        ),
        ("restore nope.zip", "backup.missing", "There is no such file"),
        ("restore nope.zip --check", "backup.missing", "There is no such file"),
        ("send --from a@example.com --to bad", "message.address_invalid", "name@example.com"),
        ("queue unhold w.test", "not_found", "mailops queue holds"),
        ("explain send --from nonsense", "message.from_invalid", "name@example.com"),
        ("explain send --from nonsense --mass", "message.from_invalid", "name@example.com"),
    ],
)
def test_the_error_says_what_is_wrong_and_what_to_do(folder, line, code, words):
    status, text = said(folder, *line.split())
    assert status == 2, text
    assert f"[{code}]" in text, text
    assert words in text, text


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("203.0.113.9", 0, "203.0.113.9 is no address of this machine"),
        ("999.1.1.1", 0, "999.1.1.1 is no address"),
        ("127.0.0.1", 99_999, "Choose a free port"),
    ],
)
def test_what_cannot_be_listened_on_is_told(host, port, words):
    with pytest.raises(ConfigError) as refused:
        bound(host, port)
    assert refused.value.code == "config.submission_bind"
    assert words in refused.value.fix


def test_two_schedules_are_named(folder):
    status, text = said(folder, "jobs", "add", "queue", "--every", "1h", "--cron", "5 * * * *")
    assert status == 2
    assert "--every 1h and --cron 5 * * * *" in text
    assert "2 were given" in text


def test_a_job_that_is_not_due_is_silent(folder):
    status, text = said(folder, "jobs", "add", "queue", "--every", "1h")
    assert status == 0
    assert "mailops serve" in text
    assert "mailops jobs tick" in text
    assert said(folder, "jobs", "tick") == (0, "")
    (told,) = json.loads(said(folder, "jobs", "tick", "--json")[1])
    assert told["job"] == "queue"
    assert told["reason"] == "Not due yet."
    assert told["due"] is False


def test_a_trigger_says_who_has_to_run(folder):
    status, text = said(folder, "queue", "trigger", "--at", "2001-01-31T14:30")
    assert status == 0
    assert "is past: now is meant" in text
    assert "nothing attends the queue here" in text
    assert "mailops serve" in text
    assert "mailops queue run" in text
    assert json.loads(said(folder, "queue", "trigger", "--json")[1])["attended"] is False


@pytest.mark.parametrize("state", ["serve.json", "worker.json"])
def test_a_trigger_says_when_it_runs_where_the_queue_is_attended(folder, state):
    now, other = datetime.now(UTC), "worker.json" if state == "serve.json" else "serve.json"
    alive = Running(state.removesuffix(".json"), os.getpid(), now, now, False, 0, "")
    (folder / state).write_bytes(alive.as_text())
    (folder / other).write_bytes(replace(alive, at=now - timedelta(hours=1)).as_text())  # that one was killed
    try:
        status, text = said(folder, "queue", "trigger")
        assert status == 0
        assert text.startswith("The queue job runs at ")
        (folder / state).unlink()
        assert "nothing attends" in said(folder, "queue", "trigger")[1]
    finally:
        (folder / state).unlink(missing_ok=True)
        (folder / other).unlink()


def test_init_says_what_is_there(folder, tmp_path):
    assert "There is a workspace already" in said(folder, "init", str(folder))[1]
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    status, text = said(folder, "init", str(file))
    assert status == 2
    assert "workspace.is_file" in text
    assert file.read_text() == "mine"


def test_status_tells_of_broken_settings_as_other_commands_do(tmp_path):
    place = tmp_path / "broken"
    said(place, "init", str(place))
    file = place / "mailops.toml"
    file.write_text(file.read_text() + "x = [\n")
    line = f"Correct line {len(file.read_text().splitlines())} of {file}."
    assert line in said(place, "queue", "list")[1]
    status, text = said(place, "status")
    assert status == 1
    assert line in text
    assert "config.toml" in text


def test_init_makes_the_workspace_that_was_named_in_front(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text = said(tmp_path / "named", "init")
    assert status == 0, text
    assert (tmp_path / "named" / "mailops.toml").is_file()
    assert not (tmp_path / "mailops.toml").exists()
