"""Do the rules generalise? Read each group of messages with only those rules that messages outside the group support.

    python benchmarks/crossval_bounces.py [TRUTH] [--by source|family|language ...]

Without TRUTH: the project's own labelled messages. Three ways to part them: by the project that collected them, by the
mail system that wrote them, and by the language of their words. For each group the tables are cut down to the phrases,
provider rows and sentences that stand in at least one message of the *other* groups, and the group is read with what is
left. A large drop against the full tables would mean that rules were written for single messages. Phrases that no
message here supports come from documentation and experience, not from the data; they are left out of the cut tables
too, which makes the figures a lower bound.

One line a group: messages, then kind, recipients (F1), reason, hard, each with all rules and with the others' rules
only, and how many addresses would be suppressed wrongly. The last line of each way is the sum over its groups.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailops import mime
from mailops.bounces.reading import judging, patterns, phrases, providers, reader, systems
from mailops.bounces.reading.phrases import flat
from mailops.testing.suites.bounces import as_prediction, read

classify = importlib.import_module("mailops.bounces.reading.classify")
DEFAULT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "bounces_field" / "truth.jsonl"
WAYS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "source": lambda row, text: str(row.get("source") or row.get("group")),
    "family": lambda row, text: family(row),
    "language": lambda row, text: language(text),
}
PHRASES = ("FAILURE", "DELAY", "FINAL", "SUBJECTS", "SUCCESS")


def words_of(raw: bytes) -> str:
    """Everything a rule could match in a message, prepared both ways."""
    head, body = mime.split_message(raw)
    fields = mime.fields_of(head)
    pieces = [mime.decode_words(fields.first("subject")), fields.first("from")]
    pieces += [part.text() for part in mime.leaves(fields, body)]
    text = "\n".join(pieces)[:60_000]
    prepared = " ".join(classify.prepare(text[start : start + 4000]) for start in range(0, len(text), 3600))
    return flat(text) + "\n" + prepared


LANGUAGES: tuple[tuple[str, str], ...] = (
    ("ja", r"[\u3041-\u30ff]"),
    ("ko", r"[\uac00-\ud7a3]"),
    ("zh", r"[\u4e00-\u9fff]{2}"),
    ("ru", r"[\u0430-\u044f]{3}"),
    ("de", r"\b(?:nicht|wurde|konnte|nachricht|empf\u00e4nger)\b"),
    ("fr", r"\b(?:votre|n'a|\u00e9t\u00e9|destinataire|cette)\b"),
    ("es", r"\b(?:mensaje|destinatario|entregar|entregado|su correo)\b"),
    ("pt", r"\b(?:mensagem|n\u00e3o|destinat\u00e1rio|entregue)\b"),
    ("it", r"\b(?:messaggio|recapit\w*|destinatari|\u00e8 stato)\b"),
    ("nl", r"\b(?:bericht|niet|ontvanger\w*|bezorgd)\b"),
    ("sv, da, no", r"\b(?:meddelande\w*|ikke|kunde inte|leveres|mottagare)\b"),
    ("pl, cs", r"\b(?:wiadomo\w+|nie|zpr\u00e1v\w+|doru\u010d\w+)\b"),
)
"""By the script, else by words that every report in the language has; what none of these fits is English."""


def language(text: str) -> str:
    """The language in which most of the report's opening is written."""
    opening = text[:3000].lower()
    found = [(len(re.findall(pattern, opening)), name) for name, pattern in LANGUAGES]
    number, name = max(found, key=lambda pair: pair[0])
    return name if number > 2 else "en"


def family(row: dict[str, Any]) -> str:
    """The mail system: the last word of the format, without the mark of the project that collected it."""
    return re.sub(r"^(?:sis|flufl|made|phpbh|mbd)\w*-(?:lhost-|rhost-)?", "", str(row.get("format") or "unknown"))


def stands(pattern: str, text: str) -> bool:
    """True when a pattern is found in a text."""
    pieces = tuple(piece.strip() or piece for piece in pattern.lstrip("^~").split("*"))
    return classify._stands(pieces, text)


