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
from ..jobs.catalogue import NotebookInfo, available, notebooks_folder
from ..jobs.report import LAB_MARK
from . import bar
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


def inject(notebooks: dict[str, NotebookInfo]) -> Any:
    """What voila calls before a kernel starts: the values of the address go into the notebook, by the types of its
    parameters cell, as a job's do."""

    def hook(request: Any, notebook: Any, cwd: str) -> Any:
        import nbformat

        name = str(request.request.path).rpartition("/")[2].removesuffix(".ipynb")
        info = notebooks.get(name)
        if info is None:
            return notebook
        query = {key: values[-1].decode("utf-8", "replace") for key, values in request.request.arguments.items()}
        notebook.cells = [cell for cell in notebook.cells if LAB_MARK not in cell.metadata.get("tags", [])]
        lines = bar.source(info, bar.read(info, query)[0])
        at = next((n for n, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])), None)
        if lines and at is not None:
            cell = nbformat.from_dict(  # type: ignore[no-untyped-call]
                {"cell_type": "code", "id": "given", "execution_count": None, "outputs": [], "source": lines,
                 "metadata": {"tags": ["injected-parameters"]}}
            )  # fmt: skip
            notebook.cells.insert(at + 1, cell)
        return notebook

    return hook


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
        made["VoilaConfiguration"] = {
            "prelaunch_hook": inject({info.name: info for info in available()}),
            "show_margins": False,
            "file_allowlist": ["(?!)"],
        }
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
