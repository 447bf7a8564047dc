"""Carries open connections over between mode xdp and the modes that use conntrack (nftables, iptables).

A change among the latter needs nothing, for conntrack is the same. For mode ipvs see departure.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import KernelError
from ..notices import Notice
from . import ctnetlink
from .drivers import Driver, XdpDriver
from .kubeproxy import KubeProxy

if TYPE_CHECKING:
    from .bpf.syscall import Fd

__all__ = ["TakeOver"]

_NETFILTER = ("nftables", "iptables")


class TakeOver:
    """A change of mode: `driver` replaces `others`, which have been observed.

    Call `begin`, apply, remove the others, call `finish`.

    :param first: the node had no rules of ours; those of kube-proxy then translate its connections
    """

    def __init__(self, driver: Driver, others: Sequence[Driver], *, first: bool = False) -> None:
        self._xdp = driver if isinstance(driver, XdpDriver) else None
        self._from_netfilter = any(other.target.name in _NETFILTER for other in others)
        if self._xdp is not None and first:
            self._from_netfilter = bool(KubeProxy.found())
        self._flows: list[Mapping[str, Fd]] = []
        if driver.target.name in _NETFILTER:
            self._flows = [other.kernel.maps() for other in others if isinstance(other, XdpDriver)]

    def begin(self) -> list[Notice]:
        """Give conntrack the connections of mode xdp; returns warnings.

        Conntrack must know a connection before the rules go in, else its next packet counts as the first of a
        new connection. Where other rules keep conntrack running, it has entries of the node's own connections
        without translation; those are replaced.
        """
        if self._xdp is not None:
            self._xdp.kernel.carrying = self._from_netfilter
        return self._to_conntrack(replace=True)

    def finish(self) -> list[Notice]:
        """Carry over connections that began meanwhile, and delete the conntrack entries that xdp took over.

        Such an entry would translate the node's own packets once more, before the programs. Returns warnings.
        """
        if self._xdp is not None:
            ctnetlink.delete(self._xdp.kernel.carried)
        return self._to_conntrack(replace=False)

    def _to_conntrack(self, replace: bool) -> list[Notice]:
        from .bpf import flows

        try:
            for maps in self._flows:
                if maps:
                    ctnetlink.create(flows.translated(maps, time.monotonic_ns()), replace)
        except KernelError as e:
            self._flows = []
            return [
                Notice(
                    "connections-end", f"open connections through Services end with this change of mode ({e})"
                )
            ]
        return []
