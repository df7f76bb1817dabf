"""``mailops serve export``: the same services for a service manager, as a systemd unit or a compose file.

The unit stops with SIGTERM and waits as long as the grace period wants, reloads with SIGHUP, starts again what ends,
and takes from the process what it does not need (systemd.exec(5)). The compose file asks ``mailops status`` for health.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError
from ..settings import ServeSection
from ..submission.server import is_loopback

KINDS = ("systemd", "compose")
OVER = 12
"""Seconds over the grace period that a manager should wait: services are ended some seconds after it."""


def export(kind: str, workspace: Path, settings: ServeSection, *, command: str = "serve") -> str:
    """The text for ``kind``; ``command`` is ``serve`` or ``worker``. Raises :class:`ConfigError` for another kind."""
    if kind not in KINDS:
        raise ConfigError(
            f"There is nothing to export for {kind!r}.",
            code="serve.export_kind",
            facts={"given": kind},
            fix="Use systemd or compose.",
        )
    return {"systemd": _systemd, "compose": _compose}[kind](workspace.resolve(), settings, command)


def timers(kind: str, workspace: Path, every: Mapping[str, int], *, vacuum_at: str) -> str:
    """Timers for what ``mailops serve`` would run by itself, and for the dead man's switch. ``every`` gives minutes by
    scheduled action. Raises :class:`ConfigError` for another kind than ``systemd`` and ``cron``."""
    if kind not in ("systemd", "cron"):
        raise ConfigError(
            f"There are no timers for {kind!r}.",
            code="serve.export_kind",
            facts={"given": kind},
            fix="Use systemd or cron.",
        )
    hour, minute = vacuum_at.split(":")
    daily = (f"{int(minute)} {int(hour)} * * *", f"*-*-* {vacuum_at}:00 UTC")
    rows = [
        ("queue", "Mail: Email Queue Manager, campaigns with it", "queue run", *_spans(every["queue"])),
        ("fetch", "Mail: Fetchmail Service", "inbound fetch", *_spans(every["fetch"])),
        ("jobs", "notebooks whose time has come", "jobs tick", "* * * * *", "*-*-* *:*:00"),
        ("vacuum", "Auto-Vacuum", "queue vacuum", *daily),
        ("watch", "the dead man's switch", "jobs watch", "7-59/10 * * * *", "*-*-* *:7/10:00"),
    ]
    place = workspace.resolve()
    return (_crontab if kind == "cron" else _timer_units)(place, rows)


def _spans(minutes: int) -> tuple[str, str]:
    """When, as cron and as systemd.time(7) write it: the next shorter span that divides hour or day evenly."""
    if minutes < 60:
        even = max(n for n in range(1, minutes + 1) if 60 % n == 0)
        return f"*/{even} * * * *", f"*-*-* *:0/{even}:00"
    hours = max(n for n in range(1, min(minutes // 60, 24) + 1) if 24 % n == 0)
    if hours == 24:
        return "0 0 * * *", "*-*-* 00:00:00"
    return f"0 */{hours} * * *", f"*-*-* 0/{hours}:00:00"


def _crontab(workspace: Path, rows: Sequence[tuple[str, str, str, str, str]]) -> str:
    program = " ".join(
        shlex.quote(part).replace("%", r"\%") for part in (sys.executable, "-m", "mailops.cli", "-w", str(workspace))
    )
    lines = [
        "# mailops where no `mailops serve` runs: put these lines into the crontab of the user that owns the workspace."
    ]
    for _, what, words, when, _ in rows:
        lines += [f"# {what}", f"{when}  {program} {words}"]
    return "\n".join(lines) + "\n"


def _timer_units(workspace: Path, rows: Sequence[tuple[str, str, str, str, str]]) -> str:
    names = " ".join(f"mailops-{row[0]}.timer" for row in rows)
    found = [
        "# mailops where no `mailops serve` runs. Each part is a file of /etc/systemd/system, named above it; then:",
        f"#   systemctl daemon-reload && systemctl enable --now {names}",
    ]
    for name, what, words, _, when in rows:
        program = " ".join(_quoted(part) for part in (sys.executable, "-m", "mailops.cli", "-w", str(workspace)))
        found.append(f"""
# --- mailops-{name}.service
[Unit]
Description=mailops: {what} ({_described(workspace)})

[Service]
Type=oneshot
User=mailops
Group=mailops
ExecStart={program} {words}
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={_quoted(str(workspace))}

# --- mailops-{name}.timer
[Unit]
Description=mailops: {what}

[Timer]
OnCalendar={when}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target""")
    return "\n".join(found) + "\n"


def _ports(settings: ServeSection) -> list[int]:
    return [one.port for one in settings.listener] or [settings.port]


def _systemd(workspace: Path, settings: ServeSection, command: str) -> str:
    program = " ".join(_quoted(part) for part in (sys.executable, "-m", "mailops.cli", "-w", str(workspace), command))
    ports = [*_ports(settings), *(one.port for one in settings.receiver)]
    low = command == "serve" and any(0 < port < 1024 for port in ports)
    right = "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" if low else ""
    bounding = "CAP_NET_BIND_SERVICE" if low else ""
    return f"""\
# mailops {command}. Put this into /etc/systemd/system/mailops-{command}.service, then:
#   systemctl daemon-reload && systemctl enable --now mailops-{command}
# The user must own the workspace (mode 0700).
[Unit]
Description=mailops {command} ({_described(workspace)})
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
User=mailops
Group=mailops
ExecStart={program}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec={settings.grace + OVER:.0f}
LimitNOFILE=65536
{right}CapabilityBoundingSet={bounding}
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
ReadWritePaths={_quoted(str(workspace))}

[Install]
WantedBy=multi-user.target
"""


def _compose(workspace: Path, settings: ServeSection, command: str) -> str:
    ports = ""
    if command == "serve":
        places = [f"127.0.0.1:{port}:{port}" for port in _ports(settings) if port]
        places += [f"{one.port}:{one.port}" for one in settings.receiver if one.port and not is_loopback(one.host)]
        given = ", ".join(f'"{place}"' for place in places)
        ports = "    # in a container the listener must be a public one, with TLS and sign-in\n"
        ports += f"    ports: [{given}]\n"
    return f"""\
# mailops {command}. The image is any with Python 3.11 or newer and `pip install mailops`.
services:
  mailops-{command}:
    image: mailops:latest
    command: ["mailops", "-w", "/workspace", "{command}"]
    volumes:
      - type: bind
        source: {_yaml(str(workspace))}
        target: /workspace
{ports}    restart: unless-stopped
    stop_signal: SIGTERM
    stop_grace_period: {settings.grace + OVER:.0f}s
    init: true
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    healthcheck:
      test: ["CMD", "mailops", "-w", "/workspace", "status"]
      interval: 30s
      timeout: 20s
      start_period: 30s
"""


def _quoted(part: str) -> str:
    """A word of a unit's command line (systemd.service(5), "Command lines"): percent and dollar doubled."""
    part = part.replace("%", "%%").replace("$", "$$")
    return part if part == shlex.quote(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _described(workspace: Path) -> str:
    return workspace.name.replace("%", "%%")


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
