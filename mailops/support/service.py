"""Bundles for one workspace: made in memory, looked at, then written; answers translated back; verdicts made again.

Nothing is written before the scan has found nothing (:mod:`.scan`); what it finds refuses the bundle as a whole.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputRefused, MailopsError
from ..model.text import counted
from ..platforms import new_file
from ..providers.files import FILES
from . import keeping
from .clean import Cleaner
from .evidence import SECONDS, Judged, cause_again, domain_again, look, public_words
from .gather import Case, Material, case_of, gather, known_answers
from .names import Names, organisation
from .page import index, readme
from .questions import Answer, answered
from .scan import Left, scan

if TYPE_CHECKING:
    from ..ops import Ops

MOST_FILES, MOST_BYTES = 500, 200_000_000


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is ready to be written. ``files`` are what the zip will hold, ``replaced`` how many places of each
    kind have stand-ins, ``removed`` the parts that are no text and were left out."""

    files: Mapping[str, bytes]
    answers: tuple[Answer, ...]
    warnings: tuple[str, ...]
    replaced: Mapping[str, int]
    removed: tuple[str, ...]
    open_questions: tuple[str, ...]
    _place: Path = field(repr=False)
    _key: keeping.Key = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    @property
    def says(self) -> str:
        """What the bundle is, in a sentence."""
        done = ", ".join(counted(n, k, {"address": "addresses"}.get(k, "")) for k, n in sorted(self.replaced.items()))
        return f"{counted(len(self.files), 'file')}, {counted(self.size, 'byte')}; replaced: {done or 'nothing'}."

    def write(self, out: str | Path) -> Path:
        """Write the zip, for its owner alone, and keep the key in the workspace. A file that is there is left alone.

        Raises :class:`InputRefused` ``output.unwritable``.
        """
        path = Path(out).expanduser()
        if path.exists():
            raise _unwritable(path, "there is such a file already")
        keeping.write(self._place, self._key)  # a bundle without its key could never be translated
        try:
            with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in self.files.items():
                    archive.writestr(name, data)
        except OSError as error:
            raise _unwritable(path, error.strerror or str(error)) from error
        return path


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Why support is worth asking now: so many unexplained failures, the newest mail of them, and the command."""

    what: str
    name: str
    count: int
    mail: int | None
    command: str
    says: str


class Support:
    """Bundles of one workspace."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops

    def bundle(
        self,
        *,
        mail: int | None = None,
        file: str | Path | None = None,
        record: str = "",
        at: str = "",
        answers: Mapping[str, str] | None = None,
        dns: bool = True,
        seconds: float = SECONDS,
    ) -> Bundle:
        """A bundle about a mail of the queue, a mail in a file, or a record and when it was sent; nothing is written.

        ``answers`` are a person's, by question (:meth:`questions`). Raises :class:`InputRefused` ``support.case`` for
        an incomplete case, ``support.left`` where an address, token or secret would be left.
        """
        ops = self._ops
        case = case_of(ops, mail, file, record, at)
        material = gather(ops, case)
        for number, domain in enumerate(self._domains(case) if dns else (), start=1):
            material.facts[f"dns/{number}.json"] = look(ops, domain, seconds=seconds)
        told = answered(dict(answers or {}), known_answers(ops, case, material.facts))
        material.facts["answers.json"] = [asdict(one) for one in told]
        return self._cleaned(case, material, told)

    def questions(
        self, *, mail: int | None = None, file: str | Path | None = None, record: str = "", at: str = ""
    ) -> tuple[Answer, ...]:
        """What support asks, with the answers that are known here; of no case those that hang on none."""
        ops = self._ops
        named = mail is not None or file is not None or record or at
        case = case_of(ops, mail, file, record, at) if named else Case(None, None)
        facts = gather(ops, case).facts
        return answered({}, known_answers(ops, case, facts) if named else {})

    def translate(self, text: str) -> keeping.Translation:
        """Support's answer with the real names in it."""
        return keeping.translate(keeping.read(self._ops.workspace.path), text)

    def suggested(self) -> list[Suggestion]:
        """Addresses and domains with at least three unexplained failures in seven days: a bundle is worth it."""
        found = []
        for one in self._ops.analysis.recurring():
            named = f"--mail {one.mail}" if one.mail else "--file MAIL.eml"
            found.append(
                Suggestion(
                    one.what,
                    one.name,
                    one.count,
                    one.mail,
                    f"mailops support bundle {named} --out FILE.zip",
                    one.suggestion,
                )
            )
        return found

    # --- inside -------------------------------------------------------------------------------------------------------

    def _domains(self, case: Case) -> tuple[str, ...]:
        """Whose DNS is looked at: the sender's, and those of this workspace."""
        own = [domain.name for domain in self._ops.setup.alias_domains]
        sender = case.sender.strip().strip("<>").rpartition("@")[2].rstrip(">").lower()
        return tuple(dict.fromkeys(name for name in (sender, *own) if "." in name))[:5]

    def _cleaned(self, case: Case, material: Material, told: tuple[Answer, ...]) -> Bundle:
        place = self._ops.workspace.path
        key = keeping.read(place)
        names = Names(key.atoms)
        dns = [value for name, value in material.facts.items() if name.startswith("dns/")]
        public = public_words(dns)
        facts = {name: _plain(value) for name, value in material.facts.items()}
        known = self._secrets()
        cleaner = Cleaner(names, hosts=_known_hosts(), public=public, secrets=known)
        cleaner.learning = True
        for raw in material.mails.values():
            cleaner.mail(raw)
        cleaner.value(facts)
        cleaner.learning, cleaner.removed = False, []
        mails = {name: cleaner.mail(raw) for name, raw in material.mails.items()}
        clean = {name: cleaner.value(value) for name, value in facts.items()}
        for value in (clean[name] for name in clean if name.startswith("dns/")):
            if value.get("setup", {}).get("database"):
                value["setup"]["database"] = names.label(value["setup"]["database"])
        replaced = dict(sorted(cleaner.counts.items()))
        clean["redactions.json"] = {
            "replaced": replaced,
            "left_out": cleaner.removed,
            "stand_ins": sorted({*names.addresses.values(), *names.domains.values()}),
            "kept": "IP addresses, names of people, words, published keys, hosts of providers",
        }
        listing = ["index.html", "README.txt", *mails, *clean]
        files = {
            "index.html": index(clean, listing).encode(),
            "README.txt": readme(clean, listing).encode(),
            **mails,
            **{name: json.dumps(value, ensure_ascii=False, indent=1).encode() for name, value in clean.items()},
        }
        source = [*material.mails.values(), json.dumps(facts, ensure_ascii=False).encode()]
        _refuse(scan(files, source, issued=names.issued, secrets=known, public=public))
        still = tuple(one.question for one in told if not one.answer)
        return Bundle(
            files, told, case.warnings, replaced, tuple(cleaner.removed), still, place, keeping.extend(key, names)
        )

    def _secrets(self) -> list[str]:
        """Every value that is kept as a secret here; revealing one also makes it known to the redactor."""
        ops = self._ops
        found: list[str] = []
        references = [s.password for s in ops.setup.servers] + [a.password for a in ops.mailboxes.list()]
        with suppress(MailopsError):
            references += [f"vault:{entry.name}" for entry in ops.secrets.vault.entries()]
        for reference in dict.fromkeys(references):
            if reference and ":" in reference:
                with suppress(MailopsError):
                    found.append(ops.secrets.reveal(reference))
        return [value for value in found if len(value) >= 4]


