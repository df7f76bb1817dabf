"""Plays the demonstration and says what came of it."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..clock import SystemClock
from ..errors import ConfigError, MailopsError
from ..jobs import available, run_notebook, write_index
from ..model.states import MailState
from ..model.verdict import VerdictState
from ..ops import Ops
from ..store.runs import verdicts_of
from ..testing import ManualClock
from ..workspace import FILE, init
from .bundle import ask_support
from .logs import ASKED, take_logs, write_logs
from .many import campaigns
from .month import DAYS, Played, play, start_of_month, unsent
from .names import ask_here, write_reports
from .programs import PROGRAMS, hand_over
from .received import receive
from .world import BOOKS, MARK, World, furnish, remember, remembered, require_peers


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m mailops.demo", description="A month of mail on loopback.")
    parser.add_argument("--folder", type=Path, default=Path("demo-workspace"), help="The demonstration's workspace.")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="Where the reports go.")
    commands = parser.add_subparsers(dest="command")
    beside = commands.add_parser("with-peers", help="Run a command while the demonstration's mail servers are up.")
    beside.add_argument("run", nargs=argparse.REMAINDER, help="The command.")
    options = parser.parse_args(arguments)
    try:
        if options.command == "with-peers":
            return _with_peers(options.folder, options.run)
        return _demo(options.folder, options.reports)
    except MailopsError as error:
        sys.stderr.write(f"Error: {error.message} [{error.code}]\nWhat to do: {error.fix}\n")
        return 2


def _fresh(folder: Path) -> None:
    """Clear the demonstration's own folder; never another one."""
    if not folder.exists():
        return
    if not (folder / MARK).exists() and any(folder.iterdir()):
        raise ConfigError(
            "This folder holds something else than the demonstration.",
            code="demo.folder_taken",
            facts={"folder": str(folder)},
            fix="Name another folder with --folder, or move this one away.",
        )
    shutil.rmtree(folder)


def _demo(folder: Path, reports: Path) -> int:
    machine = SystemClock()  # the month is played on a clock of its own
    began = machine.monotonic()
    _fresh(folder)
    workspace = init(folder)
    (workspace.path / MARK).write_text("{}", encoding="utf-8")
    now = machine.now().replace(microsecond=0)
    clock = ManualClock(start_of_month(now))
    _say(f"1  Workspace {folder}: {FILE}, a SQLite store, folders for runs and secrets.")
    with World(books=workspace.path / BOOKS) as world:
        remember(workspace.path, world.ports)
        ask_here(workspace.path / FILE, world.ports["names"])
        write_reports(workspace.path / "dmarc", now)
        ops = Ops.open(workspace, clock=clock)
        furnish(ops, world.ports)
        setup = ops.setup
        _say(
            f"2  {len(setup.companies)} companies, {len(setup.alias_domains)} alias domains, {len(setup.servers)} "
            "outgoing servers; each server is a real SMTP server on 127.0.0.1."
        )
        played = _play(ops, world, clock)
        _programs(ops, played)
        _received(ops, played)
        for line in campaigns(ops, played):
            _say(f"   {line}")
        _figures(ops, played)
        _guides(ops)
        _say("7  Mail that never passed mailops: the log of a real Postfix, and a week of Odoo's, are taken.")
        for line in take_logs(ops, write_logs(workspace.path / "logs", now)):
            _say(f"   {line}")
        for line in ask_support(ops):
            _say(f"   {line}")
        _say(f"   Bounce rate of the last 30 days, with this mail: {ops.analysis.overall('30d')};")
        _say(f"   of the addresses (a list's quality): {ops.analysis.addresses('30d')}")
        codes = _jobs(ops, folder)
        _schedule(ops)
        index = write_index(workspace, reports / "index.html", _facts(ops, played, machine.monotonic() - began))
        ops.close()
    _close(codes, index, machine.monotonic() - began, folder)
    return 2 if 2 in codes.values() else 0


def _play(ops: Ops, world: World, clock: ManualClock) -> Played:
    _say(f"3  A month of mail ({DAYS} days): submitted, sent over SMTP, put off, refused, bounced …")
    played = Played()
    for day, played in enumerate(play(ops, world, clock), start=1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r   day {day:2} of {DAYS}: {played.submitted:,} submitted, {played.sent:,} sent ")
            sys.stderr.flush()
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 70 + "\r")
    return played


def _figures(ops: Ops, played: Played) -> None:
    counts = ops.queue.counts()
    why = unsent(ops)
    _say(f"   {played.submitted:,} mails handed over; {played.sent:,} left, {why.refused:,} were refused for good,")
    _say(f"   {why.given_up:,} were given up after being put off for two days, {why.left_out:,} were left out (their")
    _say(f"   addressee is suppressed), {counts[MailState.OUTGOING]:,} still wait (put off by the other side).")
    _say(f"4  {played.reports:,} delivery reports came back by SMTP; {played.matched:,} were tied to their mail.")
    suppressed = ops.suppressions.page(state="active", limit=1)[1]
    _say(f"   {suppressed:,} addresses get no campaigns any more (notebook bounces: why, and Undo).")
    _say("5  Why does a mail go where it goes? For example:")
    for sender in ("Ann Archer <ann@northwind.example>", "Carol Clerk <carol@partner-firm.example>"):
        for line in ops.explain(sender=sender).sentences()[:3]:
            _say(f"   {line}")


