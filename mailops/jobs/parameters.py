"""A notebook's parameters: read, compared with what was given, converted; all before anything starts.

Papermill only warns about an unknown name and goes on with the default, and it passes text on as text. So the cell
tagged ``parameters`` is read here (as Python, without running it): names, annotations, literal defaults, and the
comment behind each as its help. A default that is computed (``24 * 7``, ``Path("data")``) is taken as it is and shown
as its source; its type is that of the annotation, or what the arithmetic tells. A name that is not there, a value of
another type, or a value that looks like a secret is refused, with what would have been right. Secrets are given by
reference (``vault:NAME``): papermill writes every parameter into its output twice.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..mime import storable
from ..model.text import harmless

MAX_VALUE = 10_000  # characters
MAX_FILE = 1_000_000  # bytes of a file of parameters
_MAGIC = re.compile(r"(?m)^([ \t]{0,200})(?:[%!?].*|[^\s#=][^\n#=]{0,200}=[ \t]{0,20}[%!].*|[\w.]{1,200}\?{1,2})$")
"""A line of IPython's that is no Python: a magic, a shell command, a question."""
_CALLED = frozenset({"int", "float", "str", "bool", "list", "tuple", "dict", "set", "Path"})
_BUILT: dict[str, tuple[type, str]] = {
    "Path": (Path, "{type}({name})"),
    "PurePath": (Path, "{type}({name})"),
    "PosixPath": (Path, "{type}({name})"),
    "Decimal": (Decimal, "{type}({name})"),
    "date": (date, "{type}.fromisoformat({name})"),
    "datetime": (datetime, "{type}.fromisoformat({name})"),
    "time": (time, "{type}.fromisoformat({name})"),
    "tuple": (tuple, "tuple({name})"),
    "set": (set, "set({name})"),
    "frozenset": (frozenset, "frozenset({name})"),
}
"""What a notebook's annotation makes of the text, or the list, that a run can carry: the type and the expression."""
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its annotated (or, without annotation, the default's) type as text, default and help.

    ``computed``: the default is an expression, and ``default`` its source; ``type`` is empty where nothing tells it.
    """

    name: str
    type: str
    default: Any
    help: str = ""
    computed: bool = False


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
    source = _MAGIC.sub(r"\1pass", source)
    try:
        body = ast.parse(source).body
        helps = {
            token.start[0]: token.string.lstrip("# ").strip()
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        found: dict[str, Parameter] = {}
        for node in body:
            for parameter in _parameters(node, helps):
                before = found.get(parameter.name)  # one that is assigned again keeps the type it was given
                kept = before is not None and parameter.computed and before.type and not parameter.type
                found[parameter.name] = replace(parameter, type=before.type) if before and kept else parameter
        return tuple(found.values())
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise RunError(
            "The notebook's parameters cannot be read.",
            code="run.notebook_invalid",
            facts={"reason": str(error)},
            fix="Keep Python in the cell tagged 'parameters', one assignment a line: name: type = value  # help",
        ) from error


def _text(source: str | Sequence[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _parameters(node: ast.stmt, helps: Mapping[int, str]) -> Iterator[Parameter]:
    """The parameters a statement makes: none for an import, a docstring, a call."""
    help_line = helps.get(node.end_lineno or node.lineno, "")
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        default, computed = _default(node.value) if node.value is not None else (None, False)
        yield Parameter(node.target.id, ast.unparse(node.annotation), default, help_line, computed)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            for name, value in _assigned(target, node.value):
                default, computed = _default(value)
                yield Parameter(name, _kind_of(value) if computed else _name(default), default, help_line, computed)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for one, its in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, its)


def _default(value: ast.expr) -> tuple[Any, bool]:
    """The value of a literal, or the source of what is computed; whether it is computed."""
    try:
        return ast.literal_eval(value), False
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.unparse(value), True


def _name(default: Any) -> str:
    return "" if default is None else type(default).__name__


def _kind_of(value: ast.expr) -> str:
    """The type of arithmetic on literals, of a call of a type, and of text with something put in; else empty. Nothing
    is computed for it: a default may be of any size."""
    if isinstance(value, ast.JoinedStr):
        return "str"
    if isinstance(value, ast.Constant):
        return _name(value.value)
    if isinstance(value, ast.Compare) or (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)):
        return "bool"
    if isinstance(value, ast.UnaryOp):
        return _kind_of(value.operand)
    if isinstance(value, ast.BinOp):
        kinds = {_kind_of(value.left), _kind_of(value.right)}
        if kinds <= {"int", "bool"}:
            return "float" if isinstance(value.op, ast.Div | ast.Pow) else "int"
        return "float" if kinds <= {"int", "bool", "float"} else "str" if kinds == {"str"} else ""
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func)
        return called if called in _CALLED else "Path" if called == "pathlib.Path" else ""
    return {"List": "list", "Tuple": "tuple", "Dict": "dict", "ListComp": "list", "DictComp": "dict"}.get(
        type(value).__name__, ""
    )


def bind(parameters: Sequence[Parameter], given: Mapping[str, Any], notebook: str) -> dict[str, Any]:
    """The given values in their annotated types. Raises :class:`RunError` for the first that is wrong."""
    known = {p.name: p for p in parameters}
    bound = {}
    for name, value in given.items():
        if name not in known:
            raise _unknown(name, list(known), notebook)
        for text in _texts(value):
            _writable(name, text)
            _no_secret(name, text)
        bound[name] = convert(known[name], value)
    return bound


def casts(parameters: Sequence[Parameter], bound: Mapping[str, Any]) -> dict[str, str]:
    """Parameter → the expression that makes of its bound value (text or list) what its annotation names: a ``Path``, a
    ``date``, a ``tuple``. The annotation's own words are used, which the notebook has imported."""
    found = {}
    for parameter in parameters:
        if bound.get(parameter.name) is None:
            continue
        for kind in _alternatives(parameter.type):
            annotation = kind.strip().partition("[")[0]
            built = _BUILT.get(annotation.rpartition(".")[2])
            if built is not None:
                found[parameter.name] = built[1].format(type=annotation, name=parameter.name)
                break
    return found


def from_file(path: Path) -> dict[str, Any]:
    """The parameters of a YAML (or JSON) file: name → value. Raises :class:`RunError` for what is none."""
    import yaml  # type: ignore[import-untyped]  # it has no stubs

    class Plain(yaml.SafeLoader):  # type: ignore[misc]  # untyped
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it refers to another part of itself, which parameters need not")
            return super().compose_node(parent, index)

    Plain.yaml_implicit_resolvers = {  # a day stays the text it is
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError(f"larger than {MAX_FILE:,} bytes")
        loaded = yaml.load(path.read_text("utf-8-sig"), Loader=Plain)  # noqa: S506 (a safe loader, without references)
        if loaded is not None and not (isinstance(loaded, dict) and all(isinstance(name, str) for name in loaded)):
            raise ValueError("not a list of names with values")
        json.dumps(loaded, allow_nan=False)
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise RunError(
            f"The parameters in {path.name} cannot be read.",
            code="run.parameter_file",
            facts={"path": str(path), "reason": " ".join(str(error).split())[:300]},
            fix="Write one 'name: value' a line (YAML), or a JSON object.",
        ) from error
    return loaded or {}


def _unknown(name: str, known: list[str], notebook: str) -> RunError:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return RunError(
        f"{notebook} has no parameter {name!r}.{hint}",
        code="run.parameter",
        facts={"given": name, "known": known},
        fix=f"Use {near[0]}=…" if near else f"It takes: {', '.join(known)}." if known else "It takes no parameters.",
    )


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, at any depth: a list or an object may hold a secret too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)


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
    if kinds == [""]:
        return _as_written(value)
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
    if annotation.startswith("Annotated[") and annotation.endswith("]"):
        return _alternatives(annotation[10:-1].partition(",")[0])
    if len(annotation) > 1 and annotation[0] in "'\"" and annotation[-1] == annotation[0]:
        return _alternatives(annotation[1:-1])  # one that is written as text
    return annotation.split("|")


def _as_written(value: Any) -> Any:
    """A value whose type nothing tells, as papermill takes it: a number, true, false or none where it is one."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return words[value.lower()]
    for number in (int, float):
        try:
            if math.isfinite(found := number(value)):
                return found
        except (ValueError, OverflowError):
            continue
    return value


def _convert(kind: str, value: Any) -> Any:
    base = kind.partition("[")[0].rpartition(".")[2]
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
    if base == "Any":
        return _as_written(value)
    if base in ("list", "List", "tuple", "Tuple", "set", "Set", "frozenset", "Sequence"):
        items = _json_or_words(value)
        inner = kind.partition("[")[2].rstrip("]").partition(",")[0].strip() or "str"
        return [_convert(inner, item) for item in items]
    if base in ("dict", "Dict", "Mapping"):
        loaded = json.loads(value) if isinstance(value, str) else dict(value)
        if not isinstance(loaded, dict):
            raise ValueError
        return loaded
    if base in _BUILT:
        text = value.isoformat() if isinstance(value, date | time) else str(value)
        made = _BUILT[base][0]
        if made in (date, datetime, time):
            made.fromisoformat(text)
        elif made is Decimal:
            _finite(text)
        return text
    if base == "str" and not isinstance(value, str):
        raise ValueError
    return value  # also for an annotation that is the notebook's own: it takes what it is given


def _finite(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError as error:
        raise ValueError from error
    if not number.is_finite():
        raise ValueError
    return number


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
    base = kind.partition("[")[0].rpartition(".")[2]
    if base == "Literal":
        return "one of " + ", ".join(str(c) for c in ast.literal_eval(f"({kind[8:-1]},)"))
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        **dict.fromkeys(("list", "List", "tuple", "Tuple", "set", "Set", "Sequence"), "a list (comma-separated)"),
        "dict": "a JSON object",
        "str": "text",
        "date": "a day, such as 2026-01-31",
        "datetime": "a time, such as 2026-01-31T14:30+01:00",
        "Decimal": "a number",
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
