"""Carries open connections over between mode xdp and the modes that translate by conntrack.

Among those modes connections need nothing: there is one conntrack. For mode ipvs see leave.py.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import KernelError
from ..notices import Notice
from . import ctnetlink
from .drivers import Driver, XdpDriver

if TYPE_CHECKING:
    from .bpf.syscall import Fd

__all__ = ["TakeOver"]

_NETFILTER = ("nftables", "iptables")


class TakeOver:
    """`driver` replaces `others`, which have been observed.

    Call `begin`, apply, take the others off, call `finish`.
    """

    def __init__(self, driver: Driver, others: Sequence[Driver]) -> None:
        self._xdp = driver if isinstance(driver, XdpDriver) else None
        self._from_netfilter = any(other.target.name in _NETFILTER for other in others)
        self._flows: list[Mapping[str, Fd]] = []
        if driver.target.name in _NETFILTER:
            self._flows = [other.kernel.maps() for other in others if isinstance(other, XdpDriver)]

    def begin(self) -> list[Notice]:
        """Returns warnings.

        Conntrack must know a connection before there are rules: it would take its next packet for the first
        of another one. Where somebody else's rules keep it going, it has seen the node's own packets leave
        untranslated, and has entries that say so: those are replaced.
        """
        if self._xdp is not None:
            self._xdp.kernel.carrying = self._from_netfilter
        return self._to_conntrack(replace=True)

    def finish(self) -> list[Notice]:
        """Carry over what has begun meanwhile, and have conntrack forget what the programs have taken.

        Returns warnings.

        An entry that stayed would translate the node's own packets again, ahead of the programs.
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
