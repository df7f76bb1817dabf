"""``mailops connect``: the guides on a terminal, signing in by device code or pasted address, and what is connected."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import typer

from ..errors import AuthError, ConfigError
from .app import open_ops
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..guides.service import Guided
    from ..oauth.account import Account

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Connect mailboxes of Microsoft, Google, Mailjet.")
JSON = typer.Option(False, "--json", help="Print JSON.")
CLIENT = typer.Option("", help="Client ID of the application in the console.")
SECRET = typer.Option("", help="A reference to the client secret: env:NAME, file:PATH, keyring:…, vault:NAME.")
REDIRECT = typer.Option("", help="The registered redirect address (default: built from the web base URL).")


@app.command("guide")
def walk(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="azure, google or mailjet (or outlook, gmail)."),
    subject: str = typer.Option("", "--for", help="The mailbox or domain (default: the one last worked on)."),
    show: bool = typer.Option(False, "--print", help="Print all steps, ask nothing."),
    reopen: str = typer.Option("", help="The id of a step to open again; its answers stay."),
    json: bool = JSON,
) -> None:
    """Walk a guide on the terminal; stop any time with Ctrl-C and go on later where you were."""
    from ..guides.service import Guided

    guided = Guided.open(open_ops(ctx), name, subject)
    if reopen:
        guided.reopen(reopen)
    if json:
        print_json(_as_data(guided))
    elif show or not sys.stdin.isatty():
        say("\n".join(_lines(guided)))
    else:
        _walk(guided)


def _as_data(guided: Guided) -> dict[str, Any]:
    progress = guided.progress()
    steps = [
        {
            "id": v.step.id,
            "title": v.title,
            "state": v.state,
            "do": v.do,
            "today": v.today,
            "copy": {c.label: c.value for c in v.copies},
            "inputs": {i.input.name: i.value for i in v.inputs},
            "note": v.note,
        }
        for v in guided.run.view()
    ]
    return {
        "guide": guided.run.guide.id,
        "subject": guided.run.store.subject,
        "progress": progress,
        "opening": guided.run.opening(),
        "steps": steps,
    }


def _lines(guided: Guided) -> list[str]:
    """The whole guide as text."""
    lines = [guided.run.guide.title, guided.progress().sentence(), "", *guided.run.opening()]
    part = 0
    open_choice = "who" not in guided.run.answers()
    for number, view in enumerate((v for v in guided.run.view() if _shown(v, open_choice)), start=1):
        if view.step.part != part:
            part = view.step.part
            lines += ["", guided.run.guide.parts[part - 1].upper()]
        lines += ["", *_step_lines(number, view)]
    return lines


def _shown(view: Any, open_choice: bool) -> bool:
    """Skipped steps are left out; but not those of the other way to sign in while that is not chosen."""
    return view.state.value != "skipped" or (open_choice and any(name == "flow" for name, _ in view.step.when))


def _step_lines(number: int, view: Any) -> list[str]:
    lines = [f"{view.state.icon} {number}. {view.title} [{view.state.value}]"]
    lines += [f"   {view.why}"] if view.why else []
    lines += [f"   {n}) {line}" for n, line in enumerate(view.do, start=1)]
    lines += [f"      today ({one.seen}): {one.written} ⇒ {one.today}" for one in view.today]
    lines += [f"   {c.label}: {c.value}" for c in view.copies]
    lines += [f"   {note}" for note in view.notes]
    lines += [f"   {link.label}: {link.url}" for link in view.step.links]
    lines += [f"   → {view.note}"] if view.note else []
    return lines


def _walk(guided: Guided) -> None:
    from ..errors import MailopsError

    say("\n".join([guided.run.guide.title, *guided.run.opening()]))
    while (view := guided.run.current()) is not None:
        progress = guided.progress()
        say("\n" + progress.sentence())
        say("\n".join(_step_lines(progress.number, view)))
        try:
            if view.step.check == "connect":
                _sign_in_guided(guided)
            else:
                guided.submit(view.step.id, _ask(guided, view), version=view.version)
        except MailopsError as error:
            say(f"Not yet: {error.message}\nWhat to do: {error.fix}")
            for branch in guided.branches(f"{error.code} {error.message}"):
                if branch.step is not None:
                    say("\n".join([branch.title, *(f"  - {line}" for line in branch.do)]))
            typer.confirm("Try this step again?", default=True, abort=True)
            continue
        done = guided.run.step(view.step.id)
        if done.state.value == "failed":
            say(f"Not yet: {done.note}")
            typer.confirm("Try this step again?", default=True, abort=True)
    say(guided.progress().sentence())


def _ask(guided: Guided, view: Any) -> dict[str, str]:
    """Ask for a step's inputs; a step without any is confirmed."""
    given: dict[str, str] = {}
    if not view.inputs and not view.step.check:
        typer.confirm("Done?", default=True, abort=True)
    for shown in view.inputs:
        one = shown.input
        if one.kind in ("secret", "json"):
            kept = guided.secret_kept(one.name)
            text = typer.prompt(
                one.label + (" (empty: keep the saved one)" if kept else ""),
                hide_input=True,
                default="",
                show_default=False,
            )
            if text:
                given.update(guided.keep_secret(view.step.id, one.name, text))
            elif kept:
                given[one.name] = kept
        elif one.kind == "choice":
            for n, choice in enumerate(one.choices, start=1):
                say(f"   {n}  {choice.label}" + (f" – {choice.stops}" if choice.stops else ""))
            at = next((n for n, c in enumerate(one.choices, start=1) if c.value == shown.value), 1)
            number = typer.prompt(one.label, default=at, type=int)
            given[one.name] = one.choices[min(max(number, 1), len(one.choices)) - 1].value
        else:
            given[one.name] = typer.prompt(one.label, default=shown.value, show_default=bool(shown.value))
    return given


