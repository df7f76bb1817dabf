"""``mailops inbound``: hand received mail in, see what would become of it, and what became of mail that came."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import InputRefused
from ..model.setup import Encryption
from ..model.text import harmless
from .app import open_ops
from .output import print_error, print_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..bounces.reading.sources import Skipped
    from ..inbound.files import Filed
    from ..inbound.ingest import Result
    from ..inbound.values import Decision

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Received mail: take it in, explain it, look at what became of it.",
)
shelf_app = typer.Typer(rich_markup_mode=None, help="Mail that mailops could not process: list, retry.")
app.add_typer(shelf_app, name="shelf")
account_app = typer.Typer(rich_markup_mode=None, help="Mailboxes to fetch from: add, test, list.")
app.add_typer(account_app, name="account")
target_app = typer.Typer(rich_markup_mode=None, help="Applications that received mail is handed on to: add, list.")
app.add_typer(target_app, name="target")
JSON = typer.Option(False, "--json", help="Print JSON.")
FILES = typer.Argument(None, help="Messages, folders or mailboxes (default: standard input).")
DELIVERED = typer.Option("", "--delivered-to", help="The address it was delivered to (envelope recipient).")
MODEL = typer.Option(None, help="The kind of record for mail that no alias takes.")


@app.command("receive")
def receive(
    ctx: typer.Context,
    files: list[Path] = FILES,
    model: str = MODEL,
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """Take received mail in: reply, new record, report or refusal, each with its reason."""
    gateway = open_ops(ctx).inbound
    to = delivered_to or None
    found = [_row(gateway.receive(bytes(one.raw), fallback_model=model, delivered_to=to)) for one in _received(files)]
    show_rows(found, json)


@app.command("explain")
def explain(
    ctx: typer.Context,
    files: list[Path] = FILES,
    model: str = MODEL,
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """What would become of received mail, with every rule it passes; nothing is changed."""
    show_rows([_row(one, trace=True) for one in explained(ctx, files, model, delivered_to)], json)


def explained(ctx: typer.Context, files: list[Path], model: str | None, delivered_to: str) -> list[Decision]:
    """The decision about each mail of these files; nothing is changed."""
    gateway = open_ops(ctx).inbound
    to = delivered_to or None
    return [gateway.explain(bytes(one.raw), fallback_model=model, delivered_to=to) for one in _received(files)]


def _received(files: list[Path]) -> Iterator[Filed]:
    """The mails of these files (none, or ``-``: of standard input), as ``ingest`` takes them; what is none is told.

    Raises :class:`InputRefused` when there is nothing at all to read.
    """
    from ..inbound.files import mails, piped

    skipped: list[Skipped] = []
    piece = [str(file) for file in files or ()] in ([], ["-"])
    found = False
    for one in piped(sys.stdin.buffer, skipped.append) if piece else mails(files, skipped.append):
        found = True
        yield one
    for left in skipped[:20]:
        sys.stderr.write(harmless(f"Skipped: {left.name}: {left.reason}") + "\n")
    if len(skipped) > 20:
        sys.stderr.write(f"Skipped: {len(skipped) - 20} more\n")
    if not found:
        raise InputRefused(
            "There is no mail to read.",
            code="input.no_message",
            facts={"files": [str(file) for file in files[:5]], "skipped": [one.reason for one in skipped[:5]]},
            fix="Name message files, folders that hold them (also Maildir), or mbox files; - is standard input.",
        )


@app.command("log")
def log(
    ctx: typer.Context,
    decision: str = typer.Option(None, help="Only this decision: bounce, reply, create, refused …"),
    limit: int = typer.Option(100, min=1, help="At most this many lines."),
    json: bool = JSON,
) -> None:
    """What became of received mail, newest first; of a report, what it says and what that changed."""
    lines, total = open_ops(ctx).inbound.log(decision=decision, limit=limit)
    if json:
        print_json({"total": total, "lines": lines})
        return
    rows = [(f"{x.at:%Y-%m-%d %H:%M}", x.sender, x.decision, x.consequence or x.reason, x.answer) for x in lines]
    table(["Received (UTC)", "From", "Decision", "Why, or what a report changed", "Answer"], rows)
    say(f"{len(lines)} of {total}")


PATHS = typer.Argument(
    ..., metavar="PATH...", help="Messages, folders (also Maildir), mbox files; - is standard input."
)


@app.command("ingest")
def ingest(
    ctx: typer.Context,
    paths: list[str] = PATHS,
    model: str = MODEL,
    delivered_to: str = DELIVERED,
    json: bool = JSON,
) -> None:
    """Take received mail in from files or a pipe, each mail once: stored, decided, and accounted for."""
    ops = open_ops(ctx)
    to = delivered_to or None
    if "-" in paths:
        if len(paths) > 1:
            raise InputRefused(
                "Standard input stands beside other paths.",
                code="cli.argument",
                facts={"given": paths[:10]},
                fix="Use - alone.",
            )
        found = ops.ingest(stream=sys.stdin.buffer, model=model, delivered_to=to)
    else:
        absent = [path for path in paths if not Path(path).exists()]
        if absent:
            raise InputRefused(
                f"There is no {absent[0]}.",
                code="input.no_message",
                facts={"paths": absent[:10]},
                fix="Name message files, folders that hold them (also Maildir), or mbox files.",
            )
        found = ops.ingest(paths, model=model, delivered_to=to)
    show_result(found, json)


@app.command("fetch")
def fetch(
    ctx: typer.Context,
    account: str = typer.Option(None, help="Only this mailbox (default: all that are confirmed)."),
    json: bool = JSON,
) -> None:
    """Mail: Fetchmail Service. Fetch from the mailboxes: stored first, then marked as read (POP3: deleted), decided."""
    show_result(open_ops(ctx).fetch(account), json)


@app.command("watch")
def watch(
    ctx: typer.Context,
    account: str = typer.Argument(..., help="The mailbox."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    json: bool = JSON,
) -> None:
    """Fetch from a mailbox as soon as mail comes (IMAP IDLE), else every 5 minutes, until stopped."""
    import threading

    stop = threading.Event()

    def told(found: Result) -> None:
        if json:
            print_json(found.as_dict())
        elif found.counts.seen or found.errors:
            say(f"{found.counts.seen} seen, {found.counts.delivered} delivered, {found.counts.refused} refused.")
            for error in found.errors:
                print_error(error, json_wanted=False)
        sys.stdout.flush()

    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    if seconds:
        timer.start()
    open_ops(ctx).watch(account, stop=stop, on_run=told)


@app.command("lmtp")
def lmtp(
    ctx: typer.Context,
    host: str = typer.Option("127.0.0.1", help="A loopback address."),
    port: int = typer.Option(2424, help="The port (0 = any free one)."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    json: bool = JSON,
) -> None:
    """Take mail from this machine's mail server over LMTP: 250 when it is stored, 550 where nobody has the address."""
    import threading

    with open_ops(ctx).lmtp(host, port) as listener:
        if json:
            print_json({"host": host, "port": listener.port})
        else:
            say(f"LMTP on {host}:{listener.port}")
        sys.stdout.flush()
        threading.Event().wait(seconds or None)


