"""The first question of a sign-in guide: on which machine mailops is and who signs in; the answer picks the flow.

The flow decides which steps there are: an application that signs in by itself needs rights on the mailbox, a desktop
client has no secret and no web address. Guides limit steps and lines by the name ``flow``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..oauth.account import FlowKind
from ..oauth.chooser import FlowChoice, Where, Who, choose_flow
from .model import Choice, Condition, Input

PERSON: Condition = (("flow", ("web", "loopback", "paste_back", "device")),)
APPLICATION: Condition = (("flow", ("app_secret", "service_account")),)
WEB: Condition = (("flow", ("web",)),)
PUBLIC: Condition = (("flow", ("loopback", "paste_back", "device")),)
SECRET: Condition = (("flow", ("web", "app_secret")),)
LOCAL = "http://localhost"
NOT_PROVED = (
    "A passed test does not prove that mail goes out: restrictions may remain at the provider. Send a real test mail "
    "to be sure (`mailops doctor connection SERVER`)."
)

WHO = Input(
    "who",
    "Who signs in",
    "choice",
    preset=Who.MAILBOX_OWNER,
    choices=(
        Choice(Who.MAILBOX_OWNER, "The mailbox's owner, once, in a browser"),
        Choice(Who.MEMBER, "A member, for a shared mailbox"),
        Choice(Who.APPLICATION, "Nobody: the application itself (an administrator grants it the mailbox)"),
    ),
)
WHO_GOOGLE = replace(
    WHO,
    choices=(
        WHO.choices[0],
        Choice(Who.APPLICATION, "Nobody: a service account (an administrator of the Workspace delegates to it)"),
    ),
)
WHERE = Input(
    "where",
    "Where mailops runs",
    "choice",
    preset=Where.WEB_SERVICE,
    choices=(
        Choice(Where.WEB_SERVICE, "At a public https address, as the database"),
        Choice(Where.THIS_MACHINE, "On the machine of the browser that signs in"),
        Choice(Where.REMOTE, "On another machine, by JupyterHub or SSH"),
        Choice(Where.NO_SCREEN, "Where nobody watches: a job, a container"),
    ),
)
SHARED = Input(
    "shared",
    "Shared mailbox",
    "email",
    required=False,
    needed=(("who", (Who.MEMBER,)),),
    help="Its own address. The mailbox above is then the member's, who signs in.",
)
FIRST = (WHO, WHERE, SHARED)


def choice_of(provider: str, answers: Mapping[str, Any]) -> FlowChoice:
    """The flow that the answers amount to; the web flow until somebody says otherwise."""
    where, who = str(answers.get("where") or Where.WEB_SERVICE), str(answers.get("who") or Who.MAILBOX_OWNER)
    return choose_flow(provider, Where(where), Who(who))


def flow_of(provider: str, answers: Mapping[str, Any]) -> FlowKind | None:
    """The flow; None for a provider without sign-in."""
    return choice_of(provider, answers).flow if provider in ("outlook", "gmail") else None


def with_flow(provider: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    """The answers with the flow among them, for conditions."""
    flow = flow_of(provider, answers)
    return {**answers, "flow": flow.value} if flow is not None else dict(answers)