def _sign_in_guided(guided: Guided) -> None:
    opened = guided.begin()
    if opened.done:
        say("   " + guided.run.step(guided.connect_step().id).note)
        return
    say(f"   Open: {opened.address}" + (f" and enter the code {opened.code}" if opened.code else ""))
    for finding in guided.finish_device() if opened.code else guided.came_back(_pasted()):
        say(f"   {finding.message} {finding.fix}")
        typer.confirm("Keep it all the same?", default=False, abort=True)
        guided.keep()
        break
    say("   " + guided.run.step(guided.connect_step().id).note)


def _pasted() -> str:
    """The redirected address: asked for on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Paste the whole address of the page the browser ended on"))
    return sys.stdin.readline().strip()


SEND_ONLY = typer.Option(None, "--send-only/--send-and-receive", help="Ask for sending only (default: both).")
LOOPBACK = typer.Option(
    False, "--loopback", help="Browser and mailops share this machine: a listener takes the answer."
)
PASTE = typer.Option(
    False, "--paste", help="A desktop client's sign-in; paste the address of the page that fails to open."
)
ACCEPT = typer.Option(False, "--accept-other", help="Keep the sign-in although it is another name than the mailbox's.")


@app.command("microsoft")
def microsoft(
    ctx: typer.Context,
    mailbox: str = typer.Argument(..., help="The mailbox to connect: whose token it is (a member, for a shared one)."),
    client_id: str = CLIENT,
    client_secret: str = SECRET,
    tenant: str = typer.Option("", help="common, organizations, consumers or the tenant id (default: as before)."),
    redirect: str = REDIRECT,
    device: bool = typer.Option(False, "--device", help="Sign in with a code typed in any browser (public client)."),
    loopback: bool = LOOPBACK,
    paste: bool = PASTE,
    app_secret: bool = typer.Option(False, "--app-secret", help="Nobody signs in: the application, by its secret."),
    app_certificate: str = typer.Option("", help="Nobody signs in: the application, by this PEM certificate (path)."),
    key: str = typer.Option("", help="A reference to the certificate's PEM private key."),
    passphrase: str = typer.Option("", help="A reference to the private key's passphrase."),
    shared: str = typer.Option("", help="A shared mailbox that the signed-in person has rights on."),
    secret_ends: str = typer.Option("", help="The day the client secret ends, such as 2028-11-30."),
    authority: str = typer.Option("", help="Another cloud: https://login.microsoftonline.us/TENANT and the like."),
    send_only: bool = SEND_ONLY,
    accept_other: bool = ACCEPT,
    json: bool = JSON,
) -> None:
    """Connect a Microsoft mailbox: device code, a link, or the application itself. Options left out stay as before."""
    flow = {"device": device, "loopback": loopback, "paste_back": paste, "app_secret": app_secret}
    given = {
        "client_id": client_id,
        "client_secret": client_secret,
        "tenant": tenant,
        "mailbox": shared,
        "certificate": key,
        "certificate_public": app_certificate,
        "passphrase": passphrase,
        "secret_ends": _day(secret_ends),
        "authority": authority,
        "receive": None if send_only is None else not send_only,
    }
    flow["app_certificate"] = bool(app_certificate)
    _connect(ctx, "outlook", mailbox, _flow(flow), redirect, given, accept=accept_other, json=json)


@app.command("google")
def google(
    ctx: typer.Context,
    mailbox: str = typer.Argument(..., help="The mailbox to connect."),
    client_id: str = CLIENT,
    client_secret: str = SECRET,
    redirect: str = REDIRECT,
    loopback: bool = LOOPBACK,
    paste: bool = PASTE,
    service_account: str = typer.Option("", help="Nobody signs in: a reference to the service account's JSON key."),
    testing: bool = typer.Option(None, "--testing/--published", help="The app is External and in Testing, or not."),
    send_only: bool = SEND_ONLY,
    accept_other: bool = ACCEPT,
    json: bool = JSON,
) -> None:
    """Connect a Google mailbox: a link, or a service account that acts for it. Options left out stay as before."""
    flow = _flow({"loopback": loopback, "paste_back": paste, "service_account": bool(service_account)})
    given = {
        "client_id": client_id,
        "client_secret": client_secret,
        "service_account": service_account,
        "testing": testing,
        "receive": None if send_only is None else not send_only,
    }
    _connect(ctx, "gmail", mailbox, flow, redirect, given, accept=accept_other, json=json)


def _flow(chosen: dict[str, bool]) -> str:
    """The one flow that was asked for, or nothing. Raises :class:`ConfigError` for two."""
    asked = [name for name, wanted in chosen.items() if wanted]
    if len(asked) > 1:
        raise ConfigError(
            "Choose one way of signing in.",
            code="auth.flow",
            facts={"asked": asked},
            fix="Leave all but one option out.",
        )
    return asked[0] if asked else ""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no date.", code="auth.date", facts={"secret_ends": text}, fix="Write it as 2028-11-30."
        ) from error


@app.command("consent")
def consent(
    tenant: str = typer.Argument(..., help="The tenant's id or domain."),
    client_id: str = typer.Option(..., help="Client ID of the application."),
    redirect: str = typer.Option("", help="A registered redirect address to come back to."),
    json: bool = JSON,
) -> None:
    """The link by which an administrator of a Microsoft tenant consents to the application for everybody."""
    from ..oauth.redirects import admin_consent_link

    link = admin_consent_link(tenant, client_id, redirect)
    if json:
        print_json({"link": link})
    else:
        say(link)
        say("To act: a Cloud Application Administrator or Global Administrator of the tenant opens it and accepts.")


def _connect(
    ctx: typer.Context,
    provider_id: str,
    user: str,
    flow: str,
    redirect: str,
    given: dict[str, Any],
    *,
    accept: bool,
    json: bool,
) -> None:
    """Sign one mailbox in. With ``json`` what to open goes to standard error, the outcome to standard output."""
    from ..oauth.account import FlowKind, account_for

    ops = open_ops(ctx)
    account = account_for(ops.tokens.accounts, provider_id, user, FlowKind(flow) if flow else None, given)
    redeemed = _signed_in(ops, account, redirect, json)
    for finding in redeemed.warnings:
        _tell(f"Warning: {finding.message} {finding.fix}", json)
    other = next((f for f in redeemed.warnings if f.code == "auth.other_account"), None)
    if redeemed.warnings and sys.stdin.isatty() and not accept:
        typer.confirm("Keep it all the same?", default=False, abort=True)
    elif other is not None and not accept:
        raise AuthError(
            f"{other.message} Nothing was stored.",
            code="auth.other_account",
            facts=other.facts,
            fix=f"{other.fix} Where both are one mailbox, give --accept-other once.",
        )
    tag = ops.sign_in.store(redeemed)
    if json:
        print_json({"key": account.key, "flow": account.flow, "state": tag, "warnings": redeemed.warnings})
    else:
        say(tag)


def _signed_in(ops: Any, account: Account, redirect: str, json: bool) -> Any:
    """Carry the account's flow out, to the point where the sign-in can be kept."""
    from ..oauth.account import FlowKind
    from ..oauth.redirects import redirect_uri

    sign_in = ops.sign_in
    if account.flow.app_only:
        return sign_in.app_only(account)
    if account.flow is FlowKind.DEVICE:
        asked = sign_in.begin_device(account)
        _tell(f"Open {asked['verification_uri']} and enter the code {asked['user_code']}", json)
        return sign_in.finish_device(account, asked)
    if account.flow is FlowKind.LOOPBACK:
        return sign_in.by_loopback(account, lambda address: _tell(f"Open {address}", json))
    if account.flow is FlowKind.PASTE_BACK:
        uri = redirect or "http://localhost"
    else:
        base = dict(ops.setup.parameters).get("web.base.url") or ops.workspace.settings.as_profile().web_base_url
        uri = redirect or redirect_uri(account.provider, str(base or ""))
    _tell(f"Open {sign_in.begin(account, uri).address}", json)
    return sign_in.redeem(_pasted())


