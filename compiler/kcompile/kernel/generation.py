"""nf_tables' generation: a number that each transaction in the network namespace raises by one.

A socket that is closed waits for what the last transaction removed to be freed, some 10 ms: who asks often
keeps one.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ..errors import KernelError
from .netlink import NETLINK_NETFILTER, Netlink, attributes

__all__ = ["Transactions", "generation", "number_in"]

_GET_GENERATION = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_GENERATION_ID = 1  # NFTA_GEN_ID
_HEAD = struct.pack("=BBH", 0, 0, 0)  # struct nfgenmsg
_REMEMBERED = 4096  # own transactions: more than any notification can be late by


def generation() -> int | None:
    """The present one of the current network namespace; None where the kernel doesn't say."""
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            return _ask(netlink)
    except (KernelError, OSError):
        return None


def number_in(payload: bytes | memoryview) -> int | None:
    """The generation that an answer or a notification (NFT_MSG_NEWGEN) names."""
    for kind, at, _ in attributes(payload, len(_HEAD), len(payload)):
        if kind == _GENERATION_ID:
            (number,) = struct.unpack_from(">I", payload, at)
            return int(number)
    return None


def _ask(netlink: Netlink) -> int | None:
    return number_in(netlink.ask(_GET_GENERATION, _HEAD))


class Transactions:
    """Tells our own transactions of the current network namespace from those of others, on any table."""

    selective, complete = False, True

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER)
        self._seen = self._now()
        self._own: deque[int] = deque(maxlen=_REMEMBERED)
        self._news = False

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    @contextmanager
    def own(self, count: int) -> Iterator[None]:
        """The body makes `count` transactions, or raises."""
        before = self._look()
        yield
        after = self._now()
        if before is None or after is None:
            return
        if after == before + count:
            self._own.extend(range(before + 1, after + 1))
        else:
            self._news = True
        self._seen = after

    def touched(self) -> bool:
        """Whether others have written since the last call, as far as the kernel says."""
        self._look()
        news, self._news = self._news, False
        return news

    def others(self, numbers: Collection[int]) -> bool:
        """Whether somebody else has made one of the transactions `numbers`."""
        return not set(self._own).issuperset(numbers)

    def _look(self) -> int | None:
        now = self._now()
        if now is None or now != self._seen:
            self._news = True
        self._seen = now
        return now

    def _now(self) -> int | None:
        try:
            return _ask(self._netlink)
        except (KernelError, OSError):
            return None
