"""Reads sysctls, kernel modules, kcompile's files and processes, and kube-proxy's process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...files import open_unlinked
from .. import health, sysctl
from ..kubeproxy import running
from ..lock import holder
from ..state import NodeState, stale
from .attempts import tool_missing
from .records import Holder, KernelModules, NodeFacts

__all__ = ["kernel_modules", "node_facts"]

_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
)
_PROC = Path("/proc")


def node_facts(directory: Path) -> NodeFacts:
    """The facts of the current namespace; `directory` is its run directory."""
    found = {name: value for name in _SYSCTLS if (value := sysctl.read(name)) is not None}
    state = NodeState.load(directory)
    held = _holder(directory / "lock")
    return NodeFacts(
        sysctls=found,
        rp_filter=_rp_filter(),
        not_forwarding=_not_forwarding() if found.get("net.ipv4.ip_forward") == "1" else (),
        reverted=tuple(name for name, old in state.sysctls.items() if sysctl.read(name) == old),
        stale_state=str(path) if (path := stale(directory)) else "",
        unanswered=tuple(check.port for check in health.unanswered(directory)),
        holder=held,
        agent=str(holder(directory) or "") if held is not None else "",
        kube_proxies=tuple(running()),
        missing_tools=tuple(tool for tool in ("ip",) if tool_missing(tool)),
    )


def _rp_filter() -> dict[str, int]:
    found = {}
    for path in (_PROC / "sys/net/ipv4/conf").glob("*/rp_filter"):
        with contextlib.suppress(OSError, ValueError):
            found[path.parent.name] = int(path.read_text())
    return found


def _not_forwarding() -> tuple[str, ...]:
    """Interfaces that drop what is to be forwarded (IN_DEV_FORWARD of ip_route_input_slow())."""
    found = []
    for path in (_PROC / "sys/net/ipv4/conf").glob("*/forwarding"):
        with contextlib.suppress(OSError):
            if path.parent.name not in ("all", "default", "lo") and path.read_text().strip() == "0":
                found.append(path.parent.name)
    return tuple(sorted(found))


def _processes() -> Iterator[Path]:
    return (path for path in _PROC.iterdir() if path.name.isdigit())


def _holder(lock: Path) -> Holder | None:
    """Who holds kcompile's lock, if it is held: of all who have the file open, those whose descriptor has the
    lock (proc(5), fdinfo).
    """
    try:
        with os.fdopen(open_unlinked(lock, os.O_RDONLY)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        pass
    except OSError:
        return None
    pids = sorted(int(process.name) for process in _processes() if _has_lock(process, lock))
    if not pids:
        return None
    try:
        words = (_PROC / str(pids[0]) / "cmdline").read_bytes().split(b"\0")
        seconds = _age(pids[0])
    except OSError:
        return None
    return Holder(tuple(pids), " ".join(word.decode(errors="replace") for word in words).strip(), seconds)


def _has_lock(process: Path, lock: Path) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            if (
                descriptor.readlink() == lock
                and "FLOCK" in (process / "fdinfo" / descriptor.name).read_text()
            ):
                return True
    return False


def _age(pid: int) -> int:
    """Seconds since the process started: field 22 of proc(5)'s stat, in clock ticks since boot."""
    started = int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf(
        "SC_CLK_TCK"
    )
    return max(0, int(float((_PROC / "uptime").read_text().split()[0]) - started))


def kernel_modules(root: Path = Path("/")) -> KernelModules:
    """What the running kernel has loaded, has built in, and could load."""
    release = os.uname().release
    top = root / "lib/modules"
    folder = top / release
    present = {line.split()[0] for line in _lines(root / "proc/modules")}
    return KernelModules(
        release=release,
        loadable=(root / "proc/modules").exists(),
        locked=_lines(root / "proc/sys/kernel/modules_disabled") == ["1"],
        folder=folder.is_dir(),
        others=top.is_dir() and any(path.name != release for path in top.iterdir()),
        available=frozenset(_names(folder / "modules.dep")),
        present=frozenset(present.union(_names(folder / "modules.builtin"))),
    )


def _names(path: Path) -> list[str]:
    """Module names in modules.dep or modules.builtin, in the kernel's own spelling."""
    return [
        re.sub(r"\.ko.*", "", line.partition(":")[0].rpartition("/")[2]).replace("-", "_")
        for line in _lines(path)
    ]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
