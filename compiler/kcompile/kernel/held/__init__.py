"""A driver held open for many small changes: sockets and libraries stay, and nothing is read again that
nobody else has touched.

base.py        Held, and any driver opened for each change
traced.py      what nftables and iptables have in common
nftables.py    mode nftables: a libnftables context
iptables.py    mode iptables: only the tools that are needed
ipvs.py        mode ipvs: netlink sockets, and what drains
xdp.py         mode xdp: maps and what is in them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..drivers import Driver, IptablesDriver, IpvsDriver, NftablesDriver, XdpDriver
from .base import Held, Plain

__all__ = ["Held", "hold"]


def _nftables(driver: NftablesDriver) -> Held:
    from .nftables import HeldNftables

    return HeldNftables(driver)


def _iptables(driver: IptablesDriver) -> Held:
    from .iptables import HeldIptables

    return HeldIptables(driver)


def _ipvs(driver: IpvsDriver) -> Held:
    from .ipvs import HeldIpvs

    return HeldIpvs(driver)


def _xdp(driver: XdpDriver) -> Held:
    from .xdp import HeldXdp

    return HeldXdp(driver)


_HOLDERS: Mapping[type[Driver], Callable[[Any], Held]] = {
    NftablesDriver: _nftables,
    IptablesDriver: _iptables,
    IpvsDriver: _ipvs,
    XdpDriver: _xdp,
}
"""What holds the driver of a mode; `Plain` the others."""


def hold(driver: Driver) -> Held:
    """`driver` held open in the current network namespace, which has its whole Program already.

    What this process has read or written last by `driver` is in the kernel.
    """
    driver.forget()  # a large thing that soon is no longer true
    return _HOLDERS.get(type(driver), Plain)(driver)