def _programs(ops: Ops, played: Played) -> None:
    names = " and ".join(one.login for one in PROGRAMS)
    handed, report = hand_over(ops)
    played.submitted += handed + ops.reports.counts()["told"]
    played.add(report)
    _say(f"   Two programs, {names}, hand {handed} mails over by SMTP with a login each; one is refused, and")
    _say("   its program gets a report (notebook relay).")


def _received(ops: Ops, played: Played) -> None:
    lines, report = receive(ops)
    played.submitted += report.handled
    played.add(report)
    for line in lines:
        _say(f"   {line}")


PRACTISED = {
    "connect_microsoft365": ("outlook", "ann@northwind.example"),
    "connect_google": ("gmail", "ann@tools.example"),
}


def _guides(ops: Ops) -> None:
    """Walk both guides to the green tag, against a sandbox of identity provider, SMTP and IMAP."""
    from .practice import Practice, walk

    _say("6  Connecting mailboxes: both guides, walked against a sandbox in place of Microsoft and Google.")
    for vendor, mailbox in PRACTISED.values():
        with Practice(ops, vendor, mailbox) as practice:
            lines = walk(practice)
            guided = practice.guided()
        _say(f"   {guided.title}: {guided.progress().sentence()}")
        for line in lines:
            if "Valid" in line or "Test" in line:
                _say(f"     {line}")


MEANT = {
    "queue.waiting": "made so: the other side puts some mail off to the last day",
    "setup.ready": "made so: how replies come in is left for you to choose, with the other tasks of the page",
    "bounce_rate": "made so: many addresses of the month exist no more",
    "oauth.calendar": "made so: Google ends sign-ins of an application in Testing after 7 days",
    "schedules.running": "made so: nothing attends the queue here; mailops serve would",
    "dmarc.reports": "made so: two strangers send in the organisation's name",
}
"""Why a check of the demonstration fails, by the check."""


def _jobs(ops: Ops, folder: Path) -> dict[str, int]:
    _say("8  Every notebook as a job (papermill): 0 = fine, 1 = a check failed, 2 = could not run.")
    codes = {}
    for info in available():
        given: dict[str, object] = {}
        if info.name == "outgoing_servers":
            given = {"sender": "Ann Archer <ann@northwind.example>"}
        if info.name == "trace":
            given = {"asked": ASKED}
        if info.name in PRACTISED:
            given = {"practice": True, "mailbox": PRACTISED[info.name][1]}
        result = run_notebook(info.name, given, workspace=folder, timeout=300)
        codes[info.name] = result.exit_code
        _say(f"   {info.name:20} exit {result.exit_code}  {result.message}")
        for verdict in verdicts_of(ops.engine, result.id):
            if verdict.state is VerdictState.FAILED:
                why = MEANT.get(verdict.check, "not made so: something is wrong with the demonstration; see its report")
                _say(f"   {'':20}   ✗ {verdict.title}  ({why})")
    return codes


def _schedule(ops: Ops) -> None:
    """Schedule the weekly report, as the notebooks' last card does."""
    job = ops.jobs.add("deliverability", name="weekly-report", cron="0 7 * * mon", parameters={"since": "7d"})
    following = ops.jobs.next_times(job.name, 1)[0]
    _say(f"9  The weekly report is scheduled (job {job.name}, mailops jobs list);")
    _say(f"   it runs next on {following:%Y-%m-%d at %H:%M}.")


def _facts(ops: Ops, played: Played, seconds: float) -> dict[str, str]:
    counts = ops.queue.counts()
    rate, why = ops.analysis.overall("30d"), unsent(ops)
    return {
        "Mails handed over": f"{played.submitted:,}",
        "Left the house": f"{played.sent:,}",
        "Refused for good": f"{why.refused:,}",
        "Given up": f"{why.given_up:,}",
        "Left out, suppressed": f"{why.left_out:,}",
        "Still waiting": f"{counts[MailState.OUTGOING]:,}",
        "Reports that came back": f"{played.reports:,}",
        "Tied to their mail": f"{played.matched:,}",
        "Suppressed addresses": f"{ops.suppressions.page(state='active', limit=1)[1]:,}",
        "Bounce rate (30 days)": f"{rate.rate:.2%}",
        "of the addresses": f"{ops.analysis.addresses('30d').rate:.2%}",
        "Seconds": f"{seconds:.0f}",
    }


def _close(codes: dict[str, int], index: Path, seconds: float, folder: Path) -> None:
    failed = [name for name, code in codes.items() if code == 1]
    _say(f"\nDone in {seconds:.0f} s.")
    if failed:
        _say(
            f"A check failed in {', '.join(failed)}. Why stands above with each (✗), what to do about it in its report."
        )
    _say(f"Open next:  {os.path.relpath(index)} (in a browser)")
    _say("            make lab      the notebooks in JupyterLab, on this month of mail")
    _say("            make app      the same as an app, without code")
    _say(f"            .venv/bin/mailops -w {folder} queue list --state failed")


def _with_peers(folder: Path, command: list[str]) -> int:
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        raise ConfigError("with-peers needs a command.", code="demo.no_command", fix="Name one after with-peers.")
    with ExitStack() as stack:
        ports = remembered(folder)
        try:
            stack.enter_context(World(ports))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            require_peers(ports)  # another `make lab` or `make app` has them up
            _say("The demonstration's mail servers are up already; they go with the program that started them.")
        environment = {**os.environ, "MAILOPS_WORKSPACE": str(folder.resolve())}
        try:
            return subprocess.run(command, env=environment, check=False).returncode
        except KeyboardInterrupt:
            return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
