"""The tree of commands. Each group is a module that is read when one of its commands (or its help) is wanted."""

from __future__ import annotations

import io
import os
import platform
import re
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import MailopsError
from ..secrets.redact import install_log_redaction
from .numbers import bounded
from .output import print_error

# The base of what the parser refuses. Newer typer carries its own click, so it is taken from typer's family tree.
_RefusedByParser: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

# name → (module, one line of help); the modules import their heavy parts inside the commands
GROUPS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Listen for mail from applications (SMTP submission) and send what is due."),
    "queue": ("queue", "Look at queued mail; retry, send now, cancel; run the queue job."),
    "campaign": ("campaign", "Mail to many: create, send, schedule, cancel, pause, resume, status."),
    "limits": ("limits", "What each server may still send, and when what waits will leave."),
    "server": ("server", "Outgoing servers: list, add, remove, Test Connection."),
    "company": ("company", "Companies and their alias domains; system parameters."),
    "explain": ("explain", "Why a mail goes the way it goes; what an error means."),
    "alias": ("alias", "Addresses that make records from mail, and who may write to them."),
    "facts": ("facts", "What became of every mail, told to other programs, each fact once."),
    "inbound": ("inbound", "Received mail: take it in, explain it, what became of it."),
    "envelope": ("envelope", "Red envelopes of messages: who did not get it, try again, ignore."),
    "bounces": ("bounces", "Read reports that came back: parse, explain, take in, rates."),
    "thread": ("thread", "Records and their threads: why an entry is here, move it, tokens."),
    "return-path": ("return_path", "Signed return paths: only real reports count."),
    "suppress": ("suppress", "Addresses that get no campaigns or no mail: list, add, undo, diff."),
    "domain": ("domain", "DNS of a mail domain: SPF, DKIM, DMARC and the rest."),
    "dkim": ("dkim", "Sign what leaves: keys, their records, and the check of a message."),
    "dmarc": ("dmarc", "DMARC aggregate reports."),
    "logs": ("logs", "Logs of Postfix and Odoo: take them, follow one, what they tell."),
    "jobs": ("jobs", "Notebooks that run by a schedule: add, list, run, history."),
    "fleet": ("fleet", "All workspaces below a folder: one table, one notebook over all."),
    "runs": ("runs", "Runs of notebooks, compared."),
    "store": ("store", "The store's schema: what a migration takes, and to do it now."),
    "support": ("support", "Put a case together for support, without names; translate the answer."),
    "secrets": ("secrets", "Secret references and the encrypted vault."),
    "connect": ("connect", "Connect mailboxes of Microsoft, Google and Mailjet, step by step."),
    "calendar": ("calendar", "What ends when: client secrets, certificates, sign-ins."),
}


GUESSES = {
    "dns": "domain check DOMAIN",
    "spf": "domain check DOMAIN",
    "dmarc-check": "domain check DOMAIN",
    "test": "server test",
    "mail": "queue list",
    "mails": "queue list",
    "list": "queue list",
    "retry": "queue retry",
    "servers": "server list",
    "domains": "domain check --all-domains",
    "oauth": "connect",
    "bounce": "bounces explain FILE",
    "notebook": "notebooks",
}
"""What people type first → the command that it is."""


class _Tree(TyperGroup):
    """Top-level commands, plus groups that load on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *(n for n in GROUPS if _exists(n))})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in GROUPS and _exists(cmd_name):
            module = import_module(f".{GROUPS[cmd_name][0]}", __package__)
            group: Any = typer.main.get_command(module.app)
            group.name = cmd_name
            return bounded(whole(group))
        return bounded(super().get_command(ctx, cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            like = [GUESSES[name]] if name in GUESSES else get_close_matches(name, known, n=3)
            hint = f" Did you mean: {', '.join(f'mailops {one}' for one in like)}?" if like else ""
            ctx.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The list of commands without loading the groups behind it."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] COMMAND [ARGS]…")
        formatter.write_paragraph()
        formatter.write_text((self.help or "").strip())
        rows = [(name, help_line) for name, (_, help_line) in GROUPS.items() if _exists(name)]
        for name in super().list_commands(ctx):
            command = super().get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(90)))
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))
        with formatter.section("Options"):
            formatter.write_dl([r for p in self.get_params(ctx) if (r := p.get_help_record(ctx)) is not None])


def whole(command: Any) -> Any:
    """The tree with the first line of each help as it was written: the list of commands cuts no sentence."""
    for below in getattr(command, "commands", {}).values():
        below.short_help = below.short_help or (below.help or "").strip().partition("\n")[0]
        whole(below)
    return command


def _exists(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(f"{__package__}.{GROUPS[name][0]}") is not None


app = typer.Typer(
    cls=_Tree,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="mailops: the mail system, the guide and the analyst for admins of an organisation's mail.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mailops {__version__} (Python {platform.python_version()}, {platform.system()})\n")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    workspace: str = typer.Option(None, "--workspace", "-w", help="The workspace folder (default: found upwards)."),
    smtp_server: str = typer.Option(
        None, "--smtp-server", help="The default server's host, used while no outgoing server is defined."
    ),
    smtp_port: int = typer.Option(None, "--smtp-port", help="The default server's port.", min=1, max=65535),
    version: bool = typer.Option(
        False, "--version", help="Say which version this is.", is_eager=True, callback=_version
    ),
) -> None:
    ctx.obj = {"workspace": workspace}
    for name, value in (("HOST", smtp_server), ("PORT", smtp_port)):
        if value is not None:  # for this command, over the settings and the environment
            os.environ[f"MAILOPS_DEFAULT_SERVER__{name}"] = str(value)


def workspace_of(ctx: typer.Context) -> str | None:
    """The workspace named on the command line, if any."""
    root = ctx.find_root()
    return (root.obj or {}).get("workspace")


def open_ops(ctx: typer.Context) -> Any:
    """The open workspace of this command; it is closed with it."""
    from ..ops import Ops

    ops = Ops.open(workspace_of(ctx))
    ctx.call_on_close(ops.close)
    return ops


_NO_WORDS = (  # the parser's sentences about values, and ours
    (re.compile(r"Input should be a valid integer[^.]*"), "a whole number is wanted, such as 42"),
    (re.compile(r"Input should be a valid number[^.]*"), "a number is wanted, such as 0.5"),
    (re.compile(r"Input should be a valid boolean[^.]*"), "yes or no is wanted"),
    (re.compile(r"Input should be a valid (?:date|datetime)[^.]*"), "a date is wanted, such as 2026-01-31"),
)


def in_words(text: str) -> str:
    """What the parser says of a value, without the words of its own machinery."""
    for theirs, ours in _NO_WORDS:
        text = theirs.sub(ours, text)
    return text


def run() -> None:
    """Run the command line; mailops errors become exit status 2 with code, facts and fix."""
    from . import commands  # noqa: F401  (registers the top-level commands)

    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        # a pipe on Windows has the code page, which lacks many signs; those are written as JSON would escape them
        sys.stdout.reconfigure(errors="backslashreplace")
    install_log_redaction()
    try:
        status = app(standalone_mode=False)
    except MailopsError as error:
        print_error(error, json_wanted="--json" in sys.argv)
        sys.exit(1 if error.code == "run.checks_failed" else 2)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except _RefusedByParser as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command: its help is the answer
            sys.stdout.write(error.format_message().rstrip() + "\n")
        else:
            error.message = in_words(error.message)
            error.show()
        sys.exit(2)
    except BrokenPipeError:
        # the reader went away (head, less): what it wanted it has; the flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("Stopped.\n")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
