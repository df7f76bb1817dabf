"""Hides from a Python process what only POSIX has: put this folder on ``PYTHONPATH``, and it is read before all else.

Windows itself is not to be had here. What can be had is a process without the modules, functions and constants that
Windows lacks, in which any use of one raises as it does there. This says nothing of Windows' own ways (paths, code
pages, open files that cannot be removed).

* Python's own modules and packages of others choose their code by ``sys.platform``, which still says Linux. Those that
  then take hold of what gets hidden are imported first, so that they keep it. No module of mailops is among them.
* ``msvcrt.locking``, on which the locks then rest, is stood in for by the kernel's locks of byte ranges per open file,
  the nearest that Linux has to it. Two processes really keep each other out; that Windows does the same is not shown.
"""

import errno
import fcntl
import os
import signal
import struct
import sys
import types

# Before the hiding: subprocess judges by msvcrt whether it runs on Windows, shutil walks folders by their descriptors,
# getpass holds the terminal, platformdirs takes getuid, and IPython's way to start programs all of them.
import getpass  # noqa: F401  isort: skip
import multiprocessing.util  # noqa: F401  isort: skip
import shutil  # isort: skip
import subprocess  # isort: skip

# The kernel of a notebook takes SIGKILL by name, and at its end asks for process groups.
_kernel = any("mailops.jobs.kernel" in word for word in sys.orig_argv)
_first = ["pexpect", "platformdirs.unix", *os.environ.get("HIDE_AFTER", "").split()]
for name in [*_first, "ipykernel.kernelbase"] if _kernel else _first:
    try:
        __import__(name)
    except ImportError:  # not installed: then nobody imports it later
        pass

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
OS = [
    "O_CLOEXEC",
    "O_DIRECTORY",
    "O_NOCTTY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "O_SYNC",
    "chown",
    "chroot",
    "fchdir",
    "fchmod",
    "fchown",
    "fork",
    "forkpty",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpriority",
    "getsid",
    "getuid",
    "initgroups",
    "killpg",
    "lchown",
    "lockf",
    "mkfifo",
    "mknod",
    "nice",
    "openpty",
    "posix_fadvise",
    "posix_fallocate",
    "posix_spawn",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "sched_yield",
    "seteuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setsid",
    "setuid",
    "sync",
    "wait",
    "wait3",
    "wait4",
]
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2")

_OFD_SETLK, _WRLCK, _lock_file = fcntl.F_OFD_SETLK, fcntl.F_WRLCK, fcntl.fcntl
_KILL = signal.SIGKILL


def _locking(descriptor: int, mode: int, length: int) -> None:
    if mode != 2:
        raise NotImplementedError(mode)
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        _lock_file(descriptor, _OFD_SETLK, struct.pack("hhqqi", _WRLCK, os.SEEK_SET, start, length, 0))
    except BlockingIOError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


_msvcrt = types.ModuleType("msvcrt")
_msvcrt.LK_NBLCK = 2
_msvcrt.locking = _locking

for name in MODULES:
    sys.modules[name] = None
sys.modules["msvcrt"] = _msvcrt
for name in OS:
    if hasattr(os, name) and not (_kernel and name in ("getpgid", "getpgrp")):
        delattr(os, name)
for name in SIGNALS:
    delattr(signal, name)
shutil._use_fd_functions = False
subprocess.Popen.kill = lambda process: process.send_signal(_KILL)  # there it is a call of Windows' own
os.environ["MAILOPS_HIDDEN"] = "fcntl"  # a test asks whether this was read
