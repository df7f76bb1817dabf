"""Bounce predictions against labelled messages: shares instead of a yes or no.

A label (a line of ``truth.jsonl``) says ``kind`` (``kind_ok``: all accepted ones), ``recipients`` (each an ``address``
and ``alt``, the same person under other names), ``reason`` with ``reason_ok``, ``hard``, ``status`` (a list of accepted
codes), ``per_recipient`` and ``feedback_type``. What is null or absent is not judged. Two mistakes are counted apart,
because they do harm: a message that reports no failure and is taken for one, and an address that would be suppressed
though it must not be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .score import Miss

Row = Mapping[str, Any]
REPORTS = frozenset({"bounce", "delayed", "success-dsn"})
FAILURES = frozenset({"bounce", "delayed"})
FIELDS = ("kind", "recipients", "reason", "hard", "status", "results", "feedback_type")


class BounceScore:
    """Sums over the messages that were judged, and every miss by name."""

    def __init__(self) -> None:
        self.messages = 0
        self.missing = 0
        self.raised = 0
        self.false_positives = 0
        self.wrong_suppressions = 0
        self.misses: list[Miss] = []
        self._asked: Counter[str] = Counter()
        self._right: Counter[str] = Counter()
        self._people: Counter[str] = Counter()

    def rate(self, field: str) -> float:
        """The share of messages whose field is right, of those that have a label for it; 1 when none has."""
        return self._right[field] / self._asked[field] if self._asked[field] else 1.0

    def asked(self, field: str) -> int:
        """How many messages have a label for this field."""
        return self._asked[field]

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall of the recipients of reports and complaints."""
        wrong = self._people["missed"] + self._people["extra"]
        return 2 * self._people["found"] / (2 * self._people["found"] + wrong) if self._people.total() else 1.0

    @property
    def clean(self) -> bool:
        """Whether there are messages and each is read as labelled."""
        return self.messages > 0 and not self.misses

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {self.rate(name):.4f}" for name in FIELDS if self._asked[name])
        return "\n".join(
            [
                *map(str, self.misses),
                f"{self.messages} messages ({self.missing} without a prediction, {self.raised} raised): {rates}, "
                f"recipients F1 {self.f1:.4f}, {self.false_positives} false positives, "
                f"{self.wrong_suppressions} wrong suppressions",
            ]
        )

    def add(self, row: Row, got: Row | None) -> None:
        """Judge one message."""
        self.messages += 1
        if got is None:
            self.missing += 1
            self._note(row, "prediction", "one", None)
        got = got or {}
        if got.get("error"):
            self.raised += 1
            self._note(row, "error", None, got["error"])
        said = str(got.get("kind") or "ordinary")
        accepted = set(row.get("kind_ok") or [row["kind"]])
        self._judge(row, "kind", said in accepted, sorted(accepted), said)
        self._harm(row, got, said, accepted)
        if said in accepted and said not in REPORTS | {"complaint"}:
            return  # read as something that names nobody, and people would agree
        if row.get("recipients") is not None and row["kind"] in REPORTS | {"complaint"}:
            self._count_people(row, got)
        if row["kind"] in FAILURES and (said not in accepted or said in FAILURES):
            self._judgement(row, got)
        if row.get("feedback_type"):
            wanted, mine = row["feedback_type"], got.get("feedback_type")
            self._judge(row, "feedback_type", str(mine).lower() == str(wanted).lower(), wanted, mine)

    def _harm(self, row: Row, got: Row, said: str, accepted: set[str]) -> None:
        if said not in FAILURES:
            return
        innocent = not accepted & REPORTS
        if innocent:
            self.false_positives += 1
            self._note(row, "false positive", row["kind"], said)
        if got.get("hard") and (innocent or row.get("hard") is False):
            self.wrong_suppressions += 1
            self._note(row, "wrong suppression", row.get("reason"), got.get("reason"))

    def _count_people(self, row: Row, got: Row) -> None:
        left = {_plain(one) for one in got.get("recipients") or []}
        missed = []
        for person in row["recipients"]:
            names = {_plain(person["address"]), *map(_plain, person.get("alt") or [])}
            self._people["found" if left & names else "missed"] += 1
            missed += [person["address"]] if not left & names else []
            left -= names
        self._people["extra"] += len(left)
        self._judge(row, "recipients", not missed and not left, f"also {missed}", f"beside them {sorted(left)}")

    def _judgement(self, row: Row, got: Row) -> None:
        if row.get("reason"):
            wanted = [row["reason"], *(row.get("reason_ok") or [])]
            self._judge(row, "reason", got.get("reason") in wanted, wanted, got.get("reason"))
        if row.get("hard") is not None:
            self._judge(row, "hard", got.get("hard") is row["hard"], row["hard"], got.get("hard"))
        if row.get("status"):
            self._judge(row, "status", got.get("status") in row["status"], row["status"], got.get("status"))
        if row.get("per_recipient"):
            each = {_plain(one["address"]): one["reason"] for one in row["per_recipient"]}
            said = {_plain(one.get("recipient")): one.get("reason") for one in got.get("results") or []}
            self._judge(row, "results", all(said.get(who) == why for who, why in each.items()), each, said)

    def _judge(self, row: Row, field: str, right: bool, wanted: Any, got: Any) -> None:
        self._asked[field] += 1
        if right:
            self._right[field] += 1
        else:
            self._note(row, field, wanted, got)

    def _note(self, row: Row, field: str, wanted: Any, got: Any) -> None:
        self.misses.append(Miss(str(row["id"]), field, wanted, got))


def score_bounces(rows: Iterable[Row], predictions: Iterable[Row]) -> BounceScore:
    """Judge the predictions of the suite ``bounces`` by the labels of its messages."""
    found = {str(one["id"]): one for one in predictions}
    total = BounceScore()
    for row in rows:
        total.add(row, found.get(str(row["id"])))
    return total


def _plain(address: Any) -> str:
    return str(address or "").strip().strip("<>").lower()
