"""``mailops queue``: look, retry, send now, cancel, run the job, clean."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from ..errors import NotFound
from ..model.retention import KINDS
from ..model.states import MailState
from ..model.text import counted
from ..platforms import require_journal
from .app import open_ops
from .filters import IDS, filtered
from .output import frame_table, plain, print_json, progress, say, table

if TYPE_CHECKING:
    from ..queue.filters import QueueFilter

NO_FROM = "(the notification address, when it leaves)"
app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at queued mail; retry, send now, cancel; run the queue job."
)
JSON = typer.Option(False, "--json", help="Print JSON.")
MOST_SHOWN = 50
YES = typer.Option(False, "--yes", "-y", help="Do it without asking.")


@app.command("status")
def status(ctx: typer.Context, json: bool = JSON) -> None:
    """Counts by state, what is due, and since when the oldest mail waits."""
    health = open_ops(ctx).queue.health()
    if json:
        seldom = ("partly", "on_hold", "of_job")  # told where there are any
        print_json({name: value for name, value in plain(health).items() if value or name not in seldom})
        return
    table(["State", "Mails"], [(s.label, health.counts[s]) for s in MailState])
    if health.partly:
        say(
            f"Of the sent ones {health.partly} are partly sent: some recipients failed. The list shows them with the "
            "mails in Delivery Failed."
        )
    since = health.oldest.isoformat() if health.oldest else "-"
    say(f"Due now: {health.due_words}; with workers: {health.held}; oldest waits since: {since}")
    if health.owed:
        say(
            f"Owed: {health.owed} facts that threads or the suppression list could not take; each run tells them again."
        )


@app.command("list")
@filtered(IDS)
def listing(
    ctx: typer.Context,
    chosen: QueueFilter,
    limit: int = typer.Option(25, help="How many."),
    offset: int = typer.Option(0, help="From which on."),
    json: bool = JSON,
) -> None:
    """A page of mails with age, server and reason, newest first (in Odoo: Settings → Technical → Email: Emails)."""
    ops = open_ops(ctx)
    page = ops.queue.page(chosen, offset=offset, limit=limit)
    if json:
        print_json(page)
        return
    rows = []
    for mail in page.mails:
        people = ", ".join(d.recipient for d in mail.deliveries[:2]) + (" …" if len(mail.deliveries) > 2 else "")
        why = "; ".join(filter(None, (mail.failure_reason, mail.leaves)))
        row = (mail.header_from or NO_FROM, people, mail.subject, mail.server_key, why)
        rows.append((mail.id, mail.label, _age(ops.clock.now() - mail.created_at), *row))
    table(["Id", "State", "Age", "From", "To", "Subject", "Server", "Reason"], rows)
    say(f"{counted(page.total, 'mail fits', 'mails fit')}; shown from {page.offset + 1 if page.mails else 0}.")


def _age(span: timedelta) -> str:
    """How old a mail is, in the largest whole unit."""
    minutes = max(0, int(span.total_seconds() // 60))
    days, hours = minutes // 1440, minutes // 60
    return counted(days, "day") if days else counted(hours, "hour") if hours else counted(minutes, "minute")


@app.command("show")
def show(
    ctx: typer.Context,
    mail_id: int,
    raw: bool = typer.Option(False, help="Print the message itself."),
    json: bool = JSON,
) -> None:
    """One mail: recipients with the server's answers, and its history."""
    from ..bounces.reading.advice import cause
    from ..model.states import FAILED_DELIVERIES

    ops = open_ops(ctx)
    if raw:
        say(ops.queue.raw(mail_id).decode("utf-8", "replace"))
        return
    mail, lines = ops.queue.mail(mail_id), ops.queue.history(mail_id)
    troubles = ops.why(mail_id)
    if json:
        explained = [
            {
                "recipient": t.failure.recipient,
                **t.explanation.as_dict(),
                "cause": t.cause,
                "fix": " ".join(t.tasks),
                "consequence": t.consequence,
                "look": t.next_look,
            }
            for t in troubles
        ]
        reports = ops.reports.listing(mail_id=mail_id)
        print_json({"mail": mail, "history": lines, "explained": explained, "left": mail.left, "reports": reports})
        return
    say(f"Mail {mail.id} {mail.label}: {mail.subject}\nFrom {mail.header_from or NO_FROM}\n{mail.message_id}")
    if left := mail.left:
        say(
            f"Left as {left['from']}, envelope sender {left['envelope']}"
            + (f", {left['signature']}." if left["signature"] else ".")
        )
    if mail.bounces:
        by = f"login {mail.login}" if mail.login else "no sign-in"
        say(f"Handed over by {mail.peer} ({by}), envelope sender {mail.return_path}; bounces = {mail.bounces}.")
    if mail.leaves:
        say(f"It {mail.leaves}.")
    if mail.failure_reason:
        say(f"Reason: {mail.failure_reason}")
    told = {(t.explanation.acts, " ".join(t.tasks), t.next_look) for t in troubles if t.explanation.own}
    for acts, fix, look in sorted(told):
        say(f"To act: {acts}\nWhat to do: {fix}" + (f"\nTo look further: {look}" if look else ""))
    table(
        ["Recipient", "State", "Code", "Answer", "Cause"],
        [
            (
                d.recipient,
                d.state.label,
                d.enhanced or d.code,
                d.reply,
                cause(d.cause, failed=d.state in FAILED_DELIVERIES),
            )
            for d in mail.deliveries
        ],
    )
    for told in ops.reports.listing(mail_id=mail_id):
        how = {"told": f"by mail {told.report_id}", "due": "not yet", "withheld": f"not: {told.why}"}[told.state]
        say(f"Submitter {told.address} told of {told.recipient}: {how}.")
    table(
        ["At (UTC)", "Event", "Recipient", "Server", "Why this server", "By", "Answer"],
        [(h.at, h.kind, h.recipient, h.server_key, h.why, h.actor, (h.data or {}).get("reply")) for h in lines],
    )


