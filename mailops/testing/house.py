"""The order of the rooms, as a function of a source tree. ``python -m mailops.testing.house`` prints what it finds.

::

    upward        a room imports only rooms that stand before it in ROOMS, at the top of a module or in a function
    readers       ``analysis`` is asked by checks, ops and the faces only
    table         each table is written by one room (TABLE_OWNER), found in the source: insert, update, delete, also
                  through short names (``m, d = schema.mails, schema.deliveries``), through functions that are handed a
                  table (``insert_rows``) and in SQL text
    sql           cards, commands, guides and the wiring hold no SQL
    uncalled      a function, class or method has a caller outside the tests

An import for type checkers only is free. Names are matched, nothing is run: a definition counts as called when its name
is used anywhere but in its own body, so the list of uncalled ones is short and certain rather than complete. A name in
a piece of code of the documentation is a use, as a program may follow it; a name that a package only hands on is none.

What is against the rules today stands in :data:`KNOWN` with the reason. An offence that is not there fails the check,
and so does an entry that fits nothing any more: the list can only shrink. Entries name a file and what is done there,
no line, so that work beside them does not move them.

Where the order was adjusted inside its groups: ``mime`` before ``model``, whose addresses
are read with its decoder, and ``model`` before ``ports``, whose Protocols speak of its values;
``store`` before ``workspace``, which opens it; ``doctor`` first and ``webhooks`` before ``serve`` among the faces, as
the command line shows the one and the listener starts the other; ``testing`` before ``demo``, which plays on its peers.
``bounces.reading`` is a room of its own before ``bounces``, as the wire's answers are judged with it and without the
store. Rooms without code yet (``ledger``, ``limits``, ``service``, ``odoo``) keep their places. ``runs`` and
``verdicts`` belong to ``store``: jobs and the history of domains both keep verdicts, through the one module
``store/runs.py``, and neither may stand above the other.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .house_known import KNOWN, Known

# fmt: off
ROOMS: tuple[str, ...] = (
    "__init__", "errors", "clock", "locks", "platforms", "mime", "model", "ports", "page",
    "settings", "store", "workspace", "secrets", "smtp", "providers",
    "dns", "routing", "oauth", "submission", "domains",
    "ledger", "limits",
    "bounces.reading", "bounces", "suppression", "queue", "relay", "campaigns", "threads", "inbound",
    "logs", "odoo",
    "analysis",
    "checks", "guides", "jobs", "support",
    "ops",
    "doctor", "service", "webhooks", "serve", "serve_check", "widgets", "app", "cli",
    "testing", "demo", "__main__",
)
# fmt: on
FACES = ("service", "serve", "serve_check", "webhooks", "cli", "widgets", "app", "doctor")
READERS = {"analysis": {"analysis", "checks", "jobs", "ops", *FACES, "demo", "testing"}}
NO_SQL = ("widgets", "cli", "app", "guides", "ops", "serve", "serve_check", "service", "doctor")
KEEPERS = {"mailops/guides/steps.py": "keeps guide_answers, which the guides own; no other module of the room has SQL"}

TABLE_OWNER: dict[str, str] = {
    **dict.fromkeys(("parameters", "alias_domains", "companies", "servers"), "store"),
    **dict.fromkeys(("mails", "deliveries", "attempts", "events", "counts", "owed", "follows", "forgotten"), "ledger"),
    "contents": "queue",
    **dict.fromkeys(("holds", "lane_holds", "job_times"), "queue"),
    **dict.fromkeys(("limit_uses", "server_limits"), "limits"),
    "dkim_keys": "queue",
    **dict.fromkeys(("logins", "reports"), "relay"),
    "bounces": "bounces",
    "suppressions": "suppression",
    "webhook_events": "webhooks",
    **dict.fromkeys(("records", "aliases", "contacts", "followers", "messages", "notifications"), "threads"),
    "inbound_log": "threads",
    **dict.fromkeys(("log_mails", "log_files"), "logs"),
    **dict.fromkeys(("intake", "intake_raw", "intake_folders", "intake_accounts"), "inbound"),
    **dict.fromkeys(("runs", "verdicts"), "store"),
    "guide_answers": "guides",
    **dict.fromkeys(("campaigns", "campaign_recipients"), "campaigns"),
}


@dataclass(frozen=True, slots=True)
class Shared:
    """Columns of a table that a second room may update, and why."""

    table: str
    columns: frozenset[str]
    room: str
    why: str


SHARED = (
    Shared(
        "mails",
        frozenset({"lease_owner", "lease_until", "attempts", "lane", "rank"}),
        "queue",
        "a lease says who sends a mail now, a lane where it waits; neither tells what became of it",
    ),
)


@dataclass(frozen=True, slots=True, order=True)
class Offence:
    """One thing against a rule. ``what`` says it without the line."""

    rule: str
    file: str
    what: str
    line: int = field(default=0)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.what}"


@dataclass(frozen=True, slots=True)
class Link:
    """One import that runs: from which line, of which module, into which room."""

    file: str
    line: int
    target: str
    own: str
    other: str


@dataclass(frozen=True, slots=True)
class Write:
    """One place that changes a table; ``columns`` are those an update names, None where they are not written out."""

    file: str
    line: int
    verb: str
    table: str
    columns: frozenset[str] | None


def room_of(dotted: str) -> str:
    """The room of a module: its first name below ``mailops``; the library that reads bounces is one of its own."""
    parts = dotted.split(".")
    if parts[1:3] == ["bounces", "reading"]:
        return "bounces.reading"
    return parts[1] if len(parts) > 1 else "__init__"


@dataclass(frozen=True)
class Module:
    """One source file, read."""

    file: str
    tree: ast.Module

    @cached_property
    def dotted(self) -> str:
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        return room_of(self.dotted)

    def stem(self, node: ast.ImportFrom) -> str:
        """The absolute name of what an import statement names."""
        package = self.file.split("/")[:-1]
        base = package[: len(package) - node.level + 1] if node.level else []
        return ".".join([*base, *([node.module] if node.module else [])])


class House:
    """A source tree, read once, and what is against the rules in it."""

    def __init__(self, root: Path) -> None:
        self.modules = [_read(root, path) for path in sorted((root / "mailops").rglob("*.py"))]
        self.users = [
            _read(root, path) for folder in ("notebooks/text", "benchmarks", "docs") for path in _sources(root / folder)
        ]
        self.pages = [
            path.read_text("utf-8")
            for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
            if path.exists() and path.name not in ("errors.md", "cli.md")
        ]
        self.names = {module.dotted for module in self.modules}

    def offences(self) -> list[Offence]:
        """All of them, known or not."""
        return sorted([*self.upward(), *self.foreign_writes(), *self.sql(), *self.uncalled()])

    # --- imports ------------------------------------------------------------------------------------------------------

    def links(self) -> Iterator[Link]:
        """Every import of one module of mailops by another that runs."""
        for module in self.modules:
            for line, target in self._imports(module):
                if target.split(".")[0] == "mailops":
                    yield Link(module.file, line, target, module.room, room_of(target))

    def _imports(self, module: Module) -> Iterator[tuple[int, str]]:
        for node in _running(module.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                stem = module.stem(node)
                if stem == "mailops":
                    yield from ((node.lineno, self._handed_out(alias.name)) for alias in node.names)
                elif stem == "mailops.bounces" and any(alias.name == "reading" for alias in node.names):
                    yield node.lineno, "mailops.bounces.reading"
                else:
                    yield node.lineno, stem

    def _handed_out(self, name: str) -> str:
        """What ``from mailops import name`` brings: a module, or a name the package hands out lazily."""
        homes = {"Ops": "ops", "Verdict": "model", "VerdictState": "model", "MailopsError": "errors"}
        return f"mailops.{homes[name]}" if name in homes else f"mailops.{name}" if name[:1] != "_" else "mailops"

    def upward(self) -> Iterator[Offence]:
        """Imports of a room that does not stand before the importing one."""
        place = {name: number for number, name in enumerate(ROOMS)}
        for link in self.links():
            for name in (link.own, link.other):
                if name not in place:
                    yield Offence("upward", link.file, f"{name} has no place in the list of rooms", link.line)
            if link.own == link.other or not {link.own, link.other} <= place.keys():
                continue
            if place[link.other] > place[link.own]:
                yield Offence("upward", link.file, f"{link.own} imports {link.target}", link.line)
            elif link.own not in READERS.get(link.other, {link.own}):
                yield Offence("readers", link.file, f"{link.own} imports {link.target}", link.line)

    def sql(self) -> Iterator[Offence]:
        """SQLAlchemy in rooms that are to ask a service."""
        for module in self.modules:
            if module.room not in NO_SQL or module.file in KEEPERS:
                continue
            for line, target in self._imports(module):
                if target.split(".")[0] == "sqlalchemy":
                    yield Offence("sql", module.file, f"{module.room} imports sqlalchemy", line)

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def tables(self) -> dict[str, tuple[str, int]]:
        """The tables of the schema, with where they stand."""
        found = {}
        for module in self.modules:
            if module.dotted.startswith("mailops.store.schema"):
                for node in module.tree.body:
                    if isinstance(node, ast.Assign) and _is_table(node.value):
                        found[ast.unparse(node.targets[0])] = (module.file, node.lineno)
        return found

    @cached_property
    def writes(self) -> list[Write]:
        """Every place that changes a table, in order of file and line."""
        helpers: dict[str, set[int]] = {}
        while True:
            found: list[Write] = []
            grown = {name: set(places) for name, places in helpers.items()}
            for module in self.modules:
                if "/migrations/" not in module.file:  # a step from one schema to the next changes rows of every table
                    scan = _Writes(module, set(self.tables), helpers)
                    scan.visit(module.tree)
                    found += scan.found
                    for name, places in scan.helpers.items():
                        grown.setdefault(name, set()).update(places)
            if grown == helpers:
                return sorted(found, key=lambda w: (w.file, w.line, w.table))
            helpers = grown

    def writers(self) -> dict[str, dict[str, list[Write]]]:
        """For each table the rooms that change it, and where."""
        found: dict[str, dict[str, list[Write]]] = {table: {} for table in self.tables}
        for write in self.writes:
            room = room_of(write.file.removesuffix(".py").replace("/", "."))
            found[write.table].setdefault(room, []).append(write)
        return found

    def foreign_writes(self) -> Iterator[Offence]:
        """Tables without owner, and writes by another room than the owner."""
        for table, (file, line) in self.tables.items():
            if table not in TABLE_OWNER:
                yield Offence("table", file, f"the table {table} has no owner", line)
        for table, rooms in self.writers().items():
            for room, writes in rooms.items():
                if room == TABLE_OWNER.get(table, room):
                    continue
                for w in writes:
                    if not any(_covers(shared, w, room) for shared in SHARED):
                        yield Offence("table", w.file, f"{room} does {w.verb} {table}", w.line)

    # --- callers ------------------------------------------------------------------------------------------------------

    def uncalled(self) -> Iterator[Offence]:
        """Definitions whose name nobody uses outside the tests and outside their own body."""
        used: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for module in [*self.modules, *self.users]:
            for name, line in _uses(module):
                used[name].append((module.file, line))
        shown = {name for page in self.pages for name in _shown(page)}
        protocols, bases = self._promised()
        for module in self.modules:
            if module.room in ("testing", "demo", "__main__") or "/migrations/" in module.file:
                continue
            for node, owner in _definitions(module.tree):
                if node.name in shown or _is_hook(node, owner, protocols, bases):
                    continue
                own = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if all(file == module.file and line in own for file, line in used[node.name]):
                    name = f"{owner.name}.{node.name}" if owner else node.name
                    yield Offence("uncalled", module.file, f"{name} has no caller", node.lineno)

    def _promised(self) -> tuple[set[str], dict[str, set[str]]]:
        """The method names of all protocols, and those of each class, by its name."""
        protocols: set[str] = set()
        methods: dict[str, set[str]] = defaultdict(set)
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    names = {n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
                    methods[node.name] |= names
                    if any("Protocol" in ast.unparse(base) for base in node.bases):
                        protocols |= names
        return protocols, methods


def _read(root: Path, path: Path) -> Module:
    return Module(path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8")))


def _sources(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.py")) if folder.is_dir() else []


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def _covers(shared: Shared, write: Write, room: str) -> bool:
    return (
        (shared.table, shared.room, write.verb) == (write.table, room, "update")
        and write.columns is not None
        and write.columns <= shared.columns
    )


class _Writes(ast.NodeVisitor):
    """The writes of one module. ``helpers`` says of functions which of their parameters is a table they change."""

    VERBS = ("insert", "update", "delete")
    TEXT = re.compile(
        r"\b(insert)(?:\s+or\s+\w+)?\s+into\s+(\w+)|\b(update)\s+(\w+)\s+set\b|\b(delete)\s+from\s+(\w+)", re.I
    )

    def __init__(self, module: Module, tables: set[str], helpers: dict[str, set[int]]) -> None:
        self.module = module
        self.tables = tables
        self.known = helpers
        self.helpers: dict[str, set[int]] = {}
        self.found: list[Write] = []
        self.scopes: list[dict[str, str]] = [{}]
        self.parameters: list[tuple[str, list[str]]] = []
        self.columns: dict[ast.AST, frozenset[str] | None] = {}

    # names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        stem = self.module.stem(node)
        for alias in node.names:
            if stem.startswith("mailops.store.schema") and alias.name in self.tables:
                self.scopes[-1][alias.asname or alias.name] = alias.name
            elif stem == "mailops.store" and alias.name == "schema":
                self.scopes[-1][alias.asname or alias.name] = "schema"

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    self._bind(one, value)
            else:
                self._bind(target, node.value)
        self.generic_visit(node)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            table = self._table(value)
            if isinstance(value, ast.Name) and value.id == "schema" and self._look("schema") == "schema":
                table = "schema"
            if self.module.dotted.startswith("mailops.store.schema") and target.id in self.tables:
                table = target.id
            self.scopes[-1][target.id] = table or ("*insert" if _is_dialect_insert(value) else "")

    def _look(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), "")

    def _table(self, node: ast.expr) -> str:
        """The table an expression names, or nothing."""
        if isinstance(node, ast.Name):
            found = self._look(node.id)
            return found if found in self.tables else ""
        if isinstance(node, ast.Attribute) and node.attr in self.tables:
            if ast.unparse(node.value).split(".")[-1] == "schema":
                return node.attr
            if isinstance(node.value, ast.Name) and self._look(node.value.id) == "schema":
                return node.attr
        return ""

    # scopes

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        names = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
        self.scopes.append(dict.fromkeys([*names, *(a.arg for a in node.args.kwonlyargs)], ""))
        self.parameters.append((node.name, names))
        self.generic_visit(node)
        self.parameters.pop()
        self.scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    # writes

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            self.columns[_root(node)] = _columns(node)
        self._write(node)
        self.generic_visit(node)

    def _write(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute) and called in self.VERBS and (table := self._table(node.func.value)):
            self._note(node, called, table)  # table.insert()
            return
        verb = "insert" if _is_dialect_insert(node.func) or self._look(called) == "*insert" else called
        if verb in self.VERBS and node.args:
            self._changes(node, verb, node.args[0])
        for place in self.known.get(called, ()):
            if place < len(node.args):
                self._changes(node, called, node.args[place])

    def _changes(self, node: ast.Call, verb: str, given: ast.expr) -> None:
        if table := self._table(given):
            self._note(node, verb, table)
        elif isinstance(given, ast.Name) and self.parameters and given.id in self.parameters[-1][1]:
            name, names = self.parameters[-1]
            if (verb in self.VERBS and _is_sql(node.func)) or verb not in self.VERBS:
                self.helpers.setdefault(name, set()).add(names.index(given.id))

    def _note(self, node: ast.Call, verb: str, table: str) -> None:
        self.found.append(Write(self.module.file, node.lineno, verb, table, self.columns.get(node)))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            for match in self.TEXT.finditer(node.value):
                verb, table = [part for part in match.groups() if part]
                if table in self.tables:
                    self.found.append(Write(self.module.file, node.lineno, verb.lower(), table, None))


def _is_table(node: ast.expr) -> bool:
    """``sa.Table(…)``, as the schema says it."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Table"


