"""The kernel of a job: IPython's own, whose messages are redacted as they leave.

Started as ``python -m mailops.jobs.kernel -f CONNECTION_FILE``. What the notebook's code reveals is registered with the
redactor of this very process, so it is masked in every output, also in those papermill saves after each step.
"""

from __future__ import annotations

import sys
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session

from ..secrets import redact_value
from .clean import register_environment

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
    """A session that redacts the content of everything it sends."""

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(msg_or_type, dict):
            msg_or_type = {**msg_or_type, "content": _redacted(msg_or_type.get("content"))}
        return super().send(stream, msg_or_type, _redacted(content), *args, **kwargs)


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
