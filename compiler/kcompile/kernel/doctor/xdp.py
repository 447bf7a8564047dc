"""Mode xdp: probe its kernel features, and find what on the node disturbs it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ... import spawn
from ...errors import KcompileError, KernelError, UnsupportedError
from ...targets.xdp import layout
from ..bpf import attach, flows, library, pins, programs
from ..bpf.arrays import numpy_missing
from ..bpf.hooks import cgroup_root
from ..bpf.node import XdpKernel
from ..places import run_directory
from . import advice
from .records import Facts, Finding, Lack, XdpFacts

__all__ = ["look", "work", "xdp_facts"]

_NOTHING = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0)  # r0 = 1; exit
_NATIVE = 1  # IFLA_XDP_ATTACHED's XDP_ATTACHED_DRV (linux/if_link.h)
_BPFFS = Path("/sys/fs/bpf")
_SOCKETS = "load balancing of the node's own TCP sockets at connect() (not needed with --socket-lb off)"


def work() -> list[Lack]:
    """The features of mode xdp that this kernel lacks. Runs in its own netns."""
    found: list[tuple[str, str, str]] = []

    def attempt(feature: str, act: Callable[[], object], costs: str = "") -> None:
        try:
            act()
        except KernelError as e:
            found.append((feature, str(e), costs))

    for like in {(m.type, m.flags): m for m in layout.MAPS.values()}.values():
        size = (like.type, like.key.size, like.value.size, 16, like.flags, "probe")
        attempt(f"maps like {like.name}", partial(library.create_map, *size))
    for hook in ("ingress", "xdp", "connect4", "connect6", "getpeername4", "getpeername6"):
        kind, place = programs.KINDS[hook]
        attempt(
            f"{hook} programs",
            partial(library.prog_load, kind, _NOTHING, "probe", place),
            "" if hook in ("ingress", "xdp") else _SOCKETS,
        )
    return [
        Lack(feature, family, message, (), costs) for feature, message, costs in found for family in (4, 6)
    ]


def xdp_facts() -> XdpFacts:
    """Facts about the current netns for mode xdp."""
    kernel = XdpKernel(run_directory())
    base = pins.directory(layout.SCHEMA, kernel.base)
    try:
        cgroup2 = str(cgroup_root())
    except UnsupportedError:
        cgroup2 = ""
    others: list[str] = []
    native: list[str] = []
    try:
        mine = {number for _, number in attach.attached(kernel.links)}
        for index, name in socket.if_nameindex():
            others += [f"{name}: {line}" for line in attach.other_programs(index, mine)]
        native = _native_veths()
        filling = kernel.filling() if not numpy_missing() else {}
    except (KcompileError, OSError):  # without root, or before Linux 5.x: then mode xdp's own probe says why
        return XdpFacts(bpffs=pins.is_bpffs(base), folder=str(base), cgroup2=cgroup2)
    return XdpFacts(pins.is_bpffs(base), str(base), cgroup2, tuple(others), tuple(native), filling)


def _native_veths() -> list[str]:
    done = spawn.run(["ip", "-json", "-details", "link", "show", "type", "veth"], capture_output=True)
    links = json.loads(done.stdout or b"[]")
    return [link["ifname"] for link in links if link.get("xdp", {}).get("mode") == _NATIVE]


def look(facts: Facts) -> Iterator[Finding]:
    """Findings about mode xdp; none if this kernel doesn't support it."""
    probed = next((probe for probe in facts.probes if probe.mode == "xdp"), None)
    if probed is None or not probed.families:
        return
    used = "xdp" in facts.rules.own_modes
    if not facts.xdp.bpffs:
        fix = (f"mount -t bpf bpf {_BPFFS}",)
        yield Finding(
            "bpffs",
            "note",
            f"{facts.xdp.folder} is not in a bpffs: mode xdp can't pin its maps",
            fix,
            "xdp",
        )
    if not facts.xdp.cgroup2:
        fix = ("mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2",)
        yield Finding(
            "cgroup2",
            "note",
            "cgroup2 is not mounted: mode xdp can't load-balance the node's own sockets",
            fix,
            "xdp",
        )
    # the larger of all's and an interface's value counts (ip-sysctl.rst)
    if used and max(facts.node.rp_filter.get(name, 0) for name in ("all", "lo")) == 1:
        effect = "replies to the node's own connections to Services are dropped"
        fix = (advice.inside(facts.netns, "sysctl -w net.ipv4.conf.lo.rp_filter=2"),)
        yield Finding("xdp-rp-filter", "warning", f"rp_filter is strict on lo: {effect}", fix, "xdp")
    for name in sorted(flows.nearly_full(facts.xdp.filling)):
        count, room = facts.xdp.filling[name]
        effect = "beyond that, connections that have been silent longest are forgotten"
        message = f"map {name} holds {count} of {room} entries, two a connection: {effect}"
        larger = ("apply", "-f", "MANIFESTS", "--mode", "xdp", "--xdp-capacity", f"{name}={4 * room}")
        yield Finding("xdp-flows", "warning", message, (advice.kcompile(facts.netns, *larger),), "xdp")
    for line in facts.xdp.others:
        where, _, what = line.partition(": ")
        effect = "it runs before or after mode xdp's program, or prevents XDP"
        message = f"{where} has a foreign BPF program ({what}): {effect}"
        yield Finding("bpf-programs", "warning" if used else "note", message, mode="xdp")
    for name in facts.xdp.native_veths:
        message = (
            f"veth {name} has native XDP: packets that XDP sends back are lost unless its peer has NAPI, "
            "and the peer's offloaded checksums are wrong (fix in the pod: ethtool -K eth0 gro on tx off)"
        )
        again = advice.kcompile(
            facts.netns, "apply", "-f", "MANIFESTS", "--mode", "xdp", "--xdp-mode", "auto"
        )
        yield Finding("xdp-veth", "warning", message, (again,) if used else (), "xdp")
