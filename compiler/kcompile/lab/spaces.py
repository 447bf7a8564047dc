"""Network namespaces of labs, by name (``kclab.LAB.ROLE``), and the processes in them.

Whatever a lab starts runs in one of its namespaces from its first instruction on, and what it runs to make
them dies with it. So their names are all that is needed to find and remove a lab, killed at whatever point.
"""

from __future__ import annotations

import ctypes
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
    "die_with_parent",
    "ended",
    "names_of_labs",
    "of_lab",
    "processes",
    "remove",
    "space",
    "start",
    "tune",
]

_PREFIX = "kclab"
_PR_SET_PDEATHSIG = 1
_GIVE_UP = 10.0  # seconds for processes that were killed to be gone
_QUIET = {"rp_filter": "0", "send_redirects": "0", "accept_redirects": "0"}
_QUIET6 = {"accept_dad": "0", "accept_ra": "0"}
_libc = ctypes.CDLL(None)


def space(lab: str, *role: str) -> str:
    """The name of a namespace."""
    return ".".join((_PREFIX, lab, *role))


def of_lab(lab: str) -> list[str]:
    """The namespaces of `lab` that there are."""
    return sorted(path.name for path in NETNS_DIR.glob(f"{_PREFIX}.{lab}.*"))


def names_of_labs() -> set[str]:
    """The labs that have a namespace."""
    return {path.name.split(".")[1] for path in NETNS_DIR.glob(f"{_PREFIX}.*.*")}


def die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def batch(lines: Iterable[str], name: str = "", tool: str = "ip") -> None:
    """Run lines of ip(8) or bridge(8) in one process, in namespace `name`. Raises KernelError."""
    command = [tool, *(["-n", name] if name else []), "-batch", "-"]
    text = "".join(f"{line}\n" for line in lines)
    done = spawn.run(command, input=text, text=True, capture_output=True, preexec_fn=die_with_parent)
    if done.returncode:
        raise KernelError(f"{' '.join(command)}: {' '.join(done.stderr.split())}")


def add(names: Iterable[str]) -> None:
    """Make namespaces. Raises KernelError."""
    batch(f"netns add {name}" for name in names)


def tune(name: str, values: Mapping[str, str]) -> None:
    """Set sysctls in namespace `name`, and on all its links, there and to come, what keeps them from talking
    out of turn.
    """
    with entered(name):
        for place in ("all", "default"):
            for key, value in _QUIET.items():
                sysctl.write(f"net.ipv4.conf.{place}.{key}", value)
            for key, value in _QUIET6.items():
                if sysctl.read(f"net.ipv6.conf.{place}.{key}") is not None:
                    sysctl.write(f"net.ipv6.conf.{place}.{key}", value)
        for key, value in values.items():
            if sysctl.read(key) is not None:
                sysctl.write(key, value)


def start(name: str, command: Sequence[str]) -> None:
    """Start a process in namespace `name` that goes on when this one ends, with no input and no output."""
    with entered(name):
        spawn.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes(names: Iterable[str]) -> dict[int, str]:
    """The processes that live in any of the namespaces: PID -> namespace.

    Not this one: ^C may have left it in one, on its way out.
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


def ended(names: Sequence[str]) -> None:
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
        if (
            Path(f"/proc/{pid}/ns/net").stat().st_ino == (NETNS_DIR / name).stat().st_ino
        ):  # still the one that was meant
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        pass
    finally:
        os.close(handle)


def remove(names: Sequence[str]) -> None:
    """Kill what lives in the namespaces, and remove them."""
    ended(names)
    there = [name for name in names if (NETNS_DIR / name).exists()]
    if there:
        batch(f"netns del {name}" for name in there)
