"""The filter of the queue's commands: its options, written once, in place of a command's parameter ``chosen``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from ..queue.filters import QueueFilter

IDS = "ids"
OPTIONS: dict[str, Any] = {
    IDS: Annotated[list[int] | None, typer.Argument(help="Mail ids.")],
    "state": Annotated[str | None, typer.Option("--state", help="Outgoing, Sent, 'Delivery Failed' or Cancelled.")],
    "server": Annotated[str | None, typer.Option("--server", help="The server of the last attempt.")],
    "sender": Annotated[str | None, typer.Option("--from", help="A sender address or domain.")],
    "recipient": Annotated[str | None, typer.Option("--to", help="A recipient address or domain.")],
    "reason": Annotated[str | None, typer.Option("--reason", help="A cause, such as userunknown or mailboxfull.")],
    "login": Annotated[
        str | None, typer.Option("--login", help="The login that handed the mail over (mailops serve).")
    ],
    "text": Annotated[str | None, typer.Option("--text", help="Part of the subject or of the failure reason.")],
}


def filtered(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take the filter's options, without those that do not fit it, and get the filter as ``chosen``."""
    names = [name for name in OPTIONS if name not in left_out]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**words: Any) -> None:
            command(chosen=_chosen({name: words.pop(name) for name in names}), **words)

        hints = get_type_hints(command, localns={"QueueFilter": object}, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == "chosen":
                parameters += [
                    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name])
                    for name in names
                ]
            else:
                kind = inspect.Parameter.KEYWORD_ONLY
                parameters.append(parameter.replace(kind=kind, annotation=hints[parameter.name]))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _chosen(words: dict[str, Any]) -> QueueFilter:
    from ..queue.filters import QueueFilter, state_from_label

    state, ids = words.pop("state", None), words.pop(IDS, None)
    return QueueFilter(state=state_from_label(state) if state else None, ids=tuple(ids) if ids else None, **words)
