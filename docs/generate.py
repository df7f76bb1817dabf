"""Writes the reference pages that follow from the code: docs/errors.md, docs/cli.md, docs/settings.md,
docs/glossary.md.

Run it with ``make docs`` after adding an error code, a command or a setting; a test says when a page lacks one.
"""

from __future__ import annotations

import ast
import enum
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_ERROR_NAMES = ("Error", "Refused", "Conflict", "NotFound", "Failed", "Failure", "Extra")


def _text(node: ast.expr | None) -> str:
    """A string as it stands in the source; what is filled in later becomes ``…``. Empty when it is not a string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return " / ".join(filter(None, (_text(node.body), _text(node.orelse))))
    return ""


def _codes(node: ast.expr | None) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return _codes(node.body) + _codes(node.orelse)
    return []


def _classes() -> dict[str, Any]:
    from mailops import errors

    kinds = {}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.MailopsError):
            kinds[name] = kind
    return kinds


def error_codes() -> dict[str, tuple[str, str]]:
    """Every error code in the source: code → (cause, next step)."""
    kinds = _classes()
    found: dict[str, tuple[str, str]] = {}
    for kind in kinds.values():
        first = (kind.__doc__ or "").strip().splitlines()[0]
        found.setdefault(kind.default_code, (first, kind.default_fix))
    for path in sorted((ROOT / "mailops").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            words = {k.arg: k.value for k in call.keywords}
            if not name.endswith(_ERROR_NAMES) or "code" not in words:
                continue
            cause = _text(call.args[0]) if call.args else ""
            kind = kinds.get(name)
            fix = _text(words.get("fix")) or (kind.default_fix if kind else "Read the facts that come with it.")
            for code in _codes(words["code"]):
                known = found.get(code)
                if known is None or not known[0]:
                    found[code] = (cause or ((kind.__doc__ or "").splitlines()[0] if kind else ""), fix)
    return dict(sorted(found.items()))


def commands() -> Iterator[tuple[str, Any]]:
    """Every command as (words, the parser's command object)."""
    import typer

    from mailops.cli import app as tree
    from mailops.cli import commands as _  # noqa: F401  (registers the top-level commands)

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "list_commands"):
            if command.invoke_without_command and name:
                yield name, command
            context = typer.Context(command)
            for child in command.list_commands(context):
                yield from walk(f"{name} {child}".strip(), command.get_command(context, child))
        else:
            yield name, command

    yield from walk("", typer.main.get_command(tree.app))


def settings() -> Iterator[tuple[str, str, str, str]]:
    """Every setting as (section.key, kind, default, the section's sentence)."""
    from mailops.settings import Settings

    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        for key, inner in model.model_fields.items():
            kind: Any = inner.annotation
            if isinstance(kind, type) and issubclass(kind, enum.Enum):
                shown = ", ".join(str(member.value) for member in kind)
            else:
                shown = (
                    getattr(kind, "__name__", str(kind)).replace(" | None", "") if "|" not in str(kind) else str(kind)
                )
                shown = shown.replace(" | None", "")
            default = inner.get_default(call_default_factory=True)
            default = default.value if isinstance(default, enum.Enum) else default
            yield (
                f"{section}.{key}",
                shown,
                "(none)" if default is None else str(default),
                (model.__doc__ or "").strip(),
            )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def errors_page() -> str:
    lines = [
        "# What does this error mean?",
        "",
        "Every error prints three things: a code that never changes, the facts that were seen, and what to do next.",
        "With `--json` the same three are JSON. `…` stands for what is filled in. (`make docs` writes this page.)",
        "",
        "| code | what happened | what to do |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{code}` | {_cell(cause)} | {_cell(fix)} |" for code, (cause, fix) in error_codes().items()]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    lines = [
        "# The command line",
        "",
        "Nouns, then verbs. `--json` prints JSON. Exit status: 0 fine, 1 checks failed, 2 could not run.",
        "`mailops -w FOLDER …` names the workspace; else `MAILOPS_WORKSPACE`, else the nearest folder upwards with",
        "`mailops.toml`. `mailops COMMAND --help` lists the options. (`make docs` writes this page.)",
        "",
        "| command | what it does | options |",
        "| --- | --- | --- |",
    ]
    for name, command in commands():
        options = [max(p.opts, key=len) for p in command.params if p.opts and p.opts[0].startswith("-")]
        words = " ".join(f"`{o}`" for o in options if o not in ("--help", "--install-completion", "--show-completion"))
        lines.append(f"| `mailops {name}` | {_cell((command.help or '').strip().splitlines()[0])} | {words} |")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    lines = [
        "# Which settings are there?",
        "",
        "They stand in `mailops.toml` in the workspace. An environment variable wins over the file: for",
        "`queue.batch` it is `MAILOPS_QUEUE__BATCH` (two underscores between section and key). An unknown key is an",
        "error that names the nearest known one. A password is never a setting: a *reference* is (`env:NAME`,",
        "`file:PATH`, `keyring:SERVICE/NAME`, `vault:NAME`). (`make docs` writes this page.)",
    ]
    section = ""
    for name, kind, default, about in settings():
        if name.partition(".")[0] != section:
            section = name.partition(".")[0]
            lines += ["", f"## [{section}]", "", _cell(about), "", "| key | values | default |", "| --- | --- | --- |"]
        lines.append(f"| `{name}` | {_cell(kind)} | `{default}` |")
    return "\n".join(lines) + "\n"


def glossary_page() -> str:
    from mailops.page.glossary import WORDS

    lines = [
        "# What does this word mean?",
        "",
        "The app says it too, behind the mark beside each. (`make docs` writes this page.)",
        "",
        "| word | meaning |",
        "| --- | --- |",
    ]
    lines += [f"| {word} | {said} |" for word, said in sorted(WORDS.items(), key=lambda pair: pair[0].lower())]
    return "\n".join(lines) + "\n"


PAGES = {"errors.md": errors_page, "cli.md": cli_page, "settings.md": settings_page, "glossary.md": glossary_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (ROOT / "docs" / page).write_text(write(), "utf-8")