@app.command("history")
def history(ctx: typer.Context, mail_id: int, json: bool = JSON) -> None:
    """Every event of a mail, also of one that is gone."""
    lines = open_ops(ctx).queue.history(mail_id)
    if json:
        print_json(lines)
    else:
        table(
            ["At (UTC)", "Event", "Recipient", "Server", "By", "Data"],
            [(h.at, h.kind, h.recipient, h.server_key, h.actor, h.data) for h in lines],
        )


@app.command("causes")
def causes(ctx: typer.Context, json: bool = JSON) -> None:
    """Failures grouped by cause and recipient domain."""
    from ..bounces.reading.advice import cause

    rows = open_ops(ctx).queue.causes()
    if json:
        print_json([{"reason": r, "domain": d, "count": n} for r, d, n in rows])
    else:
        table(["Cause", "Domain", "Deliveries"], [(cause(r, failed=True), d, n) for r, d, n in rows])


@app.command("retry")
@filtered()
def retry(ctx: typer.Context, chosen: QueueFilter, yes: bool = YES, json: bool = JSON) -> None:
    """Put failed mails back as Outgoing; they leave with the next run of the queue job."""
    _act(ctx, "retry", chosen, yes, json)


@app.command("cancel")
@filtered()
def cancel(ctx: typer.Context, chosen: QueueFilter, yes: bool = YES, json: bool = JSON) -> None:
    """Take mails out of the queue; the next run skips them."""
    _act(ctx, "cancel", chosen, yes, json)


@app.command("ignore")
@filtered()
def ignore(ctx: typer.Context, chosen: QueueFilter, yes: bool = YES, json: bool = JSON) -> None:
    """Settle partly sent mails: who did not get them needs nobody any more; Auto-Vacuum then takes them."""
    _act(ctx, "ignore", chosen, yes, json)


@app.command("send-now")
@filtered("state", "reason")
def send_now(ctx: typer.Context, chosen: QueueFilter, yes: bool = YES, json: bool = JSON) -> None:
    """Send Outgoing mails at once, whatever their schedule."""
    _act(ctx, "send_now", chosen, yes, json)


