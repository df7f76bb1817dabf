"""``/healthz`` and ``/metrics``: what ``mailops status`` says, for probes and Prometheus.

They are for this machine and its probes: a call that came through a proxy (``Forwarded``, ``X-Forwarded-For``) finds
nothing here, so that a proxy which passes on more than ``/webhooks/`` shows no figures to the world.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MailopsError
from ..secrets import redact

if TYPE_CHECKING:
    from ..checks.services import Status
    from ..ops import Ops

PATHS = ("/healthz", "/metrics")
TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: gauges and, where the name ends in ``_total``, counters."""

    name: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def answer(ops: Ops, path: str, method: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    """Status, content type and body. 503 when the health is *down*."""
    if "forwarded" in headers or "x-forwarded-for" in headers:
        return 404, "application/json", b'{"error": "there is nothing here"}'
    if method not in ("GET", "HEAD"):
        return 405, "application/json", b'{"error": "only to be read"}'
    try:
        found = ops.status()
    except MailopsError as error:
        return 503, "application/json", json.dumps({"health": "down", "why": [redact(error.message)]}).encode()
    if path == "/metrics":
        return 200, TEXT, exposition(figures(found))
    told = {"health": found.health, "why": [redact(line) for line in found.why]}
    return 503 if found.exit_code == 1 else 200, "application/json", json.dumps(told).encode()


def figures(found: Status) -> list[Figure]:
    """The status as metrics."""
    services = [(one.kind, s) for one in found.running for s in one.services]

    def by_service(values: Iterator[float]) -> tuple[tuple[Mapping[str, str], float], ...]:
        return tuple(({"of": kind, "service": s.name}, v) for (kind, s), v in zip(services, values, strict=True))

    at = found.at
    told = [
        Figure("mailops_healthy", "1 where all that should run does.", (({}, float(found.exit_code == 0)),)),
        Figure("mailops_service_up", "1 where the service works.", by_service(float(s.ready) for _, s in services)),
        Figure(
            "mailops_service_restarts_total",
            "How often the service was started again.",
            by_service(float(s.restarts) for _, s in services),
        ),
        Figure(
            "mailops_service_heartbeat_age_seconds",
            "Seconds since the service was last heard of.",
            by_service(max(0.0, (at - s.heard).total_seconds()) if s.heard else -1.0 for _, s in services),
        ),
        Figure(
            "mailops_holding",
            "1 while mail is answered 451, as nothing can be sent.",
            tuple(({"of": one.kind}, float(one.holding)) for one in found.running),
        ),
    ]
    if found.queue is not None:
        q = found.queue
        told += [
            Figure("mailops_queue_mails", "Mails by state.", tuple(({"state": s}, n) for s, n in q.counts.items())),
            Figure("mailops_queue_due", "Mails that may leave now.", (({}, q.due),)),
            Figure("mailops_queue_held", "Mails that a worker has taken.", (({}, q.held),)),
            Figure("mailops_facts_owed", "Facts that something has not taken yet.", (({}, q.owed),)),
            Figure(
                "mailops_queue_oldest_seconds", "How long the oldest mail waits.", (({}, found.oldest_seconds or 0),)
            ),
        ]
    return told


def exposition(told: list[Figure]) -> bytes:
    """The metrics as Prometheus reads them: by its own library where that is installed, else written here."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
        from prometheus_client.registry import Collector
    except ImportError:
        return written(told)

    class Given(Collector):
        def collect(self) -> Iterator[Metric]:
            for one in told:
                names = sorted({name for labels, _ in one.samples for name in labels})
                kind = CounterMetricFamily if one.name.endswith("_total") else GaugeMetricFamily
                family = kind(one.name, one.help, labels=names)
                for labels, value in one.samples:
                    family.add_metric([labels[name] for name in names], value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return bytes(generate_latest(registry))


def written(told: list[Figure]) -> bytes:
    """The text format, version 0.0.4: HELP, TYPE and a line for each sample."""
    lines = []
    for one in told:
        lines += [f"# HELP {one.name} {one.help}"]
        lines += [f"# TYPE {one.name} {'counter' if one.name.endswith('_total') else 'gauge'}"]
        for labels, value in one.samples:
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()))
            lines.append(f"{one.name}{{{pairs}}} {float(value)}" if pairs else f"{one.name} {float(value)}")
    return ("\n".join(lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
