"""Probes mode ipvs: virtual servers, the dummy device for their addresses, ipsets, rules that match them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import iptables, sysctl
from .attempts import no_family, refused, restore, tool_missing
from .features import SCHEDULERS, SET_TYPES, ipvs_rules
from .records import Lack

__all__ = ["work"]

_ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
_PERSISTENT = 1  # IP_VS_SVC_F_PERSISTENT: linux/ip_vs.h
_SAID = {4098: "this kernel has no such type"}  # IPSET_ERR_FIND_TYPE: linux/netfilter/ipset/ip_set.h
_SET = "kcompile-probe"


def work() -> list[Lack]:
    """The features of mode ipvs that this kernel lacks; one without an IP version is listed for both."""
    lacks = _device()
    for family in (4, 6):
        absent = no_family(family)
        lacks += [absent] if absent else [*_sets(family), *_rules(family)]
    return _servers() + lacks


def _attempt(
    feature: str, families: tuple[int, ...], modules: tuple[str, ...], act: Callable[[], Any], costs: str = ""
) -> list[Lack]:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        act()
    except (NetlinkError, OSError) as e:
        said = _SAID.get(e.args[0]) or str(e.args[-1])
        return [Lack(feature, family, said, modules, costs) for family in families]
    return []


def _device() -> list[Lack]:
    """The dummy device that holds the Services' addresses. Sets lo up: else IPVS refuses a real server."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        route.link("set", index=1, state="up")
        return _attempt(
            "dummy devices",
            (4, 6),
            ("dummy",),
            lambda: route.link("add", ifname="kcompile-probe", kind="dummy"),
        )


def _servers() -> list[Lack]:
    from pyroute2 import IPVS
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        ipvs = IPVS()
    except (NetlinkError, OSError):  # the family is asked for by name
        return [Lack("IPVS", family, "no such generic netlink family", ("ip_vs",)) for family in (4, 6)]
    lacks: list[Lack] = []
    with ipvs:
        for family in (4, 6):
            if no_family(family) is None:
                lacks += _schedulers(ipvs, family)
    if sysctl.read("net.ipv4.vs.conntrack") is None:
        lacks += [
            Lack("connection tracking of IPVS", family, "no sysctl net.ipv4.vs.conntrack")
            for family in (4, 6)
        ]
    return lacks


def _schedulers(ipvs: Any, family: int) -> list[Lack]:
    from pyroute2 import IPVSDest, IPVSService

    address, backend = _ADDRESSES[family]
    # for IPv6 a prefix length in the host's byte order, which pyroute2 can only write as an IPv4 address
    netmask = "255.255.255.255" if family == 4 else socket.inet_ntoa(struct.pack("=I", 128))

    def serve(service: Any) -> None:
        ipvs.service("add", service=service)
        ipvs.dest("add", service=service, dest=IPVSDest(addr=backend, port=80, fwd_method=0, weight=1))
        ipvs.service("del", service=service)

    lacks: list[Lack] = []
    for scheduler in SCHEDULERS:
        service = IPVSService(
            addr=address,
            port=80,
            protocol=socket.IPPROTO_TCP,
            sched_name=scheduler,
            netmask=netmask,
            timeout=10,
        )
        service["flags"] = {"flags": _PERSISTENT, "mask": 0xFFFFFFFF}
        costs = "" if scheduler == "rr" else f"scheduler {scheduler}"
        act = partial(serve, service)
        lacks += _attempt(
            f"virtual servers with scheduler {scheduler}", (family,), (f"ip_vs_{scheduler}",), act, costs
        )
    marked = IPVSService(
        fwmark=1,
        af=socket.AF_INET if family == 4 else socket.AF_INET6,
        sched_name="rr",
        netmask=netmask,
        timeout=0,
    )
    return lacks + _attempt("virtual servers by mark", (family,), (), partial(serve, marked))


def _sets(family: int) -> list[Lack]:
    from pyroute2 import IPSet

    lacks: list[Lack] = []
    for kind in SET_TYPES:

        def create(kind: str = kind) -> None:
            with IPSet() as sets:
                sets.create(
                    f"{_SET}-{kind}", stype=kind, family=socket.AF_INET if family == 4 else socket.AF_INET6
                )
                sets.destroy(f"{_SET}-{kind}")

        lacks += _attempt(
            f"sets of type {kind}", (family,), (f"ip_set_{kind.replace(':', '_').replace(',', '')}",), create
        )
    return lacks


def _rules(family: int) -> list[Lack]:
    """Try both iptables variants; return the shorter list of missing features."""
    from pyroute2 import IPSet

    name = f"{_SET}{family}"
    kind = socket.AF_INET if family == 4 else socket.AF_INET6

    def create() -> None:
        with IPSet() as sets:
            sets.create(name, stype="hash:ip,port", family=kind, skbinfo=True, comment=True)

    lacks = _attempt("sets with marks and comments", (family,), ("ip_set_hash_ipport",), create)
    there = "" if lacks else name
    backends: tuple[iptables.Backend, ...] = ("nft", "legacy")
    usable = [backend for backend in backends if not tool_missing(f"iptables-{backend}-restore")]
    refusals = [refused(ipvs_rules(b, there), family, restore(family, b)) for b in usable]
    return lacks + min(refusals, key=len, default=[])
