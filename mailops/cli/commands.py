"""Top-level commands: init, send, run, notebooks."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import typer

from ..errors import ConfigError, NotFound
from ..model.text import counted, lasting
from . import appcommand, figures, report  # noqa: F401  (register app, metrics and sql, report)
from .app import app, open_ops, workspace_of
from .output import plain, print_json, progress, say, table

JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def init(
    ctx: typer.Context,
    folder: str = typer.Argument(None, help="The folder to make a workspace of (default: that of -w, else this one)."),
    hosting: str = typer.Option("on_premise", help="Where the database lives: online, sh or on_premise."),
    database: str = typer.Option("mailops", help="The database's name (the hosted subdomain)."),
    json: bool = JSON,
) -> None:
    """Make a workspace: settings, store and folders. An existing one is left as it is."""
    from ..model.setup import Hosting
    from ..workspace import FILE
    from ..workspace import init as make

    if hosting not in [h.value for h in Hosting]:
        raise ConfigError(
            f"There is no hosting kind {hosting!r}.",
            code="config.hosting",
            facts={"hosting": hosting},
            fix="Use online, sh or on_premise.",
        )
    folder = folder if folder is not None else workspace_of(ctx) or "."
    if not folder.strip():
        raise ConfigError(
            "No folder was named.",
            code="workspace.no_name",
            facts={"given": folder},
            fix="Name the folder to make a workspace of; . is this one.",
        )
    there = (Path(folder) / FILE).is_file()
    workspace = make(Path(folder), hosting=hosting, database=database)
    workspace.engine.dispose()
    if json:
        print_json({"workspace": workspace.path, "there": there})
    elif there:
        say(f"There is a workspace already, and it stays as it is: {workspace.path}")
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
    return_path: str = typer.Option(None, help="An own envelope sender; '<>' is the null one."),
    batch: bool = typer.Option(False, "--batch", help="One of a batch of invoices or quotations, which is mass mail."),
    urgent: bool = typer.Option(False, "--urgent", help="Send at once instead of with the next run of the queue job."),
    auto_delete: bool = typer.Option(
        False, "--auto-delete", help="Remove the mail when it has left; what became of it stays in the history."
    ),
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
        return_path=return_path,
        auto_delete=auto_delete,
    )
    mail_id = ops.queue.submit(submission, urgent=urgent)
    try:
        mail = ops.queue.mail(mail_id)
    except NotFound:
        if not auto_delete:
            raise
        if json:
            print_json({"id": mail_id, "state": "sent", "removed": True})
        else:
            say(f"Mail {mail_id} is Sent, and removed; mailops queue history {mail_id} keeps what became of it.")
        return
    if json:
        print_json({**plain(mail), **({"findings": told} if told else {})})
    else:
        say(f"Mail {mail_id} is {mail.state.label}" + (f": {mail.failure_reason}" if mail.failure_reason else "."))
        if mail.state.value == "outgoing":
            say("Next: mailops queue run, or mailops serve, which sends by itself.")


@app.command()
def trace(
    ctx: typer.Context,
    asked: str = typer.Argument(..., help="A Message-ID, an address, a queue id, or a mail's number."),
    since: str = typer.Option("7d", help="Of an address: 7d, 12w or a date; empty = everything."),
    limit: int = typer.Option(50, min=1, help="At most this many mails."),
    json: bool = JSON,
) -> None:
    """Where a mail is: who had it, who has it as far as it is proven, and the text to send to him."""
    from .logs import show_trace

    found = open_ops(ctx).trace(asked, since=since or None, limit=limit)
    if json:
        print_json(found)
    else:
        show_trace(found)


@app.command()
def backup(
    ctx: typer.Context,
    file: Path = typer.Argument(..., help="The new file to write; one that is there is left alone."),
    secrets: bool = typer.Option(False, "--secrets", help="Also the vault, with its key where that lies beside it."),
    json: bool = JSON,
) -> None:
    """Write a backup of the store and the settings to a new file, while everything runs; it is read back at once."""
    done = open_ops(ctx).backup(file, secrets=secrets)
    if json:
        print_json(done)
        return
    say(done.sentence + ". Checked.")
    if not secrets:
        say("Passwords and sign-ins are not in it (--secrets takes the vault along).")


@app.command()
def restore(
    ctx: typer.Context,
    file: Path = typer.Argument(..., help="A file that mailops backup wrote."),
    check: bool = typer.Option(False, "--check", help="Only look whether it is whole, and what is in it."),
    replace: bool = typer.Option(False, "--replace", help="Also where there is a store with mails; that is kept."),
    json: bool = JSON,
) -> None:
    """Put a backup in the place of the workspace's store, checked by digests and counts before anything is changed."""
    if check:
        from ..store.backup import examine

        done = examine(file)
    else:
        done = open_ops(ctx).restore(file, replace=replace)
    if json:
        print_json(done)
        return
    say(done.sentence + (". It is whole." if check else ". Restored."))
    if done.kept:
        say(f"The store of before is {done.kept}.")
    for name in done.beside:
        say(f"From the backup, not in use yet unless it has its own name: {name}")
    if done.forgotten:
        said = f"{len(done.forgotten)} people who had been forgotten came back with it, and were forgotten again"
        say(said + (f"; {done.cancelled} mails to or of them were cancelled." if done.cancelled else "."))
    for one in done.not_forgotten:
        say(f"Not forgotten again: {one}. Look for them: mailops about ADDRESS, mailops forget ADDRESS.")
    if done.outgoing and not check:
        say(
            f"{counted(done.outgoing, 'mail is', 'mails are')} Outgoing as then. Those that left since would "
            "leave again: look at "
            "them (mailops queue list) and cancel them before the queue runs."
        )


