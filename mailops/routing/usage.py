"""How much may still leave today through the hosted server, as a pure value.

The default server of ``online`` is the hosted one, so it has the same limit whether it is used without any server
record or through one that borrows it (``cli``). An external server is independent of the limit. The figures are
policy data a person may edit; they are held between :data:`FLOOR` and :data:`CEILING`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from ..errors import ConfigError
from ..model.address import normalise
from ..model.setup import Authentication, Hosting, Server, Setup
from ..model.text import counted
from ..model.verdict import Finding, Severity

FLOOR, CEILING = 5, 200
DEFAULT_POLICY: dict[str, int] = {"paying": 200, "trial": 50, "one_app_free": 20, "migration": 50}
SUBSCRIPTION, DAILY = "mailops.limits.subscription", "mailops.limits.daily"
"""Parameters: of which kind the hosted subscription is, and a limit that was agreed with support."""
RESET = time(23, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Usage:
    """Mails that left today, the limit (None: there is none), and why."""

    sent: int
    limit: int | None
    reason: str

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.sent)

    def text(self) -> str:
        if self.limit is None:
            return f"Sent today {self.sent:,}. {self.reason}"
        return f"Sent today {self.sent:,}, limit {self.limit:,}, remaining {self.remaining:,}. {self.reason}"


def is_hosted(server: Server | None, setup: Setup) -> bool:
    """Whether a server is the vendor's hosted one: no server record, one that borrows the default, or its profile."""
    if server is not None and server.provider == "hosted":
        return True
    default = server is None or server.authentication is Authentication.CLI
    return default and setup.profile.hosting is not Hosting.ON_PREMISE and not setup.profile.default_server.configured


HOSTED_ONLY = (
    "The hosted server takes mail from inside the database only, so mail of the database leaves, and what is handed to "
    "mailops does not."
)
HOSTED_FIX = "For mail that mailops is to send itself, fill in [default_server] in mailops.toml, or add an own server."


def stays_inside(server: Server | None, setup: Setup) -> bool:
    """Whether only the hosted database itself can send through this server (None: the default server)."""
    return is_hosted(server, setup) and (server is None or not server.host)


def reach_finding(setup: Setup) -> Finding | None:
    """That mailops cannot send through the hosted server, where mail would leave through it."""
    active = [s for s in setup.servers if s.active]
    if not any(stays_inside(s, setup) for s in active or (None,)):
        return None
    return Finding("server.hosted_unreachable", Severity.WARNING, HOSTED_ONLY, HOSTED_FIX)


def hosted_sender_finding(server: Server, sender: str, setup: Setup) -> Finding | None:
    """An external server cannot send as the hosted subdomain: nobody but the vendor can change its DNS (OUT-16)."""
    hosted = setup.profile.hosted_domain.lower()
    external = server.provider != "hosted" and server.authentication is not Authentication.CLI
    if not external or setup.profile.hosting is Hosting.ON_PREMISE or not normalise(sender).endswith(f"@{hosted}"):
        return None
    return Finding(
        "plan.hosted_domain_external",
        Severity.ERROR,
        f"Server {server.name!r} is an external server, but is to send as {hosted}, whose DNS cannot be changed.",
        "An own outgoing server goes with an own domain: use your own domain in the filter and the From.",
        {"server": server.key, "domain": hosted},
    )


def daily_limit(setup: Setup, *, subscription: str = "paying", policy: dict[str, int] | None = None) -> int | None:
    """The limit of a hosted database a day, held between floor and ceiling; None where there is none."""
    if setup.profile.hosting is not Hosting.ONLINE:
        return None
    figures = {**DEFAULT_POLICY, **(policy or {})}
    subscription = setup.parameters.get(SUBSCRIPTION) or subscription
    if (own := setup.parameters.get(DAILY)) is not None:
        figures[subscription] = int(own)
    return min(CEILING, max(FLOOR, figures.get(subscription, FLOOR)))


def usage(
    setup: Setup,
    server: Server | None,
    sent_today: int,
    *,
    subscription: str = "paying",
    policy: dict[str, int] | None = None,
) -> Usage:
    """Today's usage of a server (None = the default server)."""
    if not is_hosted(server, setup):
        return Usage(sent_today, None, "An external server is independent of the daily limit.")
    limit = daily_limit(setup, subscription=subscription, policy=policy)
    if limit is None:
        return Usage(sent_today, None, f"There is no daily limit on {setup.profile.hosting.value}.")
    return Usage(sent_today, limit, f"The limit starts anew at {RESET:%H:%M} UTC.")


def check_policy(key: str, value: str) -> str:
    """The value of a parameter of the policy. Raises :class:`ConfigError`."""
    text = value.strip()
    if key == SUBSCRIPTION and text in DEFAULT_POLICY:
        return text
    if key == DAILY and text.isascii() and text.isdigit() and len(text) < 10:
        return text
    raise ConfigError(
        f"{value!r} is no value for {key}.",
        code="config.daily_limit",
        facts={"parameter": key, "value": value, "subscriptions": sorted(DEFAULT_POLICY)},
        fix=f"Give one of the subscriptions, or for {DAILY} a number of mails a day ({FLOOR} to {CEILING} are kept).",
    )


def next_reset(now: datetime) -> datetime:
    """When the limit starts anew, strictly after ``now``."""
    today = datetime.combine(now.astimezone(UTC).date(), RESET)
    return today if today > now else today + timedelta(days=1)


def quota_findings(today: Usage, recipients: int) -> list[Finding]:
    """What to say before a campaign is queued that is larger than what may still leave."""
    if today.remaining is None or recipients <= today.remaining:
        return []
    return [
        Finding(
            "campaign.quota",
            Severity.WARNING,
            f"The campaign has {counted(recipients, 'recipient')}, but only {counted(today.remaining, 'mail')} "
            "may still leave today.",
            "The hosted server is for transactional mail and small campaigns: use an external server for this one, "
            "or ask support for a higher limit.",
            {"recipients": recipients, "remaining": today.remaining, "limit": today.limit},
        )
    ]
