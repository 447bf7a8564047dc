"""What becomes of connections that netfilter translates when mode xdp takes over: it goes on with them as its own."""

from __future__ import annotations

from collections.abc import Iterable

from . import ctnetlink
from .drivers import Driver, XdpDriver

__all__ = ["begin", "finish"]

_NETFILTER = ("nftables", "iptables")


def begin(driver: Driver, others: Iterable[Driver]) -> None:
    """Call before `driver` applies, if it replaces `others`: mode xdp will then carry their connections over."""
    if isinstance(driver, XdpDriver):
        driver.kernel.carrying = any(other.target.name in _NETFILTER for other in others)


def finish(driver: Driver) -> None:
    """Call when the others' rules are gone: conntrack forgets what was carried over.

    Else, wherever something makes conntrack go on, it would translate the node's own packets again, ahead of the programs.
    """
    if isinstance(driver, XdpDriver):
        ctnetlink.delete(driver.kernel.carried)
