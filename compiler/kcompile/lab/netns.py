"""Network namespaces of labs, by name (``kclab.LAB.ROLE``), and the processes in them.

Every process that a lab starts runs in one of its namespaces from its first instruction on, and the tools
that make them die with kcompile. So their names are enough to find and remove a lab, wherever it was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .. import spawn
from ..errors import KernelError
from ..kernel import sysctl
from ..kernel.netns import NETNS_DIR, entered

__all__ = [
    "add",
    "batch",
    "kill_processes",
    "names_of_labs",
    "netns_name",
    "of_lab",
    "processes",
    "remove",
    "start",
    "tune",
]

_PREFIX = "kclab"
# by a program: a preexec_fn makes a fork() of a vfork(), which takes a large process ten times as long
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_GIVE_UP = 10.0  # seconds for processes that were killed to be gone
_QUIET = {"rp_filter": "0", "send_redirects": "0", "accept_redirects": "0"}
_QUIET6 = {"accept_dad": "0", "accept_ra": "0"}


def netns_name(lab: str, *role: str) -> str:
    """The network namespace of `role` in `lab`: ``kclab.LAB.ROLE``."""
    return ".".join((_PREFIX, lab, *role))


def of_lab(lab: str) -> list[str]:
    """The existing namespaces of `lab`, by name."""
    return sorted(path.name for path in NETNS_DIR.glob(f"{_PREFIX}.{lab}.*"))


def names_of_labs() -> set[str]:
    """The names of the labs that have a namespace."""
    return {path.name.split(".")[1] for path in NETNS_DIR.glob(f"{_PREFIX}.*.*")}


def batch(lines: Iterable[str], name: str = "", tool: str = "ip") -> None:
    """Run lines of ip(8) or bridge(8) in one process, in namespace `name`. Raises KernelError."""
    command = [tool, *(["-n", name] if name else []), "-batch", "-"]
    text = "".join(f"{line}\n" for line in lines)
    done = spawn.run([*_DIE_WITH_PARENT, *spawn.located(command)], input=text, text=True, capture_output=True)
    if done.returncode:
        raise KernelError(f"{' '.join(command)}: {' '.join(done.stderr.split())}")


def add(names: Iterable[str]) -> None:
    """Make namespaces. Raises KernelError."""
    batch(f"netns add {name}" for name in names)


def tune(name: str, values: Mapping[str, str]) -> None:
    """Set sysctls in namespace `name`, and turn redirects and autoconfiguration off on all its links."""
    with entered(name):
        for links in ("all", "default"):
            for key, value in _QUIET.items():
                sysctl.write(f"net.ipv4.conf.{links}.{key}", value)
            for key, value in _QUIET6.items():
                if sysctl.read(f"net.ipv6.conf.{links}.{key}") is not None:
                    sysctl.write(f"net.ipv6.conf.{links}.{key}", value)
        for key, value in values.items():
            if sysctl.read(key) is not None:
                sysctl.write(key, value)


def start(name: str, command: Sequence[str]) -> None:
    """Start a process in namespace `name` that goes on when this one ends, with no input and no output."""
    with entered(name):
        spawn.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes(names: Iterable[str]) -> dict[int, str]:
    """PIDs of the processes in any of the namespaces, with the namespace of each.

    Without this process: ^C may have interrupted it inside one.
    """
    inodes = {(NETNS_DIR / name).stat().st_ino: name for name in names if (NETNS_DIR / name).exists()}
    found, own = {}, str(os.getpid())
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and path.name != own:
            try:
                inode = (path / "ns/net").stat().st_ino
            except OSError:  # it has ended
                continue
            if inode in inodes:
                found[int(path.name)] = inodes[inode]
    return found


def kill_processes(names: Sequence[str]) -> None:
    """Kill every process that lives in the namespaces. Raises KernelError where one doesn't end."""
    deadline = time.monotonic() + _GIVE_UP
    while there := processes(names):
        for pid, name in there.items():
            _kill(pid, name)
        if time.monotonic() > deadline:
            raise KernelError(f"processes that don't end: {', '.join(map(str, there))}")
        time.sleep(0.01)


def _kill(pid: int, name: str) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        is_still_there = Path(f"/proc/{pid}/ns/net").stat().st_ino == (NETNS_DIR / name).stat().st_ino
        if is_still_there:  # else the PID is another process by now
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        pass
    finally:
        os.close(handle)


def remove(names: Sequence[str]) -> None:
    """Kill what lives in the namespaces, and remove them."""
    kill_processes(names)
    there = [name for name in names if (NETNS_DIR / name).exists()]
    if there:
        batch(f"netns del {name}" for name in there)