def _is_dialect_insert(node: ast.expr) -> bool:
    """``dialect_insert(engine)``, which gives the insert of a database."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "dialect_insert"


def _is_sql(node: ast.expr) -> bool:
    """A verb of SQLAlchemy, so that ``mapping.update(rows)`` makes no function a writer."""
    return (
        _is_dialect_insert(node) or isinstance(node, ast.Name) or ast.unparse(node).startswith(("sa.", "sqlalchemy."))
    )


def _root(node: ast.expr) -> ast.AST:
    """The call at which a chain such as ``sa.update(t).where(…).values(…)`` begins."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
        node = node.func.value
    return node


def _columns(node: ast.Call) -> frozenset[str] | None:
    """The columns that ``.values(…)`` names; None where one of them is not written out."""
    names = {k.arg for k in node.keywords}
    for one in node.args:
        if not isinstance(one, ast.Dict):
            return None
        names |= {str(k.value) if isinstance(k, ast.Constant) else None for k in one.keys}
    return None if None in names else frozenset(str(name) for name in names)


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
PLAIN = (
    "property",
    "cached_property",
    "staticmethod",
    "classmethod",
    "dataclass",
    "lru_cache",
    "cache",
    "contextmanager",
)


def _definitions(tree: ast.Module) -> Iterator[tuple[Definition, ast.ClassDef | None]]:
    """Functions and classes of a module, and the methods of its classes with the class."""
    for node in tree.body:
        if isinstance(node, Definition):
            yield node, None
        if isinstance(node, ast.ClassDef):
            yield from ((one, node) for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_hook(node: Definition, owner: ast.ClassDef | None, protocols: set[str], methods: dict[str, set[str]]) -> bool:
    """Called by somebody who does not write the name: the language, a registry, a base class, a protocol's user."""
    if re.match(r"__|_repr_|_ipython_", node.name) or any(_registers(d) for d in node.decorator_list):
        return True
    if owner is None:
        return False
    if node.name in protocols or re.fullmatch(r"(handle|smtp|auth|visit)_[A-Z]\w*", node.name):
        return True
    if any(node.name.startswith(start) for start in _starts(owner)):
        return True
    for base in owner.bases:
        name = ast.unparse(base).split("[")[0].split(".")[-1]
        if name in methods:
            if node.name in methods[name]:
                return True
        elif name not in ("Protocol", "StrEnum", "Enum", "IntEnum", "Exception", "Generic", "NamedTuple", "object"):
            return True  # a base from elsewhere: it may call any of its methods
    return False


def _starts(owner: ast.ClassDef) -> set[str]:
    """How the names begin that a class looks up by itself: ``getattr(self, f"_{rung}")``."""
    calls = [n for n in ast.walk(owner) if isinstance(n, ast.Call) and ast.unparse(n.func) == "getattr"]
    made = [n.args[1] for n in calls if len(n.args) > 1]
    first = [n.values[0] for n in made if isinstance(n, ast.JoinedStr)]
    return {str(n.value) for n in first if isinstance(n, ast.Constant)}


def _registers(decorator: ast.expr) -> bool:
    name = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name.split(".")[-1] not in PLAIN


def _uses(module: Module) -> Iterator[tuple[str, int]]:
    """Every use of a name in a module, with its line. What a package's own page hands on is no use."""
    hands_on = module.file.endswith("__init__.py")
    for node in ast.walk(module.tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            yield node.id, line
        elif isinstance(node, ast.Attribute):
            yield node.attr, line
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.name, line) for alias in node.names if alias.asname and not hands_on)
        elif isinstance(node, ast.Constant) and not hands_on and str(node.value).isidentifier():
            yield str(node.value), line


