"""loadBalancerSourceRanges: the sources that may use a load-balancer VIP (not NodePort or ClusterIP)."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

__all__ = ["allowed_sources"]


@lru_cache(maxsize=4096)
def _holds(cidr: str, address: str) -> bool:
    network, ip = ipaddress.ip_network(cidr), ipaddress.ip_address(address)
    return network.version == ip.version and ip in network


def allowed_sources(ranges: tuple[str, ...], vips: tuple[str, ...], node_ip: str) -> tuple[str, ...]:
    """The CIDRs that may use `vips`: `ranges`, and the VIPs themselves where a range holds the node's own
    address.

    A VIP is often a local address of the node too; the node's own request to it then has the VIP as its
    source (iptables/proxier.go, allowFromNode).
    """
    if not ranges or not node_ip or not any(_holds(r, node_ip) for r in ranges):
        return ranges
    bits = "/128" if ":" in node_ip else "/32"
    return tuple(dict.fromkeys((*ranges, *(vip + bits for vip in vips))))