def _tell(text: str, json: bool) -> None:
    """An instruction for the person: beside the JSON, not in it."""
    if json:
        sys.stderr.write(text + "\n")
    else:
        say(text)


@app.command("status")
def status(ctx: typer.Context, json: bool = JSON) -> None:
    """What is connected, how each sign-in stands, and the guides under way. No network."""
    from ..guides import GUIDES
    from ..guides.service import Guided, subjects_of

    ops = open_ops(ctx)
    now = ops.clock.now()
    accounts = []
    for connected in ops.tokens.accounts:
        grant = connected.grant
        state = "not signed in"
        if grant is not None:
            state = str(grant.dead.get("message")) if grant.dead else connected.account.about.token_tag
        accounts.append(
            {
                "key": connected.account.key,
                "provider": connected.account.provider,
                "flow": connected.account.flow.value,
                "state": state,
                "ok": grant is not None and not grant.dead,
                "mailbox": connected.account.sasl_user,
                "user": connected.account.user,
                "renewed_at": grant.renewed_at if grant else None,
                "fresh": bool(grant and grant.expires_at > now),
            }
        )
    guides = [
        {"guide": name, "subject": subject, "progress": Guided.open(ops, name, subject).progress().sentence()}
        for name in GUIDES
        for subject in subjects_of(ops, name)
    ]
    if json:
        print_json({"accounts": accounts, "guides": guides})
    else:
        columns = ("key", "provider", "flow", "state", "renewed_at")
        table([c.capitalize() for c in columns], [[a[c] for c in columns] for a in accounts])
        for g in guides:
            say(f"{g['guide']} for {g['subject']}: {g['progress']}")
    raise typer.Exit(0 if all(a["ok"] for a in accounts) else 1)


