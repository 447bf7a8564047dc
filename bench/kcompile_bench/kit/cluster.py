"""What the runner needs of a place to measure in: namespaces of this machine (netns_cluster), or anything
else that can do the same.

    outside 192.168.0.100 ----+
                              |  one wire (a switch)
    node A  192.168.0.1 ------+------ node B  192.168.0.2
      |-- pod-a 10.255.0.2               `-- pod-b 10.255.0.3
      `-- server: the endpoints of the Services that are asked for

A cluster is one set of these, with the rules of one mode on both nodes. Roles: the names in the picture, with
node-a and node-b.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, NamedTuple, Protocol

from ..generate import POD_CIDR, PORT, TARGET_PORT, Scale
from .scenario import PATHS, Condition, Group

__all__ = [
    "ADDRESSES",
    "DETOUR",
    "NODES",
    "OWN",
    "SHARED",
    "SITE",
    "Cluster",
    "Place",
    "Site",
    "Target",
    "service_of",
    "target_of",
    "wiring",
]

ADDRESSES = {
    "node-a": "192.168.0.1",
    "node-b": "192.168.0.2",
    "outside": "192.168.0.100",
    "pod-a": "10.255.0.2",
    "pod-b": "10.255.0.3",
}
DETOUR = "192.168.0.101"
"""A second address of the outside client, whose way to the pods and back leads through node B."""

NODES = {"node-a": "node-000", "node-b": "node-001"}
"""What the nodes are called in the specs."""

_FIRST_NODE_PORT = 30001


class Site(NamedTuple):
    """The addresses by role. `servers`: the server's; where empty, generate.py's."""

    addresses: Mapping[str, str] = ADDRESSES
    servers: tuple[str, ...] = ()
    pod_cidr: str = POD_CIDR

    def pods(self, group: Group, service: int) -> list[str]:
        """The endpoints of a measured Service."""
        return list(self.servers[: group.endpoints]) or Scale(*group).pods(service)


class Cluster(Protocol):
    """Two nodes, two client pods, a server and an outside client, wired as above.

    `cpus`: of client and server, -1 for any.
    """

    site: Site
    cpus: tuple[int, int]
    kcompile: Sequence[str]

    def start(
        self, role: str, command: Sequence[str], *, stdin: int | IO[Any] | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Start `command` at `role`, with pipes for its output."""
        ...

    def put(self, role: str, name: str, data: bytes) -> str:
        """Write a file at `role`, which is removed with the cluster; returns its path there."""
        ...

    def driver(self, role: str) -> str:
        """The path of drive.c's program at `role`."""
        ...

    def environment(self, role: str) -> dict[str, str]:
        """kcompile's environment on a node: its own folders, where nodes share a machine."""
        ...

    def settle(self) -> None:
        """Called once the rules are applied, to make measurements steadier."""
        ...


SHARED = "the same machines for all modes, which take turns"
OWN = "one for each mode"


class Place(Protocol):
    """Where clusters come from; `name` is printed in the report.

    `shared`: all clusters are the same machines, so that only one mode can be there at a time. `local`: they
    are this machine, under one kernel with the runner. `paths`: those that it has.
    """

    name: str
    shared: bool
    local: bool
    site: Site
    paths: Sequence[str]

    def cluster(self, name: str, pods: Sequence[str]) -> AbstractContextManager[Cluster]:
        """A cluster without rules whose server has the addresses `pods`; removed at the end of the ``with``
        block.
        """
        ...


SITE = Site()


def wiring(place: Place) -> dict[str, str]:
    """The addresses by role, and whether modes share their machines: for the record."""
    servers = {"server": ", ".join(place.site.servers)} if place.site.servers else {}
    return {**place.site.addresses, **servers, "clusters": SHARED if place.shared else OWN}


class Target(NamedTuple):
    """A connection's client role, source address and destination."""

    role: str
    source: str
    address: str
    port: int


def service_of(position: str, group: Group) -> int:
    """The index of the Service in `position`."""
    return {"first": 0, "middle": group.services // 2, "last": group.services - 1}[position]


def node_port(position: str) -> int:
    """The NodePort of the Service in `position`."""
    return _FIRST_NODE_PORT + ("first", "middle", "last").index(position)


def target_of(condition: Condition, group: Group, site: Site = SITE) -> Target:
    """The destination of `condition`. Positions that are one Service (in small groups) are named ``last``."""
    path, scale = PATHS[condition.path], Scale(*group)
    service = service_of(condition.position or "last", group)
    pod = site.pods(group, service)[0]
    source = (
        pod
        if path.source == "server"
        else DETOUR
        if path.name == "outside-detour"
        else site.addresses[path.source]
    )
    if path.target == "pod":
        return Target(path.source, source, pod, TARGET_PORT)
    if path.target == "vip":
        return Target(path.source, source, scale.vip(service), PORT)
    return Target(path.source, source, site.addresses[f"node-{path.entry}"], node_port(condition.position))
