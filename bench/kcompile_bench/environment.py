"""The environment of a result: the machine, its programs and its load; and the clocks that results are read
from.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from pathlib import Path

from kcompile import spawn
from kcompile.errors import UnsupportedError

__all__ = ["cpu_seconds", "environment"]


def cpu_seconds() -> float:
    """User and system time in seconds of this process and of the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def environment() -> dict[str, str]:
    """The machine, in a few words for each property."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nft": _version("nft"),
        "iptables": _version("iptables-legacy"),
        "load": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    }


def _version(tool: str) -> str:
    try:
        done = spawn.run([tool, "--version"], capture_output=True, text=True)
    except UnsupportedError:
        return "none"
    found = re.search(r"v?(\d+\.\d+(?:\.\d+)?)", done.stdout)
    return found[1] if found else "unknown"
