"""``mailops domain``: check, fix, export, explain, watch, history, compare."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from ..dns.names import spoken
from ..errors import ConfigError, InputRefused
from .app import open_ops
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..dns.domain_model import DomainReport, SendingSetup
    from ..domains import Domains
    from ..model.setup import Setup

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="DNS of a mail domain: SPF, DKIM, DMARC and the rest."
)
JSON = typer.Option(False, "--json", help="Print JSON.")
DOMAIN = typer.Argument(..., help="The domain after the @ sign.")
SERVICE = typer.Option(
    None,
    help="Who sends: odoo, mailjet, … (several with commas or repeated), or own (default: the workspace's).",
)
HOSTING = typer.Option(None, help="online, sh or on_premise (default: the workspace's).")
BOUNCE = typer.Option(None, "--bounce-domain", help="The bounce address's domain (default: the workspace's).")
DATABASE = typer.Option(None, help="The database's name, part of some DKIM targets (default: the workspace's).")
SELECTOR = typer.Option(None, "--selector", help="A DKIM selector more; repeat it.")
SPF_TERM = typer.Option(None, "--spf-term", help="What SPF must permit more, such as ip4:192.0.2.25; repeat it.")
SENDING = typer.Option(None, "--ip", help="An address your own server sends from; repeat it.")
REPORT_TO = typer.Option("", "--report-to", help="Who gets DMARC reports.")
RESOLVER = typer.Option(None, "--resolver", help="Ask this name server (ip or ip:port); repeat it.")
TIMEOUT = typer.Option(None, "--timeout", help="Seconds a question may take.")
LOSSES = typer.Option(False, "--accept-losses", help="You agree to what a change loses; without it that is held back.")
PANEL = typer.Option(
    "", "--panel", help="short: your DNS panel appends the domain; full: it does not (default: by the DNS host)."
)
GROUND = typer.Option(False, "--all", help="Also MX, MTA-STS, TLS-RPT, BIMI, DANE, reverse names.")


def domains_of(ctx: typer.Context, resolvers: list[str] | None, timeout: float | None, panel: str = "") -> Domains:
    """The workspace's checks; outside a workspace the same, with nothing kept."""
    try:
        found: Domains = open_ops(ctx).domains
    except ConfigError as error:
        if error.code != "workspace.not_found" or "missing" in error.facts:
            raise
        from ..clock import SystemClock
        from ..domains import Domains

        found = Domains(SystemClock())
    return found.asking(resolvers or (), timeout, panel)


def _services(named: list[str] | None) -> str | None:
    """The services of one or several ``--service``, as one option of a set-up; None where none is given."""
    return ",".join(named) if named else None


def _setup(
    ctx: typer.Context,
    domains: Domains,
    name: str,
    *,
    service: str | None = None,
    hosting: str | None = None,
    bounce: str | None = None,
    database: str | None = None,
    selectors: list[str] | None = None,
    spf_terms: list[str] | None = None,
    addresses: list[str] | None = None,
    report_to: str = "",
) -> SendingSetup:
    return _asked(
        ctx,
        domains,
        name,
        service=service,
        hosting=hosting,
        bounce_domain=bounce,
        database=database,
        selectors=tuple(selectors or ()),
        spf_terms=tuple(spf_terms or ()),
        sample_ips=tuple(addresses or ()),
        report_to=report_to,
    )


def _asked(ctx: typer.Context, domains: Domains, name: str, **options: Any) -> SendingSetup:
    """What is asked of a domain: as the workspace sends; outside one as the hosted server does. Options override."""
    if options.get("service") == "own":
        options["service"] = ""
    known = _workspace_setup(ctx)
    if known is not None:
        made = domains.of(known, name, **options)
    else:
        made = domains.setup(name, **{key: value for key, value in options.items() if value is not None})
    if made.name != name.strip().lower().removesuffix("."):
        typer.echo(f"Read as {spoken(made.name)}.", err=True)
    return made


def _workspace_setup(ctx: typer.Context) -> Setup | None:
    try:
        found: Setup = open_ops(ctx).setup
    except ConfigError as error:
        if error.code != "workspace.not_found" or "missing" in error.facts:
            raise
        return None
    return found


