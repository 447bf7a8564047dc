"""Which modes this machine can test: asked of its kernel by loading rules into a throw-away namespace, never
of its version.

Tests of mode ipvs run in a machine of their own where this kernel has no IPVS (plugins/machines.py); then
`missing` is asked in there.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from kcompile.errors import KernelError
from kcompile.kernel import drivers
from kcompile.kernel.bpf import programs

from . import netns

__all__ = ["MODES", "VARIANTS", "missing", "no_namespaces"]

_NFT = """\
table {family} probe {{
    map vips {{ type {kind}_addr . inet_proto . inet_service : verdict; }}
    set seen {{ type {kind}_addr; flags dynamic,timeout; timeout 5s; }}
    chain dispatch {{ }}
    chain nat {{
        type nat hook prerouting priority dstnat;
        {family} daddr . meta l4proto . th dport vmap @vips
        fib daddr type local numgen random mod 2 vmap {{ 0 : goto dispatch, 1 : drop }}
    }}
    chain post {{ type nat hook postrouting priority srcnat; meta mark 1 masquerade fully-random; }}
    chain filter {{ type filter hook forward priority filter; ct state new reject; }}
}}
"""

_IPTABLES = """\
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -m comment --comment probe -p tcp --dport 1 -j MARK --set-xmark 1/1
-A PREROUTING -m statistic --mode random --probability 0.5 -j RETURN
-A PREROUTING -p tcp -m recent --name probe --set
-A POSTROUTING -m mark --mark 1/1 -j MASQUERADE --random-fully
COMMIT
*filter
-A FORWARD -m conntrack --ctstate NEW -j REJECT
COMMIT
"""


def _nftables(name: str) -> None:
    for family, kind in (("ip", "ipv4"), ("ip6", "ipv6")):
        netns.run(name, ["nft", "-f", "-"], text=_NFT.format(family=family, kind=kind))


def _iptables(flavour: str, name: str) -> None:
    for tool in ("iptables", "ip6tables"):
        netns.run(name, [f"{tool}-{flavour}-restore"], text=_IPTABLES)


def _ipvs(name: str) -> None:
    subprocess.run(["modprobe", "--quiet", "ip_vs"], check=False)  # fails where it is built in
    with netns.enter(name):
        if not Path("/proc/thread-self/net/ip_vs").exists():
            raise RuntimeError("this kernel has no IPVS")
    netns.batch(["link add probe type dummy"], name)
    netns.run(name, ["ipset", "create", "probe", "hash:ip,port"])


def _xdp(name: str) -> None:
    if not any(line.split()[2] == "cgroup2" for line in Path("/proc/mounts").read_text().splitlines()):
        raise RuntimeError("cgroup2 is not mounted")
    with netns.enter(name), tempfile.TemporaryDirectory() as cache:
        objects = programs.compile_text("int probe(struct __sk_buff *skb) { return 0; }", cache=Path(cache))
        programs.load(objects, {}, {"probe": programs.KINDS["ingress"]})


_PROBES: dict[str, Callable[[str], None]] = {
    "nftables": _nftables,
    "iptables-legacy": functools.partial(_iptables, "legacy"),
    "iptables-nft": functools.partial(_iptables, "nft"),
    "ipvs": _ipvs,
    "xdp": _xdp,
    "xdp-tc": _xdp,
    "xdp-generic": _xdp,
}
"""Each mode with a probe that raises in a namespace where the mode can't work.

xdp-tc is mode xdp with --socket-lb off, xdp-generic the same behind generic XDP.
"""

MODES = [mode for mode in _PROBES if mode in drivers.MODES]
"""What kcompile has, and so what is tested unless a mode is named."""

VARIANTS = [mode for mode in _PROBES if mode in drivers.MODES or mode.startswith("xdp-")]
"""The same for flow cases, which look at mode xdp three times."""


def no_namespaces() -> str:
    """Why there can be no labs here at all; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    return "" if shutil.which("ip") else "no ip command (iproute2)"


def missing(mode: str) -> str:
    """Why `mode` can't run here; empty where it can."""
    if reason := no_namespaces():
        return reason
    reason = _failure(_PROBES[mode])
    return f"mode {mode} doesn't work here: {reason}" if reason else ""


@functools.cache
def _failure(probe: Callable[[str], None]) -> str:
    """What the kernel says to `probe`; empty where that works. Asked once a process."""
    try:
        with netns.group(["probe"]) as names:
            probe(names["probe"])
    except (OSError, RuntimeError, KernelError) as error:
        return " ".join(str(error).split())[:300]
    return ""
