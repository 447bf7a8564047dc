"""What IPVS holds: virtual servers by one generic netlink dump, real servers with their connections from /proc/net/ip_vs.

Netlink gives real servers only one virtual server at a time, which is 10,000 requests; the file gives them all, but not the flags
and timeouts of their virtual servers (ip_vs_info_seq_show() in ip_vs_ctl.c).
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

from ..targets.base import Key
from ..targets.ipvs.marks import is_ours
from ..targets.ipvs.resources import FWMARK, RealServer
from .ipvs_messages import GET_SERVICE, decode_service, header
from .netlink import NETLINK_GENERIC, Netlink, generic_family

__all__ = ["parse_real_servers", "real_servers", "virtual_servers"]

_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


def virtual_servers() -> dict[Key, Any]:
    """Every virtual server of the current namespace, ours or not."""
    with Netlink(NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        found = (decode_service(*answer) for answer in netlink.dump(family, header(GET_SERVICE)))
        return dict(one for one in found if one is not None)


def real_servers() -> dict[Key, RealServer]:
    """Every real server of the current namespace; none where IPVS isn't there."""
    try:
        return parse_real_servers(Path("/proc/thread-self/net/ip_vs").read_text())
    except FileNotFoundError:
        return {}


def parse_real_servers(text: str) -> dict[Key, RealServer]:
    """The real servers in what /proc/net/ip_vs prints. Those of a mark are of the IP version that their addresses have."""
    found: dict[Key, RealServer] = {}
    protocol, address, number, known = "", "", 0, False
    live = RealServer(1)
    for line in text.splitlines()[3:]:
        words = line.split()
        if words[0] == "->":
            if not known:
                continue
            ip, _, port = words[1].rpartition(":")
            weight = int(words[3])
            server = live if weight == 1 else RealServer(weight, int(words[4]) + int(words[5]) if weight == 0 else 0)
            version = 6 if ip[0] == "[" else 4
            found["rs", version, protocol, address, number, _ip(ip), int(port, 16)] = server
        elif words[0] == "FWM":
            mark = int(words[1], 16)
            protocol, address, number, known = FWMARK, f"{mark:#x}", 0, is_ours(mark)
        else:
            known = words[0] in _PROTOCOLS
            if known:
                ip, _, port = words[1].rpartition(":")
                protocol, address, number = _PROTOCOLS[words[0]], _ip(ip), int(port, 16)
    return found


def _ip(text: str) -> str:
    if text[0] == "[":
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text[1:-1]))
    return socket.inet_ntoa(struct.pack(">I", int(text, 16)))
