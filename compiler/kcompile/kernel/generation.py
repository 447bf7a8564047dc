"""nf_tables' generation: a number that each transaction in the network namespace raises by one."""

from __future__ import annotations

import struct

from ..errors import KernelError
from .netlink import NETLINK_NETFILTER, Netlink, attributes

__all__ = ["generation"]

_GET_GENERATION = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_GENERATION_ID = 1  # NFTA_GEN_ID
_HEAD = struct.pack("=BBH", 0, 0, 0)  # struct nfgenmsg


def generation() -> int | None:
    """The present one of the current network namespace; None where the kernel doesn't say."""
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            answer = netlink.ask(_GET_GENERATION, _HEAD)
    except (KernelError, OSError):
        return None
    for kind, at, _ in attributes(answer, len(_HEAD), len(answer)):
        if kind == _GENERATION_ID:
            (number,) = struct.unpack_from(">I", answer, at)
            return int(number)
    return None
