"""What the kernel says of itself over netlink: links and addresses that come and go, and transactions of
nf_tables on our rules.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..targets.ipvs.resources import DEVICE
from ..targets.nftables.resources import TABLE
from .drivers import Driver, IptablesDriver, IpvsDriver, NftablesDriver
from .generation import number_in
from .ipvs import dummy
from .netlink import NETLINK_NETFILTER, NETLINK_ROUTE, OVERRUN, Netlink, attribute, attributes

__all__ = ["Happened", "Watch"]

_LINK, _IPV4_ADDRESS, _IPV6_ADDRESS = 0x1, 0x10, 0x100  # RTMGRP_*
_RULES = 1 << 7 - 1  # NFNLGRP_NFTABLES
_LINK_MESSAGES, _ADDRESS_MESSAGES = (16, 17), (20, 21)  # RTM_NEWLINK and so on
_LINK_NAME = 3  # IFLA_IFNAME
_INDEX = struct.Struct("=4xi")  # of struct ifinfomsg and of struct ifaddrmsg alike
_LINK_HEAD = 16  # struct ifinfomsg
_GENERATION = 10 << 8 | 15  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN: the last message of a transaction
_CHAINS = b"KCOMPILE-"  # in the name of a chain of ours, and in a jump to it


class Happened(NamedTuple):
    """What has happened since the last look.

    `generations`: of the transactions that touched rules of our kind, our own too (Held.others tells them
    apart). `lost`: the kernel had no room for all that happened to rules.
    """

    links: bool = False
    addresses: bool = False
    generations: tuple[int, ...] = ()
    lost: bool = False


class Watch:
    """Sockets in the current network namespace that the kernel notifies.

    Links are those that a node has of its own: the device that holds the VIPs of mode ipvs is none.

    :param driver: of the mode whose rules are watched; those of iptables-legacy, IPVS and eBPF can't be
    """

    def __init__(self, driver: Driver) -> None:
        self._route = Netlink(NETLINK_ROUTE, _LINK | _IPV4_ADDRESS | _IPV6_ADDRESS)
        self._needle = _needle(driver)
        self._rules = Netlink(NETLINK_NETFILTER, _RULES) if self._needle else None
        self._is_ours = False  # whether the transaction that is being read has touched rules of our kind

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        for socket in self._sockets():
            socket.close()

    def filenos(self) -> tuple[int, ...]:
        """Descriptors that can be read as soon as something has happened, for poll(2) or an event loop."""
        return tuple([socket.fileno() for socket in self._sockets()])

    def read(self) -> Happened:
        """What has happened since the last call, without waiting."""
        links, addresses = self._read_route()
        generations, lost = self._read_rules()
        return Happened(links, addresses, generations, lost)

    def _sockets(self) -> list[Netlink]:
        return [self._route] if self._rules is None else [self._route, self._rules]

    def _read_route(self) -> tuple[bool, bool]:
        links = addresses = False
        own = None
        for view, kind, start, end in self._route.notifications():
            if kind == OVERRUN:
                links = addresses = True
            elif kind in _LINK_MESSAGES:
                links = links or not _is_dummy(view[start:end])
            elif kind in _ADDRESS_MESSAGES and not addresses:
                own = dummy.index() if own is None else own
                addresses = _INDEX.unpack_from(view, start)[0] != own
        return links, addresses

    def _read_rules(self) -> tuple[tuple[int, ...], bool]:
        found: list[int] = []
        lost = False
        for view, kind, start, end in self._rules.notifications() if self._rules else ():
            if kind == OVERRUN:
                lost, self._is_ours = True, False
            elif kind == _GENERATION:
                number = number_in(view[start:end])
                if self._is_ours and number is not None:
                    found.append(number)
                self._is_ours = False
            elif not self._is_ours:
                self._is_ours = self._needle in bytes(view[start:end])
        return tuple(found), lost


def _needle(driver: Driver) -> bytes:
    """What is in each notification of a change of rules like the driver's, and in no other; empty: none."""
    if isinstance(driver, NftablesDriver):
        return attribute(1, TABLE.encode() + b"\0")[: 4 + len(TABLE) + 1]  # NFTA_*_TABLE is 1 everywhere
    if isinstance(driver, IptablesDriver | IpvsDriver) and driver.backend == "nft":
        return _CHAINS
    return b""


def _is_dummy(message: memoryview) -> bool:
    return any(
        kind == _LINK_NAME and bytes(message[at:end]).rstrip(b"\0") == DEVICE.encode()
        for kind, at, end in attributes(message, _LINK_HEAD, len(message))
    )