def _books(ctx: typer.Context, json: bool) -> int:
    """The body of ``mailops doctor --books``: the exit status."""
    found = open_ops(ctx).books()
    if json:
        print_json({**asdict(found), "agree": found.agree})
        return 0 if found.agree else 1
    say(
        f"{counted(found.facts, 'fact')}, {counted(found.mails, 'mail')}, "
        f"{counted(found.recipients, 'recipient')}, {counted(found.counters, 'counter')}."
    )
    for difference in found.differences:
        say(f"  {difference}")
    rest = sum(found.numbers.values()) - len(found.differences)
    if rest:
        say(f"  … and {rest:,} more.")
    if found.owed:
        say(
            f"{counted(found.owed, 'fact is', 'facts are')} still owed to threads or the suppression list; the "
            "next run of the queue tells."
        )
    say("The books agree." if found.agree else "The books do not agree.")
    return 0 if found.agree else 1


@app.command("run")
def run_notebook(
    ctx: typer.Context,
    notebook: str = typer.Argument(..., help="A notebook's name (mailops jobs notebooks) or path."),
    parameters: list[str] = typer.Option([], "--parameter", "-p", help="name=value; may be given several times."),
    file: Path = typer.Option(None, "--file", "-f", help="A YAML or JSON file of parameters; -p goes over it."),
    timeout: float = typer.Option(600.0, help="Seconds the whole run may take."),
    cwd: Path = typer.Option(None, "--cwd", help="The folder it works in (default: a path's own folder)."),
    output: Path = typer.Option(
        None, "--output", "-o", help="Also write the finished notebook to this file or folder."
    ),
    json: bool = JSON,
) -> None:
    """Run a notebook as a job: report, result.json, a line in the run history; exit 0, 1 (checks failed) or 2."""
    from ..jobs import run_notebook as run

    ops = open_ops(ctx)
    given = dict(pair(p) for p in parameters)
    with progress("Step", quiet=json) as tell:
        result = run(
            notebook,
            given,
            workspace=ops.workspace.path,
            timeout=timeout,
            cwd=cwd,
            file=file,
            output=output,
            progress=tell,
        )
    if json:
        print_json(result)
    else:
        say(f"{result.notebook}: {result.status} in {result.seconds:.1f} s\n{result.message}\nReport: {result.report}")
        if result.output is not None:
            say(f"Notebook: {result.output}")
    raise typer.Exit(result.exit_code)


def pair(text: str) -> tuple[str, str]:
    """A parameter as it is written: name=value."""
    name, eq, value = text.partition("=")
    if not eq:
        raise ConfigError(
            f"{text!r} is not name=value.", code="run.parameter", facts={"given": text}, fix="Write -p since=30d"
        )
    return name.strip(), value


