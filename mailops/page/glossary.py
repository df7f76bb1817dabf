"""Words that a newcomer cannot know, each in one sentence: shown behind a mark where the word is a heading, a figure's
name or a fact's, and all together in the documentation (``docs/glossary.md``)."""

from __future__ import annotations

import re

WORDS = {
    "Alias": "An address whose mail makes a record of some kind, such as a lead or a ticket.",
    "Alias domain": "The domain of the addresses at which a company is written to, and that answers come back to.",
    "Bounce": "A report that a mail could not be delivered, sent back to the envelope's sender.",
    "Cause": "Why a server refused a mail or put it off, read from its answer.",
    "Code": "The number in front of a mail server's answer: 2 is yes, 4 is not now, 5 is no.",
    "Deliveries": "One for each recipient: a mail to three people is three deliveries.",
    "Delivery Failed": "A server refused it for good, or it was tried too often; nothing more happens by itself.",
    "DKIM": "A signature in a mail by which receivers see that your domain sent it and nobody changed it.",
    "DMARC": "What your domain asks receivers to do with mail in its name that neither SPF nor DKIM vouches for.",
    "Due now": "Mail whose next attempt may begin at once.",
    "Envelope": "The addresses that servers use among themselves; reports go to its sender, whatever From says.",
    "From": "Who the mail is from, as people see it; servers may see another address in the envelope.",
    "FROM Filtering": "The addresses or domains a server is used for; without one it takes what nobody else takes.",
    "Heartbeat": "The last sign of life of a process that runs for long.",
    "Holders": "The servers that have had the mail, in their order.",
    "Message-ID": "The name that a mail carries for life; answers and reports name it.",
    "Outgoing": "Accepted and not sent yet: it waits for its turn or for its next attempt.",
    "Proof": "The line of a log, or the answer of a server, by which this is known.",
    "Reason": "Why it failed or waits: the server's own words, or mailops'.",
    "Recipient domain": "What stands after the @ of the people who are written to.",
    "Sent": "The next server has taken it; a report may still come back.",
    "SPF": "A record in DNS that lists which servers may send with your domain as envelope sender.",
    "Suppression list": "Addresses that get no more mail, because mail to them kept coming back.",
    "Tries": "How often it was handed to a server, the first time included.",
    "Verdict": "What a check found: passed, a warning, failed, skipped, or not to be known now.",
}
_BY_WORD = {word.lower(): (word, said) for word, said in WORDS.items()}


def explained(heading: str) -> tuple[str, str] | None:
    """The word that a heading is, or is the plural of, with its sentence; none where the heading is no such word."""
    text = re.sub(r"\s+", " ", heading).strip().lower()
    for word in (text, text.removesuffix("s")):
        if word in _BY_WORD:
            return _BY_WORD[word]
    return None
