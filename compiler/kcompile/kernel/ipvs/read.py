"""Reads IPVS by generic netlink: a dump of all virtual servers, and one of each one's real servers.

/proc/net/ip_vs has all in one file, but it is wrong where other network namespaces have virtual servers too:
after each 4 KB a reader goes on at the wrong entry (ip_vs_info_seq_next() counts the others' and
ip_vs_info_array() doesn't, Linux 6.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...targets.ipvs.resources import RealServer, RealServerKey, VirtualServer, VirtualServerKey
from ..netlink import NETLINK_GENERIC, Netlink, Sockets, generic_family, opened
from .messages import GET_DEST, GET_SERVICE, decode_real_server, decode_service, head, header, named

__all__ = ["heads", "real_servers", "virtual_servers"]


def virtual_servers(sockets: Sockets | None = None) -> dict[VirtualServerKey, VirtualServer]:
    """Every virtual server of the current namespace, ours or not."""
    with opened(sockets, NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        found = (decode_service(*answer) for answer in netlink.dump(family, header(GET_SERVICE)))
        return dict(one for one in found if one is not None)


def heads(sockets: Sockets | None = None) -> set[bytes]:
    """Every virtual server of the current namespace as messages.head has it: quicker than to decode them."""
    with opened(sockets, NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        return {head(view, start) for view, start, _ in netlink.dump(family, header(GET_SERVICE))}


def real_servers(
    servers: Iterable[VirtualServerKey], sockets: Sockets | None = None
) -> dict[RealServerKey, RealServer]:
    """The real servers of the virtual servers with these keys; none for one that was removed meanwhile."""
    with opened(sockets, NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        return dict(_of_each(netlink, family, servers))


def _of_each(
    netlink: Netlink, family: int, servers: Iterable[VirtualServerKey]
) -> Iterator[tuple[RealServerKey, RealServer]]:
    live, start = RealServer(1), header(GET_DEST)
    for key in servers:
        for answer in netlink.dump(family, start + named(key)):
            ip, port, weight, connections, unlike = decode_real_server(*answer, key.version)
            plain = weight == 1 and not unlike
            server = live if plain else RealServer(weight, connections if weight == 0 else 0, unlike=unlike)
            yield RealServerKey(key.version, key.protocol, key.address, key.port, ip, port), server