def _print_report(report: DomainReport, *, evidence: bool) -> None:
    from ..dns.records import names_to_type
    from ..domains import proof_line
    from ..domains.values import nothing_published

    name, sends = spoken(report.setup.name), report.setup.service_key or "an own server"
    stands = "not there" if report.absent else "in order" if report.green else "not in order"
    say(f"{name}: {stands}; asked {report.asked_of}" + ("" if report.absent else f"; {sends} sends"))
    if nothing_published(report):
        say(f"✗ Neither SPF nor DKIM of {name} is published for {sends}: its mail will not arrive reliably.")
    for result in report.results:
        verdict = result.verdict
        say(f"{verdict.state.icon} {verdict.title}  [{verdict.state}, {verdict.code}]")
        for label, value in (("found", verdict.found), ("expected", verdict.expected)):
            if value and not (verdict.passed and label == "expected"):
                say(f"    {label}: {value}")
        if verdict.fix and verdict.state != "passed":
            say(f"    next: {verdict.fix}")
        for record in result.change.publish if result.change and result.proved else ():
            say(f"    {record.type} at {names_to_type(record, report.zone_of(record.name), report.appends_domain)}")
        if line := proof_line(result):
            say(f"    {line}")
        if evidence:
            from .output import as_json

            say(as_json(verdict.evidence))
    for note in report.notes:
        say(note)


