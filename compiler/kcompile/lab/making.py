"""The settings of a lab, from what ``lab up`` is given; whether they fit the lab that runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import InputError
from ..spec.addresses import family_of
from ..spec.cluster import settings_of
from ..spec.config import Config
from ..spec.inventory import Inventory
from .network import API_ADDRESSES
from .nodes import new_nodes, service_cidrs
from .settings import LabSettings

__all__ = ["Wanted", "new_settings", "refuse_others"]

_LOAD_BALANCER_CIDRS = ("198.51.100.0/24", "2001:db8:51::/112")
_NODES, _MODE, _NETWORK = 2, "nftables", "routes"


class Wanted(msgspec.Struct, kw_only=True):
    """Options of ``lab up``, None where they aren't given.

    `settings`: of the cluster; `config`: the text of the file that they are from, for the nodes; `images`:
    more images, as images.yaml has them.
    """

    nodes: int | None = None
    mode: str | None = None
    network: str | None = None
    dual_stack: bool = False
    settings: Config = Config()
    config: str = ""
    images: dict[str, Any] = {}
    stand_ins: bool = False


def new_settings(name: str, wanted: Wanted, inventory: Inventory) -> LabSettings:
    """Those of a new lab; `inventory` has the Nodes and ServiceCIDRs of its manifests. Raises ConfigError."""
    cluster = settings_of(wanted.settings, inventory.service_cidrs)
    cidrs = service_cidrs(cluster, wanted.dual_stack)
    families = len({family_of(cidr) for cidr in cidrs})
    return LabSettings(
        name=name,
        mode=wanted.mode or _MODE,
        network=wanted.network or _NETWORK,
        domain=cluster.domain,
        service_cidrs=cidrs,
        node_port_range=cluster.node_port_range,
        load_balancer_cidrs=list(_LOAD_BALANCER_CIDRS[:families]),
        api_addresses=list(API_ADDRESSES[:families]),
        nodes=new_nodes(inventory.nodes, wanted.nodes or _NODES, families > 1, cluster.pod_cidrs),
        images=wanted.images,
        stand_ins=wanted.stand_ins,
        config=wanted.config,
    )


def refuse_others(there: LabSettings, wanted: Wanted, inventory: Inventory) -> None:
    """Raise InputError where the lab `there` was made with other settings than `wanted`, naming them."""
    differ = list(_differences(there, wanted, inventory))
    if differ:
        way_out = f"kcompile lab down --name {there.name} removes it"
        raise InputError(f"lab {there.name} is up with {', '.join(differ)}: {way_out}")


def _differences(there: LabSettings, wanted: Wanted, inventory: Inventory) -> Iterator[str]:
    if wanted.nodes not in (None, len(there.nodes)):
        yield f"{len(there.nodes)} nodes"
    if wanted.network not in (None, there.network):
        yield f"--network {there.network}"
    if wanted.dual_stack and not there.dual_stack:
        yield "one IP family"
    given, default = settings_of(wanted.settings, inventory.service_cidrs), settings_of(Config(), [])
    if given.domain not in (default.domain, there.domain):
        yield f"--cluster-domain {there.domain}"
    if given.service_cidrs and list(given.service_cidrs) != there.service_cidrs:
        yield f"--service-cluster-ip-range {','.join(there.service_cidrs)}"
    if given.node_port_range not in (default.node_port_range, there.node_port_range):
        yield "--service-node-port-range {}-{}".format(*there.node_port_range)
    if wanted.config and wanted.config != there.config:
        yield "another --config"
