"""Reverse names of addresses, and the reverse zones that a cluster answers for. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["Reverse"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_BITS = {4: 8, 6: 4}
"""Bits of a label, by IP version."""
_NODE = {4: 24, 6: 64}
"""Prefix lengths of a node's range of Pods, as kube-controller-manager cuts them by default."""


class Reverse:
    """The reverse zones of `cidrs`, those of the Services and the Pods. Where the Pods' aren't known, an
    address outside of them has the zone of its node's range.
    """

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(cidr, strict=False) for cidr in dict.fromkeys(cidrs)]
        found = [zone for network in self._networks for zone in _zones(network)]
        self.zones: tuple[str, ...] = tuple(dict.fromkeys(found))
        """Absolute names, one or more a CIDR: a zone ends at a dot."""

    def name(self, address: str) -> str:
        """The name of an address' PTR record, absolute."""
        if ":" in address:
            return ipaddress.IPv6Address(address).reverse_pointer + "."
        return f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa."

    def zone_around(self, address: str) -> str:
        """The zone of an address that no CIDR has; empty for one that is in a CIDR."""
        parsed = ipaddress.ip_address(address) if self._networks else None
        if any(parsed in network for network in self._networks):
            return ""
        version = 6 if ":" in address else 4
        labels = self.name(address).split(".")
        own = (128 if version == 6 else 32) // _BITS[version] - _NODE[version] // _BITS[version]
        return ".".join(labels[own:])


def _zones(network: _Network) -> list[str]:
    """The zones that make up `network`: one for each next longer prefix that ends at a label."""
    bits = _BITS[network.version]
    length = max(-(-network.prefixlen // bits) * bits, bits)
    own = (network.max_prefixlen - length) // bits
    return [
        ".".join(part.network_address.reverse_pointer.split(".")[own:]) + "."
        for part in network.subnets(new_prefix=length)
    ]