@app.command("smtp")
def smtp(
    ctx: typer.Context,
    host: str = typer.Option("127.0.0.1", help="The address to listen on; an MX record needs one the world reaches."),
    port: int = typer.Option(2526, help="The port (0 = any free one; the world comes to 25)."),
    cert: Path = typer.Option(None, help="A certificate (PEM), for STARTTLS."),
    key: Path = typer.Option(None, help="Its key (PEM), where it is not in the same file."),
    seconds: float = typer.Option(0.0, help="Stop after this long; 0 = run until stopped."),
    json: bool = JSON,
) -> None:
    """Take mail for the alias domains over SMTP, as the host of an MX record: 250 when it is stored, 550 for others."""
    import threading

    with open_ops(ctx).mx(host, port, certificate=cert, key=key) as listener:
        print_json({"host": host, "port": listener.port}) if json else say(f"SMTP on {host}:{listener.port}")
        sys.stdout.flush()
        threading.Event().wait(seconds or None)


@account_app.callback(invoke_without_command=True)
def account(ctx: typer.Context, json: bool = JSON) -> None:
    """Mailboxes to fetch from (the same as ``list``); add and test change them."""
    if ctx.invoked_subcommand is None:
        account_list(ctx, json)


@account_app.command("list")
def account_list(ctx: typer.Context, json: bool = JSON) -> None:
    """The mailboxes there are, and where each stands."""
    found = sorted(open_ops(ctx).mailboxes.list(), key=lambda one: one.key)
    if json:
        print_json([one.as_dict() for one in found])
        return
    rows = [
        (x.key, x.state, x.protocol, f"{x.host}:{x.port}", x.login, x.folder, x.model,
         f"{x.checked_at:%Y-%m-%d %H:%M}" if x.checked_at else "never", x.error)
        for x in found
    ]  # fmt: skip
    table(["Key", "State", "Protocol", "Server", "Login", "Folder", "Model", "Last look (UTC)", "Error"], rows)


