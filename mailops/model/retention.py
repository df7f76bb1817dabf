"""What is kept of mail, kind by kind, and for how long: data that Auto-Vacuum obeys and the settings may change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of what is kept. ``days`` is the default, 0 = for ever; ``setting`` stands in ``[retention]``."""

    name: str
    what: str
    days: float
    price: str

    @property
    def setting(self) -> str:
        return f"retention.{self.name}_days"


KINDS = (
    Kind("messages", "bytes and subjects of mails that are done", 90, "they cannot be tried again"),
    Kind("replies", "what servers answered, word for word", 90, "codes and causes stay, their words do not"),
    Kind("transcripts", "SMTP conversations of attempts", 90, "nothing but the words is gone"),
    Kind("reports", "reports as they came back", 90, "a better rule cannot judge them again"),
    Kind("logs", "queue ids, clients and senders from logs", 90, "an older mail is traced by its answers alone"),
    Kind("received", "received mail, and who wrote to whom in the inbound log", 90, "decisions and reasons stay"),
    Kind("runs", "pages and evidence of notebook runs", 90, "verdicts stay"),
    Kind("addresses", "addresses in facts", 0, "figures stay, by domain; the people in them have no name"),
)
"""Facts without people are kept for ever: no kind removes one, and no figure changes."""
