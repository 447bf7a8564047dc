"""Source addresses of the node's own connections to VIPs, while another mode replaces mode ipvs.

A socket that connects to a bound VIP without a source of its own gets that VIP as its source
(ip_route_output_key_hash_rcu() in net/ipv4/route.c, RFC 6724 rule 1). IPVS doesn't know such a connection
once another mode translates it, so it would break when the VIP is removed. Therefore each VIP gets a second
route in table `local`, before its own, with an address of the node as its preferred source. Our routes have
our device and ``proto static``.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator

from ... import spawn
from ...errors import KernelError
from ...program import Program
from ...targets.ipvs.resources import DEVICE, AddressKey, RealServerKey
from . import dummy

__all__ = ["prefer_node_address", "remove_routes", "routed"]

_LISTED = re.compile(r"^local (\S+) ", re.MULTILINE)
_DONE = ("File exists", "No such process")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def prefer_node_address(held: Program, device: str = DEVICE) -> None:
    """Let new connections to the VIPs of `held` (of mode ipvs) come from an address of the node.

    :param device: the one that the VIPs are bound to
    """
    for version in _FAMILIES:
        bound = [key.address for key in held if isinstance(key, AddressKey) and key.version == version]
        destinations = {key.ip for key in held if isinstance(key, RealServerKey) and key.version == version}
        source = _source(version, destinations) if bound else ""
        if source:
            _ip(version, (line for address in bound for line in _replacing(version, address, source, device)))


def routed() -> set[AddressKey]:
    """The VIPs with a route of `prefer_node_address`, bound or not."""
    if not dummy.index():  # the device is gone, and its routes with it
        return set()
    return {
        AddressKey(version, address)
        for version in _FAMILIES
        for address in _LISTED.findall(_ip(version, [f"route show table local dev {DEVICE} proto static"]))
    }


def remove_routes() -> None:
    """Remove the routes of `prefer_node_address` to VIPs that are no longer bound; the others do no harm."""
    unbound = routed() - dummy.observe().keys()
    for version in _FAMILIES:
        gone = sorted(key.address for key in unbound if key.version == version)
        if gone:
            _ip(
                version,
                (f"route del table local local {address} dev {DEVICE} proto static" for address in gone),
            )


def _source(version: int, destinations: Iterable[str]) -> str:
    """The node's source address towards the first of `destinations` with a route; empty without one."""
    for destination in sorted(destinations):
        with contextlib.suppress(OSError), socket.socket(_FAMILIES[version], socket.SOCK_DGRAM) as probe:
            probe.connect((destination, 9))
            return str(probe.getsockname()[0])
    return ""


def _replacing(version: int, address: str, source: str, device: str) -> Iterator[str]:
    route = f"table local local {address} dev {device}"
    if version == 4:
        yield f"route prepend {route} proto static scope host src {source}"
    else:  # the kernel's own route has metric 0, and no other route can
        yield f"route add {route} proto static src {source} metric 1"
        yield f"route del {route} proto kernel"


def _ip(version: int, commands: Iterable[str]) -> str:
    """Run `commands` of ip(8), returns its output; an existing or missing route is no failure."""
    text = "".join(f"{command}\n" for command in commands)
    done = spawn.run(
        ["ip", f"-{version}", "-force", "-batch", "-"], input=text, capture_output=True, text=True
    )
    refused = [
        line for line in done.stderr.splitlines() if line.startswith("RTNETLINK") and not line.endswith(_DONE)
    ]
    if refused:
        raise KernelError(f"ip -{version} route: {refused[0]}")
    return str(done.stdout)