@account_app.command("check")
def account_check(ctx: typer.Context, json: bool = JSON) -> None:
    """How each mailbox stands: looked at in time, without an error, mail as usual; 1 when one fails."""
    found = open_ops(ctx).mailbox_verdicts()
    if json:
        print_json(found)
    else:
        rows = [(v.state.icon, v.subject, v.title, v.found, v.fix) for v in found]
        table(["", "Mailbox", "What", "Found", "To do"], rows)
    raise typer.Exit(0 if all(v.passed for v in found) else 1)


@account_app.command("add")
def account_add(
    ctx: typer.Context,
    key: str = typer.Argument(..., help="A name for it."),
    protocol: str = typer.Option("imap", help="imap (recommended) or pop3."),
    host: str = typer.Option(..., help="The mail server."),
    port: int = typer.Option(0, help="Its port (default: 993, 995, 143 or 110)."),
    encryption: Encryption = typer.Option(Encryption.TLS, help="How the connection is protected."),
    login: str = typer.Option(..., help="The login."),
    password: str = typer.Option(..., help="A reference (vault:NAME, env:NAME, file:PATH), or oauth."),
    folder: str = typer.Option("INBOX", help="The folder that is looked at (IMAP)."),
    model: str = typer.Option(None, help="The kind of record for mail that no alias takes."),
    move_to: str = typer.Option(None, help="Move fetched mail to this folder (IMAP)."),
    take_read: bool = typer.Option(False, "--take-read", help="Begin with all mail, not with what is unread (IMAP)."),
    ca_file: str = typer.Option(None, help="A certificate authority of your own (PEM)."),
    json: bool = JSON,
) -> None:
    """Add a mailbox to fetch from, or change it; it is a draft until its test has passed."""
    from ..inbound.accounts import Account

    ops = open_ops(ctx)
    if model is not None:
        ops.threads.models.get(model)
    made = ops.mailboxes.save(
        Account(
            key, protocol, host, port, encryption, login, password, folder=folder, model=model, move_to=move_to,
            take_read=take_read, ca_file=ca_file,
        )
    )  # fmt: skip
    if json:
        print_json(made.as_dict())
    else:
        say(f"{made.key} is a draft. Test and confirm it: mailops inbound account test {made.key}")


