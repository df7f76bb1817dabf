"""The kernel of a job: IPython's own, whose messages are redacted, and cut where they are too many, as they leave.

Started by :data:`mailops.jobs.child.KERNEL_COMMAND`. What the notebook's code reveals is registered with the redactor
of this very process, so it is masked in every output, also in those papermill saves after each step.
"""

from __future__ import annotations

import sys
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session

from ..secrets import redact, redact_value
from .clean import register_environment
from .flood import Meter, cut_content

PICTURES = ("image/png", "image/jpeg", "image/gif", "application/pdf")


def _redacted(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    kept = (
        {k: v for k, v in content.get("data", {}).items() if k in PICTURES}
        if isinstance(content.get("data"), dict)
        else {}
    )
    clean = redact_value(content)
    if kept:
        clean["data"].update(kept)  # a picture's bytes are no text
    return clean


class RedactingSession(Session):
    """A session that redacts the content of everything it sends, and sends no more of it than is kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._meter = Meter(redact)

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **kwargs: Any) -> Any:
        whole = isinstance(msg_or_type, dict)
        kind = msg_or_type.get("msg_type") or msg_or_type["header"]["msg_type"] if whole else msg_or_type
        said = msg_or_type.get("content") if whole else content
        parent = msg_or_type.get("parent_header") if whole else (args[0] if args else kwargs.get("parent"))
        if isinstance(said, dict):
            within = self._within(stream, kind, said, _id(parent))
            if within is None:
                return None
            said = within
        if whole:
            return super().send(stream, {**msg_or_type, "content": said}, content, *args, **kwargs)
        return super().send(stream, msg_or_type, said, *args, **kwargs)

    def _within(self, stream: Any, kind: str, said: dict[str, Any], cell: str) -> dict[str, Any] | None:
        """What of a message goes out now; before the word that a cell has ended, the end of what it printed."""
        if kind == "stream":
            text = said.get("text") or ""
            now = self._meter.take(cell, said.get("name", "stdout"), text)
            return {**said, "text": now} if now or not text else None
        if kind == "clear_output":
            self._meter.cleared(cell)
        elif kind == "status" and said.get("execution_state") == "idle":
            for of, name, end in self._meter.rest():
                super().send(stream, "stream", {"name": name, "text": end}, parent={"msg_id": of})
        return cut_content(_redacted(said))


def _id(parent: Any) -> str:
    """The id of the request that a message belongs to; a parent is given as a message or as its header."""
    return str((parent.get("header") or parent).get("msg_id", "")) if isinstance(parent, dict) else ""


class JobKernel(IPKernelApp):
    """The kernel application with that session."""

    def _session_default(self) -> Session:
        return RedactingSession(parent=self)


def main() -> None:
    """Run the kernel until it is told to stop."""
    register_environment()
    JobKernel.launch_instance(sys.argv[1:])


if __name__ == "__main__":
    main()
