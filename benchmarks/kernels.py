"""What it costs until a notebook's process is there, and what a person waits for: seconds of the clock.

``python benchmarks/kernels.py [--rounds 3] [--only kernel,run,app]``. Everything takes turns in one run, so that a busy
machine is as busy for all: Jupyter's kernel started and forked; ``mailops run queue`` without and with a fork server
beside a bare papermill run; the first card of the app's queue page, cold (the app has just started) and warm, beside a
bare voila page of one cell. Medians. A card is there when its view stands in the page that the server sends.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jobs import BARE, NOTEBOOK

KERNEL = """
import sys, time
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from mailops.jobs import provisioner
provisioner.register()
KernelProvisionerFactory.instance().default_provisioner_name = sys.argv[1]
began = time.monotonic()
manager = KernelManager()
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=120)
client.execute_interactive("import pandas, ipywidgets, mailops.widgets", timeout=120)
print(time.monotonic() - began, getattr(manager.provisioner, "unforked", ""))
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
BARE_PAGE = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {"cell_type": "code", "id": "one", "metadata": {}, "execution_count": None, "outputs": [],
         "source": "import ipywidgets\nipywidgets.HTML('a card')"},
    ],
}  # fmt: skip
CARD = b"application/vnd.jupyter.widget-view+json"


def seconds(command: list[str], environment: Mapping[str, str], cwd: Path) -> float:
    """Seconds of a command; what a kernel's measurement printed, where it did."""
    began = time.monotonic()
    done = subprocess.run(command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command[:5])} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    said = done.stdout.split()
    if command[2] == KERNEL:
        if len(said) > 1 and command[3] == "mailops-fork":
            raise SystemExit(f"it was not forked: {done.stdout}")
        return float(said[0])
    return time.monotonic() - began


def first_card(address: str) -> float:
    """Seconds until a page's first card is sent."""
    began, seen = time.monotonic(), b""
    with urllib.request.urlopen(address, timeout=120) as answer:
        while CARD not in seen:
            piece = answer.read1(65_536)
            if not piece:
                raise SystemExit(f"no card in {address}:\n{seen[-2000:].decode(errors='replace')}")
            seen += piece
        return time.monotonic() - began


class Page:
    """A server of pages, up: ``address`` made of what it prints."""

    def __init__(self, command: list[str], environment: Mapping[str, str], says: str, path: str) -> None:
        self.child = subprocess.Popen(
            command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self.child.stdout is not None
        for line in self.child.stdout:
            if found := re.search(says, line):
                self.address = found[1] + path
                return
        raise SystemExit(f"{command} did not start")

    def close(self) -> None:
        os.killpg(self.child.pid, signal.SIGTERM)
        self.child.communicate()


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default="kernel,run,app")
    options = asked.parse_args()
    from mailops.jobs.forking import Keeper, NoFork, place_of, reach

    with tempfile.TemporaryDirectory(prefix="mo-") as place:
        folder, workspace = Path(place), Path(place) / "workspace"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),  # as an installed package has it
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": place,
            "MAILOPS_WORKSPACE": str(workspace),
            "MAILOPS_APP_ACT": "act",
        }
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(environment)
        mailops = [sys.executable, "-m", "mailops", "-w", str(workspace)]
        seconds([*mailops[:3], "init", str(workspace)], environment, folder)
        started = {**environment, "MAILOPS_KERNELS__FORK": "false"}
        bare = [sys.executable, "-c", BARE, str(NOTEBOOK), str(folder / "out.ipynb"), str(workspace)]
        kernel = [sys.executable, "-c", KERNEL]
        measured: dict[str, Callable[[], float]] = {}
        if "kernel" in options.only:
            measured["kernel with its imports, started"] = lambda: seconds(
                [*kernel, "local-provisioner"], environment, folder
            )
            measured["kernel with its imports, forked"] = lambda: seconds(
                [*kernel, "mailops-fork"], environment, folder
            )
        if "run" in options.only:
            measured["bare papermill"] = lambda: seconds(bare, environment, folder)
            measured["mailops run queue, started"] = lambda: seconds([*mailops, "run", "queue"], started, folder)
            measured["mailops run queue, forked"] = lambda: seconds([*mailops, "run", "queue"], environment, folder)
        pages: list[Page] = []
        if "app" in options.only:
            (folder / "bare.ipynb").write_text(json.dumps(BARE_PAGE))
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            voila = [sys.executable, "-m", "voila", "--no-browser", f"--port={port}", str(folder / "bare.ipynb")]
            app = [*mailops, "app", "--port", "0"]
            at = r"(http://127\.0\.0\.1:\d+)/mailops/home"
            path = "/voila/render/queue.ipynb?token=act"
            pages = [
                Page(voila, environment, r"(http://(?:localhost|127\.0\.0\.1):\d+)", "/"),
                Page(app, started, at, path),
                Page(app, environment, at, path),
            ]
            measured["bare voila page"] = lambda: first_card(pages[0].address)
            measured["the app's queue page, started"] = lambda: first_card(pages[1].address)
            measured["the app's queue page, forked"] = lambda: first_card(pages[2].address)

        def cold() -> float:
            page = Page([*mailops, "app", "--port", "0"], {**environment, "XDG_RUNTIME_DIR": f"{place}/cold"}, at, path)
            try:
                return first_card(page.address)
            finally:
                page.close()

        keeper = Keeper(workspace)
        keeper.look()
        found: dict[str, list[float]] = {name: [] for name in measured}
        try:
            for turn in range(options.rounds + 1):
                while True:
                    try:
                        reach(place_of(workspace)).close()
                        break
                    except NoFork:
                        time.sleep(0.2)
                for name, measure in measured.items():
                    spent = measure()
                    if turn:  # the first makes the bytecode
                        found[name].append(spent)
            if pages:
                (folder / "cold").mkdir()
                found["the app's queue page, just started"] = [cold() for _ in range(options.rounds)]
        finally:
            keeper.close()
            for page in pages:
                page.close()
    for name, spents in found.items():
        middle, least, most = statistics.median(spents), min(spents), max(spents)
        print(f"{name:36} {middle:6.2f} s (median of {options.rounds}, {least:.2f} to {most:.2f})")


if __name__ == "__main__":
    main()
