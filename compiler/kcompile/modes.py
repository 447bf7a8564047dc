"""Every mode in one table: what it is called, what lowers for it, what drives it, and how it differs from the
others.

A new mode is a package under targets/, a driver in kernel/drivers.py, and an entry here
(docs/howto/add-a-mode.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .errors import ConfigError

if TYPE_CHECKING:
    from .ir.model import Dataplane
    from .kernel.drivers import Driver
    from .notices import Notice
    from .targets.base import Incremental, Target

__all__ = ["DEFAULT_MODE", "MODES", "SCHEDULERS", "Mode", "mode_of"]

DEFAULT_MODE = "nftables"
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf")
"""What --ipvs-scheduler takes: the schedulers of Linux (ip_vs_register_scheduler())."""


def _nftables() -> Target:
    from .targets.nftables import NftablesTarget

    return NftablesTarget()


def _iptables() -> Target:
    from .targets.iptables import IptablesTarget

    return IptablesTarget()


def _ipvs() -> Target:
    from .targets.ipvs import IpvsTarget

    return IpvsTarget()


def _xdp() -> Target:
    from .targets.xdp import XdpTarget

    return XdpTarget()


def _incremental_nftables(dataplane: Dataplane) -> Incremental:
    from .targets.nftables import IncrementalProgram

    return IncrementalProgram(dataplane)


def _incremental_ipvs(dataplane: Dataplane) -> Incremental:
    from .targets.ipvs import IncrementalProgram

    return IncrementalProgram(dataplane)


def _incremental_xdp(dataplane: Dataplane) -> Incremental:
    from .targets.xdp import IncrementalProgram

    return IncrementalProgram(dataplane)


def _incremental_iptables(dataplane: Dataplane) -> Incremental:
    from .targets.iptables import IncrementalProgram

    return IncrementalProgram(dataplane)


def _no_limits(_: Dataplane) -> list[Notice]:
    return []


def _ipvs_limits(dataplane: Dataplane) -> list[Notice]:
    from .targets.ipvs import limits

    return limits(dataplane)


def _xdp_limits(dataplane: Dataplane) -> list[Notice]:
    from .targets.xdp import limits

    return limits(dataplane)


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """One value of ``--mode``.

    `family`: the mode of a KubeProxyConfiguration that it is a case of. `target` makes what lowers for it.
    `limits`: a warning for each thing that it leaves out of a dataplane, or does otherwise.
    `incremental`: makes the Program that an agent keeps up to date; None: all is lowered again.
    `binds_addresses`: VIPs become the node's own addresses, so that an address of another host can't be one.
    `sees_interfaces`: it needs the node's interfaces, and its sockets' cgroup. `retiring`: Kubernetes is
    about to drop it.
    """

    name: str
    family: str
    target: Callable[[], Target]
    limits: Callable[[Dataplane], list[Notice]] = _no_limits
    incremental: Callable[[Dataplane], Incremental] | None = None
    binds_addresses: bool = False
    sees_interfaces: bool = False
    retiring: bool = False

    def follow(self, dataplane: Dataplane) -> Incremental:
        """The Program of `dataplane`, to be kept up to date port by port."""
        from .targets.base import Relowered

        if self.incremental is None:
            return Relowered(self.target(), dataplane)
        return self.incremental(dataplane)

    def driver(
        self, directory: Path, backend: str | None = None, capacities: Mapping[str, int] | None = None
    ) -> Driver:
        """What programs it in the current network namespace.

        :param directory: the namespace's run directory
        :param backend: which iptables (``legacy`` or ``nft``); None: the one that the node uses already
        :param capacities: sizes of maps that have to be made, by name (mode xdp)
        :raises UnsupportedError: where its tools are missing
        """
        from .kernel.drivers import driver_for

        return driver_for(self.name, backend, directory, capacities)


_ALL = (
    Mode(name="nftables", family="nftables", target=_nftables, incremental=_incremental_nftables),
    Mode(name="iptables", family="iptables", target=_iptables, incremental=_incremental_iptables),
    Mode(name="iptables-legacy", family="iptables", target=_iptables, incremental=_incremental_iptables),
    Mode(name="iptables-nft", family="iptables", target=_iptables, incremental=_incremental_iptables),
    Mode(
        name="ipvs",
        family="ipvs",
        target=_ipvs,
        limits=_ipvs_limits,
        incremental=_incremental_ipvs,
        binds_addresses=True,
        retiring=True,
    ),
    Mode(
        name="xdp",
        family="xdp",
        target=_xdp,
        limits=_xdp_limits,
        incremental=_incremental_xdp,
        sees_interfaces=True,
    ),
)
MODES = {mode.name: mode for mode in _ALL}
"""What --mode takes, by name; the iptables variants name their back end."""


def mode_of(name: str) -> Mode:
    """The mode called `name`. Raises ConfigError."""
    mode = MODES.get(name)
    if mode is None:
        raise ConfigError(f"mode {name!r} is not one of {', '.join(MODES)}")
    return mode
