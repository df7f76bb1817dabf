"""The Jupyter kernel provisioner ``mailops-fork``: forks a kernel where there is a server, and else starts one as ever.

A provisioner of Jupyter's own kind, so it serves jobs, the app and any Jupyter Server that is told to use it
(``jupyter server --KernelProvisionerFactory.default_provisioner_name=mailops-fork``).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import IO, Any

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from .child import KERNEL_COMMAND
from .forking import Asked, Keeper, NoFork, fork, kernel_of, place_of, supported

NAME = "mailops-fork"
GROUP = "jupyter_client.kernel_provisioners"
_NOT_OURS = {"env", "cwd", "stdout", "stderr", "kernel_id", "extra_arguments", "independent"}
_kept: list[Keeper] = []


class ForkProvisioner(LocalProvisioner):
    """Jupyter's local provisioner, whose process is forked where that can be."""

    unforked: str = ""
    """Why the last kernel was started instead."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start a kernel; returns what Jupyter needs to connect to it."""
        try:
            process = await asyncio.to_thread(self._fork, cmd, kwargs)
        except NoFork as no:
            self.unforked = str(no)
            for keeper in _kept:  # for the next
                await asyncio.to_thread(keeper.look)
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.unforked = process, ""
        self.pid = self.pgid = process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    def _fork(self, cmd: list[str], kwargs: dict[str, Any]) -> Any:
        wanted = kernel_of(cmd, KERNEL_COMMAND)
        if not supported() or wanted is None or kwargs.keys() - _NOT_OURS or kwargs.get("independent"):
            raise NoFork("not a kernel that is forked")
        env = {str(key): str(value) for key, value in (kwargs.get("env") or os.environ).items()}
        asked = Asked(*wanted, env, str(kwargs.get("cwd") or os.getcwd()), _umask())
        with open(os.devnull, "wb") as nothing:
            named = enumerate(("stdout", "stderr"), 1)
            stdout, stderr = (_output(kwargs.get(name), own, nothing) for own, name in named)
            return fork(asked, place_of(env.get("MAILOPS_WORKSPACE")), stdout=stdout, stderr=stderr)


def _output(given: Any, own: int, nothing: IO[bytes]) -> int:
    """The descriptor that a kernel writes to: this process's own, where nothing else was said."""
    if given is None:
        return own
    if given == subprocess.DEVNULL:
        return nothing.fileno()
    if isinstance(given, int) and given >= 0:
        return given
    if hasattr(given, "fileno"):
        return int(given.fileno())
    raise NoFork("its output goes where a server cannot")


def _umask() -> int:
    """This process's, read without setting it, as other threads make files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


def register() -> None:
    """Make the provisioner known, also where the package's entry points are of an older version."""
    KernelProvisionerFactory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:{ForkProvisioner.__name__}", GROUP)


def keep(keeper: Keeper) -> None:
    """Keep a server from now on: it is started anew when a kernel had to do without."""
    _kept.append(keeper)
    keeper.look()