def recheck(path: str | Path) -> list[Judged]:
    """The verdicts of a bundle, made again from its evidence alone; needs no workspace. Raises :class:`InputRefused`
    ``support.bundle`` for what is no bundle."""
    out: list[Judged] = []
    for name, value in _opened(Path(path).expanduser()).items():
        if name.startswith("dns/"):
            out += domain_again(value)
        elif name == "why.json":
            out += [cause_again(one) for one in value]
    return out


def _opened(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise ValueError("it is too large")
            found = {e.filename: json.loads(archive.read(e)) for e in entries if e.filename.endswith(".json")}
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        zipfile.BadZipFile,
        RecursionError,
    ) as error:
        raise InputRefused(
            "This is no support bundle.",
            code="support.bundle",
            facts={"file": str(path), "reason": f"{type(error).__name__}: {error}"[:200]},
            fix="Take the zip as `mailops support bundle` wrote it.",
        ) from error
    if "case.json" not in found:
        raise InputRefused(
            "This zip is no support bundle.",
            code="support.bundle",
            facts={"file": str(path), "reason": "case.json is not in it"},
            fix="Take the zip as `mailops support bundle` wrote it.",
        )
    return found


def _refuse(left: tuple[Left, ...]) -> None:
    if not left:
        return
    raise InputRefused(
        "Something that names people or opens doors would be left in the bundle, so it is not written.",
        code="support.left",
        facts={"left": [f"{one.file}: {counted(one.count, one.kind, one.kind + 's')}" for one in left]},
        fix="Take the part out of the mail that the first pass does not understand, and give it with --file; report the"
        " spelling to mailops, without the value.",
    )


def _known_hosts() -> frozenset[str]:
    """Organisations whose hosts everybody knows: providers' servers, includes and keys."""
    names: list[str] = []
    for one in FILES.values():
        dns = one.dns
        names += [dns.spf_include, *dns.spf_alternatives, *dns.host_names]
        names += [target for expected in dns.dkim for target in expected.targets]
    return frozenset(organisation(name.lstrip("*.")) for name in names if name and "{" not in name and "." in name)


def _plain(value: Any) -> Any:
    """JSON-ready."""
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return str(value)


def _unwritable(path: Path, why: str) -> InputRefused:
    return InputRefused(
        "The file cannot be made.",
        code="output.unwritable",
        facts={"file": str(path), "reason": why},
        fix="Name a new file in a folder that exists and that you may write to.",
    )