@account_app.command("test")
def account_test(ctx: typer.Context, key: str = typer.Argument(..., help="The mailbox."), json: bool = JSON) -> None:
    """Test & Confirm: sign in, open the folder, count. Nothing is fetched; from then on it is fetched from."""
    found = open_ops(ctx).fetching.test(key)
    if json:
        print_json(found)
        return
    say(f"{found.key} is confirmed: {found.messages} mails in {found.folder}; the first run takes {found.first_run}.")
    for warning in found.warnings:
        say(warning)


@app.command("ledger")
def ledger(ctx: typer.Context, json: bool = JSON) -> None:
    """The sums of all received mail by account and folder, and the UIDs that are missing in them; 1 when some are."""
    found = open_ops(ctx).intake.ledger()
    if json:
        print_json(found.as_dict())
    else:
        columns = ("seen", "doubled", "unreadable", "delivered", "refused", "shelved", "skipped", "waiting", "gap")
        rows = [
            (one.account, one.folder or "-", one.uidvalidity or "-", *(getattr(one.counts, c) for c in columns))
            for one in found.sums
        ]
        table(["Account", "Folder", "UIDVALIDITY", *(c.capitalize() for c in columns)], rows)
        for gap in found.gaps:
            shown = ", ".join(gap.uids[:20]) + (" …" if len(gap.uids) > 20 else "")
            say(f"Missing in {gap.account} {gap.folder}: UID {shown}")
    if found.gaps:
        raise typer.Exit(1)


@shelf_app.callback(invoke_without_command=True)
def shelf(ctx: typer.Context, json: bool = JSON) -> None:
    """Mail that mailops could not process: list, retry."""
    if ctx.invoked_subcommand is None:
        shelf_list(ctx, json)


@shelf_app.command("list")
def shelf_list(ctx: typer.Context, json: bool = JSON) -> None:
    """Mail that mailops could not process, with the reason."""
    found = open_ops(ctx).shelf.mails()
    if json:
        print_json({"mails": found})
        return
    rows = [(x.id, f"{x.seen_at:%Y-%m-%d %H:%M}", x.account, x.sender, x.subject, x.reason) for x in found]
    table(["Mail", "Received (UTC)", "Account", "From", "Subject", "Why it is here"], rows)


@shelf_app.command("retry")
def shelf_retry(
    ctx: typer.Context,
    ids: list[int] = typer.Argument(None, metavar="[MAIL...]", help="Mails of the shelf (default: all)."),
    preview: bool = typer.Option(False, "--preview", help="Only say what would become of them."),
    json: bool = JSON,
) -> None:
    """Decide mail of the shelf again, each alone; what fails again stays, with its reason."""
    shelf = open_ops(ctx).shelf
    found = shelf.preview(ids or ()) if preview else shelf.retry(ids or ())
    if json:
        print_json(found.as_dict())
        return
    for one in found.mails:
        say(f"{one.id}: {one.state}{f', {one.reason}' if one.reason else ''}")
    say(found.words)


@target_app.callback(invoke_without_command=True)
def target(ctx: typer.Context, json: bool = JSON) -> None:
    """Applications that received mail is handed on to (the same as ``list``)."""
    if ctx.invoked_subcommand is None:
        target_list(ctx, json)


@target_app.command("list")
def target_list(ctx: typer.Context, json: bool = JSON) -> None:
    """The targets, and how many mails wait to be tried again at each."""
    onward = open_ops(ctx).onward
    found = [{**asdict(one), "waiting": onward.waiting(one.key)} for one in onward.targets()]
    if json:
        print_json(found)
        return
    rows = [(x["key"], x["kind"], x["url"] or x["name"], ", ".join(x["kinds"]), x["waiting"], x["off"]) for x in found]
    table(["Target", "Kind", "Where", "Gets", "Waiting", "Off"], rows)


