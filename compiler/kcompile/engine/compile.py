"""A Cluster to the Dataplane of one node in one mode."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import ConfigError
from ..ir.model import Dataplane
from ..ir.node import Link, NodeFacts, Settings, Xdp
from ..modes import DEFAULT_MODE, Mode, mode_of
from ..notices import Notice
from .cluster import Cluster
from .request import Request, xdp_settings

if TYPE_CHECKING:
    from ..plans import Plan
    from ..spec.config import Config
    from ..spec.objects import Node, ServiceCIDR
    from ..targets.base import Target

__all__ = ["Compiled", "Seen", "chosen_mode", "compile_cluster", "look", "node_and_settings"]


class Seen(NamedTuple):
    """A node's own addresses and, where the mode needs them, its interfaces."""

    addresses: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


class Compiled(msgspec.Struct, kw_only=True):
    """`dataplane`: what the node is to do, for `mode`.

    `warnings`: those of the input and of the mode, as far as they are wanted. `seen`: what the node was found
    to have.
    """

    cluster: Cluster
    dataplane: Dataplane
    mode: Mode
    warnings: tuple[Notice, ...]
    seen: Seen

    def alone(self) -> tuple[Target, Plan]:
        """The plan for a node on which nothing is, and the target that lowered it."""
        from ..plans import make_plan
        from ..targets.node import lower_node

        target = self.mode.target()
        program = target.lower(self.dataplane)
        return target, make_plan(
            target, self.mode.name, {}, program, {}, lower_node(self.dataplane, self.mode.name)
        )


def compile_cluster(
    cluster: Cluster,
    request: Request,
    *,
    on_node: bool = False,
    default_mode: str | None = None,
    seen: Seen | None = None,
) -> Compiled:
    """Settle what `cluster` asks of this node.

    :param on_node: take the node's addresses from the current network namespace too, else from the Node
        object alone
    :param seen: what the node has, where somebody has looked already
    :param default_mode: the mode where neither request nor configuration names one; None: nftables
    :raises ConfigError: for settings that can't be
    """
    from ..passes import resolve, without_occupied
    from ..spec.convert import service_ports
    from ..spec.hosts import known_hosts

    config, inventory = cluster.config, cluster.inventory
    mode = chosen_mode(config, default_mode)
    if seen is None:
        seen = look(mode, request) if on_node else Seen()
    facts, settings = node_and_settings(config, cluster.node, inventory.service_cidrs, request, mode, seen)
    ports = service_ports(inventory)
    occupied: list[Notice] = []
    if mode.binds_addresses:
        ports, occupied = without_occupied(
            ports, known_hosts(inventory), {*facts.addresses, *facts.interfaces}
        )
    dataplane = resolve(ports, facts, settings)
    warnings = (*cluster.notices, *dataplane.notices, *occupied, *mode.limits(dataplane))
    return Compiled(
        cluster=cluster, dataplane=dataplane, mode=mode, warnings=request.heard(warnings), seen=seen
    )


def chosen_mode(config: Config, default_mode: str | None) -> Mode:
    """The mode of `config`; where that names none, `default_mode`, else nftables. Raises ConfigError."""
    return mode_of(config.mode or default_mode or DEFAULT_MODE)


def look(mode: Mode, request: Request) -> Seen:
    """What the current network namespace has.

    Raises ConfigError or UnsupportedError where mode xdp has no cgroup for the node's sockets.
    """
    from ..kernel.facts import interface_addresses

    addresses = interface_addresses()
    return Seen(addresses, _links(xdp_settings(request)) if mode.sees_interfaces else ())


def node_and_settings(
    config: Config,
    node: Node | None,
    service_cidrs: Iterable[ServiceCIDR],
    request: Request,
    mode: Mode,
    seen: Seen,
) -> tuple[NodeFacts, Settings]:
    """What is known of the node, and how it is to run `mode`.

    :raises ConfigError: for settings that can't be
    """
    from ..spec.node import node_facts
    from ..spec.settings import settings

    own = settings(config, node, service_cidrs, mode=mode.family)
    facts = node_facts(node, config, own.compat, seen.addresses)
    if own.flowtable and mode.binds_addresses and not (own.detector.cidr4 or own.detector.cidr6):
        raise ConfigError(
            f"--fast-path flowtable: mode {mode.name} has it for connections to pods alone, and needs "
            "--pod-cidr to know them"
        )
    if mode.sees_interfaces:
        if own.flowtable:
            raise ConfigError(f"--fast-path flowtable: packets of mode {mode.name} pass the hooks by anyway")
        own = msgspec.structs.replace(own, xdp=xdp_settings(request))
        facts = msgspec.structs.replace(facts, links=seen.links)
    return facts, own


def _links(settings: Xdp) -> tuple[Link, ...]:
    """The node's interfaces.

    Raises ConfigError or UnsupportedError where its sockets have no cgroup to be in.
    """
    from ..kernel.bpf.hooks import cgroup_root
    from ..kernel.facts import links

    cgroup = settings.cgroup
    if settings.sockets != "off" and not cgroup:
        cgroup_root()
    if cgroup and not (Path(cgroup) / "cgroup.procs").exists():
        raise ConfigError(f"--cgroup: {cgroup} is not a directory of a cgroup2")
    return links()
