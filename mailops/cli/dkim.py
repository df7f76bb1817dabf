"""``mailops dkim``: keys that mail is signed with, their records, and what a signature is worth."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from ..errors import InputRefused
from .app import open_ops
from .domain import RESOLVER, TIMEOUT, domains_of
from .output import print_json, print_public, say, table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Sign what leaves: keys, records, the check of a message.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """The keys: which one signs, which waits, which is still published."""
    keys = open_ops(ctx).signing.all()
    if json:
        print_json([{"domain": k.domain, "selector": k.selector, "state": k.state, "name": k.name} for k in keys])
    else:
        table(["Domain", "Selector", "State", "Since"], [(k.domain, k.selector, k.state, k.changed_at) for k in keys])


@app.command("add")
def add(
    ctx: typer.Context,
    domain: str,
    selector: str,
    key: str = typer.Option(None, "--key", help="A reference to a private key in PEM (default: a new one)."),
    unseen: bool = typer.Option(False, "--unseen", help="Sign with it at once, before its record is seen."),
    json: bool = JSON,
) -> None:
    """A key for a domain. It waits until its record is published and it is activated; --unseen signs at once."""
    made = open_ops(ctx).signing.add(domain, selector, key, unseen=unseen)
    then = "" if made.state == "active" else f"mailops dkim activate {made.domain} {made.selector}"
    if json:
        print_public({"name": made.name, "value": made.record, "state": made.state, "then": then})
    else:
        say(f"State: {made.state}. Publish this TXT record:\n  {made.name}")
        sys.stdout.write(f"  {made.record}\n")
        say(f"Nothing is signed with it yet. Once it is published: {then}" if then
            else "Mail is signed with it from now on: until it is published its signatures fail.")  # fmt: skip


@app.command("record")
def record(
    ctx: typer.Context,
    domain: str,
    selector: str,
    resolver: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """The record to publish, proved ahead, or that receivers find it; exit 1 while they do not."""
    seen = open_ops(ctx).signing_over(resolver, timeout).look(domain, selector)
    if json:
        print_public(seen.as_dict())
    else:
        say(f"{seen.name} TXT")
        sys.stdout.write(f"  {seen.value}\n")
        proved = "It would be found once it is published." if seen.proved else "It would not be found as things stand."
        say("Receivers find it." if seen.published else f"Not published: {seen.trouble}.\n{proved}")
    raise typer.Exit(0 if seen.published else 1)


@app.command("activate")
def activate(
    ctx: typer.Context,
    domain: str,
    selector: str,
    force: bool = typer.Option(False, "--force", help="Also where the record is not seen yet."),
    resolver: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """Sign with this key from now on; the one before stays published for the mail that is under way."""
    key = open_ops(ctx).signing_over(resolver, timeout).activate(domain, selector, force=force)
    if json:
        print_json({"domain": key.domain, "selector": key.selector, "state": key.state})
    else:
        say(f"Mail of {key.domain} is signed with {key.selector}.")


@app.command("remove")
def remove(ctx: typer.Context, domain: str, selector: str, json: bool = JSON) -> None:
    """Forget a key; take its record out of the DNS some days later."""
    key = open_ops(ctx).signing.remove(domain, selector)
    if json:
        print_json({"removed": key.name})
    else:
        say(f"{key.name} is not signed with any more.")


@app.command("verify")
def verify(
    ctx: typer.Context,
    file: Path = typer.Argument(..., help="The message as it arrived (.eml); '-' = standard input.", allow_dash=True),
    resolver: list[str] = RESOLVER,
    timeout: float = TIMEOUT,
    json: bool = JSON,
) -> None:
    """Check every DKIM signature of a message; exit 1 when none passes. Needs no workspace."""
    from ..dns.dkim_message import verify_message

    try:
        message = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InputRefused(
            f"{file.name} cannot be read: {error.strerror}.",
            code="input.file",
            facts={"file": file.name},
            fix="Give the message as a file, or on standard input with '-'.",
        ) from error
    if b"\r\n" not in message:
        message = message.replace(b"\n", b"\r\n")  # a file written on this machine; signatures are over CRLF
    found = domains_of(ctx, resolver, timeout).ask(lambda asker: verify_message(asker, message))
    if json:
        print_json([one.as_dict() for one in found])
    elif not found:
        say("The message has no DKIM signature.")
    else:
        table(
            ["Domain", "Selector", "Result", "Why"],
            [(one.domain, one.selector, one.result, one.reason) for one in found],
        )
    raise typer.Exit(0 if any(one.result == "pass" for one in found) else 1)
