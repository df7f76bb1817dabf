"""Do the rules generalise? Read each project's messages with only those rules that another project's messages support.

    python benchmarks/crossval_bounces.py [TRUTH]        (default: the project's own labelled messages)

For each source of messages (a project that collected them) the tables are cut down to the patterns, provider rows and
phrases that stand in at least one message of the *other* sources, and the messages of this source are read with what
is left. A large drop against the full tables would mean that rules were written for single messages. ``unused`` counts
patterns that no development message supports at all: they come from documentation and experience, not from the data,
and are left out of the cut tables too, which makes the figures a lower bound.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailops import mime
from mailops.bounces import parse
from mailops.bounces.reading import patterns, phrases, providers, reader
from mailops.bounces.reading.phrases import flat
from mailops.testing.suites.bounces import as_prediction

classify = importlib.import_module("mailops.bounces.reading.classify")
DEFAULT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "bounces_field" / "truth.jsonl"
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


def stands(pattern: str, corpus: list[str]) -> bool:
    """True when a pattern is found in one of the texts."""
    pieces = tuple(piece.strip() or piece for piece in pattern.lstrip("^~").split("*"))
    return any(classify._stands(pieces, text) for text in corpus)


@contextmanager
def cut_tables(corpus: list[str]) -> Iterator[tuple[int, int]]:
    """The tables reduced to what the texts support: (rules kept, rules in all)."""
    before = {name: getattr(reader, name) for name in PHRASES}
    full, rows, prints = classify.refusals, providers.PROVIDERS, reader.FINGERPRINTS
    kept = [one for one in patterns.phrases() if stands(one.words, corpus)]
    table = classify.compile_table(kept)
    classify.refusals = lambda: table
    providers.PROVIDERS = tuple(
        (name, marks, tuple(row for row in answers if stands(row[0], corpus))) for name, marks, answers in rows
    )
    for name in PHRASES:
        setattr(reader, name, tuple(one for one in getattr(phrases, name) if stands(one, corpus)))
    reader.FINGERPRINTS = tuple(
        (name, tuple(one for one in words if stands(one, corpus))) for name, words in phrases.FINGERPRINTS
    )
    classify._classify.cache_clear()
    try:
        yield len(kept), len(patterns.phrases())
    finally:
        classify.refusals, providers.PROVIDERS, reader.FINGERPRINTS = full, rows, prints
        for name, value in before.items():
            setattr(reader, name, value)
        classify._classify.cache_clear()


def score(rows: list[tuple[dict[str, Any], bytes]]) -> dict[str, float]:
    """Kind, reason and hard/soft accuracy, recipients F1, as the data's scorer counts them."""
    c: collections.Counter[str] = collections.Counter()
    for truth, raw in rows:
        guess = as_prediction(truth["id"], parse(raw))
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
            c["wrong_hard"] += bool(guess.get("hard")) and truth["hard"] is False
        if truth.get("recipients") is not None:
            left = {address.lower() for address in guess["recipients"]}
            for want in truth["recipients"]:
                names = {want["address"].lower(), *(name.lower() for name in want.get("alt") or [])}
                c["want"] += 1
                c["hit"] += bool(left & names)
                left -= names
            c["extra"] += len(left)
    precision = c["hit"] / max(c["hit"] + c["extra"], 1)
    recall = c["hit"] / max(c["want"], 1)
    return {
        "kind": c["kind"] / max(c["kind_n"], 1),
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "reason": c["reason"] / max(c["reason_n"], 1),
        "hard": c["hard"] / max(c["hard_n"], 1),
        "wrong_hard": c["wrong_hard"],
    }


def main() -> int:
    """Print one line a source: full tables and cut ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", nargs="?", type=Path, default=DEFAULT)
    path = parser.parse_args().truth
    if not path.is_file():
        sys.stderr.write(f"There is no {path}: give a truth.jsonl.\n")
        return 2
    groups: dict[str, list[tuple[dict[str, Any], bytes]]] = collections.defaultdict(list)
    texts: dict[str, list[str]] = collections.defaultdict(list)
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        if str(row.get("group", "")).startswith("newline"):
            continue
        raw = (path.parent / row["file"]).read_bytes()
        groups[row["source"]].append((row, raw))
        texts[row["source"]].append(words_of(raw))
    everything = [text for one in texts.values() for text in one]
    unused = sum(not stands(one.words, everything) for one in patterns.phrases())
    print(f"patterns: {len(patterns.phrases())}, supported by no message here: {unused}")
    for source, rows in sorted(groups.items()):
        full = score(rows)
        with cut_tables([text for other, some in texts.items() if other != source for text in some]) as (left, total):
            cut = score(rows)
        print(f"{source} ({len(rows)} messages; {left} of {total} patterns are supported by the other sources)")
        for name in full:
            print(f"    {name:<11} all rules {full[name]:.4f}   others' rules only {cut[name]:.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
