"""A Dovecot of its own on loopback for the benchmark of mail that comes in, and a wire with a delay before it."""

from __future__ import annotations

import asyncio
import grp
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONF = """\
base_dir = {run}/base
state_dir = {run}/state
log_path = {run}/dovecot.log
instance_name = mailops-bench
listen = 127.0.0.1
protocols = imap
default_internal_user = {internal}
default_internal_group = {internal}
default_login_user = {login}
mail_uid = {mail}
mail_gid = {mail}
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:{run}/Maildir
mail_fsync = never
ssl = no
disable_plaintext_auth = no
passdb {{
  driver = static
  args = password=x
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail} home={run} allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


@contextmanager
def dovecot(mails: Iterable[bytes]) -> Iterator[int]:
    """A Dovecot 2.3 with these mails, unread, in the inbox of every login (password ``x``); its port."""
    binary = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
    if binary is None:
        sys.exit("dovecot is not installed")
    root = os.geteuid() == 0
    me = pwd.getpwuid(os.geteuid()).pw_name
    names = ("dovecot", "dovenull", "dovecot") if root else (me, me, me)
    folder = Path(tempfile.mkdtemp(prefix="mo-"))
    folder.chmod(0o755)
    box = folder / "Maildir"
    for part in ("cur", "new", "tmp"):
        (box / part).mkdir(parents=True)
    for number, raw in enumerate(mails):
        (box / "new" / f"{1_700_000_000 + number}.M{number}.bench").write_bytes(raw.replace(b"\r\n", b"\n"))
    if root:
        owner, group = pwd.getpwnam("dovecot").pw_uid, grp.getgrnam("dovecot").gr_gid
        for path in (box, *box.rglob("*")):
            os.chown(path, owner, group)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    conf = folder / "dovecot.conf"
    conf.write_text(CONF.format(run=folder, port=port, internal=names[0], login=names[1], mail=names[2]))
    child = subprocess.Popen([binary, "-F", "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, child)
        yield port
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, child: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and (child is None or child.poll() is None):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("the server did not start")


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """A wire to a port of this machine on which a round trip takes so long; its own port. A process of its own."""
    hear, say = multiprocessing.Pipe()
    child = multiprocessing.Process(target=_wire, args=(port, seconds / 2, say), daemon=True)
    child.start()
    try:
        yield int(hear.recv())
    finally:
        child.terminate()
        child.join(10)


def _wire(port: int, late: float, say: multiprocessing.connection.Connection) -> None:
    async def pump(read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def out() -> None:
            while True:
                due, piece = await line.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not piece:
                    write.close()
                    return
                write.write(piece)

        task = asyncio.create_task(out())
        while piece := await read.read(1 << 18):
            line.put_nowait((loop.time() + late, piece))
        line.put_nowait((loop.time() + late, b""))
        await task

    async def serve() -> None:
        async def taken(read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(read, back), pump(there, write), return_exceptions=True)

        server = await asyncio.start_server(taken, "127.0.0.1", 0)
        say.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())
