"""Clusters out of network namespaces, linked to nothing but each other; neighbours are permanent entries, so
nothing is ever looked for.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from kcompile import spawn
from kcompile.kernel.netns import NETNS_DIR, entered

from ..generate import POD_CIDR
from ..netns import batch, namespaces, sysctl
from .cluster import ADDRESSES, DETOUR, NODES, SITE
from .drive import cpus, program
from .ebpf_room import Room, room, sweep_cgroups
from .scenario import PATHS

__all__ = ["NetnsCluster", "NetnsPlace", "sweep"]

_ROLES = ("wire", "node-a", "node-b", "outside", "pod-a", "pod-b", "server")
_WIRED = ("node-a", "node-b", "outside")
_PODS = {"pod-a": "node-a", "server": "node-a", "pod-b": "node-b"}
_EBPF = "xdp"
_GATEWAY = "169.254.1.1"
_OURS = re.compile(r"kcbench-(\d+)-")


def _mac(side: int, role: str) -> str:
    return f"02:00:00:00:{side:02x}:{_ROLES.index(role):02x}"


def sweep() -> list[str]:
    """Remove what killed runs have left: namespaces (returns their names), cgroups, and folders with their
    mounts.
    """
    sweep_cgroups()
    for folder in _dead(Path(tempfile.gettempdir())):
        for mounted in folder.glob("*/bpf"):
            spawn.run(["umount", str(mounted)], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    names = [path.name for path in _dead(NETNS_DIR)]
    for name in names:
        spawn.run(["ip", "netns", "del", name], capture_output=True)
    return names


def _dead(folder: Path) -> list[Path]:
    """The entries of `folder` with the id of a process that has ended."""
    found = folder.glob("kcbench-*") if folder.exists() else ()
    return [
        path for path in found if (ours := _OURS.match(path.name)) and not Path("/proc", ours[1]).exists()
    ]


class NetnsPlace:
    """This machine."""

    name = "network namespaces"
    shared = False
    local = True
    site = SITE
    paths = tuple(PATHS)

    @contextlib.contextmanager
    def cluster(self, name: str, pods: Sequence[str]) -> Iterator[NetnsCluster]:
        with (
            tempfile.TemporaryDirectory(prefix=f"kcbench-{os.getpid()}-") as folder,
            namespaces(*_ROLES) as names,
        ):
            cluster = NetnsCluster(name, dict(zip(_ROLES, names, strict=True)), Path(folder))
            cluster.build(pods)
            with contextlib.ExitStack() as rooms:
                if name.endswith(_EBPF):
                    for role in NODES:
                        cluster.rooms[role] = rooms.enter_context(room(Path(folder, role)))
                yield cluster


class NetnsCluster:
    """One cluster; `namespaces` by role. `folder` is for its files."""

    site = SITE
    kcompile = tuple(spawn.python("kcompile"))

    def __init__(self, name: str, names: dict[str, str], folder: Path) -> None:
        self.name, self.namespaces, self._folder = name, names, folder
        self.cpus = cpus()
        self.rooms: dict[str, Room] = {}  # of nodes, in mode xdp

    def start(
        self, role: str, command: Sequence[str], *, stdin: int | IO[Any] | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        inside = self.rooms[role].inside(tuple(command)) if role in self.rooms else command
        with entered(self.namespaces[role]):
            return spawn.popen(
                inside,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )

    def put(self, role: str, name: str, data: bytes) -> str:  # noqa: ARG002 (all of them see the same files)
        path = self._folder / name
        path.write_bytes(data)
        return str(path)

    def driver(self, role: str) -> str:  # noqa: ARG002
        return program()

    def environment(self, role: str) -> dict[str, str]:
        """Nodes share this machine's files, so each gets folders of its own for kcompile."""
        own = self.rooms[role].environment if role in self.rooms else {}
        cache = str(Path(program()).parent)
        folders = {name: str(self._folder / role / name.lower()) for name in ("RUN", "STATE")}
        return {
            **{f"KCOMPILE_{name}_DIR": path for name, path in folders.items()},
            "KCOMPILE_CACHE_DIR": cache,
            **own,
        }

    def settle(self) -> None:
        """Let entries of closed connections expire after a second, not ten: a run makes hundreds of
        thousands.
        """
        for role in ("node-a", "node-b"):
            with contextlib.suppress(FileNotFoundError):
                sysctl(self.namespaces[role], {"netfilter/nf_conntrack_tcp_timeout_close": 1})

    def build(self, pods: Sequence[str]) -> None:
        """Make the links, addresses and routes; the server has every address of `pods`."""
        ns = self.namespaces
        links = []
        for role in _WIRED:
            peer = f"peer name eth0 address {_mac(1, role)} netns {ns[role]}"
            links.append(f"link add name {role} netns {ns['wire']} type veth {peer}")
        for pod, node in _PODS.items():
            peer = f"peer name eth0 address {_mac(1, pod)} netns {ns[pod]}"
            links.append(f"link add name {pod} address {_mac(2, pod)} netns {ns[node]} type veth {peer}")
        batch(links)
        wire = ["link add switch type bridge forward_delay 0 mcast_snooping 0", "link set switch up"]
        for role in _WIRED:
            wire += [f"link set {role} master switch", f"link set {role} up"]
        batch(wire, ns["wire"])
        for role in _WIRED:
            batch(self._wired(role, pods), ns[role])
        for pod in _PODS:
            batch(self._pod(pod, pods), ns[pod])
        for role in _ROLES:
            sysctl(
                ns[role],
                {
                    "ipv4/conf/all/rp_filter": 0,
                    "ipv4/conf/default/rp_filter": 0,
                    "ipv4/conf/all/send_redirects": 0,
                },
            )
        for role in ("node-a", "node-b"):
            sysctl(
                ns[role],
                {"ipv4/ip_forward": 1, "ipv4/conf/eth0/rp_filter": 0, "ipv4/conf/eth0/send_redirects": 0},
            )
        for role in ("outside", *_PODS, "node-a"):
            # clients' own ports stay below those of NodePorts
            sysctl(ns[role], {"ipv4/ip_local_port_range": "1024 29999"})
        sysctl(ns["server"], {"core/somaxconn": 65535, "ipv4/tcp_max_syn_backlog": 65535})
        with contextlib.suppress(FileNotFoundError):
            sysctl(ns["wire"], {"bridge/bridge-nf-call-iptables": 0})

    def _wired(self, role: str, pods: Sequence[str]) -> Iterator[str]:
        """The setup of a node or the outside client: on the wire, with routes to the pods of both nodes."""
        yield f"addr add {ADDRESSES[role]}/24 dev eth0"
        if role == "outside":
            yield f"addr add {DETOUR}/24 dev eth0"
        yield "link set eth0 up"
        for other in _WIRED:
            if other != role:
                yield f"neigh add {ADDRESSES[other]} lladdr {_mac(1, other)} dev eth0 nud permanent"
        if role != "outside":
            yield f"neigh add {DETOUR} lladdr {_mac(1, 'outside')} dev eth0 nud permanent"
            yield f"route add default via {ADDRESSES['outside']}"
        else:
            yield f"route add {POD_CIDR} via {ADDRESSES['node-a']}"
            yield f"route add {POD_CIDR} via {ADDRESSES['node-b']} table 100"
            yield f"rule add from {DETOUR} lookup 100"
        if role == "node-a":  # what came by the detour goes back by it
            yield f"route add {DETOUR} via {ADDRESSES['node-b']}"
        for pod, node in _PODS.items():
            if node == role:
                yield f"link set {pod} up"
            for address in pods if pod == "server" else [ADDRESSES[pod]]:
                if node == role:
                    yield f"neigh add {address} lladdr {_mac(1, pod)} dev {pod} nud permanent"
                    yield f"route add {address} dev {pod}"
                elif role != "outside":
                    yield f"route add {address} via {ADDRESSES[node]}"

    def _pod(self, pod: str, pods: Sequence[str]) -> Iterator[str]:
        for address in pods if pod == "server" else [ADDRESSES[pod]]:
            yield f"addr add {address}/32 dev eth0"
        yield "link set eth0 up"
        yield f"neigh add {_GATEWAY} lladdr {_mac(2, pod)} dev eth0 nud permanent"
        # a UDP server that listens on every address answers from this one: the endpoint of the last Service,
        # if it has one
        source = f" src {pods[-1]}" if pod == "server" else ""
        yield f"route add default via {_GATEWAY} dev eth0 onlink{source}"
