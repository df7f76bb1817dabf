"""Real servers and a real browser: JupyterLab and voila on loopback, driven by Chromium.

Every request that leaves loopback is recorded, and fails the test that made it (fonts and scripts that JupyterLab and
voila name on their own are refused by the browser before they leave, and allowed by name). Screenshots go to
``test-output/`` for a person to look at.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from furnish import furnish
from peers import missing

from mailops import Ops
from mailops.testing import SmtpServer, refuse

ROOT = Path(__file__).parent.parent.parent
OUTPUT = ROOT / "test-output"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# voila's own page names an icon font on these hosts; it falls back without it
FOREIGN_ALLOWED = {"cdnjs.cloudflare.com", "cdn.jsdelivr.net", "unpkg.com"}


def chromium_path() -> str:
    path = os.environ.get("MAILOPS_CHROMIUM") or shutil.which("chromium")
    if not path:
        missing("browser", "no Chromium here (Debian's package chromium, or MAILOPS_CHROMIUM)")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium; ended with its module, since Playwright keeps an event loop running in this thread."""
    path = chromium_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("browser", "playwright is not installed (pip install 'mailops[test]')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page_of(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, ``scheme`` light or dark; fails on requests that leave loopback."""
    pages: list[Any] = []
    foreign: list[str] = []

    def watch(route: Any) -> None:
        host = urlsplit(route.request.url).hostname or ""
        if route.request.url.startswith(("data:", "blob:")) or host in ("127.0.0.1", "localhost", "::1", ""):
            route.continue_()
            return
        if host not in FOREIGN_ALLOWED:
            foreign.append(route.request.url)
        route.abort()

    def make(scheme: str = "light", width: int = 1280, height: int = 1000) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.route("**/*", watch)
        page.set_default_timeout(45_000)
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    assert foreign == []


@pytest.fixture
def screenshot() -> Callable[[Any, str], Path]:
    """Saves what the page shows."""

    def save(page: Any, name: str) -> Path:
        OUTPUT.mkdir(exist_ok=True)
        path = OUTPUT / f"{name}.png"
        page.screenshot(path=str(path))
        return path

    return save


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], url: str, workspace: Path, folder: Path) -> Iterator[str]:
    """Run a server until the block ends; waits until its address answers."""
    environment = {
        **os.environ,
        "MAILOPS_WORKSPACE": str(workspace),
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "JUPYTER_DATA_DIR": str(folder / ".jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".jupyter-run"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".lab"),
        "PYTHONWARNINGS": "ignore",
    }
    news = folder / ".lab" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True, exist_ok=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = (folder / "server.log").open("wb")
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        limit = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2):
                    break
            except urllib.error.HTTPError:
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > limit:
                    pytest.fail("the server did not start:\n" + (folder / "server.log").read_text()[-3000:])
                time.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(timeout=15)
        log.close()


@pytest.fixture
def notebooks_copy(tmp_path: Path) -> Path:
    """The project's notebooks in a folder of their own, so that nothing is written into the checkout."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def lab(notebooks_copy: Path) -> Callable[[Path], Any]:
    """Starts JupyterLab on a workspace; gives a function from notebook name to address."""

    @contextlib.contextmanager
    def start(workspace: Path) -> Iterator[Callable[[str], str]]:
        port, token = free_port(), secrets.token_hex(16)
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.ip=127.0.0.1",
            f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={notebooks_copy}",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with serving(command, f"http://127.0.0.1:{port}/api", workspace, notebooks_copy):
            yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}.ipynb?reset&token={token}"

    return start


@pytest.fixture
def voila(notebooks_copy: Path) -> Callable[..., Any]:
    """Starts voila on a workspace; gives a function from notebook name to address."""

    @contextlib.contextmanager
    def start(workspace: Path, theme: str = "light") -> Iterator[Callable[[str], str]]:
        port, token = free_port(), secrets.token_hex(16)
        command = [
            sys.executable,
            "-m",
            "voila",
            str(notebooks_copy),
            "--no-browser",
            f"--port={port}",
            "--Voila.ip=127.0.0.1",
            f"--theme={theme}",
            f"--Voila.token={token}",
        ]
        with serving(command, f"http://127.0.0.1:{port}/", workspace, notebooks_copy):
            yield lambda name: f"http://127.0.0.1:{port}/voila/render/{name}.ipynb?token={token}"

    return start


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The app on a workspace with three failed mails; its address to act, and one mail's number."""
    from mailops.workspace import init

    folder = tmp_path_factory.mktemp("app") / "workspace"
    init(folder).engine.dispose()
    ops = Ops.open(folder)
    with SmtpServer(script=[refuse(f"u{n}@strict.example") for n in range(3)]) as smtp:
        furnish(ops, smtp)
        for n in range(3):
            failed = ops.send(sender="ann@acme.example", to=[f"u{n}@strict.example"], subject=f"Mail {n}", text="x")
        ops.queue.run()
    ops.close()
    env = {**os.environ, "MAILOPS_WORKSPACE": str(folder), "MAILOPS_APP_ACT": "act-token",
           "JUPYTER_RUNTIME_DIR": str(folder.parent / "run"), "JUPYTER_CONFIG_DIR": str(folder.parent / "conf")}  # fmt: skip
    child = subprocess.Popen([sys.executable, "-m", "mailops", "app", "--port", "0"], env=env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    found = re.search(r"(http://\S+/mailops/)home\?token=", child.stdout.readline())
    assert found
    yield found[1], failed
    os.killpg(child.pid, signal.SIGTERM)
    child.communicate(timeout=20)
