"""What packets to a Service's frontends are made of: who sends them, and where a frontend answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ..ir.model import Frontend, FrontendKind
from ..ir.node import NodeFacts

__all__ = ["OUTSIDE", "answers_at", "inside", "place"]

OUTSIDE = {4: "203.0.113.1", 6: "2001:db8:ffff::1"}
"""A client outside of the cluster: addresses of documentation (RFC 5737, RFC 3849)."""


def place(address: str, port: int) -> str:
    """``ip:port``, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def answers_at(node: NodeFacts, frontend: Frontend, version: int) -> str:
    """The frontend's address; a NodePort's is one of the node's, and empty where that has none."""
    if frontend.kind is not FrontendKind.NODE_PORT:
        return frontend.address
    addresses: Sequence[str] = node.node_ports(version) or node.addresses
    return next((address for address in addresses if (":" in address) is (version == 6)), "")


def inside(address: str, ranges: Sequence[str]) -> bool:
    """True if `address` is in one of the CIDRs."""
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(cidr) for cidr in ranges)
