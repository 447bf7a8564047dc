"""The node's own connections to a VIP that is about to go: from an address of the node that stays.

Whoever connects to a bound VIP and chooses no source gets that VIP as its source
(ip_route_output_key_hash_rcu() in net/ipv4/route.c, RFC 6724 rule 1). Once another mode translates such
connections nobody knows of them in IPVS, and they would end with the VIP. So while mode ipvs is left each VIP
has a second route in the table `local`, ahead of its own, with another preferred source. These are ours by
their device and ``proto static``.
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

__all__ = ["give", "take_back"]

_LISTED = re.compile(r"^local (\S+) ", re.MULTILINE)
_DONE = ("File exists", "No such process")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def give(held: Program) -> None:
    """Make an address of the node the source of its connections to the VIPs of `held`, a program of mode
    ipvs.
    """
    for version in _FAMILIES:
        bound = [key.address for key in held if isinstance(key, AddressKey) and key.version == version]
        destinations = {key.ip for key in held if isinstance(key, RealServerKey) and key.version == version}
        source = _source(version, destinations) if bound else ""
        if source:
            _ip(version, (line for address in bound for line in _replacing(version, address, source)))


def take_back() -> None:
    """Remove the routes that `give` made to addresses that are no longer bound.

    Those of bound ones do no harm.
    """
    if not dummy.index():  # its routes have gone with it
        return
    bound = {key.address for key in dummy.observe() if isinstance(key, AddressKey)}
    for version in _FAMILIES:
        listed = _ip(version, [f"route show table local dev {DEVICE} proto static"])
        gone = sorted(set(_LISTED.findall(listed)) - bound)
        if gone:
            _ip(
                version,
                (f"route del table local local {address} dev {DEVICE} proto static" for address in gone),
            )


def _source(version: int, destinations: Iterable[str]) -> str:
    """What the node calls itself towards the first of `destinations` that it has a route to, empty without
    one.
    """
    for destination in sorted(destinations):
        with contextlib.suppress(OSError), socket.socket(_FAMILIES[version], socket.SOCK_DGRAM) as probe:
            probe.connect((destination, 9))
            return str(probe.getsockname()[0])
    return ""


def _replacing(version: int, address: str, source: str) -> Iterator[str]:
    route = f"table local local {address} dev {DEVICE}"
    if version == 4:
        yield f"route prepend {route} proto static scope host src {source}"
    else:  # the kernel's own has metric 0, and nothing else can have that
        yield f"route add {route} proto static src {source} metric 1"
        yield f"route del {route} proto kernel"


def _ip(version: int, commands: Iterable[str]) -> str:
    """Run all `commands`; one that finds the work done already is no failure."""
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
