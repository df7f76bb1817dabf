"""The first question of each guide: where does the kernel run, and who signs in? The answer picks flow and client type.

>>> choose_flow("gmail", Where.THIS_MACHINE, Who.MAILBOX_OWNER).client_type
'Desktop app'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .account import FlowKind


class Where(StrEnum):
    """Where the Python process (kernel, job, service) runs, as seen from the browser that signs in."""

    THIS_MACHINE = "this_machine"  # kernel and browser on one machine: loopback reaches the kernel
    REMOTE = "remote"  # kernel elsewhere (JupyterHub, a server by SSH), browser here
    WEB_SERVICE = "web_service"  # reachable at a public https address
    NO_SCREEN = "no_screen"  # nobody watches: a job, a container


class Who(StrEnum):
    """Who signs in."""

    MAILBOX_OWNER = "mailbox_owner"
    MEMBER = "member"  # a person with rights on a shared mailbox
    APPLICATION = "application"  # nobody: the application itself, for all mailboxes an admin allows


@dataclass(frozen=True, slots=True)
class FlowChoice:
    """The flow, the client to create in the console, why, and what was passed over with the reason."""

    flow: FlowKind
    client_type: str
    platform: str
    reason: str
    passed_over: tuple[tuple[FlowKind, str], ...] = ()


_DEVICE_GOOGLE = "Google does not allow the mail scope in the device flow."
_LOOPBACK_REMOTE = "The browser's loopback is another machine than the kernel's."
_WEB_NEEDS_ADDRESS = "A web redirect needs a public https address that reaches mailops."
_NO_PERSON = "Nobody is there to sign in."


def choose_flow(
    provider_id: str,
    where: Where,
    who: Who,
    *,
    certificate: bool = False,
    device_allowed: bool = True,
    prefer_device: bool = False,
) -> FlowChoice:
    """Pick the flow. ``certificate``: the app proves itself by certificate instead of secret; ``device_allowed``: no
    policy blocks device codes (Conditional Access often does)."""
    google = provider_id == "gmail"
    if who is Who.APPLICATION:
        return _app_only(google, certificate)
    over: list[tuple[FlowKind, str]] = []
    if where is Where.WEB_SERVICE:
        client = ("Web application", "Authorized redirect URIs") if google else ("Web", "Web")
        return FlowChoice(
            FlowKind.WEB, *client, "mailops is reachable at a public https address, so the provider sends people back."
        )
    over.append((FlowKind.WEB, _WEB_NEEDS_ADDRESS))
    desktop = ("Desktop app", "") if google else ("Mobile and desktop applications", "http://localhost")
    if where is Where.THIS_MACHINE and not prefer_device:
        reason = "Kernel and browser share this machine: a listener on loopback takes the answer, no secret is needed."
        if google:
            reason = (
                "Kernel and browser share this machine: a Desktop app client redirects to loopback. "
                "(A Web application client would refuse it with redirect_uri_mismatch.)"
            )
        return FlowChoice(FlowKind.LOOPBACK, *desktop, reason, tuple(over))
    if where is not Where.THIS_MACHINE:
        over.append((FlowKind.LOOPBACK, _LOOPBACK_REMOTE))
    if not google and device_allowed:
        return FlowChoice(
            FlowKind.DEVICE,
            "Mobile and desktop applications",
            "Allow public client flows: Yes",
            "A code typed in any browser signs in; the kernel needs no way back.",
            tuple(over),
        )
    over.append((FlowKind.DEVICE, _DEVICE_GOOGLE if google else "A policy blocks the device code flow."))
    reason = (
        "The browser ends on a page that cannot be opened; its address holds the answer and is pasted back here."
        if where is not Where.NO_SCREEN
        else "Sign in once from any browser and paste the address back; afterwards the job renews by itself."
    )
    return FlowChoice(FlowKind.PASTE_BACK, *desktop, reason, tuple(over))


def _app_only(google: bool, certificate: bool) -> FlowChoice:
    over = tuple((flow, _NO_PERSON) for flow in (FlowKind.WEB, FlowKind.LOOPBACK, FlowKind.DEVICE))
    if google:
        return FlowChoice(
            FlowKind.SERVICE_ACCOUNT,
            "Service account",
            "Domain-wide delegation",
            "A service account acts for mailboxes of the Workspace; an administrator delegates the mail scope to it.",
            over,
        )
    if certificate:
        return FlowChoice(
            FlowKind.APP_CERTIFICATE,
            "App registration",
            "Certificates",
            "The application signs in by certificate: nothing to type, nothing that can be read from a file share.",
            (*over, (FlowKind.APP_SECRET, "A certificate was chosen.")),
        )
    return FlowChoice(
        FlowKind.APP_SECRET,
        "App registration",
        "Client secrets",
        "The application signs in by secret; an administrator grants it the mailboxes. A certificate is safer.",
        over,
    )