def _shown(page: str) -> set[str]:
    """Names that a piece of code on a page of the documentation calls."""
    pieces = re.findall(r"```(?:python|py)?\n(.*?)```|`([^`\n]+)`", page, re.S)
    return {name for piece in pieces for text in piece for name in re.findall(r"(\w+)\(", text)} | {
        name for piece in pieces for name in re.findall(r"\bimport ([\w, ]+)", piece[0]) for name in name.split(", ")
    }


# --- the check --------------------------------------------------------------------------------------------------------


def judged(offences: Iterable[Offence], let: Iterable[Known] = KNOWN) -> tuple[list[Offence], list[str]]:
    """Offences that are not known (``let``), and known ones that no longer occur."""
    found = list(offences)
    known = {(k.rule, k.file, k.what) for k in let}
    new = [o for o in found if (o.rule, o.file, o.what) not in known]
    gone = known - {(o.rule, o.file, o.what) for o in found}
    return new, [f"{file}: {rule}: {what}: no longer so; take it off the list" for rule, file, what in sorted(gone)]


def table(house: House) -> list[str]:
    """What the tree looks like, in lines."""
    offences = house.offences()
    by_rule: dict[str, list[Offence]] = defaultdict(list)
    for one in offences:
        by_rule[one.rule].append(one)
    lines = [f"upward imports {len(by_rule['upward'])}", *(f"  {o.file}:{o.line} {o.what}" for o in by_rule["upward"])]
    lines += [f"readers of analysis {len(by_rule['readers'])}"]
    lines += [f"  {o.file}:{o.line} {o.what}" for o in by_rule["readers"]]
    lines += ["table writers"]
    for name, rooms in sorted(house.writers().items()):
        told = ", ".join(f"{room} ({len(writes)})" for room, writes in sorted(rooms.items()))
        lines.append(f"  {name:<16} owner {TABLE_OWNER.get(name, 'nobody'):<12} written by {told or 'nobody'}")
    for rule, title in (
        ("sql", "SQL in cards, commands, guides, wiring"),
        ("uncalled", "definitions without a caller"),
    ):
        lines += [f"{title} {len(by_rule[rule])}", *(f"  {o.file}:{o.line} {o.what}" for o in by_rule[rule])]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a source tree; 1 when something is against the rules and not known."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    root = Path(given[0]) if given else Path(__file__).parents[2]
    house = House(root)
    new, gone = judged(house.offences())
    if not house.modules:
        gone.append(f"{root}: there is no module of mailops below")
    sys.stdout.write("\n".join(table(house)) + "\n")
    sys.stdout.write(f"known {len(KNOWN)}, new {len(new)}, no longer so {len(gone)}\n")
    for said in [*map(str, new), *gone]:
        sys.stderr.write(f"{said}\n")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