@app.command()
def status(ctx: typer.Context, json: bool = JSON) -> None:
    """What runs and how it goes: services, queue, workers. Exit 0 well (or worried), 1 down, 3 when nothing runs."""
    from ..model.states import MailState

    found = open_ops(ctx).status()
    if json:
        print_json({**plain(found), "exit_code": found.exit_code})
        raise typer.Exit(found.exit_code)
    say(f"mailops is {found.health}." + "".join(f"\n  {line}" for line in found.why))
    if found.running:
        table(["Of", "Service", "State", "Process", "Since (UTC)", "Heartbeat", "Last error"], found.rows(found.at))
    if found.queue is not None:
        counts = ", ".join(f"{found.queue.counts[s]} {s.label}" for s in MailState if found.queue.counts[s])
        say(f"Queue: {counts or 'empty'}; due now {found.queue.due_words}; owed {found.queue.owed}.")
    if found.oldest_seconds is not None:
        say(f"The oldest mail waits for {lasting(found.oldest_seconds)}.")
    if found.workers:
        rows = [(w.worker, w.held, w.done, w.sent, w.last) for w in found.workers]
        table(["Worker", "Holds", "Attempts in the last hour", "Sent", "Last (UTC)"], rows)
    for name, at in found.jobs.items():
        say(f"{name} ran last at {at:%Y-%m-%d %H:%M} UTC.")
    raise typer.Exit(found.exit_code)


@app.command()
def worker(
    ctx: typer.Context,
    queue_every: float = typer.Option(30.0, help="Seconds between runs of the queue.", min=0.05),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
) -> None:
    """Send what is due, without taking mail: for more machines on one PostgreSQL store (mailops status shows all)."""
    from ..serve import work

    work(open_ops(ctx), queue_every=queue_every, seconds=seconds)


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


@app.command()
def about(
    ctx: typer.Context,
    address: str = typer.Argument(help="The address, as name@example.com."),
    out: Path = typer.Option(
        None, help="Write all of it to this file: .html to read, .json for programs.", dir_okay=False
    ),
    json: bool = JSON,
) -> None:
    """Everything that is kept of an address: mails, reports, entries of threads, suppressions, pages of runs."""
    from ..ledger.about_file import summary, write

    found = open_ops(ctx).about(address)
    if out is not None:
        write(found, out)
    if json:
        print_json({**asdict(found), "rows": found.rows, "file": out})
        return
    say(summary(found))
    for held in found.held:
        say(f"  {held.count:>7}  {held.place}")
    for line in found.elsewhere:
        say(f"  beside   {line}")
    if out is not None:
        say(f"Written to {out.name}.")


@app.command()
def forget(
    ctx: typer.Context,
    address: str = typer.Argument(help="The address, as name@example.com."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do it without asking."),
    json: bool = JSON,
) -> None:
    """Forget an address: it becomes a pseudonym; figures, states and suppressions stay.

    What was written to, by or about it is emptied. Without --yes it shows first what there is, and asks.
    """
    from ..ledger.about_file import summary

    ops = open_ops(ctx)
    found = ops.about(address)
    if json and not yes:
        print_json({"preview": {**asdict(found), "rows": found.rows}, "receipt": None})
        return
    if not yes and found.rows and not found.waiting:
        say(summary(found))
        for held in found.held:
            say(f"  {held.count:>7}  {held.place}")
        say("Not reached from here:")
        for line in (*found.elsewhere, *found.beyond):
            say(f"  {line}")
        typer.confirm("Forget it? There is no way back.", abort=True)
    receipt = ops.forget(address, digest=found.digest, actor="cli")
    if json:
        print_json({"preview": None, "receipt": receipt})
        return
    say(f"Forgotten on {receipt.at:%Y-%m-%d %H:%M} UTC; it is called {receipt.pseudonym} now.")
    for place, number in receipt.changed.items():
        say(f"  {number:>7}  {place}")
    say("Not reached from here:")
    for line in (*receipt.elsewhere, *receipt.beyond):
        say(f"  {line}")
