"""The environment of a result: enough to tell two machines apart, and to judge whether one was fit to measure
on.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kcompile
from kcompile import spawn

from .drive import cpus

__all__ = ["differences", "environment", "moment"]

_TOOLS = {
    "nft": ("nft", "--version"),
    "iptables-legacy": ("iptables-legacy", "--version"),
    "iptables-nft": ("iptables-nft", "--version"),
    "ipset": ("ipset", "--version"),
    "iproute2": ("ip", "-V"),
    "cc": ("cc", "--version"),
    "iperf3": ("iperf3", "--version"),
    "wrk": ("wrk", "-v"),
    "sockperf": ("sockperf", "--version"),
    "bcc": ("/usr/bin/python3", "-I", "-c", "import bcc; print(bcc.__version__)"),
}
_SYSCTLS = (
    "kernel/randomize_va_space",
    "kernel/sched_autogroup_enabled",
    "net/core/bpf_jit_enable",
    "net/core/default_qdisc",
    "net/core/netdev_max_backlog",
    "net/core/somaxconn",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_fastopen",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_wmem",
    "net/netfilter/nf_conntrack_buckets",
    "net/netfilter/nf_conntrack_max",
)
_VOLATILE = ("time", "load", "command")


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _version(command: tuple[str, ...]) -> str:
    if not spawn.find(command[0]):
        return "none"
    done = spawn.run(command, capture_output=True, text=True)
    found = re.search(r"v?(\d+\.\d+(?:\.\d+)*)", done.stdout + done.stderr)
    return found[1] if found else "none"


def _commit() -> str:
    """The commit of kcompile's checkout, with a plus if files are changed; empty outside a checkout."""
    here = str(Path(__file__).parent)
    if not spawn.find("git"):
        return ""
    commit = spawn.run(["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    if commit.returncode:
        return ""
    changed = spawn.run(
        ["git", "-C", here, "status", "--porcelain", "-uno"], capture_output=True, text=True
    ).stdout
    return commit.stdout.strip() + ("+" if changed.strip() else "")


def _cpu() -> dict[str, str]:
    info = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    one = Path("/sys/devices/system/cpu")
    return {
        "cpu": f"{os.cpu_count()} x {model[1] if model else platform.machine()}",
        "cpus used": " and ".join(map(str, sorted(set(cpus())))),
        "virtual": "yes" if re.search(r"^flags.*\bhypervisor\b", info, re.MULTILINE) else "no sign of it",
        "frequency governor": _read(one / "cpu0/cpufreq/scaling_governor") or "not told",
        "threads per core": {"0": "one", "1": "several"}.get(_read(one / "smt/active"), "not told"),
        "clock": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    }


def environment(place: str, command: list[str] | None = None) -> dict[str, Any]:
    """The record of this machine now: flat groups of words. `place`: what the clusters are made of."""
    vulnerabilities = Path("/sys/devices/system/cpu/vulnerabilities")
    return {
        "place": place,
        "machine": {
            **_cpu(),
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
            "system": _system(),
            "kernel": f"{platform.release()} {platform.version()}",
            "kernel command line": " ".join(
                w for w in _read("/proc/cmdline").split() if re.match(r"(mitigations|isolcpus|nohz|rcu)", w)
            ),
        },
        "mitigations": {path.name: _read(path) for path in sorted(vulnerabilities.glob("*"))},
        "sysctls": {
            name.replace("/", "."): value
            for name in _SYSCTLS
            if (value := _read(Path("/proc/sys", name)).replace("\t", " "))
        },
        "tools": {
            "python": platform.python_version(),
            **{name: _version(command) for name, command in _TOOLS.items()},
        },
        "kcompile": {"version": kcompile.__version__, "commit": _commit()},
        "command": " ".join(command or ["kcompile", *sys.argv[1:]]),
        **moment(),
    }


def moment() -> dict[str, Any]:
    """The load of the machine, and its steal time in ticks since boot (/proc/stat)."""
    fields = _read("/proc/stat").split("\n", 1)[0].split()[1:]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        "ticks": {
            "all": sum(map(int, fields[:8])),
            "idle": int(fields[3]),
            "stolen": int(fields[7]) if len(fields) > 7 else 0,
        },
    }


def _system() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read("/etc/os-release"), re.MULTILINE)
    return found[1] if found else platform.system()


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The entries in which two records differ: (name, in `a`, in `b`), without times, loads and commands."""
    one, two = _flat(a), _flat(b)
    return [
        (name, one.get(name, ""), two.get(name, ""))
        for name in {**one, **two}
        if one.get(name, "") != two.get(name, "")
    ]


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            if name != "ticks":
                flat |= _flat(value, f"{prefix}{name}: ")
        elif name not in _VOLATILE:
            flat[prefix + name] = str(value)
    return flat