@app.command("check")
def check(
    ctx: typer.Context,
    names: list[str] = typer.Argument(None, metavar="[DOMAIN…]", help="One domain or many."),
    all_domains: bool = typer.Option(False, "--all-domains", help="Every mail domain of the workspace, as one table."),
    volume: int = typer.Option(
        None, "--volume", help="Messages a day to one receiver: also the bulk senders' rules.", min=0
    ),
    service: list[str] | None = SERVICE,
    hosting: str = HOSTING,
    bounce: str = BOUNCE,
    database: str = DATABASE,
    selectors: list[str] = SELECTOR,
    spf_terms: list[str] = SPF_TERM,
    addresses: list[str] = SENDING,
    report_to: str = REPORT_TO,
    ground: bool = GROUND,
    evidence: bool = typer.Option(False, "--evidence", help="Also every question and answer."),
    panel: str = PANEL,
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """What DNS says of a domain, what is wrong, what to publish; 1 = something failed or is unknown."""
    from ..domains.values import state_of
    from ..model.verdict import VerdictState

    domains = domains_of(ctx, resolvers, timeout, panel)
    options: dict[str, Any] = {
        "service": _services(service),
        "hosting": hosting,
        "bounce_domain": bounce,
        "database": database,
        "selectors": tuple(selectors or ()),
        "spf_terms": tuple(spf_terms or ()),
        "sample_ips": tuple(addresses or ()),
        "report_to": report_to,
        "volume": volume,
    }
    if all_domains:
        options["service"] = "" if service == ["own"] else _services(service)
        setups = list(domains.all_of(open_ops(ctx).setup, **options))
    elif not names:
        raise InputRefused(
            "No domain was named.",
            code="input.domain",
            fix="Name one or many, or give --all-domains for every mail domain of the workspace.",
        )
    else:
        setups = [_asked(ctx, domains, name, **options) for name in dict.fromkeys(names)]
    reports = domains.check_all(setups, ground=ground)
    if json:
        shown = [{**report.as_dict(), "state": str(state_of(report))} for report in reports]
        print_json(shown[0] if len(shown) == 1 and not all_domains else shown)
    elif all_domains:
        from ..domains.values import OVERVIEW, overview

        table(list(OVERVIEW), overview(reports))
    else:
        for number, report in enumerate(reports):
            if number:
                say("")
            _print_report(report, evidence=evidence)
    if any(state_of(report) in (VerdictState.FAILED, VerdictState.UNKNOWN) for report in reports):
        raise typer.Exit(1)


@app.command("fix")
def fix(
    ctx: typer.Context,
    name: str = DOMAIN,
    service: list[str] | None = SERVICE,
    hosting: str = HOSTING,
    bounce: str = BOUNCE,
    database: str = DATABASE,
    selectors: list[str] = SELECTOR,
    spf_terms: list[str] = SPF_TERM,
    addresses: list[str] = SENDING,
    report_to: str = REPORT_TO,
    losses: bool = LOSSES,
    ground: bool = GROUND,
    panel: str = PANEL,
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """The records to publish and to take away, each proved; 1 = a failure has no record, or a loss is not confirmed."""
    from ..dns.records import panel_forms
    from ..domains import proof_line
    from ..domains.values import TO_CONFIRM
    from ..model.verdict import VerdictState

    domains = domains_of(ctx, resolvers, timeout, panel)
    made = _setup(
        ctx,
        domains,
        name,
        service=_services(service),
        hosting=hosting,
        bounce=bounce,
        database=database,
        selectors=selectors,
        spf_terms=spf_terms,
        addresses=addresses,
        report_to=report_to,
    )
    report = domains.check(made, ground=ground)
    proposals = [result for result in report.results if result.change is not None and result.proved]
    open_ends = [r for r in report.results if r.state in (VerdictState.FAILED, VerdictState.UNKNOWN) and not r.proved]
    agreed = report.confirmed(losses)
    if json:
        print_json(
            {
                "domain": made.name,
                "confirmed": losses,
                "changes": [row for row in report.as_dict()["results"] if row["publish"] or row["remove"]],
                "without_record": [{"code": r.code, "title": r.verdict.title, "fix": r.verdict.fix} for r in open_ends],
            }
        )
    else:
        for result in proposals:
            assert result.change is not None
            say(f"{result.verdict.title}")
            if result.change not in agreed:
                say("".join(f"  gone afterwards: {one}\n" for one in result.change.loses) + f"  {TO_CONFIRM}")
                continue
            for gone in result.change.remove:
                say(f"  take away  {gone.name} {gone.type} {gone.rdata}")
            for record in result.change.publish:
                for label, value in panel_forms(record, report.zone_of(record.name), report.appends_domain):
                    say(f"  {label}: {value}")
            say(f"  {proof_line(result)}")
        for result in open_ends:
            say(f"{result.verdict.title}\n  {proof_line(result) or result.verdict.fix}")
        if not proposals and not open_ends:
            say(f"{made.name}: nothing to publish.")
    if open_ends or len(agreed) < len(proposals):
        raise typer.Exit(1)


@app.command("export")
def export(
    ctx: typer.Context,
    name: str = DOMAIN,
    form: str = typer.Option("zone", "--format", help="panel, zone, octodns, terraform, cloudflare or route53."),
    service: list[str] | None = SERVICE,
    hosting: str = HOSTING,
    bounce: str = BOUNCE,
    database: str = DATABASE,
    selectors: list[str] = SELECTOR,
    spf_terms: list[str] = SPF_TERM,
    addresses: list[str] = SENDING,
    report_to: str = REPORT_TO,
    losses: bool = LOSSES,
    ground: bool = GROUND,
    panel: str = PANEL,
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """The proved records as a file for your DNS tooling; 1 = something is held back until its loss is confirmed."""
    from ..dns.export import exported, known_format

    known_format(form)
    domains = domains_of(ctx, resolvers, timeout, panel)
    made = _setup(
        ctx,
        domains,
        name,
        service=_services(service),
        hosting=hosting,
        bounce=bounce,
        database=database,
        selectors=selectors,
        spf_terms=spf_terms,
        addresses=addresses,
        report_to=report_to,
    )
    report = domains.check(made, ground=ground)
    zones = exported(report, form, losses=losses)
    held = [change for change in report.changes if change not in report.confirmed(losses)]
    if json:
        print_json({"domain": made.name, "format": form, "text": "\n".join(zones.values()), "zones": zones,
                    "held_back": [{"why": one.why, "loses": one.loses} for one in held]})  # fmt: skip
    else:
        mark = ";" if form == "zone" else "#"
        for zone, text in zones.items():
            say(f"{mark} zone {zone}\n{text.rstrip()}" if len(zones) > 1 else text.rstrip("\n"))
    if held:
        raise typer.Exit(1)


@app.command("explain")
def explain(
    ctx: typer.Context,
    sender: str = typer.Option(..., "--from", help="The visible From address."),
    ip: str = typer.Option(..., "--ip", help="The address the mail leaves from."),
    bounce: str = typer.Option(
        "", "--bounce", help="The envelope sender (default: the one this workspace would use, else the From address)."
    ),
    helo: str = typer.Option("", "--helo", help="The name the server greets with."),
    signed_by: list[str] = typer.Option(None, "--signed-by", help="A d= domain whose signature verifies; repeat it."),
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """What receivers make of one send: SPF, alignment, DMARC, and what other policies would do. 1 = DMARC fails."""
    domains = domains_of(ctx, resolvers, timeout)
    from ..domains.sending import envelope_for

    known = _workspace_setup(ctx)
    bounce = bounce or (envelope_for(known, sender) if known and known.saved else "")
    seen = domains.explain(sender=sender, bounce=bounce or sender, ip=ip, helo=helo, signed_by=signed_by or ())
    if json:
        print_json(seen.as_dict())
    else:
        say(f"SPF of {seen.spf.domain}: {seen.spf.result}")
        say(f"DMARC: {seen.impact.outcome} ({seen.impact.reason})")
        for policy, impact in seen.what_if.items():
            say(f"  with p={policy}: {impact.outcome}")
        for line in seen.disagreements:
            say(f"Receivers disagree: {line}")
    if str(seen.dmarc.result) != "pass":
        raise typer.Exit(1)


@app.command("watch")
def watch(
    ctx: typer.Context,
    name: str = DOMAIN,
    minutes: float = typer.Option(60.0, help="Give up after this many minutes.", min=0),
    service: list[str] | None = SERVICE,
    hosting: str = HOSTING,
    bounce: str = BOUNCE,
    database: str = DATABASE,
    selectors: list[str] = SELECTOR,
    spf_terms: list[str] = SPF_TERM,
    addresses: list[str] = SENDING,
    report_to: str = REPORT_TO,
    ground: bool = GROUND,
    resolvers: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """Ask the zone's own name servers until the proposed records are out everywhere; ends with 1 when they are not."""
    domains = domains_of(ctx, resolvers, timeout)
    made = _setup(
        ctx,
        domains,
        name,
        service=_services(service),
        hosting=hosting,
        bounce=bounce,
        database=database,
        selectors=selectors,
        spf_terms=spf_terms,
        addresses=addresses,
        report_to=report_to,
    )
    last = None
    for last in domains.watch(made, limit=minutes * 60, ground=ground):
        if not json:
            wait = f"; next look in {last.pause:.0f} s" if last.pause else ""
            say(f"{last.line}{wait}")
            for record, where in () if last.done else last.seen:
                say(f"    {record}: {where}")
    assert last is not None  # a watch always looks once
    if json:
        print_json({"domain": made.name, "cleared": last.cleared, "looks": last.looks, "line": last.line})
    if not last.cleared:
        raise typer.Exit(1)


@app.command("senders")
def verify_senders(
    ctx: typer.Context,
    name: str = DOMAIN,
    begin: bool = typer.Option(False, "--begin", help="Let the three technical addresses make leads for now."),
    restore: bool = typer.Option(False, "--restore", help="Put everything back."),
    json: bool = JSON,
) -> None:
    """Receive the activation mails of a provider that verifies sender addresses by a link, and show the links. Outgoing
    mail, answers and reports go on as before."""
    helper = open_ops(ctx).verification(name)
    if begin and restore:
        raise InputRefused("Begin or restore: not both.", code="cli.argument", fix="Leave one out.")
    if begin or restore:
        waiting = helper.begin() if begin else helper.restore()
        addresses = [f"{part}@{waiting.domain}" for part in waiting.local_parts]
        words = "make leads now; ask the provider to send its mails" if begin else "are technical addresses again"
        if json:
            print_json({"domain": waiting.domain, "addresses": addresses, "pending": begin})
        else:
            say(f"{', '.join(addresses)} {words}.")
        return
    found = helper.arrived()
    if json:
        print_json(found)
        return
    for one in found:
        say(f"{one.subject} (from {one.sender})")
        for link in one.links:
            say(f"    {link}")
    if not found:
        say("Nothing has arrived yet.")


@app.command("history")
def history(
    ctx: typer.Context, name: str = DOMAIN, limit: int = typer.Option(25, help="How many."), json: bool = JSON
) -> None:
    """The kept checks of a domain, newest first."""
    kept = open_ops(ctx).domains.history(name, limit=limit)
    if json:
        print_json([{"at": one.at, "state": one.state, "report": one.report} for one in kept])
    else:
        rows = [(one.at.isoformat(" ", "seconds"), one.state, _wrong(one.report)) for one in kept]
        table(["At (UTC)", "State", "Findings"], rows)


def _wrong(report: dict[str, Any]) -> str:
    bad = [row["code"] for row in report.get("results", ()) if row["state"] not in ("passed", "skipped")]
    return ", ".join(dict.fromkeys(bad))


@app.command("compare")
def compare(
    ctx: typer.Context,
    name: str = DOMAIN,
    older: str = typer.Option(None, "--from", help="The last check up to this date or time (default: the one before)."),
    newer: str = typer.Option(None, "--to", help="The last check up to this date or time (default: the last)."),
    json: bool = JSON,
) -> None:
    """What changed between two kept checks; ends with 1 when there are new findings."""
    domains = open_ops(ctx).domains
    first, last, changed = domains.compare(name, older=_moment(older), newer=_moment(newer))
    if json:
        print_json({"domain": last.domain, "older": first.at, "newer": last.at, "differences": changed})
    else:
        say(f"{last.domain}: {first.at:%Y-%m-%d %H:%M} UTC against {last.at:%Y-%m-%d %H:%M} UTC")
        table(["What", "Check", "Subject", "Before", "After"], [_cells(one) for one in changed])
        if not changed:
            say("Nothing changed.")
    if any(one.kind == "new" for one in changed):
        raise typer.Exit(1)


def _cells(one: Any) -> tuple[str, ...]:
    """A difference as cells."""
    return one.kind, one.check, one.subject, one.before, one.after


def _moment(text: str | None) -> datetime | None:
    """A date (its end) or a time; without zone it is UTC."""
    if not text:
        return None
    from datetime import UTC, timedelta

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputRefused(
            f"{text[:40]!r} is no date.",
            code="input.date",
            facts={"given": text[:40]},
            fix="Write 2026-01-31 or 2026-01-31T14:00.",
        ) from error
    if len(text) == 10:
        moment += timedelta(days=1, microseconds=-1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
