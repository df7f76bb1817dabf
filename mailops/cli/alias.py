"""``mailops alias``: addresses that make records from mail, and who may write to them."""

from __future__ import annotations

import typer

from ..errors import InputRefused
from ..model.alias import Alias
from .app import open_ops
from .output import print_json, say, table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Addresses that make records from mail: list, add, change, remove.",
)
JSON = typer.Option(False, "--json", help="Print JSON.")
POLICY = typer.Option(None, help="Who may write: everyone, partners or followers.")
ANY_DOMAIN = typer.Option(None, "--any-domain/--whole-address", help="Its local part alone decides, at any domain.")
AUTOMATIC = typer.Option(None, "--automatic/--no-automatic", help="Whether automatic mail makes records too.")


@app.command("list")
def show(ctx: typer.Context, json: bool = JSON) -> None:
    """The aliases there are."""
    found = open_ops(ctx).aliases
    if json:
        print_json(found)
        return
    rows = [
        (a.address or a.local, a.model, a.policy, "any" if a.any_domain else "its own", _automatic(a)) for a in found
    ]
    table(["Alias", "Makes", "Takes mail from", "Domain", "Automatic mail"], rows)


@app.command("add")
def add(
    ctx: typer.Context,
    local: str = typer.Argument(..., help="The name before the @."),
    kind: str = typer.Argument(None, metavar="[MODEL]", help="The kind of record it makes, as with --model."),
    model: str = typer.Option(None, help="The kind of record it makes: lead, ticket, task, expense, or one of yours."),
    domain: str = typer.Option(None, help="Its alias domain (default: the first)."),
    policy: str = POLICY,
    any_domain: bool = ANY_DOMAIN,
    automatic: bool = AUTOMATIC,
    record: int = typer.Option(None, help="Post on this record instead of making one."),
    parent: int = typer.Option(None, help="The record whose followers may write, for the policy followers."),
    json: bool = JSON,
) -> None:
    """Add an alias; its name is made lower case, and what an address cannot hold becomes a hyphen."""
    given = {"policy": policy, "any_domain": any_domain, "automatic": automatic, "record": record, "parent": parent}
    chosen = _model(kind, model)
    settings = {name: value for name, value in given.items() if value is not None}
    _say(open_ops(ctx).save_alias(local, chosen, domain=domain, **settings), json)


def _model(kind: str | None, model: str | None) -> str:
    if kind and model and kind != model:
        raise InputRefused(
            f"Both {kind!r} and --model {model} are named.",
            code="cli.argument",
            facts={"given": [kind, model]},
            fix="Name one kind of record.",
        )
    if not (kind or model):
        raise InputRefused(
            "No kind of record is named.", code="cli.argument", fix="mailops alias add LOCAL --model lead"
        )
    return str(model or kind)


@app.command("change")
@app.command("set", hidden=True)
def change(
    ctx: typer.Context,
    address: str = typer.Argument(..., help="The alias."),
    policy: str = POLICY,
    any_domain: bool = ANY_DOMAIN,
    automatic: bool = AUTOMATIC,
    json: bool = JSON,
) -> None:
    """Change an alias: who may write, by which address, and whether automatic mail makes records."""
    _say(open_ops(ctx).change_alias(address, policy=policy, any_domain=any_domain, automatic=automatic), json)


@app.command("remove")
def remove(ctx: typer.Context, address: str = typer.Argument(..., help="The alias."), json: bool = JSON) -> None:
    """Remove an alias; the records it made stay."""
    gone = open_ops(ctx).remove_alias(address)
    if json:
        print_json({"removed": gone.address or gone.local})
    else:
        say(f"{gone.address or gone.local} is no alias any more.")


@app.command("models")
def models(ctx: typer.Context, json: bool = JSON) -> None:
    """The kinds of record that aliases can make."""
    found = open_ops(ctx).models
    if json:
        print_json(found)
    else:
        table(
            ["Model", "Label", "Counts bounces"],
            [(m.name, m.label, "yes" if m.bounce_counter else "no") for m in found],
        )


@app.command("model")
def model(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="Lower-case letters, digits, dots and underscores."),
    label: str = typer.Option("", help="What people read."),
    bounce_counter: bool = typer.Option(False, "--bounce-counter", help="Count bounces of its address on it."),
    json: bool = JSON,
) -> None:
    """Add a kind of record of your own; it is kept in the workspace."""
    made = open_ops(ctx).register_model(name, label, bounce_counter=bounce_counter)
    if json:
        print_json(made)
    else:
        say(f"Aliases can make records of kind {made.name} ({made.label}) now.")


def _say(alias: Alias, json: bool) -> None:
    if json:
        print_json(alias)
        return
    say(f"{alias.address or alias.local} makes records of kind {alias.model}; it takes mail from {alias.policy.value}.")
    say(f"Automatic mail: {_automatic(alias)}.")


def _automatic(alias: Alias) -> str:
    return "makes records too" if alias.automatic else "makes no records"
