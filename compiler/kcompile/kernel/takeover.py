"""Open connections when mode xdp takes over from one that translates by conntrack, or such a mode from it: they are carried over.

Among the modes that translate by conntrack they need nothing: there is one conntrack. For mode ipvs see leave.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import KernelError
from . import ctnetlink
from .drivers import Driver, XdpDriver

if TYPE_CHECKING:
    from .bpf.library import Fd

__all__ = ["TakeOver"]

_NETFILTER = ("nftables", "iptables")


class TakeOver:
    """`driver` replaces `others`, all of which have been observed. Call `begin`, apply, take the others off, call `finish`."""

    def __init__(self, driver: Driver, others: Sequence[Driver]) -> None:
        self._xdp = driver if isinstance(driver, XdpDriver) else None
        self._from_netfilter = any(other.target.name in _NETFILTER for other in others)
        self._flows: list[Mapping[str, Fd]] = []
        if driver.target.name in _NETFILTER:
            self._flows = [other.kernel.maps() for other in others if isinstance(other, XdpDriver)]

    def begin(self) -> list[str]:
        """Returns warnings.

        Conntrack must know a connection before there are rules: it would take the next packet of it for the first of another one.
        Where somebody else's rules made it go on, it has seen the node's own packets go out, and has entries that don't translate them.
        """
        if self._xdp is not None:
            self._xdp.kernel.carrying = self._from_netfilter
        return self._to_conntrack(replace=True)

    def finish(self) -> list[str]:
        """What has begun meanwhile comes over too; conntrack forgets what the programs have taken. Returns warnings.

        Else, wherever something makes conntrack go on, it would translate the node's own packets again, ahead of the programs.
        """
        if self._xdp is not None:
            ctnetlink.delete(self._xdp.kernel.carried)
        return self._to_conntrack(replace=False)

    def _to_conntrack(self, replace: bool) -> list[str]:
        from .bpf import flows

        try:
            for maps in self._flows:
                if maps:
                    ctnetlink.create(flows.translated(maps, time.monotonic_ns()), replace)
        except KernelError as e:
            self._flows = []
            return [f"open connections through Services end with this change of mode ({e})"]
        return []