@target_app.command("add")
def target_add(
    ctx: typer.Context,
    key: str = typer.Argument(..., help="A name of your own for the target."),
    kind: str = typer.Option(..., help="webhook, odoo or hook."),
    url: str = typer.Option("", help="Where it listens (https; http on this machine)."),
    secret: str = typer.Option("", help="A reference: the webhook's whsec_ secret, Odoo's password or API key."),
    name: str = typer.Option("", help="The hook's entry point in the group mailops.inbound."),
    database: str = typer.Option("", help="Odoo's database."),
    login: str = typer.Option("", help="Odoo's user."),
    model: str = typer.Option("", help="Odoo's model for mail that no alias takes there."),
    kinds: list[str] = typer.Option(None, "--decision", help="Only mail decided so; repeat it."),
    json: bool = JSON,
) -> None:
    """Hand received mail on from now on, or change how."""
    from ..inbound.onward import DEFAULT_KINDS, Target

    made = Target(key, kind, url, secret, name, database, login, model, tuple(kinds or DEFAULT_KINDS))
    open_ops(ctx).onward.save(made)
    print_json(made) if json else say(f"Mail is handed on to {key} from now on.")


@target_app.command("remove")
def target_remove(ctx: typer.Context, key: str = typer.Argument(..., help="The target."), json: bool = JSON) -> None:
    """Hand nothing on to a target any more."""
    open_ops(ctx).onward.remove(key)
    print_json({"removed": key}) if json else say(f"{key} gets nothing any more.")


@app.command("hand-on")
def hand_on(ctx: typer.Context, json: bool = JSON) -> None:
    """Hand on what has come since, and try again what is due; `fetch` does it too."""
    found = open_ops(ctx).onward.run()
    if json:
        print_json(found)
        return
    for one in found:
        say(f"{one.target}: {one.taken} taken, {one.nothing} answered with nothing, {one.refused} refused, "
            f"{one.waiting} wait, {one.given_up} given up.")  # fmt: skip
        for note in one.notes:
            say(f"  {note}")
    if not found:
        say("There is no target.")


@app.command("probe")
def probe(
    ctx: typer.Context,
    domain: str = typer.Option(None, help="The alias domain (default: the first)."),
    nobody: str = typer.Option(None, help="An address that bounces (default: one that is made up at the domain)."),
    seconds: float = typer.Option(120.0, min=1, help="Wait at most so long."),
    json: bool = JSON,
) -> None:
    """Send a mail round: it goes out, its answer and its bounce come back, each leg timed; 1 when one does not."""
    found = open_ops(ctx).probe(domain=domain, nobody=nobody, patience=seconds)
    if json:
        print_json(found.as_dict())
    else:
        rows = [(x.leg, x.state, "" if x.seconds is None else f"{x.seconds:.1f}", x.words) for x in found.legs]
        table(["Leg", "State", "Seconds", "What came of it"], rows)
        for leg in found.legs:
            if leg.look:
                say(f"{leg.leg}: {leg.look}")
    raise typer.Exit(0 if found.passed else 1)


@app.command("methods")
def methods(
    ctx: typer.Context,
    dns: bool = typer.Option(True, "--dns/--no-dns", help="Ask for the mail servers of the own domains."),
    json: bool = JSON,
) -> None:
    """The three ways into the database, with what speaks for and against each here, and what is missing."""
    found = open_ops(ctx).receiving(dns=dns)
    if json:
        print_json(found)
        return
    rows = [
        (m.name, "yes" if m.recommended else "", ", ".join(m.pros), ", ".join(m.cons), m.why) for m in found.methods
    ]
    table(["Method", "Recommended", "For it", "Against it", "Why"], rows)
    for method in found.methods:
        for task in method.tasks:
            say(f"{method.name} needs: {task.title}. {task.text}")
    for finding in found.findings:
        say(f"{finding.severity.value}: {finding.message} {finding.fix}")
    for what, path in found.paths.items():
        say(f"In Odoo, {what}: {path}")


