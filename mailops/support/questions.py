"""What support asks, as data: the questions, and how a mail is exported from the program that it is read with.

An answer is a person's, or what is known here; evidence stands beside either.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputRefused


@dataclass(frozen=True, slots=True)
class Question:
    """One question; ``key`` names it on the command line."""

    key: str
    text: str


QUESTIONS: tuple[Question, ...] = (
    Question("reply", "Is this a notification from a reply that the database received?"),
    Question("sent", "Is this a message that was sent from the database?"),
    Question(
        "incoming",
        "Is there an incoming mail server, or is mail redirected or forwarded through a mail server of your own?",
    ),
    Question("example", "Is there an example of a mail that was forwarded correctly?"),
    Question("changed", "Were settings of email changed recently, and did it stop working after that?"),
    Question("specific", "Is it generic, or specific to one use case? Which one?"),
    Question(
        "expected",
        "Does it work as expected? The bounce of a mail that was sent should reach the database and show the red"
        " envelope.",
    ),
)
"""Five about the flow, two about the case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with its answer and the evidence for it. ``by`` is ``person``, or ``mailops`` where it was found in
    what is kept here; an empty answer is still open."""

    key: str
    question: str
    answer: str
    by: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """How a mail is saved as a file in one program, and where its maker says so."""

    program: str
    steps: tuple[str, ...]
    address: str = ""


EXPORTS: tuple[Export, ...] = (
    Export(
        "Gmail",
        ("Open the mail.", "More (⋮) beside Reply → Show original.", "Download original: an .eml file."),
        "https://support.google.com/mail/answer/29436",
    ),
    Export(
        "Outlook",
        (
            "Classic Outlook: open the mail, File → Save As, type Outlook Message Format: a .msg file.",
            "New Outlook and the web: More actions (…) → Save as, or Download: an .eml file.",
        ),
        "https://support.microsoft.com/en-us/office/view-internet-message-headers-in-outlook-cd039382-dc6e-4264-ac74-c048563d212c",
    ),
    Export("Thunderbird", ("Select the mail.", "More → Save As… (or Ctrl+S): an .eml file.")),
    Export("Apple Mail", ("Select the mail.", "File → Save As…, format Raw Message Source: an .eml file.")),
)

FORWARDED = (
    "This is a forwarded copy: it has only part of what an investigation needs. Ask the original sender for the"
    " original mail as an .eml or .msg file."
)


def answered(given: dict[str, str], known: dict[str, Answer]) -> tuple[Answer, ...]:
    """Every question with a person's answer, else with what is known. Raises :class:`InputRefused` for an answer to
    nothing that is asked."""
    keys = [question.key for question in QUESTIONS]
    odd = next((key for key in given if key not in keys), None)
    if odd is not None:
        raise InputRefused(
            f"Nobody asks {odd[:60]!r}.",
            code="support.question",
            facts={"given": odd[:100], "known": keys},
            fix="Answer one of these: mailops support questions lists them.",
        )
    out = []
    for question in QUESTIONS:
        found = known.get(question.key)
        evidence = found.evidence if found else ()
        told = given.get(question.key, "").strip()
        if told:
            out.append(Answer(question.key, question.text, told, "person", evidence))
        else:
            out.append(Answer(question.key, question.text, found.answer if found else "", "mailops", evidence))
    return tuple(out)
