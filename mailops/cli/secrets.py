"""``mailops secrets``: the encrypted vault of the workspace. Values go in, and never come out on the screen."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from ..errors import ConfigError, InputRefused, NotFound
from ..model.text import counted
from .app import workspace_of
from .output import print_json, say, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Secret references and the encrypted vault.")
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command("list")
def listing(ctx: typer.Context, json: bool = JSON) -> None:
    """Names in the vault, with the reference to write into settings. No values."""
    from ..secrets import Vault
    from ..workspace import find

    entries = Vault(find(workspace_of(ctx)).secrets).entries()
    if json:
        print_json([{"name": e.name, "reference": f"vault:{e.name}"} for e in entries])
    else:
        table(["Name", "Reference"], [(e.name, f"vault:{e.name}") for e in entries])


@app.command("set")
def put(
    ctx: typer.Context,
    name: str = typer.Argument(..., help="The name, such as smtp."),
    json: bool = JSON,
) -> None:
    """Put a secret into the vault: asked for on a terminal, else all of standard input (one final line end goes)."""
    from ..secrets import Vault
    from ..workspace import find

    vault = Vault(find(workspace_of(ctx)).secrets)
    value = typer.prompt("Value", hide_input=True) if sys.stdin.isatty() else _without_final_end(sys.stdin.read())
    if not value:
        raise ConfigError("No value was given.", code="secret.empty", fix="Give the value on standard input.")
    vault.put(name, value)
    if json:
        print_json({"name": name, "reference": f"vault:{name}"})
    else:
        say(f"Stored. Write it as vault:{name}")


@app.command("rotate-key")
def rotate(ctx: typer.Context, json: bool = JSON) -> None:
    """Encrypt the whole vault with a new key; the old one opens nothing any more."""
    from ..secrets import Vault
    from ..workspace import find

    vault = Vault(find(workspace_of(ctx)).secrets)
    vault.rotate_key()
    if json:
        print_json({"entries": len(vault.entries())})
    else:
        say("The vault has a new key.")


@app.command("leaks")
def leaks(
    files: list[Path] = typer.Argument(..., help="Reports, logs, notebooks: texts that are to leave the house."),
    json: bool = JSON,
) -> None:
    """What in these files looks like a secret, by kind and never by value; exit 1 where there is any."""
    from ..secrets import find_leaks

    found = []
    for file in files:
        try:
            text = file.read_text("utf-8", errors="replace")
        except OSError as error:
            raise InputRefused(
                f"{file.name} cannot be read: {error.strerror}.",
                code="input.file",
                facts={"file": file.name},
                fix="Name files of text; a folder's are named with a pattern such as reports/*.html.",
            ) from error
        found += [(file.name, kind) for kind in find_leaks(text)]
    if json:
        print_json([{"file": name, "kind": kind} for name, kind in found])
    elif found:
        table(["File", "Found"], found)
    else:
        say(f"Nothing like a secret in {counted(len(files), 'file')}.")
    raise typer.Exit(1 if found else 0)


def _without_final_end(text: str) -> str:
    """A value as it was given: a key or JSON of many lines stays whole, the one line end that echo adds goes."""
    return text[:-2] if text.endswith("\r\n") else text[:-1] if text.endswith(("\n", "\r")) else text


@app.command("remove")
def remove(
    ctx: typer.Context, name: str = typer.Argument(..., help="The name in the vault."), json: bool = JSON
) -> None:
    """Take a secret out of the vault."""
    from ..secrets import Vault
    from ..workspace import find

    if not Vault(find(workspace_of(ctx)).secrets).delete(name):
        raise NotFound(
            f"The vault holds no {name!r}.", facts={"name": name}, fix="List the names with: mailops secrets list"
        )
    if json:
        print_json({"removed": name})
    else:
        say(f"{name} removed.")
