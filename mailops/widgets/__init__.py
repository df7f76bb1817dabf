"""Cards, tables and views for notebooks: each is a widget live, HTML in a report, and plain text in a log."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_HOMES = {
    "Actions": "actions",
    "ActionsView": "schedules_view",
    "AlertsCard": "jobs_view",
    "BouncesView": "bounces_view",
    "Card": "faces",
    "CheckCard": "check",
    "CopyField": "copyfield",
    "DmarcView": "dmarc_view",
    "SourcesCard": "dmarc_view",
    "TlsView": "dmarc_view",
    "DoctorView": "doctor_view",
    "DomainPage": "domain_view",
    "DomainView": "domain_view",
    "EnvelopesCard": "envelope_view",
    "ErrorCard": "error_view",
    "Figure": "charts",
    "FleetCard": "jobs_view",
    "Form": "form",
    "Frame": "rates_view",
    "GuideView": "guide_view",
    "InboundSetupView": "inbound_setup_view",
    "InboxView": "inbox_view",
    "JobsView": "jobs_view",
    "LiveCheck": "check",
    "NightlyCard": "jobs_view",
    "Standing": "guide_view",
    "Headline": "panel",
    "Panel": "panel",
    "PersonView": "person_view",
    "PlanCard": "servers_view",
    "Progress": "progress",
    "QueueView": "queue_view",
    "RatesView": "rates_view",
    "RelayView": "relay_view",
    "RouteCard": "route_card",
    "ReadinessCard": "setup_view",
    "SecretField": "form",
    "ServersView": "servers_view",
    "SetupView": "setup_view",
    "SupportView": "support_view",
    "Table": "table",
    "Tiles": "panel",
    "TraceView": "trace_view",
    "WhatIfCard": "schedules_view",
    "bar_chart": "charts",
    "comparison": "domain_view",
    "domains_overview": "domain_view",
    "ends_cards": "doctor_view",
    "FollowersCard": "followers",
    "MetricsCard": "metrics_card",
    "expectations": "domain_view",
    "interval_form": "schedules_view",
    "line_chart": "charts",
    "notebook_list": "catalogue",
    "outside_checks": "domain_view",
    "campaigns_panel": "campaigns_view",
    "waits_panel": "waits_view",
    "watch_sheet": "schedules_view",
    "what_if_form": "schedules_view",
    "safe_html": ".page.sanitise",
}

__all__ = sorted(_HOMES)

if "IPython" in sys.modules:  # a notebook: what mailops refuses is told as a card, wherever it is raised
    from .failure import tell_by_cards

    tell_by_cards()


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mailops.widgets' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
