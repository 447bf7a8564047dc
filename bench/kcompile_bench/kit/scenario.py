"""The matrix: ways to a pod, modes, numbers of Services, measures.

Pure data; `plan` lays it out as stages of conditions.

A group is a number of Services and of endpoints each; all its modes stand side by side in clusters of their
own. A stage is one measure in one group; it runs rounds, and a round holds one block of each condition.
Figures are compared within a stage only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

__all__ = [
    "AGAIN",
    "BASELINES",
    "CONNTRACK",
    "MODES",
    "NONE",
    "PATHS",
    "POSITIONS",
    "Condition",
    "Group",
    "Measure",
    "Path",
    "Plan",
    "Stage",
]

NONE = "none"
AGAIN = ("again-1", "again-2")
BASELINES = (NONE, *AGAIN)
"""Clusters without rules: the baseline, and two copies of it, whose ratios to it are nothing but noise (A/A).
"""

CONNTRACK = "conntrack"
MODES = (CONNTRACK, "linear", "iptables-legacy", "iptables-nft", "nftables", "ipvs", "xdp")
"""``conntrack`` is one NAT rule for an address that nobody asks for: what no proxy of Services that tracks
connections can go below. ``linear`` is kube-proxy's own list of rules in iptables-legacy (shapes.py); the
others are ``kcompile apply --mode``.
"""

POSITIONS = ("first", "middle", "last")
"""Of the Service that is asked for, in the order in which a linear list would hold them."""


class Path(NamedTuple):
    """A path to a server pod on node A.

    `source`: the client's role; `entry`: the first node; `base`: the path to compare with.
    """

    name: str
    title: str
    source: str
    target: str
    entry: str
    base: str

    @property
    def direct(self) -> bool:
        """True for a path straight to a pod's address, which needs no rules."""
        return self.target == "pod"


PATHS = {
    path.name: path
    for path in (
        Path("pod-direct", "pod to pod IP", "pod-a", "pod", "a", "pod-direct"),
        Path("pod-clusterip", "pod to ClusterIP", "pod-a", "vip", "a", "pod-direct"),
        Path("pod-nodeport", "pod to its node's NodePort", "pod-a", "nodeport", "a", "pod-direct"),
        Path("hairpin", "pod to itself by ClusterIP (hairpin)", "server", "vip", "a", "pod-direct"),
        Path("far-direct", "pod on another node to pod IP", "pod-b", "pod", "b", "far-direct"),
        Path("far-clusterip", "pod on another node to ClusterIP", "pod-b", "vip", "b", "far-direct"),
        Path("outside-direct", "outside to pod IP", "outside", "pod", "a", "outside-direct"),
        Path(
            "outside-nodeport",
            "outside to NodePort on the pod's node",
            "outside",
            "nodeport",
            "a",
            "outside-direct",
        ),
        Path(
            "outside-detour",
            "outside to pod IP by way of another node",
            "outside",
            "pod",
            "b",
            "outside-detour",
        ),
        Path(
            "outside-nodeport-far",
            "outside to NodePort on another node",
            "outside",
            "nodeport",
            "b",
            "outside-direct",
        ),
        Path("node-direct", "node to pod IP", "node-a", "pod", "a", "node-direct"),
        Path("node-clusterip", "node to ClusterIP", "node-a", "vip", "a", "node-direct"),
        Path("node-nodeport", "node to its own NodePort", "node-a", "nodeport", "a", "node-direct"),
    )
}


class Group(NamedTuple):
    """A number of Services, and of endpoints each."""

    services: int
    endpoints: int

    def __str__(self) -> str:
        return f"{self.services}x{self.endpoints}"


class Condition(NamedTuple):
    """One cell of a stage: over `path` to the Service in `position` (empty for direct paths), in the cluster
    of `mode`.
    """

    mode: str
    path: str
    position: str

    @functools.cache  # noqa: B019 (there are few, and they are asked for in every block of every figure)
    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The inverse of str()."""
        mode, path, position = (*text.split("/"), "")[:3]
        return cls(mode, path, position)

    @property
    def base(self) -> Condition:
        """The condition to compare with: the direct path from the same source, without rules."""
        return Condition(NONE, PATHS[self.path].base, "")


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """The work of a block.

    `kind` is a name of measures.KINDS; fields that a kind doesn't use keep their defaults.
    """

    kind: str
    paths: tuple[str, ...]
    rounds: int = 20
    positions: tuple[str, ...] = ("last",)
    # largest: the one with the most Services, and the fewest endpoints of those; single: those with one
    # endpoint
    groups: str = "all"
    direct_with_rules: bool = (
        True  # direct paths in modes too: what do rules cost traffic that isn't for a Service?
    )
    count: int = 0
    seconds: float = 0.0
    concurrency: int = 1
    rate: int = 0
    keepalive: bool = False
    streams: int = 1
    megabytes: int = 0

    @property
    def title(self) -> str:
        """Unique within a profile."""
        parts = [self.kind]
        if self.rate:
            parts.append(f"{self.rate}/s")
        if self.concurrency > 1:
            parts.append(f"c{self.concurrency}")
        if self.streams > 1:
            parts.append(f"{self.streams} streams")
        if self.keepalive:
            parts.append("keepalive")
        return " ".join(parts)


class Stage(NamedTuple):
    """`measure` in `group`: `conditions` in the order of even rounds; odd ones run them backwards."""

    group: Group
    measure: Measure
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        return f"{self.group} {self.measure.title}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run does, which a resumed run must share. `control_rounds`: how often rules are
    applied and changed.
    """

    profile: str
    modes: tuple[str, ...]
    groups: tuple[tuple[int, int], ...]
    measures: tuple[Measure, ...]
    control_rounds: int
    control_services: tuple[int, ...]

    def each_group(self) -> list[Group]:
        return [Group(*group) for group in self.groups]

    def stages(self, group: Group, present: Sequence[str] | None = None) -> Iterator[Stage]:
        """The stages of `group` with the modes that are `present` (default: all of the plan)."""
        largest = max(self.each_group(), key=lambda g: (g.services, -g.endpoints))
        modes = [m for m in self.modes if present is None or m in present]
        for measure in self.measures:
            if measure.groups == "all" or (
                group.endpoints == 1 if measure.groups == "single" else group == largest
            ):
                yield Stage(group, measure, tuple(_conditions(group, measure, modes)))


def _conditions(group: Group, measure: Measure, modes: Sequence[str]) -> Iterator[Condition]:
    paths = [PATHS[name] for name in measure.paths if name != "hairpin" or group.endpoints == 1]
    bases = dict.fromkeys([path.name for path in paths if path.direct] + [path.base for path in paths])
    for mode in BASELINES:
        for name in bases:
            yield Condition(mode, name, "")
    positions = ("last",) if group.services == 1 else measure.positions
    for mode in modes:
        for path in paths:
            if not path.direct and mode != CONNTRACK:
                for position in positions:
                    yield Condition(mode, path.name, position)
            elif path.direct and measure.direct_with_rules:
                yield Condition(mode, path.name, "")