def _act(ctx: typer.Context, action: str, chosen: QueueFilter, yes: bool, json: bool) -> None:
    if action == "send_now":
        require_journal("mailops queue send-now")
    queue = open_ops(ctx).queue
    seen = queue.preview(action, chosen)
    words = {"retry": "Retry", "cancel": "Cancel Email", "send_now": "Send Now", "ignore": "Ignore"}[action]
    if seen.count == 0:
        raise NotFound(
            f"{words} has nothing to do: no mail fits.",
            code="queue.nothing",
            facts={"fit_the_filter": seen.left_out, "takes": seen.reason},
            fix="Look with mailops queue list; a sent or removed mail is in mailops queue history.",
        )
    if not yes and not json:
        say(
            f"{words}: {counted(seen.count, 'mail')} ({seen.left_out} more fit the filter and are left out: "
            f"{seen.reason})."
        )
        for example in seen.examples:
            say(f"  {example}")
        typer.confirm("Go on?", abort=True)
    if action == "send_now":
        with progress("Sending", seen.count, quiet=json) as update:
            done = queue.send_now(chosen, on_progress=lambda r: update(r.handled))
    else:
        done = getattr(queue, action)(chosen, actor="cli")
    if json:
        print_json(done)
    elif action == "send_now":
        say(f"{done.sent} sent, {done.deferred + done.unknown} deferred, {done.failed} failed.")
    else:
        say(
            f"{counted(done.count, 'mail')}: {words} done."
            + (f" {done.busy} are being sent right now and were left alone." if done.busy else "")
        )


@app.command("run")
def run(
    ctx: typer.Context, limit: int = typer.Option(None, help="At most this many mails."), json: bool = JSON
) -> None:
    """One run of the queue job (Mail: Email Queue Manager): everything due is tried once."""
    require_journal("mailops queue run")
    queue = open_ops(ctx).queue
    due = queue.health().due
    with queue.as_job(), progress("Sending", due, quiet=json) as update:
        worker = queue.worker(on_progress=lambda r: update(r.handled))
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        report = worker.run(limit=limit)
    if json:
        print_json(report)
    else:
        rate = report.handled / report.seconds if report.seconds else 0
        later = report.deferred + report.unknown
        took = f"in {report.seconds:.1f} s ({rate:.0f}/s)"
        say(f"{report.sent} sent, {report.failed} failed, {later} deferred {took}.")
        if report.released:
            say(f"{counted(report.released, 'mail')} had been put off by a clock that was ahead, and made due.")


@app.command("trigger")
def trigger(
    ctx: typer.Context,
    at: str = typer.Option("", help="When, as 2026-01-31T14:30+01:00; now by default."),
    json: bool = JSON,
) -> None:
    """Let the queue job run earlier than its next time, where mailops serve attends the queue; its usual times stay."""
    from ..checks.services import attended
    from ..queue.submit import parse_when

    ops = open_ops(ctx)
    asked = parse_when(at) if at else None
    past = asked is not None and asked < ops.clock.now()
    when = ops.queue.trigger(asked)
    served = attended(ops.workspace.path, ops.clock.now())
    if json:
        print_json({"at": when, "attended": served})
        return
    if past:
        say(f"{asked:%Y-%m-%d %H:%M:%S} UTC is past: now is meant.")
    if served:
        say(f"The queue job runs at {when:%Y-%m-%d %H:%M:%S} UTC.")
    else:
        say(
            f"The queue job is due at {when:%Y-%m-%d %H:%M:%S} UTC, and nothing attends the queue here: start "
            "mailops serve (or mailops worker), or run the job with mailops queue run."
        )