def examine_connection(ctx: typer.Context, key: str, *, test_mail: bool, json: bool) -> int:
    """The connection doctor's ladder for one server; the exit status. The body of ``mailops doctor connection``."""
    from ..model.verdict import VerdictState
    from ..oauth.doctor import Doctor
    from ..providers.refusals import WHO
    from ..routing.mailbox import envelope_of
    from ..store.setup import not_found

    ops = open_ops(ctx)
    servers = ops.setup.servers
    server = next((s for s in servers if s.key == key), None)
    if server is None:
        raise not_found("outgoing server", key, [s.key for s in servers])
    sender = envelope_of(server, ops.setup) or None
    verdicts = Doctor(ops.tokens, clock=ops.clock).examine(server, sender=sender, test_mail=test_mail)
    if json:
        print_json(verdicts)
    else:
        rows = [(f"{v.state.icon} {v.state.value}", v.title, v.found) for v in verdicts]
        table(["State", "Rung", "Found"], rows)
        broken = next((v for v in verdicts if v.state in (VerdictState.FAILED, VerdictState.UNKNOWN)), None)
        for warned in (v for v in verdicts if v.state is VerdictState.WARNING and v.fix):
            say(f"Mind, {warned.title.lower()}: {warned.fix}")
        if broken is not None:
            say(f"What to do: {broken.fix}")
            if broken.evidence.get("who"):
                say(f"To act: {WHO.get(broken.evidence['who'], broken.evidence['who'])}")
    return 1 if any(v.state in (VerdictState.FAILED, VerdictState.UNKNOWN) for v in verdicts) else 0