class Support:
    """Which messages support which rule: asked once, so that a group can be left out by arithmetic of sets."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._found: dict[str, frozenset[int]] = {}

    def __call__(self, rule: str, left_out: frozenset[int]) -> bool:
        """True when a message that is not left out holds the words of the rule."""
        if rule not in self._found:
            self._found[rule] = frozenset(n for n, text in enumerate(self._texts) if stands(rule, text))
        return bool(self._found[rule] - left_out)


@contextmanager
def cut_tables(support: Support, left_out: frozenset[int]) -> Iterator[int]:
    """The tables reduced to what the other messages support: the number of phrases kept."""
    before = [
        (room, name, getattr(room, name)) for room in (reader, judging) for name in PHRASES if hasattr(room, name)
    ]
    full, rows, prints = classify.refusals, providers.PROVIDERS, reader.wrote
    kept = [one for one in patterns.phrases() if support(one.words, left_out)]
    table = classify.compile_table(kept)
    classify.refusals = lambda: table
    providers.PROVIDERS = tuple(
        (name, marks, tuple(row for row in answers if support(row[0], left_out))) for name, marks, answers in rows
    )
    for room, name, _ in before:
        setattr(room, name, tuple(one for one in getattr(phrases, name) if support(one, left_out)))
    marks_kept = [(name, words) for name, words in systems.table()["mark"] if support(words, left_out)]
    reader.wrote = lambda prepared: next((name for name, words in marks_kept if words in prepared), "")
    classify._classify.cache_clear()
    try:
        yield len(kept)
    finally:
        classify.refusals, providers.PROVIDERS, reader.wrote = full, rows, prints
        for room, name, value in before:
            setattr(room, name, value)
        classify._classify.cache_clear()


def count(rows: list[tuple[dict[str, Any], bytes]]) -> Counter[str]:
    """What is right and what was asked, as the data's scorer counts them."""
    c: Counter[str] = Counter()
    for truth, raw in rows:
        guess = as_prediction(truth["id"], read(raw, truth))
        okay = set(truth.get("kind_ok") or [truth["kind"]])
        c["kind_n"] += 1
        c["kind"] += guess["kind"] in okay
        if truth["kind"] not in ("bounce", "delayed"):
            continue
        if truth.get("reason"):
            c["reason_n"] += 1
            c["reason"] += guess.get("reason") in {truth["reason"], *(truth.get("reason_ok") or [])}
        if truth.get("hard") is not None:
            c["hard_n"] += 1
            c["hard"] += guess.get("hard") is truth["hard"]
            c["wrong"] += bool(guess.get("hard")) and truth["hard"] is False
        if truth.get("recipients") is not None:
            left = {address.lower() for address in guess["recipients"]}
            for want in truth["recipients"]:
                names = {want["address"].lower(), *(name.lower() for name in want.get("alt") or [])}
                c["want"] += 1
                c["hit"] += bool(left & names)
                left -= names
            c["extra"] += len(left)
    return c


def rates(c: Counter[str]) -> tuple[float | None, ...]:
    """Kind, F1, reason, hard; None where nothing was asked."""
    parts = [(c["kind"], c["kind_n"]), (2 * c["hit"], c["want"] + c["hit"] + c["extra"])]
    parts += [(c[name], c[name + "_n"]) for name in ("reason", "hard")]
    return tuple(right / asked if asked else None for right, asked in parts)


def line(name: str, number: int, full: Counter[str], cut: Counter[str]) -> str:
    """One line of the table."""
    pairs = zip(rates(full), rates(cut), strict=True)
    cells = [f"{a:.3f} {b:.3f}" if a is not None and b is not None else "    -     -" for a, b in pairs]
    return f"  {name[:38]:<38} {number:>4}   {'   '.join(cells)}   {full['wrong']} {cut['wrong']}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--by", nargs="+", choices=sorted(WAYS), default=list(WAYS))
    parser.add_argument("--least", type=int, default=3, help="groups with fewer reports are shown as one")
    arguments = parser.parse_args()
    path = arguments.truth
    if not path.is_file():
        sys.stderr.write(f"There is no {path}: give a truth.jsonl.\n")
        return 2
    rows: list[tuple[dict[str, Any], bytes]] = []
    for text in path.read_text("utf-8").splitlines():
        row = json.loads(text)
        if not str(row.get("group", "")).startswith("newline"):
            rows.append((row, (path.parent / row["file"]).read_bytes()))
    texts = [words_of(raw) for _, raw in rows]
    support = Support(texts)
    unused = sum(not support(one.words, frozenset()) for one in patterns.phrases())
    print(f"{len(rows)} messages; phrases: {len(patterns.phrases())}, of which {unused} stand in none of them")
    for way in arguments.by:
        groups: dict[str, list[int]] = defaultdict(list)
        for number, (row, _) in enumerate(rows):
            if row["kind"] in ("bounce", "delayed"):
                groups[WAYS[way](row, texts[number])].append(number)
        print(f"\nleft out: {'one ' + way:<36} reports   kind          F1            reason        hard          wrong")
        print(f"  {'':<43}   all   others  all   others  all   others  all   others  (all, others)")
        total: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        small: tuple[int, Counter[str], Counter[str]] = (0, Counter(), Counter())
        for name, members in sorted(groups.items(), key=lambda pair: -len(pair[1])):
            some = [rows[number] for number in members]
            full = count(some)
            with cut_tables(support, frozenset(members)):
                cut = count(some)
            total[0].update(full)
            total[1].update(cut)
            if len(members) >= arguments.least:
                print(line(name, len(members), full, cut))
            else:
                small = (small[0] + len(members), small[1] + full, small[2] + cut)
        if small[0]:
            print(line(f"(with fewer than {arguments.least})", *small))
        print(line("all, each left out once", sum(map(len, groups.values())), *total))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