@app.command("what-if")
def what_if(
    ctx: typer.Context,
    cancel: list[str] = typer.Option([], "--cancel", help="A campaign that is cancelled; may be given several times."),
    minutes: int = typer.Option(None, "--every", help="Another interval of the queue job, in minutes."),
    server: list[str] = typer.Option(
        [], "--server", help="KEY: everything through it; OLD=NEW: what would leave through OLD."
    ),
    limit: list[str] = typer.Option(
        [],
        "--limit",
        help="KEY=COUNT/SPAN (minute, hour, day, seconds), as main=30/minute; with 'r' recipients: 500r/day.",
    ),
    pace: float = typer.Option(0.0, "--pace", min=0, help="Seconds that a mail takes a server."),
    json: bool = JSON,
) -> None:
    """When would each mail leave, what fails, when is the queue empty? By the queue's own rules on a clock of their
    own, as with mailops serve; nothing is changed. Without options: as it is."""
    from ..limits.values import own_of

    through = {old if sep else "": new if sep else old for old, sep, new in (one.partition("=") for one in server)}
    found = open_ops(ctx).what_if(
        cancel=cancel, minutes=minutes, servers=through, limits=[own_of(one) for one in limit], pace=pace
    )
    was = found.as_it_is
    if json:
        print_json({**found.summary(), "mails": found.mails, "as_it_is": was.summary() if was else None})
        return
    say(found.sentence)
    rows = [
        (one.at, one.what, one.mail_id or "", one.campaign or "", one.recipient, one.server, one.why)
        for one in found.mails[:MOST_SHOWN]
    ]
    table(["When (UTC)", "What", "Mail", "Campaign", "To", "Server", "Why"], rows)
    if len(found.mails) > MOST_SHOWN:
        say(f"{len(found.mails) - MOST_SHOWN:,} more: --json.")


@app.command("hold")
def hold(
    ctx: typer.Context,
    domain: str,
    hours: float = typer.Option(1.0, help="For how long."),
    why: str = typer.Option("", help="The reason, shown with each mail that waits."),
    json: bool = JSON,
) -> None:
    """Let mail to a recipient domain wait; nothing else waits behind it."""
    from datetime import timedelta

    held = open_ops(ctx).queue.hold(domain, timedelta(hours=hours), why=why, actor="cli")
    if json:
        print_json(held)
    else:
        say(f"Mail to {held.domain} is held until {held.until:%Y-%m-%d %H:%M} UTC.")


@app.command("unhold")
def unhold(ctx: typer.Context, domain: str, json: bool = JSON) -> None:
    """End a hold early: mail to the domain leaves when it is due."""
    open_ops(ctx).queue.end_hold(domain)
    if json:
        print_json({"domain": domain, "held": False})
    else:
        say(f"Mail to {domain} is held no longer.")


@app.command("holds")
def holds(ctx: typer.Context, json: bool = JSON) -> None:
    """The recipient domains to which mail is held now."""
    found = open_ops(ctx).queue.holds()
    if json:
        print_json(found)
    else:
        table(["Domain", "Until (UTC)", "Why", "By"], [(h.domain, h.until, h.why, h.actor) for h in found])


@app.command("vacuum")
def vacuum(
    ctx: typer.Context,
    days: float = typer.Option(None, help="Keep sent mails this long (default: settings)."),
    json: bool = JSON,
) -> None:
    """Auto-Vacuum: remove old sent mails, and end what is older than its kind is kept; failures and figures stay."""
    done = open_ops(ctx).vacuum(None if days is None else timedelta(days=days))
    if json:
        print_json(done)
        return
    say(f"{counted(done.removed, 'old sent mail')} removed.")
    for kind in KINDS:
        if number := done.retention.get(kind.name):
            say(f"{counted(number, 'row')} ended: {kind.what}.")


@app.command("rates")
def rates(
    ctx: typer.Context,
    by: str = typer.Option(
        "domain",
        help="Group by domain, provider (by MX), server, sender, class, campaign, reason, day, week or all.",
    ),
    since: str = typer.Option("30d", help="From when on: 30d, 12w or a date."),
    json: bool = JSON,
) -> None:
    """Bounce rates with their 95 % intervals."""
    frame = open_ops(ctx).analysis.bounce_rate(by, since)
    if json:
        print_json(frame)
    else:
        frame_table(frame)