@app.command("redirections")
def redirections(
    ctx: typer.Context,
    csv: Path = typer.Option(None, help="Write them to this CSV file."),
    json: bool = JSON,
) -> None:
    """Exactly what is to be redirected at the domain's mail server: catchall, bounce, and every alias."""
    from ..inbound.methods import as_csv

    found = open_ops(ctx).receiving(dns=False).redirections
    if csv is not None:
        csv.write_text(as_csv(found), encoding="utf-8", newline="")
    if json:
        print_json(found)
        return
    table(["Address", "To", "Mandatory"], [(x.source, x.target, "yes" if x.mandatory else "") for x in found])


@app.command("domain")
def domain(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="A subdomain of the hosting, or a domain for the MX method."),
    used_elsewhere: bool = typer.Option(False, "--used-elsewhere", help="Another branch uses it."),
    json: bool = JSON,
) -> None:
    """Whether mail can come in by a domain, and what is to be done for it."""
    from ..model.verdict import Finding

    found = open_ops(ctx).inbound_domain(name, used_elsewhere=used_elsewhere)
    if json:
        print_json(found)
    elif found is None:
        say(f"{name} is ready.")
    else:
        say(f"{found.message} {found.fix}" if isinstance(found, Finding) else f"{found.title}. {found.text}")


@app.command("carried")
def carried(ctx: typer.Context, files: list[Path] = FILES, json: bool = JSON) -> None:
    """Whether received mails were redirected or forwarded on their way here, by which signs, and what that breaks."""
    ops = open_ops(ctx)
    found = [(one.name, ops.carried(bytes(one.raw))) for one in _received(files)]
    if json:
        print_json([{"file": name, **asdict(one)} for name, one in found])
        return
    for name, one in found:
        say(f"{name}: {one.how}: {'; '.join(one.signs)}.")
        for word in one.breaks:
            say(f"  {word}")


@app.command("foreign")
def foreign(
    ctx: typer.Context,
    limit: int = typer.Option(1000, min=1, help="Look at so many of the latest mails."),
    json: bool = JSON,
) -> None:
    """Past mail that an alias took by its local part on a domain that is not ours, and the parameter against it."""
    found = open_ops(ctx).foreign_matches(limit)
    if json:
        print_json({"mails": found.mails, "value": found.value, "command": found.command})
        return
    table(["Mail", "From", "Written to", "Alias", "Subject"],
          [(x.line, x.sender, x.address, x.alias, x.subject) for x in found.mails])  # fmt: skip
    say(f"To keep such out: {found.command}" if found.mails else "There is none.")


def show_result(found: Result, json: bool) -> None:
    """What a run did; the command ends with 1 when something broke or is missing."""
    if json:
        print_json(found.as_dict())
    else:
        counts = found.counts
        say(f"Seen {counts.seen}: {counts.stored} stored, {counts.doubled} known, {counts.unreadable} unreadable.")
        say(
            f"Decided {counts.decided}: {counts.delivered} delivered, {counts.refused} refused. On the shelf: "
            f"{counts.shelved}. Left alone: {counts.skipped}. Waiting: {counts.waiting}."
        )
        for note in found.notes[:20]:
            say(f"  {note}")
        for error in found.errors:
            print_error(error, json_wanted=False)
    if not found.well:
        raise typer.Exit(1)


def _row(decision: Decision, *, trace: bool = False) -> dict[str, Any]:
    row = {**decision.as_dict(), "decision": decision.kind.value, "blocks": decision.blocks}
    row["report"] = decision.report.kind if decision.report else None
    return row if trace else {name: value for name, value in row.items() if name != "trace"}


def show_rows(rows: list[dict[str, Any]], json: bool) -> None:
    """Decisions, as JSON or in sentences."""
    if json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['kind']}: {row['reason']}")
        for block in row["blocks"]:
            say(f"  {block.recipient or 'nobody is named'}: {block.kind}, {block.words}")
        for notice in row["notices"]:
            say(f"  notice to {notice['to']} ({notice['reason']})")
        for step in row.get("trace", ()):
            say(f"  {step['rule']}: {step['found']}")
    if not rows:
        say("nothing found")
