"""Starts the app: a Jupyter Server on loopback with this extension and voila, and prints the addresses to open.

The tokens are made anew at each start, unless the environment names them. The server's root is the folder of the
notebooks. With ``read_only`` the server's own token is made and given to nobody, and voila is not loaded: nothing that
starts a kernel can be reached.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, MailopsError
from ..jobs.catalogue import notebooks_folder
from .handlers import LOOK, READ_ONLY

ACT = "MAILOPS_APP_ACT"
"""The environment variable with the act token."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the app is: to look, and (None where nobody may) to act."""

    look: str
    act: str | None


def addresses(host: str, port: int, look: str, act: str | None) -> Addresses:
    """The addresses to open in a browser."""
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}/mailops/home"
    return Addresses(f"{place}?look={look}", f"{place}?token={act}" if act else None)


def settings(host: str, port: int, *, act: str, read_only: bool) -> dict[str, Any]:
    """The configuration of the server."""
    extensions = {"mailops.app": True, "jupyterlab": False, "notebook": False, "jupyter_server_terminals": False}
    made: dict[str, Any] = {
        "ServerApp": {
            "ip": host,
            "port": port,
            "port_retries": 0,
            "open_browser": False,
            "root_dir": str(notebooks_folder()),
            "jpserver_extensions": {**extensions, "voila.server_extension": not read_only},
            "terminals_enabled": False,
            "default_url": "/mailops/home",
            "allow_root": True,
            "log_level": "WARN",
        },
        "IdentityProvider": {"token": act},
    }
    if not read_only:
        from .acting import configured, find_template

        find_template()
        made["VoilaConfiguration"] = configured()
        # a page that was left without a word (a browser killed, a laptop shut) leaves its kernel: nobody is on it
        made["MappingKernelManager"] = {"cull_idle_timeout": 600, "cull_interval": 60, "cull_connected": False}
        made["VoilaExecutor"] = {"cell_error_instruction": "What happened, and what to do, stands above."}
    return made


def fork_kernels() -> None:
    """Have the kernels of this process forked, and keep the server for that, unless the workspace's settings say no.
    Called when the server has raised its limits, which a forked kernel must share."""
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    from ..jobs import provisioner
    from ..jobs.forking import Keeper
    from ..workspace import find

    try:
        workspace = find()
        wanted = workspace.settings.kernels.fork
    except MailopsError:
        return  # the pages say what is missing
    if wanted:
        os.environ.setdefault("MAILOPS_WORKSPACE", str(workspace.path))
        provisioner.register()
        KernelProvisionerFactory.instance().default_provisioner_name = provisioner.NAME
        provisioner.keep(Keeper(workspace.path))


def serve(host: str = "127.0.0.1", port: int = 8866, *, read_only: bool = False) -> None:
    """Serve the app until it is stopped. Raises :class:`ConfigError` for a host that others reach."""
    from jupyter_server.serverapp import ServerApp
    from traitlets.config import Config

    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            f"The app listens on this machine only, not on {host}.",
            code="app.host",
            facts={"host": host},
            fix="Use 127.0.0.1, and put a proxy with TLS and sign-in before it, or an SSH tunnel.",
        )
    look = os.environ.setdefault(LOOK, secrets.token_urlsafe(24))
    act = secrets.token_urlsafe(24) if read_only else os.environ.get(ACT) or secrets.token_urlsafe(24)
    if read_only:
        os.environ[READ_ONLY] = "1"
    app = ServerApp(config=Config(settings(host, port, act=act, read_only=read_only)))
    app.initialize(argv=[], find_extensions=False)
    if not read_only:
        fork_kernels()

    def tell() -> None:
        told = addresses(host, app.port, look, None if read_only else act)
        acts = f"To look and act: {told.act}\n" if told.act else ""
        sys.stdout.write(f"The app is open. To look: {told.look}\n{acts}")
        sys.stdout.flush()

    app.io_loop.add_callback(tell)  # once it listens
    app.start()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # kernels are ended; a page that was being drawn leaves a thread of Jupyter's that waits for ever
