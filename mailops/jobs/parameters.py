"""A notebook's parameters: read, compared with what was given, converted; all before anything starts.

Papermill only warns about an unknown name and goes on with the default, and it passes text on as text. So the cell
tagged ``parameters`` is read here (as Python, without running it): names, annotations, literal defaults, and the
comment behind each as its help. A name that is not there, a value of another type, or a value that looks like a secret
is refused, with what would have been right. Secrets are given by reference (``vault:NAME``): papermill writes every
parameter into its output twice.
"""

from __future__ import annotations

import ast
import io
import json
import math
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import RunError
from ..mime import storable
from ..model.text import harmless

MAX_VALUE = 10_000  # characters
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its annotated (or, without annotation, the default's) type as text, default and help."""

    name: str
    type: str
    default: Any
    help: str = ""


def parameters_of(notebook: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of a notebook (nbformat 4 as read from JSON). Raises :class:`RunError` for an unreadable cell."""
    source = next(
        (
            _text(c.get("source", ""))
            for c in notebook["cells"]
            if "parameters" in c.get("metadata", {}).get("tags", ())
        ),
        "",
    )
    try:
        body = ast.parse(source).body
        helps = {
            token.start[0]: token.string.lstrip("# ").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        return tuple(p for node in body if (p := _parameter(node, helps)) is not None)
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        raise RunError(
            "The notebook's parameters cannot be read.",
            code="run.notebook_invalid",
            facts={"reason": str(error)},
            fix="Keep plain literals in the cell tagged 'parameters': name: type = value  # help",
        ) from error


def _text(source: str | Sequence[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _parameter(node: ast.stmt, helps: Mapping[int, str]) -> Parameter | None:
    help_line = helps.get(node.end_lineno or node.lineno, "")
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return Parameter(node.target.id, ast.unparse(node.annotation), ast.literal_eval(node.value), help_line)
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        default = ast.literal_eval(node.value)
        return Parameter(node.targets[0].id, "" if default is None else type(default).__name__, default, help_line)
    return None  # an import or a docstring


def bind(parameters: Sequence[Parameter], given: Mapping[str, Any], notebook: str) -> dict[str, Any]:
    """The given values in their annotated types. Raises :class:`RunError` for the first that is wrong."""
    known = {p.name: p for p in parameters}
    bound = {}
    for name, value in given.items():
        if name not in known:
            raise _unknown(name, list(known), notebook)
        if isinstance(value, str):
            _writable(name, value)
            _no_secret(name, value)
        bound[name] = convert(known[name], value)
    return bound


def _unknown(name: str, known: list[str], notebook: str) -> RunError:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return RunError(
        f"{notebook} has no parameter {name!r}.{hint}",
        code="run.parameter",
        facts={"given": name, "known": known},
        fix=f"Use {near[0]}=…" if near else f"It takes: {', '.join(known)}." if known else "It takes no parameters.",
    )


def _writable(name: str, value: str) -> None:
    if storable(value) != value:
        raise RunError(
            f"The value of {name} holds octets that are no text.",
            code="run.parameter",
            facts={"parameter": name, "value": harmless(value)[:100]},
            fix="Give it in UTF-8, without NUL.",
        )


def _no_secret(name: str, value: str) -> None:
    from ..secrets import looks_like_secret, redact

    meaning = looks_like_secret(value)
    if meaning is None and redact(value) != value:
        meaning = "a known secret"
    if meaning is not None:
        raise RunError(
            f"The value of {name} looks like {meaning}; parameters are written into the run's files.",
            code="run.secret_parameter",
            facts={"parameter": name, "looks_like": meaning},
            fix="Store it with `mailops secrets set NAME` and pass the reference vault:NAME.",
        )


def convert(parameter: Parameter, value: Any) -> Any:
    """A value (text from the command line, or a Python value) in the parameter's type."""
    text = str(value)
    if len(text) > MAX_VALUE:
        raise _wrong(parameter, f"{len(text)} characters", f"at most {MAX_VALUE} characters")
    kinds = [k.strip() for k in _alternatives(parameter.type)]
    if "None" in kinds and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    wanted = [k for k in kinds if k != "None"] or ["str"]
    for kind in wanted:
        try:
            return _convert(kind, value)
        except (ValueError, TypeError):
            continue
    raise _wrong(parameter, text[:200], " or ".join(_words(k) for k in wanted))


def _alternatives(annotation: str) -> list[str]:
    if annotation.startswith("Optional[") and annotation.endswith("]"):
        return [annotation[9:-1], "None"]
    if annotation.startswith("Literal["):
        return [annotation]
    return annotation.split("|") if annotation else ["str"]


def _convert(kind: str, value: Any) -> Any:
    base = kind.partition("[")[0]
    if base == "Literal":
        choices = ast.literal_eval(f"({kind[8:-1]},)")
        for choice in choices:
            if value == choice or (isinstance(value, str) and value == str(choice)):
                return choice
        raise ValueError
    if base == "bool":
        return _bool(value)
    if base in ("int", "float"):
        if isinstance(value, bool):
            raise ValueError
        number = int(value) if base == "int" and not isinstance(value, float) else float(value)
        if (base == "int" and number != value and not isinstance(value, str)) or not math.isfinite(number):
            raise ValueError
        return int(number) if base == "int" else number
    if base in ("list", "tuple", "Sequence"):
        items = _json_or_words(value)
        inner = kind.partition("[")[2].rstrip("]").partition(",")[0].strip() or "str"
        return [_convert(inner, item) for item in items]
    if base == "dict":
        loaded = json.loads(value) if isinstance(value, str) else dict(value)
        if not isinstance(loaded, dict):
            raise ValueError
        return loaded
    if base != "str" or not isinstance(value, str):
        raise ValueError
    return value


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _json_or_words(value: Any) -> list[Any]:
    if not isinstance(value, str):
        return list(value)
    if value.lstrip().startswith("["):
        loaded: list[Any] = json.loads(value)
        return loaded
    return [part.strip() for part in value.split(",") if part.strip()]


def _words(kind: str) -> str:
    base = kind.partition("[")[0]
    if base == "Literal":
        return "one of " + ", ".join(str(c) for c in ast.literal_eval(f"({kind[8:-1]},)"))
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list (comma-separated)",
        "dict": "a JSON object",
        "str": "text",
    }.get(base, kind)


def _wrong(parameter: Parameter, given: str, wanted: str) -> RunError:
    return RunError(
        f"{parameter.name} wants {wanted}, not {given!r}.",
        code="run.parameter",
        facts={
            "parameter": parameter.name,
            "given": given,
            "type": parameter.type or "str",
            "default": parameter.default,
        },
        fix=f"Give {parameter.name} as {wanted}." + (f" ({parameter.help})" if parameter.help else ""),
    )
