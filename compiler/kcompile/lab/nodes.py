"""The nodes and the Service ranges of a new lab: those of the manifests, else defaults. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from ..errors import ConfigError
from ..spec.addresses import family_of
from ..spec.cluster import ClusterSettings
from ..spec.objects import Node
from .network import default_nodes
from .settings import NodeSettings

__all__ = ["new_nodes", "service_cidrs"]

_DEFAULT_SERVICE_CIDRS = ("10.96.0.0/12", "fd00:10:96::/112")
_FEWEST_ADDRESSES = 16  # of a Service range: the DNS Service has its tenth address


def service_cidrs(cluster_wide: ClusterSettings, dual_stack: bool) -> list[str]:
    """The cluster's Service ranges, IPv4 first; defaults where `cluster_wide` has none.

    Raises ConfigError.
    """
    cidrs = list(cluster_wide.service_cidrs or _DEFAULT_SERVICE_CIDRS[: 1 + dual_stack])
    if dual_stack and len({family_of(cidr) for cidr in cidrs}) == 1:
        raise ConfigError(f"--service-cluster-ip-range {cidrs[0]}: --dual-stack needs a range of each family")
    if family_of(cidrs[0]) != 4:
        raise ConfigError(f"--service-cluster-ip-range {cidrs[0]}: the first one must be IPv4")
    for cidr in cidrs:
        if ip_network(cidr).num_addresses < _FEWEST_ADDRESSES:
            raise ConfigError(
                f"--service-cluster-ip-range {cidr}: too small: a lab needs {_FEWEST_ADDRESSES} addresses"
            )
    return cidrs


def new_nodes(
    given: Sequence[Node], count: int, dual_stack: bool, pod_cidrs: Sequence[str]
) -> list[NodeSettings]:
    """The nodes `given` as objects, or `count` default nodes where there are none.

    A node keeps the addresses and pod CIDRs that its object has; the others get parts of `pod_cidrs` (the
    cluster's) or of the lab's own range. Raises ConfigError.
    """
    nodes = default_nodes(len(given) or count, dual_stack, pod_cidrs)
    for state, node in zip(nodes, given, strict=False):
        state.name = node.metadata.name
        state.labels = {"kubernetes.io/hostname": state.name} | (node.metadata.labels or {})
        state.ips = _of_each_family(_internal_ips(node), state.ips)
        state.pod_cidrs = _of_each_family(_pod_cidrs(node), state.pod_cidrs)
    _refuse_repeated("InternalIP", [ip for node in nodes for ip in node.ips])
    _refuse_repeated("podCIDR", [cidr for node in nodes for cidr in node.pod_cidrs])
    return nodes


def _internal_ips(node: Node) -> list[str]:
    addresses = node.status.addresses if node.status else None
    return [address.address for address in addresses or () if address.type == "InternalIP"]


def _pod_cidrs(node: Node) -> list[str]:
    if node.spec is None:
        return []
    if node.spec.pod_cidrs:
        return node.spec.pod_cidrs
    return [node.spec.pod_cidr] if node.spec.pod_cidr else []


def _of_each_family(given: Sequence[str], defaults: Sequence[str]) -> list[str]:
    """The first of `given` of each default's IP family; the default where there is none."""
    first: dict[int, str] = {}
    for each in given:
        first.setdefault(family_of(each), each)
    return [first.get(family_of(default), default) for default in defaults]


def _refuse_repeated(what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"two nodes have the {what} {value}")
