"""Top-level commands: init, send, serve, run, notebooks."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import typer

from ..errors import ConfigError
from .app import app, open_ops, workspace_of
from .output import plain, print_json, say

JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def init(
    folder: Path = typer.Argument(Path("."), help="The folder to make a workspace of."),
    hosting: str = typer.Option("on_premise", help="Where the database lives: online, sh or on_premise."),
    database: str = typer.Option("mailops", help="The database's name (the hosted subdomain)."),
    json: bool = JSON,
) -> None:
    """Make a workspace: settings, store and folders. An existing one is left as it is."""
    from ..model.setup import Hosting
    from ..workspace import init as make

    if hosting not in [h.value for h in Hosting]:
        raise ConfigError(
            f"There is no hosting kind {hosting!r}.",
            code="config.hosting",
            facts={"hosting": hosting},
            fix="Use online, sh or on_premise.",
        )
    workspace = make(folder, hosting=hosting, database=database)
    workspace.engine.dispose()
    if json:
        print_json({"workspace": workspace.path})
    else:
        say(f"Workspace ready: {workspace.path}\nNext: mailops server add, then mailops send.")


@app.command()
def send(
    ctx: typer.Context,
    to: list[str] = typer.Option([], "--to", help="A recipient; may be given several times."),
    sender: str = typer.Option(None, "--from", help="The From, such as 'Ann <ann@example.com>'."),
    subject: str = typer.Option("", help="The subject."),
    text: str = typer.Option(None, help="The text; '-' reads it from standard input."),
    html: Path = typer.Option(None, help="A file with the HTML body.", exists=True, dir_okay=False),
    cc: list[str] = typer.Option([], help="A Cc recipient."),
    bcc: list[str] = typer.Option([], help="A Bcc recipient."),
    attach: list[Path] = typer.Option([], help="A file to attach.", exists=True, dir_okay=False),
    raw: Path = typer.Option(
        None, help="Send this complete message (.eml; '-' = standard input) instead.", allow_dash=True
    ),
    company: str = typer.Option(None, help="The company key."),
    server: str = typer.Option(None, help="Force this outgoing server."),
    at: str = typer.Option(None, help="Not before this time, such as 2026-01-31T14:30+01:00."),
    mass: bool = typer.Option(False, "--mass", help="This is mass mail."),
    batch: bool = typer.Option(False, "--batch", help="One of a batch of invoices or quotations, which is mass mail."),
    urgent: bool = typer.Option(False, "--urgent", help="Send at once instead of with the next run of the queue job."),
    json: bool = JSON,
) -> None:
    """Hand a mail over to the queue; prints its id once it is durably stored."""
    from ..model.mail import Attachment, Submission
    from ..model.setup import MailClass
    from ..queue.submit import parse_when
    from ..routing.plan import mail_class

    ops = open_ops(ctx)
    klass = mail_class(batch=batch, marketing=mass)
    people = len(to) + len(cc) + len(bcc)
    many = klass is MailClass.MASS and raw is None
    told = ops.campaign_findings(people, sender, company=company, server=server) if many else []
    for finding in () if json else told:
        say(f"Warning: {finding.message}\nWhat to do: {finding.fix}")
    content = None
    if raw is not None:
        content = sys.stdin.buffer.read() if str(raw) == "-" else raw.read_bytes()
    submission = Submission(
        sender=sender,
        to=tuple(to),
        cc=tuple(cc),
        bcc=tuple(bcc),
        subject=subject,
        text=sys.stdin.read() if text == "-" else text,
        html=html.read_text("utf-8") if html else None,
        attachments=tuple(Attachment(p.name, p.read_bytes()) for p in attach),
        raw=content,
        envelope_to=tuple(to) if raw is not None else (),
        company=company,
        server=server,
        scheduled_at=parse_when(at) if at else None,
        mail_class=klass,
        origin="cli",
    )
    mail_id = ops.queue.submit(submission, urgent=urgent)
    mail = ops.queue.mail(mail_id)
    if json:
        print_json({**plain(mail), **({"findings": told} if told else {})})
    else:
        say(f"Mail {mail_id} is {mail.state.label}" + (f": {mail.failure_reason}" if mail.failure_reason else "."))


@app.command()
def serve(
    ctx: typer.Context,
    host: str = typer.Option(None, help="The address to listen on (default: 127.0.0.1)."),
    port: int = typer.Option(None, help="The port (default: 2525; 0 = any free one)."),
    queue_every: float = typer.Option(30.0, help="Seconds between runs of the queue in this process; 0 = never."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    webhooks: int = typer.Option(None, help="Also take providers' webhooks on this loopback port (0 = any free one)."),
) -> None:
    """Listen for mail from applications (SMTP submission) and send what is due."""
    from ..serve import serve as run

    run(open_ops(ctx), host=host, port=port, queue_every=queue_every, seconds=seconds, webhooks=webhooks)


def _books(ctx: typer.Context, json: bool) -> int:
    """The body of ``mailops doctor --books``: the exit status."""
    found = open_ops(ctx).books()
    if json:
        print_json({**asdict(found), "agree": found.agree})
        return 0 if found.agree else 1
    say(f"{found.facts:,} facts, {found.mails:,} mails, {found.recipients:,} recipients, {found.counters:,} counters.")
    for difference in found.differences:
        say(f"  {difference}")
    rest = sum(found.numbers.values()) - len(found.differences)
    if rest:
        say(f"  … and {rest:,} more.")
    if found.owed:
        say(f"{found.owed:,} facts are still owed to threads or the suppression list; the next queue run tells them.")
    say("The books agree." if found.agree else "The books do not agree.")
    return 0 if found.agree else 1


@app.command("run")
def run_notebook(
    ctx: typer.Context,
    notebook: str = typer.Argument(..., help="A notebook's name (mailops notebooks) or path."),
    parameters: list[str] = typer.Option([], "--parameter", "-p", help="name=value; may be given several times."),
    timeout: float = typer.Option(600.0, help="Seconds the whole run may take."),
    json: bool = JSON,
) -> None:
    """Run a notebook as a job: report, result.json, a line in the run history; exit 0, 1 (checks failed) or 2."""
    from ..jobs import run_notebook as run

    ops = open_ops(ctx)
    result = run(notebook, dict(_pair(p) for p in parameters), workspace=ops.workspace.path, timeout=timeout)
    if json:
        print_json(result)
    else:
        say(f"{result.notebook}: {result.status} in {result.seconds:.1f} s\n{result.message}\nReport: {result.report}")
    raise typer.Exit(result.exit_code)


def _pair(text: str) -> tuple[str, str]:
    name, eq, value = text.partition("=")
    if not eq:
        raise ConfigError(
            f"{text!r} is not name=value.", code="run.parameter", facts={"given": text}, fix="Write -p since=30d"
        )
    return name.strip(), value


@app.command()
def where(ctx: typer.Context, json: bool = JSON) -> None:
    """Say which workspace and database are in use."""
    from ..workspace import find

    workspace = find(workspace_of(ctx))
    url = workspace.settings.database.url
    if json:
        print_json({"workspace": workspace.path, "database": url.rpartition("@")[2]})
    else:
        say(f"Workspace {workspace.path}\nDatabase  {url.rpartition('@')[2]}")


@app.command()
def doctor(
    ctx: typer.Context,
    what: str = typer.Argument("machine", help="machine, or connection (of a server that signs in by OAuth)."),
    server: str = typer.Argument("", help="connection: the server's key."),
    test_mail: bool = typer.Option(False, "--mail", help="connection: also send a mail to the mailbox, and find it."),
    books: bool = typer.Option(False, "--books", help="Count states and counters again from the facts of the store."),
    json: bool = JSON,
) -> None:
    """Explain what is missing or broken on this machine, where a connection breaks, or whether the books of the store
    agree; exit 1 when something is."""
    if books:
        raise typer.Exit(_books(ctx, json))
    if what == "connection":
        from .connect import examine_connection

        raise typer.Exit(examine_connection(ctx, server, test_mail=test_mail, json=json))
    if what != "machine":
        raise ConfigError(
            f"The doctor does not know {what!r}.", code="cli.argument", fix="Use: mailops doctor connection SERVER"
        )
    from ..doctor import examine, lines

    findings = examine(workspace=workspace_of(ctx))
    if json:
        print_json(findings)
    else:
        say("\n".join(lines(findings)))
    raise typer.Exit(1 if any(found.ok is False for found in findings) else 0)
