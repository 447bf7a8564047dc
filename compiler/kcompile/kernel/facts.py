"""Facts about this node from the kernel: addresses, interfaces, name."""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

from .. import spawn
from ..errors import KernelError
from ..ir.node import Link
from ..targets.ipvs.resources import DEVICE
from .netlink import NETLINK_GENERIC, Netlink, attributes, generic_family

__all__ = ["hostname", "interface_addresses", "links"]

_SCOPES = ("global", "site")
_BARE = ("none", "ipip", "sit", "tunnel6")  # ip(8)'s ARPHRD_NONE (tun, WireGuard) and IP-in-IP tunnels
_NETDEV_GET, _NETDEV_IFINDEX, _NETDEV_FEATURES, _NETDEV_XDP_BASIC = 1, 1, 3, 1  # linux/netdev.h


def interface_addresses() -> tuple[str, ...]:
    """Every address in the current network namespace, also of loopback, without link-local ones and VIPs."""
    found: list[str] = []
    for link in _interfaces():
        if link.get("ifname") == DEVICE:
            continue
        found += [
            a["local"] for a in link.get("addr_info", ()) if a.get("scope") in ("global", "host", "site")
        ]
    return tuple(dict.fromkeys(found))


def links() -> tuple[Link, ...]:
    """Every interface of the current network namespace, in the kernel's order."""
    native = _native_xdp()
    shown = _interfaces("-details")
    kinds = {link["ifname"]: _kind(link) for link in shown}
    return tuple(
        Link(
            name=link["ifname"],
            kind=_kind(link),
            upper=kinds.get(link["master"], "unknown") if "master" in link else "",
            loopback=link.get("link_type") == "loopback",
            ethernet=link.get("link_type") in ("ether", "loopback"),
            bare=link.get("link_type") in _BARE,
            peer_elsewhere=_kind(link) == "veth" and "link_netnsid" in link,
            native_xdp=native.get(link["ifindex"]),
            addresses=tuple(a["local"] for a in link.get("addr_info", ()) if a.get("scope") in _SCOPES),
        )
        for link in shown
    )


def _kind(link: dict[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _native_xdp() -> dict[int, bool]:
    """Interface index -> whether its driver supports XDP; empty before Linux 6.3."""
    found: dict[int, bool] = {}
    try:
        with Netlink(NETLINK_GENERIC) as netlink:
            family = generic_family(netlink, "netdev")
            for data, start, end in netlink.dump(family, struct.pack("=BBH", _NETDEV_GET, 1, 0)):
                values: dict[int, int] = {}
                for kind, first, last in attributes(data, start + 4, end):
                    values[kind] = int.from_bytes(data[first:last], sys.byteorder)
                features = values.get(_NETDEV_FEATURES, 0)
                found[values[_NETDEV_IFINDEX]] = bool(features & _NETDEV_XDP_BASIC)
    except (KernelError, OSError):
        return {}
    return found


def _interfaces(*options: str) -> list[dict[str, Any]]:
    done = spawn.run(["ip", "-json", *options, "address", "show"], capture_output=True)
    if done.returncode:
        raise KernelError(f"ip address show: {done.stderr.decode(errors='replace').strip()}")
    shown: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return shown


def hostname() -> str:
    """The node's name as kubelet and kube-proxy derive it: the host name, in lower case."""
    return socket.gethostname().strip().lower()
