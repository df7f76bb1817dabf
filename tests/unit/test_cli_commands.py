"""The command line as a person and a script meet it: real processes, a real SMTP peer."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mailops.cli import main
from mailops.testing import SmtpServer, refuse

ROOT = Path(__file__).parents[2]


class Cli:
    """Runs ``mailops`` on one workspace: in this process for speed, or as a real one with :meth:`process`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, status: int = 0, stdin: str = "") -> str:
        """Standard output; the exit status must be ``status``. With 2, standard error instead."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["mailops", "-w", str(self.folder), *words])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
            before = signal.getsignal(signal.SIGTERM)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
                main()
            signal.signal(signal.SIGTERM, before)
        assert left.value.code == status, f"{words}: {left.value.code}\n{out.getvalue()}\n{err.getvalue()}"
        return err.getvalue() if status == 2 and "--json" not in words else out.getvalue()

    def json(self, *words: str, status: int = 0):
        return json.loads(self(*words, "--json", status=status))

    def process(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAILOPS_")}
        done = subprocess.run(
            [sys.executable, "-m", "mailops.cli", "-w", str(self.folder), *words],
            input=stdin, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def cli(tmp_path):
    run = Cli(tmp_path / "mail")
    run("init", str(run.folder))
    return run


@pytest.fixture
def smtp():
    with SmtpServer([refuse("gone@x.test", 550, "5.1.1", "No such user")]) as server:
        yield server


@pytest.fixture
def furnished(cli, smtp):
    cli("company", "domain", "example.com")
    cli("company", "add", "main", "--name", "Example Ltd", "--email", "info@example.com")
    cli(
        "server",
        "add",
        "own",
        "--host",
        "127.0.0.1",
        "--port",
        str(smtp.port),
        "--encryption",
        "none",
        "--filter",
        "example.com",
    )
    return cli


def test_init_says_what_comes_next_and_may_be_repeated(tmp_path):
    cli = Cli(tmp_path / "w")
    assert "Next: mailops server add" in cli("init", str(cli.folder))
    assert cli.json("init", str(cli.folder))["workspace"] == str(cli.folder)
    assert cli.json("where") == {"workspace": str(cli.folder), "database": "mailops.db"}
    assert "[config.hosting]" in cli("init", str(cli.folder), "--hosting", "cloud", status=2)


def test_servers_and_companies_are_listed(furnished, smtp):
    [server] = furnished.json("server", "list")
    assert (server["key"], server["port"], server["from_filter"]) == ("own", smtp.port, "example.com")
    assert "example.com" in furnished("server", "list")
    listed = furnished.json("company", "list")
    assert listed["companies"][0]["name"] == "Example Ltd"
    assert "bounce@example.com" in furnished("company", "list")


def test_a_server_is_removed_and_an_unknown_one_is_named(furnished):
    assert furnished.json("server", "remove", "own") == {"removed": "own"}
    assert furnished.json("server", "list") == []
    assert "[not_found]" in furnished("server", "remove", "own", status=2)


def test_a_bad_option_of_a_server_says_what_is_allowed(cli):
    said = cli("server", "add", "x", "--host", "h.example", "--encryption", "ssl", status=2)
    assert "[server.option]" in said
    assert "starttls, tls, none" in said


def test_test_connection_sends_nothing(furnished, smtp):
    assert furnished.json("server", "test", "own")["ok"] is True
    assert smtp.messages == []


def test_test_connection_to_nobody_exits_1(furnished, smtp):
    smtp.close()
    assert "What to do:" in furnished("server", "test", "own", status=1)


def test_explain_gives_rule_server_and_from(furnished):
    route = furnished.json("explain", "send", "--from", "Ann <ann@other.example>")
    assert "notifications@example.com" in json.dumps(route)
    assert "server 'Own mail'" in furnished("explain", "send", "--from", "ann@example.com") or "(own)" in furnished(
        "explain", "send", "--from", "ann@example.com"
    )


def test_a_mail_goes_out_and_its_history_tells(furnished, smtp):
    sent = furnished.json(
        "send", "--from", "Ann <ann@example.com>", "--to", "bob@x.test", "--subject", "Hello", "--text", "Hi"
    )
    assert sent["state"] == "outgoing"
    assert furnished.json("queue", "run")["sent"] == 1
    [message] = smtp.messages
    assert b"Subject: Hello" in message.data
    shown = furnished.json("queue", "show", str(sent["id"]))
    assert shown["mail"]["state"] == "sent"
    assert len(shown["history"]) >= 2
    assert "Mail 1 Sent: Hello" in furnished("queue", "show", "1")
    assert "Subject: Hello" in furnished("queue", "show", "1", "--raw")
    assert "bob@x.test" in furnished("queue", "list")
    status = furnished.json("queue", "status")
    assert status == {
        "counts": {"outgoing": 0, "sent": 1, "failed": 0, "cancelled": 0},
        "due": 0,
        "oldest": None,
        "held": 0,
        "owed": 0,
    }
    assert list(status) == ["counts", "due", "oldest", "held", "owed"]


def test_text_and_raw_come_from_standard_input(furnished, smtp):
    furnished("send", "--from", "ann@example.com", "--to", "bob@x.test", "--text", "-", stdin="from a pipe\n")
    raw = "From: ann@example.com\nTo: bob@x.test\nSubject: Raw\n\nAs it is\n"
    furnished("send", "--from", "ann@example.com", "--to", "bob@x.test", "--raw", "-", stdin=raw)
    furnished("queue", "run")
    bodies = b"".join(m.data for m in smtp.messages)
    assert b"from a pipe" in bodies
    assert b"As it is" in bodies


def test_a_refused_mail_fails_is_retried_and_cancelled(furnished, smtp):
    furnished("send", "--from", "ann@example.com", "--to", "gone@x.test", "--text", "hi")
    assert furnished.json("queue", "run")["failed"] == 1
    assert "Delivery Failed" in furnished("queue", "list", "--state", "Delivery Failed")
    assert "No such user" in furnished("queue", "show", "1")
    assert furnished.json("queue", "causes")[0]["count"] == 1
    assert furnished.json("queue", "retry", "1", "--yes")["count"] == 1
    assert furnished.json("queue", "status")["counts"]["outgoing"] == 1
    assert "Cancel Email done" in furnished("queue", "cancel", "1", "--yes")
    assert furnished.json("queue", "show", "1")["mail"]["state"] == "cancelled"


def test_a_bulk_action_asks_first(furnished):
    furnished("send", "--from", "ann@example.com", "--to", "bob@x.test", "--text", "hi")
    done = furnished.process("queue", "cancel", stdin="n\n")
    assert done.returncode == 2
    assert "Cancel Email: 1 mail" in done.stdout
    assert furnished.json("queue", "status")["counts"]["outgoing"] == 1


def test_send_now_sends_at_once(furnished, smtp):
    furnished(
        "send", "--from", "ann@example.com", "--to", "bob@x.test", "--text", "hi", "--at", "2099-01-01T00:00+00:00"
    )
    assert furnished.json("queue", "run")["sent"] == 0
    assert furnished.json("queue", "send-now", "1", "--yes")["sent"] == 1
    assert len(smtp.messages) == 1


def test_an_error_has_code_facts_and_next_step(furnished):
    said = furnished("send", "--from", "ann@example.com", "--to", "nobody", "--text", "hi", status=2)
    assert said.startswith("Error: ")
    assert "[message.address_invalid]" in said
    assert "value: nobody" in said
    assert "What to do: " in said
    error = furnished.json("send", "--from", "ann@example.com", "--to", "nobody", "--text", "hi", status=2)
    assert set(error) == {"error", "code", "facts", "fix"}
    assert error["facts"]["value"] == "nobody"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["queue", "lst"], "No such command 'lst'"),
        (["queue", "show"], "Missing argument"),
        (["queue", "show", "x"], "a whole number is wanted"),
        (["nothing"], "There is no command 'nothing'"),
        (["send", "--nope"], "No such option"),
    ],
)
def test_wrong_words_exit_2_without_a_traceback(cli, words, said):
    assert said in cli(*words, status=2)


def test_a_real_process_ends_with_the_same_statuses(furnished, smtp):
    assert furnished.process("send", "--from", "ann@example.com", "--to", "bob@x.test", "--text", "hi").returncode == 0
    done = furnished.process("queue", "run", "--json")
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, 1)
    wrong = furnished.process("send", "--from", "ann@example.com", "--to", "nobody")
    assert wrong.returncode == 2
    assert "[message.address_invalid]" in wrong.stderr
    smtp.close()
    assert furnished.process("server", "test", "own").returncode == 1
    assert furnished.process("queue", "lst").returncode == 2


def test_a_group_alone_prints_its_help(cli):
    done = cli.process("queue")
    assert done.returncode == 2
    assert "send-now" in done.stdout


def test_help_lists_every_command(cli):
    text = cli("--help")
    for word in ("bounces", "company", "doctor", "explain", "init", "queue", "run", "send", "serve", "server", "where"):
        assert f"\n  {word} " in text


def test_no_workspace_is_said(tmp_path):
    assert "[workspace.not_found]" in Cli(tmp_path / "nowhere")("queue", "status", status=2)


def test_a_typing_error_in_the_settings_stops_every_command(cli):
    (cli.folder / "mailops.toml").write_text("[queue]\nbacth = 3\n")
    assert "Did you mean 'batch'?" in cli("queue", "status", status=2)


def test_bounces_are_read_without_a_workspace(cli, tmp_path):
    from mailops.testing import build_dsn

    raw = build_dsn(
        b"From: ann@example.com\r\nTo: gone@x.test\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nHi\r\n",
        "gone@x.test",
        "5.1.1",
        "550 5.1.1 No such user",
        "mx.x.test",
    )
    file = tmp_path / "report.eml"
    file.write_bytes(raw)
    [row] = cli.json("bounces", "parse", str(file))
    assert row["recipients"] == ["gone@x.test"]
    assert row["results"][0]["hard"] is True
    assert "gone@x.test" in cli("bounces", "parse", str(file))
    assert sum(cli.json("bounces", "stats", str(tmp_path / "report.eml"))["kinds"].values()) == 1


def test_doctor_answers_in_both_forms(cli):
    found = cli.json("doctor")
    assert {"Python", "Disk", "Workspace"} <= {f["what"] for f in found}
    assert "ok    Python" in cli("doctor")


def test_a_secret_goes_into_the_vault_and_never_out(cli):
    said = cli("secrets", "set", "smtp", stdin="correct horse battery\n")
    assert said == "Stored. Write it as vault:smtp\n"
    assert cli.json("secrets", "list") == [{"name": "smtp", "reference": "vault:smtp"}]
    assert "horse" not in cli("secrets", "list")
    assert b"horse" not in b"".join(p.read_bytes() for p in (cli.folder / "secrets").rglob("*") if p.is_file())
    assert cli.json("secrets", "remove", "smtp") == {"removed": "smtp"}
    assert "[not_found]" in cli("secrets", "remove", "smtp", status=2)
    assert "[secret.empty]" in cli("secrets", "set", "smtp", status=2)


def test_version_is_told_without_a_workspace(tmp_path: Path) -> None:
    import mailops

    command = [sys.executable, "-m", "mailops.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert done.stdout.split()[:2] == ["mailops", mailops.__version__]
    assert done.stderr == ""


def test_the_doctor_looks_at_the_workspace_that_is_named(cli, tmp_path: Path) -> None:
    [seen] = [finding for finding in cli.json("doctor") if finding["what"] == "Workspace"]
    assert seen["ok"] is True
    assert seen["seen"] == str(cli.folder)
    elsewhere = Cli(tmp_path / "not here")
    said = elsewhere("doctor", status=1)
    assert "BAD   Workspace: This folder is not a mailops workspace." in said
    assert f"mailops init '{tmp_path / 'not here'}'" in said


def test_the_filter_of_the_queue_is_written_once_and_is_the_same_everywhere():
    import typer

    from mailops.cli import queue
    from mailops.cli.filters import OPTIONS

    tree = typer.main.get_command(queue.app)
    taken = {
        name: {p.name: p.opts for p in tree.get_command(None, name).params}
        for name in ("list", "retry", "cancel", "send-now")
    }
    for name, left_out in (("list", {"ids"}), ("retry", set()), ("cancel", set()), ("send-now", {"state", "reason"})):
        assert set(taken[name]) & set(OPTIONS) == set(OPTIONS) - left_out
    source = Path(queue.__file__).read_text("utf-8")
    assert [option for option in ("--state", "--from", "--to", "--reason", "--text") if option in source] == []
