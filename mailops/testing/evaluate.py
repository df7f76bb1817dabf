"""Predictions for case files through the product's own public code, one JSON object a line.

``python -m mailops.testing.evaluate SUITE CASES`` where CASES is a JSON file (or, for ``bounces``, a folder or a
``truth.jsonl``). A suite is a row in :data:`SUITES`; it is called with the loaded JSON (None for other inputs) and the
path, and yields one dictionary a case. With ``--score`` the predictions are compared with what the file expects
(:mod:`mailops.testing.score`): what is not as expected is printed, then the sum, and the exit status is 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mailops.errors import ConfigError, InputRefused, MailopsError
from mailops.testing.score import Score, score
from mailops.testing.score_bounces import BounceScore, score_bounces

Suite = Callable[[Any, Path], Iterator[dict[str, Any]]]

SUITES: dict[str, str] = {
    "routing": "mailops.testing.suites.routing:routing",
    "gateway": "mailops.testing.suites.gateway:gateway",
    "spf": "mailops.testing.suites.dns:spf",
    "dmarc": "mailops.testing.suites.dns:dmarc",
    "dkim": "mailops.testing.suites.dns:dkim",
    "aggregate": "mailops.testing.suites.dns:aggregate",
    "bounces": "mailops.testing.suites.bounces:bounces",
}


def load(name: str) -> Suite:
    """The suite of this name. Raises :class:`ConfigError` for an unknown one."""
    if name not in SUITES:
        raise ConfigError(
            f"There is no suite {name!r}.",
            code="evaluate.suite_unknown",
            facts={"suites": sorted(SUITES)},
            fix=f"Use one of: {', '.join(sorted(SUITES))}.",
        )
    module, function = SUITES[name].split(":")
    try:
        suite: Suite = getattr(import_module(module), function)
    except ImportError as error:
        raise ConfigError(
            f"The suite {name!r} is not in this version.",
            code="evaluate.suite_missing",
            facts={"module": module, "reason": str(error)},
            fix="Upgrade mailops.",
        ) from error
    return suite


def predictions(name: str, path: Path) -> Iterator[dict[str, Any]]:
    """All predictions of a suite for a case file or folder."""
    suite = load(name)
    document = None
    if path.is_file() and path.suffix == ".json":
        try:
            document = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise InputRefused(
                "The case file is not valid JSON.",
                code="evaluate.not_json",
                facts={"file": str(path), "reason": str(error)},
                fix="Give a case file as described in docs/testing-kit.md.",
            ) from error
    elif not path.exists():
        raise InputRefused(
            "There is no such case file.", code="evaluate.no_file", facts={"file": str(path)}, fix="Check the path."
        )
    yield from suite(document, path)


def scored(name: str, path: Path) -> Score | BounceScore:
    """The predictions of a suite for a case file, compared with what the file expects."""
    found = list(predictions(name, path))
    text = path.read_text("utf-8")
    if name == "bounces":
        return score_bounces([json.loads(line) for line in text.splitlines() if line.strip()], found)
    return score(name, json.loads(text)["cases"], found)


def main(arguments: list[str]) -> int:
    """The command: prints predictions or their score; exit status 1 for a miss, 2 when it could not run."""
    wants_score = "--score" in arguments
    arguments = [one for one in arguments if one != "--score"]
    if len(arguments) != 2 or (wants_score and Path(arguments[1]).is_dir()):
        sys.stderr.write(f"usage: python -m mailops.testing.evaluate {{{','.join(SUITES)}}} CASES [--score]\n")
        return 2
    try:
        if wants_score:
            result = scored(arguments[0], Path(arguments[1]))
            sys.stdout.write(f"{result}\n")
            return 0 if result.clean else 1
        for prediction in predictions(arguments[0], Path(arguments[1])):
            sys.stdout.write(json.dumps(prediction, ensure_ascii=False) + "\n")
    except MailopsError as error:
        sys.stderr.write(f"Error: {error.message} [{error.code}]\nWhat to do: {error.fix}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
